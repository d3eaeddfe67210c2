//! Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere.

use crate::interrupt::interrupted;
use crate::output::stderr_line;
use dsgkd::experiment::{DataSummary, RunObserver};
use dsgkd::pretrain::{PretrainLog, PretrainObserver};
use dsgkd::select::SelectObserver;
use dsgkd::train::step::StepLosses;
use dsgkd::train::training::{EpochLog, StepLog, TrainObserver};
use dsgkd_encoder::LoadReport;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    started: Instant,
    last_line: Instant,
    /// The first step that this process told of, and when: the time left is not guessed from work of another day.
    first_step: Option<(u64, Instant)>,
    /// Tokens seen by then.
    first_tokens: u64,
    name: String,
}

impl Progress {
    pub(crate) fn new(quiet: bool, name: &str) -> Progress {
        let terminal = std::io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {eta_precise} left  {msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.to_string());
            bar
        });
        let now = Instant::now();
        Progress { bar, quiet, started: now, last_line: now, first_step: None, first_tokens: 0, name: name.to_string() }
    }

    /// A line that stays.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            _ if self.quiet => {}
            Some(bar) => bar.suspend(|| stderr_line(text)),
            None => stderr_line(text),
        }
    }

    fn steps(&mut self, step: u64, steps: u64, message: &str) {
        let (first, since) = *self.first_step.get_or_insert((step, Instant::now()));
        if let Some(bar) = &self.bar {
            if bar.length() != Some(steps) {
                bar.set_length(steps);
                bar.reset_eta();
            }
            bar.set_position(step);
            bar.set_message(message.to_string());
        } else if self.last_line.elapsed() >= BETWEEN_LINES {
            self.last_line = Instant::now();
            let left = if step > first {
                let left = since.elapsed().as_secs_f64() / (step - first) as f64 * steps.saturating_sub(step) as f64;
                format!("{}:{:02} left, ", left as u64 / 60, left as u64 % 60)
            } else {
                String::new()
            };
            self.say(&format!("{}: step {step} of {steps}, {left}{message}", self.name));
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What is said of notes without labels that nobody reads.
pub(crate) fn left_out(notes: usize) -> String {
    format!("{notes} notes without labels are left out: they, or others of their group, are validation or test notes")
}

/// The losses of what is heard of teachers.
fn heard(losses: &StepLosses) -> String {
    format!("hidden {:.4} attention {:.2e}", losses.hidden, losses.attention)
}

impl TrainObserver for Progress {
    fn step(&mut self, log: &StepLog) {
        let losses = &log.losses;
        let distilled =
            if losses.hidden > 0.0 || losses.attention > 0.0 { format!(" {}", heard(losses)) } else { String::new() };
        let message = format!("loss {:.4} prediction {:.4}{distilled}", losses.total, losses.prediction);
        self.steps(log.step, log.steps, &message);
    }

    fn epoch(&mut self, log: &EpochLog) {
        let shown = ["auroc", "f1_at_prevalence", "f1_macro", "brier", "log_loss"];
        let values = log.validation.iter().filter(|(name, _)| shown.contains(name));
        let values = values.filter_map(|(name, value)| Some(format!("{name} {:.4}", value?)));
        let values: Vec<String> = values.collect();
        self.say(&format!("{}: epoch {}: validation {}", self.name, log.epoch, values.join(" ")));
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}

impl RunObserver for Progress {
    fn loaded(&mut self, role: &str, report: &LoadReport) {
        if role == "student" && !report.fresh.is_empty() {
            self.say(&format!("{}: fresh in the student: {}", self.name, report.fresh.join(", ")));
        }
        if !report.surplus.is_empty() {
            self.say(&format!("{}: not used of the {role}: {}", self.name, few(&report.surplus)));
        }
    }

    fn prepared(&mut self, summary: &DataSummary) {
        let aligned: Vec<String> =
            summary.aligned_terms.iter().map(|count| format!(", {count} of {} terms kept", summary.terms)).collect();
        self.say(&format!(
            "{}: {} training notes ({} more without labels), {} validation, {} test{}{}",
            self.name,
            summary.training,
            summary.unlabeled,
            summary.validation,
            summary.test,
            aligned.concat(),
            if summary.bad_rows > 0 { format!(", {} bad rows skipped", summary.bad_rows) } else { String::new() },
        ));
        if summary.unlabeled_left_out > 0 {
            self.say(&format!("{}: {}", self.name, left_out(summary.unlabeled_left_out)));
        }
        if summary.aligned_terms.contains(&0) {
            self.say(&format!(
                "{}: a teacher has nothing to teach: no term is kept; `dsgkd check` says why",
                self.name
            ));
        }
    }

    fn adapting(&mut self, log: &PretrainLog) {
        self.masked(log);
        if log.step == log.steps {
            // The training's steps are others, and its time is not this one's.
            self.first_step = None;
        }
    }

    fn teaching(&mut self, log: &StepLog) {
        if self.first_step.is_none() {
            self.say(&format!("{}: hearing its teachers; the labels come after", self.name));
        }
        self.steps(log.step, log.steps, &heard(&log.losses));
        if log.step == log.steps {
            self.say(&format!("{}: learning the labels", self.name));
            self.first_step = None;
        }
    }

    fn probing(&mut self, done: usize, notes: usize) {
        let done = if done == 0 { String::new() } else { format!(": {done} done") };
        self.say(&format!("{}: the classifier begins as a regression on {notes} notes{done}", self.name));
    }

    fn prepared_elsewhere(&mut self, done: bool) {
        let what = if done { "was prepared before" } else { "is being prepared by another dsgkd; waiting" };
        self.say(&format!("{}: the student {what}", self.name));
    }
}

impl Progress {
    fn masked(&mut self, log: &PretrainLog) {
        let rate = match self.first_step {
            Some((_, since)) => {
                let tokens = log.tokens.saturating_sub(self.first_tokens) as f64;
                format!(", {:.0} tokens/s", tokens / since.elapsed().as_secs_f64().max(1e-3))
            }
            None => {
                self.first_tokens = log.tokens;
                String::new()
            }
        };
        self.steps(log.step, log.steps, &format!("loss {:.3}{rate}", log.loss));
        if let Some(held_out) = log.held_out {
            self.say(&format!(
                "{}: step {}: held out: loss {:.4}, masked accuracy {:.4}",
                self.name, log.step, held_out.loss, held_out.accuracy
            ));
        }
    }
}

impl PretrainObserver for Progress {
    fn stage(&mut self, what: &str) {
        self.say(&format!("{}: {what}", self.name));
    }

    fn loaded(&mut self, report: &LoadReport) {
        if !report.fresh.is_empty() {
            self.say(&format!("{}: fresh: {}", self.name, few(&report.fresh)));
        }
    }

    fn step(&mut self, log: &PretrainLog) {
        self.masked(log);
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}

impl SelectObserver for Progress {
    fn stage(&mut self, what: &str) {
        self.say(&format!("{}: {what}", self.name));
    }

    fn embedded(&mut self, documents: usize, all: usize) {
        let rate = documents as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        self.steps(documents as u64, all as u64, &format!("{rate:.0} documents/s"));
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}

fn few(names: &[String]) -> String {
    match names {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        names => names.join(", "),
    }
}
