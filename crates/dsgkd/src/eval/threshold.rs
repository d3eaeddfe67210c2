//! Metrics of decisions: a class is predicted for each note, and the right and wrong ones are counted.

use super::scored::most_probable;
use serde::{Deserialize, Serialize};

/// The class that a note of these probabilities is given: of two, where there is a threshold (the share of positives among the training notes, or
/// what was chosen), the positive one at or above it; else the most probable, the first of equals.
pub fn decide(probabilities: &[f64], threshold: Option<f64>) -> usize {
    match (probabilities, threshold) {
        ([_, positive], Some(threshold)) => usize::from(*positive >= threshold),
        _ => most_probable(probabilities),
    }
}

/// Notes of one class against all others, by what is true and what was predicted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Positive and predicted positive.
    pub true_positives: u64,
    /// Negative but predicted positive.
    pub false_positives: u64,
    /// Positive but predicted negative.
    pub false_negatives: u64,
    /// Negative and predicted negative.
    pub true_negatives: u64,
}

/// `numerator / denominator`, undefined for 0 / 0.
fn ratio(numerator: u64, denominator: u64) -> Option<f64> {
    (denominator > 0).then(|| numerator as f64 / denominator as f64)
}

impl std::ops::AddAssign for Confusion {
    fn add_assign(&mut self, other: Self) {
        self.true_positives += other.true_positives;
        self.false_positives += other.false_positives;
        self.false_negatives += other.false_negatives;
        self.true_negatives += other.true_negatives;
    }
}

impl Confusion {
    /// Counts a binary decision: a note is predicted positive when its score is *at or above* the threshold, as the
    /// original implementation of DSG-KD has it. `None` when the lengths differ.
    pub fn at_threshold(positive: &[bool], scores: &[f64], threshold: f64) -> Option<Self> {
        if positive.len() != scores.len() {
            return None;
        }
        let mut confusion = Confusion::default();
        for (&positive, &score) in positive.iter().zip(scores) {
            *confusion.cell(positive, score >= threshold) += 1;
        }
        Some(confusion)
    }

    /// The count that a note of this truth and prediction belongs to.
    pub(super) fn cell(&mut self, positive: bool, predicted: bool) -> &mut u64 {
        match (positive, predicted) {
            (true, true) => &mut self.true_positives,
            (false, true) => &mut self.false_positives,
            (true, false) => &mut self.false_negatives,
            (false, false) => &mut self.true_negatives,
        }
    }

    /// All notes.
    pub fn notes(&self) -> u64 {
        self.true_positives + self.false_positives + self.false_negatives + self.true_negatives
    }

    /// Share of notes predicted right; undefined without notes.
    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_positives + self.true_negatives, self.notes())
    }

    /// Recall, or sensitivity: share of the positives predicted positive; undefined without positives.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    /// Specificity: share of the negatives predicted negative; undefined without negatives.
    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    /// Precision, or positive predictive value: share of the predicted positives that are positive; undefined when
    /// nothing was predicted positive.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    /// Negative predictive value: share of the predicted negatives that are negative; undefined when nothing was predicted
    /// negative.
    pub fn negative_predictive_value(&self) -> Option<f64> {
        ratio(self.true_negatives, self.true_negatives + self.false_negatives)
    }

    /// F1, `2 TP / (2 TP + FP + FN)`: the harmonic mean of precision and recall.
    ///
    /// Undefined only when there are neither positives nor predicted positives; with one of the two it is 0, since every
    /// decision about a positive was wrong. scikit-learn's `zero_division` decides the same case, and with its default
    /// (0, and a warning) a test set without positives looks like a useless classifier; `zero_division=nan` agrees with
    /// this function, and likewise for [`Confusion::recall`] and [`Confusion::precision`].
    pub fn f1(&self) -> Option<f64> {
        ratio(2 * self.true_positives, 2 * self.true_positives + self.false_positives + self.false_negatives)
    }

    /// No note is of this class and none was predicted to be.
    fn is_unused(&self) -> bool {
        self.true_positives + self.false_positives + self.false_negatives == 0
    }
}

/// The unweighted mean of a metric over the classes.
///
/// A class that neither occurs nor is predicted is left out, as scikit-learn does. When the metric is undefined for one of
/// the others, so is the mean: scikit-learn puts 0 there, and leaving the class out instead would reward a classifier for
/// never predicting a rare class.
pub fn macro_average(confusions: &[Confusion], metric: impl Fn(&Confusion) -> Option<f64>) -> Option<f64> {
    let (mut sum, mut used) = (0.0, 0usize);
    for confusion in confusions.iter().filter(|confusion| !confusion.is_unused()) {
        sum += metric(confusion)?;
        used += 1;
    }
    (used > 0).then(|| sum / used as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn empty_denominators_are_undefined() {
        let no_positives = Confusion::at_threshold(&[false, false], &[0.1, 0.2], 0.5).unwrap();
        assert_eq!(no_positives.recall(), None);
        assert_eq!(no_positives.precision(), None);
        assert_eq!(no_positives.f1(), None);
        assert_eq!(no_positives.specificity(), Some(1.0));
        let missed = Confusion::at_threshold(&[true, false], &[0.1, 0.2], 0.5).unwrap();
        assert_eq!((missed.recall(), missed.precision(), missed.f1()), (Some(0.0), None, Some(0.0)));
        let false_alarm = Confusion::at_threshold(&[false], &[0.9], 0.5).unwrap();
        assert_eq!((false_alarm.recall(), false_alarm.precision(), false_alarm.f1()), (None, Some(0.0), Some(0.0)));
        assert_eq!(Confusion::default().accuracy(), None);
        assert_eq!(Confusion::at_threshold(&[true], &[], 0.5), None);
    }

    #[test]
    fn the_threshold_itself_is_positive() {
        let confusion = Confusion::at_threshold(&[true], &[0.5], 0.5).unwrap();
        assert_eq!(confusion.true_positives, 1);
    }

    #[test]
    fn a_class_that_is_never_predicted_is_not_forgotten() {
        let seen = Confusion { true_positives: 3, ..Confusion::default() };
        let unused = Confusion { true_negatives: 5, ..Confusion::default() };
        let never_predicted = Confusion { false_negatives: 2, ..Confusion::default() };
        assert_eq!(macro_average(&[seen, unused], Confusion::precision), Some(1.0));
        assert_eq!(macro_average(&[seen, never_predicted], Confusion::precision), None);
        assert_eq!(macro_average(&[seen, never_predicted], Confusion::f1), Some(0.5));
        assert_eq!(macro_average(&[], Confusion::f1), None);
    }
}
