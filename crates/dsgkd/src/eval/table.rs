//! The same numbers for people (aligned plain text) and for programs (JSON).
//!
//! Rows are metrics in the order of [`Metric::ALL`], columns are runs in the order given. No colour, no trailing spaces.

use super::bootstrap::{Estimate, Interval, Intervals};
use super::compare::Comparison;
use super::metrics::{Metric, Metrics};
use super::subsamples::Subsamples;
use crate::error::{Error, Result};
use serde::Serialize;

/// What stands for a value that the notes cannot give.
pub const UNDEFINED: &str = "undefined";

/// What stands for a metric that is not reported for this number of classes.
pub const NOT_APPLICABLE: &str = "-";

/// Metrics of one run or several side by side: `(name, metrics)` a column.
pub fn metrics_table(columns: &[(&str, &Metrics)]) -> String {
    let mut rows = vec![header("metric", columns.iter().map(|(name, _)| *name))];
    rows.push(header("notes", columns.iter().map(|(_, metrics)| metrics.notes)));
    let classes = columns.iter().map(|(_, metrics)| metrics.classes);
    for metric in metrics_of(classes) {
        let cells = columns.iter().map(|(_, metrics)| {
            let applies = Metric::of_classes(metrics.classes).any(|other| other == metric);
            if applies { number(metrics.get(metric)) } else { NOT_APPLICABLE.into() }
        });
        rows.push(header(metric, cells));
    }
    render(&rows)
}

/// Metrics with their 95 % intervals, `0.812 [0.771, 0.850]`, of one run or several side by side.
pub fn intervals_table(columns: &[(&str, &Intervals)]) -> String {
    let mut rows = vec![header("metric", columns.iter().map(|(name, _)| *name))];
    rows.push(header("notes", columns.iter().map(|(_, intervals)| intervals.notes)));
    if columns.iter().any(|(_, intervals)| intervals.rows != intervals.notes) {
        rows.push(header("rows", columns.iter().map(|(_, intervals)| intervals.rows)));
    }
    if columns.iter().any(|(_, intervals)| intervals.seeds > 1) {
        rows.push(header("seeds", columns.iter().map(|(_, intervals)| intervals.seeds)));
    }
    for metric in metrics_of(columns.iter().map(|(_, intervals)| intervals.classes)) {
        let cells = columns.iter().map(|(_, intervals)| match intervals.of(metric) {
            Some(Estimate { value: Some(value), interval, .. }) => {
                format!("{} {}", number(Some(*value)), range(interval, number))
            }
            Some(_) => UNDEFINED.into(),
            None => NOT_APPLICABLE.into(),
        });
        rows.push(header(metric, cells));
    }
    let mut text = render(&rows);
    for (name, intervals) in columns {
        let (samples, seed) = (intervals.samples, intervals.seed);
        let of = drawn_by_group(intervals.units, intervals.notes);
        let means = means_of(intervals.seeds, intervals.trainings);
        text.push_str(&format!("{name}: {means}95 % intervals of {samples} bootstrap samples{of}, seed {seed}\n"));
        for estimate in &intervals.estimates {
            push_undefined(&mut text, name, estimate.metric, estimate.undefined_samples, samples);
        }
    }
    text
}

/// The original's ten subsamples as `mean ± sd`, of one run or several side by side.
pub fn subsamples_table(columns: &[(&str, &Subsamples)]) -> String {
    let mut rows = vec![header("metric", columns.iter().map(|(name, _)| *name))];
    rows.push(header("notes", columns.iter().map(|(_, subsamples)| subsamples.notes)));
    for metric in metrics_of(columns.iter().map(|(_, subsamples)| subsamples.classes)) {
        let cells = columns.iter().map(|(_, subsamples)| {
            let Some(spread) = subsamples.spreads.iter().find(|spread| spread.metric == metric) else {
                return NOT_APPLICABLE.into();
            };
            match spread.mean {
                Some(mean) => format!("{} ± {}", number(Some(mean)), number(spread.standard_deviation)),
                None => UNDEFINED.into(),
            }
        });
        rows.push(header(metric, cells));
    }
    let mut text = render(&rows);
    for (name, subsamples) in columns {
        let Subsamples { samples, seed, notes_per_sample, .. } = subsamples;
        text.push_str(&format!("{name}: {samples} subsamples of {notes_per_sample} notes, seed {seed}\n"));
        for spread in &subsamples.spreads {
            push_undefined(&mut text, name, spread.metric, spread.undefined_samples, *samples);
        }
    }
    text
}

/// Two arms by name, their difference with its 95 % interval, and the p-value.
pub fn comparison_table(baseline: &str, candidate: &str, comparison: &Comparison) -> String {
    let mut rows = vec![header("metric", [baseline, candidate, "difference", "p"])];
    for difference in &comparison.differences {
        let change = match difference.difference {
            Some(change) => format!("{} {}", signed(Some(change)), range(&difference.interval, signed)),
            None => UNDEFINED.into(),
        };
        let cells = [number(difference.baseline), number(difference.candidate), change, p_text(difference.p_value)];
        rows.push(header(difference.metric, cells));
    }
    let mut text = render(&rows);
    let Comparison { notes, samples, seed, baseline_rows, candidate_rows, .. } = comparison;
    let of = drawn_by_group(comparison.units, *notes);
    let means = means_of_both(comparison);
    text.push_str(&format!(
        "difference: {candidate} minus {baseline}, {means}paired on {notes} notes ({baseline_rows} and {candidate_rows} rows); 95 % \
         intervals and two-sided p of {samples} bootstrap samples{of}, seed {seed}; p is not corrected for several metrics\n"
    ));
    if let Some(test) = comparison.delong {
        let interval = range(&Some(Interval { low: test.low, high: test.high }), signed);
        let (difference, p) = (signed(Some(test.difference)), p_text(Some(test.p_value)));
        text.push_str(&format!("DeLong's test of the auroc: {difference} {interval}, p {p}\n"));
    }
    for difference in &comparison.differences {
        push_undefined(&mut text, "difference", difference.metric, difference.undefined_samples, *samples);
    }
    text
}

/// Indented JSON of any result of this module; undefined is `null`.
///
/// # Errors
/// [`Error::Data`] when the value cannot be written, which no type of this module causes.
pub fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string_pretty(value)
        .map_err(|error| Error::Data(format!("cannot write the result as JSON: {error}")))
}

/// The metrics that apply to any of the columns.
fn metrics_of(classes: impl Iterator<Item = usize>) -> Vec<Metric> {
    let applicable: Vec<Metric> = classes.flat_map(Metric::of_classes).collect();
    Metric::ALL.iter().copied().filter(|metric| applicable.contains(metric)).collect()
}

fn header<T: ToString>(first: impl ToString, others: impl IntoIterator<Item = T>) -> Vec<String> {
    std::iter::once(first.to_string()).chain(others.into_iter().map(|cell| cell.to_string())).collect()
}

/// Three digits, or what stands for no value.
pub(crate) fn number(value: Option<f64>) -> String {
    value.map_or_else(|| UNDEFINED.into(), |value| format!("{value:.3}"))
}

/// [`number`] with its sign.
pub(crate) fn signed(value: Option<f64>) -> String {
    match value.map(|value| format!("{value:+.3}")) {
        // A difference that rounds to nothing has no direction.
        Some(text) if text == "-0.000" || text == "+0.000" => "0.000".into(),
        Some(text) => text,
        None => UNDEFINED.into(),
    }
}

/// An interval in brackets, its ends as `text` writes them.
pub(crate) fn range(interval: &Option<Interval>, text: fn(Option<f64>) -> String) -> String {
    match interval {
        Some(interval) => format!("[{}, {}]", text(Some(interval.low)), text(Some(interval.high))),
        None => format!("[{UNDEFINED}]"),
    }
}

/// A p-value.
pub(crate) fn p_text(p_value: Option<f64>) -> String {
    match p_value {
        Some(p_value) if p_value < 0.001 => "<0.001".into(),
        other => number(other),
    }
}

/// Says what is drawn, where it is not the note.
pub(crate) fn drawn_by_group(units: usize, notes: usize) -> String {
    // Zero units: written before groups were.
    if units == notes || units == 0 { String::new() } else { format!(" of {units} groups") }
}

/// Says that values are means, where there are several seeds, and what is ranked, where these have several folds.
pub(crate) fn means_of(seeds: usize, trainings: usize) -> String {
    let means = if seeds > 1 { "means over seeds; " } else { "" };
    let folds = if trainings > seeds { "notes ranked within their fold; " } else { "" };
    format!("{means}{folds}")
}

/// [`means_of`] of the arm that has more.
pub(crate) fn means_of_both(comparison: &Comparison) -> String {
    let Comparison { baseline_seeds, candidate_seeds, baseline_trainings, candidate_trainings, .. } = comparison;
    means_of(*baseline_seeds.max(candidate_seeds), *baseline_trainings.max(candidate_trainings))
}

fn push_undefined(text: &mut String, name: &str, metric: Metric, undefined: usize, samples: usize) {
    if undefined > 0 {
        text.push_str(&format!(
            "{name}: {metric} is undefined in {undefined} of {samples} samples, which are left out\n"
        ));
    }
}

/// What intervals are not of, a sentence with a space before it; nothing where they are of all samples.
pub(crate) fn left_out<'a>(all: impl IntoIterator<Item = &'a Intervals>) -> String {
    let estimates =
        |intervals: &'a Intervals| intervals.estimates.iter().filter(|estimate| estimate.interval.is_some());
    let undefined = all
        .into_iter()
        .flat_map(|intervals| estimates(intervals).map(|found| (found.undefined_samples, intervals.samples)));
    match undefined.max() {
        Some((most, samples)) if most > 0 => {
            format!(" Samples in which a measure is undefined are left out of its interval: up to {most} of {samples}.")
        }
        _ => String::new(),
    }
}

/// Columns aligned to the left, two spaces apart.
fn render(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| width(cell));
    let widths: Vec<usize> =
        (0..columns).map(|column| rows.iter().map(|row| cell_width(row, column)).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, &column_width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', column_width - width(cell) + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Columns of a terminal: Hangul, kana, Han and full-width letters take two. Names of runs are in the user's language.
fn width(text: &str) -> usize {
    let wide = |character: char| {
        matches!(u32::from(character), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF
            | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6 | 0x20000..=0x3FFFD)
    };
    text.chars().map(|character| if wide(character) { 2 } else { 1 }).sum()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
