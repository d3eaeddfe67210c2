//! The page itself, section by section. Whatever stands in it is escaped.

use super::experiment_file::experiment;
use super::gather::{Arm, Binary, Gathered, Reliability};
use super::learning::learning;
use super::made_from::what_was_run;
use super::plots::{Chart, Points, SERIES, Series, draw};
use super::subgroups::ChosenShares;
use super::tripod::{FOR_THE_AUTHORS, items, validated};
use crate::config::Baseline;
use crate::error::Result;
use crate::eval::curves::{decision_thresholds, net_benefit, precision_recall_curve, roc_curve};
use crate::eval::delong::AurocInterval;
use crate::eval::proportion::wilson_interval;
use crate::eval::table::{
    NOT_APPLICABLE, drawn_by_group, left_out, means_of, means_of_both, number, p_text, range, signed,
};
use crate::eval::{Comparison, Interval, Intervals, Metric};
use crate::hub::model_name;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value as Json;

/// Metrics shown of parts of the notes: those that say something of few of them.
const SUBGROUP_METRICS: [Metric; 4] =
    [Metric::Auroc, Metric::RecallAtPrevalence, Metric::SpecificityAtPrevalence, Metric::Brier];

/// Writes the page.
pub(super) fn page(gathered: &Gathered) -> Result<String> {
    let names: Vec<&str> = gathered.arms.iter().map(|arm| arm.name.as_str()).collect();
    let title = format!("Report: {}", names.join(", "));
    let body = html! {
        h1 { (title) }
        p.lead { "Text classification by dsgkd " (env!("CARGO_PKG_VERSION")) ". This page needs no network and holds no text of a note." }
        (what_was_run(gathered))
        (metrics(gathered))
        @if !gathered.comparisons.is_empty() { (comparisons(gathered)) }
        (curves(gathered)?)
        (calibration(gathered)?)
        @for arm in &gathered.arms { (decisions(arm)) }
        @for arm in &gathered.arms { (subgroups(arm)) }
        (learning(gathered)?)
        @for arm in &gathered.arms { (alignment(arm)) }
        (tripod(gathered))
        @for arm in &gathered.arms { (experiment(arm)?) }
    };
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content="dsgkd";
                // A browser that keeps to this can load nothing from anywhere.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:";
                // Without it a browser asks for /favicon.ico.
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(concat!(include_str!("plots.css"), include_str!("page.css")))) }
            }
            body { (body) }
        }
    };
    Ok(markup.into_string() + "\n")
}

/// A table of names and values, one column an arm.
pub(super) fn table(caption: &str, head: &[String], rows: &[Vec<String>]) -> Markup {
    html! {
        div.wide { table {
            caption { (caption) }
            thead { tr { @for (column, cell) in head.iter().enumerate() { th.n[column > 0] scope="col" { (cell) } } } }
            tbody { @for row in rows { tr { @for (column, cell) in row.iter().enumerate() { td.n[column > 0] { (cell) } } } } }
        } }
    }
}

pub(super) fn heads(first: &str, rest: impl IntoIterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_string()).chain(rest).collect()
}

/// So many of what a noun names that has a plural in `s`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn with_interval(value: Option<f64>, interval: Option<Interval>) -> String {
    match (value, interval) {
        (Some(_), Some(_)) => format!("{} {}", number(value), range(&interval, number)),
        _ => number(value),
    }
}

pub(super) fn legend(arms: &[Arm]) -> Markup {
    html! {
        p.legend { @for (index, arm) in arms.iter().enumerate().take(SERIES) {
            span { span class={ "key s" (index) "-fill" } {} (arm.name) }
        } }
    }
}

pub(super) fn figure(chart: &Chart, caption: &str) -> Result<Markup> {
    let svg = draw(chart)?;
    Ok(html! { figure { (PreEscaped(svg)) figcaption { (caption) } } })
}

fn metrics(gathered: &Gathered) -> Markup {
    let arms = &gathered.arms;
    let mut rows = vec![heads("notes", arms.iter().map(|arm| arm.intervals.notes.to_string()))];
    for metric in Metric::of_classes(arms.first().map_or(2, |arm| arm.pooled.classes.len())) {
        let cell = |arm: &Arm| estimate(&arm.intervals, metric);
        rows.push(heads(metric.name(), arms.iter().map(cell)));
    }
    let delong = |arm: &Arm| {
        let interval = arm.binary.as_ref().and_then(|binary| binary.delong);
        interval.map_or(NOT_APPLICABLE.to_string(), |AurocInterval { auroc, low, high, .. }| {
            with_interval(Some(auroc), Some(Interval { low, high }))
        })
    };
    if arms.iter().any(|arm| arm.binary.as_ref().is_some_and(|binary| binary.delong.is_some())) {
        rows.push(heads("auroc, DeLong's interval", arms.iter().map(delong)));
    }
    let most = |count: fn(&Intervals) -> usize| arms.iter().map(|arm| count(&arm.intervals)).max().unwrap_or(1);
    let (seeds, trainings) = (most(|intervals| intervals.seeds), most(|intervals| intervals.trainings));
    let elsewhere = if trainings > 1 {
        let binary = arms.iter().any(|arm| arm.binary.is_some());
        let counted = if binary { "Curves, calibration, thresholds" } else { "Calibration" };
        format!(" {counted} and confusion matrices count the rows of all folds and seeds together.")
    } else {
        String::new()
    };
    let caption = format!(
        "On test notes; {}95 % intervals of {} bootstrap samples{}, seed {}. They tell of other notes, not of other trainings.{}{elsewhere}",
        means_of(seeds, trainings),
        gathered.bootstrap.samples,
        drawn(arms),
        gathered.bootstrap.seed,
        left_out(arms.iter().map(|arm| &arm.intervals))
    );
    html! { section { h2 { "Metrics" } (table(&caption, &heads("metric", arms.iter().map(|arm| arm.name.clone())), &rows)) } }
}

/// Of what the bootstrap draws: notes, or so many groups.
pub(super) fn drawn(arms: &[Arm]) -> String {
    let groups = arms.first().map(|arm| drawn_by_group(arm.intervals.units, arm.intervals.notes));
    groups.filter(|groups| !groups.is_empty()).unwrap_or(" of notes".to_string())
}

fn estimate(intervals: &Intervals, metric: Metric) -> String {
    intervals.of(metric).map_or(NOT_APPLICABLE.to_string(), |estimate| with_interval(estimate.value, estimate.interval))
}

fn comparisons(gathered: &Gathered) -> Markup {
    let baseline = &gathered.arms[0].name;
    html! {
        section {
            h2 { "Differences to " (baseline) }
            @for (name, comparison) in &gathered.comparisons { (comparison_table(baseline, name, comparison)) }
        }
    }
}

fn comparison_table(baseline: &str, name: &str, comparison: &Comparison) -> Markup {
    let rows: Vec<Vec<String>> = comparison
        .differences
        .iter()
        .map(|difference| {
            let change = match difference.interval {
                Some(_) => format!("{} {}", signed(difference.difference), range(&difference.interval, signed)),
                None => signed(difference.difference),
            };
            vec![
                difference.metric.name().to_string(),
                number(difference.baseline),
                number(difference.candidate),
                change,
                p_text(difference.p_value),
            ]
        })
        .collect();
    let caption = format!(
        "{name} minus {baseline}, {}paired on {} notes; 95 % intervals and two-sided p of {} bootstrap samples{}; p is not corrected for several metrics.{}",
        means_of_both(comparison),
        comparison.notes,
        comparison.samples,
        drawn_by_group(comparison.units, comparison.notes),
        comparison
            .delong
            .map_or(String::new(), |test| format!(" DeLong's test of the auroc: p {}.", p_text(Some(test.p_value)))),
    );
    table(&caption, &["metric", baseline, name, "difference", "p"].map(str::to_string), &rows)
}

/// One series an arm.
fn series_of<'a>(arms: &'a [Arm], points: impl Fn(&'a Binary) -> Vec<(f64, f64)>) -> Vec<Series> {
    let arms = arms.iter().take(SERIES).enumerate();
    let lines = arms.filter_map(|(index, arm)| {
        Some(Series { color: Some(index), points: Points::Line(points(arm.binary.as_ref()?)) })
    });
    lines.collect()
}

fn curves(gathered: &Gathered) -> Result<Markup> {
    let arms = &gathered.arms;
    let Some(first) = arms.iter().find_map(|arm| arm.binary.as_ref()) else {
        return Ok(html! {});
    };
    let unit = || (0.0..1.0, 0.0..1.0);
    let prevalence = first.positive.iter().filter(|is| **is).count() as f64 / first.positive.len().max(1) as f64;
    let line = |points: Vec<(f64, f64)>| Series { color: None, points: Points::Line(points) };

    let mut roc = vec![line(vec![(0.0, 0.0), (1.0, 1.0)])];
    roc.extend(series_of(arms, |binary| roc_curve(&binary.positive, &binary.scores)));
    let roc = Chart { description: "ROC curves", x: "1 - specificity", y: "sensitivity", range: unit(), series: roc };

    let mut recall = vec![line(vec![(0.0, prevalence), (1.0, prevalence)])];
    recall.extend(series_of(arms, |binary| precision_recall_curve(&binary.positive, &binary.scores)));
    let recall =
        Chart { description: "precision-recall curves", x: "recall", y: "precision", range: unit(), series: recall };

    let all = |threshold: f64| prevalence - (1.0 - prevalence) * threshold / (1.0 - threshold);
    let mut benefit = vec![
        line(decision_thresholds().map(|threshold| (threshold, all(threshold))).collect()),
        line(vec![(0.0, 0.0), (1.0, 0.0)]),
    ];
    benefit.extend(series_of(arms, |binary| {
        let at = |threshold| Some((threshold, net_benefit(&binary.positive, &binary.scores, threshold)?));
        decision_thresholds().filter_map(at).collect()
    }));
    let top = (prevalence * 1.05).max(0.01);
    let benefit = Chart {
        description: "decision curves",
        x: "threshold probability",
        y: "net benefit",
        range: (0.0..1.0, -0.05..top),
        series: benefit,
    };
    Ok(html! {
        section {
            h2 { "Curves" }
            (legend(arms))
            div.charts {
                (figure(&roc, "ROC. The line: a coin.")?)
                (figure(&recall, "Precision and recall. The line: the share of positives among the test notes.")?)
                (figure(&benefit, "Net benefit of acting at a threshold (Vickers & Elkin 2006). The lines: acting on every note, and on none.")?)
            }
        }
    })
}

fn calibration(gathered: &Gathered) -> Result<Markup> {
    let arms = &gathered.arms;
    let is_binary = arms.iter().all(|arm| arm.binary.is_some());
    let dots = |color: usize, reliability: &Reliability| {
        let times = times_counted(&arms[color]);
        let dots = reliability.bins.iter().filter_map(|bin| {
            let (observed, rows) = (bin.observed_rate?, bin.notes as f64);
            let interval = wilson_interval((observed * rows).round() / times, rows / times)?;
            Some((bin.mean_probability?, observed, interval.low, interval.high))
        });
        Series { color: Some(color), points: Points::Dots(dots.collect()) }
    };
    let chart = |description: &str, series: Vec<Series>| -> Result<Markup> {
        let mut all = vec![Series { color: None, points: Points::Line(vec![(0.0, 0.0), (1.0, 1.0)]) }];
        all.extend(series);
        let x = if is_binary { "predicted probability" } else { "probability of the most probable class" };
        let y = "observed share";
        figure(&Chart { description, x, y, range: (0.0..1.0, 0.0..1.0), series: all }, description)
    };
    let shown = || arms.iter().take(SERIES).enumerate();
    let trained: Vec<Series> = shown().map(|(index, arm)| dots(index, &arm.calibration)).collect();
    let scaled: Vec<Series> = shown().filter_map(|(index, arm)| Some(dots(index, &arm.scaled.as_ref()?.1))).collect();
    let scaled = if scaled.is_empty() {
        None
    } else {
        Some(chart("After temperature scaling, fitted on validation notes alone.", scaled)?)
    };
    let mut rows = vec![];
    let scores = |name: String, reliability: &Reliability| {
        let scores = &reliability.scores;
        vec![name, number(scores.brier), number(scores.log_loss), number(scores.expected_calibration_error)]
    };
    for arm in arms {
        rows.push(scores(arm.name.clone(), &arm.calibration));
        if let Some((temperatures, reliability)) = &arm.scaled {
            rows.push(scores(format!("{}, temperature {}", arm.name, temperatures_text(temperatures)), reliability));
        }
    }
    let head = ["", "Brier", "log loss", "calibration error"].map(str::to_string);
    let of = if is_binary { "" } else { " and, like the diagram, is of each note's most probable class" };
    Ok(html! {
        section {
            h2 { "Calibration" }
            (legend(arms))
            div.charts {
                (chart("As trained: ten bins of equal width, with Wilson's 95 % intervals.", trained)?)
                @if let Some(scaled) = &scaled { (scaled) }
            }
            (table(&format!("0 is best of all three; the calibration error depends on the number of bins (ten){of}."), &head, &rows))
            @if scaled.is_none() {
                p { "No temperature was fitted" @if arms.iter().any(may_be_calibrated) { ": " code { "dsgkd calibrate RUN" } " does that" } "." }
            }
        }
    })
}

/// Whether there is a model to scale and notes to fit the temperature on, and nobody tried.
fn may_be_calibrated(arm: &Arm) -> bool {
    validated(arm)
        && arm.scaled.is_none()
        && arm.chosen.is_none()
        && arm.config.as_ref().is_some_and(|config| config.baseline == Baseline::None)
}

/// One a run.
pub(super) fn temperatures_text(temperatures: &[Option<f64>]) -> String {
    let text = |temperature: &Option<f64>| temperature.map_or("none".to_string(), |number| format!("{number:.3}"));
    temperatures.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// How often a note stands among an arm's rows: once a seed that tests it.
fn times_counted(arm: &Arm) -> f64 {
    arm.intervals.rows as f64 / arm.intervals.notes.max(1) as f64
}

/// Three digits, and more of what they would make nothing of.
fn probability_text(value: f64) -> String {
    if value < 0.001 { format!("{value:e}") } else { format!("{value:.3}") }
}

/// With Wilson's interval of counts in which everything stands `times` times: counted again, it tells nothing new.
fn share(events: u64, all: u64, times: f64) -> String {
    let value = (all > 0).then(|| events as f64 / all as f64);
    with_interval(value, wilson_interval(events as f64 / times, all as f64 / times))
}

fn decisions(arm: &Arm) -> Markup {
    let classes = &arm.pooled.classes;
    let rows: Vec<Vec<String>> =
        arm.confusion.iter().zip(classes).map(|(row, class)| heads(class, row.iter().map(u64::to_string))).collect();
    let confusion = html! {
        (table("Rows: true class; columns: predicted class, as predict decides.", &heads("", classes.iter().cloned()), &rows))
    };
    let seeds = arm.intervals.seeds;
    let share = |events: u64, all: u64| share(events, all, times_counted(arm));
    let thresholds = arm.binary.as_ref().map(|binary| {
        let rows: Vec<Vec<String>> = binary
            .thresholds
            .iter()
            .map(|row| {
                let c = &row.counts;
                vec![
                    row.name.clone(),
                    row.value.map_or("of each run".to_string(), probability_text),
                    share(c.true_positives, c.true_positives + c.false_negatives),
                    share(c.true_negatives, c.true_negatives + c.false_positives),
                    share(c.true_positives, c.true_positives + c.false_positives),
                    share(c.true_negatives, c.true_negatives + c.false_negatives),
                    share(c.true_positives + c.false_positives, c.notes()),
                    number(row.net_benefit),
                ]
            })
            .collect();
        let head = ["threshold at", "value", "sensitivity", "specificity", "PPV", "NPV", "share flagged", "net benefit"].map(str::to_string);
        let of_seeds =
            if seeds > 1 { ", and count each note once, though the shares are of the rows of all seeds" } else { "" };
        let how = if may_be_calibrated(arm) { " (dsgkd calibrate)" } else { "" };
        let scale = match arm.scaled.is_some() {
            true => " Thresholds are of the probabilities that predict writes, after the temperature of each run that has one.",
            false => "",
        };
        let caption = format!(
            "Wilson's 95 % intervals take every note for independent, which notes of one patient are not{of_seeds}. Thresholds at a wanted \
             sensitivity or specificity were found on these very notes, unless they are said to be of validation notes, so what they promise flatters; \
             fix a threshold before looking at test notes{how}.{scale}"
        );
        table(&caption, &head, &rows)
    });
    html! { section { h2 { "Decisions: " (arm.name) } @if let Some(thresholds) = thresholds { (thresholds) } (confusion) } }
}

fn subgroups(arm: &Arm) -> Markup {
    if arm.subgroups.is_empty() {
        return html! {};
    }
    // Where a threshold was chosen, `predict` decides at it.
    let at_prevalence =
        |metric: &Metric| matches!(metric, Metric::RecallAtPrevalence | Metric::SpecificityAtPrevalence);
    let metrics: Vec<Metric> = Metric::of_classes(arm.pooled.classes.len())
        .filter(|metric| SUBGROUP_METRICS.contains(metric) && !(arm.chosen.is_some() && at_prevalence(metric)))
        .collect();
    // Of more than two classes none is the positive one.
    let positive = arm.binary.as_ref().map(|_| format!("of them {}", arm.pooled.classes[1]));
    let mut head = heads("part", std::iter::once("notes".to_string()).chain(positive.clone()));
    head.extend(metrics.iter().map(|metric| metric.name().to_string()));
    let at = arm.chosen.as_ref().map_or(String::new(), |chosen| {
        head.extend(["sensitivity", "specificity"].map(str::to_string));
        let brier = if arm.scaled.is_some() { "; Brier as trained" } else { "" };
        format!("; decided at: {chosen}{brier}")
    });
    let too_few = || "too few".to_string();
    html! {
        section {
            h2 { "Parts of the notes: " (arm.name) }
            @for division in &arm.subgroups {
                @let rows: Vec<Vec<String>> = division.parts.iter().map(|part| {
                    let mut row = vec![part.name.clone(), part.notes.to_string()];
                    row.extend(positive.as_ref().map(|_| part.positives.to_string()));
                    row.extend(metrics.iter().map(|metric| match &part.intervals {
                        Some(intervals) => estimate(intervals, *metric),
                        None => too_few(),
                    }));
                    if arm.chosen.is_some() {
                        row.extend(match &part.chosen {
                            Some(ChosenShares { sensitivity, specificity }) => {
                                [sensitivity, specificity].map(|share| with_interval(share.value, share.interval))
                            }
                            None => [too_few(), too_few()],
                        });
                    }
                    row
                }).collect();
                @let left_out = left_out(division.parts.iter().filter_map(|part| part.intervals.as_ref()));
                (table(&format!("By {}{at}.{left_out}", division.by), &head, &rows))
            }
        }
    }
}

fn alignment(arm: &Arm) -> Markup {
    let Some(config) = arm.config.as_ref().filter(|config| !config.teachers.is_empty()) else { return html! {} };
    let sum = |path: &str| arm.environments.iter().filter_map(|run| run["notes"].pointer(path)?.as_u64()).sum::<u64>();
    let rows: Vec<Vec<String>> = config
        .teachers
        .iter()
        .enumerate()
        .map(|(index, teacher)| {
            let dropped = arm.environments.first().map(|run| &run["notes"]["dropped_terms"][index]);
            let reasons = dropped.and_then(Json::as_object).into_iter().flatten();
            let reasons: Vec<String> = reasons
                .map(|(reason, _)| (reason, sum(&format!("/dropped_terms/{index}/{reason}"))))
                .filter(|(_, count)| *count > 0)
                .map(|(reason, count)| format!("{}: {count}", reason.replace('_', " ")))
                .collect();
            let (terms, aligned) = (sum("/terms"), sum(&format!("/aligned_terms/{index}")));
            let reasons = if reasons.is_empty() { "none".to_string() } else { reasons.join(", ") };
            vec![
                model_name(&teacher.model),
                terms.to_string(),
                share(aligned, terms, arm.environments.len() as f64),
                reasons,
            ]
        })
        .collect();
    let head = ["teacher", "terms found", "share distilled", "dropped, by reason"].map(str::to_string);
    html! {
        section {
            h2 { "Alignment: " (arm.name) }
            (table("Of the notes trained on, over all runs. Dropped terms are not distilled.", &head, &rows))
        }
    }
}

fn tripod(gathered: &Gathered) -> Markup {
    html! {
        section {
            h2 { "TRIPOD+AI" }
            div.wide { table {
                caption { "What this tool knows of the reporting guideline's items (Collins et al., BMJ 2024)." }
                thead { tr { th scope="col" { "item" } th scope="col" { "asks for" } th scope="col" { "here" } } }
                tbody { @for (item, asks, here) in items(gathered) {
                    tr { td { (item) } td { (asks) } td { @for line in here.lines() { div { (line) } } } }
                } }
            } }
            p { "For the authors: " (FOR_THE_AUTHORS) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_two_identical_seeds_is_as_sure_as_that_of_one() {
        assert_eq!(share(74, 824, 2.0), share(37, 412, 1.0));
        assert_ne!(share(74, 824, 1.0), share(37, 412, 1.0), "twice the notes");
        assert_eq!((share(0, 0, 2.0), share(3, 3, 3.0)), (number(None), share(1, 1, 1.0)));
    }

    #[test]
    fn one_is_no_plural() {
        assert_eq!([0, 1, 2].map(|count| counted(count, "run")), ["0 runs", "1 run", "2 runs"]);
    }
}
