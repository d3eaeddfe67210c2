//! Dense layers: matrix products in every layout, without a transposed copy.

use gemm::Parallelism;

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

/// `out = scale * left * right`, or `out += ...` with `accumulate`; `out` is row-major with rows `stride` apart.
///
/// # Safety
/// `out` must be valid for `left.rows` rows of `right.columns` elements at that stride, and nothing else may
/// touch these elements meanwhile.
unsafe fn product(
    left: Matrix,
    right: Matrix,
    out: *mut f32,
    stride: usize,
    accumulate: bool,
    scale: f32,
    parallelism: Parallelism,
) {
    assert_eq!(left.columns, right.rows);
    if left.rows == 0 || right.columns == 0 {
        return;
    }
    // SAFETY: `Matrix::new` checked that both inputs lie inside their slices; the caller vouches for `out`.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            out,
            1,
            stride as isize,
            accumulate,
            left.data.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.data.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A small product on the current thread, into memory that other tasks do not touch.
///
/// # Safety
/// As for [`product`].
pub(crate) unsafe fn product_in_task(
    left: Matrix,
    right: Matrix,
    out: *mut f32,
    stride: usize,
    accumulate: bool,
    scale: f32,
) {
    // SAFETY: the caller's promise.
    unsafe { product(left, right, out, stride, accumulate, scale, Parallelism::None) }
}

fn product_on_all_cores(left: Matrix, right: Matrix, out: &mut [f32], accumulate: bool) {
    let stride = right.columns;
    assert_eq!(out.len(), left.rows * stride);
    // Splitting a tiny product costs more than it saves.
    let operations = left.rows * left.columns * right.columns;
    let parallelism = if operations < 1 << 18 { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: `out` is a whole row-major matrix that is borrowed mutably.
    unsafe { product(left, right, out.as_mut_ptr(), stride, accumulate, 1.0, parallelism) }
}

/// `output [tokens, out] = input [tokens, in] * weight [out, in]^T`; the bias belongs to the operation that follows.
pub fn forward(input: &[f32], weight: &[f32], output: &mut [f32], tokens: usize) {
    if tokens == 0 {
        return;
    }
    let (inputs, outputs) = (input.len() / tokens, output.len() / tokens);
    assert_eq!(weight.len(), inputs * outputs);
    let input = Matrix::new(input, tokens, inputs, inputs);
    let weight = Matrix::new(weight, outputs, inputs, inputs);
    product_on_all_cores(input, weight.transposed(), output, false);
}

/// `d_input [tokens, in] = d_output [tokens, out] * weight [out, in]`, added to it with `accumulate`.
pub fn backward_input(d_output: &[f32], weight: &[f32], d_input: &mut [f32], tokens: usize, accumulate: bool) {
    if tokens == 0 {
        return;
    }
    let (inputs, outputs) = (d_input.len() / tokens, d_output.len() / tokens);
    assert_eq!(weight.len(), inputs * outputs);
    let d_output = Matrix::new(d_output, tokens, outputs, outputs);
    let weight = Matrix::new(weight, outputs, inputs, inputs);
    product_on_all_cores(d_output, weight, d_input, accumulate);
}

/// `d_weight [out, in] += d_output [tokens, out]^T * input [tokens, in]`.
pub fn backward_weight(d_output: &[f32], input: &[f32], d_weight: &mut [f32], tokens: usize) {
    if tokens == 0 {
        return;
    }
    let (inputs, outputs) = (input.len() / tokens, d_output.len() / tokens);
    let d_output = Matrix::new(d_output, tokens, outputs, outputs);
    let input = Matrix::new(input, tokens, inputs, inputs);
    product_on_all_cores(d_output.transposed(), input, d_weight, true);
}

/// `values [rows, columns] += bias [columns]`, row by row.
pub fn add_bias(values: &mut [f32], bias: &[f32]) {
    for row in values.chunks_exact_mut(bias.len()) {
        for (value, bias) in row.iter_mut().zip(bias) {
            *value += bias;
        }
    }
}

pub use crate::parallel::add_column_sums as backward_bias;

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect()
    }

    #[test]
    fn the_three_products_are_those_of_the_definition() {
        let (tokens, inputs, outputs) = (37, 21, 50);
        let (x, w, dy) = (numbers(tokens * inputs, 1), numbers(outputs * inputs, 2), numbers(tokens * outputs, 3));
        let mut y = vec![0f32; tokens * outputs];
        forward(&x, &w, &mut y, tokens);
        let mut dx = vec![1f32; tokens * inputs];
        backward_input(&dy, &w, &mut dx, tokens, true);
        let mut dw = vec![1f32; outputs * inputs];
        backward_weight(&dy, &x, &mut dw, tokens);
        for t in 0..tokens {
            for o in 0..outputs {
                let exact: f32 = (0..inputs).map(|i| x[t * inputs + i] * w[o * inputs + i]).sum();
                assert!((y[t * outputs + o] - exact).abs() < 1e-4);
            }
            for i in 0..inputs {
                let exact: f32 = (0..outputs).map(|o| dy[t * outputs + o] * w[o * inputs + i]).sum();
                assert!((dx[t * inputs + i] - 1.0 - exact).abs() < 1e-4);
            }
        }
        for o in 0..outputs {
            for i in 0..inputs {
                let exact: f32 = (0..tokens).map(|t| dy[t * outputs + o] * x[t * inputs + i]).sum();
                assert!((dw[o * inputs + i] - 1.0 - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn a_bias_gradient_is_the_column_sum_whatever_the_number_of_rows() {
        for rows in [1, 31, 32, 33, 100] {
            let matrix = numbers(rows * 5, rows);
            let mut total = vec![2f32; 5];
            backward_bias(&matrix, &mut total);
            for column in 0..5 {
                let exact: f32 = (0..rows).map(|row| matrix[row * 5 + column]).sum();
                assert!((total[column] - 2.0 - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn no_tokens_change_nothing() {
        let mut gradient = [3f32];
        backward_weight(&[], &[], &mut gradient, 0);
        assert_eq!(gradient, [3f32]);
    }
}
