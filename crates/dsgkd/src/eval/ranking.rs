//! Metrics of the order of the scores alone: AUROC and AUPRC. Equal scores are one step, never an arbitrary order, and scores of different trainings are
//! never ranked among each other: one's 0.4 may be another's 0.6 (Forman & Scholz, SIGKDD Explorations 12, 2010, on what pooled folds do to both measures).

use std::ops::Range;

/// Area under the receiver operating characteristic curve: the probability that a positive note scores above a
/// negative one, ties counting half (Hanley & McNeil, Radiology 143, 1982). Equals scikit-learn's `roc_auc_score`.
///
/// `None` when either class is absent, when the lengths differ, or when a score is NaN. 0.5 is a coin, 1 is perfect.
pub fn auroc(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let order = checked_order(positive, scores)?;
    auroc_of(&[order], |row| scores[row], |row| positive[row], |_| 1)
}

/// Average precision: the sum over distinct scores of (step in recall) x (precision there), with no interpolation
/// (Davis & Goadrich, ICML 2006, show why not). Equals scikit-learn's `average_precision_score`; called AUPRC
/// throughout. A coin scores the share of positives, so values of test sets with different shares do not compare.
///
/// `None` when either class is absent (scikit-learn says 0 without positives and 1 without negatives), when the
/// lengths differ, or when a score is NaN.
pub fn average_precision(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let order = checked_order(positive, scores)?;
    average_precision_of(&[order], |row| scores[row], |row| positive[row], |_| 1)
}

fn checked_order(positive: &[bool], scores: &[f64]) -> Option<Vec<u32>> {
    if positive.len() != scores.len() || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    Some(descending_order(0..scores.len(), |row| scores[row]))
}

/// These rows from the highest score to the lowest.
pub(super) fn descending_order(rows: Range<usize>, score: impl Fn(usize) -> f64) -> Vec<u32> {
    let mut order: Vec<u32> = rows.map(|row| row as u32).collect();
    order.sort_by(|&a, &b| score(b as usize).total_cmp(&score(a as usize)));
    order
}

/// Walks the rows from the highest score down and hands `visit` each group of equal scores as
/// `(positives, negatives)`, every row counted `count(row)` times; returns the totals.
pub(super) fn walk_ties(
    order: &[u32],
    score: impl Fn(usize) -> f64,
    positive: impl Fn(usize) -> bool,
    count: impl Fn(usize) -> u64,
    mut visit: impl FnMut(u64, u64),
) -> (u64, u64) {
    let (mut all_positives, mut all_negatives) = (0, 0);
    let (mut positives, mut negatives) = (0, 0);
    for (place, &row) in order.iter().enumerate() {
        let row = row as usize;
        if positive(row) {
            positives += count(row);
        } else {
            negatives += count(row);
        }
        // `==`, not the sort's order: -0.0 and 0.0 are one score.
        let group_ends = order.get(place + 1).is_none_or(|&next| score(next as usize) != score(row));
        if group_ends {
            visit(positives, negatives);
            all_positives += positives;
            all_negatives += negatives;
            (positives, negatives) = (0, 0);
        }
    }
    (all_positives, all_negatives)
}

/// [`auroc`] of rows already sorted, row `r` standing for `count(r)` notes. Each of `orders` is one training's rows, and pairs are made within it alone:
/// the share of all these pairs that are ranked right, which is the trainings' mean where they have as many pairs. Counts stay integers to the last
/// division, so the result does not depend on the order of summation.
pub(super) fn auroc_of(
    orders: &[Vec<u32>],
    score: impl Fn(usize) -> f64,
    positive: impl Fn(usize) -> bool,
    count: impl Fn(usize) -> u64,
) -> Option<f64> {
    let (mut doubled_wins, mut pairs) = (0u128, 0u128);
    for order in orders {
        let mut positives_above = 0u64;
        let (positives, negatives) = walk_ties(order, &score, &positive, &count, |group_positives, group_negatives| {
            doubled_wins += u128::from(group_negatives) * u128::from(2 * positives_above + group_positives);
            positives_above += group_positives;
        });
        pairs += u128::from(positives) * u128::from(negatives);
    }
    (pairs > 0).then(|| doubled_wins as f64 / (2.0 * pairs as f64))
}

/// [`average_precision`] of rows already sorted, row `r` standing for `count(r)` notes: the mean over positive notes of the precision at their score,
/// each within its own training, as in [`auroc_of`]. A training without negatives, which has nothing to rank, is left out.
pub(super) fn average_precision_of(
    orders: &[Vec<u32>],
    score: impl Fn(usize) -> f64,
    positive: impl Fn(usize) -> bool,
    count: impl Fn(usize) -> u64,
) -> Option<f64> {
    let (mut area, mut all_positives) = (0.0, 0u64);
    for order in orders {
        let (mut of_training, mut true_positives, mut predicted) = (0.0, 0u64, 0u64);
        let (positives, negatives) = walk_ties(order, &score, &positive, &count, |group_positives, group_negatives| {
            true_positives += group_positives;
            predicted += group_positives + group_negatives;
            if group_positives > 0 {
                of_training += group_positives as f64 * (true_positives as f64 / predicted as f64);
            }
        });
        if negatives > 0 {
            area += of_training;
            all_positives += positives;
        }
    }
    (all_positives > 0).then(|| area / all_positives as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_class_is_undefined() {
        assert_eq!(auroc(&[true, true], &[0.1, 0.2]), None);
        assert_eq!(auroc(&[false], &[0.1]), None);
        assert_eq!(auroc(&[], &[]), None);
        assert_eq!(average_precision(&[false, false], &[0.1, 0.2]), None);
        assert_eq!(average_precision(&[true, true], &[0.1, 0.2]), None);
    }

    #[test]
    fn unusable_scores_are_undefined() {
        assert_eq!(auroc(&[true, false], &[f64::NAN, 0.2]), None);
        assert_eq!(auroc(&[true, false], &[0.2]), None);
    }

    #[test]
    fn ties_count_half() {
        assert_eq!(auroc(&[true, false], &[0.3, 0.3]), Some(0.5));
        assert_eq!(auroc(&[true, false], &[0.0, -0.0]), Some(0.5));
        assert_eq!(auroc(&[false, true, false, true], &[0.1, 0.4, 0.4, 0.8]), Some(0.875));
        assert_eq!(average_precision(&[false, true, false, true], &[0.3; 4]), Some(0.5));
    }
}
