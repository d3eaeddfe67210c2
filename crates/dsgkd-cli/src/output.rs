//! Standard output is data, standard error is talk.

use dsgkd::error::{Error, Result};
use serde::Serialize;
use std::io::Write;
use std::path::Path;

/// Prints data, exactly.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(Error::io(Path::new("standard output"), "write"))
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print(&(dsgkd::eval::table::to_json(value)? + "\n"))
}

/// Prints the name of a file that was written, as JSON.
pub(crate) fn print_written(file: &Path) -> Result<()> {
    print_json(&serde_json::json!({ "written": file.display().to_string() }))
}

/// Prints a line of talk. What names in files may hold must not move a terminal's cursor or pass for a line of its own.
pub(crate) fn stderr_line(text: &str) {
    let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    // A closed standard error must not end the work.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
