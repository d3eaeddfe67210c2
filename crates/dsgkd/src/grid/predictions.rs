//! What every arm said of every test note, as one table: for the statistics of other programs, and for those who review a table of results.

use super::Cell;
use super::file::{Arm, Column, Grid, Part};
use crate::config;
use crate::data::{NewColumn, TableWriter, Value};
use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::eval::predictions::probability_column;
use crate::runs::FinishedRuns;
use std::path::Path;

/// Whether the runs of a grid have predictions to write, before hours of training.
///
/// # Errors
/// [`Error::Config`] of a grid on validation notes, whose predictions runs do not keep.
pub fn check(grid: &Grid) -> Result<()> {
    match grid.on {
        Part::Test => Ok(()),
        Part::Validation => {
            let message = "--predictions: runs keep those of test notes alone, and this grid is `on = \"validation\"`";
            Err(Error::Config(message.to_string()))
        }
    }
}

/// Writes the test predictions of these cells to `path`, of the format its extension tells: a row for each note of each condition, arm, seed and
/// fold, with its id, its group where notes have one, its label and the probability of each class. No text of a note is in it; ids and groups are the
/// data files' own.
///
/// # Errors
/// As [`check`]; [`Error::Data`] where arms differ in their classes; whatever keeps the runs from being read or the table from being written.
pub fn write(grid: &Grid, cells: &[Cell], path: &Path) -> Result<()> {
    check(grid)?;
    let mut runs = vec![];
    for cell in cells {
        let column = grid.columns.iter().find(|column| column.name == cell.column);
        let arm = grid.arms.iter().find(|arm| arm.name == cell.arm);
        if let Some((column, arm)) = column.zip(arm) {
            read_cell(grid, column, arm, &mut runs)?;
        }
    }
    let Some((_, first)) = runs.first() else { return Ok(()) };
    let mut table = TableWriter::create(path, &[], &columns(&first.classes))?;
    for (names, predictions) in &runs {
        if predictions.classes != first.classes {
            return Err(Error::Data("--predictions: not all arms have the same classes in the same order".to_string()));
        }
        write_run(&mut table, names, predictions)?;
    }
    table.finish()
}

/// The runs of a cell, each with the cells that name it.
fn read_cell(grid: &Grid, column: &Column, arm: &Arm, runs: &mut Vec<([Value; 4], Predictions)>) -> Result<()> {
    for seed in &grid.seeds {
        let of_seed = FinishedRuns::read(&grid.folder(arm, column, *seed))?;
        for (folder, predictions) in of_seed.folders.iter().zip(of_seed.seeds.concat()) {
            let split = config::load(Some(&folder.config()), &[])?.data.split;
            let fold = if split.folds > 0 { Value::Number(split.fold as f64) } else { Value::Missing };
            let (column, arm) = (Value::Text(column.name.clone()), Value::Text(arm.name.clone()));
            runs.push(([column, arm, Value::Number(*seed as f64), fold], predictions));
        }
    }
    Ok(())
}

fn columns(classes: &[String]) -> Vec<NewColumn> {
    let run =
        [NewColumn::text("condition"), NewColumn::text("arm"), NewColumn::number("seed"), NewColumn::number("fold")];
    let note = ["id", "group", "label"].map(NewColumn::text);
    let probabilities = classes.iter().map(|class| NewColumn::number(&probability_column(class)));
    run.into_iter().chain(note).chain(probabilities).collect()
}

fn write_run(table: &mut TableWriter, names: &[Value; 4], predictions: &Predictions) -> Result<()> {
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
