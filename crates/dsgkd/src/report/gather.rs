//! The numbers of a report.

use super::ReportOptions;
use super::subgroups::{Subgroups, subgroups};
use super::thresholds::{Chosen, ThresholdRow, decided_at, threshold_rows};
use crate::calibrate::{Calibration, CalibrationScores, Decision, read_calibration, written};
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::eval::calibration::{DEFAULT_BINS, ReliabilityBin};
use crate::eval::delong::{AurocInterval, delong_interval};
use crate::eval::threshold::decide;
use crate::eval::{BootstrapOptions, Comparison, Intervals, OperatingPoint, Predictions, bootstrap};
use crate::runs::FinishedRuns;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// All that a page shows.
pub(super) struct Gathered {
    /// One an arm.
    pub arms: Vec<Arm>,
    /// Of every arm but the first, to the first: its name and the differences.
    pub comparisons: Vec<(String, Comparison)>,
    /// What the intervals were made with.
    pub bootstrap: BootstrapOptions,
}

/// One run, or the runs of one experiment's folds or seeds.
pub(super) struct Arm {
    /// Name of its folder.
    pub name: String,
    /// The experiment; `None` when its file cannot be read any more.
    pub config: Option<Config>,
    /// Seeds of its runs, each once.
    pub seeds: Vec<u64>,
    /// Those of its runs' splits.
    pub split_seeds: Vec<u64>,
    /// The folds that its runs are tested on.
    pub folds: Vec<u64>,
    /// Versions and counts of every run.
    pub environments: Vec<Json>,
    /// Lines of every run's history.
    pub histories: Vec<Vec<Json>>,
    /// Those of what it heard of its teachers before the labels, empty without.
    pub teachings: Vec<Vec<Json>>,
    /// All test rows together.
    pub pooled: Predictions,
    /// Every metric with its interval.
    pub intervals: Intervals,
    /// With two classes: what follows from thresholds.
    pub binary: Option<Binary>,
    /// Rows are true classes, columns predicted ones.
    pub confusion: Vec<Vec<u64>>,
    /// As trained.
    pub calibration: Reliability,
    /// After temperature scaling, as `predict` writes it, where a run has a temperature, and the temperature of each.
    pub scaled: Option<(Vec<Option<f64>>, Reliability)>,
    /// What the thresholds of its runs were chosen for on validation notes, where one was.
    pub chosen: Option<String>,
    /// Metrics of parts of the notes.
    pub subgroups: Vec<Subgroups>,
}

/// A reliability diagram and its numbers.
pub(super) struct Reliability {
    /// Ten bins.
    pub bins: Vec<ReliabilityBin>,
    /// Log loss, Brier score, calibration error.
    pub scores: CalibrationScores,
}

/// Of two classes, with probabilities as `predict` writes them.
pub(super) struct Binary {
    /// Whether each row is positive.
    pub positive: Vec<bool>,
    /// Its probability to be.
    pub scores: Vec<f64>,
    /// DeLong's interval beside the bootstrap's; `None` of several trainings, and where several rows are one note.
    pub delong: Option<AurocInterval>,
    /// Counts at thresholds.
    pub thresholds: Vec<ThresholdRow>,
}

/// Reads and computes.
pub(super) fn gather(runs: &[FinishedRuns], options: &ReportOptions) -> Result<Gathered> {
    options.operating_points.iter().try_for_each(OperatingPoint::check)?;
    let bootstrap = BootstrapOptions { samples: options.bootstrap_samples, seed: options.seed };
    let arms = runs.iter().map(|run| arm(run, options, bootstrap)).collect::<Result<Vec<Arm>>>()?;
    let mut comparisons = vec![];
    for run in runs.iter().skip(1) {
        comparisons.push((run.name.clone(), runs[0].compare(run, bootstrap)?));
    }
    if options.operating_points != OperatingPoint::DEFAULT && arms.iter().any(|arm| arm.binary.is_none()) {
        let message = "--threshold, --sensitivity and --specificity are of two classes, and a run has more";
        return Err(Error::Config(message.to_string()));
    }
    Ok(Gathered { arms, comparisons, bootstrap })
}

fn arm(run: &FinishedRuns, options: &ReportOptions, samples: BootstrapOptions) -> Result<Arm> {
    let runs = run.seeds.concat();
    let pooled = Predictions::pooled(&runs)?;
    // The runs of an arm differ in fold or seed alone.
    let configs: Vec<Option<Config>> =
        run.folders.iter().map(|folder| Some(config::load(Some(&folder.config()), &[]).ok()?.resolved())).collect();
    let of_runs = |number: &dyn Fn(&Config) -> Option<u64>| -> Vec<u64> {
        let numbers: BTreeSet<u64> = configs.iter().flatten().filter_map(number).collect();
        numbers.into_iter().collect()
    };
    let seeds = of_runs(&|config| Some(config.seed));
    let split_seeds = of_runs(&|config| config.data.split.seed);
    let folds = of_runs(&|config| Some(config.data.split.fold as u64));
    let config = configs.into_iter().next().flatten();
    let calibrations = run.folders.iter().map(read_calibration).collect::<Result<Vec<Option<Calibration>>>>()?;
    let decisions: Vec<Option<&Decision>> =
        calibrations.iter().map(|calibration| calibration.as_ref()?.decision.as_ref()).collect();
    let temperature = |run: usize| calibrations.get(run).and_then(temperature_of);
    let written: Vec<Predictions> =
        runs.iter().enumerate().map(|(run, predictions)| written(predictions, temperature(run))).collect();
    let chosen = Chosen::of(&decisions, &written);
    let scaled = scaled_reliability(&written, &calibrations)?;
    let decided = chosen.as_ref().map(|chosen| decided(&run.seeds, &written, chosen));
    let subgroups = match &config {
        Some(config) => subgroups(config, &run.seeds, decided.as_deref(), &options.subgroups, samples)?,
        None if options.subgroups.is_empty() => vec![],
        None => return Err(Error::Config(format!("{}: has no config.toml to find --subgroup columns by", run.name))),
    };
    Ok(Arm {
        name: run.name.clone(),
        seeds,
        split_seeds,
        folds,
        environments: run.folders.iter().map(|folder| json_file(&folder.environment())).collect(),
        histories: run.folders.iter().map(|folder| lines(&folder.history())).collect(),
        teachings: run.folders.iter().map(|folder| lines(&folder.teaching())).collect(),
        intervals: bootstrap(&run.seeds, samples)?,
        binary: binary(&written, scaled.is_some(), chosen.as_ref(), &options.operating_points)?,
        confusion: confusion(&written, &decisions, pooled.classes.len()),
        calibration: reliability(&pooled)?,
        scaled,
        chosen: chosen.map(|chosen| chosen.name),
        subgroups,
        config,
        pooled,
    })
}

/// The runs of each seed with what `predict` writes and, in place of the training prevalence, the threshold at which it decides.
fn decided(seeds: &[Vec<Predictions>], written: &[Predictions], chosen: &Chosen) -> Vec<Vec<Predictions>> {
    let at =
        |(run, threshold): (&Predictions, &f64)| Predictions { training_prevalence: Some(*threshold), ..run.clone() };
    let mut runs = written.iter().zip(&chosen.thresholds).map(at);
    seeds.iter().map(|seed| runs.by_ref().take(seed.len()).collect()).collect()
}

fn reliability(predictions: &Predictions) -> Result<Reliability> {
    Ok(Reliability { bins: predictions.reliability(DEFAULT_BINS)?, scores: CalibrationScores::of(predictions)? })
}

fn scaled_reliability(
    written: &[Predictions],
    calibrations: &[Option<Calibration>],
) -> Result<Option<(Vec<Option<f64>>, Reliability)>> {
    let temperatures: Vec<Option<f64>> = calibrations.iter().map(temperature_of).collect();
    if temperatures.iter().all(Option::is_none) {
        return Ok(None);
    }
    Ok(Some((temperatures, reliability(&Predictions::pooled(written)?)?)))
}

fn temperature_of(calibration: &Option<Calibration>) -> Option<f64> {
    calibration.as_ref()?.temperature
}

fn binary(
    written: &[Predictions],
    is_scaled: bool,
    chosen: Option<&Chosen>,
    points: &[OperatingPoint],
) -> Result<Option<Binary>> {
    let pooled = Predictions::pooled(written)?;
    let rows = threshold_rows(written, &pooled, is_scaled, chosen, points);
    Ok(pooled.binary().zip(rows).map(|((positive, scores), thresholds)| {
        let one_ranking = written.len() == 1 && pooled.rows_are_independent();
        let delong = one_ranking.then(|| delong_interval(&positive, &scores)).flatten();
        Binary { delong, thresholds, positive, scores }
    }))
}

/// Each note as `predict` decides it with the model of its run.
fn confusion(written: &[Predictions], decisions: &[Option<&Decision>], classes: usize) -> Vec<Vec<u64>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (run, decision) in written.iter().zip(decisions) {
        let threshold = decided_at(*decision, run);
        for (row, &label) in run.probabilities.chunks_exact(classes).zip(&run.labels) {
            counts[label][decide(row, threshold)] += 1;
        }
    }
    counts
}

fn json_file(path: &std::path::Path) -> Json {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

fn lines(path: &std::path::Path) -> Vec<Json> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// One note each.
    fn run(probability: f64, prevalence: f64) -> Predictions {
        Predictions {
            ids: vec![probability.to_string()],
            groups: vec![],
            labels: vec![1],
            probabilities: vec![1.0 - probability, probability],
            classes: ["no", "yes"].map(str::to_string).to_vec(),
            training_prevalence: Some(prevalence),
        }
    }

    #[test]
    fn every_run_is_decided_at_its_own_threshold() {
        let seeds = [vec![run(0.1, 0.5), run(0.2, 0.5)], vec![run(0.3, 0.5)]];
        let written: Vec<Predictions> = seeds.concat();
        let chosen = Chosen { name: String::new(), thresholds: vec![0.15, 0.25, 0.35] };
        let expected = [vec![run(0.1, 0.15), run(0.2, 0.25)], vec![run(0.3, 0.35)]];
        assert_eq!(decided(&seeds, &written, &chosen), expected);
    }

    #[test]
    fn runs_without_a_temperature_count_as_trained_beside_the_others() {
        let calibration = |temperature| {
            Some(Calibration { temperature, validation_notes: 9, validation: None, test: None, decision: None })
        };
        let written = [run(0.1, 0.5), run(0.9, 0.5)];
        let found = |temperatures: [Option<Calibration>; 2]| scaled_reliability(&written, &temperatures).unwrap();
        assert!(found([None, calibration(None)]).is_none());
        let (temperatures, reliability) = found([calibration(Some(2.0)), None]).unwrap();
        assert_eq!(temperatures, [Some(2.0), None]);
        assert!((reliability.scores.brier.unwrap() - (0.81 + 0.01) / 2.0).abs() < 1e-12);
    }
}
