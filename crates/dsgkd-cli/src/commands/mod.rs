//! One file a command.

pub(crate) mod align;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod demo;
pub(crate) mod evaluate;
pub(crate) mod init;
pub(crate) mod predict;
pub(crate) mod pretrain;
pub(crate) mod train;

use crate::args::ExperimentArgs;
use dsgkd::config::Config;
use dsgkd::error::{Error, Result};

/// The experiment that was named, resolved.
fn experiment(args: &ExperimentArgs) -> Result<Config> {
    Ok(dsgkd::config::load(Some(&args.config), &args.set)?.resolved())
}

/// Computes with this many threads; 0: all cores.
fn use_threads(threads: usize) -> Result<()> {
    if threads == 0 {
        return Ok(());
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|_| Error::Config("threads: the pool of threads cannot be made".to_string()))
}
