//! The `dsgkd` command: arguments in, library calls, words and exit codes out.

mod args;
mod commands;
#[cfg(feature = "hub")]
mod downloads;
mod exit;
mod interrupt;
mod output;
mod progress;

use args::{Arguments, Command};
use clap::Parser;
use dsgkd::error::Error;
use dsgkd::run::environment::Instructions;
use std::process::ExitCode;

fn main() -> ExitCode {
    exit::say_panics_without_their_text();
    exit::guarded(command)
}

fn command() -> ExitCode {
    let Arguments { command, global } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    if let Err(message) = Instructions::asked_for() {
        return exit::of(Err(Error::Config(message)));
    }
    if works_on_when_interrupted(&command) {
        interrupt::listen();
    }
    let result = match command {
        Command::Init(args) => commands::init::run(&args, &global),
        Command::Config(args) => commands::config::run(&args, &global),
        Command::Check(args) => commands::check::run(&args, &global),
        Command::Align(args) => commands::align::run(&args, &global),
        Command::Pretrain(args) => commands::pretrain::run(&args, &global),
        Command::Select(args) => commands::select::run(&args, &global),
        Command::Train(args) => commands::train::run(&args, &global),
        Command::Evaluate(args) => commands::evaluate::run(&args, &global),
        Command::Compare(args) => commands::compare::run(&args, &global),
        Command::Calibrate(args) => commands::calibrate::run(&args, &global),
        Command::Grid(args) => commands::grid::run(&args, &global),
        Command::Report(args) => commands::report::run(&args, &global),
        Command::Predict(args) => commands::predict::run(&args, &global),
        Command::Demo(args) => commands::demo::run(&args, &global),
        Command::Completions { shell } => commands::completions::run(shell),
    };
    exit::of(result)
}

/// Whether the command looks for the first Ctrl-C itself, to save what it has; all others end at once.
fn works_on_when_interrupted(command: &Command) -> bool {
    matches!(
        command,
        Command::Pretrain(_)
            | Command::Select(_)
            | Command::Train(_)
            | Command::Predict(_)
            | Command::Demo(_)
            | Command::Grid(_)
    )
}
