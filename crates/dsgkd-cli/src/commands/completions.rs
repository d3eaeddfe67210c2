//! `dsgkd completions`

use crate::args::Arguments;
use crate::exit::{CommandResult, Outcome};
use crate::output::print;
use clap::CommandFactory;
use clap_complete::Shell;

pub(crate) fn run(shell: Shell) -> CommandResult {
    let mut script = vec![];
    clap_complete::generate(shell, &mut Arguments::command(), "dsgkd", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Done)
}
