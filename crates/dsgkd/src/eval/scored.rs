//! Checked predictions with everything sorted and scored once, so that a bootstrap sample costs one pass over the notes.
//!
//! A resample is a count for each row, not a copy of the rows: sorting happens once, and 2,000 samples of 2,000 notes take
//! a fraction of a second.

use super::metrics::Metrics;
use super::ranking::{auroc_of, average_precision_of, descending_order};
use super::scoring::{brier_of_note, log_loss_of_note};
use super::threshold::{Confusion, macro_average};
use crate::error::{Error, Result};
use std::ops::Range;

/// One training's predictions, unchecked.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// `[notes]`
    pub(super) labels: &'a [usize],
    /// `[notes, classes]`, row-major.
    pub(super) probabilities: &'a [f64],
    /// Share of positives this run was trained on: each run keeps its own threshold.
    pub(super) training_prevalence: Option<f64>,
}

/// How far a row's sum may lie from 1, for each class: probabilities rounded to two decimals in somebody's file pass, and
/// logits or the scores of independent classifiers do not.
const SUM_TOLERANCE: f64 = 0.005;

impl Part<'_> {
    /// Refuses what no metric could be computed from. Rows are counted from 1.
    pub(super) fn check(&self, classes: usize) -> Result<()> {
        if classes < 2 {
            return Err(Error::Data(format!("a classifier has two classes or more, not {classes}")));
        }
        let (labels, values) = (self.labels.len(), self.probabilities.len());
        if values != labels * classes {
            let row = labels.min(values / classes) + 1;
            return Err(Error::Data(format!(
                "row {row}: {labels} labels need {labels} x {classes} probabilities, and there are {values}"
            )));
        }
        if labels == 0 {
            return Err(Error::Data("there are no notes to evaluate".into()));
        }
        if let Some(prevalence) = self.training_prevalence
            && !(0.0..=1.0).contains(&prevalence)
        {
            return Err(Error::Data(format!("the training prevalence is a share between 0 and 1, not {prevalence}")));
        }
        for (index, (&label, row)) in self.labels.iter().zip(self.probabilities.chunks_exact(classes)).enumerate() {
            let number = index + 1;
            if label >= classes {
                return Err(Error::Data(format!("row {number}: label {label} is not one of the {classes} classes")));
            }
            if let Some(value) = row.iter().find(|value| !(0.0..=1.0).contains(*value)) {
                return Err(Error::Data(format!(
                    "row {number}: a probability lies between 0 and 1, and this one is {value}"
                )));
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE * classes as f64 {
                return Err(Error::Data(format!("row {number}: the probabilities of a note sum to 1, these to {sum}")));
            }
        }
        Ok(())
    }
}

/// Checked predictions of one or several trainings, each sorted by itself.
pub(super) struct Scored {
    classes: usize,
    labels: Vec<usize>,
    probabilities: Vec<f64>,
    /// For each class that is ranked (two classes: only class 1), each training's rows from the highest probability down.
    class_orders: Vec<(usize, Vec<Vec<u32>>)>,
    /// More than two classes: of each training all `[notes * classes]` cells from the highest probability down.
    cell_orders: Vec<Vec<u32>>,
    /// Predicted class: at 0.5, or the most probable.
    predicted: Vec<usize>,
    /// Predicted class at the training prevalence; none with more than two classes or when a run does not know it.
    predicted_at_prevalence: Option<Vec<usize>>,
    brier: Vec<f64>,
    log_loss: Vec<f64>,
}

impl Scored {
    /// Checks the parts and puts their rows one after the other.
    pub(super) fn new(parts: &[Part<'_>], classes: usize) -> Result<Self> {
        if parts.is_empty() {
            return Err(Error::Data("there are no predictions to evaluate".into()));
        }
        parts.iter().try_for_each(|part| part.check(classes))?;
        let labels: Vec<usize> = parts.iter().flat_map(|part| part.labels).copied().collect();
        let probabilities: Vec<f64> = parts.iter().flat_map(|part| part.probabilities).copied().collect();
        if probabilities.len() > u32::MAX as usize {
            return Err(Error::Data(format!("{} probabilities are more than this can rank", probabilities.len())));
        }
        let mut rows_of_parts = vec![];
        for part in parts {
            let first = rows_of_parts.last().map_or(0, |rows: &Range<usize>| rows.end);
            rows_of_parts.push(first..first + part.labels.len());
        }
        let ranked = if classes == 2 { 1..2 } else { 0..classes };
        let orders_of = |class: usize| {
            let order =
                |rows: &Range<usize>| descending_order(rows.clone(), |row| probabilities[row * classes + class]);
            rows_of_parts.iter().map(order).collect()
        };
        let class_orders = ranked.map(|class| (class, orders_of(class))).collect();
        let cells = |rows: &Range<usize>| {
            descending_order(rows.start * classes..rows.end * classes, |cell| probabilities[cell])
        };
        let cell_orders = if classes > 2 { rows_of_parts.iter().map(cells).collect() } else { vec![] };
        let rows = || probabilities.chunks_exact(classes);
        let predicted = rows().map(|row| if classes == 2 { usize::from(row[1] >= 0.5) } else { most_probable(row) });
        Ok(Scored {
            classes,
            class_orders,
            cell_orders,
            predicted: predicted.collect(),
            predicted_at_prevalence: if classes == 2 { decide_at_prevalence(parts) } else { None },
            brier: rows().zip(&labels).map(|(row, &label)| brier_of_note(row, label)).collect(),
            log_loss: rows().zip(&labels).filter_map(|(row, &label)| log_loss_of_note(row, label)).collect(),
            labels,
            probabilities,
        })
    }

    /// Every metric of all notes, each counted once.
    pub(super) fn measure_all(&self) -> Metrics {
        self.measure(&vec![1; self.labels.len()])
    }

    /// Every metric of a resample in which row `r` stands `counts[r]` times.
    pub(super) fn measure(&self, counts: &[u32]) -> Metrics {
        let notes: u64 = counts.iter().map(|&count| u64::from(count)).sum();
        let mean = |values: &[f64]| {
            let sum: f64 = values.iter().zip(counts).map(|(value, &count)| value * f64::from(count)).sum();
            (notes > 0).then(|| sum / notes as f64)
        };
        let row_count = |row: usize| u64::from(counts[row]);
        let mut metrics = Metrics {
            notes: notes as usize,
            classes: self.classes,
            auroc: self.mean_over_classes(|class, orders| {
                auroc_of(orders, |row| self.probability(row, class), |row| self.labels[row] == class, row_count)
            }),
            auprc: self.mean_over_classes(|class, orders| {
                average_precision_of(
                    orders,
                    |row| self.probability(row, class),
                    |row| self.labels[row] == class,
                    row_count,
                )
            }),
            brier: mean(&self.brier),
            log_loss: mean(&self.log_loss),
            ..Metrics::default()
        };
        if self.classes == 2 {
            let half = self.confusion(&self.predicted, 1, counts);
            metrics.accuracy_at_half = half.accuracy();
            metrics.recall_at_half = half.recall();
            metrics.specificity_at_half = half.specificity();
            metrics.precision_at_half = half.precision();
            metrics.f1_at_half = half.f1();
            if let Some(predicted) = &self.predicted_at_prevalence {
                let prevalence = self.confusion(predicted, 1, counts);
                metrics.accuracy_at_prevalence = prevalence.accuracy();
                metrics.recall_at_prevalence = prevalence.recall();
                metrics.specificity_at_prevalence = prevalence.specificity();
                metrics.precision_at_prevalence = prevalence.precision();
                metrics.f1_at_prevalence = prevalence.f1();
            }
            return metrics;
        }
        let classes = self.classes;
        let score = |cell: usize| self.probabilities[cell];
        let positive = |cell: usize| self.labels[cell / classes] == cell % classes;
        let count = |cell: usize| u64::from(counts[cell / classes]);
        metrics.auroc_micro = auroc_of(&self.cell_orders, score, positive, count);
        metrics.auprc_micro = average_precision_of(&self.cell_orders, score, positive, count);
        let confusions: Vec<Confusion> =
            (0..classes).map(|class| self.confusion(&self.predicted, class, counts)).collect();
        metrics.recall_macro = macro_average(&confusions, Confusion::recall);
        metrics.precision_macro = macro_average(&confusions, Confusion::precision);
        metrics.f1_macro = macro_average(&confusions, Confusion::f1);
        let right: u64 = confusions.iter().map(|confusion| confusion.true_positives).sum();
        metrics.accuracy = (notes > 0).then(|| right as f64 / notes as f64);
        metrics.f1_micro = metrics.accuracy;
        metrics
    }

    /// The mean of a ranking metric over the ranked classes, one against the rest; undefined when one is.
    /// `metric(class, orders)` measures one class.
    fn mean_over_classes(&self, metric: impl Fn(usize, &[Vec<u32>]) -> Option<f64>) -> Option<f64> {
        let mut sum = 0.0;
        for (class, orders) in &self.class_orders {
            sum += metric(*class, orders)?;
        }
        Some(sum / self.class_orders.len() as f64)
    }

    fn probability(&self, row: usize, class: usize) -> f64 {
        self.probabilities[row * self.classes + class]
    }

    fn confusion(&self, predicted: &[usize], class: usize, counts: &[u32]) -> Confusion {
        let mut confusion = Confusion::default();
        for ((&label, &predicted), &count) in self.labels.iter().zip(predicted).zip(counts) {
            *confusion.cell(label == class, predicted == class) += u64::from(count);
        }
        confusion
    }
}

/// The class of the highest probability, the first of equals, as `argmax` has it.
pub(super) fn most_probable(row: &[f64]) -> usize {
    let mut best = 0;
    for class in 1..row.len() {
        if row[class] > row[best] {
            best = class;
        }
    }
    best
}

/// Two classes only.
fn decide_at_prevalence(parts: &[Part<'_>]) -> Option<Vec<usize>> {
    let mut predicted = vec![];
    for part in parts {
        let threshold = part.training_prevalence?;
        predicted.extend(part.probabilities.chunks_exact(2).map(|row| usize::from(row[1] >= threshold)));
    }
    Some(predicted)
}
