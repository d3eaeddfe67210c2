//! `history.jsonl`: one JSON object a line for everything that was measured, in the order of the steps.

use super::atomic::write_file;
use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A history that is open for appending.
pub struct History {
    path: PathBuf,
    file: File,
}

impl History {
    /// Opens the history of a run that is at `step`: lines of later steps (written after the checkpoint that is resumed
    /// from) are cut off.
    pub fn open(path: &Path, step: u64) -> Result<History> {
        let old = match std::fs::read_to_string(path) {
            Ok(text) if step > 0 => text,
            _ => String::new(),
        };
        let step_of = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("step")?.as_u64();
        let kept = old.lines().filter(|line| step_of(line).is_some_and(|of_line| of_line <= step));
        let kept: Vec<&str> = kept.collect();
        write_file(path, |out| kept.iter().try_for_each(|line| writeln!(out, "{line}")))?;
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io(path, "write"))?;
        Ok(History { path: path.to_path_buf(), file })
    }

    /// Appends one line.
    pub fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let failed = |error: serde_json::Error| Error::io(&self.path, "write")(error.into());
        let line = serde_json::to_string(line).map_err(failed)?;
        writeln!(self.file, "{line}").map_err(Error::io(&self.path, "write"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_resumed_history_forgets_what_the_checkpoint_does_not_know() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let mut history = History::open(&path, 0).unwrap();
        (1..=5).for_each(|step| history.write(&json!({"step": step})).unwrap());
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"step\": 6, \"lo").unwrap();
        History::open(&path, 3).unwrap().write(&json!({"step": 4, "again": true})).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 4);
        assert!(text.ends_with("{\"step\":4,\"again\":true}\n"));
    }
}
