//! AdamW (Loshchilov and Hutter 2019) over a flat tensor of parameters, and the clipping of its gradients.

use crate::adamw::{AdamW, Constants};
use burn_tensor::Tensor;

/// Parameters and their moments, each `[length]`.
#[derive(Clone)]
pub struct Moving {
    /// What is learned.
    pub parameters: Tensor<1>,
    /// First moments.
    pub exp_avg: Tensor<1>,
    /// Second moments.
    pub exp_avg_sq: Tensor<1>,
}

/// One step along `gradients [length]`, which are multiplied by `settings.gradient_scale` and by `clip [1]` (see
/// [`clipping_factor`]). Nothing here wants gradients of its own: tensors off the autodiff.
pub fn step(settings: AdamW, clip: Tensor<1>, gradients: Tensor<1>, moving: Moving) -> Moving {
    let c = Constants::new(settings);
    let gradients = gradients.mul_scalar(c.scale).mul(clip);
    let exp_avg = moving.exp_avg.mul_scalar(c.beta1).add(gradients.clone().mul_scalar(c.one_minus_beta1));
    let squares = gradients.clone().mul(gradients).mul_scalar(c.one_minus_beta2);
    let exp_avg_sq = moving.exp_avg_sq.mul_scalar(c.beta2).add(squares);
    let root = exp_avg_sq.clone().sqrt().mul_scalar(c.root_scale).add_scalar(c.epsilon);
    let steps = exp_avg.clone().mul_scalar(c.step_size).div(root);
    Moving { parameters: moving.parameters.mul_scalar(c.keep).sub(steps), exp_avg, exp_avg_sq }
}

/// The norm of `gradients [length]`, `[1]`.
pub fn norm(gradients: Tensor<1>) -> Tensor<1> {
    gradients.clone().mul(gradients).sum().sqrt()
}

/// What gradients of `norm [1]` are multiplied by so that it does not pass `limit` (0: 1, whatever the norm), `[1]`.
/// Stays on the device: nobody waits for the norm.
pub fn clipping_factor(norm: Tensor<1>, limit: f64) -> Tensor<1> {
    if limit > 0.0 { norm.add_scalar(1e-6).recip().mul_scalar(limit).clamp_max(1.0) } else { norm.ones_like() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adamw::{self as cpu, TouchedRows};
    use crate::portable::testing::{check_forward, device, numbers_of, random};
    use crate::portable::upload;

    #[test]
    fn steps_are_the_cpu_form_s() {
        let (length, device) = (301, device().inner());
        let zeros = || upload(&vec![0f32; length], [length], &device);
        let mut parameters = random(length, 1);
        let parameter_tensor = upload(&parameters, [length], &device);
        let mut moving = Moving { parameters: parameter_tensor, exp_avg: zeros(), exp_avg_sq: zeros() };
        let (mut exp_avg, mut exp_avg_sq) = (vec![0f32; length], vec![0f32; length]);
        for step in 1..=5 {
            let mut gradients = random(length, 10 + step);
            let limit = if step == 3 { 0.0 } else { 2.0 * step as f64 };
            let tensor = upload(&gradients, [length], &device);
            let norm_tensor = norm(tensor.clone().mul_scalar(0.5));
            let everything = TouchedRows::everything();
            let norm = cpu::sum_of_squares(&gradients, &everything).sqrt() * 0.5;
            check_forward("norm", &norm_tensor, &[norm as f32]);
            let factor = if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) } else { 1.0 };
            assert_eq!(factor < 1.0, [1, 2].contains(&step), "both sides of the limit are tried");
            let settings = AdamW {
                learning_rate: 0.01 * step as f64,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.1,
                gradient_scale: 0.5,
                step,
            };
            moving = super::step(settings, clipping_factor(norm_tensor, limit), tensor, moving);
            let settings = AdamW { gradient_scale: 0.5 * factor, ..settings };
            cpu::step(settings, &everything, &mut parameters, &mut gradients, &mut exp_avg, &mut exp_avg_sq);
            check_forward("parameters", &moving.parameters, &parameters);
            check_forward("first moments", &moving.exp_avg, &exp_avg);
            check_forward("second moments", &moving.exp_avg_sq, &exp_avg_sq);
        }
        assert!(numbers_of(&moving.parameters).iter().all(|value| value.is_finite()));
    }
}
