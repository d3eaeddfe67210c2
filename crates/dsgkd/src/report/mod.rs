//! `dsgkd report`: one self-contained HTML page about one or several runs. No network, no script, no text of a note.
//!
//! `gather` reads run folders and computes, `plots` draws, `page` writes; `made_from` is its first section. `figures` is the same numbers as JSON.

mod experiment_file;
mod figures;
mod gather;
mod learning;
mod made_from;
mod page;
pub(crate) mod plots;
mod subgroups;
mod thresholds;
mod tripod;

use crate::error::Result;
use crate::eval::OperatingPoint;
use crate::runs::FinishedRuns;

/// What a report is made with.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Columns of the data files whose values are subgroups.
    pub subgroups: Vec<String>,
    /// Thresholds to show beside the training prevalence and one half.
    pub operating_points: Vec<OperatingPoint>,
    /// Bootstrap samples of intervals and paired tests.
    pub bootstrap_samples: usize,
    /// Their seed.
    pub seed: u64,
}

/// The page; the first of several runs is what the others are compared with.
///
/// # Errors
/// A file of a run that is not what dsgkd wrote; a subgroup column that is not there or has too many values; an operating point beyond 0..1; runs on different notes.
pub fn report(runs: &[FinishedRuns], options: &ReportOptions) -> Result<String> {
    let gathered = gather::gather(runs, options)?;
    page::page(&gathered)
}

/// The same numbers, as JSON.
///
/// # Errors
/// As [`report`].
pub fn figures(runs: &[FinishedRuns], options: &ReportOptions) -> Result<serde_json::Value> {
    Ok(figures::figures(&gather::gather(runs, options)?))
}
