//! `dsgkd grid`

use super::train::train_each;
use crate::args::{Global, GridArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::error::Error;
use dsgkd::eval::BootstrapOptions;
use dsgkd::grid::chart::chart;
use dsgkd::grid::file::load_grid;
use dsgkd::grid::{results, table};
use dsgkd::run::atomic::write_file;

pub(crate) fn run(args: &GridArgs, global: &Global) -> CommandResult {
    let grid = load_grid(&args.grid)?;
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
    for (number, config) in experiments.iter().enumerate().filter(|_| !args.finished) {
        let cell = config.output_dir.strip_prefix(&grid.output_dir).unwrap_or(&config.output_dir);
        talk.say(&format!("grid: {} of {}: {}", number + 1, experiments.len(), cell.display()));
        train_each(config, global).map_err(|error| match error {
            Error::Interrupted(_) => Error::Interrupted("stopped; the same command goes on from there".to_string()),
            other => other,
        })?;
    }
    let options = BootstrapOptions { samples: args.bootstrap_samples, seed: args.seed };
    let cells = results(&grid, options, args.finished)?;
    if let Some(path) = &args.chart {
        let svg = chart(&grid, &cells)?;
        write_file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    if global.json {
        print_json(&cells)?;
    } else {
        print(&table(&grid, &cells))?;
    }
    Ok(Outcome::Done)
}
