//! Products by the `gemm` crate: AVX2 and aarch64, in `f32`.

use super::{Cores, LEAST_PANEL_ROWS, Left, Piece, Product, Right};
use crate::parallel::SharedMut;
use gemm::Parallelism;
use rayon::prelude::*;

/// See [`Product::run`].
///
/// # Safety
/// As for [`Product::run`].
pub(super) unsafe fn run(product: Product, out: *mut f32, stride: usize, cores: Cores) {
    let left = match product.left {
        Left::Matrix(matrix) => matrix,
        Left::Packed(_) => unreachable!("rows are only packed where our own products run"),
    };
    let right = match product.right {
        Right::Matrix(matrix, _) => matrix,
        Right::Packed(weight) => weight.plain(),
    };
    let parallelism = match cores {
        Cores::One => Parallelism::None,
        Cores::All => Parallelism::Rayon(0),
    };
    // SAFETY: `Matrix::new` checked that both factors lie inside their slices; the caller vouches for `out`.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out,
            1,
            stride as isize,
            product.accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            product.scale,
            false,
            false,
            false,
            parallelism,
        );
    }
    if let Some(finish) = product.finish {
        let out = SharedMut(out);
        (0..left.rows.div_ceil(LEAST_PANEL_ROWS)).into_par_iter().for_each(|panel| {
            let rows = panel * LEAST_PANEL_ROWS..((panel + 1) * LEAST_PANEL_ROWS).min(left.rows);
            // SAFETY: every row is one task's alone; the caller vouches for `out`.
            finish(&mut unsafe { Piece::of(out.pointer(), stride, panel, rows, 0..right.columns) });
        });
    }
}
