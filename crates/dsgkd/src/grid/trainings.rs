//! The trainings of a grid's cells: out of run folders, or out of a table that `--predictions` wrote of runs that are gone.

use super::file::{Arm, Column, Grid};
use super::predictions::{ARM, CONDITION, FOLD, GROUP, ID, LABEL, SECONDS, SEED, TRAINING_PREVALENCE};
use crate::config::Config;
use crate::data::{ReadOptions, Records};
use crate::error::{Error, Result};
use crate::eval::predictions::PROBABILITY;
use crate::eval::{Metrics, Predictions, TextColumns};
use crate::experiment::{TrainingRecord, unfinished_runs};
use crate::run::folder::{RunFolder, read_json};
use crate::runs::FinishedRuns;
use std::collections::HashMap;
use std::path::Path;

/// One training of one fold, and what it said of that fold's test notes.
#[derive(Debug, Clone)]
pub(super) struct Training {
    /// What it said.
    pub predictions: Predictions,
    /// Seconds it took; `None` where that is not known.
    pub seconds: Option<f64>,
    /// Measures of the validation notes; `None` out of a table, which has none.
    pub validation: Option<Metrics>,
    /// Its folder; `None` out of a table.
    pub folder: Option<RunFolder>,
}

/// Condition, arm, seed.
type Name = (String, String, u64);

/// What a table says of trainings.
#[derive(Debug, Default)]
pub struct Written {
    /// Fold by fold.
    trainings: HashMap<Name, Vec<Training>>,
}

impl Written {
    /// Reads a table that [`super::predictions::write`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such table; its message names the row within its training.
    pub fn read(path: &Path) -> Result<Written> {
        let records = Records::open(path, &ReadOptions::default())?;
        let columns = records.columns().to_vec();
        let place = |name: &str| columns.iter().position(|column| column == name);
        let needed = |name: &str| {
            let message = || {
                format!(
                    "{}: has no column \"{name}\"; --from reads what `dsgkd grid --predictions` wrote",
                    path.display()
                )
            };
            place(name).ok_or_else(|| Error::Data(message()))
        };
        let [condition, arm, seed, fold] = [needed(CONDITION)?, needed(ARM)?, needed(SEED)?, needed(FOLD)?];
        let (id, label, group) = (needed(ID)?, needed(LABEL)?, place(GROUP));
        let (seconds, prevalence) = (place(SECONDS), place(TRAINING_PREVALENCE));
        let classes: Vec<String> =
            columns.iter().filter_map(|column| Some(column.strip_prefix(PROBABILITY)?.to_string())).collect();
        let probabilities: Vec<usize> =
            (0..columns.len()).filter(|column| columns[*column].starts_with(PROBABILITY)).collect();

        // The rows of each training, in the order in which trainings begin.
        let mut order: Vec<[String; 4]> = vec![];
        let mut rows: HashMap<[String; 4], Vec<Vec<Option<String>>>> = HashMap::new();
        for record in records {
            let fields = record.map_err(Error::from)?.fields;
            let name = [condition, arm, seed, fold].map(|column| fields[column].clone().unwrap_or_default());
            let of_training = rows.entry(name.clone()).or_default();
            if of_training.is_empty() {
                order.push(name);
            }
            of_training.push(fields);
        }

        let mut trainings: HashMap<Name, Vec<Training>> = HashMap::new();
        for name in order {
            let rows = &rows[&name];
            let cells = |column: usize| -> Vec<String> {
                rows.iter().map(|row| row[column].clone().unwrap_or_default()).collect()
            };
            let number = |column: Option<usize>| rows[0][column?].as_deref()?.parse::<f64>().ok();
            let [condition, arm, seed, _] = name;
            let wrong = |error: Error| Error::Data(format!("{}: {arm}, seed {seed}: {error}", path.display()));
            let scores: Vec<Vec<String>> = probabilities.iter().map(|column| cells(*column)).collect();
            let scores: Vec<(&str, &[String])> = probabilities
                .iter()
                .zip(&scores)
                .map(|(column, cells)| (columns[*column].as_str(), &cells[..]))
                .collect();
            let groups = group.map(cells).filter(|groups| groups.iter().any(|group| !group.is_empty()));
            let predictions = Predictions::from_columns(&TextColumns {
                ids: Some((ID, &cells(id))),
                groups: groups.as_ref().map(|groups| (GROUP, &groups[..])),
                labels: (LABEL, &cells(label)),
                probabilities: &scores,
                classes: &classes,
                training_prevalence: number(prevalence),
            })
            .map_err(wrong)?;
            let seed = seed.parse::<f64>().map_err(|_| wrong(Error::Data("the seed is no number".to_string())))? as u64;
            let training = Training { predictions, seconds: number(seconds), validation: None, folder: None };
            trainings.entry((condition, arm, seed)).or_default().push(training);
        }
        Ok(Written { trainings })
    }

    /// Those of an arm's seed, where every fold is there.
    fn of(&self, column: &Column, arm: &Arm, config: &Config) -> Option<&Vec<Training>> {
        let found = self.trainings.get(&(column.name.clone(), arm.name.clone(), config.seed))?;
        (found.len() == config.data.split.folds.max(1)).then_some(found)
    }
}

/// Where the trainings of one seed are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// In run folders.
    Runs,
    /// In the table.
    Table,
}

/// Where those of every seed of a cell are; `None` where one is neither done nor written. A run that is done comes before the table.
pub(super) fn places(grid: &Grid, arm: &Arm, column: &Column, written: &Written) -> Result<Option<Vec<Place>>> {
    let mut places = vec![];
    for seed in &grid.seeds {
        let config = grid.experiment(arm, column, *seed)?;
        if unfinished_runs(&config)?.is_empty() {
            places.push(Place::Runs);
        } else if written.of(column, arm, &config).is_some() {
            places.push(Place::Table);
        } else {
            return Ok(None);
        }
    }
    Ok(Some(places))
}

/// The trainings of one seed, fold by fold.
///
/// # Errors
/// Runs that are not there, or not what dsgkd wrote.
pub(super) fn read(
    grid: &Grid,
    arm: &Arm,
    column: &Column,
    seed: u64,
    place: Place,
    written: &Written,
) -> Result<Vec<Training>> {
    if place == Place::Table {
        let config = grid.experiment(arm, column, seed)?;
        return Ok(written.of(column, arm, &config).cloned().unwrap_or_default());
    }
    let runs = FinishedRuns::read(&grid.folder(arm, column, seed))?;
    let trainings = runs.folders.into_iter().zip(runs.seeds.concat()).map(|(folder, predictions)| {
        let record: TrainingRecord = read_json(&folder.training()).unwrap_or_default();
        Training { predictions, seconds: record.seconds, validation: record.train.validation, folder: Some(folder) }
    });
    Ok(trainings.collect())
}
