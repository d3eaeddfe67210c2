//! `dsgkd grid`

use super::train::train_folds;
use crate::args::{Global, GridArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::config::Config;
use dsgkd::error::Result;
use dsgkd::eval::BootstrapOptions;
use dsgkd::grid::file::load_grid;
use dsgkd::grid::{results, table};
use dsgkd::run::folder::RunFolder;

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
    for (number, config) in experiments.iter().enumerate() {
        let cell = config.output_dir.strip_prefix(&grid.output_dir).unwrap_or(&config.output_dir);
        talk.say(&format!("grid: {} of {}: {}", number + 1, experiments.len(), cell.display()));
        train(config, global)?;
    }
    let options = BootstrapOptions { samples: args.bootstrap_samples, seed: args.seed };
    let cells = results(&grid, options)?;
    if global.json {
        print_json(&cells)?;
    } else {
        print(&table(grid.metric, &cells))?;
    }
    Ok(Outcome::Done)
}

/// Trains a cell, or what is left of it.
fn train(config: &Config, global: &Global) -> Result<()> {
    if config.data.split.folds > 0 {
        return train_folds(config, global);
    }
    let folder = RunFolder::existing(&config.output_dir);
    if folder.is_finished(config) {
        return Ok(());
    }
    let mut progress = Progress::new(global.quiet, "run");
    let trained = dsgkd::experiment::run(config, folder.config().exists(), &mut progress);
    progress.finish();
    trained.map(|_| ())
}
