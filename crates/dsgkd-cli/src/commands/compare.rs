//! `dsgkd compare`

use crate::args::{CompareArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use dsgkd::error::Result;
use dsgkd::eval::table::{comparison_table, intervals_table};
use dsgkd::eval::{BootstrapOptions, Comparison, Intervals, bootstrap};
use dsgkd::runs::FinishedRuns;
use serde::Serialize;

pub(crate) fn run(args: &CompareArgs, global: &Global) -> CommandResult {
    let runs = FinishedRuns::read_each(&args.runs)?;
    let options = BootstrapOptions { samples: args.bootstrap_samples, seed: args.seed };
    let compared = side_by_side(&runs, options)?;
    if global.json {
        print_json(&compared)?
    } else {
        print(&compared.table())?
    }
    Ok(Outcome::Done)
}

/// Several runs, each with its intervals and its paired differences to the first.
#[derive(Serialize)]
pub(crate) struct SideBySide {
    /// Name and intervals of each run.
    pub(crate) runs: Vec<(String, Intervals)>,
    /// Name of a run, and its differences to the first.
    pub(crate) differences: Vec<(String, Comparison)>,
}

pub(crate) fn side_by_side(runs: &[FinishedRuns], options: BootstrapOptions) -> Result<SideBySide> {
    let mut compared = SideBySide { runs: vec![], differences: vec![] };
    for (number, run) in runs.iter().enumerate() {
        compared.runs.push((run.name.clone(), bootstrap(&run.seeds, options)?));
        if number > 0 {
            let comparison = runs[0].compare(run, options)?;
            compared.differences.push((run.name.clone(), comparison));
        }
    }
    Ok(compared)
}

impl SideBySide {
    pub(crate) fn table(&self) -> String {
        let columns: Vec<(&str, &Intervals)> = self.runs.iter().map(|(name, run)| (name.as_str(), run)).collect();
        let mut out = intervals_table(&columns);
        for (name, comparison) in &self.differences {
            out.push('\n');
            out += &comparison_table(&self.runs[0].0, name, comparison);
        }
        out
    }
}
