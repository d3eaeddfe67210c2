//! `dsgkd report`

use crate::args::{Global, ReportArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_written};
use crate::progress::Progress;
use dsgkd::error::Error;
use dsgkd::report::{ReportOptions, report};
use dsgkd::run::atomic::write_file;
use dsgkd::runs::FinishedRuns;

pub(crate) fn run(args: &ReportArgs, global: &Global) -> CommandResult {
    if global.json && args.output.is_none() {
        let message = "the report is a page: name its file with -o; `dsgkd evaluate --json` and `dsgkd compare --json` print the figures";
        return Err(Error::Config(message.to_string()));
    }
    let runs = FinishedRuns::read_each(&args.runs)?;
    let options =
        ReportOptions { subgroups: args.subgroup.clone(), bootstrap_samples: args.bootstrap_samples, seed: args.seed };
    let page = report(&runs, &options)?;
    match &args.output {
        Some(output) => {
            write_file(output, |out| out.write_all(page.as_bytes()))?;
            if global.json {
                print_written(output)?;
            }
            Progress::new(global.quiet, "report").say(&format!("report: {}", output.display()));
        }
        None => print(&page)?,
    }
    Ok(Outcome::Done)
}
