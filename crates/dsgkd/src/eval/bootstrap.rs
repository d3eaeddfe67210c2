//! How sure a metric is: percentile bootstrap intervals.

use super::metrics::{Metric, Metrics};
use super::pool::{Seeds, groups_of};
use super::predictions::Predictions;
use super::random::Random;
use crate::config::MOST_BOOTSTRAP_SAMPLES;
use crate::error::{Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// How many samples to draw, and from which seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapOptions {
    /// Bootstrap samples, 1 or more; the config's `evaluation.bootstrap_samples`.
    pub samples: usize,
    /// The same seed gives the same intervals, on any number of threads.
    pub seed: u64,
}

impl Default for BootstrapOptions {
    fn default() -> Self {
        BootstrapOptions { samples: 2000, seed: 0 }
    }
}

/// The two ends of a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// 2.5 % point.
    pub low: f64,
    /// 97.5 % point.
    pub high: f64,
}

/// A metric with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Which metric.
    pub metric: Metric,
    /// Its value over all notes; `None` when undefined.
    pub value: Option<f64>,
    /// Its 95 % interval; `None` when the value is undefined or it was undefined in every sample.
    pub interval: Option<Interval>,
    /// Samples in which it was undefined (they drew no note of some class, say); the interval is made of the others, so
    /// when this is a large part of the samples the interval is too narrow.
    pub undefined_samples: usize,
}

/// Every metric with its interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// Distinct ids.
    pub notes: usize,
    /// What was resampled: `notes`, or fewer where notes are drawn by group (all notes of a patient together).
    #[serde(default)]
    pub units: usize,
    /// Rows of predictions, more than `notes` where there are several seeds.
    pub rows: usize,
    /// Seeds whose mean the values are.
    #[serde(default = "one")]
    pub seeds: usize,
    /// Trainings, the folds of all seeds: the scores of each are ranked by themselves.
    #[serde(default = "one")]
    pub trainings: usize,
    /// Classes of the classifier.
    pub classes: usize,
    /// Bootstrap samples drawn.
    pub samples: usize,
    /// Their seed.
    pub seed: u64,
    /// In the order of tables.
    pub estimates: Vec<Estimate>,
}

impl Intervals {
    /// The estimate of one metric; `None` where it is not reported for this number of classes.
    pub fn of(&self, metric: Metric) -> Option<&Estimate> {
        self.estimates.iter().find(|estimate| estimate.metric == metric)
    }
}

fn one() -> usize {
    1
}

/// How often each of `units` units is drawn in bootstrap sample `index`: `units` draws with replacement.
pub(super) fn draw_sample(units: usize, seed: u64, index: usize) -> Vec<u32> {
    let mut random = Random::stream(seed, index as u64);
    let mut drawn = vec![0; units];
    for _ in 0..units {
        drawn[random.below(units)] += 1;
    }
    drawn
}

/// Percentile bootstrap 95 % intervals of every metric (Efron, Annals of Statistics 7, 1979; Efron & Tibshirani 1993,
/// chapter 13): the notes are drawn with replacement `samples` times, and the interval runs from the 2.5 % to the 97.5 %
/// point of the metric over the samples.
///
/// An arm is its seeds, each the runs of its folds. A seed's rows are put into one list, each judged at its own run's threshold and ranked among the rows of its own run: in one
/// ranking several trainings' scores would be held against each other, though one's 0.4 may be another's 0.6. Every sample measures every seed by itself and takes the mean.
/// What is drawn is the *note*: all rows of one id come and go together, so five seeds of one test set do not pass for five times
/// the notes. Where the predictions name groups (patients), a group is drawn with all its notes (the cluster bootstrap, Davison & Hinkley
/// 1997, section 3.8): ten notes of one patient tell less than ten of ten. The interval tells of other test sets, not of other training runs.
///
/// Samples in which a metric is undefined are dropped for that metric and counted.
///
/// # Errors
/// [`Error::Data`] as [`Predictions::validate`], when the runs' classes differ, and when a note lies in two groups; [`Error::Config`] for 0 samples, or more than a million.
pub fn bootstrap(seeds: &[Vec<Predictions>], options: BootstrapOptions) -> Result<Intervals> {
    check_samples(options.samples)?;
    let arm = Seeds::new(seeds, &groups_of(seeds.iter().flatten())?)?;
    let all = arm.measure_all();
    let resampled: Vec<Metrics> = (0..options.samples)
        .into_par_iter()
        .map(|index| arm.measure(&draw_sample(arm.units, options.seed, index)))
        .collect();
    let estimates = Metric::of_classes(arm.classes).map(|metric| {
        let (interval, undefined_samples) = interval_of(resampled.iter().map(|sample| sample.get(metric)));
        let value = all.get(metric);
        Estimate { metric, value, interval: value.and(interval), undefined_samples }
    });
    Ok(Intervals {
        notes: arm.notes,
        units: arm.units,
        rows: arm.rows,
        seeds: arm.count(),
        trainings: arm.trainings,
        classes: arm.classes,
        samples: options.samples,
        seed: options.seed,
        estimates: estimates.collect(),
    })
}

pub(super) fn check_samples(samples: usize) -> Result<()> {
    if !(1..=MOST_BOOTSTRAP_SAMPLES).contains(&samples) {
        return Err(Error::Config(format!(
            "evaluation.bootstrap_samples (--bootstrap-samples): {samples} is not from 1 to {MOST_BOOTSTRAP_SAMPLES}"
        )));
    }
    Ok(())
}

/// The 2.5 % and 97.5 % points of the defined values, and the number of undefined ones.
pub(super) fn interval_of(values: impl Iterator<Item = Option<f64>>) -> (Option<Interval>, usize) {
    let (mut defined, mut undefined) = (vec![], 0);
    for value in values {
        match value {
            Some(value) => defined.push(value),
            None => undefined += 1,
        }
    }
    defined.sort_by(f64::total_cmp);
    let interval =
        (!defined.is_empty()).then(|| Interval { low: quantile(&defined, 0.025), high: quantile(&defined, 0.975) });
    (interval, undefined)
}

/// The quantile of sorted values, interpolated linearly (numpy's default; type 7 of Hyndman & Fan, 1996). Not empty.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
