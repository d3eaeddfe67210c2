//! The trainings of a grid's cells: out of run folders, or out of a table that `--predictions` wrote of runs that are gone.

use super::file::{Arm, Column, Grid};
use super::predictions::{ARM, CONDITION, FOLD, GROUP, ID, LABEL, SECONDS, SEED, TRAINING_PREVALENCE};
use crate::config::{self, Config};
use crate::data::{ReadOptions, Record, Records, row_unit};
use crate::error::{Error, Result};
use crate::eval::predictions::PROBABILITY;
use crate::eval::{Metrics, Predictions};
use crate::experiment::{TrainingRecord, unfinished_runs};
use crate::run::folder::{RunFolder, read_json};
use crate::runs::{FinishedRuns, in_file};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// One training of one fold, and what it said of that fold's test notes.
#[derive(Debug, Clone)]
pub(super) struct Training {
    /// Which fold; `None` without folds.
    pub fold: Option<usize>,
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
    path: PathBuf,
    trainings: HashMap<Name, BTreeMap<Option<usize>, Training>>,
}

impl Written {
    /// Reads a table that [`super::predictions::write`] wrote, its rows in any order.
    ///
    /// # Errors
    /// A file that cannot be read, or is no such table, by line and column.
    pub fn read(path: &Path) -> Result<Written> {
        let records = Records::open(path, &ReadOptions::default())?;
        let columns = Columns::find(path, records.columns())?;
        let mut trainings: HashMap<Name, BTreeMap<Option<usize>, Training>> = HashMap::new();
        for record in records {
            let record = record.map_err(Error::from)?;
            columns.add(&record, &mut trainings).map_err(|(column, message)| {
                let name = &columns.names[column];
                let (file, unit, line) = (path.display(), row_unit(path), record.line);
                Error::Data(format!("{file}, {unit} {line}, column \"{name}\": {message}"))
            })?;
        }
        let each = trainings.values().flat_map(BTreeMap::values);
        each.map(|training| &training.predictions).try_for_each(Predictions::validate).map_err(in_file(path))?;
        Ok(Written { path: path.to_path_buf(), trainings })
    }

    /// Those of an arm's seed, fold by fold; `None`: the table has none.
    ///
    /// # Errors
    /// It has not all of its folds, or other classes than the experiment.
    fn of(&self, column: &Column, arm: &Arm, config: &Config) -> Result<Option<Vec<&Training>>> {
        let Some(found) = self.trainings.get(&(column.name.clone(), arm.name.clone(), config.seed)) else {
            return Ok(None);
        };
        let folds = config.data.split.folds;
        let wanted = if folds == 0 { vec![None] } else { (0..folds).map(Some).collect() };
        let refused = |why: String| {
            let (path, arm, seed) = (self.path.display(), &arm.name, config.seed);
            Err(Error::Data(format!("{path}: arm \"{arm}\", seed {seed}: {why}")))
        };
        if !found.keys().eq(&wanted) {
            let (has, wants) = (found.len(), wanted.len());
            return refused(format!("has {has} trainings where the grid's file has {wants} (folds by number, from 0)"));
        }
        let labels = &config.data.labels;
        if !labels.is_empty() && found.values().any(|training| training.predictions.classes != *labels) {
            return refused("its probability columns are not the classes of data.labels in their order".to_string());
        }
        Ok(Some(found.values().collect()))
    }
}

/// Where the columns of a table are.
struct Columns {
    names: Vec<String>,
    condition: usize,
    arm: usize,
    seed: usize,
    fold: usize,
    id: usize,
    label: usize,
    group: Option<usize>,
    seconds: Option<usize>,
    training_prevalence: Option<usize>,
    probabilities: Vec<usize>,
    /// In the order of their columns.
    classes: Vec<String>,
}

impl Columns {
    fn find(path: &Path, names: &[String]) -> Result<Columns> {
        let place = |name: &str| names.iter().position(|column| column == name);
        let needed = |name: &str| {
            place(name).ok_or_else(|| {
                let path = path.display();
                Error::Data(format!(
                    "{path}: has no column \"{name}\"; --from reads what `dsgkd grid --predictions` wrote"
                ))
            })
        };
        let of_class = |column: &usize| names[*column].strip_prefix(PROBABILITY).map(str::to_string);
        let probabilities: Vec<usize> = (0..names.len()).filter(|column| of_class(column).is_some()).collect();
        let columns = Columns {
            condition: needed(CONDITION)?,
            arm: needed(ARM)?,
            seed: needed(SEED)?,
            fold: needed(FOLD)?,
            id: needed(ID)?,
            label: needed(LABEL)?,
            group: place(GROUP),
            seconds: place(SECONDS),
            training_prevalence: place(TRAINING_PREVALENCE),
            classes: probabilities.iter().filter_map(of_class).collect(),
            probabilities,
            names: names.to_vec(),
        };
        if columns.classes.len() < 2 {
            return Err(Error::Data(format!("{}: needs a column {PROBABILITY}CLASS for each class", path.display())));
        }
        Ok(columns)
    }

    /// Adds a row to its training; what is wrong with which column, without the cell.
    fn add(
        &self,
        record: &Record,
        trainings: &mut HashMap<Name, BTreeMap<Option<usize>, Training>>,
    ) -> Result<(), (usize, &'static str)> {
        let cell = |column: usize| record.fields[column].as_deref().filter(|cell| !cell.is_empty());
        let text = |column: usize| cell(column).map(str::to_string).ok_or((column, "is empty"));
        let number = |column: Option<usize>| match column.and_then(|column| Some((column, cell(column)?))) {
            Some((column, cell)) => cell.parse::<f64>().map(Some).map_err(|_| (column, "is no number")),
            None => Ok(None),
        };
        // Parquet has its numbers as fractions.
        let whole = |column: usize| match number(Some(column))? {
            Some(value) if value >= 0.0 && value.fract() == 0.0 && value < 2f64.powi(53) => Ok(Some(value as u64)),
            Some(_) => Err((column, "is no whole number")),
            None => Ok(None),
        };
        let seed = whole(self.seed)?.ok_or((self.seed, "is empty"))?;
        let fold = whole(self.fold)?.map(|fold| fold as usize);
        let label = text(self.label)?;
        let label = self.classes.iter().position(|class| *class == label);
        let label =
            label.ok_or((self.label, "is none of the classes that the columns of probabilities are named after"))?;
        let (seconds, training_prevalence) = (number(self.seconds)?, number(self.training_prevalence)?);
        let of_seed = trainings.entry((text(self.condition)?, text(self.arm)?, seed)).or_default();
        let training = of_seed.entry(fold).or_insert_with(|| {
            let classes = self.classes.clone();
            let predictions = Predictions {
                ids: vec![],
                groups: vec![],
                labels: vec![],
                probabilities: vec![],
                classes,
                training_prevalence,
            };
            Training { fold, predictions, seconds, validation: None, folder: None }
        });
        for column in &self.probabilities {
            match number(Some(*column))? {
                Some(value) if (0.0..=1.0).contains(&value) => training.predictions.probabilities.push(value),
                _ => return Err((*column, "is no probability")),
            }
        }
        training.predictions.ids.push(text(self.id)?);
        training.predictions.labels.push(label);
        if let Some(column) =
            self.group.filter(|column| cell(*column).is_some() || !training.predictions.groups.is_empty())
        {
            // Notes before the first that has a group have none.
            training.predictions.groups.resize(training.predictions.ids.len() - 1, String::new());
            training.predictions.groups.push(cell(column).unwrap_or_default().to_string());
        }
        Ok(())
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

/// Where those of each seed of a cell are; `None` of a seed that is neither done nor written. A run that is done comes before the table.
///
/// # Errors
/// A table that has a part of them, or of other classes; runs of other settings, data or models than the grid's file names.
pub(super) fn places(grid: &Grid, arm: &Arm, column: &Column, written: &Written) -> Result<Vec<Option<Place>>> {
    let place = |seed: &u64| {
        let config = grid.experiment(arm, column, *seed)?;
        if unfinished_runs(&config)?.is_empty() {
            return Ok(Some(Place::Runs));
        }
        Ok(written.of(column, arm, &config)?.map(|_| Place::Table))
    };
    grid.seeds.iter().map(place).collect()
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
        let found = written.of(column, arm, &grid.experiment(arm, column, seed)?)?.unwrap_or_default();
        return Ok(found.into_iter().cloned().collect());
    }
    let runs = FinishedRuns::read(&grid.folder(arm, column, seed))?;
    let mut trainings = vec![];
    for (folder, predictions) in runs.folders.into_iter().zip(runs.seeds.concat()) {
        let split = config::load(Some(&folder.config()), &[])?.data.split;
        let record: TrainingRecord = read_json(&folder.training()).unwrap_or_default();
        trainings.push(Training {
            fold: (split.folds > 0).then_some(split.fold),
            predictions,
            seconds: record.seconds,
            validation: record.train.validation,
            folder: Some(folder),
        });
    }
    // Folders are in the order of their names, in which fold 10 comes before fold 2.
    trainings.sort_by_key(|training| training.fold);
    Ok(trainings)
}
