//! Proper scores of the probabilities themselves: the Brier score and the log loss. Lower is better.

/// One note's Brier score (Brier, Monthly Weather Review 78, 1950).
///
/// Two classes: `(p - y)^2` of the positive class, 0..1, what scikit-learn's `brier_score_loss` averages. More: the squared
/// distance of the row to the label's corner, `sum over classes (p_c - y_c)^2`, 0..2, as Brier wrote it and as
/// scikit-learn does with `scale_by_half="auto"`. The two-class score is half of what the general formula would give.
///
/// `row` is one note's probabilities, `[classes]`.
pub fn brier_of_note(row: &[f64], label: usize) -> f64 {
    if let [_, positive] = row {
        return (positive - if label == 1 { 1.0 } else { 0.0 }).powi(2);
    }
    row.iter().enumerate().map(|(class, p)| (p - if class == label { 1.0 } else { 0.0 }).powi(2)).sum()
}

/// One note's log loss in nats: minus the natural logarithm of the probability of its label.
///
/// The probability is clipped to `[eps, 1 - eps]`, `eps = 2^-52`, as scikit-learn's `log_loss` does with float64, so a
/// certain mistake costs 36.04 and not infinity. The row is not normalised. (Given float32 arrays scikit-learn clips at
/// float32's eps, 15.94.) `None` when `label` is past the row's end.
pub fn log_loss_of_note(row: &[f64], label: usize) -> Option<f64> {
    row.get(label).map(|probability| -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn certain_mistakes_cost_a_finite_loss() {
        let loss = log_loss_of_note(&[1.0, 0.0], 1).unwrap();
        assert!((loss - 52.0 * std::f64::consts::LN_2).abs() < 1e-12, "{loss}");
        assert!(log_loss_of_note(&[0.0, 1.0], 1).unwrap() > 0.0);
        assert_eq!(log_loss_of_note(&[0.5, 0.5], 2), None);
    }

    #[test]
    fn two_classes_score_half_the_distance() {
        assert_eq!(brier_of_note(&[0.0, 1.0], 0), 1.0);
        assert_eq!(brier_of_note(&[0.0, 1.0, 0.0], 0), 2.0);
    }
}
