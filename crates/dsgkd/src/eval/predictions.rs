//! Predictions of this program or any other: ids, labels and probabilities of the same notes.

use super::metrics::Metrics;
use super::pool::{groups_of, numbered_units};
use super::scored::{Part, Scored};
use crate::data::MAX_CLASSES;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One run's predictions. An id may occur more than once (several seeds put together); what is resampled is then the
/// note, with all its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictions {
    /// What names each note, `[notes]`; two sets of predictions are paired by it.
    pub ids: Vec<String>,
    /// What each note is drawn together with when notes are resampled, `[notes]`: its patient, say; without a name, it is drawn by itself.
    /// Empty: as all notes are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The true class of each note, `[notes]`.
    pub labels: Vec<usize>,
    /// Row-major `[notes, classes]`, each row summing to 1.
    pub probabilities: Vec<f64>,
    /// Class names in order; the second of two is the positive class.
    pub classes: Vec<String>,
    /// Share of positives among the notes the run was trained on, 0..=1; without it the metrics at the prevalence are
    /// undefined.
    #[serde(default)]
    pub training_prevalence: Option<f64>,
}

/// Columns of another program's file, as text. Cells of one row stand at the same index of every column; spaces around a
/// cell are ignored.
#[derive(Debug, Clone, Copy)]
pub struct TextColumns<'a> {
    /// Name and cells of the column with the note's id; without it the row number is the id.
    pub ids: Option<(&'a str, &'a [String])>,
    /// Name and cells of the column with what a note is drawn together with (its patient).
    pub groups: Option<(&'a str, &'a [String])>,
    /// Name and cells of the column with the true class.
    pub labels: (&'a str, &'a [String]),
    /// Name and cells of the probability columns: one for the positive (second) class, or one for each class in the order
    /// of `classes`.
    pub probabilities: &'a [(&'a str, &'a [String])],
    /// Class names in order; empty: those that the probability columns are named after, as `predict` names them, or else the sorted values of the label
    /// column.
    pub classes: &'a [String],
    /// Share of positives among the training notes, if known.
    pub training_prevalence: Option<f64>,
}

impl Predictions {
    /// Reads columns of text.
    ///
    /// # Errors
    /// [`Error::Data`] naming the row (the first row of data is 1) and the column; a cell's content is never quoted, since a
    /// column chosen by mistake may hold a note.
    pub fn from_columns(columns: &TextColumns<'_>) -> Result<Self> {
        let (label_column, label_cells) = columns.labels;
        let rows = label_cells.len();
        let named = columns.ids.iter().chain(&columns.groups).chain(columns.probabilities);
        if let Some((name, cells)) = named.clone().find(|(_, cells)| cells.len() != rows) {
            let row = rows.min(cells.len()) + 1;
            return Err(Error::Data(format!(
                "row {row}: column {name:?} has {} cells and column {label_column:?} has {rows}",
                cells.len()
            )));
        }
        let classes = class_names(columns)?;
        if columns.probabilities.len() != classes.len() && !(columns.probabilities.len() == 1 && classes.len() == 2) {
            return Err(Error::Data(format!(
                "{} probability columns for {} classes: name one for each class in order, or with two classes the one of the \
                 second",
                columns.probabilities.len(),
                classes.len()
            )));
        }
        let mut labels = Vec::with_capacity(rows);
        let mut probabilities = Vec::with_capacity(rows * classes.len());
        for row in 0..rows {
            let cell = label_cells[row].trim();
            labels.push(classes.iter().position(|class| class == cell).ok_or_else(|| {
                let problem = if cell.is_empty() { "is empty" } else { "holds none of the class names" };
                Error::Data(format!("row {}, column {label_column:?}: the label {problem}", row + 1))
            })?);
            for (name, cells) in columns.probabilities {
                let probability = parse_probability(&cells[row])
                    .map_err(|problem| Error::Data(format!("row {}, column {name:?}: {problem}", row + 1)))?;
                if columns.probabilities.len() == 1 {
                    probabilities.push(1.0 - probability);
                }
                probabilities.push(probability);
            }
        }
        let ids = match columns.ids {
            Some((name, cells)) => cells
                .iter()
                .enumerate()
                .map(|(row, cell)| match cell.trim() {
                    "" => Err(Error::Data(format!("row {}, column {name:?}: the id is empty", row + 1))),
                    id => Ok(id.to_string()),
                })
                .collect::<Result<_>>()?,
            None => (1..=rows).map(|row| row.to_string()).collect(),
        };
        let groups = columns.groups.map_or(&[][..], |(_, cells)| cells);
        let groups = groups.iter().map(|cell| cell.trim().to_string()).collect();
        let training_prevalence = columns.training_prevalence;
        let predictions = Predictions { ids, groups, labels, probabilities, classes, training_prevalence };
        predictions.validate()?;
        Ok(predictions)
    }

    /// Checks lengths, labels and probabilities. Whatever measures predictions calls it, so a value read from JSON needs no
    /// check of its own.
    ///
    /// # Errors
    /// As [`super::evaluate`]; also when ids and labels differ in number or two classes share a name.
    pub fn validate(&self) -> Result<()> {
        if self.ids.len() != self.labels.len() {
            let row = self.ids.len().min(self.labels.len()) + 1;
            return Err(Error::Data(format!("row {row}: {} ids for {} labels", self.ids.len(), self.labels.len())));
        }
        if !self.groups.is_empty() && self.groups.len() != self.ids.len() {
            let row = self.ids.len().min(self.groups.len()) + 1;
            return Err(Error::Data(format!("row {row}: {} groups for {} ids", self.groups.len(), self.ids.len())));
        }
        if self.classes.len() > MAX_CLASSES {
            let message =
                format!("{} classes are more than the {MAX_CLASSES} that can be measured", self.classes.len());
            return Err(Error::Data(message));
        }
        for (index, class) in self.classes.iter().enumerate() {
            if self.classes[..index].contains(class) {
                return Err(Error::Data(format!("class {} has the same name as an earlier one: {class:?}", index + 1)));
            }
        }
        self.part().check(self.classes.len())
    }

    /// The rows of several runs of one classifier (folds, seeds) one after the other, with the first one's training prevalence.
    ///
    /// # Errors
    /// There is no run.
    pub fn pooled(runs: &[Predictions]) -> Result<Self> {
        let first = runs.first().ok_or_else(|| Error::Data("there are no predictions to evaluate".into()))?;
        let is_grouped = runs.iter().any(|run| !run.groups.is_empty());
        let groups = |run: &Predictions| match run.groups.is_empty() {
            true => vec![String::new(); run.ids.len()],
            false => run.groups.clone(),
        };
        Ok(Predictions {
            ids: runs.iter().flat_map(|run| run.ids.clone()).collect(),
            groups: if is_grouped { runs.iter().flat_map(groups).collect() } else { vec![] },
            labels: runs.iter().flat_map(|run| run.labels.clone()).collect(),
            probabilities: runs.iter().flat_map(|run| run.probabilities.clone()).collect(),
            ..first.clone()
        })
    }

    /// With two classes, whether each note is positive and the probability that it is.
    pub fn binary(&self) -> Option<(Vec<bool>, Vec<f64>)> {
        let positive = self.labels.iter().map(|label| *label == 1).collect();
        let scores = self.probabilities.chunks_exact(2).map(|row| row[1]).collect();
        (self.classes.len() == 2).then_some((positive, scores))
    }

    /// Whether no two rows are of one note or of one group, as methods for independent notes take for granted.
    pub fn rows_are_independent(&self) -> bool {
        let groups = groups_of([self]);
        groups.is_ok_and(|groups| numbered_units(self.ids.iter().map(String::as_str), &groups).1 == self.ids.len())
    }

    /// Every metric of these predictions.
    ///
    /// # Errors
    /// As [`Predictions::validate`].
    pub fn evaluate(&self) -> Result<Metrics> {
        self.validate()?;
        Ok(Scored::new(&[self.part()], self.classes.len())?.measure_all())
    }

    /// Probabilities of one class, `[notes]`; none past the last class.
    pub fn class_probabilities(&self, class: usize) -> impl Iterator<Item = f64> + '_ {
        let rows = self.probabilities.chunks_exact(self.classes.len().max(1));
        rows.filter_map(move |row| row.get(class).copied())
    }

    pub(super) fn part(&self) -> Part<'_> {
        Part { labels: &self.labels, probabilities: &self.probabilities, training_prevalence: self.training_prevalence }
    }
}

fn class_names(columns: &TextColumns<'_>) -> Result<Vec<String>> {
    if !columns.classes.is_empty() {
        return Ok(columns.classes.to_vec());
    }
    let (name, cells) = columns.labels;
    if let Some(row) = cells.iter().position(|cell| cell.trim().is_empty()) {
        return Err(Error::Data(format!("row {}, column {name:?}: the label is empty", row + 1)));
    }
    let found: BTreeSet<&str> = cells.iter().map(|cell| cell.trim()).collect();
    let names = columns.probabilities.iter().map(|(name, _)| *name);
    if let Some(named) = classes_by_name(&found, names) {
        return Ok(named.into_iter().map(str::to_string).collect());
    }
    let wanted = columns.probabilities.len().max(2);
    if found.len() != wanted {
        return Err(Error::Data(format!(
            "column {name:?} holds {} different labels where the probability columns call for {wanted}; name the classes in \
             order",
            found.len()
        )));
    }
    Ok(found.into_iter().map(str::to_string).collect())
}

/// What a column of a class's probabilities is called.
pub(crate) fn probability_column(class: &str) -> String {
    format!("{PROBABILITY}{class}")
}

/// What [`probability_column`] begins with.
pub(crate) const PROBABILITY: &str = "probability_";

/// The classes in order where all columns are called [`probability_column`]: those of the columns, or with a single column its own after the other.
/// `None` where the names do not say it of the classes `found`.
fn classes_by_name<'a>(found: &BTreeSet<&'a str>, columns: impl Iterator<Item = &'a str>) -> Option<Vec<&'a str>> {
    // A table that pandas wrote has 0.0 where the column is called after 0.
    let as_labelled = |name: &'a str| match found.contains(name) {
        true => name,
        false => found.iter().copied().find(|class| is_same_number(class, name)).unwrap_or(name),
    };
    let named: Vec<&str> =
        columns.map(|column| column.trim().strip_prefix(PROBABILITY).map(as_labelled)).collect::<Option<_>>()?;
    match &named[..] {
        [positive] if found.len() == 2 && found.contains(positive) => {
            Some(found.iter().copied().filter(|class| class != positive).chain([*positive]).collect())
        }
        [_, _, ..] if found.iter().all(|class| named.contains(class)) => Some(named),
        _ => None,
    }
}

/// Whether two names of classes are one number, `1` and `1.0`.
pub(crate) fn is_same_number(one: &str, other: &str) -> bool {
    one.parse::<f64>().ok().zip(other.parse::<f64>().ok()).is_some_and(|(one, other)| one == other)
}

/// The problem is worded without the cell's content.
fn parse_probability(cell: &str) -> Result<f64, &'static str> {
    let cell = cell.trim();
    if cell.is_empty() {
        return Err("the probability is missing");
    }
    match cell.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        Ok(_) => Err("a probability lies between 0 and 1 (give probabilities, not logits or percent)"),
        Err(_) if cell.contains(',') => Err("not a number (the decimal mark must be a point)"),
        Err(_) => Err("not a number"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cells(values: &[&str]) -> Vec<String> {
        values.iter().map(|value| value.to_string()).collect()
    }

    fn read(labels: &[&str], probabilities: &[&str], classes: &[&str]) -> Result<Predictions> {
        Predictions::from_columns(&TextColumns {
            ids: None,
            groups: None,
            labels: ("emergency", &cells(labels)),
            probabilities: &[("p", &cells(probabilities))],
            classes: &cells(classes),
            training_prevalence: None,
        })
    }

    #[test]
    fn one_column_is_the_second_class() {
        let predictions = read(&["yes", " no "], &["0.75", " 1e-3"], &["no", "yes"]).unwrap();
        assert_eq!(predictions.labels, [1, 0]);
        assert_eq!(predictions.ids, ["1", "2"]);
        assert_eq!(predictions.probabilities, [0.25, 0.75, 0.999, 0.001]);
        assert_eq!(predictions.class_probabilities(1).collect::<Vec<_>>(), [0.75, 0.001]);
        let metrics = predictions.evaluate().unwrap();
        assert_eq!((metrics.auroc, metrics.f1_at_prevalence), (Some(1.0), None));
        assert_eq!(read(&["b", "a"], &["0.7", "0"], &[]).unwrap().classes, ["a", "b"]);
    }

    #[test]
    fn columns_named_after_classes_say_their_order() {
        let of = |labels: &'static str, columns: &'static str| {
            classes_by_name(&labels.split(' ').collect(), columns.split(' ')).unwrap_or_default().join(" ")
        };
        for (labels, columns, classes) in [
            ("urgent control urgent", "probability_urgent probability_control", "urgent control"),
            ("urgent control", "probability_control", "urgent control"),
            ("urgent control", "probability_urgent", "control urgent"),
            ("c a", "probability_b probability_c probability_a", "b c a"),
            ("0.0 1.0", "probability_0", "1.0 0.0"),
            ("0.0 1.0", "probability_0 probability_1", "0.0 1.0"),
            // Names that do not say it.
            ("urgent control", "score", ""),
            ("urgent control", "probability_other", ""),
            ("urgent control", "probability_urgent score", ""),
            ("urgent control other", "probability_urgent", ""),
            ("urgent control", "probability_urgent probability_other", ""),
        ] {
            assert_eq!(of(labels, columns), classes, "{labels}: {columns}");
        }
    }

    #[test]
    fn an_empty_label_is_no_class_that_a_column_is_not_named_after() {
        let error = Predictions::from_columns(&TextColumns {
            ids: None,
            groups: None,
            labels: ("label", &cells(&["urgent", ""])),
            probabilities: &[("probability_urgent", &cells(&["0.7", "0"]))],
            classes: &[],
            training_prevalence: None,
        });
        assert!(error.unwrap_err().to_string().contains("row 2, column \"label\": the label is empty"));
    }

    #[test]
    fn one_column_a_class_in_order() {
        let (labels, first, second, third) =
            (cells(&["c", "a"]), cells(&["0.1", "1"]), cells(&["0.2", "0"]), cells(&["0.7", "0"]));
        let predictions = Predictions::from_columns(&TextColumns {
            ids: Some(("id", &cells(&["n1", "n2"]))),
            groups: Some(("patient", &cells(&["p ", ""]))),
            labels: ("label", &labels),
            probabilities: &[("p_a", &first), ("p_b", &second), ("p_c", &third)],
            classes: &cells(&["a", "b", "c"]),
            training_prevalence: None,
        })
        .unwrap();
        assert_eq!(predictions.labels, [2, 0]);
        assert_eq!(predictions.groups, ["p", ""]);
        assert_eq!(predictions.probabilities, [0.1, 0.2, 0.7, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn errors_name_row_and_column_and_never_the_cell() {
        let secret = "severe abdominal pain";
        for (labels, probabilities, column) in [
            (["0", secret], ["0.5", "0.5"], "emergency"),
            (["0", ""], ["0.5", "0.5"], "emergency"),
            (["0", "1"], ["0.5", secret], "p"),
            (["0", "1"], ["0.5", ""], "p"),
            (["0", "1"], ["0.5", "NaN"], "p"),
            (["0", "1"], ["0.5", "1.5"], "p"),
            (["0", "1"], ["0.5", "0,5"], "p"),
        ] {
            let message = read(&labels, &probabilities, &["0", "1"]).unwrap_err().to_string();
            assert!(message.contains(&format!("row 2, column {column:?}")), "{message}");
            assert!(!message.contains("pain"), "{message}");
        }
        assert!(read(&["0", "1"], &["0.5"], &["0", "1"]).unwrap_err().to_string().contains("row 2"));
        assert!(read(&["0", "1", "2"], &["0.5"; 3], &[]).unwrap_err().to_string().contains("3 different"));
        assert!(read(&["0"], &["0.5"], &["0", "0"]).is_err());
        assert!(read(&["0"], &["0.5"], &["0", "1", "2"]).is_err());
    }
}
