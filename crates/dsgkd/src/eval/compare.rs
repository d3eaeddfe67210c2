//! Whether one arm is better than another on the same notes.

use super::bootstrap::{BootstrapOptions, Interval, check_samples, draw_sample, interval_of};
use super::delong::{AurocDifference, delong_difference};
use super::metrics::Metric;
use super::pool::{Seeds, groups_of};
use super::predictions::Predictions;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One metric of two arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Which metric.
    pub metric: Metric,
    /// Value of the first arm; `None` when undefined, as below.
    pub baseline: Option<f64>,
    /// Value of the second arm.
    pub candidate: Option<f64>,
    /// `candidate - baseline`; what is better is [`Metric::higher_is_better`].
    pub difference: Option<f64>,
    /// 95 % percentile bootstrap interval of the difference.
    pub interval: Option<Interval>,
    /// Two-sided p-value of "no difference" (see [`compare`]); not corrected for looking at several metrics.
    pub p_value: Option<f64>,
    /// Samples in which either arm's metric was undefined; they are dropped.
    pub undefined_samples: usize,
}

impl Difference {
    /// `sampled` are the differences of the bootstrap samples.
    fn new(metric: Metric, baseline: Option<f64>, candidate: Option<f64>, sampled: &[Option<f64>]) -> Difference {
        let difference = minus(candidate, baseline);
        let (interval, undefined_samples) = interval_of(sampled.iter().copied());
        Difference {
            metric,
            baseline,
            candidate,
            difference,
            interval: difference.and(interval),
            p_value: difference.and(p_value(sampled)),
            undefined_samples,
        }
    }
}

/// Every metric of two arms on the same notes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Distinct ids.
    pub notes: usize,
    /// What was resampled: `notes`, or fewer where notes are drawn by group.
    #[serde(default)]
    pub units: usize,
    /// Seeds of the first arm, whose mean its values are.
    pub baseline_seeds: usize,
    /// Seeds of the second arm.
    pub candidate_seeds: usize,
    /// Trainings of the first arm, the folds of all seeds: the scores of each are ranked by themselves.
    #[serde(default)]
    pub baseline_trainings: usize,
    /// Trainings of the second arm.
    #[serde(default)]
    pub candidate_trainings: usize,
    /// Rows of the first arm, over all its runs.
    pub baseline_rows: usize,
    /// Rows of the second arm.
    pub candidate_rows: usize,
    /// Classes of the classifiers.
    pub classes: usize,
    /// Bootstrap samples drawn.
    pub samples: usize,
    /// Their seed.
    pub seed: u64,
    /// In the order of tables.
    pub differences: Vec<Difference>,
    /// DeLong's test of the AUROC beside the bootstrap's; `None` with more than two classes, with several trainings in an arm (folds, seeds), with several
    /// rows of a note or of a group, or undefined.
    pub delong: Option<AurocDifference>,
}

impl Comparison {
    /// The difference in one metric; `None` where it is not reported for this number of classes.
    pub fn of(&self, metric: Metric) -> Option<&Difference> {
        self.differences.iter().find(|difference| difference.metric == metric)
    }
}

/// Compares two arms by a paired bootstrap: each sample draws the same notes for both (Efron & Tibshirani 1993, chapter 16).
///
/// An arm is its seeds, each the runs of its folds, measured as in [`super::bootstrap()`]: the folds' rows together (every note predicted out of fold, and ranked
/// within its fold), and the mean over the seeds. Notes are paired by id and drawn by id with all their rows, so several seeds of one note count
/// as one note. Groups (patients) are drawn with all their notes.
///
/// The p-value turns the interval around: with `n` samples in which both metrics are defined and `d*` their differences,
/// `p = min(1, 2 min(#{d* <= 0} + 1, #{d* >= 0} + 1) / (n + 1))`. The `+ 1` (Davison & Hinkley 1997, section 4.2) counts the
/// notes at hand as one more sample: p is never 0, and 2,000 samples cannot show less than 2/2001.
///
/// # Errors
/// [`Error::Data`] when the ids of the arms differ (counting those missing on either side), when a note has several labels,
/// or not the same in both arms, when a note's share of the rows differs between the arms (it stands twice in one and once
/// in the other, while another stands once in both), when the classes differ, or as [`Predictions::validate`].
/// [`Error::Config`] for 0 samples, or more than a million.
pub fn compare(
    baseline: &[Vec<Predictions>],
    candidate: &[Vec<Predictions>],
    options: BootstrapOptions,
) -> Result<Comparison> {
    check_samples(options.samples)?;
    // A group that one arm knows holds for the other too.
    let groups = groups_of(baseline.iter().chain(candidate).flatten())?;
    let first = Seeds::new(baseline, &groups).map_err(in_arm("baseline"))?;
    let second = Seeds::new(candidate, &groups).map_err(in_arm("candidate"))?;
    check_pairs(&Vec::from_iter(baseline.iter().flatten()), &Vec::from_iter(candidate.iter().flatten()))?;

    let (first_all, second_all) = (first.measure_all(), second.measure_all());
    let resampled: Vec<_> = (0..options.samples)
        .into_par_iter()
        .map(|index| {
            // The units are the same and numbered in the same order, so one draw serves both arms.
            let drawn = draw_sample(first.units, options.seed, index);
            (first.measure(&drawn), second.measure(&drawn))
        })
        .collect();
    let differences = Metric::of_classes(first.classes).map(|metric| {
        let sampled: Vec<Option<f64>> =
            resampled.iter().map(|(first, second)| minus(second.get(metric), first.get(metric))).collect();
        Difference::new(metric, first_all.get(metric), second_all.get(metric), &sampled)
    });
    let one_ranking = first.is_one_ranking() && second.is_one_ranking();
    Ok(Comparison {
        notes: first.notes,
        units: first.units,
        baseline_seeds: first.count(),
        candidate_seeds: second.count(),
        baseline_trainings: first.trainings,
        candidate_trainings: second.trainings,
        baseline_rows: first.rows,
        candidate_rows: second.rows,
        classes: first.classes,
        samples: options.samples,
        seed: options.seed,
        differences: differences.collect(),
        delong: one_ranking.then(|| delong(&baseline[0][0], &candidate[0][0])).flatten(),
    })
}

fn in_arm(arm: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Data(message) => Error::Data(format!("{arm}: {message}")),
        other => other,
    }
}

/// Of two trainings on the same notes.
fn delong(baseline: &Predictions, candidate: &Predictions) -> Option<AurocDifference> {
    let by_id = |run: &Predictions| -> Option<BTreeMap<String, (bool, f64)>> {
        let (positive, scores) = run.binary()?;
        Some(run.ids.iter().cloned().zip(positive.into_iter().zip(scores)).collect())
    };
    let (positive, baseline): (Vec<bool>, Vec<f64>) = by_id(baseline)?.into_values().unzip();
    let candidate: Vec<f64> = by_id(candidate)?.into_values().map(|(_, score)| score).collect();
    delong_difference(&positive, &baseline, &candidate)
}

/// Differences up to here are rounding of sums in another order, and count as none: without it two copies of one file with
/// their rows in different orders could differ "significantly" by 1e-17.
const ROUNDING: f64 = 1e-12;

fn minus(candidate: Option<f64>, baseline: Option<f64>) -> Option<f64> {
    let difference = candidate? - baseline?;
    Some(if difference.abs() <= ROUNDING { 0.0 } else { difference })
}

/// See [`compare`].
fn p_value(sampled: &[Option<f64>]) -> Option<f64> {
    let defined = || sampled.iter().flatten();
    let samples = defined().count();
    let not_above = defined().filter(|difference| **difference <= 0.0).count();
    let not_below = defined().filter(|difference| **difference >= 0.0).count();
    (samples > 0).then(|| (2.0 * (not_above.min(not_below) + 1) as f64 / (samples + 1) as f64).min(1.0))
}

/// Each id's label and number of rows; the number of ids whose rows disagree on the label.
fn notes_of<'a>(runs: &[&'a Predictions]) -> (BTreeMap<&'a str, (usize, usize)>, usize) {
    let mut notes: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut disagreeing = std::collections::BTreeSet::new();
    for run in runs {
        for (id, &label) in run.ids.iter().zip(&run.labels) {
            let (first_label, rows) = notes.entry(id).or_insert((label, 0));
            *rows += 1;
            if *first_label != label {
                disagreeing.insert(id.as_str());
            }
        }
    }
    (notes, disagreeing.len())
}

/// Refuses arms that are not about the same notes. Ids are counted, not listed: they may identify a patient.
fn check_pairs(baseline: &[&Predictions], candidate: &[&Predictions]) -> Result<()> {
    if let (Some(first), Some(second)) = (baseline.first(), candidate.first())
        && first.classes != second.classes
    {
        return Err(Error::Data(format!(
            "the arms have other classes, or another order of them: baseline {:?}, candidate {:?}",
            first.classes, second.classes
        )));
    }
    let (first, first_disagreeing) = notes_of(baseline);
    let (second, second_disagreeing) = notes_of(candidate);
    let only_first = first.keys().filter(|id| !second.contains_key(*id)).count();
    let only_second = second.keys().filter(|id| !first.contains_key(*id)).count();
    if only_first + only_second > 0 {
        return Err(Error::Data(format!(
            "the arms are not about the same notes: {only_first} of {} ids of the baseline are missing in the candidate, and \
             {only_second} of {} ids of the candidate in the baseline",
            first.len(),
            second.len()
        )));
    }
    for (arm, disagreeing) in [("baseline", first_disagreeing), ("candidate", second_disagreeing)] {
        if disagreeing > 0 {
            return Err(Error::Data(format!(
                "{arm}: {disagreeing} ids have rows with different labels; an id must name one note"
            )));
        }
    }
    let pairs = || first.values().zip(second.values());
    let relabelled = pairs().filter(|((first_label, _), (second_label, _))| first_label != second_label).count();
    if relabelled > 0 {
        return Err(Error::Data(format!("{relabelled} of {} notes have another label in the other arm", first.len())));
    }
    let total = |notes: &BTreeMap<&str, (usize, usize)>| notes.values().map(|(_, rows)| rows).sum::<usize>() as u128;
    let (first_total, second_total) = (total(&first), total(&second));
    let uneven = pairs()
        .filter(|((_, first_rows), (_, second_rows))| {
            *first_rows as u128 * second_total != *second_rows as u128 * first_total
        })
        .count();
    if uneven > 0 {
        return Err(Error::Data(format!(
            "{uneven} of {} notes stand more often in one arm than in the other, so the arms would be measured on different \
             mixtures; give both arms the same folds and seeds",
            first.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
