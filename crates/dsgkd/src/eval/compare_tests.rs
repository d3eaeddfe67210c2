#![allow(clippy::unwrap_used)]

use super::super::example::example;
use super::*;

const OPTIONS: BootstrapOptions = BootstrapOptions { samples: 500, seed: 5 };

/// The same notes, their probabilities pulled towards the label.
fn improved(predictions: &Predictions, share: f64) -> Predictions {
    let mut better = predictions.clone();
    for (row, &label) in better.probabilities.chunks_exact_mut(2).zip(&predictions.labels) {
        row[1] += share * (label as f64 - row[1]);
        row[0] = 1.0 - row[1];
    }
    better
}

/// The rows `from..to`.
fn part(run: &Predictions, from: usize, to: usize) -> Predictions {
    Predictions {
        ids: run.ids[from..to].to_vec(),
        labels: run.labels[from..to].to_vec(),
        probabilities: run.probabilities[2 * from..2 * to].to_vec(),
        ..run.clone()
    }
}

fn shuffled(predictions: &Predictions) -> Predictions {
    let mut result = predictions.clone();
    result.ids.reverse();
    result.labels.reverse();
    result.probabilities = predictions.probabilities.chunks_exact(2).rev().flatten().copied().collect();
    result
}

fn of(comparison: &Comparison, metric: Metric) -> &Difference {
    comparison.of(metric).unwrap()
}

/// An arm of one seed and one fold.
fn arm(run: &Predictions) -> Vec<Vec<Predictions>> {
    vec![vec![run.clone()]]
}

#[test]
fn an_arm_does_not_differ_from_itself_in_any_order() {
    let run = example(80, 1);
    let comparison = compare(&arm(&run), &arm(&shuffled(&run)), OPTIONS).unwrap();
    for difference in &comparison.differences {
        assert_eq!(difference.difference, Some(0.0), "{}", difference.metric);
        let not_paired = format!("{}: not paired", difference.metric);
        assert_eq!(difference.interval, Some(Interval { low: 0.0, high: 0.0 }), "{not_paired}");
        assert_eq!(difference.p_value, Some(1.0), "{not_paired}");
    }
}

#[test]
fn a_better_arm_is_found_and_the_sign_is_candidate_minus_baseline() {
    let run = example(200, 2);
    let comparison = compare(&arm(&run), &arm(&improved(&run, 0.4)), OPTIONS).unwrap();
    let (auroc, brier) = (of(&comparison, Metric::Auroc), of(&comparison, Metric::Brier));
    assert!(auroc.difference.unwrap() > 0.0 && auroc.interval.unwrap().low > 0.0);
    assert!(brier.difference.unwrap() < 0.0 && brier.interval.unwrap().high < 0.0);
    assert_eq!(auroc.p_value, Some(2.0 / 501.0));
    let turned = compare(&arm(&improved(&run, 0.4)), &arm(&run), OPTIONS).unwrap();
    assert_eq!(of(&turned, Metric::Auroc).difference, auroc.difference.map(|difference| -difference));
}

#[test]
fn trainings_are_not_ranked_among_each_other() {
    let (run, other) = (example(90, 6), example(90, 7));
    let other = Predictions { ids: run.ids.clone(), labels: run.labels.clone(), ..other };
    // Another scale of probabilities in one training leaves its ranks as they are.
    let mut scaled = other.clone();
    scaled.probabilities.chunks_exact_mut(2).for_each(|row| (row[1], row[0]) = (0.2 * row[1], 1.0 - 0.2 * row[1]));
    let seeds = |second: &Predictions| [vec![run.clone()], vec![second.clone()]];
    let folds = |second: &Predictions| [seeds(second).concat()];
    let none = (Some(0.0), Some(Interval { low: 0.0, high: 0.0 }));
    for (first, second) in [(&seeds(&other)[..], &seeds(&scaled)[..]), (&folds(&other)[..], &folds(&scaled)[..])] {
        let found = compare(first, second, OPTIONS).unwrap();
        let auroc = of(&found, Metric::Auroc);
        assert_eq!((auroc.difference, auroc.interval), none);
    }
    // Put into one list they would differ.
    let listed = |second: &Predictions| arm(&Predictions::pooled(&seeds(second).concat()).unwrap());
    let listed = compare(&listed(&other), &listed(&scaled), OPTIONS).unwrap();
    assert!(of(&listed, Metric::Auroc).difference.unwrap().abs() > 0.02);
}

#[test]
fn all_seeds_draw_the_same_notes() {
    let run = example(60, 8);
    let better = improved(&run, 0.3);
    let once = compare(&arm(&run), &arm(&better), OPTIONS).unwrap();
    // A seed that says the same again tells no more: drawn apart, two would have a narrower interval.
    let twice = |run: &Predictions| [vec![run.clone()], vec![shuffled(run)]];
    let found = compare(&twice(&run), &twice(&better), OPTIONS).unwrap();
    let (once, found) = (of(&once, Metric::Auroc), of(&found, Metric::Auroc));
    let ends = |found: &Difference| found.interval.map(|interval| [interval.low, interval.high]).unwrap();
    assert!(ends(once).iter().zip(ends(found)).all(|(one, two)| (one - two).abs() < 1e-12), "{once:?} {found:?}");
    assert_eq!(once.p_value, found.p_value);
}

#[test]
fn a_seed_with_other_test_notes_draws_its_own_among_all() {
    let run = example(60, 8);
    let seeds = [vec![part(&run, 20, 60)], vec![part(&run, 0, 40)]];
    let arm = Seeds::new(&seeds, &groups_of(seeds.iter().flatten()).unwrap()).unwrap();
    assert_eq!((arm.units, arm.notes, arm.rows), (60, 60, 80));
    // Notes drawn once that lie in one seed alone, the others not at all: what is measured is those.
    let mut names = run.ids.clone();
    names.sort();
    let drawn = |from: usize, to: usize| -> Vec<u32> {
        names.iter().map(|name| u32::from(run.ids[from..to].contains(name))).collect()
    };
    let both = part(&run, 20, 40).evaluate().unwrap();
    assert_eq!(arm.measure(&drawn(20, 40)).auroc, both.auroc);
    assert_eq!(arm.measure(&drawn(0, 20)).auroc, None, "the first seed has none of them");
}

#[test]
fn seeds_are_clustered_and_folds_put_together() {
    let whole = example(120, 3);
    let better = improved(&whole, 0.1);
    let plain = compare(&arm(&whole), &arm(&better), OPTIONS).unwrap();
    let folds = [vec![part(&whole, 0, 50), part(&whole, 50, 120)]];
    let of_folds = compare(&folds, &arm(&better), OPTIONS).unwrap();
    assert_eq!((of_folds.baseline_trainings, of_folds.candidate_trainings), (2, 1));
    // What counts each row by itself is the same; ranks are the folds' own, and no test of one ranking stands beside them.
    for (plain, of_folds) in plain.differences.iter().zip(&of_folds.differences) {
        let is_ranking = matches!(plain.metric, Metric::Auroc | Metric::Auprc);
        assert_eq!(plain == of_folds, !is_ranking, "{}", plain.metric);
    }
    assert!(plain.delong.is_some() && of_folds.delong.is_none());
    let twice = |run: &Predictions| [vec![run.clone()], vec![run.clone()]];
    let seeds = compare(&twice(&whole), &twice(&better), OPTIONS).unwrap();
    assert_eq!((seeds.notes, seeds.baseline_rows, seeds.baseline_seeds), (120, 240, 2));
    for (plain, seeds) in plain.differences.iter().zip(&seeds.differences) {
        assert_eq!(plain.p_value, seeds.p_value, "{}", plain.metric);
        assert!((plain.interval.unwrap().low - seeds.interval.unwrap().low).abs() < 1e-12);
    }
    let uneven = [vec![whole.clone()], vec![part(&whole, 0, 50)]];
    assert!(compare(&uneven, &arm(&better), OPTIONS).unwrap_err().to_string().contains("mixtures"));
}

#[test]
fn arms_about_other_notes_are_refused_with_counts() {
    let first = example(20, 4);
    let mut second = first.clone();
    second.ids[0] = "other".into();
    second.ids[1] = "another".into();
    let mut third = second.clone();
    for column in [third.ids.pop().is_some(), third.labels.pop().is_some()] {
        assert!(column);
    }
    third.probabilities.truncate(38);
    let message = compare(&arm(&first), &arm(&third), OPTIONS).unwrap_err().to_string();
    assert!(message.contains("3 of 20 ids of the baseline") && message.contains("2 of 19 ids"), "{message}");
    assert!(!message.contains("other\""), "{message}");

    let mut relabelled = first.clone();
    relabelled.labels[5] = 1 - relabelled.labels[5];
    let message = compare(&arm(&first), &arm(&relabelled), OPTIONS).unwrap_err().to_string();
    assert!(message.contains("1 of 20 notes have another label"), "{message}");
    let message = compare(&[vec![first.clone(), relabelled]], &arm(&first), OPTIONS).unwrap_err().to_string();
    assert!(message.contains("baseline: 1 ids"), "{message}");
    let mut renamed = first.clone();
    renamed.classes.reverse();
    assert!(compare(&arm(&first), &arm(&renamed), OPTIONS).unwrap_err().to_string().contains("classes"));
}

#[test]
fn the_p_value_is_the_formula() {
    let sampled = |values: &[f64]| values.iter().map(|value| Some(*value)).chain([None]).collect::<Vec<_>>();
    assert_eq!(p_value(&sampled(&[1.0, 2.0, 3.0])), Some(0.5));
    assert_eq!(p_value(&sampled(&[1.0, 2.0, 3.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0])), Some(0.4));
    assert_eq!(p_value(&sampled(&[0.0; 9])), Some(1.0));
    assert_eq!(p_value(&[None]), None);
}
