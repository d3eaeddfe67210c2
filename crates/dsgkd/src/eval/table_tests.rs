#![allow(clippy::unwrap_used)]

use super::super::example::example;
use super::super::{BootstrapOptions, bootstrap, compare, evaluate, reference_subsamples};
use super::*;

#[test]
fn columns_are_aligned_and_undefined_is_said() {
    let one = evaluate(&[0, 1], &[0.75, 0.25, 0.5, 0.5], 2, 0.3).unwrap();
    let two = evaluate(&[0, 0], &[0.75, 0.25, 0.5, 0.5], 2, 0.3).unwrap();
    let text = metrics_table(&[("기준", &one), ("student", &two)]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "metric                     기준   student");
    assert_eq!(lines[1], "notes                      2      2");
    assert_eq!(lines[2], "auroc                      1.000  undefined");
    assert_eq!(lines.last().unwrap(), &"log_loss                   0.490  0.490");
    assert!(lines.iter().all(|line| !line.ends_with(' ')));
}

#[test]
fn two_and_three_classes_stand_side_by_side() {
    let two = evaluate(&[0, 1], &[0.75, 0.25, 0.5, 0.5], 2, 0.3).unwrap();
    let three = evaluate(&[0, 1, 2], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 3, 0.3).unwrap();
    let text = metrics_table(&[("two", &two), ("three", &three)]);
    assert!(text.contains("\nf1_macro                   -      1.000\n"), "{text}");
    assert_eq!(text.lines().count(), 2 + Metric::ALL.len());
}

#[test]
fn intervals_comparisons_and_subsamples_are_shown() {
    let options = BootstrapOptions { samples: 50, seed: 1 };
    let (mut first, second) = (example(40, 1), example(40, 1));
    let intervals = bootstrap(&[vec![first.clone()]], options).unwrap();
    let text = intervals_table(&[("a", &intervals)]);
    let auroc = &intervals.estimates[0];
    let (value, interval) = (auroc.value.unwrap(), auroc.interval.unwrap());
    assert!(text.contains(&format!("{value:.3} [{:.3}, {:.3}]", interval.low, interval.high)), "{text}");
    assert!(text.contains("a: 95 % intervals of 50 bootstrap samples, seed 1\n"), "{text}");

    let text = subsamples_table(&[("a", &reference_subsamples(&[vec![first.clone()]], 1).unwrap())]);
    assert!(text.contains(" ± ") && text.contains("10 subsamples of 30 notes"), "{text}");

    let seeds = bootstrap(&[vec![first.clone()], vec![second.clone()]], options).unwrap();
    let text = intervals_table(&[("a", &seeds)]);
    assert!(text.contains("\nseeds ") && text.contains("a: means over seeds; 95 % intervals of 50"), "{text}");

    first.training_prevalence = None;
    let comparison = compare(&[vec![first]], &[vec![second]], options).unwrap();
    let text = comparison_table("plain", "distilled", &comparison);
    assert!(text.contains("0.000 [0.000, 0.000]") && text.contains("  1.000\n"), "{text}");
    assert!(text.contains("f1_at_prevalence is undefined in 50 of 50 samples"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&to_json(&comparison).unwrap()).unwrap();
    assert_eq!(json["differences"][0]["metric"], "auroc");
}

#[test]
fn small_numbers_are_not_rounded_into_a_claim() {
    assert_eq!(p_text(Some(0.0004)), "<0.001");
    assert_eq!(signed(Some(-0.0001)), "0.000");
    assert_eq!(signed(Some(0.012)), "+0.012");
}
