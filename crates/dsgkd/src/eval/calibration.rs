//! Whether a probability of 0.8 comes true eight times in ten.

use super::predictions::Predictions;
use super::scored::most_probable;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Bins of the report's reliability diagram and calibration error.
pub const DEFAULT_BINS: usize = 10;

/// One bin of a reliability diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The bin holds probabilities from here,
    pub low: f64,
    /// up to but not including here (the last bin includes 1).
    pub high: f64,
    /// Notes in the bin.
    pub notes: usize,
    /// Mean probability in the bin; `None` when it is empty.
    pub mean_probability: Option<f64>,
    /// Share of notes in the bin for which the event came true; `None` when it is empty.
    pub observed_rate: Option<f64>,
}

/// Sorts probabilities of an event into `bins` bins of equal width.
///
/// # Errors
/// [`Error::Data`] when the lengths differ, a probability is NaN or outside 0..=1 (naming the row, from 1), or `bins` is 0.
pub fn reliability_bins(happened: &[bool], probabilities: &[f64], bins: usize) -> Result<Vec<ReliabilityBin>> {
    if bins == 0 {
        return Err(Error::Data("a reliability diagram has one bin or more".into()));
    }
    if happened.len() != probabilities.len() {
        let row = happened.len().min(probabilities.len()) + 1;
        let (events, values) = (happened.len(), probabilities.len());
        return Err(Error::Data(format!("row {row}: {events} outcomes for {values} probabilities")));
    }
    let mut sums = vec![(0usize, 0usize, 0.0f64); bins];
    for (index, (&happened, &probability)) in happened.iter().zip(probabilities).enumerate() {
        if !(0.0..=1.0).contains(&probability) {
            let row = index + 1;
            return Err(Error::Data(format!(
                "row {row}: a probability lies between 0 and 1, and this one is {probability}"
            )));
        }
        let (notes, events, sum) = &mut sums[((probability * bins as f64) as usize).min(bins - 1)];
        *notes += 1;
        *events += usize::from(happened);
        *sum += probability;
    }
    let edge = |index: usize| index as f64 / bins as f64;
    Ok(sums
        .iter()
        .enumerate()
        .map(|(index, &(notes, events, sum))| ReliabilityBin {
            low: edge(index),
            high: edge(index + 1),
            notes,
            mean_probability: (notes > 0).then(|| sum / notes as f64),
            observed_rate: (notes > 0).then(|| events as f64 / notes as f64),
        })
        .collect())
}

/// Expected calibration error: the mean over notes of the distance between their bin's mean probability and its observed
/// rate (Naeini, Cooper & Hauskrecht, AAAI 2015). 0 is best; the value depends on the number of bins and is biased upwards
/// on small test sets. `None` without notes.
pub fn expected_calibration_error(bins: &[ReliabilityBin]) -> Option<f64> {
    let notes: usize = bins.iter().map(|bin| bin.notes).sum();
    let gap = |bin: &ReliabilityBin| Some(bin.notes as f64 * (bin.mean_probability? - bin.observed_rate?).abs());
    (notes > 0).then(|| bins.iter().filter_map(gap).sum::<f64>() / notes as f64)
}

impl Predictions {
    /// The reliability diagram: with two classes the positive class's probability against its rate; with more, the highest
    /// probability against how often that class is right (Guo et al., ICML 2017).
    ///
    /// # Errors
    /// As [`Predictions::validate`] and [`reliability_bins`].
    pub fn reliability(&self, bins: usize) -> Result<Vec<ReliabilityBin>> {
        self.validate()?;
        let classes = self.classes.len();
        let event = |(row, &label): (&[f64], &usize)| {
            let class = if classes == 2 { 1 } else { most_probable(row) };
            (label == class, row[class])
        };
        let (happened, probabilities): (Vec<bool>, Vec<f64>) =
            self.probabilities.chunks_exact(classes).zip(&self.labels).map(event).unzip();
        reliability_bins(&happened, &probabilities, bins)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn edges_belong_to_the_upper_bin_and_one_to_the_last() {
        let bins = reliability_bins(&[true, false, true], &[0.0, 0.5, 1.0], 2).unwrap();
        assert_eq!((bins[0].notes, bins[1].notes), (1, 2));
        assert_eq!(bins[1].observed_rate, Some(0.5));
        assert_eq!(expected_calibration_error(&bins), Some((1.0 + 2.0 * 0.25) / 3.0));
    }

    #[test]
    fn wrong_input_is_an_error_and_nothing_is_undefined() {
        assert!(reliability_bins(&[true], &[f64::NAN], 2).unwrap_err().to_string().contains("row 1"));
        assert!(reliability_bins(&[true], &[], 2).unwrap_err().to_string().contains("row 1"));
        assert!(reliability_bins(&[], &[], 0).is_err());
        assert_eq!(expected_calibration_error(&reliability_bins(&[], &[], 2).unwrap()), None);
    }
}
