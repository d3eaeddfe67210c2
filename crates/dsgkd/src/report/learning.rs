//! Learning curves.

use super::gather::Gathered;
use super::page::{figure, legend};
use super::plots::{Chart, Points, SERIES, Series};
use crate::error::Result;
use maud::{Markup, html};
use serde_json::Value as Json;

/// Points of a learning curve at most: single steps are too noisy to be read.
const LEARNING_POINTS: usize = 60;

/// `(step, value)` of the lines of a history that hold a number at `path`, means over as many neighbours each where there are many: a last
/// group of one step, whose batch is a rest too, would end every curve with a leap.
fn of_history(history: &[Json], path: &str) -> Vec<(f64, f64)> {
    let point = |line: &Json| Some((line["step"].as_f64()?, line.pointer(path)?.as_f64()?));
    let points: Vec<(f64, f64)> = history.iter().filter_map(point).collect();
    let mean = |group: &[(f64, f64)]| {
        let sum = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / group.len() as f64, sum.1 / group.len() as f64)
    };
    let groups = points.len().min(LEARNING_POINTS);
    let edge = |group: usize| group * points.len() / groups;
    (0..groups).map(|group| mean(&points[edge(group)..edge(group + 1)])).collect()
}

pub(super) fn learning(gathered: &Gathered) -> Result<Markup> {
    let shown = || gathered.arms.iter().take(SERIES).enumerate();
    let mut figures = vec![];
    for (path, name) in [
        ("/total", "training loss"),
        ("/hidden", "hidden-state loss"),
        ("/attention", "attention loss"),
        ("/prediction", "cross-entropy"),
        ("/validation/log_loss", "validation log loss"),
        ("/validation/auroc", "validation AUROC"),
    ] {
        let series: Vec<Series> = shown()
            .flat_map(|(index, arm)| {
                // Where the teachers were heard before the labels, they were heard then alone.
                let heard: &[Vec<Json>] = if matches!(path, "/hidden" | "/attention") { &arm.teachings } else { &[] };
                let runs = arm.histories.iter().chain(heard).map(move |history| of_history(history, path));
                runs.map(move |points| Series { color: Some(index), points: Points::Line(points) })
            })
            .filter(
                |series| matches!(&series.points, Points::Line(points) if points.iter().any(|point| point.1 != 0.0)),
            )
            .collect();
        let points = || {
            series.iter().flat_map(|series| match &series.points {
                Points::Line(points) => &points[..],
                Points::Dots(_) => &[],
            })
        };
        let last = points().map(|point| point.0).fold(0.0, f64::max);
        let (low, high) =
            points().fold((f64::MAX, f64::MIN), |(low, high), point| (low.min(point.1), high.max(point.1)));
        if last > 0.0 && last.is_finite() && (high - low).is_finite() {
            let room = ((high - low) * 0.05).max(1e-3);
            let range = (0.0..last, low - room..high + room);
            figures.push(figure(&Chart { description: name, x: "step", y: name, range, series }, name)?);
        }
    }
    Ok(html! {
        @if !figures.is_empty() {
            section { h2 { "Learning" } p { "One line a run; of many steps, means over neighbours." } (legend(&gathered.arms)) div.charts { @for figure in &figures { (figure) } } }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learning_curve_has_groups_of_about_one_size() {
        let history: Vec<Json> = (1..=121).map(|step| serde_json::json!({"step": step, "total": 1.0})).collect();
        let points = of_history(&history, "/total");
        assert_eq!(points.len(), LEARNING_POINTS);
        assert_eq!(points.last(), Some(&(120.0, 1.0)), "the mean of the steps 119 to 121");
        assert_eq!(of_history(&history[..2], "/total"), [(1.0, 1.0), (2.0, 1.0)]);
        assert_eq!(of_history(&history, "/hidden"), []);
    }
}
