//! What every arm said of every test note, as one table: for the statistics of other programs, and for those who review a table of results.

use super::Cell;
use super::file::{Grid, Part};
use super::trainings::{Place, Written, read};
use crate::data::{NewColumn, TableWriter, Value};
use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::eval::predictions::probability_column;
use std::path::Path;

/// Whether the runs of a grid have predictions to write, before hours of training.
///
/// # Errors
/// [`Error::Config`] of a grid on validation notes, whose predictions runs do not keep.
pub fn check(grid: &Grid) -> Result<()> {
    match grid.on {
        Part::Test => Ok(()),
        Part::Validation => {
            let message =
                "--predictions and --from: runs keep those of test notes alone, and this grid is `on = \"validation\"`";
            Err(Error::Config(message.to_string()))
        }
    }
}

pub(super) const CONDITION: &str = "condition";
pub(super) const ARM: &str = "arm";
pub(super) const SEED: &str = "seed";
pub(super) const FOLD: &str = "fold";
pub(super) const TRAINING_PREVALENCE: &str = "training_prevalence";
pub(super) const SECONDS: &str = "seconds";
pub(super) const ID: &str = "id";
pub(super) const GROUP: &str = "group";
pub(super) const LABEL: &str = "label";

/// Writes the test predictions of these cells to `path`, of the format its extension tells: a row for each note of each condition, arm, seed and
/// fold, with its id, its group where notes have one, its label and the probability of each class; beside them what is one for a training, the share of
/// positives it learned from (of two classes) and the seconds it took. No text of a note is in it; ids and groups are the data files' own.
///
/// # Errors
/// As [`check`]; [`Error::Data`] where arms differ in their classes; whatever keeps the runs from being read or the table from being written.
pub fn write(grid: &Grid, cells: &[Cell], written: &Written, path: &Path) -> Result<()> {
    check(grid)?;
    let mut table: Option<(TableWriter, Vec<String>)> = None;
    for cell in cells {
        let column = grid.columns.iter().find(|column| column.name == cell.column);
        let arm = grid.arms.iter().find(|arm| arm.name == cell.arm);
        let Some((column, arm)) = column.zip(arm) else { continue };
        for (seed, of_table) in grid.seeds.iter().zip(&cell.written) {
            let place = if *of_table { Place::Table } else { Place::Runs };
            for training in read(grid, arm, column, *seed, place, written)? {
                let classes = &training.predictions.classes;
                if table.is_none() {
                    table = Some((TableWriter::create(path, &[], &columns(classes))?, classes.clone()));
                }
                let Some((table, of_table)) = &mut table else { continue };
                if of_table != classes {
                    let message = "--predictions: not all arms have the same classes in the same order";
                    return Err(Error::Data(message.to_string()));
                }
                let number = |value: Option<f64>| value.map_or(Value::Missing, Value::Number);
                let names = [
                    Value::Text(column.name.clone()),
                    Value::Text(arm.name.clone()),
                    Value::Number(*seed as f64),
                    number(training.fold.map(|fold| fold as f64)),
                    number(training.predictions.training_prevalence),
                    number(training.seconds),
                ];
                write_rows(table, &names, &training.predictions)?;
            }
        }
    }
    table.map_or(Ok(()), |(table, _)| table.finish())
}

fn columns(classes: &[String]) -> Vec<NewColumn> {
    let training = [CONDITION, ARM].map(NewColumn::text).into_iter();
    let numbers = [SEED, FOLD, TRAINING_PREVALENCE, SECONDS].map(NewColumn::number);
    let note = [ID, GROUP, LABEL].map(NewColumn::text);
    let probabilities = classes.iter().map(|class| NewColumn::number(&probability_column(class)));
    training.chain(numbers).chain(note).chain(probabilities).collect()
}

fn write_rows(table: &mut TableWriter, names: &[Value], predictions: &Predictions) -> Result<()> {
    for (note, probabilities) in predictions.probabilities.chunks(predictions.classes.len()).enumerate() {
        let group = predictions.groups.get(note).filter(|group| !group.is_empty());
        let mut cells = names.to_vec();
        cells.extend([
            Value::Text(predictions.ids[note].clone()),
            group.map_or(Value::Missing, |group| Value::Text(group.clone())),
            Value::Text(predictions.classes[predictions.labels[note]].clone()),
        ]);
        cells.extend(probabilities.iter().copied().map(Value::Number));
        table.write_row(&[], &cells)?;
    }
    Ok(())
}
