//! What must hold of any predictions.

#![allow(clippy::unwrap_used)]

use super::example::example;
use super::ranking::{auroc, average_precision};
use super::{BootstrapOptions, Predictions, bootstrap, evaluate, measure};
use proptest::prelude::*;

/// Labels with scores on a grid, so that equal ones are common.
fn labelled_scores() -> impl Strategy<Value = (Vec<bool>, Vec<f64>)> {
    prop::collection::vec((any::<bool>(), 0u32..=20), 1..80)
        .prop_map(|rows| rows.into_iter().map(|(label, step)| (label, f64::from(step) / 20.0)).unzip())
}

/// The definition: every (positive, negative) pair, ties half.
fn auroc_of_all_pairs(positive: &[bool], scores: &[f64]) -> Option<f64> {
    let (mut wins, mut pairs) = (0.0, 0.0);
    for (above, _) in positive.iter().enumerate().filter(|(_, positive)| **positive) {
        for (below, _) in positive.iter().enumerate().filter(|(_, positive)| !**positive) {
            pairs += 1.0;
            wins += if scores[above] > scores[below] {
                1.0
            } else if scores[above] == scores[below] {
                0.5
            } else {
                0.0
            };
        }
    }
    (pairs > 0.0).then(|| wins / pairs)
}

/// Notes of two classes.
fn predictions_of(positive: &[bool], scores: &[f64]) -> Predictions {
    Predictions {
        ids: (0..scores.len()).map(|row| row.to_string()).collect(),
        groups: vec![],
        labels: positive.iter().map(|positive| usize::from(*positive)).collect(),
        probabilities: scores.iter().flat_map(|score| [1.0 - score, *score]).collect(),
        classes: vec!["no".to_string(), "yes".to_string()],
        training_prevalence: None,
    }
}

proptest! {
    #[test]
    fn auroc_counts_pairs((positive, scores) in labelled_scores()) {
        match (auroc(&positive, &scores), auroc_of_all_pairs(&positive, &scores)) {
            (Some(found), Some(counted)) => prop_assert!((found - counted).abs() < 1e-12),
            (found, counted) => prop_assert_eq!(found, counted),
        }
    }

    #[test]
    fn ranking_ignores_monotone_transforms((positive, scores) in labelled_scores()) {
        // exp and the cube keep the grid's steps apart in f64, so ties stay ties and no new ones appear.
        let bent: Vec<f64> = scores.iter().map(|score| (3.0 * score).exp() + score.powi(3)).collect();
        prop_assert_eq!(auroc(&positive, &scores), auroc(&positive, &bent));
        prop_assert_eq!(average_precision(&positive, &scores), average_precision(&positive, &bent));
    }

    #[test]
    fn folds_are_ranked_each_by_itself(folds in prop::collection::vec(labelled_scores(), 1..5)) {
        let run = |(positive, scores): &(Vec<bool>, Vec<f64>)| predictions_of(positive, scores);
        let measured = measure(&[folds.iter().map(run).collect()]).unwrap();
        // Each fold by its share of all pairs, or of all positives where there is a pair to rank.
        let counts = |positive: &[bool]| {
            let positives = positive.iter().filter(|positive| **positive).count() as f64;
            (positives, positive.len() as f64 - positives)
        };
        let (mut area, mut pairs, mut precision, mut positives_ranked) = (0.0, 0.0, 0.0, 0.0);
        for (positive, scores) in &folds {
            let (positives, negatives) = counts(positive);
            area += auroc(positive, scores).unwrap_or(0.0) * positives * negatives;
            pairs += positives * negatives;
            precision += average_precision(positive, scores).unwrap_or(0.0) * positives;
            positives_ranked += if negatives > 0.0 { positives } else { 0.0 };
        }
        prop_assert_eq!(measured.auroc.is_some(), pairs > 0.0);
        if let (Some(found), Some(precise)) = (measured.auroc, measured.auprc) {
            prop_assert!((found - area / pairs).abs() < 1e-12);
            prop_assert!((precise - precision / positives_ranked).abs() < 1e-12);
        }
        // A fold whose scores are bent, but stand in the same order, is as good.
        let mut bent = folds.clone();
        bent[0].1.iter_mut().for_each(|score| *score = score.sqrt() / 2.0);
        let bent = measure(&[bent.iter().map(run).collect()]).unwrap();
        prop_assert_eq!((measured.auroc, measured.auprc), (bent.auroc, bent.auprc));
    }

    #[test]
    fn swapped_labels_turn_the_auroc_over((positive, scores) in labelled_scores()) {
        let negative: Vec<bool> = positive.iter().map(|positive| !positive).collect();
        let (area, turned) = (auroc(&positive, &scores), auroc(&negative, &scores));
        prop_assert_eq!(area.is_some(), turned.is_some());
        if let (Some(area), Some(turned)) = (area, turned) {
            prop_assert!((area + turned - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter((positive, scores) in labelled_scores()) {
        let turn = |scores: &[f64]| scores.iter().rev().copied().collect::<Vec<_>>();
        let positive_turned: Vec<bool> = positive.iter().rev().copied().collect();
        prop_assert_eq!(auroc(&positive, &scores), auroc(&positive_turned, &turn(&scores)));
        prop_assert_eq!(average_precision(&positive, &scores), average_precision(&positive_turned, &turn(&scores)));
    }

    #[test]
    fn values_stay_in_range_and_absent_classes_are_undefined(
        rows in prop::collection::vec((0usize..3, 0.0f64..1.0, 0.0f64..1.0), 1..40)
    ) {
        let labels: Vec<usize> = rows.iter().map(|row| row.0).collect();
        let probabilities: Vec<f64> = rows.iter().flat_map(|(_, a, b)| {
            let (low, high) = (a.min(*b), a.max(*b));
            [low, high - low, 1.0 - high]
        }).collect();
        let metrics = evaluate(&labels, &probabilities, 3, 0.5).unwrap();
        let every_class = (0..3).all(|class| labels.contains(&class));
        prop_assert_eq!(metrics.auroc.is_some(), every_class);
        prop_assert_eq!(metrics.auprc.is_some(), every_class);
        prop_assert!(metrics.f1_macro.is_some());
        for (name, value) in metrics.iter() {
            let top = match name { "log_loss" => 37.0, "brier" => 2.0, _ => 1.0 };
            prop_assert!(value.is_none_or(|value| (0.0..=top + 1e-12).contains(&value)), "{}: {:?}", name, value);
        }
    }
}

#[test]
fn intervals_hold_the_estimate_nearly_always_and_tighten_with_notes() {
    let options = BootstrapOptions { samples: 200, seed: 3 };
    let auroc_interval = |notes, seed| {
        let estimate = bootstrap(&[vec![example(notes, seed)]], options).unwrap().estimates.swap_remove(0);
        (estimate.value.unwrap(), estimate.interval.unwrap())
    };
    // Seeds are fixed: this is one computation, not a lottery. The percentile interval is not centred on the estimate, so
    // "always" would be the wrong claim.
    let holding = (0..40)
        .filter(|&seed| {
            let (value, interval) = auroc_interval(80, seed);
            interval.low <= value && value <= interval.high
        })
        .count();
    assert!(holding >= 38, "{holding} of 40");
    let (few, many) = (auroc_interval(50, 1).1, auroc_interval(1250, 1).1);
    assert!(many.high - many.low < 0.5 * (few.high - few.low));
}
