//! Activations fused with the bias before them.

use crate::math;
use crate::parallel::{ELEMENTS_PER_TASK, ROWS_PER_TASK, add_partials};
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
const GELU_TANH_SCALE: f32 = 0.797_884_6;
/// `1 / sqrt(2 pi)`, the normal density at 0.
const NORMAL_DENSITY: f32 = 0.398_942_3;

impl Activation {
    /// The activation and its derivative at `x`.
    #[inline(always)]
    fn value_and_derivative(self, x: f32) -> (f32, f32) {
        match self {
            Activation::Gelu => {
                let (erf, gauss) = math::erf_and_gauss(x * std::f32::consts::FRAC_1_SQRT_2);
                let cumulative = 0.5 * (1.0 + erf);
                (x * cumulative, (x * NORMAL_DENSITY).mul_add(gauss, cumulative))
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

/// `input += bias` in place (kept for the backward) and `output = activation(input)`; both `[tokens, columns]`.
pub fn bias_forward(activation: Activation, input: &mut [f32], bias: &[f32], output: &mut [f32]) {
    assert_eq!(input.len(), output.len());
    let columns = bias.len();
    let rows_per_task = (ELEMENTS_PER_TASK / columns).max(1);
    let chunk = rows_per_task * columns;
    input.par_chunks_mut(chunk).zip(output.par_chunks_mut(chunk)).for_each(|(input, output)| {
        for (input, output) in input.chunks_exact_mut(columns).zip(output.chunks_exact_mut(columns)) {
            forward_row(activation, input, bias, output);
        }
    });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn forward_row(activation: Activation, input: &mut [f32], bias: &[f32], output: &mut [f32]) {
    // One loop an activation: a `match` inside the loop would keep it from being vectorised.
    macro_rules! run {
        ($activation:expr) => {
            for ((input, bias), output) in input.iter_mut().zip(bias).zip(output.iter_mut()) {
                *input += bias;
                *output = $activation.value_and_derivative(*input).0;
            }
        };
    }
    match activation {
        Activation::Gelu => run!(Activation::Gelu),
        Activation::GeluTanh => run!(Activation::GeluTanh),
        Activation::Relu => run!(Activation::Relu),
        Activation::Tanh => run!(Activation::Tanh),
    }
}

/// The backward of [`bias_forward`]. `input` is what that left there; it becomes the activation's value again (so
/// that the value need not be stored for the next layer's weight gradient). `gradient` comes in as the gradient
/// of the output, goes out as that of the input; its column sums are added to `d_bias`.
pub fn bias_backward(activation: Activation, input: &mut [f32], gradient: &mut [f32], d_bias: &mut [f32]) {
    assert_eq!(input.len(), gradient.len());
    let columns = d_bias.len();
    let chunk = ROWS_PER_TASK * columns;
    let mut partials = vec![0f32; input.len().div_ceil(chunk) * columns];
    input
        .par_chunks_mut(chunk)
        .zip(gradient.par_chunks_mut(chunk))
        .zip(partials.par_chunks_exact_mut(columns))
        .for_each(|((input, gradient), partial)| {
            for (input, gradient) in input.chunks_exact_mut(columns).zip(gradient.chunks_exact_mut(columns)) {
                backward_row(activation, input, gradient, partial);
            }
        });
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
    match activation {
        Activation::Gelu => run!(Activation::Gelu),
        Activation::GeluTanh => run!(Activation::GeluTanh),
        Activation::Relu => run!(Activation::Relu),
        Activation::Tanh => run!(Activation::Tanh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn backward_restores_the_value_and_sums_the_bias() {
        let (tokens, columns) = (40, 19);
        let bias: Vec<f32> = (0..columns).map(|c| c as f32 / 10.0 - 1.0).collect();
        for activation in ALL {
            let mut input: Vec<f32> = (0..tokens * columns).map(|i| (i % 31) as f32 / 8.0 - 2.0).collect();
            let mut output = vec![0f32; input.len()];
            bias_forward(activation, &mut input, &bias, &mut output);
            let mut gradient = vec![1f32; input.len()];
            let mut d_bias = vec![0f32; columns];
            bias_backward(activation, &mut input, &mut gradient, &mut d_bias);
            assert_eq!(input, output);
            for c in 0..columns {
                let exact: f32 = (0..tokens).map(|t| gradient[t * columns + c]).sum();
                assert!((d_bias[c] - exact).abs() < 1e-4);
            }
        }
    }
}
