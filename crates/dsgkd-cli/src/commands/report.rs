//! `dsgkd report`

use crate::args::{Global, ReportArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json, print_written};
use crate::progress::Progress;
use dsgkd::eval::OperatingPoint;
use dsgkd::report::{ReportOptions, figures, report};
use dsgkd::run::atomic::write_file;
use dsgkd::runs::FinishedRuns;

pub(crate) fn run(args: &ReportArgs, global: &Global) -> CommandResult {
    let runs = FinishedRuns::read_each(&args.runs)?;
    let options = ReportOptions {
        subgroups: args.subgroup.clone(),
        operating_points: operating_points(args),
        bootstrap_samples: args.bootstrap_samples,
        seed: args.seed,
    };
    match &args.output {
        Some(output) => {
            let page = report(&runs, &options)?;
            write_file(output, |out| out.write_all(page.as_bytes()))?;
            if global.json {
                print_written(output)?;
            }
            Progress::new(global.quiet, "report").say(&format!("report: {}", output.display()));
        }
        // A page is no JSON; its numbers are.
        None if global.json => print_json(&figures(&runs, &options)?)?,
        None => print(&report(&runs, &options)?)?,
    }
    Ok(Outcome::Done)
}

fn operating_points(args: &ReportArgs) -> Vec<OperatingPoint> {
    let thresholds = args.threshold.iter().map(|value| OperatingPoint::Threshold(*value));
    let sensitivities = args.sensitivity.iter().map(|share| OperatingPoint::Sensitivity(*share));
    let specificities = args.specificity.iter().map(|share| OperatingPoint::Specificity(*share));
    let points: Vec<OperatingPoint> = thresholds.chain(sensitivities).chain(specificities).collect();
    if points.is_empty() { OperatingPoint::DEFAULT.to_vec() } else { points }
}
