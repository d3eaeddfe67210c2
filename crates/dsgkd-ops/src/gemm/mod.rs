//! Matrix products in every layout, without a transposed copy.
//!
//! On processors with AVX-512 the products are our own ([`x86`]): one blocked loop for `f32`, `bf16` and `int8`, in registers or in the matrix
//! units (AMX) of those that have them, into which weights can go packed beforehand. Elsewhere (AVX2, aarch64) the `gemm` crate computes them, in `f32`.

mod instructions;
mod library;
mod packed;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use instructions::Instructions;
pub use packed::{PackedWeight, WeightPrecision};

/// What the numbers of a product are rounded to before they are multiplied; sums are always `f32`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// Nothing is rounded.
    #[default]
    Float32,
    /// Both factors to 8 bits of mantissa: much faster where the processor multiplies such numbers at full rate.
    Bfloat16,
}

impl Precision {
    /// What this processor makes of it: without AVX-512 everything is [`Precision::Float32`].
    pub fn available(self) -> Precision {
        if has_avx512() { self } else { Precision::Float32 }
    }
}

/// Whether our own products run here.
fn has_avx512() -> bool {
    Instructions::used() >= Instructions::Avx512
}

/// A matrix that is read: a slice with strides, so that a transpose costs nothing.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A row-major matrix whose rows lie `stride` elements apart.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Matrix<'a> {
        assert!(rows == 0 || columns == 0 || data.len() >= (rows - 1) * stride + columns);
        Matrix { data, rows, columns, row_stride: stride, column_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The transpose, of the same elements.
    pub(crate) fn transposed(self) -> Matrix<'a> {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// The right factor: a matrix, or a weight that was packed beforehand.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    // Only our own products round, and they are written for x86-64.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the library has one precision"))]
    Matrix(Matrix<'a>, Precision),
    Packed(&'a PackedWeight),
}

impl Right<'_> {
    fn rows(&self) -> usize {
        match self {
            Right::Matrix(matrix, _) => matrix.rows,
            Right::Packed(weight) => weight.inputs(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match self {
            Right::Matrix(matrix, _) => matrix.columns,
            Right::Packed(weight) => weight.outputs(),
        }
    }
}

/// What becomes of the finished result while it is still in the cache: called for pieces of rows, with their place and the
/// elements. Pieces of one panel that share a column come one after the other, in the order of their rows. It must neither multiply matrices nor
/// wait for other tasks: the thread may hold the matrix units' registers.
pub(crate) type Finish<'a> = &'a (dyn Fn(Place, &mut [f32]) + Sync);

/// Where a piece of the result lies.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    /// Its panel of rows, below [`panels_at_most`]. How many rows a panel has depends on the processor and the precision alone.
    pub(crate) panel: usize,
    pub(crate) row: usize,
    /// The first of its columns.
    pub(crate) column: usize,
}

/// Rows of the lowest panels.
const LEAST_PANEL_ROWS: usize = 12;

/// No more panels have `rows` of a result.
pub(crate) fn panels_at_most(rows: usize) -> usize {
    rows.div_ceil(LEAST_PANEL_ROWS)
}

/// `out = scale * left * right`, or `out += ...`.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) left: Matrix<'a>,
    pub(crate) right: Right<'a>,
    pub(crate) scale: f32,
    pub(crate) accumulate: bool,
    pub(crate) finish: Option<Finish<'a>>,
}

/// Where a product's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cores {
    /// On the current thread: many products run side by side.
    One,
    /// On the whole rayon pool.
    All,
}

impl Product<'_> {
    /// Computes the product into `out`, row-major with rows `stride` apart.
    ///
    /// # Safety
    /// `out` must be valid for `left.rows` rows of `right.columns` elements at that stride, and nothing else may touch these
    /// elements meanwhile.
    pub(crate) unsafe fn run(self, out: *mut f32, stride: usize, cores: Cores) {
        assert_eq!(self.left.columns, self.right.rows());
        if self.left.rows == 0 || self.right.columns() == 0 {
            return;
        }
        // Splitting a tiny product costs more than it saves.
        let operations = self.left.rows * self.left.columns * self.right.columns();
        let cores = if operations < 1 << 18 { Cores::One } else { cores };
        // SAFETY: `Matrix::new` checked that the factors lie inside their slices; the caller vouches for `out`.
        #[cfg(target_arch = "x86_64")]
        if has_avx512() {
            return unsafe { x86::run(self, out, stride, cores) };
        }
        // SAFETY: as above.
        unsafe { library::run(self, out, stride, cores) }
    }
}

#[cfg(test)]
mod tests;
