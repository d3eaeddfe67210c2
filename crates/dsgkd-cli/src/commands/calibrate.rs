//! `dsgkd calibrate`

use crate::args::{CalibrateArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use dsgkd::calibrate::{BeforeAndAfter, Calibration, Deciding, Decision, Fitted, fit};
use dsgkd::error::Error;
use dsgkd::eval::proportion::wilson_interval;
use dsgkd::eval::threshold::Confusion;
use dsgkd::eval::{Interval, OperatingPoint};
use dsgkd::runs::with;

pub(crate) fn run(args: &CalibrateArgs, global: &Global) -> CommandResult {
    let point = args
        .threshold
        .map(OperatingPoint::Threshold)
        .or(args.sensitivity.map(OperatingPoint::Sensitivity))
        .or(args.specificity.map(OperatingPoint::Specificity));
    let deciding = match point {
        Some(point) => Deciding::For(point),
        None if args.at_prevalence => Deciding::AtPrevalence,
        None => Deciding::AsBefore,
    };
    let mut fitted: Vec<(String, Fitted)> = vec![];
    for folder in &args.runs {
        let runs = with(folder, |run| run.model().exists())?;
        if runs.is_empty() {
            return Err(Error::Data(format!("{}: holds no run with a trained model", folder.display())));
        }
        for run in runs {
            fitted.push((run.root().display().to_string(), fit(&run, deciding)?));
        }
    }
    fitted.iter().try_for_each(|(_, fitted)| fitted.write())?;
    let done: Vec<(&str, &Calibration)> =
        fitted.iter().map(|(name, fitted)| (name.as_str(), &fitted.calibration)).collect();
    if global.json {
        print_json(&done)?;
    } else {
        for (name, calibration) in &done {
            print(&words(name, calibration))?;
        }
    }
    Ok(Outcome::Done)
}

fn words(name: &str, calibration: &Calibration) -> String {
    let Calibration { temperature, validation_notes, validation, test, decision } = calibration;
    let mut out = match temperature {
        Some(temperature) => {
            format!("{name}: temperature {temperature:.3}, fitted on {validation_notes} validation notes\n")
        }
        None if *validation_notes == 0 => format!("{name}: has no validation notes; probabilities stay as trained\n"),
        None => format!(
            "{name}: no temperature fits its {validation_notes} validation notes; probabilities stay as trained\n"
        ),
    };
    out += &validation.as_ref().map_or(String::new(), |validation| line("validation", validation));
    if let Some(test) = test {
        out += &line("test", test);
        if is_worse(test) {
            out += "  the test notes are fitted less well than before; the temperature is stored all the same\n";
        }
    }
    if let Some(Decision { chosen_for, threshold, validation, test }) = decision {
        out += &format!("  {chosen_for}: predict decides at a probability of {threshold}\n");
        out += &validation.as_ref().map_or(String::new(), |validation| decided("validation", validation));
        out += &test.as_ref().map_or(String::new(), |test| decided("test", test));
    }
    out
}

/// What a threshold decides, as shares with Wilson's 95 % intervals.
fn decided(part: &str, counts: &Confusion) -> String {
    let Confusion { true_positives, false_positives, false_negatives, true_negatives } = *counts;
    let share = |name: &str, events: u64, others: u64| {
        let all = events + others;
        match wilson_interval(events as f64, all as f64) {
            Some(Interval { low, high }) => {
                format!("{name} {:.3} [{low:.3}, {high:.3}] ({events} of {all})", events as f64 / all as f64)
            }
            None => format!("{name} undefined"),
        }
    };
    format!(
        "  {part}: {}, {}, {}, {}\n",
        share("sensitivity", true_positives, false_negatives),
        share("specificity", true_negatives, false_positives),
        share("PPV", true_positives, false_positives),
        share("NPV", true_negatives, false_negatives)
    )
}

/// Whether the probabilities fit the notes less well than before, by the log loss.
fn is_worse(BeforeAndAfter { before, after }: &BeforeAndAfter) -> bool {
    before.log_loss.zip(after.log_loss).is_some_and(|(before, after)| after > before)
}

fn line(part: &str, BeforeAndAfter { before, after }: &BeforeAndAfter) -> String {
    let pair = |name: &str, before: Option<f64>, after: Option<f64>| match (before, after) {
        (Some(before), Some(after)) => format!("{name} {before:.4} -> {after:.4}"),
        _ => format!("{name} undefined"),
    };
    format!(
        "  {part}: {}, {}, {}\n",
        pair("log loss", before.log_loss, after.log_loss),
        pair("Brier", before.brier, after.brier),
        pair("calibration error", before.expected_calibration_error, after.expected_calibration_error)
    )
}
