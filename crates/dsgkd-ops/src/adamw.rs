//! AdamW (Loshchilov and Hutter 2019) over an arena of parameters, and the norm of its gradients.

use crate::parallel::ELEMENTS_PER_TASK;
use multiversion::multiversion;
use rayon::prelude::*;

/// One step's numbers.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Factor of every gradient: of clipping and of accumulation.
    pub gradient_scale: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// The constants of one step, in the precision of the loop.
#[derive(Clone, Copy)]
pub(crate) struct Constants {
    pub(crate) keep: f32,
    pub(crate) beta1: f32,
    pub(crate) one_minus_beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) one_minus_beta2: f32,
    pub(crate) scale: f32,
    pub(crate) step_size: f32,
    pub(crate) root_scale: f32,
    pub(crate) epsilon: f32,
}

impl Constants {
    pub(crate) fn new(settings: AdamW) -> Constants {
        let power = settings.step as f64;
        Constants {
            keep: (1.0 - settings.learning_rate * settings.weight_decay) as f32,
            beta1: settings.beta1 as f32,
            one_minus_beta1: (1.0 - settings.beta1) as f32,
            beta2: settings.beta2 as f32,
            one_minus_beta2: (1.0 - settings.beta2) as f32,
            scale: settings.gradient_scale as f32,
            step_size: (settings.learning_rate / (1.0 - settings.beta1.powf(power))) as f32,
            root_scale: (1.0 / (1.0 - settings.beta2.powf(power)).sqrt()) as f32,
            epsilon: settings.epsilon as f32,
        }
    }
}

/// One pass over `parameters`, `gradients`, `exp_avg`, `exp_avg_sq`, all of one length; leaves the gradients at zero for the next
/// step's sums.
pub fn step(
    settings: AdamW,
    parameters: &mut [f32],
    gradients: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    assert!(parameters.len() == gradients.len() && parameters.len() == exp_avg.len());
    assert_eq!(parameters.len(), exp_avg_sq.len());
    let constants = Constants::new(settings);
    parameters
        .par_chunks_mut(ELEMENTS_PER_TASK)
        .zip(gradients.par_chunks_mut(ELEMENTS_PER_TASK))
        .zip(exp_avg.par_chunks_mut(ELEMENTS_PER_TASK).zip(exp_avg_sq.par_chunks_mut(ELEMENTS_PER_TASK)))
        .for_each(|((parameters, gradients), (exp_avg, exp_avg_sq))| {
            step_chunk(constants, parameters, gradients, exp_avg, exp_avg_sq);
        });
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn step_chunk(
    c: Constants,
    parameters: &mut [f32],
    gradients: &mut [f32],
    exp_avg: &mut [f32],
    exp_avg_sq: &mut [f32],
) {
    let values = parameters.iter_mut().zip(gradients).zip(exp_avg.iter_mut().zip(exp_avg_sq.iter_mut()));
    for ((parameter, gradient), (first, second)) in values {
        let gradient = std::mem::take(gradient) * c.scale;
        *first = c.beta1 * *first + c.one_minus_beta1 * gradient;
        *second = c.beta2 * *second + c.one_minus_beta2 * gradient * gradient;
        let root = second.sqrt() * c.root_scale + c.epsilon;
        *parameter = *parameter * c.keep - c.step_size * *first / root;
    }
}

/// The sum of squares of a gradient, in double precision, chunk by chunk in order.
pub fn sum_of_squares(gradients: &[f32]) -> f64 {
    let partials: Vec<f64> = gradients.par_chunks(ELEMENTS_PER_TASK).map(sum_of_squares_chunk).collect();
    partials.iter().sum()
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn sum_of_squares_chunk(gradients: &[f32]) -> f64 {
    f64::from(crate::math::dot(gradients, gradients))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_steps_are_those_of_the_formula() {
        let (mut parameter, mut m, mut v) = ([0.5f32, -2.0], [0f32; 2], [0f32; 2]);
        let (mut exact, mut em, mut ev) = ([0.5f64, -2.0], [0f64; 2], [0f64; 2]);
        for number in 1..=3u64 {
            let gradient = [0.3f32 * number as f32, -0.1];
            let mut sums = gradient;
            let settings = AdamW {
                learning_rate: 0.01 * number as f64,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 0.1,
                gradient_scale: 0.5,
                step: number,
            };
            step(settings, &mut parameter, &mut sums, &mut m, &mut v);
            assert_eq!(sums, [0.0; 2]);
            for i in 0..2 {
                let g = f64::from(gradient[i]) * 0.5;
                exact[i] *= 1.0 - settings.learning_rate * 0.1;
                em[i] = 0.9 * em[i] + 0.1 * g;
                ev[i] = 0.999 * ev[i] + 0.001 * g * g;
                let (c1, c2) = (1.0 - 0.9f64.powi(number as i32), 1.0 - 0.999f64.powi(number as i32));
                exact[i] -= settings.learning_rate * (em[i] / c1) / ((ev[i] / c2).sqrt() + 1e-8);
                assert!(
                    (f64::from(parameter[i]) - exact[i]).abs() < 1e-6,
                    "step {number}: {parameter:?}, not {exact:?}"
                );
            }
        }
    }

    #[test]
    fn the_norm_takes_every_element() {
        let gradients = vec![2f32; 3 * ELEMENTS_PER_TASK + 5];
        assert_eq!(sum_of_squares(&gradients), 4.0 * gradients.len() as f64);
    }
}
