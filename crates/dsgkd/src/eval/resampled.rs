//! Means over folds and seeds whose training notes overlap.

use super::Interval;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean over resampled trainings, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Resampled {
    /// The mean.
    pub mean: f64,
    /// 95 % interval.
    pub interval: Interval,
    /// Two-sided, of a mean of 0.
    pub p_value: f64,
}

/// The corrected resampled t-test (Nadeau and Bengio 2003, Machine Learning 52, equation 7; Bouckaert and Frank 2004 for repeated folds):
/// the values of folds and seeds are not independent, for their trainings share notes, so that their variance counts
/// `1 / values + test_per_training` times instead of `1 / values`. `test_per_training` is the number of test notes over that of the
/// others. `None` of fewer than two values, or of values that are all alike.
pub fn corrected_resampled_t(values: &[f64], test_per_training: f64) -> Option<Resampled> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let error = (variance * (1.0 / count + test_per_training)).sqrt();
    if values.len() < 2 || error.is_nan() || error <= 0.0 {
        return None;
    }
    let distribution = StudentsT::new(0.0, 1.0, count - 1.0).ok()?;
    let reach = distribution.inverse_cdf(0.975) * error;
    Some(Resampled {
        mean,
        interval: Interval { low: mean - reach, high: mean + reach },
        p_value: 2.0 * distribution.cdf(-(mean / error).abs()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `tests/fixtures/metrics/make_resampled.py`, with scipy's t distribution.
    #[test]
    fn interval_and_p_are_scipy_s() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/metrics/resampled.json")).unwrap();
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        for case in fixture.as_array().unwrap() {
            let values: Vec<f64> = case["values"].as_array().unwrap().iter().map(number).collect();
            let found = corrected_resampled_t(&values, number(&case["test_per_training"])).unwrap();
            for (found, key) in [
                (found.mean, "mean"),
                (found.interval.low, "low"),
                (found.interval.high, "high"),
                (found.p_value, "p_value"),
            ] {
                assert!((found - number(&case[key])).abs() < 1e-9, "{key}: {found} {}", case[key]);
            }
        }
    }

    #[test]
    fn one_value_or_equal_ones_tell_nothing() {
        assert_eq!(corrected_resampled_t(&[0.1], 0.25), None);
        assert_eq!(corrected_resampled_t(&[], 0.25), None);
        assert_eq!(corrected_resampled_t(&[0.1, 0.1], 0.25), None);
    }
}
