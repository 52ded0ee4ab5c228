//! Which vector instructions kernels use: the widest that the CPU has, or what `TENSORLOOM_SIMD` says.
//!
//! A kernel is written once, in plain Rust, as a struct with `#[inline(always)] fn run`. [`dispatch`] compiles it once for each
//! [`Simd`] level, with that level's instructions enabled, so that the compiler vectorizes its loops for it.

use std::sync::OnceLock;

/// Levels of vector instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Simd {
    /// What every CPU of the target has (SSE2 on x86-64).
    Portable,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with conversions to bfloat16 and dot products of it.
    Avx512Bf16,
    /// Besides, tiles of bfloat16 that are multiplied whole (AMX-BF16).
    Amx,
    /// arm64's vectors, which every arm64 CPU has.
    Neon,
}

impl Simd {
    /// The name that `TENSORLOOM_SIMD` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
            Self::Neon => "neon",
        }
    }

    /// All levels that this CPU can run, the lowest first.
    pub fn available() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            if has!("avx2") && has!("fma") && has!("f16c") && has!("bmi2") {
                levels.push(Self::Avx2);
                if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") && has!("avx512cd") {
                    levels.push(Self::Avx512);
                    if has!("avx512bf16") {
                        levels.push(Self::Avx512Bf16);
                        if amx::is_available() {
                            levels.push(Self::Amx);
                        }
                    }
                }
            }
        }
        #[cfg(target_arch = "aarch64")]
        levels.push(Self::Neon);
        levels
    }
}

/// The name of the variable that overrides the choice.
pub const OVERRIDE_VARIABLE: &str = "TENSORLOOM_SIMD";

static LEVEL: OnceLock<std::result::Result<Simd, String>> = OnceLock::new();

/// The level in use, or what is wrong with the override.
///
/// # Errors
/// If the variable names a level that does not exist or that this CPU does not have.
pub fn chosen() -> std::result::Result<Simd, String> {
    LEVEL.get_or_init(|| choose(std::env::var(OVERRIDE_VARIABLE).ok().as_deref())).clone()
}

fn choose(wish: Option<&str>) -> std::result::Result<Simd, String> {
    let available = Simd::available();
    let widest = *available.last().unwrap_or(&Simd::Portable);
    match wish {
        None | Some("") => Ok(widest),
        Some(name) => available.iter().copied().find(|level| level.name() == name).ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|level| level.name()).collect();
            format!("{OVERRIDE_VARIABLE} is '{name}'; this CPU can run: {}.", names.join(", "))
        }),
    }
}

/// The level in use; the widest where the override is wrong (which [`chosen`] reports at start).
#[inline]
pub fn level() -> Simd {
    #[cfg(test)]
    if let Some(level) = testing::FORCED.get() {
        return level;
    }
    chosen().unwrap_or_else(|_| *Simd::available().last().unwrap_or(&Simd::Portable))
}

/// Work that is compiled once for each level.
pub trait Kernel {
    /// What it returns.
    type Output;
    /// Must be `#[inline(always)]`, and so must be what it calls, to be compiled for each level.
    fn run(self) -> Self::Output;
}

/// Runs a kernel with the level in use.
#[inline]
pub fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_at(level(), kernel)
}

/// Runs a kernel at a level, which [`Simd::available`] lists.
#[inline]
pub(crate) fn dispatch_at<K: Kernel>(level: Simd, kernel: K) -> K::Output {
    match level {
        // SAFETY: the level is only chosen where the CPU has its instructions.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx512 | Simd::Avx512Bf16 | Simd::Amx => unsafe { run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Simd::Avx2 => unsafe { run_avx2(kernel) },
        _ => kernel.run(),
    }
}

/// Work that multiplies and adds in one instruction where the level has one, and in two where it has not: there `f32::mul_add` would
/// call a function. See [`crate::cpu::math::fma`].
pub trait FmaKernel {
    /// What it returns.
    type Output;
    /// As [`Kernel::run`]. `FMA` tells whether there is such an instruction.
    fn run<const FMA: bool>(self) -> Self::Output;
}

struct WithFma<K>(K);

impl<K: FmaKernel> Kernel for WithFma<K> {
    type Output = K::Output;
    #[inline(always)]
    fn run(self) -> K::Output {
        self.0.run::<true>()
    }
}

/// As [`dispatch`], for an [`FmaKernel`].
#[inline]
pub fn dispatch_fma<K: FmaKernel>(kernel: K) -> K::Output {
    dispatch_fma_at(level(), kernel)
}

/// As [`dispatch_at`], for an [`FmaKernel`].
#[inline]
pub(crate) fn dispatch_fma_at<K: FmaKernel>(level: Simd, kernel: K) -> K::Output {
    match level {
        Simd::Portable => kernel.run::<false>(),
        _ => dispatch_at(level, WithFma(kernel)),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi2")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(target_arch = "x86_64")]
mod amx {
    //! Whether this process may use AMX's tiles.

    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::sync::OnceLock;

    /// Whether the CPU multiplies tiles of bfloat16, and the kernel lets this process use them: their registers are so large that Linux
    /// gives them only to processes that ask.
    pub fn is_available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| has_tiles() && may_use_tiles())
    }

    /// Bits 22 (AMX-BF16) and 24 (AMX-TILE) of leaf 7.
    fn has_tiles() -> bool {
        const BITS: u32 = 1 << 22 | 1 << 24;
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BITS == BITS
    }

    #[cfg(target_os = "linux")]
    fn may_use_tiles() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        // SAFETY: asks the kernel for a permission of the process, and touches no memory.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    #[cfg(not(target_os = "linux"))]
    fn may_use_tiles() -> bool {
        false
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Runs tests of whole operations at each level.
    use super::Simd;
    use std::cell::Cell;

    thread_local! {
        pub(super) static FORCED: Cell<Option<Simd>> = const { Cell::new(None) };
    }

    /// Calls `test` with each level that this CPU has in use on this thread, on which work stays where it has no pool.
    pub fn at_each_level(test: impl Fn(Simd)) {
        for level in Simd::available() {
            FORCED.set(Some(level));
            test(level);
        }
        FORCED.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_level_is_chosen_unless_the_variable_says_otherwise() {
        assert_eq!(choose(None).as_ref(), Ok(Simd::available().last().expect("never empty")));
        assert_eq!(choose(Some("portable")), Ok(Simd::Portable));
    }

    #[test]
    fn a_level_that_is_not_there_is_refused_with_those_that_are() {
        let error = choose(Some("sse9")).expect_err("no such level");
        assert!(error.contains("'sse9'") && error.contains("portable"), "{error}");
    }
}
