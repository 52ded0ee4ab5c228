//! Elementary functions of float32 without branches, so that loops over them become vector code in dispatched kernels.
//!
//! Errors are against the exact value, in units of the last place of float32 (ulp), over all of float32; the tests below hold them, at
//! every level of instructions. Where the exact value is subnormal the unit is that of subnormals, so none is flushed to zero.
//! NaN gives NaN everywhere.
//!
//! | function | error at most | special values |
//! |---|---|---|
//! | [`exp`] | 1 ulp | -inf: 0; above 88.72 and inf: inf |
//! | [`sigmoid`] | 2.5 ulp | -inf: 0; inf: 1 |
//! | [`tanh`] | 2 ulp | ±inf: ±1; keeps the sign of zero |
//! | [`ln`] | 1 ulp | 0: -inf; below 0: NaN; inf: inf |

/// `a * b + c`: rounded once if `FMA`, else twice.
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Added and taken off again, it rounds a float32 below 2^22 to an integer, which then stands in the lowest bits.
const ROUNDER: f32 = 12_582_912.0;
/// ln 2, the upper part with so few bits that its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// `coefficients`, the highest first, by Horner's rule.
#[inline(always)]
fn polynomial<const FMA: bool, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    let mut sum = coefficients[0];
    for i in 1..N {
        sum = fma::<FMA>(sum, x, coefficients[i]);
    }
    sum
}

/// 2 to the power of `exponent`, which is in -126..=127.
#[inline(always)]
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) << 23) as u32)
}

/// e to the power of `x`.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    // Beyond these bounds the result is inf or 0 anyway. NaN fails both comparisons and stays.
    let x = if x > 90.0 { 90.0 } else { x };
    let x = if x < -105.0 { -105.0 } else { x };
    let rounded = fma::<FMA>(x, std::f32::consts::LOG2_E, ROUNDER);
    let exponent = (rounded.to_bits() as i32).wrapping_sub(ROUNDER.to_bits() as i32);
    let n = rounded - ROUNDER;
    let r = fma::<FMA>(n, -LN2_LOW, fma::<FMA>(n, -LN2_HIGH, x));
    // Of SLEEF's expf.
    let p =
        polynomial::<FMA, 6>(r, [0.000_198_527_62, 0.001_393_043_6, 0.008_333_361, 0.041_666_485, 0.166_666_67, 0.5]);
    let value = fma::<FMA>(r * r, p, r) + 1.0;
    // In two steps, as the whole factor may be no normal float.
    let half = exponent >> 1;
    value * power_of_two(half) * power_of_two(exponent.wrapping_sub(half))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(-x.abs());
    let numerator = if x < 0.0 { e } else { 1.0 };
    numerator / (1.0 + e)
}

/// Hyperbolic tangent.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let far = 1.0 - 2.0 / (exp::<FMA>(2.0 * magnitude) + 1.0);
    let squared = x * x;
    // Of Cephes' tanhf.
    let p =
        polynomial::<FMA, 5>(squared, [-5.704_988_7e-3, 2.063_909e-2, -5.373_971_6e-2, 1.333_144_2e-1, -3.333_328e-1]);
    let near = fma::<FMA>(p * squared, magnitude, magnitude);
    (if magnitude < 0.625 { near } else { far }).copysign(x)
}

/// Natural logarithm.
#[inline(always)]
pub fn ln<const FMA: bool>(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let scaled = if subnormal { x * 8_388_608.0 } else { x };
    // The mantissa between sqrt(1/2) and sqrt(2), and its exponent.
    let bits = (scaled.to_bits() as i32).wrapping_sub(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32);
    let exponent = (bits >> 23) - if subnormal { 23 } else { 0 };
    let mantissa =
        f32::from_bits((bits & 0x007f_ffff).wrapping_add(std::f32::consts::FRAC_1_SQRT_2.to_bits() as i32) as u32);
    let r = mantissa - 1.0;
    let n = exponent as f32;
    // Of Cephes' logf.
    let p = polynomial::<FMA, 9>(
        r,
        [
            7.037_683_6e-2,
            -1.151_461e-1,
            1.167_699_9e-1,
            -1.242_014_1e-1,
            1.424_932_3e-1,
            -1.666_805_8e-1,
            2.000_071_5e-1,
            -2.499_999_4e-1,
            3.333_333e-1,
        ],
    );
    let squared = r * r;
    let tail = fma::<FMA>(squared, -0.5, fma::<FMA>(n, LN2_LOW, r * squared * p));
    let value = fma::<FMA>(n, LN2_HIGH, r + tail);
    let value = if x == 0.0 { f32::NEG_INFINITY } else { value };
    let value = if x == f32::INFINITY { x } else { value };
    if x >= 0.0 { value } else { f32::NAN }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{FmaKernel, Simd, dispatch_fma_at};

    #[derive(Clone, Copy, Debug)]
    enum Function {
        Exp,
        Sigmoid,
        Tanh,
        Ln,
    }

    struct Apply<'a>(Function, &'a mut [f32]);

    impl FmaKernel for Apply<'_> {
        type Output = ();
        #[inline(always)]
        fn run<const FMA: bool>(self) {
            match self.0 {
                Function::Exp => self.1.iter_mut().for_each(|x| *x = exp::<FMA>(*x)),
                Function::Sigmoid => self.1.iter_mut().for_each(|x| *x = sigmoid::<FMA>(*x)),
                Function::Tanh => self.1.iter_mut().for_each(|x| *x = tanh::<FMA>(*x)),
                Function::Ln => self.1.iter_mut().for_each(|x| *x = ln::<FMA>(*x)),
            }
        }
    }

    fn exact(function: Function, x: f64) -> f64 {
        match function {
            Function::Exp => x.exp(),
            Function::Sigmoid => {
                let e = (-x.abs()).exp();
                (if x < 0.0 { e } else { 1.0 }) / (1.0 + e)
            }
            Function::Tanh => x.tanh(),
            Function::Ln => x.ln(),
        }
    }

    /// The error in units of the last place of `exact`; 0 where both overflow or both are NaN.
    fn ulps(actual: f32, exact: f64) -> f64 {
        if actual.is_nan() || exact.is_nan() {
            return if actual.is_nan() && exact.is_nan() { 0.0 } else { f64::INFINITY };
        }
        if f64::from(actual) == exact || actual == exact as f32 && actual.is_infinite() {
            return 0.0;
        }
        let exponent = ((exact.abs().to_bits() >> 52) as i32 - 1023).clamp(-126, 127);
        let error = (f64::from(actual) - exact).abs() / 2f64.powi(exponent - 23);
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// The largest error over every `stride`-th float32 of all that there are, and where it is.
    fn largest_error(level: Simd, function: Function, stride: usize) -> (f64, f32) {
        let mut largest = (0.0, 0.0);
        let mut pattern = 0u64;
        while pattern <= u64::from(u32::MAX) {
            let inputs: Vec<f32> = (0..4099)
                .map(|i| (pattern + i * stride as u64).min(u64::from(u32::MAX)) as u32)
                .map(f32::from_bits)
                .collect();
            let mut outputs = inputs.clone();
            dispatch_fma_at(level, Apply(function, &mut outputs));
            for (&x, &y) in inputs.iter().zip(&outputs) {
                let error = ulps(y, exact(function, f64::from(x)));
                if error > largest.0 {
                    largest = (error, x);
                }
            }
            pattern += 4099 * stride as u64;
        }
        largest
    }

    #[test]
    fn errors_are_within_the_stated_bounds_over_all_of_float32() {
        // TENSORLOOM_EXHAUSTIVE=1 visits every one of the 2^32 inputs (minutes).
        let stride = if std::env::var_os("TENSORLOOM_EXHAUSTIVE").is_some() { 1 } else { 1009 };
        for level in Simd::available() {
            for (function, bound) in
                [(Function::Exp, 1.0), (Function::Sigmoid, 2.5), (Function::Tanh, 2.0), (Function::Ln, 1.0)]
            {
                let (error, at) = largest_error(level, function, stride);
                println!("{level:?} {function:?}: {error:.3} ulp at {at:e}");
                assert!(error <= bound, "{level:?} {function:?}: {error} ulp at {at:e}");
            }
        }
    }

    #[test]
    fn special_values_are_as_documented() {
        for level in Simd::available() {
            let of = |function, x| {
                let mut values = [x; 17];
                dispatch_fma_at(level, Apply(function, &mut values));
                values[16]
            };
            assert_eq!(
                [f32::NEG_INFINITY, -200.0, 89.0, f32::INFINITY].map(|x| of(Function::Exp, x)),
                [0.0, 0.0, f32::INFINITY, f32::INFINITY]
            );
            assert!(of(Function::Exp, -100.0) > 0.0, "subnormal results are kept");
            assert_eq!([f32::NEG_INFINITY, 0.0, f32::INFINITY].map(|x| of(Function::Sigmoid, x)), [0.0, 0.5, 1.0]);
            assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(|x| of(Function::Tanh, x)), [-1.0, 1.0]);
            assert!(of(Function::Tanh, -0.0).is_sign_negative());
            assert_eq!(
                [0.0, -0.0, 1.0, f32::INFINITY].map(|x| of(Function::Ln, x)),
                [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, f32::INFINITY]
            );
            assert!(of(Function::Ln, -1.0).is_nan());
            for function in [Function::Exp, Function::Sigmoid, Function::Tanh, Function::Ln] {
                assert!(of(function, f32::NAN).is_nan(), "{level:?} {function:?}");
            }
        }
    }
}
