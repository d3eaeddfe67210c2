//! Matrix products in every layout, without a transposed copy.
//!
//! On processors with AVX-512 the products are our own ([`x86`]): one blocked loop for `f32`, `bf16` and `int8`, in registers or in the matrix
//! units (AMX) of those that have them, into which weights can go packed beforehand. Elsewhere (AVX2, aarch64) the `gemm` crate computes them, in `f32`,
//! but for weights in `int8`, which AVX2 multiplies by a loop of our own.

mod instructions;
mod library;
mod packed;
mod packed_rows;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use instructions::Instructions;
pub use packed::{PackedWeight, WeightPrecision};
pub use packed_rows::{Input, Output, PackedRows};

use std::marker::PhantomData;
use std::ops::Range;

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
    /// What this processor makes of it: where it multiplies `bf16` no faster than `f32`, everything is [`Precision::Float32`].
    pub fn available(self) -> Precision {
        if has_bfloat16() { self } else { Precision::Float32 }
    }
}

/// Whether `bf16` saves time here.
fn has_bfloat16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::has_bfloat16();
    #[cfg(not(target_arch = "x86_64"))]
    return false;
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

/// A dense layer's weight, `[out, in]`, as a product takes it.
#[derive(Clone, Copy)]
pub enum Weight<'a> {
    /// As it is.
    Plain(&'a [f32], Precision),
    /// Packed beforehand.
    Packed(&'a PackedWeight),
}

/// The left factor: a matrix, or rows that were packed by whoever made them.
#[derive(Clone, Copy)]
pub(crate) enum Left<'a> {
    Matrix(Matrix<'a>),
    Packed(&'a PackedRows),
}

impl<'a> From<Matrix<'a>> for Left<'a> {
    fn from(matrix: Matrix<'a>) -> Left<'a> {
        Left::Matrix(matrix)
    }
}

impl Left<'_> {
    pub(crate) fn rows(&self) -> usize {
        match self {
            Left::Matrix(matrix) => matrix.rows,
            Left::Packed(packed) => packed.rows(),
        }
    }

    pub(crate) fn columns(&self) -> usize {
        match self {
            Left::Matrix(matrix) => matrix.columns,
            Left::Packed(packed) => packed.columns(),
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

/// What becomes of the finished result while it is still in the cache: called for one piece after the other, each element being in one. It must
/// neither multiply matrices nor wait for other tasks: the thread may hold the matrix units' registers.
pub(crate) type Finish<'a> = &'a (dyn Fn(&mut Piece) + Sync);

/// Some columns of a panel of rows of a matrix, which are the holder's alone.
pub(crate) struct Piece<'a> {
    /// The panel of rows, below [`panels_at_most`]. How many rows a panel has depends on the processor and the precision alone.
    pub(crate) panel: usize,
    pub(crate) rows: Range<usize>,
    pub(crate) columns: Range<usize>,
    /// Its first element, and from row to row.
    data: *mut f32,
    stride: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

impl<'a> Piece<'a> {
    /// The piece whose first element is at `data`, of a matrix with rows `stride` apart.
    ///
    /// # Safety
    /// It must be valid for `'a`, and nobody else may touch it meanwhile.
    unsafe fn at(data: *mut f32, stride: usize, panel: usize, rows: Range<usize>, columns: Range<usize>) -> Piece<'a> {
        Piece { panel, rows, columns, data, stride, borrowed: PhantomData }
    }

    /// The piece of the matrix that begins at `matrix` and has rows `stride` apart.
    ///
    /// # Safety
    /// It must lie in the matrix, outlive the piece, and nobody else may touch it meanwhile.
    pub(crate) unsafe fn of(
        matrix: *mut f32,
        stride: usize,
        panel: usize,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Piece<'a> {
        // SAFETY: the caller's promise.
        unsafe { Piece::at(matrix.add(rows.start * stride + columns.start), stride, panel, rows, columns) }
    }

    /// Whole rows, of `columns` elements each.
    pub(crate) fn of_rows(data: &'a mut [f32], rows: Range<usize>, columns: usize) -> Piece<'a> {
        assert_eq!(data.len(), rows.len() * columns);
        // SAFETY: it is the whole of a slice that is borrowed mutably.
        unsafe { Piece::at(data.as_mut_ptr(), columns, 0, rows, 0..columns) }
    }

    /// The same piece of another matrix, of the same sizes.
    ///
    /// # Safety
    /// As for [`Piece::of`].
    pub(crate) unsafe fn in_other<'b>(&self, matrix: *mut f32) -> Piece<'b> {
        // SAFETY: the caller's promise.
        unsafe { Piece::of(matrix, self.stride, self.panel, self.rows.clone(), self.columns.clone()) }
    }

    /// A piece of the same rows and columns that stands alone in `data`.
    pub(crate) fn moved_to<'b>(&self, data: &'b mut [f32]) -> Piece<'b> {
        assert_eq!(data.len(), self.rows.len() * self.columns.len());
        let (rows, columns) = (self.rows.clone(), self.columns.clone());
        // SAFETY: it is the whole of a slice that is borrowed mutably.
        unsafe { Piece::at(data.as_mut_ptr(), columns.len(), self.panel, rows, columns) }
    }

    /// Its elements of one of its rows.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row));
        // SAFETY: whoever made the piece vouched for all of it, and the borrow is of the whole piece.
        unsafe {
            let data = self.data.add((row - self.rows.start) * self.stride);
            std::slice::from_raw_parts_mut(data, self.columns.len())
        }
    }
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
    pub(crate) left: Left<'a>,
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
        let Some(cores) = self.cores(cores) else { return };
        // SAFETY: `Matrix::new` checked that the factors lie inside their slices; the caller vouches for `out`.
        #[cfg(target_arch = "x86_64")]
        if has_avx512() || matches!(self.right, Right::Packed(weight) if weight.is_int8()) {
            return unsafe { x86::run(self, Some((out, stride)), cores) };
        }
        // SAFETY: as above.
        unsafe { library::run(self, out, stride, cores) }
    }

    /// Computes the product for its `finish` alone, on all cores: no more of it is kept at a time than a piece, or, where the sums take several blocks of K, a task's part. Only where rows are packed.
    pub(crate) fn hand_over(self) {
        assert!(has_avx512() && self.finish.is_some() && !self.accumulate);
        let Some(cores) = self.cores(Cores::All) else { return };
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; the processor was asked.
        unsafe {
            x86::run(self, None, cores)
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!("rows are only packed where our own products run ({cores:?})");
    }

    /// Where the work is done, if there is any: splitting a tiny product costs more than it saves.
    fn cores(&self, cores: Cores) -> Option<Cores> {
        assert_eq!(self.left.columns(), self.right.rows());
        match self.left.rows() * self.left.columns() * self.right.columns() {
            _ if self.left.rows() == 0 || self.right.columns() == 0 => None,
            operations if operations < 1 << 18 => Some(Cores::One),
            _ => Some(cores),
        }
    }
}

#[cfg(test)]
mod tests;
