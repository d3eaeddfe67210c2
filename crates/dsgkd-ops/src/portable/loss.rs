//! Cross-entropy of logits.

use super::upload;
use burn_tensor::Tensor;
use burn_tensor::activation::log_softmax;

/// Weighted mean cross-entropy of `logits [rows, classes]` against `labels [rows]`, as [`crate::loss::cross_entropy`] defines it;
/// `weights [classes]` empty: all 1. At least one row.
pub fn cross_entropy(logits: Tensor<2>, labels: &[u32], weights: &[f32]) -> Tensor<1> {
    let ([rows, classes], device) = (logits.dims(), logits.device());
    assert_eq!(rows, labels.len());
    let weight = |label: u32| if weights.is_empty() { 1.0 } else { f64::from(weights[label as usize]) };
    let total: f64 = labels.iter().map(|label| weight(*label)).sum();
    // Each row's share of the loss stands at its label.
    let mut shares = vec![0f32; rows * classes];
    for (shares, label) in shares.chunks_exact_mut(classes).zip(labels) {
        shares[*label as usize] = if total == 0.0 { 0.0 } else { (-weight(*label) / total) as f32 };
    }
    log_softmax(logits, 1).mul(upload(&shares, [rows, classes], &device)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss as cpu;
    use crate::portable::testing::{Leaf, check_forward, check_gradients, random};

    #[test]
    fn loss_and_gradient_are_the_cpu_form_s() {
        let labels = [0, 2, 1, 2, 2];
        for weights in [&[][..], &[0.5, 2.0, 1.0], &[0.0, 0.0, 0.0]] {
            let logits = Leaf::new(random(15, 1).iter().map(|value| value * 8.0).collect(), [5, 3]);
            let portable = cross_entropy(logits.tensor(), &labels, weights);
            let mut gradient = logits.values.clone();
            let loss = cpu::cross_entropy(&mut gradient, &labels, 3, weights);
            check_forward("cross-entropy", &portable, &[loss as f32]);
            check_gradients("logits", &logits, &portable.backward(), &gradient);
        }
    }
}
