//! Activations fused with the bias before them.

use crate::gemm::{Finish, Input, Output, Piece, Precision, Weight, panels_at_most};
use crate::linear;
use crate::math;
use crate::parallel::{ROWS_PER_TASK, SharedMut, add_partials, with_scratch};
use multiversion::multiversion;
use rayon::prelude::*;

/// Activation functions, by the names that Hugging Face gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `gelu`: `x * Phi(x)`, exact.
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`: the tanh approximation.
    GeluTanh,
    /// `relu`.
    Relu,
    /// `tanh`.
    Tanh,
}

/// `sqrt(2 / pi)`, of the tanh approximation.
pub(crate) const GELU_TANH_SCALE: f32 = 0.797_884_6;
/// `1 / sqrt(2 pi)`, the normal density at 0.
const NORMAL_DENSITY: f32 = 0.398_942_3;

impl Activation {
    /// The activation and its derivative at `x`.
    #[inline(always)]
    fn value_and_derivative(self, x: f32) -> (f32, f32) {
        match self {
            Activation::Gelu => {
                let cumulative = math::normal_cumulative(x);
                let derivative = (x * NORMAL_DENSITY).mul_add(math::exp(-0.5 * x * x), cumulative);
                (x * cumulative, derivative)
            }
            Activation::GeluTanh => {
                let inner = GELU_TANH_SCALE * (0.044_715 * x * x).mul_add(x, x);
                let tanh = math::tanh(inner);
                let slope = GELU_TANH_SCALE * (3.0 * 0.044_715 * x).mul_add(x, 1.0);
                (0.5 * x * (1.0 + tanh), 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * slope)
            }
            Activation::Relu => (x.max(0.0), if x > 0.0 { 1.0 } else { 0.0 }),
            Activation::Tanh => {
                let tanh = math::tanh(x);
                (tanh, 1.0 - tanh * tanh)
            }
        }
    }
}

/// One loop an activation: a `match` inside the loop would keep it from being vectorised.
macro_rules! one_loop_each {
    ($activation:expr, $run:ident) => {
        match $activation {
            Activation::Gelu => $run!(Activation::Gelu),
            Activation::GeluTanh => $run!(Activation::GeluTanh),
            Activation::Relu => $run!(Activation::Relu),
            Activation::Tanh => $run!(Activation::Tanh),
        }
    };
}

/// A dense layer and its activation: `output = activation(input * weight^T + bias)`, `[tokens, out]`. `before` gets the
/// activation's argument for the backward, where that is wanted.
pub fn dense_forward<'a>(
    activation: Activation,
    input: impl Into<Input<'a>>,
    weight: Weight,
    bias: &[f32],
    before: Option<&mut [f32]>,
    output: Output,
    tokens: usize,
) {
    let (input, columns) = (input.into(), bias.len());
    let in_place = |piece: &mut Piece| {
        let bias = &bias[piece.columns.clone()];
        piece.rows.clone().for_each(|row| forward_row_in_place(activation, piece.row(row), bias));
    };
    let beside = |piece: &mut Piece, activated: &mut Piece| {
        let bias = &bias[piece.columns.clone()];
        piece.rows.clone().for_each(|row| forward_row(activation, piece.row(row), bias, activated.row(row)));
    };
    // SAFETY, to the end: pieces are disjoint and lie inside the result; `output` is found to be as large.
    match (output, before) {
        (Output::Plain(output), None) => {
            assert_eq!(output.len(), tokens * columns);
            linear::forward_and(input, weight, output, tokens, Some(&in_place));
        }
        (Output::Plain(output), Some(before)) => {
            assert_eq!(output.len(), tokens * columns);
            let output = SharedMut(output.as_mut_ptr());
            let finish: Finish = &|piece| beside(piece, &mut unsafe { piece.in_other(output.pointer()) });
            linear::forward_and(input, weight, before, tokens, Some(finish));
        }
        (Output::Packed(packed), None) => {
            assert!(packed.has_room(tokens, columns));
            let packed = &*packed;
            let finish: Finish = &|piece| {
                in_place(piece);
                unsafe { packed.write(piece) };
            };
            linear::forward_to(input, weight, tokens, columns, finish);
        }
        (Output::Packed(packed), Some(before)) => {
            assert!(packed.has_room(tokens, columns));
            let packed = &*packed;
            let finish: Finish = &|piece| {
                with_scratch(piece.rows.len() * piece.columns.len(), |scratch| {
                    let mut activated = piece.moved_to(scratch);
                    beside(piece, &mut activated);
                    unsafe { packed.write(&activated) };
                });
            };
            linear::forward_and(input, weight, before, tokens, Some(finish));
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn forward_row(activation: Activation, input: &mut [f32], bias: &[f32], output: &mut [f32]) {
    macro_rules! run {
        ($activation:expr) => {
            for ((input, bias), output) in input.iter_mut().zip(bias).zip(output.iter_mut()) {
                *input += bias;
                *output = $activation.value_and_derivative(*input).0;
            }
        };
    }
    one_loop_each!(activation, run);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn forward_row_in_place(activation: Activation, values: &mut [f32], bias: &[f32]) {
    macro_rules! run {
        ($activation:expr) => {
            for (value, bias) in values.iter_mut().zip(bias) {
                *value = $activation.value_and_derivative(*value + bias).0;
            }
        };
    }
    one_loop_each!(activation, run);
}

/// The backward of [`dense_forward`]'s activation. `before` is what that left there; it becomes the activation's value again (so
/// that the value need not be stored for the next layer's weight gradient). `gradient` comes in as the gradient
/// of the output, goes out as that of the argument; its column sums are added to `d_bias`.
pub fn backward(activation: Activation, before: &mut [f32], gradient: &mut [f32], d_bias: &mut [f32]) {
    assert_eq!(before.len(), gradient.len());
    let columns = d_bias.len();
    let chunk = ROWS_PER_TASK * columns;
    let mut partials = vec![0f32; before.len().div_ceil(chunk) * columns];
    before
        .par_chunks_mut(chunk)
        .zip(gradient.par_chunks_mut(chunk))
        .zip(partials.par_chunks_exact_mut(columns))
        .for_each(|((before, gradient), partial)| {
            for (before, gradient) in before.chunks_exact_mut(columns).zip(gradient.chunks_exact_mut(columns)) {
                backward_row(activation, before, gradient, partial);
            }
        });
    add_partials(&partials, d_bias);
}

/// [`backward`] of a gradient that comes through the next dense layer: `gradient [tokens, columns]` is first
/// `d_output [tokens, out] * weight [out, columns]`.
pub fn backward_through(
    activation: Activation,
    d_output: &[f32],
    weight: &[f32],
    precision: Precision,
    before: &mut [f32],
    gradient: &mut [f32],
    d_bias: &mut [f32],
    tokens: usize,
) {
    let columns = d_bias.len();
    assert!(before.len() == tokens * columns && gradient.len() == before.len());
    // Sums of panels of fixed size, so that they do not depend on the number of threads.
    let mut partials = vec![0f32; panels_at_most(tokens) * columns];
    let (before, shared) = (SharedMut(before.as_mut_ptr()), SharedMut(partials.as_mut_ptr()));
    let finish: Finish = &|piece| {
        // SAFETY: pieces are disjoint and lie inside the result, `before` is as large, and one piece alone has these columns of this panel.
        let (mut before, partial) = unsafe {
            let partial = shared.slice(piece.panel * columns + piece.columns.start, piece.columns.len());
            (piece.in_other(before.pointer()), partial)
        };
        piece.rows.clone().for_each(|row| backward_row(activation, before.row(row), piece.row(row), partial));
    };
    linear::backward_input_and(d_output, weight, precision, gradient, tokens, false, Some(finish));
    add_partials(&partials, d_bias);
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn backward_row(activation: Activation, input: &mut [f32], gradient: &mut [f32], partial: &mut [f32]) {
    macro_rules! run {
        ($activation:expr) => {
            for ((input, gradient), partial) in input.iter_mut().zip(gradient.iter_mut()).zip(partial.iter_mut()) {
                let (value, derivative) = $activation.value_and_derivative(*input);
                *input = value;
                *gradient *= derivative;
                *partial += *gradient;
            }
        };
    }
    one_loop_each!(activation, run);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::PackedRows;

    const ALL: [Activation; 4] = [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh];

    #[test]
    fn derivatives_agree_with_finite_differences() {
        for activation in ALL {
            for i in -400..400 {
                let x = i as f32 / 80.0 + 0.003;
                let step = 1e-2;
                let difference = f64::from(activation.value_and_derivative(x + step).0)
                    - f64::from(activation.value_and_derivative(x - step).0);
                let derivative = f64::from(activation.value_and_derivative(x).1);
                if activation == Activation::Relu && x.abs() <= step {
                    continue;
                }
                assert!((difference / f64::from(2.0 * step) - derivative).abs() < 2e-4, "{activation:?} at {x}");
            }
        }
    }

    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    #[test]
    fn backward_restores_the_value_and_sums_the_bias() {
        // The products of the first are split by columns, those of the second by rows.
        for (tokens, inputs, columns) in [(40, 30, 219), (300, 30, 70)] {
            backward_restores_and_sums(tokens, inputs, columns);
        }
    }

    /// The next layer's product is the same whether it reads the output or what was packed of it, and so is what is kept for the backward.
    #[test]
    fn an_output_may_be_packed_for_the_next_layer() {
        // Of 1700 inputs the sums need more than one block; 420 columns are several groups and an edge.
        for (tokens, inputs, columns) in [(70, 40, 420), (500, 40, 70), (20, 1700, 100)] {
            let (input, weight, bias) =
                (numbers(tokens * inputs, 1), numbers(columns * inputs, 2), numbers(columns, 3));
            let next = numbers(50 * columns, 4);
            for precision in [Precision::Float32, Precision::Bfloat16] {
                let (dense, next) = (Weight::Plain(&weight, precision), Weight::Plain(&next, precision));
                for keep_before in [false, true] {
                    let run = |packed: bool| {
                        let (mut rows, mut plain) = (PackedRows::default(), vec![0f32; tokens * columns]);
                        let mut before = vec![0f32; if keep_before { tokens * columns } else { 0 }];
                        if packed {
                            rows.make_room(tokens, columns, next);
                        }
                        let output = if packed { rows.or_mut(&mut plain) } else { Output::Plain(&mut plain) };
                        let kept = keep_before.then_some(&mut before[..]);
                        dense_forward(Activation::Gelu, &input, dense, &bias, kept, output, tokens);
                        let mut result = vec![0f32; tokens * 50];
                        linear::forward(rows.or(&plain), next, &mut result, tokens);
                        (result, before)
                    };
                    assert!(run(true) == run(false), "{tokens} {inputs} {columns} {precision:?} {keep_before}");
                }
            }
        }
    }

    fn backward_restores_and_sums(tokens: usize, inputs: usize, columns: usize) {
        let (input, weight, bias) = (numbers(tokens * inputs, 1), numbers(columns * inputs, 2), numbers(columns, 3));
        let (d_output, next) = (numbers(tokens * 50, 4), numbers(50 * columns, 5));
        for activation in ALL {
            let (mut before, mut output) = (vec![0f32; tokens * columns], vec![0f32; tokens * columns]);
            let dense = Weight::Plain(&weight, Precision::Float32);
            dense_forward(activation, &input, dense, &bias, Some(&mut before), Output::Plain(&mut output), tokens);
            let mut alone = output.clone();
            dense_forward(activation, &input, dense, &bias, None, Output::Plain(&mut alone), tokens);
            assert_eq!(alone, output);

            let (mut gradient, mut d_bias) = (vec![0f32; tokens * columns], vec![0f32; columns]);
            linear::backward_input(&d_output, &next, Precision::Float32, &mut gradient, tokens, false);
            let mut restored = before.clone();
            backward(activation, &mut restored, &mut gradient, &mut d_bias);
            assert_eq!(restored, output);
            let (mut through, mut d_bias_through) = (vec![0f32; tokens * columns], vec![0f32; columns]);
            backward_through(
                activation,
                &d_output,
                &next,
                Precision::Float32,
                &mut before,
                &mut through,
                &mut d_bias_through,
                tokens,
            );
            assert_eq!((before, through), (output, gradient.clone()));
            for c in 0..columns {
                let exact: f32 = (0..tokens).map(|t| gradient[t * columns + c]).sum();
                assert!((d_bias[c] - exact).abs() < 1e-4 && (d_bias_through[c] - exact).abs() < 1e-4);
            }
        }
    }
}
