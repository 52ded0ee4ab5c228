//! Products of small matrices in the cache, by blocks that lie in registers.

use crate::cpu::math::fma;

/// Rows of a block. With [`COLUMNS`] it fills twelve of AVX2's sixteen registers.
pub const ROWS: usize = 6;
/// Columns of a block.
pub const COLUMNS: usize = 16;

/// Which part of a product is needed, where the tile lies on the diagonal of causal attention.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Of each column the rows up to the same index; the others are not written.
    RowsUpToColumn,
    /// For each row the terms up to the same index, and some more, which must be zeros.
    TermsUpToRow,
    /// For each row the terms from the same index on, and some before, which must be zeros.
    TermsFromRow,
}

/// The left operand: element (i, p) lies at `i * row_stride + p * column_stride`.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    /// Where it begins.
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
}

/// `c = a b`, or `c += a b` if `add`: `[m, k]` times `[k, n]`; `b` and `c` row after row of `b_stride` and `c_stride`.
/// Rows are computed up to the next multiple of [`ROWS`]: `a` and `c` have them too. `n` is a multiple of [`COLUMNS`].
#[inline(always)]
pub fn product<const FMA: bool>(
    part: Part,
    [m, n, k]: [usize; 3],
    a: Left<'_>,
    (b, b_stride): (&[f32], usize),
    (c, c_stride): (&mut [f32], usize),
    add: bool,
) {
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    let rounded = m.next_multiple_of(ROWS);
    assert!(a.data.len() > (rounded - 1) * a.row_stride + (k - 1) * a.column_stride, "left operand");
    assert!(n.is_multiple_of(COLUMNS) && b.len() >= (k - 1) * b_stride + n, "right operand");
    assert!(c.len() >= (rounded - 1) * c_stride + n, "result");
    for j in (0..n).step_by(COLUMNS) {
        let rows = if part == Part::RowsUpToColumn { m.min(j + COLUMNS) } else { m };
        for i in (0..rows).step_by(ROWS) {
            let terms = match part {
                Part::TermsUpToRow => 0..k.min(i + ROWS),
                Part::TermsFromRow => i.min(k)..k,
                _ => 0..k,
            };
            // SAFETY: rows i..i + ROWS, columns j..j + COLUMNS and the terms are within the operands, as asserted above.
            unsafe {
                block::<FMA>(
                    terms.len(),
                    a.data.as_ptr().add(i * a.row_stride + terms.start * a.column_stride),
                    (a.row_stride, a.column_stride),
                    b.as_ptr().add(terms.start * b_stride + j),
                    b_stride,
                    c.as_mut_ptr().add(i * c_stride + j),
                    c_stride,
                    add,
                );
            }
        }
    }
}

/// # Safety
/// `a` has [`ROWS`] rows of `k` by these strides, `b` `k` rows and `c` [`ROWS`] rows of [`COLUMNS`] by theirs.
#[inline(always)]
unsafe fn block<const FMA: bool>(
    k: usize,
    a: *const f32,
    (row_stride, column_stride): (usize, usize),
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    add: bool,
) {
    let mut sums = [[0.0f32; COLUMNS]; ROWS];
    for p in 0..k {
        // SAFETY: row p of b.
        let right = unsafe { &*b.add(p * b_stride).cast::<[f32; COLUMNS]>() };
        for i in 0..ROWS {
            // SAFETY: element (i, p) of a.
            let left = unsafe { *a.add(i * row_stride + p * column_stride) };
            for j in 0..COLUMNS {
                sums[i][j] = fma::<FMA>(left, right[j], sums[i][j]);
            }
        }
    }
    for i in 0..ROWS {
        // SAFETY: row i of c.
        let to = unsafe { &mut *c.add(i * c_stride).cast::<[f32; COLUMNS]>() };
        // Copied, so that it is plain to the compiler that `to` and `sums` are apart.
        let (before, mut row) = (*to, sums[i]);
        if add {
            for j in 0..COLUMNS {
                row[j] += before[j];
            }
        }
        *to = row;
    }
}
