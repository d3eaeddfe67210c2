//! `dsgkd calibrate`

use crate::args::{CalibrateArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use dsgkd::calibrate::{BeforeAndAfter, Calibration, Fitted, fit};
use dsgkd::error::Error;
use dsgkd::runs::with;

pub(crate) fn run(args: &CalibrateArgs, global: &Global) -> CommandResult {
    let mut fitted: Vec<(String, Fitted)> = vec![];
    for folder in &args.runs {
        let runs = with(folder, |run| run.model().exists())?;
        if runs.is_empty() {
            return Err(Error::Data(format!("{}: holds no run with a trained model", folder.display())));
        }
        for run in runs {
            fitted.push((run.root().display().to_string(), fit(&run)?));
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
    let Calibration { temperature, validation_notes, validation, test } = calibration;
    let mut out = format!("{name}: temperature {temperature:.3}, fitted on {validation_notes} validation notes\n");
    out += &line("validation", validation);
    if let Some(test) = test {
        out += &line("test", test);
        if is_worse(test) {
            out += "  the test notes are fitted less well than before; the temperature is stored all the same\n";
        }
    }
    out
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
