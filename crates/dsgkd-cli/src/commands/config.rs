//! `dsgkd config`

use super::experiment;
use crate::args::ExperimentArgs;
use crate::exit::{CommandResult, Outcome};
use crate::output::print;

pub(crate) fn run(args: &ExperimentArgs) -> CommandResult {
    print(&dsgkd::config::to_toml(&experiment(args)?)?)?;
    Ok(Outcome::Done)
}
