//! Grids of runs (`dsgkd grid`): [`mod@file`] says what is run, [`results`] what it came to.

pub mod file;

use crate::error::Result;
use crate::eval::table::{NOT_APPLICABLE, number, p_text, range, signed};
use crate::eval::{BootstrapOptions, Interval, Metric, Predictions, compare};
use crate::runs::FinishedRuns;
use file::Grid;
use serde::Serialize;

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
    /// To the first arm; `None` for that one itself.
    pub difference: Option<CellDifference>,
}

/// Paired over notes and seeds.
#[derive(Debug, Clone, Serialize)]
pub struct CellDifference {
    /// Of the means over seeds.
    pub difference: Option<f64>,
    /// 95 % bootstrap interval of the difference with all seeds' rows together; notes are drawn with all their rows.
    pub interval: Option<Interval>,
    /// Two-sided.
    pub p_value: Option<f64>,
}

/// Reads all cells of a grid whose runs are done.
///
/// # Errors
/// A cell that is not done; runs on different notes.
pub fn results(grid: &Grid, options: BootstrapOptions) -> Result<Vec<Cell>> {
    let mut cells = vec![];
    for column in &grid.columns {
        let mut first: Option<(Vec<Predictions>, Option<f64>)> = None;
        for arm in &grid.arms {
            let (mut seeds, mut rows) = (vec![], vec![]);
            for seed in &grid.seeds {
                let runs = FinishedRuns::read(&grid.folder(arm, column, *seed))?;
                seeds.push(Predictions::pooled(&runs.predictions)?.evaluate()?.get(grid.metric));
                rows.extend(runs.predictions);
            }
            let (mean, standard_deviation) = spread(&seeds);
            let difference = match &first {
                None => None,
                Some((baseline, of_baseline)) => {
                    let compared = compare(baseline, &rows, options)?;
                    let found = compared.differences.into_iter().find(|found| found.metric == grid.metric);
                    found.map(|found| CellDifference {
                        difference: mean.zip(*of_baseline).map(|(mean, of_baseline)| mean - of_baseline),
                        interval: found.interval,
                        p_value: found.p_value,
                    })
                }
            };
            first.get_or_insert((rows, mean));
            let (column, arm) = (column.name.clone(), arm.name.clone());
            cells.push(Cell { column, arm, seeds, mean, standard_deviation, difference });
        }
    }
    Ok(cells)
}

fn spread(values: &[Option<f64>]) -> (Option<f64>, Option<f64>) {
    let Some(values) = values.iter().copied().collect::<Option<Vec<f64>>>() else { return (None, None) };
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (Some(mean), (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt()))
}

/// The cells as a Markdown table.
pub fn table(metric: Metric, cells: &[Cell]) -> String {
    let several = cells.iter().any(|cell| cell.column != cells[0].column);
    let mut out = String::new();
    if several {
        out += "| condition ";
    }
    out += &format!("| arm | {metric}, mean ± sd of seeds | difference to the first arm [95 %] | p |\n");
    out += if several { "|---|---|---|---|---|\n" } else { "|---|---|---|---|\n" };
    for cell in cells {
        if several {
            out += &format!("| {} ", cell.column);
        }
        let spread = cell.standard_deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.3}"));
        let (difference, p) = match &cell.difference {
            None => (NOT_APPLICABLE.to_string(), NOT_APPLICABLE.to_string()),
            Some(CellDifference { difference, interval, p_value }) => {
                (format!("{} {}", signed(*difference), range(interval, signed)), p_text(*p_value))
            }
        };
        out += &format!("| {} | {}{spread} | {difference} | {p} |\n", cell.arm, number(cell.mean));
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
}
