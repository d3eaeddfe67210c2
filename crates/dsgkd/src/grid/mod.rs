//! Grids of runs (`dsgkd grid`): [`mod@file`] says what is run, [`results`] what it came to, [`mod@chart`] draws it, [`mod@predictions`] writes what
//! it is made of (and [`Written`] is that, read back), [`mod@rivals`] a file to begin with.

pub mod chart;
pub mod file;
pub mod predictions;
pub mod rivals;
mod trainings;

use crate::error::{Error, Result};
use crate::eval::resampled::{Resampled, corrected_resampled_t};
use crate::eval::table::{NOT_APPLICABLE, number, p_text, range, signed};
use crate::eval::{BootstrapOptions, Interval, Predictions, compare, measure};
use crate::run::folder::RunFolder;
use crate::runs::check_pairs;
use file::{Arm, Column, Grid, Part};
use serde::Serialize;
use std::collections::BTreeSet;
use trainings::Place;
pub use trainings::Written;

/// One arm under one condition, over all seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The condition.
    pub column: String,
    /// The arm.
    pub arm: String,
    /// The metric of each seed, its folds pooled; `None` where undefined.
    pub seeds: Vec<Option<f64>>,
    /// Their mean.
    pub mean: Option<f64>,
    /// Their standard deviation; `None` of a single seed.
    pub standard_deviation: Option<f64>,
    /// Seconds that a training took, the mean over folds and seeds; `None` where one was cut off and resumed.
    pub seconds: Option<f64>,
    /// To the arm that the others are held against; `None` for that one itself.
    pub difference: Option<CellDifference>,
    /// Of each seed, whether it is read out of a table of predictions and not out of runs.
    pub written: Vec<bool>,
}

/// Paired over notes and seeds.
#[derive(Debug, Clone, Serialize)]
pub struct CellDifference {
    /// Of the means over seeds.
    pub difference: Option<f64>,
    /// Its 95 % bootstrap interval; a note is drawn with its rows in all seeds.
    pub interval: Option<Interval>,
    /// Two-sided.
    pub p_value: Option<f64>,
    /// Over folds and seeds: what other training notes would have given. `None` without folds.
    pub resampled: Option<Resampled>,
}

/// Reads all cells of a grid whose runs are done, each held against the arm of that number; with `finished_only` those that are done or `written`, of the
/// conditions under which that arm is.
///
/// # Errors
/// A cell that is not done, or of another experiment than the grid file says now; runs on different notes.
pub fn results(
    grid: &Grid,
    against: usize,
    options: BootstrapOptions,
    finished_only: bool,
    written: &Written,
) -> Result<Vec<Cell>> {
    let places = |arm: &Arm, column: &Column| -> Result<Option<Vec<Place>>> {
        match finished_only {
            true => Ok(trainings::places(grid, arm, column, written)?.into_iter().collect()),
            false => Ok(Some(vec![Place::Runs; grid.seeds.len()])),
        }
    };
    let mut cells = vec![];
    for column in &grid.columns {
        let Some(of_baseline) = places(&grid.arms[against], column)? else { continue };
        let baseline = Runs::read(grid, &grid.arms[against], column, &of_baseline, written)?;
        for (number, arm) in grid.arms.iter().enumerate() {
            if number == against {
                cells.push(cell(arm, column, &baseline, &of_baseline, None));
            } else if let Some(places) = places(arm, column)? {
                let runs = Runs::read(grid, arm, column, &places, written)?;
                let difference = difference(grid, &baseline, &runs, options).map_err(|error| match error {
                    Error::Data(message) => Error::Data(format!("arm \"{}\": {message}", arm.name)),
                    other => other,
                })?;
                cells.push(cell(arm, column, &runs, &places, Some(difference)));
            }
        }
    }
    Ok(cells)
}

/// Seeds of a cell that are done or written.
///
/// # Errors
/// As [`results`].
pub fn done_seeds(grid: &Grid, arm: &Arm, column: &Column, written: &Written) -> Result<usize> {
    Ok(trainings::places(grid, arm, column, written)?.iter().flatten().count())
}

fn cell(arm: &Arm, column: &Column, runs: &Runs, places: &[Place], difference: Option<CellDifference>) -> Cell {
    let (mean, standard_deviation) = spread(&runs.seeds);
    let (seconds, _) = spread(&runs.seconds);
    let (column, arm, seeds) = (column.name.clone(), arm.name.clone(), runs.seeds.clone());
    let written = places.iter().map(|place| *place == Place::Table).collect();
    Cell { column, arm, seeds, mean, standard_deviation, seconds, difference, written }
}

/// The runs of one cell.
struct Runs {
    /// Their folders, seed by seed and fold by fold; of those out of a table none.
    folders: Vec<RunFolder>,
    /// Test predictions, seed by seed and fold by fold; empty where the metric is of validation notes.
    rows: Vec<Vec<Predictions>>,
    /// The metric, seed by seed: of all folds' test notes together, or the mean over the folds' validation notes.
    seeds: Vec<Option<f64>>,
    /// The metric, seed by seed and fold by fold.
    folds: Vec<Vec<Option<f64>>>,
    /// Of every training.
    seconds: Vec<Option<f64>>,
}

impl Runs {
    fn read(grid: &Grid, arm: &Arm, column: &Column, places: &[Place], written: &Written) -> Result<Runs> {
        let mut runs = Runs { folders: vec![], rows: vec![], seeds: vec![], folds: vec![], seconds: vec![] };
        for (seed, place) in grid.seeds.iter().zip(places) {
            let of_seed = trainings::read(grid, arm, column, *seed, *place, written)?;
            runs.seconds.extend(of_seed.iter().map(|training| training.seconds));
            runs.folders.extend(of_seed.iter().filter_map(|training| training.folder.clone()));
            match grid.on {
                Part::Test => {
                    let folds: Vec<Predictions> = of_seed.into_iter().map(|training| training.predictions).collect();
                    let of = |runs: &[Predictions]| Ok(measure(&[runs.to_vec()])?.get(grid.metric));
                    runs.folds.push(folds.iter().map(|fold| of(std::slice::from_ref(fold))).collect::<Result<_>>()?);
                    runs.seeds.push(of(&folds)?);
                    runs.rows.push(folds);
                }
                Part::Validation => {
                    let folds: Vec<Option<f64>> =
                        of_seed.iter().map(|training| training.validation.as_ref()?.get(grid.metric)).collect();
                    runs.seeds.push(spread(&folds).0);
                    runs.folds.push(folds);
                }
            }
        }
        Ok(runs)
    }
}

/// Of a cell to another of its condition.
fn difference(grid: &Grid, baseline: &Runs, runs: &Runs, options: BootstrapOptions) -> Result<CellDifference> {
    // A difference of two folds is one of the same notes.
    let same_folds = notes_of(&baseline.rows) == notes_of(&runs.rows);
    let resampled = same_folds.then(|| over_folds(&baseline.folds, &runs.folds, grid.resplit)).flatten();
    if grid.on == Part::Validation {
        let difference = spread(&runs.seeds).0.zip(spread(&baseline.seeds).0).map(|(mean, baseline)| mean - baseline);
        return Ok(CellDifference { difference, interval: None, p_value: None, resampled });
    }
    // A table does not say which files its notes are of; that their ids and labels are the same `compare` sees.
    check_pairs((&baseline.folders, &baseline.rows), (&runs.folders, &runs.rows))?;
    let comparison = compare(&baseline.rows, &runs.rows, options)?;
    let found = comparison.of(grid.metric);
    Ok(CellDifference {
        difference: found.and_then(|found| found.difference),
        interval: found.and_then(|found| found.interval),
        p_value: found.and_then(|found| found.p_value),
        resampled,
    })
}

/// The ids of the notes that each fold of each seed is tested on.
fn notes_of(rows: &[Vec<Predictions>]) -> Vec<BTreeSet<&str>> {
    rows.iter().flatten().map(|fold| fold.ids.iter().map(String::as_str).collect()).collect()
}

/// The paired differences of the folds. Where each seed splits anew, each counts; where all seeds share the folds, a fold counts once, as
/// the mean of its seeds.
fn over_folds(baseline: &[Vec<Option<f64>>], candidate: &[Vec<Option<f64>>], resplit: bool) -> Option<Resampled> {
    let folds = baseline.first()?.len();
    if folds < 2 || baseline.iter().chain(candidate).any(|of_seed| of_seed.len() != folds) {
        return None;
    }
    let pairs = baseline.iter().zip(candidate).map(|(baseline, candidate)| {
        baseline.iter().zip(candidate).map(|(baseline, candidate)| Some((*candidate)? - (*baseline)?)).collect()
    });
    let differences: Vec<Vec<f64>> = pairs.collect::<Option<_>>()?;
    let values = if resplit {
        differences.concat()
    } else {
        let mean =
            |fold: usize| differences.iter().map(|of_seed| of_seed[fold]).sum::<f64>() / differences.len() as f64;
        (0..folds).map(mean).collect()
    };
    corrected_resampled_t(&values, 1.0 / (folds - 1) as f64)
}

fn spread(values: &[Option<f64>]) -> (Option<f64>, Option<f64>) {
    let Some(values) = values.iter().copied().collect::<Option<Vec<f64>>>() else { return (None, None) };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt()))
}

/// The cells as a Markdown table; `against` as for [`results`].
pub fn table(grid: &Grid, against: usize, cells: &[Cell]) -> String {
    let (metric, several) = (grid.metric, grid.columns.len() > 1);
    let baseline = if against == 0 { "the first arm" } else { &grid.arms[against].name };
    let of = if grid.on == Part::Validation { " of validation notes" } else { "" };
    let mut out = String::new();
    if several {
        out += "| condition ";
    }
    out += &format!(
        "| arm | {metric}{of}, mean ± sd of seeds | difference to {baseline} [95 %, other notes] | p | [95 %, other folds] | p | seconds a training |\n"
    );
    out += &"|---".repeat(if several { 8 } else { 7 });
    out += "|\n";
    for cell in cells {
        if several {
            out += &format!("| {} ", cell.column);
        }
        let spread = cell.standard_deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.3}"));
        let nothing = NOT_APPLICABLE.to_string();
        let (difference, p) =
            cell.difference.as_ref().map_or((nothing.clone(), nothing.clone()), |found| match grid.on {
                Part::Test => {
                    (format!("{} {}", signed(found.difference), range(&found.interval, signed)), p_text(found.p_value))
                }
                Part::Validation => (signed(found.difference), nothing.clone()),
            });
        let resampled = cell.difference.as_ref().and_then(|found| found.resampled);
        let (over_folds, p_of_folds) = resampled.map_or((nothing.clone(), nothing), |found| {
            (range(&Some(found.interval), signed), p_text(Some(found.p_value)))
        });
        out += &format!(
            "| {} | {}{spread} | {difference} | {p} | {over_folds} | {p_of_folds} | {} |\n",
            cell.arm,
            number(cell.mean),
            cell.seconds.map_or(NOT_APPLICABLE.to_string(), |seconds| format!("{seconds:.0}"))
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undefined_seed_leaves_the_mean_undefined() {
        assert_eq!(spread(&[Some(1.0), None]), (None, None));
        assert_eq!(spread(&[Some(1.0)]), (Some(1.0), None));
        assert_eq!(spread(&[Some(1.0), Some(3.0)]), (Some(2.0), Some(2f64.sqrt())));
    }

    #[test]
    fn folds_that_seeds_share_count_once() {
        let baseline = vec![vec![Some(0.5), Some(0.6)], vec![Some(0.5), Some(0.7)]];
        let candidate = vec![vec![Some(0.6), Some(0.6)], vec![Some(0.7), Some(0.8)]];
        let shared = over_folds(&baseline, &candidate, false).map(|found| found.mean);
        assert!(shared.is_some_and(|mean| (mean - 0.1).abs() < 1e-12));
        let p_value = |found: Option<Resampled>| found.map(|found| (found.p_value * 1e9).round());
        let shared = over_folds(&baseline, &candidate, false);
        assert_eq!(p_value(shared), p_value(corrected_resampled_t(&[0.15, 0.05], 1.0)));
        let anew = over_folds(&baseline, &candidate, true);
        assert_eq!(p_value(anew), p_value(corrected_resampled_t(&[0.1, 0.0, 0.2, 0.1], 1.0)));
        let undefined = vec![vec![Some(0.6), None], vec![Some(0.7), Some(0.8)]];
        assert_eq!(over_folds(&baseline, &undefined, true), None);
        assert_eq!(over_folds(&[vec![Some(0.5)]], &[vec![Some(0.6)]], true), None);
    }
}
