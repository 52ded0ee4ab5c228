//! Products of tiles of bfloat16 in AMX's registers, which the compiler does not know: written as assembler.
//!
//! A tile has 16 rows of 64 bytes. `tdpbf16ps` adds to a tile of 16 × 16 float32 sums the product of 16 rows by 32 depths of the left operand and
//! 32 depths by 16 columns of the right one, whose values lie in pairs of depths: row `p` has, for each column, those of depths `2p` and `2p + 1`.
//! Values are rounded to nearest; subnormal ones count as zero (Intel, Architecture Instruction Set Extensions, chapter "AMX").

use super::tiles_of_halves::SIDE;
use std::arch::asm;
use std::marker::PhantomData;

/// The shapes of the eight tile registers: 16 rows of 64 bytes each.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_of_row: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = {
    let (mut bytes_of_row, mut rows) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < 8 {
        (bytes_of_row[register], rows[register]) = (64, SIDE as u8);
        register += 1;
    }
    Shapes { palette: 1, start_row: 0, reserved: [0; 14], bytes_of_row, rows }
};

/// This thread's tile registers, for as long as it lives. They must not stay set: the kernel saves them at each switch of threads.
pub struct Tiles(PhantomData<*const ()>);

impl Tiles {
    /// # Safety
    /// The level is [`crate::simd::Simd::Amx`].
    pub unsafe fn open() -> Self {
        // SAFETY: by the caller's promise; the shapes are valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, readonly)) };
        Self(PhantomData)
    }

    /// The sums over `steps` tiles of depth for two rows of tiles, `left`, and two columns of them, `right`, written (or added, if `add`) to 32 rows of
    /// 32 values at `to`, `stride` elements apart.
    ///
    /// Each operand has its tiles of one depth in `PARTS` parts, which sum up to the value, and the next depth after them. Of one part the product is that of
    /// bfloat16. Of three it is that of float32: what is left out of `(a0 + a1 + a2)(b0 + b1 + b2)` is below 2^-24 of it, as each part has 8 bits of
    /// the value.
    ///
    /// # Safety
    /// The operands have these tiles and `to` has room for these values, and has them if `add`.
    #[inline]
    pub unsafe fn multiply<const PARTS: usize>(
        &self,
        steps: usize,
        left: [*const u8; 2],
        right: [*const u8; 2],
        to: *mut f32,
        stride: usize,
        add: bool,
    ) {
        const { assert!(PARTS == 1 || PARTS == 3) };
        let row = stride * 4;
        let lower = to.wrapping_add(SIDE * stride);
        // SAFETY: by the caller's promise. The compiler uses no tile registers, so they stay as they are from one piece of assembler to the next.
        unsafe {
            if add {
                asm!(
                    "tileloadd tmm0, [{upper} + {row}]",
                    "tileloadd tmm1, [{upper} + {row} + 64]",
                    "tileloadd tmm2, [{lower} + {row}]",
                    "tileloadd tmm3, [{lower} + {row} + 64]",
                    upper = in(reg) to, lower = in(reg) lower, row = in(reg) row,
                    options(nostack, readonly),
                );
            } else {
                asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
            }
            match PARTS {
                _ if steps == 0 => {}
                1 => sum_of_bf16(steps, left, right),
                _ => sum_of_f32(steps, left, right),
            }
            asm!(
                "tilestored [{upper} + {row}], tmm0",
                "tilestored [{upper} + {row} + 64], tmm1",
                "tilestored [{lower} + {row}], tmm2",
                "tilestored [{lower} + {row} + 64], tmm3",
                upper = in(reg) to, lower = in(reg) lower, row = in(reg) row,
                options(nostack),
            );
        }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: there are tiles, else this would not be here.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Loads a part of both rows of left tiles.
macro_rules! left {
    ($part:literal) => {
        concat!("tileloadd tmm4, [{a0} + {row} + ", $part, "*1024]\ntileloadd tmm5, [{a1} + {row} + ", $part, "*1024]")
    };
}

/// Loads a part of both columns of right tiles.
macro_rules! right {
    ($part:literal) => {
        concat!("tileloadd tmm6, [{b0} + {row} + ", $part, "*1024]\ntileloadd tmm7, [{b1} + {row} + ", $part, "*1024]")
    };
}

/// Adds the products of what is loaded to tiles 0 to 3.
macro_rules! products {
    () => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}

/// Runs lines for each of `steps` tiles of depth, of so many parts.
macro_rules! for_each_step {
    ($parts:literal, $steps:ident, $left:ident, $right:ident, $($line:expr),+) => {
        asm!(
            "2:",
            $($line,)+
            concat!("add {a0}, ", $parts, "*1024"),
            concat!("add {a1}, ", $parts, "*1024"),
            concat!("add {b0}, ", $parts, "*1024"),
            concat!("add {b1}, ", $parts, "*1024"),
            "dec {steps}",
            "jnz 2b",
            a0 = inout(reg) $left[0] => _, a1 = inout(reg) $left[1] => _,
            b0 = inout(reg) $right[0] => _, b1 = inout(reg) $right[1] => _,
            steps = inout(reg) $steps => _, row = in(reg) 64_usize,
            options(nostack, readonly),
        )
    };
}

/// Adds to tiles 0 to 3; there is a step at least.
///
/// # Safety
/// As for [`Tiles::multiply`].
#[inline(always)]
unsafe fn sum_of_bf16(steps: usize, left: [*const u8; 2], right: [*const u8; 2]) {
    // SAFETY: by the caller's promise.
    unsafe { for_each_step!("1", steps, left, right, left!("0"), right!("0"), products!()) };
}

/// Adds to tiles 0 to 3: of the nine products of parts the six whose values can matter, in an order in which few tiles are loaded twice. There is a
/// step at least.
///
/// # Safety
/// As for [`Tiles::multiply`].
#[inline(always)]
unsafe fn sum_of_f32(steps: usize, left: [*const u8; 2], right: [*const u8; 2]) {
    // SAFETY: by the caller's promise.
    unsafe {
        for_each_step!(
            "3",
            steps,
            left,
            right,
            left!("2"),
            right!("0"),
            products!(),
            left!("0"),
            products!(),
            right!("2"),
            products!(),
            right!("1"),
            products!(),
            left!("1"),
            products!(),
            right!("0"),
            products!()
        );
    }
}
