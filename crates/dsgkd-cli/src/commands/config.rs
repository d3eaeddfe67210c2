//! `dsgkd config`

use crate::args::{ExperimentArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};

pub(crate) fn run(args: &ExperimentArgs, global: &Global) -> CommandResult {
    // Absolute, so that the output means the same in whatever folder it is saved.
    let config = super::load(args)?.with_absolute_paths()?;
    if global.json {
        print_json(&config)?;
    } else {
        print(&dsgkd::config::to_toml(&config)?)?;
    }
    Ok(Outcome::Done)
}
