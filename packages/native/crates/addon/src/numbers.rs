//! Numbers from JavaScript. napi's own conversion to integers takes them modulo 2^32, and NaN for 0: these keep what was given until it is
//! used, where its name is known for the error.

use napi::bindgen_prelude::{FromNapiValue, ToNapiValue};
use napi::{Error, Result, Status, sys};

/// A number, whatever it is.
#[derive(Clone, Copy)]
pub struct Number(f64);

/// The handle of a tensor, or a number that is none.
#[derive(Clone, Copy)]
pub struct Handle(f64);

/// JavaScript's largest safe integer.
const MOST: f64 = 9_007_199_254_740_991.0;

impl Number {
    /// An integer of `0..2^32`: a size, a code, a seed.
    pub fn whole(self, name: &str) -> Result<u32> {
        self.within(name, 0.0, f64::from(u32::MAX)).map(|value| value as u32)
    }

    /// A size of `0..2^32`, as the engine counts.
    pub fn count(self, name: &str) -> Result<usize> {
        self.whole(name).map(|value| value as usize)
    }

    /// A number of elements, which may be larger.
    pub fn length(self, name: &str) -> Result<usize> {
        self.within(name, 0.0, MOST).map(|value| value as usize)
    }

    /// An integer of either sign.
    pub fn integer(self, name: &str) -> Result<i32> {
        self.within(name, f64::from(i32::MIN), f64::from(i32::MAX)).map(|value| value as i32)
    }

    fn within(self, name: &str, least: f64, most: f64) -> Result<f64> {
        if (least..=most).contains(&self.0) && self.0.fract() == 0.0 {
            return Ok(self.0);
        }
        let reason = format!("{name} is {}; expected an integer from {least} to {most}.", self.0);
        Err(Error::new(Status::InvalidArg, reason))
    }
}

/// Sizes of `0..2^32` with their names.
pub fn counts<const N: usize>(named: [(&str, Number); N]) -> Result<[usize; N]> {
    let mut counts = [0; N];
    for (count, (name, number)) in counts.iter_mut().zip(named) {
        *count = number.count(name)?;
    }
    Ok(counts)
}

impl Handle {
    /// Its number; one that no tensor has, if what was given is no handle.
    pub fn number(self) -> u32 {
        Number(self.0).whole("handle").unwrap_or(u32::MAX)
    }

    /// What was given, for errors.
    pub fn given(self) -> f64 {
        self.0
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self(number)
    }
}

impl From<u32> for Handle {
    fn from(number: u32) -> Self {
        Self(f64::from(number))
    }
}

impl FromNapiValue for Number {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller's promise, passed on.
        unsafe { f64::from_napi_value(env, value) }.map(Self)
    }
}

impl FromNapiValue for Handle {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // SAFETY: the caller's promise, passed on.
        unsafe { f64::from_napi_value(env, value) }.map(Self)
    }
}

impl ToNapiValue for Handle {
    unsafe fn to_napi_value(env: sys::napi_env, handle: Self) -> Result<sys::napi_value> {
        // SAFETY: the caller's promise, passed on.
        unsafe { f64::to_napi_value(env, handle.0) }
    }
}
