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
fn experiment(args: &ExperimentArgs) -> Result<Config> {
    Ok(dsgkd::config::load(Some(&args.config), &args.set)?.resolved())
}

/// Says so when `train.dtype` asks for what this processor lacks.
fn say_what_is_lacking(dtype: Dtype, global: &Global) {
    if dtype.available() != dtype {
        let talk = Progress::new(global.quiet, "");
        talk.say("train.dtype: this processor has no AVX-512, which bfloat16 needs; computing in float32");
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
