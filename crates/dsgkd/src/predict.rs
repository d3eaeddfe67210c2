//! Probabilities for new notes, as a stream: constant memory however long the file.

use crate::data::{BadRows, NewColumn, NoteMapper, Record, Records, RowError, TableWriter, Value};
use crate::error::{Error, Result};
use crate::eval::predictions::probability_column;
use crate::eval::temperature::apply_temperature;
use crate::eval::threshold::decide;
use crate::experiment::{PredictionSettings, SETTINGS_FILE};
use crate::infer::Scorer;
use crate::text::Tokenizer;
use crate::text::truncate::truncate;
use dsgkd_encoder::Model;
use dsgkd_encoder::model::heads_of;
use dsgkd_ops::WeightPrecision;
use dsgkd_ops::loss::softmax;
use rayon::prelude::*;
use serde::{Serialize, Serializer};
use std::path::Path;

/// A trained classifier, ready for notes.
pub struct Predictor {
    /// The model.
    pub model: Model,
    /// How records become notes.
    pub settings: PredictionSettings,
    /// How [`stream`](Predictor::stream) keeps the weights; what this processor lacks is [`WeightPrecision::Float32`].
    pub precision: WeightPrecision,
    /// The probability, of those that are written, at and above which a note is positive; `None`: as it was trained and calibrated.
    pub threshold: Option<f64>,
    tokenizer: Tokenizer,
    scorer: Scorer,
}

/// What one note was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The class, as an index: of two, the positive one at or above the threshold that was given or chosen, of the probability written, else at or above
    /// the training prevalence; of more, the most probable. A temperature changes neither of the last two.
    pub class: usize,
    /// Of each class.
    pub probabilities: Vec<f64>,
    /// Whether truncation cut the note.
    pub truncated: bool,
}

/// Counts of a whole file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PredictSummary {
    /// Notes predicted.
    pub notes: u64,
    /// Notes that truncation cut.
    pub truncated: u64,
    /// Rows that were skipped; as JSON, how many.
    #[serde(serialize_with = "total")]
    pub bad_rows: BadRows,
    /// What rounded weights changed, where they are rounded.
    pub rounding: Option<Rounding>,
}

fn total<S: Serializer>(rows: &BadRows, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_u64(rows.total())
}

/// Predictions with rounded weights against those in `f32`, on the first notes of a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rounding {
    /// Notes that were predicted both ways.
    pub notes: usize,
    /// The largest difference of a probability.
    pub max_difference: f64,
    /// The mean absolute difference of a probability.
    pub mean_difference: f64,
    /// Notes whose class differs.
    pub labels_changed: usize,
}

impl Rounding {
    /// Differences of `rounded` to `exact`, note by note.
    pub fn between(exact: &[Prediction], rounded: &[Prediction]) -> Rounding {
        let pairs = || exact.iter().zip(rounded);
        let differences = || {
            pairs()
                .flat_map(|(exact, rounded)| exact.probabilities.iter().zip(&rounded.probabilities))
                .map(|(a, b)| (a - b).abs())
        };
        Rounding {
            notes: exact.len(),
            max_difference: differences().fold(0.0, f64::max),
            mean_difference: differences().sum::<f64>() / differences().count().max(1) as f64,
            labels_changed: pairs().filter(|(exact, rounded)| exact.class != rounded.class).count(),
        }
    }
}

/// Records that are read, predicted and written together; sorted by length inside.
const WINDOW: usize = 1024;
/// Bytes of a window's cells and notes, beyond which it is written before it has all its records: these are all held at once.
const WINDOW_BYTES: usize = 16 << 20;

/// Whether a window of this many records and bytes is to be written.
fn is_full(records: usize, bytes: usize) -> bool {
    records >= WINDOW || bytes > WINDOW_BYTES
}

/// What a record and its note take in a window; a cell without text takes its place.
fn bytes_of(record: &Record, note: &str) -> usize {
    let cells: usize = record.fields.iter().flatten().map(String::len).sum();
    cells + record.fields.len() * size_of::<Option<String>>() + note.len()
}

impl Predictor {
    /// Opens a model folder that `dsgkd train` wrote.
    pub fn open(folder: &Path) -> Result<Predictor> {
        let heads = heads_of(folder)?;
        let (model, report) = Model::open(folder, &heads, 0)?;
        if !report.fresh.is_empty() {
            return Err(Error::Model(format!(
                "{}: lacks {}; it is not a trained classifier",
                folder.display(),
                report.fresh.join(", ")
            )));
        }
        let tokenizer = Tokenizer::open(folder)?;
        let path = folder.join(SETTINGS_FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path, "read"))?;
        let settings: PredictionSettings = serde_json::from_str(&text).map_err(|error| {
            Error::Model(format!("{}: line {}: is not what dsgkd wrote", path.display(), error.line()))
        })?;
        tokenizer.check_fits(&model.architecture, settings.max_length)?;
        if settings.temperature.is_some_and(|temperature| !(temperature.is_normal() && temperature > 0.0)) {
            return Err(Error::Model(format!("{}: `temperature` is no number above 0", path.display())));
        }
        if settings.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err(Error::Model(format!("{}: `threshold` is no number of 0 to 1", path.display())));
        }
        let (precision, threshold, scorer) = (WeightPrecision::Float32, settings.threshold, Scorer::default());
        Ok(Predictor { model, settings, precision, threshold, tokenizer, scorer })
    }

    /// The probability, of those that are written, at and above which a note is positive; `None`: of more than two classes the most probable is
    /// predicted.
    pub fn written_threshold(&self) -> Option<f64> {
        self.threshold.or_else(|| self.settings.written_threshold())
    }

    /// Predictions of notes, in their order.
    pub fn predict(&mut self, notes: &[&str]) -> Result<Vec<Prediction>> {
        let max_length = self.settings.max_length.min(self.model.architecture.max_tokens());
        let encode = |note: &&str| {
            let mut encoding = self.tokenizer.encode(note)?;
            let cut = truncate(&mut encoding, max_length, self.settings.truncation);
            Ok((encoding.ids, !cut.is_empty()))
        };
        let encoded: Vec<(Vec<u32>, bool)> = notes.par_iter().map(encode).collect::<Result<_>>()?;
        let ids: Vec<&[u32]> = encoded.iter().map(|(ids, _)| &ids[..]).collect();
        let logits = self.scorer.logits(&self.model, &ids)?;
        let classes = self.model.classes.len();
        let mut probabilities = softmax(&logits, classes);
        let decide_at = |threshold: Option<f64>, probabilities: &[f64]| -> Vec<usize> {
            probabilities.chunks_exact(classes).map(|row| decide(row, threshold)).collect()
        };
        // A temperature says how sure an answer is, never which: decisions stay those that the run was tested with, unless a threshold was chosen.
        let as_tested = self.threshold.is_none().then(|| decide_at(self.settings.prevalence, &probabilities));
        if let Some(temperature) = self.settings.temperature {
            apply_temperature(&mut probabilities, classes, temperature);
        }
        let decided = as_tested.unwrap_or_else(|| decide_at(self.threshold, &probabilities));
        let rows = probabilities.chunks_exact(classes).zip(decided).zip(&encoded);
        Ok(rows
            .map(|((row, class), (_, truncated))| Prediction {
                class,
                probabilities: row.to_vec(),
                truncated: *truncated,
            })
            .collect())
    }

    /// The columns that predictions add to a table.
    fn columns(&self) -> Vec<NewColumn> {
        let probability = |class: &String| NewColumn::number(&probability_column(class));
        let mut columns = vec![NewColumn::text("predicted_label")];
        columns.extend(self.model.classes.iter().map(probability));
        columns
    }

    /// Reads records, writes them back with the predictions beside them, window by window, to what `open_writer` makes of
    /// their columns (not before it is known that these make notes); `progress` is told how many notes are done, and says
    /// whether to stop.
    pub fn stream(
        &mut self,
        records: Records,
        open_writer: impl FnOnce(&[String], &[NewColumn]) -> Result<TableWriter>,
        skip_bad_rows: bool,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<PredictSummary> {
        let mapper = NoteMapper::new(&self.settings.data, records.file(), records.columns(), false)?;
        let mut writer = open_writer(records.columns(), &self.columns())?;
        let mut summary = PredictSummary::default();
        let mut window: Vec<(Record, String)> = vec![];
        let mut bytes = 0;
        for record in records {
            let mapped = record.and_then(|record| {
                let note = mapper.map(&record)?;
                Ok((record, note.text))
            });
            match mapped {
                Ok((record, note)) => {
                    bytes += bytes_of(&record, &note);
                    window.push((record, note));
                }
                Err(RowError::Bad(row)) if skip_bad_rows => summary.bad_rows.add(row),
                Err(error) => return Err(error.into()),
            }
            if is_full(window.len(), bytes) {
                self.write_window(&mut window, &mut writer, &mut summary)?;
                bytes = 0;
                if progress(summary.notes) {
                    return Err(Error::Interrupted("stopped; no output file was left behind".to_string()));
                }
            }
        }
        self.write_window(&mut window, &mut writer, &mut summary)?;
        progress(summary.notes);
        writer.finish()?;
        Ok(summary)
    }

    fn write_window(
        &mut self,
        window: &mut Vec<(Record, String)>,
        writer: &mut TableWriter,
        summary: &mut PredictSummary,
    ) -> Result<()> {
        let texts: Vec<&str> = window.iter().map(|(_, text)| text.as_str()).collect();
        let mut predictions = self.predict(&texts)?;
        let rounds = self.precision.available() != WeightPrecision::Float32;
        if rounds && summary.rounding.is_none() && !texts.is_empty() {
            self.model.pack(self.precision);
            let rounded = self.predict(&texts)?;
            summary.rounding = Some(Rounding::between(&predictions, &rounded));
            predictions = rounded;
        }
        for ((record, _), prediction) in window.iter().zip(&predictions) {
            let mut values = vec![Value::Text(self.model.classes[prediction.class].clone())];
            values.extend(prediction.probabilities.iter().map(|probability| Value::Number(*probability)));
            writer.write_record(record, &values)?;
            summary.notes += 1;
            summary.truncated += u64::from(prediction.truncated);
        }
        window.clear();
        writer.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_full_of_records_or_of_bytes() {
        assert!(!is_full(WINDOW - 1, WINDOW_BYTES));
        assert!(is_full(WINDOW, 0));
        assert!(is_full(1, WINDOW_BYTES + 1));
        let place = size_of::<Option<String>>();
        let record = |fields| Record { line: 1, fields, json: vec![] };
        assert_eq!(bytes_of(&record(vec![Some("fever".into()), None]), "fever."), 2 * place + 11);
        // A thousand ordinary notes fill no window by their bytes.
        let note = "x".repeat(4000);
        assert!(!is_full(0, WINDOW * bytes_of(&record(vec![Some(note.clone()); 2]), &note)));
    }
}
