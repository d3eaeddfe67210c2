//! One file a command.

pub(crate) mod align;
pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod grid;
pub(crate) mod init;
pub(crate) mod predict;
pub(crate) mod pretrain;
pub(crate) mod report;
pub(crate) mod select;
pub(crate) mod train;

use crate::args::{ExperimentArgs, Global};
use crate::progress::Progress;
use dsgkd::config::{Config, Dtype};
use dsgkd::error::{Error, Result};

/// The experiment that was named, resolved.
fn load(args: &ExperimentArgs) -> Result<Config> {
    let mut config = dsgkd::config::load(Some(&args.config), &args.set)?.resolved();
    config.data.skip_bad_rows |= args.skip_bad_rows;
    Ok(config)
}

/// The experiment that was named, resolved, its models in folders.
fn experiment(args: &ExperimentArgs, global: &Global) -> Result<Config> {
    let mut config = load(args)?;
    fetch_models_of(&mut config, global)?;
    Ok(config)
}

/// Turns the ids of an experiment's models into folders.
fn fetch_models_of(config: &mut Config, global: &Global) -> Result<()> {
    let teachers = config.teachers.iter_mut().map(|teacher| &mut teacher.model);
    teachers.chain([&mut config.student.model]).try_for_each(|model| fetch_model(model, global))
}

/// Turns a model's id into its folder, fetched where it has to be.
#[cfg(feature = "hub")]
fn fetch_model(model: &mut std::path::PathBuf, global: &Global) -> Result<()> {
    dsgkd::hub::fetch_model(model, &mut crate::downloads::Downloads::new(global.quiet))
}

/// Without the feature `hub`, opening what is no folder says what to do.
#[cfg(not(feature = "hub"))]
fn fetch_model(_: &mut std::path::PathBuf, _: &Global) -> Result<()> {
    Ok(())
}

/// Says so when `train.dtype` asks for what this processor lacks.
fn say_what_is_lacking(dtype: Dtype, global: &Global) {
    if dtype.available() != dtype {
        let talk = Progress::new(global.quiet, "");
        talk.say("train.dtype: this processor multiplies bfloat16 no faster than float32; computing in float32");
    }
}

/// Computes with this many threads; 0: all cores.
fn use_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Ok(());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|_| Error::Config("threads: the pool of threads cannot be made".to_string()))
}
