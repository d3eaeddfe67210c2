//! The table of thresholds: what each decides on the test notes.

use crate::calibrate::Decision;
use crate::eval::curves::net_benefit_of;
use crate::eval::threshold::Confusion;
use crate::eval::{OperatingPoint, Predictions};
use serde::Serialize;
use std::collections::BTreeSet;

/// The thresholds at which `predict` decides with an arm's models where one was chosen on validation notes, of the probabilities that it writes.
pub(super) struct Chosen {
    /// What for.
    pub name: String,
    /// One a run; of one for which none was chosen, its training prevalence.
    pub thresholds: Vec<f64>,
}

impl Chosen {
    /// `None` unless a run has one, and the others a prevalence.
    pub(super) fn of(decisions: &[Option<&Decision>], written: &[Predictions]) -> Option<Chosen> {
        decisions.iter().flatten().next()?;
        let (mut names, mut thresholds) = (BTreeSet::new(), vec![]);
        for (run, decision) in written.iter().zip(decisions) {
            names.insert(decision.map_or(PREVALENCE.to_string(), |decision| name_of(decision.chosen_for)));
            thresholds.push(decided_at(*decision, run)?);
        }
        Some(Chosen { name: names.into_iter().collect::<Vec<_>>().join(", "), thresholds })
    }
}

/// At what `predict` decides with a run's model, of the probabilities that it writes. `None`: the most probable class is predicted, or nobody knows.
pub(super) fn decided_at(decision: Option<&Decision>, written: &Predictions) -> Option<f64> {
    decision.map(|decision| decision.threshold).or(written.training_prevalence)
}

/// What runs decide at for which nothing was chosen.
const PREVALENCE: &str = "training prevalence";

fn name_of(point: OperatingPoint) -> String {
    match point {
        OperatingPoint::Threshold(_) => format!("{point}, chosen"),
        OperatingPoint::Sensitivity(_) | OperatingPoint::Specificity(_) => format!("{point} on validation notes"),
    }
}

/// One threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ThresholdRow {
    /// What it is or was chosen for.
    pub name: String,
    /// Its value, where it is one for all runs.
    pub value: Option<f64>,
    /// What it decides.
    #[serde(flatten)]
    pub counts: Confusion,
    /// Of acting on what it flags, where the threshold is a probability below 1.
    pub net_benefit: Option<f64>,
}

/// Of the probabilities that `predict` writes, after a temperature where `is_scaled`: what was known before the test notes (the training notes'
/// prevalence, what `chosen` says, one half), and then the points that are asked for. `None`: not of two classes.
pub(super) fn threshold_rows(
    runs: &[Predictions],
    pooled: &Predictions,
    is_scaled: bool,
    chosen: Option<&Chosen>,
    points: &[OperatingPoint],
) -> Option<Vec<ThresholdRow>> {
    let (positive, scores) = pooled.binary()?;
    let row = |name: String, value: f64| {
        let counts = Confusion::at_threshold(&positive, &scores, value)?;
        Some(ThresholdRow { name, value: Some(value), counts, net_benefit: net_benefit_of(&counts, value) })
    };
    let prevalence = if is_scaled { format!("{PREVALENCE}, scaled") } else { PREVALENCE.to_string() };
    let prevalences: Option<Vec<f64>> = runs.iter().map(|run| run.training_prevalence).collect();
    let mut rows = vec![];
    rows.extend(prevalences.and_then(|at| at_each(prevalence, runs, &at)));
    rows.extend(chosen.and_then(|chosen| at_each(chosen.name.clone(), runs, &chosen.thresholds)));
    rows.extend(row("one half".to_string(), 0.5));
    for point in points {
        rows.extend(point.of(&positive, &scores).and_then(|value| row(point.to_string(), value)));
    }
    Some(rows)
}

/// Each run at a threshold of its own.
fn at_each(name: String, runs: &[Predictions], thresholds: &[f64]) -> Option<ThresholdRow> {
    let (mut counts, mut benefits) = (Confusion::default(), Some(0.0));
    for (run, at) in runs.iter().zip(thresholds) {
        let (positive, scores) = run.binary()?;
        let of_run = Confusion::at_threshold(&positive, &scores, *at)?;
        counts += of_run;
        // Per note, each note at its own run's odds.
        let benefit = net_benefit_of(&of_run, *at).map(|benefit| benefit * of_run.notes() as f64);
        benefits = benefits.zip(benefit).map(|(sum, benefit)| sum + benefit);
    }
    let value = thresholds.first().copied().filter(|_| runs.len() == 1);
    Some(ThresholdRow { name, value, counts, net_benefit: benefits.map(|benefits| benefits / counts.notes() as f64) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Positives at 0.9, 0.6 and 0.4, negatives at 0.7, 0.3, 0.2 and 0.1.
    fn predictions(training_prevalence: Option<f64>) -> Predictions {
        let scores = [0.9, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1];
        Predictions {
            ids: (0..7).map(|note| note.to_string()).collect(),
            groups: vec![],
            labels: vec![1, 0, 1, 1, 0, 0, 0],
            probabilities: scores.iter().flat_map(|score| [1.0 - score, *score]).collect(),
            classes: ["no", "yes"].map(str::to_string).to_vec(),
            training_prevalence,
        }
    }

    #[test]
    fn points_that_are_chosen_stand_after_those_that_were_known() {
        let run = predictions(Some(0.35));
        let points =
            [OperatingPoint::Threshold(0.25), OperatingPoint::Sensitivity(0.66), OperatingPoint::Specificity(0.75)];
        let chosen = Chosen { name: "sensitivity 0.9 on validation notes".to_string(), thresholds: vec![0.15] };
        let rows = threshold_rows(std::slice::from_ref(&run), &run, false, Some(&chosen), &points).unwrap();
        let told: Vec<(&str, Option<f64>, u64, u64)> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.value, row.counts.true_positives, row.counts.false_positives))
            .collect();
        let expected = [
            ("training prevalence", Some(0.35), 3, 1),
            ("sensitivity 0.9 on validation notes", Some(0.15), 3, 3),
            ("one half", Some(0.5), 2, 1),
            ("threshold 0.25", Some(0.25), 3, 2),
            ("sensitivity 0.66", Some(0.6), 2, 1),
            // The lowest score that leaves three negatives of four alone.
            ("specificity 0.75", Some(0.4), 3, 1),
        ];
        assert_eq!(told, expected);
        // By hand: (3 - 2 / 3) / 7.
        assert!((rows[3].net_benefit.unwrap() - (3.0 - 2.0 / 3.0) / 7.0).abs() < 1e-12);
    }

    #[test]
    fn thresholds_of_several_runs_have_no_one_value() {
        let runs = [predictions(Some(0.35)), predictions(Some(0.65))];
        let pooled = Predictions::pooled(&runs).unwrap();
        let rows = threshold_rows(&runs, &pooled, false, None, &[]).unwrap();
        assert_eq!((rows[0].value, rows[0].counts.true_positives), (None, 4));
        // 3 found and 1 false alarm at 0.35, 1 and 1 at 0.65, of 14.
        let by_hand = (3.0 - 0.35 / 0.65 + 1.0 - 0.65 / 0.35) / 14.0;
        assert!((rows[0].net_benefit.unwrap() - by_hand).abs() < 1e-12);
        let unknown = [predictions(None), predictions(Some(0.65))];
        assert_eq!(threshold_rows(&unknown, &pooled, false, None, &[]).unwrap()[0].name, "one half");
    }

    #[test]
    fn a_run_without_a_chosen_threshold_decides_at_its_prevalence() {
        let decision = |share, threshold| Decision {
            chosen_for: OperatingPoint::Sensitivity(share),
            threshold,
            validation: None,
            test: None,
        };
        let (one, other) = (decision(0.9, 0.35), decision(0.9, 0.65));
        let runs = [predictions(None), predictions(None)];
        let chosen = Chosen::of(&[Some(&one), Some(&other)], &runs).unwrap();
        assert_eq!(chosen.name, "sensitivity 0.9 on validation notes");
        let pooled = Predictions::pooled(&runs).unwrap();
        let row = &threshold_rows(&runs, &pooled, true, Some(&chosen), &[]).unwrap()[0];
        assert_eq!((row.value, row.counts.true_positives, row.counts.false_positives), (None, 4, 2));
        // At certainty the odds have no bound, and the row stands all the same.
        let certain = Chosen { name: "certain".to_string(), thresholds: vec![1.0, 0.65] };
        let row = &threshold_rows(&runs, &pooled, true, Some(&certain), &[]).unwrap()[0];
        assert_eq!((row.net_benefit, row.counts.true_positives), (None, 1));
        assert!(Chosen::of(&[None, None], &runs).is_none() && Chosen::of(&[], &runs).is_none());
        assert!(Chosen::of(&[Some(&one), None], &runs).is_none(), "nobody knows where the second decides");
        let mixed = Chosen::of(&[None, Some(&one)], &[predictions(Some(0.65)), predictions(None)]).unwrap();
        assert_eq!(mixed.name, "sensitivity 0.9 on validation notes, training prevalence");
        assert_eq!(mixed.thresholds, [0.65, 0.35]);
    }
}
