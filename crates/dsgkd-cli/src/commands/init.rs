//! `dsgkd init`

use crate::args::{Global, InitArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::stderr_line;
use dsgkd::error::Error;
use std::io::Write;

pub(crate) fn run(args: &InitArgs, global: &Global) -> CommandResult {
    // `create_new`: nobody's experiment is written over.
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&args.file);
    let written = file.and_then(|mut file| file.write_all(dsgkd::config::commented_template().as_bytes()));
    written.map_err(Error::io(&args.file, "create"))?;
    if !global.quiet {
        stderr_line(&format!("wrote {0}; edit it, then: dsgkd check {0}", args.file.display()));
    }
    Ok(Outcome::Done)
}
