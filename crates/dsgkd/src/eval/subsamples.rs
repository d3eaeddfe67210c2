//! The original's ten subsamples, to stand beside published numbers.

use super::metrics::{Metric, Metrics};
use super::pool::{Groups, Seeds};
use super::predictions::Predictions;
use super::random::Random;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// A metric's mean and spread over the subsamples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Which metric.
    pub metric: Metric,
    /// Mean over the subsamples in which it was defined.
    pub mean: Option<f64>,
    /// Sample standard deviation (divided by `n - 1`) over the same; `None` with fewer than two.
    pub standard_deviation: Option<f64>,
    /// Subsamples in which it was undefined.
    pub undefined_samples: usize,
}

/// The original's ten subsamples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subsamples {
    /// Distinct ids.
    pub notes: usize,
    /// Classes of the classifier.
    pub classes: usize,
    /// Notes in each subsample.
    pub notes_per_sample: usize,
    /// Subsamples.
    pub samples: usize,
    /// Their seed.
    pub seed: u64,
    /// In the order of tables.
    pub spreads: Vec<Spread>,
}

/// Subsamples of the reference, and the notes in each.
const REFERENCE_SAMPLES: usize = 10;

/// What the original implementation of DSG-KD reports as a bootstrap: ten subsamples of 75 % of the notes (rounded down)
/// without replacement, as mean and standard deviation. Kept to stand beside published numbers: the subsamples share most
/// of their notes, so the deviation is far smaller than the uncertainty, for which see [`super::bootstrap()`].
///
/// # Errors
/// As [`super::bootstrap()`]; also with fewer than two notes.
pub fn reference_subsamples(seeds: &[Vec<Predictions>], seed: u64) -> Result<Subsamples> {
    // By note, as the original does, whatever groups there are.
    let arm = Seeds::new(seeds, &Groups::new())?;
    let notes_per_sample = arm.notes * 3 / 4;
    if notes_per_sample == 0 {
        return Err(Error::Data("75 % of one note is no note: subsamples need two notes or more".into()));
    }
    let measured: Vec<Metrics> = (0..REFERENCE_SAMPLES)
        .map(|index| {
            let mut notes: Vec<usize> = (0..arm.notes).collect();
            Random::stream(seed, index as u64).draw_to_front(&mut notes, notes_per_sample);
            let mut drawn = vec![0; arm.notes];
            notes[..notes_per_sample].iter().for_each(|&note| drawn[note] = 1);
            arm.measure(&drawn)
        })
        .collect();
    let spreads = Metric::of_classes(arm.classes).map(|metric| {
        let values: Vec<f64> = measured.iter().filter_map(|sample| sample.get(metric)).collect();
        let mean = (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64);
        let standard_deviation = mean.filter(|_| values.len() > 1).map(|mean| {
            let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
            (squares / (values.len() - 1) as f64).sqrt()
        });
        Spread { metric, mean, standard_deviation, undefined_samples: measured.len() - values.len() }
    });
    Ok(Subsamples {
        notes: arm.notes,
        classes: arm.classes,
        notes_per_sample,
        samples: REFERENCE_SAMPLES,
        seed,
        spreads: spreads.collect(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::bootstrap::{BootstrapOptions, bootstrap};
    use super::super::example::example;
    use super::*;

    #[test]
    fn the_ten_subsamples_hold_three_quarters() {
        let seeds = [vec![example(101, 6)]];
        let subsamples = reference_subsamples(&seeds, 1).unwrap();
        assert_eq!((subsamples.notes_per_sample, subsamples.samples), (75, 10));
        let wide =
            bootstrap(&seeds, BootstrapOptions { samples: 400, seed: 11 }).unwrap().estimates[0].interval.unwrap();
        let (mean, deviation) =
            (subsamples.spreads[0].mean.unwrap(), subsamples.spreads[0].standard_deviation.unwrap());
        assert!(wide.low < mean && mean < wide.high);
        assert!(deviation > 0.0 && 4.0 * deviation < wide.high - wide.low, "{deviation}");
        assert_eq!(subsamples, reference_subsamples(&seeds, 1).unwrap());
        assert!(reference_subsamples(&[vec![example(1, 1)]], 1).is_err());
    }
}
