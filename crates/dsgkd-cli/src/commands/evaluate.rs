//! `dsgkd evaluate`

use crate::args::{EvaluateArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json, stderr_line};
use dsgkd::config::Config;
use dsgkd::data::{ReadOptions, Records, find_column};
use dsgkd::error::{Error, Result};
use dsgkd::eval::table::{intervals_table, subsamples_table};
use dsgkd::eval::{Predictions, TextColumns};
use dsgkd::experiment::{RunMetrics, evaluate_predictions};
use dsgkd::run::folder::write_json;
use dsgkd::runs::{FinishedRuns, file_name, in_file};
use std::path::Path;

pub(crate) fn run(args: &EvaluateArgs, global: &Global) -> CommandResult {
    let (name, seeds) = match (&args.run, &args.predictions) {
        (Some(run), _) => {
            let runs = FinishedRuns::read(run)?;
            (runs.name, runs.seeds)
        }
        (None, Some(file)) => (file_name(file), vec![vec![from_table(file, args)?]]),
        (None, None) => return Err(Error::Config("name a run folder, or --predictions FILE".to_string())),
    };
    let mut config = Config::default();
    config.evaluation.bootstrap_samples = args.bootstrap_samples;
    config.evaluation.reference_subsamples = args.subsamples;
    let metrics = evaluate_predictions(&seeds, &config)?;
    if args.predictions.is_some() && args.prevalence.is_none() && metrics.classes.len() == 2 && !global.quiet {
        stderr_line(
            "evaluate: the measures at_prevalence are undefined, for --prevalence (the share of positives among the training notes) was not given",
        );
    }
    if let (true, [_, positive], false) = (args.predictions.is_some(), &metrics.classes[..], global.quiet) {
        stderr_line(&format!("evaluate: positive class: {positive}"));
    }
    let intervals = &metrics.intervals;
    if args.predictions.is_some() && intervals.rows > intervals.notes && !global.quiet {
        stderr_line(&format!(
            "evaluate: {} rows are of {} notes; the scores of all are ranked in one list, so give each training's rows in a file of its own",
            intervals.rows, intervals.notes
        ));
    }
    if let Some(output) = &args.output {
        write_json(output, &metrics)?;
    }
    if global.json {
        print_json(&metrics)?
    } else {
        print(&table(&name, &metrics))?
    }
    Ok(Outcome::Done)
}

/// The measures with their intervals, and the subsamples where they were asked for.
pub(crate) fn table(name: &str, metrics: &RunMetrics) -> String {
    let mut out = intervals_table(&[(name, &metrics.intervals)]);
    if let Some(subsamples) = &metrics.subsamples {
        out.push('\n');
        out += &subsamples_table(&[(name, subsamples)]);
    }
    out
}

fn from_table(path: &Path, args: &EvaluateArgs) -> Result<Predictions> {
    let options = ReadOptions {
        format: args.format.clone().unwrap_or_default(),
        encoding: args.encoding.clone().unwrap_or_default(),
        separator: args.separator.clone().unwrap_or_default(),
        ..ReadOptions::default()
    };
    let records = Records::open(path, &options)?;
    let named = |option: &'static str| move |name| (option, name);
    let names: Vec<(&str, &String)> = (args.label.iter().map(named("--label")))
        .chain(args.probability.iter().map(named("--probability")))
        .chain(args.id.iter().map(named("--id")))
        .chain(args.group.iter().map(named("--group")))
        .collect();
    let place = |(option, name): &(&str, &String)| find_column(path, records.columns(), name, option);
    let places = names.iter().map(place).collect::<Result<Vec<usize>>>()?;
    let mut cells: Vec<Vec<String>> = vec![vec![]; names.len()];
    for record in records {
        let record = record?;
        for (column, place) in cells.iter_mut().zip(&places) {
            column.push(record.fields.get(*place).cloned().flatten().unwrap_or_default());
        }
    }
    let columns: Vec<(&str, &[String])> =
        names.iter().map(|(_, name)| name.as_str()).zip(cells.iter().map(Vec::as_slice)).collect();
    let probabilities = 1..1 + args.probability.len();
    let behind = |number: usize| columns[probabilities.end + number];
    Predictions::from_columns(&TextColumns {
        ids: args.id.as_ref().map(|_| behind(0)),
        groups: args.group.as_ref().map(|_| behind(usize::from(args.id.is_some()))),
        labels: columns[0],
        probabilities: &columns[probabilities.clone()],
        classes: &args.classes,
        training_prevalence: args.prevalence,
    })
    .map_err(in_file(path))
}
