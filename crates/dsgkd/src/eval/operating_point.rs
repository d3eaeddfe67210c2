//! What a threshold is chosen for.

use super::curves::{threshold_of_sensitivity, threshold_of_specificity};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a threshold is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperatingPoint {
    /// This probability itself.
    Threshold(f64),
    /// The highest threshold at which so large a share of the positives is found.
    Sensitivity(f64),
    /// The lowest threshold at which so large a share of the negatives is left alone.
    Specificity(f64),
}

impl OperatingPoint {
    /// Those of a report on which nobody chose any.
    pub const DEFAULT: [OperatingPoint; 3] =
        [OperatingPoint::Sensitivity(0.9), OperatingPoint::Sensitivity(0.95), OperatingPoint::Specificity(0.9)];

    /// # Errors
    /// A number that is no probability or share: 0 and below, 1 and above. (At a threshold of 1 the odds have no bound, at 0 everything is flagged.)
    pub fn check(&self) -> Result<()> {
        let (OperatingPoint::Threshold(value)
        | OperatingPoint::Sensitivity(value)
        | OperatingPoint::Specificity(value)) = self;
        if *value > 0.0 && *value < 1.0 {
            return Ok(());
        }
        Err(Error::Config(format!("--{self}: must be above 0 and below 1")))
    }

    /// The threshold of these notes; `None` where they have nobody of the class whose share is asked for.
    pub fn of(&self, positive: &[bool], scores: &[f64]) -> Option<f64> {
        match *self {
            OperatingPoint::Threshold(value) => Some(value),
            OperatingPoint::Sensitivity(share) => threshold_of_sensitivity(positive, scores, share),
            OperatingPoint::Specificity(share) => threshold_of_specificity(positive, scores, share),
        }
    }
}

impl fmt::Display for OperatingPoint {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            OperatingPoint::Threshold(value) => write!(f, "threshold {value}"),
            OperatingPoint::Sensitivity(share) => write!(f, "sensitivity {share}"),
            OperatingPoint::Specificity(share) => write!(f, "specificity {share}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn points_beyond_the_ends_are_refused() {
        for wrong in [0.0, 1.0, -0.1, f64::NAN] {
            let message = OperatingPoint::Sensitivity(wrong).check().unwrap_err().to_string();
            assert!(message.contains("--sensitivity"), "{message}");
        }
        assert!(OperatingPoint::DEFAULT.iter().all(|point| point.check().is_ok()));
    }

    #[test]
    fn a_point_without_notes_of_its_class_has_no_threshold() {
        let scores = [0.2, 0.6];
        assert_eq!(OperatingPoint::Sensitivity(0.9).of(&[false, false], &scores), None);
        assert_eq!(OperatingPoint::Specificity(0.9).of(&[true, true], &scores), None);
        assert_eq!(OperatingPoint::Sensitivity(0.9).of(&[false, true], &scores), Some(0.6));
        assert_eq!(OperatingPoint::Threshold(0.3).of(&[], &[]), Some(0.3));
    }
}
