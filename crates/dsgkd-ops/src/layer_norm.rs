//! `LayerNorm(residual + dropout(input + bias))`, one pass forward, one pass backward.

use crate::gemm::{PackedRows, Piece};
use crate::math;
use crate::parallel::{ROWS_PER_TASK, add_partials};
use crate::{Dropout, RowDropout};
use multiversion::multiversion;
use rayon::prelude::*;

/// Parameters of a LayerNorm: `weight [hidden]`, `bias [hidden]`, epsilon of the variance.
#[derive(Clone, Copy)]
pub struct LayerNorm<'a> {
    /// `gamma`.
    pub weight: &'a [f32],
    /// `beta`.
    pub bias: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
}

/// Gradients that [`backward`] adds to, each `[hidden]`.
pub struct LayerNormGradients<'a> {
    /// Of `gamma`.
    pub weight: &'a mut [f32],
    /// Of `beta`.
    pub bias: &'a mut [f32],
    /// Of the bias that was added to the input; `None` when there was none.
    pub input_bias: Option<&'a mut [f32]>,
}

/// What is added to the rows before the norm.
#[derive(Clone, Copy)]
pub struct Addends<'a> {
    /// Bias of the dense layer before, `[hidden]`.
    pub bias: &'a [f32],
    /// Residual, `[tokens, hidden]`.
    pub residual: &'a [f32],
    /// Dropout of the rows and their bias, before the residual is added.
    pub dropout: RowDropout<'a>,
}

/// `output = norm(residual + dropout(rows + bias))`, all `[tokens, hidden]`, or `norm(rows)` alone. Leaves the normalised rows (before
/// `gamma` and `beta`) in `rows` and `1 / standard deviation` in `inverse_deviation [tokens]` for the backward. `packed` gets the output once more, if it
/// has room.
pub fn forward(
    norm: LayerNorm,
    rows: &mut [f32],
    add: Option<Addends>,
    inverse_deviation: &mut [f32],
    output: &mut [f32],
    packed: Option<&mut PackedRows>,
) {
    let hidden = norm.weight.len();
    let rows_per_task =
        ROWS_PER_TASK.next_multiple_of(packed.as_ref().and_then(|packed| packed.panel_rows()).unwrap_or(1));
    let (chunk, packed) = (rows_per_task * hidden, packed.map(|packed| &*packed));
    assert!(
        packed.is_none_or(|packed| packed.panel_rows().is_none() || packed.has_room(inverse_deviation.len(), hidden))
    );
    assert!(rows.len() == output.len() && rows.len() == inverse_deviation.len() * hidden);
    assert!(add.is_none_or(|add| add.residual.len() == rows.len() && add.bias.len() == hidden));
    rows.par_chunks_mut(chunk)
        .zip(inverse_deviation.par_chunks_mut(rows_per_task))
        .zip(output.par_chunks_mut(chunk))
        .enumerate()
        .for_each(|(task, ((rows, inverse_deviation), output))| {
            let first = task * rows_per_task;
            let tokens = first..first + inverse_deviation.len();
            let rows = rows.chunks_exact_mut(hidden).zip(output.chunks_exact_mut(hidden));
            for ((token, (values, output)), inverse_deviation) in tokens.clone().zip(rows).zip(inverse_deviation) {
                if let Some(add) = add {
                    let residual = &add.residual[token * hidden..(token + 1) * hidden];
                    add_row(values, add.bias, residual, add.dropout.row(token));
                }
                *inverse_deviation = forward_row(norm, values, output);
            }
            if let Some(packed) = packed {
                // SAFETY: the task's rows are its own.
                unsafe { packed.write(&Piece::of_rows(output, tokens, hidden)) };
            }
        });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn add_row(values: &mut [f32], bias: &[f32], residual: &[f32], dropout: Dropout) {
    let addends = values.iter_mut().zip(bias).zip(residual);
    if dropout.is_active() {
        for (index, ((value, bias), residual)) in addends.enumerate() {
            *value = (*value + bias) * dropout.factor(index) + residual;
        }
    } else {
        for ((value, bias), residual) in addends {
            *value += bias + residual;
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn forward_row(norm: LayerNorm, values: &mut [f32], output: &mut [f32]) -> f32 {
    let hidden = values.len();
    let mean = math::sum(values) / hidden as f32;
    for value in values.iter_mut() {
        *value -= mean;
    }
    let variance = math::dot(values, values) / hidden as f32;
    let inverse_deviation = 1.0 / (variance + norm.epsilon).sqrt();
    for (((value, weight), bias), output) in values.iter_mut().zip(norm.weight).zip(norm.bias).zip(output.iter_mut()) {
        *value *= inverse_deviation;
        *output = value.mul_add(*weight, *bias);
    }
    inverse_deviation
}

/// The output again, to the same bits, from the normalised rows: cheaper than having stored it.
pub fn output_again(norm: LayerNorm, normalised: &[f32], output: &mut [f32]) {
    let hidden = norm.weight.len();
    let chunk = ROWS_PER_TASK * hidden;
    output.par_chunks_mut(chunk).zip(normalised.par_chunks(chunk)).for_each(|(output, normalised)| {
        for (output, normalised) in output.chunks_exact_mut(hidden).zip(normalised.chunks_exact(hidden)) {
            output_row(norm, normalised, output);
        }
    });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn output_row(norm: LayerNorm, normalised: &[f32], output: &mut [f32]) {
    for (((output, value), weight), bias) in output.iter_mut().zip(normalised).zip(norm.weight).zip(norm.bias) {
        *output = value.mul_add(*weight, *bias);
    }
}

/// The backward of [`forward`]: from `d_output`, the gradient of the sum before the norm goes to `d_residual` and that of
/// `input` (through the dropout) to `d_input`.
pub fn backward(
    norm: LayerNorm,
    d_output: &[f32],
    normalised: &[f32],
    inverse_deviation: &[f32],
    dropout: RowDropout,
    d_residual: &mut [f32],
    d_input: &mut [f32],
    gradients: LayerNormGradients,
) {
    let hidden = norm.weight.len();
    let chunk = ROWS_PER_TASK * hidden;
    assert!(d_output.len() == normalised.len() && d_output.len() == d_residual.len());
    assert_eq!(d_output.len(), d_input.len());
    let tasks = d_output.len().div_ceil(chunk);
    let mut partials = vec![0f32; tasks * 3 * hidden]; // [tasks, weight | bias | input bias, hidden]
    d_output
        .par_chunks(chunk)
        .zip(normalised.par_chunks(chunk))
        .zip(inverse_deviation.par_chunks(ROWS_PER_TASK))
        .zip(d_residual.par_chunks_mut(chunk).zip(d_input.par_chunks_mut(chunk)))
        .zip(partials.par_chunks_exact_mut(3 * hidden))
        .enumerate()
        .for_each(|(task, ((((d_output, normalised), inverse_deviation), (d_residual, d_input)), partial))| {
            for (row, inverse_deviation) in inverse_deviation.iter().enumerate() {
                let here = row * hidden..(row + 1) * hidden;
                backward_row(
                    norm.weight,
                    &d_output[here.clone()],
                    &normalised[here.clone()],
                    *inverse_deviation,
                    dropout.row(task * ROWS_PER_TASK + row),
                    &mut d_residual[here.clone()],
                    &mut d_input[here],
                    partial,
                );
            }
        });
    let mut totals = vec![0f32; 3 * hidden];
    add_partials(&partials, &mut totals);
    let add = |gradient: &mut [f32], total: &[f32]| gradient.iter_mut().zip(total).for_each(|(g, t)| *g += t);
    add(gradients.weight, &totals[..hidden]);
    add(gradients.bias, &totals[hidden..2 * hidden]);
    if let Some(input_bias) = gradients.input_bias {
        add(input_bias, &totals[2 * hidden..]);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn backward_row(
    weight: &[f32],
    d_output: &[f32],
    normalised: &[f32],
    inverse_deviation: f32,
    dropout: Dropout,
    d_residual: &mut [f32],
    d_input: &mut [f32],
    partial: &mut [f32],
) {
    let hidden = weight.len();
    // Slices of one known length let the loops below go without bounds checks.
    let (d_output, normalised) = (&d_output[..hidden], &normalised[..hidden]);
    let (d_residual, d_input) = (&mut d_residual[..hidden], &mut d_input[..hidden]);
    let (d_weight, rest) = partial.split_at_mut(hidden);
    let (d_bias, d_input_bias) = rest.split_at_mut(hidden);
    let d_input_bias = &mut d_input_bias[..hidden];
    for i in 0..hidden {
        d_weight[i] += d_output[i] * normalised[i];
        d_bias[i] += d_output[i];
        d_residual[i] = d_output[i] * weight[i];
    }
    let mean = math::sum(d_residual) / hidden as f32;
    let projection = math::dot(d_residual, normalised) / hidden as f32;
    for i in 0..hidden {
        d_residual[i] = (d_residual[i] - mean - normalised[i] * projection) * inverse_deviation;
    }
    d_input.copy_from_slice(d_residual);
    if dropout.is_active() {
        for (index, value) in d_input.iter_mut().enumerate() {
            *value *= dropout.factor(index);
        }
    }
    for (sum, value) in d_input_bias.iter_mut().zip(d_input.iter()) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::linear::{self, Input, Weight};

    const TOKENS: usize = 35;
    const HIDDEN: usize = 20;

    struct Case {
        input: Vec<f32>,
        residual: Vec<f32>,
        bias: Vec<f32>,
        weight: Vec<f32>,
        beta: Vec<f32>,
        direction: Vec<f32>,
    }

    fn case() -> Case {
        let numbers = |count: usize, seed: usize| -> Vec<f32> {
            (0..count).map(|i| ((i * 7919 + seed * 104_729) % 997) as f32 / 500.0 - 1.0).collect()
        };
        Case {
            input: numbers(TOKENS * HIDDEN, 1),
            residual: numbers(TOKENS * HIDDEN, 2),
            bias: numbers(HIDDEN, 3),
            weight: numbers(HIDDEN, 4),
            beta: numbers(HIDDEN, 5),
            direction: numbers(TOKENS * HIDDEN, 6),
        }
    }

    /// A scalar of the output: its dot product with a fixed direction.
    fn objective(case: &Case, dropout: Dropout, normalised: &mut [f32], inverse: &mut [f32]) -> f64 {
        let mut output = vec![0f32; TOKENS * HIDDEN];
        let norm = LayerNorm { weight: &case.weight, bias: &case.beta, epsilon: 1e-5 };
        let dropout = RowDropout { dropout, rows: None };
        let add = Addends { bias: &case.bias, residual: &case.residual, dropout };
        normalised.copy_from_slice(&case.input);
        forward(norm, normalised, Some(add), inverse, &mut output, None);
        output.iter().zip(&case.direction).map(|(o, d)| f64::from(o * d)).sum()
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        for dropout in [Dropout::NONE, Dropout::new(0.3, 5)] {
            let mut case = case();
            let (mut normalised, mut inverse) = (vec![0f32; TOKENS * HIDDEN], vec![0f32; TOKENS]);
            objective(&case, dropout, &mut normalised, &mut inverse);
            let (mut d_residual, mut d_input) = (vec![0f32; TOKENS * HIDDEN], vec![0f32; TOKENS * HIDDEN]);
            let (mut d_weight, mut d_beta, mut d_bias) = (vec![0f32; HIDDEN], vec![0f32; HIDDEN], vec![0f32; HIDDEN]);
            backward(
                LayerNorm { weight: &case.weight, bias: &case.beta, epsilon: 1e-5 },
                &case.direction,
                &normalised,
                &inverse,
                RowDropout { dropout, rows: None },
                &mut d_residual,
                &mut d_input,
                LayerNormGradients { weight: &mut d_weight, bias: &mut d_beta, input_bias: Some(&mut d_bias) },
            );
            let fields: [(fn(&mut Case) -> &mut Vec<f32>, &[f32]); 5] = [
                (|c| &mut c.input, &d_input),
                (|c| &mut c.residual, &d_residual),
                (|c| &mut c.bias, &d_bias),
                (|c| &mut c.weight, &d_weight),
                (|c| &mut c.beta, &d_beta),
            ];
            for (field, (of, gradient)) in fields.iter().enumerate() {
                for index in (0..gradient.len()).step_by(gradient.len() / 20) {
                    let kept = of(&mut case)[index];
                    let step = 1e-2;
                    let (mut n, mut r) = (normalised.clone(), inverse.clone());
                    of(&mut case)[index] = kept + step;
                    let above = objective(&case, dropout, &mut n, &mut r);
                    of(&mut case)[index] = kept - step;
                    let below = objective(&case, dropout, &mut n, &mut r);
                    of(&mut case)[index] = kept;
                    let difference = (above - below) / f64::from(2.0 * step);
                    let error = (difference - f64::from(gradient[index])).abs();
                    assert!(error < 1e-3 * (1.0 + difference.abs()), "field {field}, {index}: {difference}");
                }
            }
        }
    }

    #[test]
    fn the_output_can_be_made_again() {
        let case = case();
        let norm = LayerNorm { weight: &case.weight, bias: &case.beta, epsilon: 1e-5 };
        let (mut normalised, mut inverse) = (case.input.clone(), vec![0f32; TOKENS]);
        let (mut output, mut again) = (normalised.clone(), normalised.clone());
        forward(norm, &mut normalised, None, &mut inverse, &mut output, None);
        output_again(norm, &normalised, &mut again);
        assert_eq!(output, again);
    }

    /// A product is the same whether it reads the output or what was packed of it.
    #[test]
    fn the_output_may_be_packed_for_the_next_layer() {
        let (tokens, hidden) = (100, 70);
        let numbers = |count: usize| (0..count).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect::<Vec<_>>();
        let (mut rows, mut inverse) = (numbers(tokens * hidden), vec![0f32; tokens]);
        let (mut output, beta, weight) = (rows.clone(), numbers(hidden), numbers(hidden * 40));
        let norm = LayerNorm { weight: &beta, bias: &beta, epsilon: 1e-5 };
        for precision in [Precision::Float32, Precision::Bfloat16] {
            let (weight, mut packed) = (Weight::Plain(&weight, precision), PackedRows::default());
            packed.make_room(tokens, hidden, weight);
            forward(norm, &mut rows, None, &mut inverse, &mut output, Some(&mut packed));
            let results = [Input::Plain(&output), packed.or(&output)].map(|input| {
                let mut result = vec![0f32; tokens * 40];
                linear::forward(input, weight, &mut result, tokens);
                result
            });
            assert_eq!(results[0], results[1], "{precision:?}");
        }
    }
}
