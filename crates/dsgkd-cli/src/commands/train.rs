//! `dsgkd train`

use super::evaluate::table;
use crate::args::{Global, TrainArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::config::Config;
use dsgkd::error::{Error, Result};
use dsgkd::experiment::{is_finished, runs_of, unfinished_runs};
use dsgkd::run::folder::{RunFolder, write_json};
use dsgkd::runs::{FinishedRuns, file_name};

pub(crate) fn run(args: &TrainArgs, global: &Global) -> CommandResult {
    let config = super::experiment(&args.experiment, global)?;
    config.validate()?;
    super::use_threads(config.threads)?;
    super::say_what_is_lacking(config.train.dtype, global);
    if args.all_folds {
        train_folds(&config, global)?;
        // These folds, whatever else lies beside them.
        let folds = runs_of(&config).iter().map(|fold| RunFolder::existing(&fold.output_dir)).collect();
        let runs = FinishedRuns::of(file_name(&config.output_dir), folds)?;
        let metrics = dsgkd::experiment::evaluate_predictions(&runs.seeds, &config)?;
        write_json(&config.output_dir.join("metrics.json"), &metrics)?;
        if global.json {
            print_json(&metrics)?
        } else {
            print(&table(&runs.name, &metrics))?
        }
        return Ok(Outcome::Done);
    }
    let mut progress = Progress::new(global.quiet, &name(&config));
    if let (folds @ 2.., fold) = (config.data.split.folds, config.data.split.fold) {
        progress.say(&format!("{}: fold {fold} of {folds} alone; --all-folds trains each", name(&config)));
    }
    if args.resume && is_finished(&config)? {
        progress.say(&format!("{}: is done, there is nothing to resume", name(&config)));
    }
    let summary = dsgkd::experiment::run(&config, args.resume, &mut progress);
    progress.finish();
    let summary = summary?;
    if global.json {
        print_json(&summary)?;
    } else if let Some(test) = &summary.test {
        print(&table(&name(&config), test))?;
    }
    Ok(Outcome::Done)
}

fn name(config: &Config) -> String {
    config.output_dir.file_name().map_or_else(|| "run".to_string(), |name| name.to_string_lossy().to_string())
}

/// Trains every fold into `output_dir/fold-N`.
fn train_folds(config: &Config, global: &Global) -> Result<()> {
    if config.data.split.folds < 2 {
        return Err(Error::Config("data.split.folds: --all-folds needs 2 or more folds".to_string()));
    }
    train_each(config, global)
}

/// Trains each of the runs that `config` stands for. One that is finished is kept; one that was cut off is resumed.
pub(crate) fn train_each(config: &Config, global: &Global) -> Result<()> {
    let own = RunFolder::existing(&config.output_dir);
    if config.data.split.folds > 0 && (own.predictions().exists() || own.model().exists()) {
        let folder = config.output_dir.display();
        let message = format!(
            "{folder}: holds a run of its own, beside which the folds would not be found; choose another output_dir"
        );
        return Err(Error::Config(message));
    }
    for of_fold in unfinished_runs(config)? {
        let name = match config.data.split.folds {
            0 => name(config),
            _ => format!("{} fold {}", name(config), of_fold.data.split.fold),
        };
        let mut progress = Progress::new(global.quiet, &name);
        let begun = RunFolder::existing(&of_fold.output_dir).config().exists();
        let trained = dsgkd::experiment::run(&of_fold, begun, &mut progress);
        progress.finish();
        trained.map_err(|error| match error {
            Error::Interrupted(_) => Error::Interrupted("stopped; the same command goes on from there".to_string()),
            other => other,
        })?;
    }
    Ok(())
}
