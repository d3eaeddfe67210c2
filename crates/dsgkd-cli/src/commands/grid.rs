//! `dsgkd grid`

use super::train::train_each;
use crate::args::{Global, GridArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::error::Result;
use dsgkd::eval::BootstrapOptions;
use dsgkd::grid::file::{Grid, Part, load_grid};
use dsgkd::grid::{Cell, Written, chart, done_seeds, predictions, results, table};
use dsgkd::run::atomic::write_file;

/// The cells that are not shown, each with the number of its seeds that are done.
fn left_out(grid: &Grid, shown: &[Cell], written: &Written) -> Result<Vec<String>> {
    let mut described = vec![];
    for column in &grid.columns {
        for arm in &grid.arms {
            if !shown.iter().any(|cell| cell.column == column.name && cell.arm == arm.name) {
                let done = done_seeds(grid, arm, column, written)?;
                let under = if grid.columns.len() > 1 { format!("{}: ", column.name) } else { String::new() };
                described.push(format!("{under}{} ({done} of {} seeds)", arm.name, grid.seeds.len()));
            }
        }
    }
    Ok(described)
}

pub(crate) fn run(args: &GridArgs, global: &Global) -> CommandResult {
    let mut grid = load_grid(&args.grid)?;
    let arms = if args.arms.is_empty() { vec![] } else { args.arms.iter().chain(&args.against).cloned().collect() };
    grid.keep(&arms, &args.seeds)?;
    let against = args.against.as_ref().map_or(Ok(0), |name| grid.arm(name))?;
    // A wrong key in the last cell is not to be found after hours, nor what the grid cannot be written as.
    if args.chart.is_some() {
        chart::check(&grid)?;
    }
    if args.predictions.is_some() || args.from.is_some() {
        predictions::check(&grid)?;
    }
    let written = args.from.as_ref().map_or_else(|| Ok(Written::default()), |file| Written::read(file))?;
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
        train_each(config, global)?;
    }
    let options = BootstrapOptions { samples: args.bootstrap_samples, seed: args.seed };
    let cells = results(&grid, against, options, args.finished, &written)?;
    if let Some(from) = &args.from {
        let taken = cells.iter().filter(|cell| cell.written.contains(&true)).count();
        talk.say(&format!("grid: {taken} of {} cells out of {}, not out of runs", cells.len(), from.display()));
    }
    let left_out = left_out(&grid, &cells, &written)?;
    if !left_out.is_empty() {
        let file = args.grid.display();
        talk.say(&format!("grid: left out: {}; dsgkd grid {file} trains what is not done", left_out.join(", ")));
    }
    if cells.is_empty() {
        let baseline = &grid.arms[against].name;
        talk.say(&format!(
            "grid: arm \"{baseline}\", which the others are held against, is not done under any condition"
        ));
        if global.json {
            print_json(&cells)?;
        }
        return Ok(Outcome::No);
    }
    if let Some(path) = &args.chart {
        let svg = chart::chart(&grid, &cells)?;
        write_file(path, |out| out.write_all(svg.as_bytes()))?;
    }
    if let Some(path) = &args.predictions {
        predictions::write(&grid, &cells, &written, path)?;
    }
    if global.json {
        print_json(&cells)?;
    } else {
        print(&table(&grid, against, &cells))?;
    }
    Ok(Outcome::Done)
}
