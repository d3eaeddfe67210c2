//! What a run's validation notes say of its model's probabilities: a temperature, and where it is asked for, the threshold to decide at.

use crate::config;
use crate::data::{Notes, make_splits, read_notes};
use crate::error::{Error, Result};
use crate::eval::calibration::{DEFAULT_BINS, expected_calibration_error};
use crate::eval::temperature::{apply_temperature, fit_temperature, rescaled};
use crate::eval::threshold::Confusion;
use crate::eval::{Metrics, OperatingPoint, Predictions};
use crate::experiment::card::with_decisions;
use crate::experiment::{CARD_FILE, PredictionSettings, SETTINGS_FILE};
use crate::predict::Predictor;
use crate::run::atomic::write_file;
use crate::run::folder::{RunFolder, read_json, write_json};
use crate::run::inputs::Inputs;
use crate::runs::read_predictions;
use serde::{Deserialize, Serialize};
use std::path::Path;

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

/// The threshold at which `predict` calls a note positive, and what it does. Probabilities are those that `predict` writes: scaled, where there is a
/// temperature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What it was chosen for.
    pub chosen_for: OperatingPoint,
    /// At and above which a note is positive.
    pub threshold: f64,
    /// What it decides of the validation notes; `None` without any.
    pub validation: Option<Confusion>,
    /// What it decides of the test notes, which had no part in it; `None` without any.
    pub test: Option<Confusion>,
}

impl Decision {
    /// Of scaled predictions; `None` where these validation notes have no such threshold.
    fn new(
        chosen_for: OperatingPoint,
        validation: Option<&Predictions>,
        test: Option<&Predictions>,
    ) -> Option<Decision> {
        let threshold = match chosen_for {
            OperatingPoint::Threshold(given) => given,
            point => {
                let (positive, scores) = validation?.binary()?;
                amid(point.of(&positive, &scores)?, &scores)?
            }
        };
        let counts = |predictions: &Predictions| {
            let (positive, scores) = predictions.binary()?;
            Confusion::at_threshold(&positive, &scores, threshold)
        };
        Some(Decision { chosen_for, threshold, validation: validation.and_then(counts), test: test.and_then(counts) })
    }
}

/// The middle of the thresholds that decide these notes as this one does: a score's last digits, which another machine computes differently, then
/// decide nothing. `None` where that takes more than certainty.
fn amid(threshold: f64, scores: &[f64]) -> Option<f64> {
    let below = scores.iter().copied().filter(|score| *score < threshold).fold(0.0, f64::max);
    let above = scores.iter().copied().filter(|score| *score >= threshold).fold(1.0, f64::min);
    let middle = below + (above - below) / 2.0;
    // Nothing lies between a number and the next one.
    let found = if middle > below { middle } else { above };
    (found > below || threshold <= below).then_some(found)
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
    fn of(trained: &Predictions, written: &Predictions) -> Result<BeforeAndAfter> {
        Ok(BeforeAndAfter { before: CalibrationScores::of(trained)?, after: CalibrationScores::of(written)? })
    }
}

/// Predictions as `predict` writes them: as trained, or scaled where there is a temperature, with the training prevalence where it decides the same of them.
pub fn written(predictions: &Predictions, temperature: Option<f64>) -> Predictions {
    let mut scaled = predictions.clone();
    let Some(temperature) = temperature else { return scaled };
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
    card: Option<String>,
}

impl Fitted {
    /// Writes temperature and threshold into the model folder, where `predict` finds them and the model card tells of them, and `calibration.json` into
    /// the run's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        let model = self.run.model();
        write_json(&model.join(SETTINGS_FILE), &self.settings)?;
        write_json(&self.run.calibration(), &self.calibration)?;
        match &self.card {
            Some(card) => write_file(&model.join(CARD_FILE), |out| out.write_all(card.as_bytes())),
            None => Ok(()),
        }
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
    let classes = predictor.model.classes.len();
    if notes.labels != predictor.model.classes {
        let message = format!("{name}: its config.toml names other classes than its model, or another order of them");
        return Err(Error::Data(message));
    }
    let asked = match deciding {
        Deciding::AtPrevalence => Some("at-prevalence".to_string()),
        _ => point.map(|point| point.to_string()),
    };
    if let Some(asked) = asked.filter(|_| classes != 2) {
        return Err(Error::Config(format!("--{asked}: is of two classes, and the model of {name} has {classes}")));
    }
    let validation_notes = splits.validation.len();
    let is_given = matches!(deciding, Deciding::AtPrevalence | Deciding::For(OperatingPoint::Threshold(_)));
    if validation_notes == 0 && !is_given {
        let found = "a temperature, a sensitivity and a specificity are found on these alone; set data.split.validation_fraction";
        let given = if classes == 2 { ", or give a --threshold" } else { "" };
        return Err(Error::Data(format!("{name}: has no validation notes, and {found}{given}")));
    }
    let validation = predict_trained(&mut predictor, &notes, &splits.validation)?;
    let temperature =
        validation.as_ref().and_then(|notes| fit_temperature(&notes.labels, &notes.probabilities, classes));
    if temperature.is_none() && deciding == Deciding::AsBefore {
        let why = "the model makes no mistake in them, or tells them apart no better than chance";
        let alone = ", or choose a threshold alone (--sensitivity, --specificity, --threshold)";
        return Err(Error::Data(format!(
            "{name}: no temperature fits its {validation_notes} validation notes: {why}; give it more of them (data.split.validation_fraction){}",
            if classes == 2 { alone } else { "" }
        )));
    }
    let [written_validation, written_test] =
        [&validation, &test].map(|trained| trained.as_ref().map(|trained| written(trained, temperature)));
    let decide = |point: OperatingPoint| {
        Decision::new(point, written_validation.as_ref(), written_test.as_ref()).ok_or_else(|| {
            Error::Data(format!(
                "{name}: its {validation_notes} validation notes have no threshold for a {point}: none is of the class in question, or the surest of \
                 them are as sure as can be; give it more of them (data.split.validation_fraction), ask for another share, or give a --threshold"
            ))
        })
    };
    let decision = point.map(decide).transpose()?;
    let scores = |trained: &Option<Predictions>, written: &Option<Predictions>| {
        let both = trained.as_ref().zip(written.as_ref()).filter(|_| temperature.is_some());
        both.map(|(trained, written)| BeforeAndAfter::of(trained, written)).transpose()
    };
    let calibration = Calibration {
        temperature,
        validation_notes,
        validation: scores(&validation, &written_validation)?,
        test: scores(&test, &written_test)?,
        decision,
    };
    let threshold = calibration.decision.as_ref().map(|decision| decision.threshold);
    let settings = PredictionSettings { temperature, threshold, ..predictor.settings };
    let card = card(&run.model(), &notes.labels, &settings, &calibration)?;
    Ok(Fitted { calibration, run: run.clone(), settings, card })
}

/// The model's card with what it decides now; `None` where somebody took it away.
fn card(
    model: &Path,
    classes: &[String],
    settings: &PredictionSettings,
    calibration: &Calibration,
) -> Result<Option<String>> {
    let path = model.join(CARD_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Data(format!("{}: is not UTF-8; save it as that, or remove it", path.display())))?;
    let chosen = calibration.decision.as_ref().map(|decision| match decision.chosen_for {
        OperatingPoint::Threshold(_) => "chosen by whoever calibrated it".to_string(),
        point => format!("chosen for a {point} on {} validation notes", calibration.validation_notes),
    });
    Ok(Some(with_decisions(&text, classes, settings, chosen.as_deref())))
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
        let two_thirds = Decision::new(OperatingPoint::Sensitivity(0.66), Some(&notes), Some(&notes)).unwrap();
        assert!((two_thirds.threshold - 0.4).abs() < 1e-12);
        let counts = Confusion { true_positives: 2, false_positives: 1, false_negatives: 1, true_negatives: 2 };
        assert_eq!((two_thirds.validation, two_thirds.test), (Some(counts), Some(counts)));
        let all = Decision::new(OperatingPoint::Specificity(0.99), Some(&notes), None).unwrap();
        assert_eq!((all.validation.unwrap().false_positives, all.test), (0, None));
        assert!((all.threshold - 0.7).abs() < 1e-12);
        // Above all of them up to certainty, and not beyond it.
        assert_eq!(amid(0.6f64.next_up(), &[0.2, 0.6]), Some(0.8));
        assert_eq!(amid(1f64.next_up(), &[0.2, 1.0]), None);
        assert_eq!((amid(0.2, &[0.2, 1.0]), amid(0.0, &[0.0, 0.5])), (Some(0.1), Some(0.0)));
        let next = 0.6f64.next_up();
        assert_eq!(amid(next, &[0.6, next]), Some(next), "nothing lies between a number and the next one");
    }

    #[test]
    fn a_probability_that_is_given_is_taken_as_it_is() {
        for given in [0.05, 0.1, 0.9, 0.999_999] {
            assert_eq!(Decision::new(OperatingPoint::Threshold(given), None, None).unwrap().threshold, given);
        }
    }

    #[test]
    fn scaling_decides_nothing_at_the_prevalence() {
        let sharper = written(&predictions(), Some(0.5));
        // By hand: odds of 3 to 7, squared.
        assert!((sharper.probabilities[7] - 9.0 / 58.0).abs() < 1e-12);
        assert_eq!(sharper.training_prevalence, Some(0.5));
        assert!(
            written(&Predictions { training_prevalence: Some(0.3), ..predictions() }, Some(0.5))
                .training_prevalence
                .is_some_and(|prevalence| (prevalence - 9.0 / 58.0).abs() < 1e-12)
        );
    }

    #[test]
    fn notes_of_one_class_have_no_threshold() {
        let notes = Predictions { labels: vec![0; 6], ..predictions() };
        assert_eq!(Decision::new(OperatingPoint::Sensitivity(0.9), Some(&notes), None), None);
        assert!(Decision::new(OperatingPoint::Specificity(0.9), Some(&notes), None).is_some());
    }
}
