//! The analytic interval of the AUROC, beside the bootstrap's.

use super::proportion::NORMAL_97_5;
use serde::{Deserialize, Serialize};
use statrs::function::erf::erfc;

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
    let placements = Placements::of(positive, scores)?;
    let auroc = placements.auroc();
    let standard_error = standard_error(&placements.positives, &placements.negatives);
    Some(AurocInterval {
        auroc,
        standard_error,
        low: (auroc - NORMAL_97_5 * standard_error).max(0.0),
        high: (auroc + NORMAL_97_5 * standard_error).min(1.0),
    })
}

/// How much the AUROC of two classifiers differs on the same notes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AurocDifference {
    /// Of the second minus the first.
    pub difference: f64,
    /// Its estimated standard deviation over test sets of this size.
    pub standard_error: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Two-sided, of "no difference".
    pub p_value: f64,
}

/// DeLong's paired test of two AUROCs (the paper of [`delong_interval`], equations 5 to 7): the normal distribution's p of the difference
/// over its standard error, in which the notes' correlation between the classifiers is heeded.
///
/// What [`delong_interval`] takes for granted is taken for granted here. `None` as there, and where the standard error is 0.
pub fn delong_difference(positive: &[bool], baseline: &[f64], candidate: &[f64]) -> Option<AurocDifference> {
    let (first, second) = (Placements::of(positive, baseline)?, Placements::of(positive, candidate)?);
    let minus = |second: &[f64], first: &[f64]| -> Vec<f64> { second.iter().zip(first).map(|(b, a)| b - a).collect() };
    let (positives, negatives) =
        (minus(&second.positives, &first.positives), minus(&second.negatives, &first.negatives));
    let standard_error = standard_error(&positives, &negatives);
    let difference = second.auroc() - first.auroc();
    (standard_error > 0.0).then(|| AurocDifference {
        difference,
        standard_error,
        low: difference - NORMAL_97_5 * standard_error,
        high: difference + NORMAL_97_5 * standard_error,
        p_value: erfc(difference.abs() / standard_error / std::f64::consts::SQRT_2),
    })
}

/// Where each note stands among those of the other class.
struct Placements {
    /// Of each positive the share of negatives below it, ties half.
    positives: Vec<f64>,
    /// Of each negative the share of positives above it.
    negatives: Vec<f64>,
}

impl Placements {
    /// `None` as [`delong_interval`].
    fn of(positive: &[bool], scores: &[f64]) -> Option<Placements> {
        if positive.len() != scores.len() || scores.iter().any(|score| score.is_nan()) {
            return None;
        }
        let of_class = |wanted: bool| -> Vec<f64> {
            positive.iter().zip(scores).filter(|(is, _)| **is == wanted).map(|(_, &score)| score).collect()
        };
        let (positives, negatives) = (of_class(true), of_class(false));
        (positives.len() >= 2 && negatives.len() >= 2).then(|| Placements {
            positives: placements(&positives, &negatives),
            negatives: placements(&negatives, &positives).iter().map(|share| 1.0 - share).collect(),
        })
    }

    fn auroc(&self) -> f64 {
        self.positives.iter().sum::<f64>() / self.positives.len() as f64
    }
}

/// Of a mean over positives, from what each positive and each negative adds to it.
fn standard_error(positives: &[f64], negatives: &[f64]) -> f64 {
    (sample_variance(positives) / positives.len() as f64 + sample_variance(negatives) / negatives.len() as f64).sqrt()
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
