//! Dense layers: matrix products in every layout, without a transposed copy.

use crate::gemm::{Cores, Finish, Left, Matrix, Precision, Product, Right};
use multiversion::multiversion;

pub use crate::gemm::{Input, Output, PackedRows, Weight};

/// A whole row-major matrix of as many rows as there are tokens.
fn rows_of(data: &[f32], tokens: usize) -> Matrix<'_> {
    let columns = data.len() / tokens;
    assert_eq!(data.len(), tokens * columns);
    Matrix::new(data, tokens, columns, columns)
}

/// The factors of `input [tokens, in] * weight [out, in]^T`.
fn factors<'a>(input: Input<'a>, weight: Weight<'a>, tokens: usize, outputs: usize) -> (Left<'a>, Right<'a>) {
    let left = match input {
        Input::Plain(rows) => Left::Matrix(rows_of(rows, tokens)),
        Input::Packed(rows) => {
            assert_eq!(rows.rows(), tokens);
            Left::Packed(rows)
        }
    };
    let right = match weight {
        Weight::Plain(weight, precision) => Right::Matrix(rows_of(weight, outputs).transposed(), precision),
        Weight::Packed(weight) => Right::Packed(weight),
    };
    (left, right)
}

/// `out [rows, columns] = left * right`, or `out += ...`, on all cores.
fn product(left: Left, right: Right, out: &mut [f32], accumulate: bool, finish: Option<Finish>) {
    let columns = right.columns();
    assert_eq!(out.len(), left.rows() * columns);
    let product = Product { left, right, scale: 1.0, accumulate, finish };
    // SAFETY: `out` is a whole row-major matrix that is borrowed mutably.
    unsafe { product.run(out.as_mut_ptr(), columns, Cores::All) }
}

/// `output [tokens, out] = input [tokens, in] * weight [out, in]^T`; the bias belongs to the operation that follows.
pub fn forward<'a>(input: impl Into<Input<'a>>, weight: Weight, output: &mut [f32], tokens: usize) {
    forward_and(input.into(), weight, output, tokens, None);
}

/// [`forward`] with the bias `[out]` added to every row.
pub fn forward_bias<'a>(input: impl Into<Input<'a>>, weight: Weight, bias: &[f32], output: &mut [f32], tokens: usize) {
    assert_eq!(output.len(), tokens * bias.len());
    let finish: Finish = &|piece| {
        for row in piece.rows.clone() {
            let bias = &bias[piece.columns.clone()];
            add_to(piece.row(row), bias);
        }
    };
    forward_and(input.into(), weight, output, tokens, Some(finish));
}

/// [`forward`], and what is to be done with its result while it is in the cache.
pub(crate) fn forward_and(input: Input, weight: Weight, output: &mut [f32], tokens: usize, finish: Option<Finish>) {
    if tokens == 0 {
        return;
    }
    let (left, right) = factors(input, weight, tokens, output.len() / tokens);
    product(left, right, output, false, finish);
}

/// [`forward_and`] of a result that only `finish` sees: for outputs that are packed.
pub(crate) fn forward_to(input: Input, weight: Weight, tokens: usize, outputs: usize, finish: Finish) {
    if tokens > 0 {
        let (left, right) = factors(input, weight, tokens, outputs);
        Product { left, right, scale: 1.0, accumulate: false, finish: Some(finish) }.hand_over();
    }
}

/// `d_input [tokens, in] = d_output [tokens, out] * weight [out, in]`, added to it with `accumulate`.
pub fn backward_input(
    d_output: &[f32],
    weight: &[f32],
    precision: Precision,
    d_input: &mut [f32],
    tokens: usize,
    accumulate: bool,
) {
    backward_input_and(d_output, weight, precision, d_input, tokens, accumulate, None);
}

/// [`backward_input`], and what is to be done with its result while it is in the cache.
pub(crate) fn backward_input_and(
    d_output: &[f32],
    weight: &[f32],
    precision: Precision,
    d_input: &mut [f32],
    tokens: usize,
    accumulate: bool,
    finish: Option<Finish>,
) {
    if tokens == 0 {
        return;
    }
    let d_output = rows_of(d_output, tokens);
    let weight = Right::Matrix(rows_of(weight, d_output.columns()), precision);
    product(d_output.into(), weight, d_input, accumulate, finish);
}

/// `d_weight [out, in] += d_output [tokens, out]^T * input [tokens, in]`.
pub fn backward_weight(d_output: &[f32], input: &[f32], precision: Precision, d_weight: &mut [f32], tokens: usize) {
    if tokens == 0 {
        return;
    }
    let input = Right::Matrix(rows_of(input, tokens), precision);
    product(rows_of(d_output, tokens).transposed().into(), input, d_weight, true, None);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn add_to(values: &mut [f32], bias: &[f32]) {
    for (value, bias) in values.iter_mut().zip(bias) {
        *value += bias;
    }
}

pub use crate::parallel::add_column_sums as backward_bias;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::{PackedWeight, WeightPrecision};

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 500.0 - 1.0).collect()
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
    fn a_bias_is_added_to_every_row_once() {
        // Two blocks of K, several tasks, edges of panels and groups.
        let (tokens, inputs, outputs) = (70, 1700, 420);
        let (input, weight, bias) = (numbers(tokens * inputs, 1), numbers(outputs * inputs, 2), numbers(outputs, 3));
        for precision in [WeightPrecision::Float32, WeightPrecision::Bfloat16, WeightPrecision::Int8] {
            let packed = PackedWeight::new(&weight, inputs, precision);
            for weight in [Weight::Packed(&packed), Weight::Plain(&weight, Precision::Float32)] {
                let (mut plain, mut biased) = (vec![0f32; tokens * outputs], vec![7f32; tokens * outputs]);
                forward(&input, weight, &mut plain, tokens);
                forward_bias(&input, weight, &bias, &mut biased, tokens);
                for (row, plain) in biased.chunks_exact(outputs).zip(plain.chunks_exact(outputs)) {
                    assert!((0..outputs).all(|column| row[column] == plain[column] + bias[column]));
                }
            }
        }
    }

    #[test]
    fn no_tokens_change_nothing() {
        let mut gradient = [3f32];
        backward_weight(&[], &[], Precision::Float32, &mut gradient, 0);
        assert_eq!(gradient, [3f32]);
    }
}
