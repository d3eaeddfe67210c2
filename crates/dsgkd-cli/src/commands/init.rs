//! `dsgkd init`

use crate::args::{Global, InitArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print_written, stderr_line};
use dsgkd::config::{commented_template, load};
use dsgkd::error::{Error, Result};
use dsgkd::grid::rivals::rivals;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &InitArgs, global: &Global) -> CommandResult {
    let (text, next) = match &args.rivals_of {
        None => (commented_template(&run_folder_of(&args.file)), "edit it, then: dsgkd check"),
        Some(experiment) => (grid_of(experiment, &args.file)?, "see what it compares, then: dsgkd grid"),
    };
    // `create_new`: nobody's experiment is written over.
    let file =
        std::fs::OpenOptions::new().write(true).create_new(true).open(&args.file).map_err(said_of_a_file_that_is_there);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(Error::io(&args.file, "create"))?;
    if global.json {
        print_written(&args.file)?;
    }
    if !global.quiet {
        stderr_line(&format!("wrote {0}; {next} {0}", args.file.display()));
    }
    Ok(Outcome::Done)
}

/// What to do about a file that is there, which may be the table of notes: in place of the system's "File exists".
fn said_of_a_file_that_is_there(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::AlreadyExists => io::Error::new(
            ErrorKind::AlreadyExists,
            "it is there, and nothing is written over; name a file that does not exist yet",
        ),
        _ => error,
    }
}

/// The grid file `grid` of an experiment's rivals; its runs go beside it.
fn grid_of(experiment: &Path, grid: &Path) -> Result<String> {
    let config = load(Some(experiment), &[])?;
    let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io(path, "find"));
    let (from, to) = (absolute(experiment)?, absolute(grid)?);
    // Beside each other they may move together.
    let beside = from.parent() == to.parent();
    let file = from.file_name().filter(|_| beside).map_or(from.clone(), PathBuf::from);
    rivals(&config, &file, &run_folder_of(grid))
}

/// Where the runs of the experiment or grid in `file` go: beside it, under its name.
fn run_folder_of(file: &Path) -> String {
    format!("runs/{}", file.file_stem().unwrap_or_default().to_string_lossy())
}
