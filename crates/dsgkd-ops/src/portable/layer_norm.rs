//! `LayerNorm(residual + dropout(input + bias))`.

use super::drop_rows;
use crate::Dropout;
use burn_tensor::{Tensor, module};

/// Parameters of a LayerNorm.
#[derive(Clone)]
pub struct LayerNorm {
    /// `gamma`, `[hidden]`.
    pub weight: Tensor<1>,
    /// `beta`, `[hidden]`.
    pub bias: Tensor<1>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// What is added to the rows before the norm.
#[derive(Clone)]
pub struct Addends {
    /// Residual, `[tokens, hidden]`.
    pub residual: Tensor<2>,
    /// Dropout of the rows, before the residual is added.
    pub dropout: Dropout,
}

/// `norm(residual + dropout(rows))`, all `[tokens, hidden]`, or `norm(rows)` alone. The bias of the dense layer before
/// is part of `rows` here.
pub fn forward(norm: LayerNorm, rows: Tensor<2>, add: Option<Addends>) -> Tensor<2> {
    let rows = match add {
        Some(add) => drop_rows(add.dropout, rows).add(add.residual),
        None => rows,
    };
    module::layer_norm(rows, norm.weight, Some(norm.bias), f64::from(norm.epsilon))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowDropout;
    use crate::layer_norm::{self as cpu, LayerNormGradients};
    use crate::portable::testing::{Leaf, check_forward, check_gradients, directed, random};

    const TOKENS: usize = 37;
    const HIDDEN: usize = 20;

    #[test]
    fn forward_and_gradients_are_the_cpu_form_s() {
        for dropout in [Dropout::NONE, Dropout::new(0.3, 5)] {
            let input = Leaf::new(random(TOKENS * HIDDEN, 1), [TOKENS, HIDDEN]);
            let residual = Leaf::new(random(TOKENS * HIDDEN, 2), [TOKENS, HIDDEN]);
            let input_bias = Leaf::new(random(HIDDEN, 3), [HIDDEN]);
            let weight = Leaf::new(random(HIDDEN, 4), [HIDDEN]);
            let bias = Leaf::new(random(HIDDEN, 5), [HIDDEN]);
            let direction = random(TOKENS * HIDDEN, 6);

            let norm = LayerNorm { weight: weight.tensor(), bias: bias.tensor(), epsilon: 1e-5 };
            let rows = input.tensor().add(input_bias.tensor().unsqueeze());
            let add = Addends { residual: residual.tensor(), dropout };
            let portable = forward(norm, rows, Some(add));

            let norm = cpu::LayerNorm { weight: &weight.values, bias: &bias.values, epsilon: 1e-5 };
            let dropout = RowDropout { dropout, rows: None };
            let add = cpu::Addends { bias: &input_bias.values, residual: &residual.values, dropout };
            let (mut normalised, mut inverse) = (input.values.clone(), vec![0f32; TOKENS]);
            let mut output = vec![0f32; TOKENS * HIDDEN];
            cpu::forward(norm, &mut normalised, Some(add), &mut inverse, &mut output, None);
            check_forward("layer norm", &portable, &output);

            let (mut d_residual, mut d_input) = (vec![0f32; TOKENS * HIDDEN], vec![0f32; TOKENS * HIDDEN]);
            let (mut d_weight, mut d_bias, mut d_input_bias) =
                (vec![0f32; HIDDEN], vec![0f32; HIDDEN], vec![0f32; HIDDEN]);
            cpu::backward(
                norm,
                &direction,
                &normalised,
                &inverse,
                dropout,
                &mut d_residual,
                &mut d_input,
                LayerNormGradients { weight: &mut d_weight, bias: &mut d_bias, input_bias: Some(&mut d_input_bias) },
            );
            let gradients = directed(portable, &direction).backward();
            check_gradients("input", &input, &gradients, &d_input);
            check_gradients("residual", &residual, &gradients, &d_residual);
            check_gradients("input bias", &input_bias, &gradients, &d_input_bias);
            check_gradients("weight", &weight, &gradients, &d_weight);
            check_gradients("bias", &bias, &gradients, &d_bias);
        }
    }

    #[test]
    fn a_norm_alone_is_the_cpu_form_s() {
        let input = Leaf::new(random(TOKENS * HIDDEN, 1), [TOKENS, HIDDEN]);
        let (weight, bias) = (Leaf::new(random(HIDDEN, 4), [HIDDEN]), Leaf::new(random(HIDDEN, 5), [HIDDEN]));
        let norm = LayerNorm { weight: weight.tensor(), bias: bias.tensor(), epsilon: 1e-12 };
        let portable = forward(norm, input.tensor(), None);
        let norm = cpu::LayerNorm { weight: &weight.values, bias: &bias.values, epsilon: 1e-12 };
        let (mut normalised, mut inverse) = (input.values.clone(), vec![0f32; TOKENS]);
        let mut output = vec![0f32; TOKENS * HIDDEN];
        cpu::forward(norm, &mut normalised, None, &mut inverse, &mut output, None);
        check_forward("layer norm", &portable, &output);
    }
}
