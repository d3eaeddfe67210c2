//! What a binary classifier does at every threshold: ROC, precision-recall and decision curves, and thresholds chosen to a purpose.

use super::ranking::{descending_order, walk_ties};
use super::threshold::Confusion;

/// Counts at and above one score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Above {
    positives: u64,
    negatives: u64,
}

/// The counts at or above each distinct score, from the highest score down.
fn walk(positive: &[bool], scores: &[f64]) -> Vec<Above> {
    assert_eq!(positive.len(), scores.len());
    let order = descending_order(0..scores.len(), |row| scores[row]);
    let (mut above, mut steps) = (Above { positives: 0, negatives: 0 }, vec![]);
    walk_ties(
        &order,
        |row| scores[row],
        |row| positive[row],
        |_| 1,
        |positives, negatives| {
            above = Above { positives: above.positives + positives, negatives: above.negatives + negatives };
            steps.push(above);
        },
    );
    steps
}

/// The ROC curve: `(1 - specificity, sensitivity)` at every distinct score from the highest down, begun by `(0, 0)`. The area under its
/// straight lines is [`super::ranking::auroc`]. Empty when a class is absent.
pub fn roc_curve(positive: &[bool], scores: &[f64]) -> Vec<(f64, f64)> {
    let steps = walk(positive, scores);
    let Some(all) = steps.last().copied().filter(|all| all.positives > 0 && all.negatives > 0) else { return vec![] };
    let share =
        |step: &Above| (step.negatives as f64 / all.negatives as f64, step.positives as f64 / all.positives as f64);
    std::iter::once((0.0, 0.0)).chain(steps.iter().map(share)).collect()
}

/// The precision-recall curve: `(recall, precision)` at every distinct score from the highest down. The area under its steps (each
/// precision times the recall gained there) is [`super::ranking::average_precision`]. Empty when a class is absent.
pub fn precision_recall_curve(positive: &[bool], scores: &[f64]) -> Vec<(f64, f64)> {
    let steps = walk(positive, scores);
    let Some(all) = steps.last().copied().filter(|all| all.positives > 0 && all.negatives > 0) else { return vec![] };
    let point = |step: &Above| {
        let flagged = (step.positives + step.negatives) as f64;
        (step.positives as f64 / all.positives as f64, step.positives as f64 / flagged)
    };
    steps.iter().map(point).collect()
}

/// The thresholds of a decision curve: 1 % to 99 %.
pub fn decision_thresholds() -> impl Iterator<Item = f64> {
    (1..100).map(|percent| f64::from(percent) / 100.0)
}

/// Net benefit of acting on every note whose probability is at or above `threshold` (in 0..1): true positives less false positives
/// weighted by the odds of the threshold, per note (Vickers & Elkin, Medical Decision Making 26, 2006). `None` without notes.
pub fn net_benefit(positive: &[bool], scores: &[f64], threshold: f64) -> Option<f64> {
    net_benefit_of(&Confusion::at_threshold(positive, scores, threshold)?, threshold)
}

/// The same of counts at a threshold; `None` without notes, and where `threshold` is 1 or more, whose odds have no bound.
pub fn net_benefit_of(counts: &Confusion, threshold: f64) -> Option<f64> {
    let odds = threshold / (1.0 - threshold);
    let benefit = (counts.true_positives as f64 - odds * counts.false_positives as f64) / counts.notes() as f64;
    (counts.notes() > 0 && threshold < 1.0).then_some(benefit)
}

/// The highest of the scores at which the sensitivity is at least `target`; `None` without positives.
pub fn threshold_of_sensitivity(positive: &[bool], scores: &[f64], target: f64) -> Option<f64> {
    let mut of_positives: Vec<f64> =
        scores.iter().zip(positive).filter(|(_, is)| **is).map(|(score, _)| *score).collect();
    of_positives.sort_by(|a, b| b.total_cmp(a));
    // Rounding must not ask for one more: 0.9 of 10 is 9.
    let needed = (target * of_positives.len() as f64 - 1e-9).ceil().max(1.0) as usize;
    of_positives.get(needed - 1).copied()
}

/// The lowest threshold, among the scores and just above the highest of the negatives', at which the specificity is at least
/// `target`; `None` without negatives.
pub fn threshold_of_specificity(positive: &[bool], scores: &[f64], target: f64) -> Option<f64> {
    let negatives = positive.iter().filter(|is| !**is).count();
    let mut candidates: Vec<f64> = scores.to_vec();
    candidates.extend(scores.iter().copied().reduce(f64::max).map(f64::next_up));
    candidates.sort_by(f64::total_cmp);
    candidates.dedup();
    let specificity = |threshold: &f64| Confusion::at_threshold(positive, scores, *threshold)?.specificity();
    // The specificity rises with the threshold.
    let first = candidates.partition_point(|threshold| specificity(threshold).is_some_and(|share| share < target));
    candidates.get(first).copied().filter(|_| negatives > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ranking::{auroc, average_precision};
    use super::*;
    use proptest::prelude::*;

    const POSITIVE: [bool; 6] = [true, false, true, true, false, false];
    const SCORES: [f64; 6] = [0.9, 0.8, 0.8, 0.4, 0.3, 0.1];

    #[test]
    fn curves_by_hand() {
        let third = 1.0 / 3.0;
        let roc = roc_curve(&POSITIVE, &SCORES);
        let exact = [(0.0, 0.0), (0.0, third), (third, 2.0 * third), (third, 1.0), (2.0 * third, 1.0), (1.0, 1.0)];
        assert_eq!(roc.len(), exact.len());
        assert!(roc.iter().zip(exact).all(|(a, b)| (a.0 - b.0).abs() < 1e-12 && (a.1 - b.1).abs() < 1e-12));
        assert_eq!(precision_recall_curve(&POSITIVE, &SCORES)[..2], [(third, 1.0), (2.0 * third, 2.0 * third)]);
        // At 0.5: two true and one false positive of six, odds 1.
        assert_eq!(net_benefit(&POSITIVE, &SCORES, 0.5), Some((2.0 - 1.0) / 6.0));
        assert_eq!(net_benefit(&POSITIVE, &SCORES, 0.2), Some((3.0 - 0.25 * 2.0) / 6.0));
        assert_eq!(threshold_of_sensitivity(&POSITIVE, &SCORES, 0.6), Some(0.8));
        assert_eq!(threshold_of_sensitivity(&POSITIVE, &SCORES, 1.0), Some(0.4));
        assert_eq!(threshold_of_specificity(&POSITIVE, &SCORES, 0.6), Some(0.4));
        assert_eq!(threshold_of_specificity(&POSITIVE, &SCORES, 1.0), Some(0.9));
        assert!(roc_curve(&[true], &[0.5]).is_empty() && precision_recall_curve(&[false], &[0.5]).is_empty());
        assert_eq!((net_benefit(&[], &[], 0.5), threshold_of_sensitivity(&[false], &[0.5], 0.9)), (None, None));
        assert_eq!(threshold_of_specificity(&[true], &[0.5], 0.9), None);
    }

    proptest! {
        #[test]
        fn areas_are_the_metrics_and_thresholds_keep_their_promise(
            rows in prop::collection::vec((any::<bool>(), 0u8..20), 2..60), target in 0.05f64..1.0,
        ) {
            let (positive, scores): (Vec<bool>, Vec<f64>) =
                rows.into_iter().map(|(is, score)| (is, f64::from(score) / 20.0)).unzip();
            let roc = roc_curve(&positive, &scores);
            let area: f64 = roc.windows(2).map(|pair| (pair[1].0 - pair[0].0) * (pair[1].1 + pair[0].1) / 2.0).sum();
            prop_assert!(auroc(&positive, &scores).is_none_or(|auroc| (auroc - area).abs() < 1e-9));
            let mut before = 0.0;
            let area: f64 = precision_recall_curve(&positive, &scores)
                .into_iter()
                .map(|(recall, precision)| (recall - std::mem::replace(&mut before, recall)) * precision)
                .sum();
            prop_assert!(average_precision(&positive, &scores).is_none_or(|exact| (exact - area).abs() < 1e-9));
            let at = |threshold| Confusion::at_threshold(&positive, &scores, threshold).unwrap();
            if let Some(threshold) = threshold_of_sensitivity(&positive, &scores, target) {
                prop_assert!(at(threshold).recall().unwrap() >= target - 1e-9);
                prop_assert!(at(threshold.next_up()).recall().unwrap() < target);
            }
            if let Some(threshold) = threshold_of_specificity(&positive, &scores, target) {
                prop_assert!(at(threshold).specificity().unwrap() >= target);
                let below = scores.iter().copied().filter(|score| *score < threshold).reduce(f64::max);
                prop_assert!(below.is_none_or(|below| at(below).specificity().unwrap() < target));
            }
        }
    }
}
