//! Temperature scaling of a run's model, fitted on the run's validation notes alone.

use crate::config;
use crate::data::{make_splits, read_notes};
use crate::error::{Error, Result};
use crate::eval::calibration::{DEFAULT_BINS, expected_calibration_error};
use crate::eval::temperature::{apply_temperature, fit_temperature};
use crate::eval::{Metrics, Predictions};
use crate::experiment::{PredictionSettings, SETTINGS_FILE};
use crate::predict::Predictor;
use crate::run::folder::{RunFolder, read_json, write_json};
use crate::run::inputs::Inputs;
use crate::runs::read_predictions;
use serde::{Deserialize, Serialize};

/// What `calibration.json` of a run holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What the logits are divided by: above 1, the model was too sure of itself.
    pub temperature: f64,
    /// Validation notes it was fitted on.
    pub validation_notes: usize,
    /// On these.
    pub validation: BeforeAndAfter,
    /// On the test notes, which had no part in it; `None` without any.
    pub test: Option<BeforeAndAfter>,
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

/// Predictions as the scaled model gives them.
pub fn scaled(predictions: &Predictions, temperature: f64) -> Predictions {
    let mut scaled = predictions.clone();
    apply_temperature(&mut scaled.probabilities, predictions.classes.len(), temperature);
    scaled
}

/// A temperature that was fitted to a run's model and is not yet written: of several runs the first is not to be changed while another may fail.
pub struct Fitted {
    /// What it does.
    pub calibration: Calibration,
    run: RunFolder,
    settings: PredictionSettings,
}

impl Fitted {
    /// Writes the temperature into the model folder (where `predict` finds it) and `calibration.json` into the run's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self) -> Result<()> {
        write_json(&self.run.model().join(SETTINGS_FILE), &self.settings)?;
        write_json(&self.run.calibration(), &self.calibration)
    }
}

/// Fits the temperature, and writes nothing.
///
/// # Errors
/// The run has no validation notes, its data changed, or no temperature fits.
pub fn fit(run: &RunFolder) -> Result<Fitted> {
    let test = run.predictions().exists().then(|| read_predictions(run)).transpose()?;
    let config = config::load(Some(&run.config()), &[])?.resolved();
    let notes = read_notes(&config.data)?;
    run.check_same(&config, &Inputs::data_of(&config)?)?;
    let splits = make_splits(&notes, &config.data.split, config.seed, config.data.duplicates)?;
    let name = run.root().display();
    if splits.validation.is_empty() {
        return Err(Error::Data(format!(
            "{name}: has no validation notes, and a temperature is fitted on these alone; set data.split.validation_fraction"
        )));
    }
    let mut predictor = Predictor::open(&run.model())?;
    if notes.labels != predictor.model.classes {
        let message = format!("{name}: its config.toml names other classes than its model, or another order of them");
        return Err(Error::Data(message));
    }
    predictor.settings.temperature = None;
    let texts: Vec<&str> = splits.validation.iter().map(|index| notes.notes[*index].text.as_str()).collect();
    let found = predictor.predict(&texts)?;
    let validation = Predictions {
        ids: splits.validation.iter().map(|index| notes.notes[*index].id.clone()).collect(),
        groups: vec![],
        labels: splits.validation.iter().filter_map(|index| notes.notes[*index].label).collect(),
        probabilities: found.into_iter().flat_map(|prediction| prediction.probabilities).collect(),
        classes: predictor.model.classes.clone(),
        training_prevalence: predictor.settings.prevalence,
    };
    let classes = validation.classes.len();
    let Some(temperature) = fit_temperature(&validation.labels, &validation.probabilities, classes) else {
        return Err(Error::Data(format!(
            "{name}: no temperature fits its {} validation notes: they are all right, or all wrong",
            texts.len()
        )));
    };
    let calibration = Calibration {
        temperature,
        validation_notes: texts.len(),
        validation: BeforeAndAfter::of(&validation, temperature)?,
        test: test.map(|test| BeforeAndAfter::of(&test, temperature)).transpose()?,
    };
    let settings = PredictionSettings { temperature: Some(temperature), ..predictor.settings };
    Ok(Fitted { calibration, run: run.clone(), settings })
}

/// The calibration of a run, if it has one.
///
/// # Errors
/// The file, when it is not what dsgkd wrote.
pub fn read_calibration(run: &RunFolder) -> Result<Option<Calibration>> {
    let path = run.calibration();
    path.exists().then(|| read_json(&path)).transpose()
}
