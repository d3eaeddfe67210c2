//! `dsgkd report`: one self-contained HTML page about one or several runs. No network, no script, no text of a note.
//!
//! `gather` reads run folders and computes, `plots` draws, `page` writes; `made_from` is its first section.

mod experiment_file;
mod gather;
mod learning;
mod made_from;
mod page;
pub(crate) mod plots;
mod subgroups;
mod tripod;

use crate::error::Result;
use crate::runs::FinishedRuns;

/// What a report is made with.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Columns of the data files whose values are subgroups.
    pub subgroups: Vec<String>,
    /// Bootstrap samples of intervals and paired tests.
    pub bootstrap_samples: usize,
    /// Their seed.
    pub seed: u64,
}

/// The page; the first of several runs is what the others are compared with.
///
/// # Errors
/// A file of a run that is not what dsgkd wrote; a subgroup column that is not there or has too many values; runs on different notes.
pub fn report(runs: &[FinishedRuns], options: &ReportOptions) -> Result<String> {
    let gathered = gather::gather(runs, options)?;
    page::page(&gathered)
}
