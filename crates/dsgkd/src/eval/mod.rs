//! How good a set of predictions is, how sure one may be of it, and whether one arm is better than another.
//!
//! Pure numbers: nothing here reads a file, and every random draw comes from [`random`] with a seed, so a report
//! can be computed again to the last digit on any number of threads.
//!
//! A metric that the notes at hand cannot answer is *undefined*: `None` in Rust, `null` in JSON, `undefined` in a
//! table. It is never 0, 0.5 or NaN.
//!
//! | file | what it holds |
//! |---|---|
//! | [`predictions`] | the notes' ids, labels and probabilities, from this program or another |
//! | [`metrics`] | the list of metrics and [`evaluate`] |
//! | [`ranking`], [`threshold`], [`scoring`] | the definitions: AUROC and AUPRC; confusion counts; Brier and log loss |
//! | [`mod@bootstrap`], [`mod@compare`], [`delong`], [`subsamples`] | intervals, paired differences, the original's spread |
//! | [`resampled`] | means over folds and seeds |
//! | [`calibration`], [`temperature`] | reliability bins and expected calibration error; making a classifier less sure of itself |
//! | [`curves`], [`operating_point`], [`proportion`] | ROC, precision-recall and decision curves; chosen thresholds; intervals of shares |
//! | [`table`] | the same as text and JSON |

pub mod bootstrap;
pub mod calibration;
pub mod compare;
pub mod curves;
pub mod delong;
pub mod metrics;
pub mod operating_point;
mod pool;
pub mod predictions;
pub mod proportion;
pub mod random;
pub mod ranking;
pub mod resampled;
mod scored;
pub mod scoring;
pub mod subsamples;
pub mod table;
pub mod temperature;
pub mod threshold;

#[cfg(test)]
mod example;
#[cfg(test)]
mod fixture_tests;
#[cfg(test)]
mod property_tests;

pub use bootstrap::{BootstrapOptions, Estimate, Interval, Intervals, bootstrap};
pub use compare::{Comparison, Difference, compare};
pub use metrics::{Metric, Metrics, evaluate};
pub use operating_point::OperatingPoint;
pub use pool::measure;
pub use predictions::{Predictions, TextColumns};
pub use subsamples::{Spread, Subsamples, reference_subsamples};
