//! Activations behind dense layers.

use super::linear;
use crate::activation::{Activation, GELU_TANH_SCALE};
use burn_tensor::Tensor;

/// A dense layer and its activation: `activation(input * weight^T + bias)`, `[tokens, out]`.
pub fn dense_forward(activation: Activation, input: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    forward(activation, linear::forward(input, weight, Some(bias)))
}

/// The activation alone.
///
/// GELU is written out, because Burn 0.22's own `gelu` takes its gradient from the tanh approximation on every device
/// but the CPU, which is off by up to 9e-4.
pub fn forward(activation: Activation, input: Tensor<2>) -> Tensor<2> {
    match activation {
        Activation::Gelu => {
            let cumulative = input.clone().mul_scalar(std::f32::consts::FRAC_1_SQRT_2).erf().add_scalar(1.0);
            input.mul_scalar(0.5).mul(cumulative)
        }
        Activation::GeluTanh => {
            let cube = input.clone().mul(input.clone()).mul(input.clone());
            let inner = input.clone().add(cube.mul_scalar(0.044_715)).mul_scalar(GELU_TANH_SCALE);
            input.mul_scalar(0.5).mul(inner.tanh().add_scalar(1.0))
        }
        Activation::Relu => burn_tensor::activation::relu(input),
        Activation::Tanh => input.tanh(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::activation as cpu;
    use crate::linear::{self as cpu_linear, Output, Weight};
    use crate::portable::testing::{Leaf, check_forward, check_gradients, directed, random};

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Tanh] {
            let (tokens, inputs, outputs) = (41, 6, 11);
            let input = Leaf::new(random(tokens * inputs, 1), [tokens, inputs]);
            let weight = Leaf::new(random(outputs * inputs, 2), [outputs, inputs]);
            let bias = Leaf::new(random(outputs, 3), [outputs]);
            let direction = random(tokens * outputs, 4);

            let portable = dense_forward(activation, input.tensor(), weight.tensor(), bias.tensor());
            let (mut before, mut output) = (vec![0f32; tokens * outputs], vec![0f32; tokens * outputs]);
            let plain = Weight::Plain(&weight.values, Precision::Float32);
            cpu::dense_forward(
                activation,
                &input.values,
                plain,
                &bias.values,
                Some(&mut before),
                Output::Plain(&mut output),
                tokens,
            );
            check_forward(&format!("{activation:?}"), &portable, &output);

            let (mut gradient, mut d_bias) = (direction.clone(), vec![0f32; outputs]);
            cpu::backward(activation, &mut before, &mut gradient, &mut d_bias);
            let (mut d_input, mut d_weight) = (vec![0f32; tokens * inputs], vec![0f32; outputs * inputs]);
            cpu_linear::backward_input(&gradient, &weight.values, Precision::Float32, &mut d_input, tokens, false);
            cpu_linear::backward_weight(&gradient, &input.values, Precision::Float32, &mut d_weight, tokens);
            let gradients = directed(portable, &direction).backward();
            check_gradients(&format!("{activation:?}'s input"), &input, &gradients, &d_input);
            check_gradients(&format!("{activation:?}'s weight"), &weight, &gradients, &d_weight);
            check_gradients(&format!("{activation:?}'s bias"), &bias, &gradients, &d_bias);
        }
    }
}
