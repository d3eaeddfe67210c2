//! Dense layers.

use burn_tensor::{Tensor, module};

/// `input [tokens, in] * weight [out, in]^T + bias [out]`: `[tokens, out]`.
pub fn forward(input: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    module::linear(input, weight.transpose(), bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::linear::{self as cpu, Weight};
    use crate::portable::testing::{Leaf, check_forward, check_gradients, directed, random};

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        // 3 * 8 outputs of 8 inputs is a fused query, key and value.
        for (tokens, inputs, outputs) in [(1, 5, 7), (23, 8, 24), (70, 33, 20)] {
            let input = Leaf::new(random(tokens * inputs, 1), [tokens, inputs]);
            let weight = Leaf::new(random(outputs * inputs, 2), [outputs, inputs]);
            let bias = Leaf::new(random(outputs, 3), [outputs]);
            let direction = random(tokens * outputs, 4);

            let portable = forward(input.tensor(), weight.tensor(), Some(bias.tensor()));
            let mut output = vec![0f32; tokens * outputs];
            let plain = Weight::Plain(&weight.values, Precision::Float32);
            cpu::forward_bias(&input.values, plain, &bias.values, &mut output, tokens);
            check_forward("linear", &portable, &output);

            let (mut d_input, mut d_weight, mut d_bias) =
                (vec![0f32; tokens * inputs], vec![0f32; outputs * inputs], vec![0f32; outputs]);
            cpu::backward_input(&direction, &weight.values, Precision::Float32, &mut d_input, tokens, false);
            cpu::backward_weight(&direction, &input.values, Precision::Float32, &mut d_weight, tokens);
            cpu::backward_bias(&direction, &mut d_bias);
            let gradients = directed(portable, &direction).backward();
            check_gradients("input", &input, &gradients, &d_input);
            check_gradients("weight", &weight, &gradients, &d_weight);
            check_gradients("bias", &bias, &gradients, &d_bias);
        }
    }
}
