//! What a run's validation notes say of its model's probabilities: a temperature, and where it is asked for, the threshold to decide at.

use crate::config;
use crate::data::{Notes, make_splits, read_notes};
use crate::error::{Error, Result};
use crate::eval::calibration::{DEFAULT_BINS, expected_calibration_error};
use crate::eval::temperature::{apply_temperature, fit_temperature, rescaled};
use crate::eval::threshold::Confusion;
use crate::eval::{Metrics, OperatingPoint, Predictions};
use crate::experiment::{PredictionSettings, SETTINGS_FILE};
use crate::predict::Predictor;
use crate::run::folder::{RunFolder, read_json, write_json};
use crate::run::inputs::Inputs;
use crate::runs::read_predictions;
use serde::{Deserialize, Serialize};

/// What `calibration.json` of a run holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What the logits are divided by: above 1, the model was too sure of itself. `None`: none fits, and a threshold is all that was asked for.
    pub temperature: Option<f64>,
    /// Validation notes it was fitted on.
    pub validation_notes: usize,
    /// What it does to these; `None` without it.
    pub validation: Option<BeforeAndAfter>,
    /// What it does to the test notes, which had no part in it; `None` without it or without any.
    pub test: Option<BeforeAndAfter>,
    /// The threshold that was chosen; `None`: the share of positives among the training notes decides.
    #[serde(default)]
    pub decision: Option<Decision>,
}

/// The threshold at which `predict` calls a note positive, chosen on the validation notes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What it was chosen for.
    pub chosen_for: OperatingPoint,
    /// Of the probabilities as trained, which are those of the run's test notes.
    pub threshold: f64,
    /// The same of the probabilities that `predict` writes, which have been scaled.
    pub scaled_threshold: f64,
    /// What it decides of the validation notes; `None` without any.
    pub validation: Option<Confusion>,
    /// What it decides of the test notes, which had no part in it; `None` without any.
    pub test: Option<Confusion>,
}

impl Decision {
    /// `None` where no validation note is of the class whose share is asked for, or the classes are not two.
    fn new(
        chosen_for: OperatingPoint,
        temperature: f64,
        validation: Option<&Predictions>,
        test: Option<&Predictions>,
    ) -> Option<Decision> {
        let threshold = match chosen_for {
            OperatingPoint::Threshold(scaled) => rescaled(scaled, 1.0 / temperature),
            point => {
                let (positive, scores) = validation?.binary()?;
                amid(point.of(&positive, &scores)?, &scores)
            }
        };
        let counts = |predictions: &Predictions| {
            let (positive, scores) = predictions.binary()?;
            Confusion::at_threshold(&positive, &scores, threshold)
        };
        Some(Decision {
            chosen_for,
            threshold,
            scaled_threshold: rescaled(threshold, temperature),
            validation: validation.and_then(counts),
            test: test.and_then(counts),
        })
    }
}

/// The middle of the thresholds that decide these notes as this one does: a score's last digits, which another machine computes differently, then
/// decide nothing.
fn amid(threshold: f64, scores: &[f64]) -> f64 {
    let below = scores.iter().copied().filter(|score| *score < threshold).fold(0.0, f64::max);
    let middle = below + (threshold - below) / 2.0;
    if middle > below { middle } else { threshold }
}

/// Proper scores and calibration error before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BeforeAndAfter {
    /// As trained.
    pub before: CalibrationScores,
    /// Scaled.
    pub after: CalibrationScores,
}

/// How far probabilities are from what comes true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalibrationScores {
    /// Mean log loss in nats.
    pub log_loss: Option<f64>,
    /// Brier score.
    pub brier: Option<f64>,
    /// Expected calibration error in ten bins.
    pub expected_calibration_error: Option<f64>,
}

impl CalibrationScores {
    /// Of predictions.
    pub fn of(predictions: &Predictions) -> Result<CalibrationScores> {
        let Metrics { log_loss, brier, .. } = predictions.evaluate()?;
        let bins = predictions.reliability(DEFAULT_BINS)?;
        Ok(CalibrationScores { log_loss, brier, expected_calibration_error: expected_calibration_error(&bins) })
    }
}

impl BeforeAndAfter {
    fn of(predictions: &Predictions, temperature: f64) -> Result<BeforeAndAfter> {
        let scaled = scaled(predictions, temperature);
        Ok(BeforeAndAfter { before: CalibrationScores::of(predictions)?, after: CalibrationScores::of(&scaled)? })
    }
}

/// Predictions as the scaled model gives them, and the training prevalence where it decides the same of them.
pub fn scaled(predictions: &Predictions, temperature: f64) -> Predictions {
    let mut scaled = predictions.clone();
    apply_temperature(&mut scaled.probabilities, predictions.classes.len(), temperature);
    scaled.training_prevalence = predictions.training_prevalence.map(|prevalence| rescaled(prevalence, temperature));
    scaled
}

/// What was fitted to a run's model and is not yet written: of several runs the first is not to be changed while another may fail.
pub struct Fitted {
    /// What it does.
    pub calibration: Calibration,
    run: RunFolder,
    settings: PredictionSettings,
}

impl Fitted {
    /// Writes temperature and threshold into the model folder (where `predict` finds them) and `calibration.json` into the run's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        write_json(&self.run.model().join(SETTINGS_FILE), &self.settings)?;
        write_json(&self.run.calibration(), &self.calibration)
    }
}

/// Where `predict` is to decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deciding {
    /// Where it does now.
    AsBefore,
    /// At the share of positives among the training notes, as every run begins.
    AtPrevalence,
    /// At a threshold for this.
    For(OperatingPoint),
}

/// Fits the temperature, chooses the threshold, and writes nothing. What is said of deciding needs no temperature: where none fits, probabilities stay as
/// trained.
///
/// # Errors
/// The run's data changed; a temperature was all that was asked for, and there are no validation notes or none fits; these notes have no such threshold.
pub fn fit(run: &RunFolder, deciding: Deciding) -> Result<Fitted> {
    let point = match deciding {
        Deciding::AsBefore => read_calibration(run)?.and_then(|before| Some(before.decision?.chosen_for)),
        Deciding::AtPrevalence => None,
        Deciding::For(point) => Some(point),
    };
    point.iter().try_for_each(OperatingPoint::check)?;
    let test = run.predictions().exists().then(|| read_predictions(run)).transpose()?;
    let config = config::load(Some(&run.config()), &[])?.resolved();
    let notes = read_notes(&config.data)?;
    run.check_same(&config, &Inputs::data_of(&config)?)?;
    let splits = make_splits(&notes, &config.data.split, config.seed, config.data.duplicates)?;
    let name = run.root().display();
    let mut predictor = Predictor::open(&run.model())?;
    if notes.labels != predictor.model.classes {
        let message = format!("{name}: its config.toml names other classes than its model, or another order of them");
        return Err(Error::Data(message));
    }
    let validation = predict_trained(&mut predictor, &notes, &splits.validation)?;
    let classes = predictor.model.classes.len();
    let temperature =
        validation.as_ref().and_then(|notes| fit_temperature(&notes.labels, &notes.probabilities, classes));
    let validation_notes = splits.validation.len();
    let is_of_validation = match deciding {
        Deciding::AsBefore | Deciding::For(OperatingPoint::Sensitivity(_) | OperatingPoint::Specificity(_)) => true,
        Deciding::AtPrevalence | Deciding::For(OperatingPoint::Threshold(_)) => false,
    };
    if is_of_validation && validation_notes == 0 {
        return Err(Error::Data(format!(
            "{name}: has no validation notes, and a temperature, a sensitivity and a specificity are found on these alone; set \
             data.split.validation_fraction, or give a --threshold"
        )));
    }
    if temperature.is_none() && deciding == Deciding::AsBefore {
        return Err(Error::Data(format!(
            "{name}: no temperature fits its {validation_notes} validation notes: the model makes no mistake in them, or tells them apart no better \
             than chance; give it more of them (data.split.validation_fraction), or choose a threshold alone (--sensitivity, --specificity, --threshold)"
        )));
    }
    let decide = |point: OperatingPoint| {
        if classes != 2 {
            let message = format!("--{point}: is of two classes, and the model of {name} has {classes}");
            return Err(Error::Config(message));
        }
        let found = Decision::new(point, temperature.unwrap_or(1.0), validation.as_ref(), test.as_ref());
        found.ok_or_else(|| {
            Error::Data(format!(
                "{name}: none of its {validation_notes} validation notes is of the class that --{point} asks for"
            ))
        })
    };
    let decision = point.map(decide).transpose()?;
    let scores = |predictions: Option<&Predictions>| {
        let both = predictions.zip(temperature);
        both.map(|(predictions, temperature)| BeforeAndAfter::of(predictions, temperature)).transpose()
    };
    let calibration = Calibration {
        temperature,
        validation_notes,
        validation: scores(validation.as_ref())?,
        test: scores(test.as_ref())?,
        decision,
    };
    let threshold = calibration.decision.as_ref().map(|decision| decision.threshold);
    let settings = PredictionSettings { temperature, threshold, ..predictor.settings };
    Ok(Fitted { calibration, run: run.clone(), settings })
}

/// The probabilities as trained of some of the notes; `None` of none.
fn predict_trained(predictor: &mut Predictor, notes: &Notes, which: &[usize]) -> Result<Option<Predictions>> {
    if which.is_empty() {
        return Ok(None);
    }
    predictor.settings.temperature = None;
    let texts: Vec<&str> = which.iter().map(|index| notes.notes[*index].text.as_str()).collect();
    let found = predictor.predict(&texts)?;
    Ok(Some(Predictions {
        ids: which.iter().map(|index| notes.notes[*index].id.clone()).collect(),
        groups: vec![],
        labels: which.iter().filter_map(|index| notes.notes[*index].label).collect(),
        probabilities: found.into_iter().flat_map(|prediction| prediction.probabilities).collect(),
        classes: predictor.model.classes.clone(),
        training_prevalence: predictor.settings.prevalence,
    }))
}

/// The calibration of a run, if it has one.
///
/// # Errors
/// The file, when it is not what dsgkd wrote.
pub fn read_calibration(run: &RunFolder) -> Result<Option<Calibration>> {
    let path = run.calibration();
    path.exists().then(|| read_json(&path)).transpose()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Positives at 0.8, 0.5 and 0.3, negatives at 0.6, 0.2 and 0.1.
    fn predictions() -> Predictions {
        let scores = [0.8, 0.6, 0.5, 0.3, 0.2, 0.1];
        Predictions {
            ids: (0..6).map(|note| note.to_string()).collect(),
            groups: vec![],
            labels: vec![1, 0, 1, 1, 0, 0],
            probabilities: scores.iter().flat_map(|score| [1.0 - score, *score]).collect(),
            classes: ["no", "yes"].map(str::to_string).to_vec(),
            training_prevalence: Some(0.5),
        }
    }

    #[test]
    fn a_threshold_lies_amid_those_that_decide_the_same() {
        let notes = predictions();
        let two_thirds = Decision::new(OperatingPoint::Sensitivity(0.66), 2.0, Some(&notes), Some(&notes)).unwrap();
        assert!((two_thirds.threshold - 0.4).abs() < 1e-12);
        // By hand: the odds of 0.4 are 2 to 3; half of their logarithm is their square root.
        let odds = (2f64 / 3.0).sqrt();
        assert!((two_thirds.scaled_threshold - odds / (1.0 + odds)).abs() < 1e-12);
        let counts = Confusion { true_positives: 2, false_positives: 1, false_negatives: 1, true_negatives: 2 };
        assert_eq!((two_thirds.validation, two_thirds.test), (Some(counts), Some(counts)));
        let all = Decision::new(OperatingPoint::Specificity(0.99), 1.0, Some(&notes), None).unwrap();
        assert_eq!((all.validation.unwrap().false_positives, all.test), (0, None));
        assert!(all.threshold > 0.6 && all.threshold < 0.8);
        // Nothing lies between a number and the next one.
        let above = 0.6f64.next_up();
        assert_eq!(amid(above, &[0.2, 0.6]), above);
    }

    #[test]
    fn a_probability_is_of_those_that_are_written() {
        let given = Decision::new(OperatingPoint::Threshold(0.1), 3.0, None, None).unwrap();
        assert!((given.scaled_threshold - 0.1).abs() < 1e-12 && given.threshold < 0.01);
    }

    #[test]
    fn notes_of_one_class_have_no_threshold() {
        let notes = Predictions { labels: vec![0; 6], ..predictions() };
        assert_eq!(Decision::new(OperatingPoint::Sensitivity(0.9), 1.0, Some(&notes), None), None);
        assert!(Decision::new(OperatingPoint::Specificity(0.9), 1.0, Some(&notes), None).is_some());
    }
}
