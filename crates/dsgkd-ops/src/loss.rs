//! Cross-entropy of logits, with its gradient in the same pass.

use crate::math;
use multiversion::multiversion;
use rayon::prelude::*;

/// Weighted mean cross-entropy of `logits [rows, classes]` against `labels [rows]`:
/// `sum w[label] * -log softmax(logits)[label] / sum w[label]`, which is PyTorch's definition; `weights [classes]` empty: all 1.
/// `logits` becomes the gradient. 0 for no rows.
pub fn cross_entropy(logits: &mut [f32], labels: &[u32], classes: usize, weights: &[f32]) -> f64 {
    assert_eq!(logits.len(), labels.len() * classes);
    let weight = |label: u32| if weights.is_empty() { 1.0 } else { f64::from(weights[label as usize]) };
    let total: f64 = labels.iter().map(|label| weight(*label)).sum();
    if total == 0.0 {
        logits.fill(0.0);
        return 0.0;
    }
    let losses: Vec<f64> = logits
        .par_chunks_exact_mut(classes)
        .zip(labels)
        .map(|(row, label)| {
            let share = weight(*label) / total;
            share * cross_entropy_row(row, *label as usize, share as f32)
        })
        .collect();
    losses.iter().sum()
}

/// One row's loss; the row becomes `share * (softmax - one_hot)`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl+avx2+fma", "x86_64+avx2+fma"))]
fn cross_entropy_row(row: &mut [f32], label: usize, share: f32) -> f64 {
    let max = math::max(row);
    let at_label = row[label];
    for value in row.iter_mut() {
        *value = math::exp(*value - max);
    }
    let sum = math::sum(row);
    let scale = share / sum;
    for value in row.iter_mut() {
        *value *= scale;
    }
    row[label] -= share;
    f64::from(sum).ln() + f64::from(max) - f64::from(at_label)
}

/// Softmax of each row of `logits [rows, classes]` in double precision: probabilities as they are reported.
pub fn softmax(logits: &[f32], classes: usize) -> Vec<f64> {
    let mut probabilities: Vec<f64> = logits.iter().map(|v| f64::from(*v)).collect();
    for row in probabilities.chunks_exact_mut(classes) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        for value in row.iter_mut() {
            *value = (*value - max).exp();
            sum += *value;
        }
        row.iter_mut().for_each(|value| *value /= sum);
    }
    probabilities
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(logits: &[f32], labels: &[u32], weights: &[f32]) -> f64 {
        let probabilities = softmax(logits, 3);
        let weight = |label: u32| if weights.is_empty() { 1.0 } else { f64::from(weights[label as usize]) };
        let total: f64 = labels.iter().map(|l| weight(*l)).sum();
        labels.iter().enumerate().map(|(r, l)| -weight(*l) * probabilities[r * 3 + *l as usize].ln()).sum::<f64>()
            / total
    }

    #[test]
    fn loss_and_gradient_agree_with_the_definition() {
        let logits: Vec<f32> = (0..12).map(|i| ((i * 37) % 11) as f32 / 3.0 - 1.5).collect();
        let labels = [0, 2, 1, 2];
        for weights in [&[][..], &[0.5, 2.0, 1.0]] {
            let mut gradient = logits.clone();
            let ours = cross_entropy(&mut gradient, &labels, 3, weights);
            assert!((ours - loss(&logits, &labels, weights)).abs() < 1e-6);
            for i in 0..12 {
                let (mut above, mut below) = (logits.clone(), logits.clone());
                above[i] += 1e-2;
                below[i] -= 1e-2;
                let difference = (loss(&above, &labels, weights) - loss(&below, &labels, weights)) / 2e-2;
                assert!((difference - f64::from(gradient[i])).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn no_rows_cost_nothing() {
        assert_eq!(cross_entropy(&mut [], &[], 3, &[]), 0.0);
    }
}
