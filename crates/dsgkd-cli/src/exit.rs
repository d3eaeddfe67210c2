//! Exit codes and the last words.

use crate::output::stderr_line;
use dsgkd::error::Error;
use std::process::ExitCode;

/// What a command ends with when nothing failed.
pub(crate) enum Outcome {
    /// All is well: 0.
    Done,
    /// The command's own "no" (the check found errors): 1.
    No,
}

/// Result of a command.
pub(crate) type CommandResult = Result<Outcome, Error>;

/// 0 done, 1 the command's own no, 2 usage or configuration, 3 data or model, 4 the system, 70 a mistake of the program
/// ([`guarded`]), 130 interrupted.
pub(crate) fn of(result: CommandResult) -> ExitCode {
    let error = match result {
        Ok(Outcome::Done) => return ExitCode::SUCCESS,
        Ok(Outcome::No) => return ExitCode::from(1),
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        // Whoever read standard output has seen enough.
        return ExitCode::SUCCESS;
    }
    stderr_line(&format!("error: {}", one_line(&error.to_string())));
    ExitCode::from(match error {
        Error::Config(_) => 2,
        Error::Data(_) | Error::Model(_) => 3,
        Error::Io { .. } | Error::Device(_) => 4,
        Error::Interrupted(_) => 130,
    })
}

/// Does the work; a panic in it, which the hook has told of, ends as 70, the code of an error that is the program's own.
pub(crate) fn guarded(work: impl FnOnce() -> ExitCode) -> ExitCode {
    // Nothing that the work touched is looked at again.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(ExitCode::from(70))
}

fn is_broken_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Clap's own words: help and version go to standard output with 0, mistakes to standard error with 2.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done where even this cannot be printed.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// A panic's own message may quote what it stumbled over, which may be a note; only its place is said.
pub(crate) fn say_panics_without_their_text() {
    std::panic::set_hook(Box::new(|panic| {
        // Other people's code that panics on broken files is caught where it is called, and an error follows.
        let place = panic.location().map_or_else(String::new, |place| {
            let file = std::path::Path::new(place.file()).file_name().unwrap_or_default().to_string_lossy().to_string();
            format!(" at {file}:{}", place.line())
        });
        stderr_line(&format!("internal error{place}"));
    }));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CHILD: &str = "DSGKD_TEST_PANIC";

    /// The test runs itself again: a hook is the whole process's, and its words go past the harness.
    #[test]
    fn a_panic_says_its_place_and_not_its_text() {
        if std::env::var_os(CHILD).is_some() {
            say_panics_without_their_text();
            assert_eq!(guarded(|| panic!("chest pain")), ExitCode::from(70));
            return;
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "exit::tests::a_panic_says_its_place_and_not_its_text", "--nocapture"]);
        let output = child.env(CHILD, "1").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap() + &String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("internal error at exit.rs:"), "{said}");
        assert!(!said.contains("chest pain"), "{said}");
    }

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let io = |kind: std::io::ErrorKind| Error::io(std::path::Path::new("a"), "write")(kind.into());
        for (result, code) in [
            (Ok(Outcome::Done), 0),
            (Ok(Outcome::No), 1),
            (Err(Error::Config("a\nb".into())), 2),
            (Err(Error::Data("a".into())), 3),
            (Err(Error::Model("a".into())), 3),
            (Err(io(std::io::ErrorKind::StorageFull)), 4),
            (Err(io(std::io::ErrorKind::BrokenPipe)), 0),
            (Err(Error::Device("a".into())), 4),
            (Err(Error::Interrupted("a".into())), 130),
        ] {
            assert_eq!(of(result), ExitCode::from(code));
        }
        assert_eq!(one_line("a\n  b\tc\r\n"), "a; b c");
    }
}
