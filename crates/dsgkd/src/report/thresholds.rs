//! The table of thresholds: what each decides on the test notes.

use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::eval::curves::{net_benefit_of, threshold_of_sensitivity, threshold_of_specificity};
use crate::eval::threshold::Confusion;
use serde::Serialize;

/// What a threshold is chosen for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OperatingPoint {
    /// This probability itself.
    Threshold(f64),
    /// The highest threshold at which so large a share of the positives is found.
    Sensitivity(f64),
    /// The lowest threshold at which so large a share of the negatives is left alone.
    Specificity(f64),
}

impl OperatingPoint {
    /// Those of a page on which nobody chose any.
    pub const DEFAULT: [OperatingPoint; 3] =
        [OperatingPoint::Sensitivity(0.9), OperatingPoint::Sensitivity(0.95), OperatingPoint::Specificity(0.9)];

    /// # Errors
    /// A number that is no probability or share: 0 and below, 1 and above. (At a threshold of 1 the odds have no bound, at 0 everything is flagged.)
    pub(super) fn check(&self) -> Result<()> {
        let (option, value) = match self {
            OperatingPoint::Threshold(value) => ("threshold", value),
            OperatingPoint::Sensitivity(value) => ("sensitivity", value),
            OperatingPoint::Specificity(value) => ("specificity", value),
        };
        if *value > 0.0 && *value < 1.0 {
            return Ok(());
        }
        Err(Error::Config(format!("--{option} {value}: must be above 0 and below 1")))
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

/// The training notes' prevalence and one half, which were known before the test notes, and then the points that are asked for. `None`: not of two classes.
pub(super) fn threshold_rows(
    runs: &[Predictions],
    pooled: &Predictions,
    points: &[OperatingPoint],
) -> Option<Vec<ThresholdRow>> {
    let (positive, scores) = pooled.binary()?;
    let row = |name: String, value: f64| {
        let counts = Confusion::at_threshold(&positive, &scores, value)?;
        Some(ThresholdRow { name, value: Some(value), counts, net_benefit: net_benefit_of(&counts, value) })
    };
    let mut rows: Vec<ThresholdRow> = at_prevalence(runs).into_iter().collect();
    rows.extend(row("one half".to_string(), 0.5));
    for point in points {
        rows.extend(match *point {
            OperatingPoint::Threshold(value) => row("probability".to_string(), value),
            OperatingPoint::Sensitivity(share) => threshold_of_sensitivity(&positive, &scores, share)
                .and_then(|value| row(format!("sensitivity {share}"), value)),
            OperatingPoint::Specificity(share) => threshold_of_specificity(&positive, &scores, share)
                .and_then(|value| row(format!("specificity {share}"), value)),
        });
    }
    Some(rows)
}

/// Each run at the prevalence of its own training notes; `None` where one does not know it.
fn at_prevalence(runs: &[Predictions]) -> Option<ThresholdRow> {
    let (mut counts, mut benefits) = (Confusion::default(), 0.0);
    for run in runs {
        let (positive, scores) = run.binary()?;
        let at = run.training_prevalence?;
        let of_run = Confusion::at_threshold(&positive, &scores, at)?;
        counts += of_run;
        // Per note, each note at its own run's odds.
        benefits += net_benefit_of(&of_run, at)? * of_run.notes() as f64;
    }
    let value = runs.first()?.training_prevalence.filter(|_| runs.len() == 1);
    let net_benefit = Some(benefits / counts.notes() as f64);
    Some(ThresholdRow { name: "training prevalence".to_string(), value, counts, net_benefit })
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
        let rows = threshold_rows(std::slice::from_ref(&run), &run, &points).unwrap();
        let told: Vec<(&str, Option<f64>, u64, u64)> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.value, row.counts.true_positives, row.counts.false_positives))
            .collect();
        let expected = [
            ("training prevalence", Some(0.35), 3, 1),
            ("one half", Some(0.5), 2, 1),
            ("probability", Some(0.25), 3, 2),
            ("sensitivity 0.66", Some(0.6), 2, 1),
            // The lowest score that leaves three negatives of four alone.
            ("specificity 0.75", Some(0.4), 3, 1),
        ];
        assert_eq!(told, expected);
        // By hand: (3 - 2 / 3) / 7.
        assert!((rows[2].net_benefit.unwrap() - (3.0 - 2.0 / 3.0) / 7.0).abs() < 1e-12);
    }

    #[test]
    fn thresholds_of_several_runs_have_no_one_value() {
        let runs = [predictions(Some(0.35)), predictions(Some(0.65))];
        let pooled = Predictions::pooled(&runs).unwrap();
        let rows = threshold_rows(&runs, &pooled, &[]).unwrap();
        assert_eq!((rows[0].value, rows[0].counts.true_positives), (None, 4));
        // 3 found and 1 false alarm at 0.35, 1 and 1 at 0.65, of 14.
        let by_hand = (3.0 - 0.35 / 0.65 + 1.0 - 0.65 / 0.35) / 14.0;
        assert!((rows[0].net_benefit.unwrap() - by_hand).abs() < 1e-12);
        let unknown = [predictions(None), predictions(Some(0.65))];
        assert_eq!(threshold_rows(&unknown, &pooled, &[]).unwrap()[0].name, "one half");
    }

    #[test]
    fn points_beyond_the_ends_are_refused() {
        for wrong in [0.0, 1.0, -0.1, f64::NAN] {
            let message = OperatingPoint::Sensitivity(wrong).check().unwrap_err().to_string();
            assert!(message.contains("--sensitivity"), "{message}");
        }
        assert!(OperatingPoint::DEFAULT.iter().all(|point| point.check().is_ok()));
    }
}
