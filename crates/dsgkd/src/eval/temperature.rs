//! Temperature scaling (Guo et al., ICML 2017): one number that makes a classifier less, or more, sure of itself and changes no ranking.

/// Range that a temperature is looked for in: what lies beyond is no matter of calibration.
const RANGE: (f64, f64) = (0.01, 100.0);

/// The temperature whose scaled probabilities have the least log loss on these notes: `labels [notes]` and their
/// `probabilities [notes, classes]`, from notes that were not trained on. `None` when there is none in 0.01..100: no notes, or every note is right (the
/// surer the better), or the probabilities say nothing.
///
/// In the inverse temperature `b` the loss `mean(log sum exp(b z) - b z_label)` is convex, so the root of its derivative is the optimum; `z`
/// are the logarithms of the probabilities, which differ from the logits by a number a note.
pub fn fit_temperature(labels: &[usize], probabilities: &[f64], classes: usize) -> Option<f64> {
    let logarithms: Vec<f64> = probabilities.iter().map(|p| p.max(f64::MIN_POSITIVE).ln()).collect();
    let slope = |inverse: f64| -> f64 {
        logarithms.chunks_exact(classes).zip(labels).map(|(row, &label)| expectation(row, inverse) - row[label]).sum()
    };
    let (mut low, mut high) = (1.0 / RANGE.1, 1.0 / RANGE.0);
    if labels.is_empty() || slope(low) >= 0.0 || slope(high) <= 0.0 {
        return None;
    }
    // Halving the logarithm's interval sixty times leaves less than the last digit.
    for _ in 0..60 {
        let middle = (low * high).sqrt();
        if slope(middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    Some(1.0 / (low * high).sqrt())
}

/// The mean of `row` under `softmax(inverse * row)`.
fn expectation(row: &[f64], inverse: f64) -> f64 {
    let greatest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |value: &f64| (inverse * (value - greatest)).exp();
    row.iter().map(|value| weight(value) * value).sum::<f64>() / row.iter().map(weight).sum::<f64>()
}

/// Scales probabilities `[notes, classes]`: `softmax(log p / temperature)`, which is the softmax of the logits divided by it.
pub fn apply_temperature(probabilities: &mut [f64], classes: usize, temperature: f64) {
    for row in probabilities.chunks_exact_mut(classes) {
        let greatest = row.iter().copied().fold(0.0, f64::max);
        for p in row.iter_mut() {
            *p = (*p / greatest).powf(1.0 / temperature);
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().for_each(|p| *p /= sum);
    }
}

/// What the probability of one of two classes is scaled to.
pub fn rescaled(probability: f64, temperature: f64) -> f64 {
    let mut both = [1.0 - probability, probability];
    apply_temperature(&mut both, 2, temperature);
    both[1]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::evaluate;
    use super::*;
    use crate::random::SplitMix64;
    use proptest::prelude::*;

    /// Notes whose labels are drawn from `probabilities`, row by row.
    fn drawn(rows: usize, classes: usize, seed: u64) -> (Vec<usize>, Vec<f64>) {
        let mut random = SplitMix64::new(seed);
        let mut uniform = || (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let (mut labels, mut probabilities) = (vec![], vec![]);
        for _ in 0..rows {
            let row: Vec<f64> = (0..classes).map(|_| uniform() + 0.02).collect();
            let sum: f64 = row.iter().sum();
            let (mut left, mut label) = (uniform() * sum, 0);
            while label + 1 < classes && left >= row[label] {
                left -= row[label];
                label += 1;
            }
            labels.push(label);
            probabilities.extend(row.iter().map(|p| p / sum));
        }
        (labels, probabilities)
    }

    #[test]
    fn the_temperature_that_spoilt_probabilities_is_found_again() {
        for classes in [2, 4] {
            let (labels, exact) = drawn(20_000, classes, 7);
            for spoilt_by in [0.4, 1.0, 2.5] {
                let mut probabilities = exact.clone();
                apply_temperature(&mut probabilities, classes, 1.0 / spoilt_by);
                let found = fit_temperature(&labels, &probabilities, classes).unwrap();
                assert!((found / spoilt_by - 1.0).abs() < 0.05, "{found}, not {spoilt_by}");
                apply_temperature(&mut probabilities, classes, spoilt_by);
                assert!(probabilities.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-12));
            }
        }
    }

    #[test]
    fn nothing_to_fit_is_none() {
        assert_eq!(fit_temperature(&[], &[], 2), None);
        assert_eq!(fit_temperature(&[1, 0], &[0.4, 0.6, 0.7, 0.3], 2), None, "all right: the surer the better");
        assert_eq!(fit_temperature(&[1, 0], &[0.5; 4], 2), None, "says nothing");
        assert_eq!(fit_temperature(&[0, 1], &[0.4, 0.6, 0.7, 0.3], 2), None, "all wrong");
    }

    proptest! {
        #[test]
        fn no_other_temperature_has_less_log_loss(seed: u64, classes in 2usize..5, factor in 0.5f64..2.0) {
            let (labels, probabilities) = drawn(60, classes, seed);
            if let Some(best) = fit_temperature(&labels, &probabilities, classes) {
                let loss = |temperature: f64| {
                    let mut scaled = probabilities.clone();
                    apply_temperature(&mut scaled, classes, temperature);
                    prop_assert!(scaled.iter().all(|p| (0.0..=1.0).contains(p)));
                    Ok(evaluate(&labels, &scaled, classes, 0.5).unwrap().log_loss.unwrap())
                };
                prop_assert!(loss(best)? <= loss(best * factor)? + 1e-12);
            }
        }
    }
}
