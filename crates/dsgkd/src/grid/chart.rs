//! A grid's conditions as a curve (`dsgkd grid --chart`).

use super::Cell;
use super::file::Grid;
use crate::error::{Error, Result};
use crate::report::plots::{Chart, Points, SERIES, Series, draw_alone};

/// Whether a grid can be drawn, before hours of training.
///
/// # Errors
/// [`Error::Config`] for a grid of one condition.
pub fn check(grid: &Grid) -> Result<()> {
    match grid.columns.len() {
        0 | 1 => Err(Error::Config("--chart: a curve needs two conditions ([[columns]]) or more".to_string())),
        _ => Ok(()),
    }
}

/// The mean over seeds of each arm under each condition, with one standard deviation up and down, as an SVG file of its own: the first four
/// arms, the conditions in the order of the file.
///
/// # Errors
/// As [`check`]; [`Error::Data`] without a value.
pub fn chart(grid: &Grid, cells: &[Cell]) -> Result<String> {
    check(grid)?;
    let arms = grid.arms.iter().take(SERIES);
    let dots_of = |arm: &str| -> Vec<(f64, f64, f64, f64)> {
        let dot = |(at, column): (usize, &super::file::Column)| {
            let cell = cells.iter().find(|cell| cell.arm == arm && cell.column == column.name)?;
            let (mean, deviation) = (cell.mean?, cell.standard_deviation.unwrap_or(0.0));
            Some((at as f64, mean, mean - deviation, mean + deviation))
        };
        grid.columns.iter().enumerate().filter_map(dot).collect()
    };
    let dots: Vec<Vec<_>> = arms.clone().map(|arm| dots_of(&arm.name)).collect();
    let low = dots.iter().flatten().map(|dot| dot.2).fold(f64::INFINITY, f64::min);
    let high = dots.iter().flatten().map(|dot| dot.3).fold(f64::NEG_INFINITY, f64::max);
    if low > high {
        return Err(Error::Data("--chart: no cell has a value".to_string()));
    }
    let margin = 0.05 * (high - low).max(0.01);
    let series = dots.into_iter().enumerate().flat_map(|(index, dots)| {
        let line = dots.iter().map(|dot| (dot.0, dot.1)).collect();
        [Points::Line(line), Points::Dots(dots)].map(|points| Series { color: Some(index), points })
    });
    let metric = grid.metric.to_string();
    let chart = Chart {
        description: &format!("{metric} of each arm under each condition"),
        x: "",
        y: &format!("{metric}, mean and standard deviation of seeds"),
        range: (-0.3..grid.columns.len() as f64 - 0.7, low - margin..high + margin),
        series: series.collect(),
    };
    let ticks: Vec<String> = grid.columns.iter().map(|column| column.name.clone()).collect();
    let names: Vec<String> = arms.map(|arm| arm.name.clone()).collect();
    draw_alone(&chart, &ticks, &names)
}
