//! Products of matrices.

use crate::error::Result;
use crate::storage::{DType, View, ViewMut};

/// A matrix that is read: element (i, j) lies at `i * row_stride + j * column_stride`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    /// The elements: floats of any storage.
    pub data: View<'a>,
    /// Elements from one row to the next.
    pub row_stride: usize,
    /// Elements from one column to the next.
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Of `columns` columns, row after row.
    pub fn row_major(data: View<'a>, columns: usize) -> Self {
        Self { data, row_stride: columns, column_stride: 1 }
    }

    /// The transpose, without a copy.
    pub fn transposed(self) -> Self {
        Self { data: self.data, row_stride: self.column_stride, column_stride: self.row_stride }
    }
}

/// A matrix that is written, row after row without gaps.
pub struct MatrixMut<'a> {
    /// The elements: floats of any storage.
    pub data: ViewMut<'a>,
}

/// Sizes of a product: `[m, k]` times `[k, n]` gives `[m, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GemmShape {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// What is summed over.
    pub k: usize,
}

/// In what values are multiplied. They are summed up in float32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// As float32, whatever they are stored in.
    Float32,
    /// Rounded to bfloat16, where the CPU multiplies that faster; as float32 where it does not.
    BFloat16,
}

impl Arithmetic {
    /// That of a model whose activations are stored so: products of bfloat16 activations are of bfloat16, as under PyTorch's autocast.
    pub fn of(activations: DType) -> Self {
        if activations == DType::BF16 { Self::BFloat16 } else { Self::Float32 }
    }
}

/// What is done with the product before it is stored, while it is still in the cache.
#[derive(Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// `[n]`, added to each row.
    pub bias: Option<View<'a>>,
    /// `[m, n]`, added after the activation.
    pub residual: Option<View<'a>>,
    /// Apply BLOOM's tanh-GELU after the bias.
    pub gelu: bool,
}

/// Which matrices of two stacks are multiplied: entry `i` of the result is `a[left[i]] b[right[i]]`.
#[derive(Clone, Copy)]
pub struct Batches<'a> {
    /// Elements from one matrix of `a` to the next.
    pub left_stride: usize,
    /// Elements from one matrix of `b` to the next.
    pub right_stride: usize,
    /// Index into `a` for each product.
    pub left: &'a [i32],
    /// Index into `b` for each product.
    pub right: &'a [i32],
}

/// Products of matrices.
pub trait Gemm {
    /// `c = epilogue(a b)`, or `c += a b` (with no epilogue) if `accumulate`.
    ///
    /// # Errors
    /// If operands are too short for the shape, are not floats, or there is an epilogue while accumulating.
    fn gemm(
        &self,
        arithmetic: Arithmetic,
        shape: GemmShape,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: MatrixMut<'_>,
        accumulate: bool,
        epilogue: Epilogue<'_>,
    ) -> Result<()>;

    /// A product for each entry of `batches`; the results lie one after another in `c`.
    ///
    /// # Errors
    /// If operands are too short for the shape and the indices, or are not floats.
    fn batched_gemm(
        &self,
        shape: GemmShape,
        batches: Batches<'_>,
        a: Matrix<'_>,
        b: Matrix<'_>,
        c: MatrixMut<'_>,
    ) -> Result<()>;

    /// `sums[j]` = the sum over rows of `x [rows, columns]`, in float32, in an order that depends on the shape only; added to what is there if
    /// `accumulate`.
    ///
    /// # Errors
    /// If operands are too short or are not floats.
    fn column_sums(&self, rows: usize, columns: usize, x: View<'_>, sums: ViewMut<'_>, accumulate: bool) -> Result<()>;
}
