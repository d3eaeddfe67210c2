//! `dsgkd grid`

use super::train::train_each;
use crate::args::{Global, GridArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::error::Error;
use dsgkd::eval::BootstrapOptions;
use dsgkd::experiment::unfinished_runs;
use dsgkd::grid::chart::chart;
use dsgkd::grid::file::{Part, load_grid};
use dsgkd::grid::{results, table};
use dsgkd::run::atomic::write_file;

pub(crate) fn run(args: &GridArgs, global: &Global) -> CommandResult {
    let mut grid = load_grid(&args.grid)?;
    let arms = if args.arms.is_empty() { vec![] } else { args.arms.iter().chain(&args.against).cloned().collect() };
    grid.keep(&arms, &args.seeds)?;
    let against = args.against.as_ref().map_or(Ok(0), |name| grid.arm(name))?;
    // A wrong key in the last cell is not to be found after hours.
    let mut experiments = vec![];
    for column in &grid.columns {
        for arm in &grid.arms {
            for seed in &grid.seeds {
                experiments.push(grid.experiment(arm, column, *seed)?);
            }
        }
    }
    experiments.iter_mut().try_for_each(|config| super::fetch_models_of(config, global))?;
    let talk = Progress::new(global.quiet, "grid");
    if grid.on == Part::Validation && !experiments.iter().any(|config| config.data.has_validation_notes()) {
        talk.say(
            "grid: on = \"validation\", and no arm has validation notes, so that the table reads \"undefined\": give data.validation or a \
             data.split.validation_fraction, or take `on` out",
        );
    }
    for (number, config) in experiments.iter().enumerate().filter(|_| !args.finished) {
        let cell = config.output_dir.strip_prefix(&grid.output_dir).unwrap_or(&config.output_dir);
        talk.say(&format!("grid: {} of {}: {}", number + 1, experiments.len(), cell.display()));
        train_each(config, global).map_err(|error| match error {
            Error::Interrupted(_) => Error::Interrupted("stopped; the same command goes on from there".to_string()),
            other => other,
        })?;
    }
    let options = BootstrapOptions { samples: args.bootstrap_samples, seed: args.seed };
    let cells = results(&grid, against, options, args.finished)?;
    if cells.is_empty() {
        // One cell after the other, each with its seeds.
        let is_done = |config| unfinished_runs(config).is_ok_and(|runs| runs.is_empty());
        let (file, baseline) = (args.grid.display(), &grid.arms[against].name);
        let what = match experiments.chunks(grid.seeds.len()).any(|cell| cell.iter().all(is_done)) {
            true => format!(
                "arm \"{baseline}\" of {file}, which the others are held against, is not done yet under any condition"
            ),
            false => format!("no cell of {file} is done yet"),
        };
        talk.say(&format!("grid: {what}; dsgkd grid {file} trains what is not"));
    }
    if let Some(path) = &args.chart {
        let svg = chart(&grid, &cells)?;
        write_file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    if global.json {
        print_json(&cells)?;
    } else {
        print(&table(&grid, against, &cells))?;
    }
    Ok(Outcome::Done)
}
