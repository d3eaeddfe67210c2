//! The analytic interval of the AUROC, beside the bootstrap's.

use super::proportion::NORMAL_97_5;
use serde::{Deserialize, Serialize};

/// The AUROC with its standard error and 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AurocInterval {
    /// The area under the ROC curve.
    pub auroc: f64,
    /// Its estimated standard deviation over test sets of this size.
    pub standard_error: f64,
    /// Lower end, not below 0.
    pub low: f64,
    /// Upper end, not above 1.
    pub high: f64,
}

/// AUROC with DeLong's interval (DeLong, DeLong & Clarke-Pearson, Biometrics 44, 1988), by midranks in `O(n log n)` (Sun &
/// Xu, IEEE Signal Processing Letters 21, 2014): `area ± 1.96 standard errors`, cut to 0..1.
///
/// Notes are taken as independent: with several notes of one patient, or several seeds of one note, it is too narrow.
/// Where the classes are perfectly separated the standard error is 0, which says nothing about the next test set.
///
/// `None` with fewer than two notes of either class (their variance is undefined), when the lengths differ, or when a
/// score is NaN.
pub fn delong_interval(positive: &[bool], scores: &[f64]) -> Option<AurocInterval> {
    if positive.len() != scores.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let of_class = |wanted: bool| -> Vec<f64> {
        positive.iter().zip(scores).filter(|(is, _)| **is == wanted).map(|(_, &score)| score).collect()
    };
    let (positives, negatives) = (of_class(true), of_class(false));
    if positives.len() < 2 || negatives.len() < 2 {
        return None;
    }
    // A positive's placement is the share of negatives below it (ties half), a negative's the share of positives above.
    let placed = placements(&positives, &negatives);
    let passed: Vec<f64> = placements(&negatives, &positives).iter().map(|share| 1.0 - share).collect();
    let auroc = placed.iter().sum::<f64>() / placed.len() as f64;
    let variance = sample_variance(&placed) / placed.len() as f64 + sample_variance(&passed) / passed.len() as f64;
    let standard_error = variance.sqrt();
    Some(AurocInterval {
        auroc,
        standard_error,
        low: (auroc - NORMAL_97_5 * standard_error).max(0.0),
        high: (auroc + NORMAL_97_5 * standard_error).min(1.0),
    })
}

/// For each score the share of `others` below it, equal ones counting half.
fn placements(scores: &[f64], others: &[f64]) -> Vec<f64> {
    let mut sorted = others.to_vec();
    // Adding 0.0 makes -0.0 into 0.0, so that total order and `<` agree.
    sorted.iter_mut().for_each(|score| *score += 0.0);
    sorted.sort_by(f64::total_cmp);
    let share = |score: &f64| {
        let below = sorted.partition_point(|other| other < score);
        let not_above = sorted.partition_point(|other| other <= score);
        (below + not_above) as f64 / (2.0 * sorted.len() as f64)
    };
    scores.iter().map(share).collect()
}

fn sample_variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}
