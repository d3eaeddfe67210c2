//! What is in the notes, before an hour is spent on them (`dsgkd check`).

mod advice;

use crate::config::{Baseline, Config};
use crate::data::{Note, Notes, Splits, is_name_of_a_row, leave_out_tested, make_splits, read_notes};
use crate::error::Result;
use crate::experiment::models::{longest, open_models};
use crate::text::{Aligner, DropCounts, Encoding, TermSelector};
use crate::train::device;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use unicode_script::UnicodeScript;

/// Counts and shares; no text.
#[derive(Debug, Clone, Serialize)]
pub struct CheckReport {
    /// Labelled notes.
    pub notes: usize,
    /// Notes without labels.
    pub unlabeled: usize,
    /// Rows that cannot be read, with the first of them in words.
    pub bad_rows: u64,
    /// The first of them, up to ten.
    pub first_bad_rows: Vec<String>,
    /// Notes of each class.
    pub labels: Vec<(String, usize)>,
    /// What is allowed and hardly meant, a line each.
    pub advice: Vec<String>,
    /// The training, validation and test part; or why the notes cannot be split.
    pub split: Result<[PartReport; 3], String>,
    /// Notes without labels that a training leaves out: they, or others of their group, are validation or test notes.
    pub unlabeled_left_out: usize,
    /// Labelled notes that train without their labels (`data.split.rest_unlabeled`).
    pub beyond_budget: usize,
    /// Notes whose text another note has too.
    pub duplicates: usize,
    /// Share of letters by script, the most frequent first.
    pub scripts: Vec<(String, f64)>,
    /// Notes whose letters are of more than one script.
    pub mixed_notes: usize,
    /// Terms a note: quartiles.
    pub terms: Quartiles,
    /// Notes without any term.
    pub notes_without_terms: usize,
    /// Student first, then the teachers; empty when no model is configured.
    pub models: Vec<ModelReport>,
}

/// One part of the split.
#[derive(Debug, Clone, Serialize)]
pub struct PartReport {
    /// `training`, `validation` or `test`.
    pub part: String,
    /// Its notes; of the training part those with labels.
    pub notes: usize,
    /// Of each class.
    pub classes: Vec<usize>,
    /// Groups, where `data.group` is set.
    pub groups: Option<usize>,
}

/// How one model reads the notes.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ModelReport {
    /// `student` or `teacher`; of several teachers `teacher 1` and so on, in the experiment's order.
    pub role: String,
    /// Tokens a note, special tokens included, before truncation.
    pub tokens: Quartiles,
    /// Tokens of a note at most: `text.max_length`, or what the model has positions for.
    pub max_length: usize,
    /// Notes that truncation cuts.
    pub truncated: usize,
    /// Tokens that are the unknown token, as a share.
    pub unknown_share: f64,
    /// Terms aligned with the student (teachers only).
    pub aligned_terms: usize,
    /// Terms dropped (teachers only).
    pub dropped_terms: DropCounts,
}

/// Least, quarter, middle, three quarters, 95 % and greatest of a count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Quartiles {
    /// Least.
    pub min: usize,
    /// A quarter lies at or below.
    pub lower: usize,
    /// Half lies at or below.
    pub median: usize,
    /// Three quarters lie at or below.
    pub upper: usize,
    /// 95 % lie at or below.
    pub p95: usize,
    /// Greatest.
    pub max: usize,
}

impl Quartiles {
    fn of(mut values: Vec<usize>) -> Quartiles {
        values.sort_unstable();
        let at = |share: f64| values.get(((values.len().max(1) - 1) as f64 * share) as usize).copied().unwrap_or(0);
        Quartiles { min: at(0.0), lower: at(0.25), median: at(0.5), upper: at(0.75), p95: at(0.95), max: at(1.0) }
    }
}

/// Reads the notes of an experiment, which is resolved, and its models where they are named. Bad rows are counted, and a split
/// that is refused is reported with the rest.
pub fn check(config: &Config) -> Result<CheckReport> {
    device::check(&config.train)?;
    let mut data = config.data.clone();
    data.skip_bad_rows = true;
    // Where too little is left without the bad rows, the first of them is what is wrong.
    let mut notes = read_notes(&data).map_err(|error| read_notes(&config.data).err().unwrap_or(error))?;
    config.train.check_class_weights(notes.labels.len())?;
    let given = notes.unlabeled.len();
    let mut split = make_splits(&notes, &config.data.split, config.seed, config.data.duplicates);
    if let Ok(splits) = &mut split {
        leave_out_tested(&mut notes, splits, config.data.duplicates);
    }
    let (unlabeled_left_out, beyond_budget) =
        split.as_ref().map_or((0, 0), |splits| (splits.unlabeled_left_out, splits.unlabeled.len()));
    let all: Vec<&Note> = notes.notes.iter().chain(&notes.unlabeled).collect();
    let selector = TermSelector::new(&config.text, config.data.normalization)?;
    let terms: Vec<usize> = all.par_iter().map(|note| selector.terms(&note.text).len()).collect();
    let indices: Vec<usize> = (0..notes.notes.len()).collect();
    let (scripts, mixed_notes) = scripts(&all);
    let labels: Vec<(String, usize)> = notes.labels.iter().cloned().zip(notes.class_counts(&indices)).collect();
    let split = split.map(|splits| parts(config, &notes, &splits));
    let mut advice = advice::rare_classes(&labels, !config.data.labels.is_empty());
    if let Ok(parts) = &split {
        advice.extend(advice::parts_without_a_class(&labels, parts));
    }
    advice.extend(advice::same_classes(&labels));
    let (duplicates, contradicted) = repeated(&notes);
    advice.extend(advice::contradictions(contradicted));
    let is_named = !config.data.id.trim().is_empty();
    let without_ids = notes.notes.iter().filter(|note| is_named && is_name_of_a_row(&note.id)).count();
    advice.extend(advice::without_ids(without_ids));
    advice.extend(advice::idle_notes(config, given + beyond_budget));
    advice.extend(advice::learning_rates(config));
    Ok(CheckReport {
        notes: notes.notes.len(),
        unlabeled: given,
        bad_rows: notes.bad_rows.total(),
        first_bad_rows: notes.bad_rows.first.iter().map(ToString::to_string).collect(),
        advice,
        labels,
        split: split.map_err(|error| error.to_string()),
        unlabeled_left_out,
        beyond_budget,
        duplicates,
        scripts,
        mixed_notes,
        notes_without_terms: terms.iter().filter(|count| **count == 0).count(),
        terms: Quartiles::of(terms),
        models: models(config, &all, &notes.labels)?,
    })
}

fn parts(config: &Config, notes: &Notes, splits: &Splits) -> [PartReport; 3] {
    let parts = [("training", &splits.train), ("validation", &splits.validation), ("test", &splits.test)];
    parts.map(|(part, indices)| {
        let groups: HashSet<&String> = indices.iter().filter_map(|index| notes.notes[*index].group.as_ref()).collect();
        PartReport {
            part: part.to_string(),
            notes: indices.len(),
            classes: notes.class_counts(indices),
            groups: (!config.data.group.is_empty()).then_some(groups.len()),
        }
    })
}

/// Labelled notes that repeat an earlier one, and texts that stand under more than one class.
fn repeated(notes: &Notes) -> (usize, usize) {
    let mut classes: HashMap<String, HashSet<Option<usize>>> = HashMap::new();
    for note in &notes.notes {
        let words: Vec<&str> = note.text.split_whitespace().collect();
        classes.entry(words.join(" ")).or_default().insert(note.label);
    }
    (notes.notes.len() - classes.len(), classes.values().filter(|classes| classes.len() > 1).count())
}

fn scripts(notes: &[&Note]) -> (Vec<(String, f64)>, usize) {
    let (mut counts, mut mixed) = (BTreeMap::new(), 0);
    for note in notes {
        let mut here = HashSet::new();
        for letter in note.text.chars().filter(|letter| letter.is_alphabetic()) {
            let script = letter.script().full_name();
            here.insert(script);
            *counts.entry(script).or_insert(0usize) += 1;
        }
        mixed += usize::from(here.len() > 1);
    }
    let total: usize = counts.values().sum();
    let share = |(script, count): (&str, usize)| (script.to_string(), count as f64 / total.max(1) as f64);
    let mut shares: Vec<(String, f64)> = counts.into_iter().map(share).collect();
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    (shares, mixed)
}

fn models(config: &Config, notes: &[&Note], classes: &[String]) -> Result<Vec<ModelReport>> {
    if config.student.model.as_os_str().is_empty() || config.baseline != Baseline::None {
        return Ok(vec![]);
    }
    // As a training opens them: what it would refuse is refused here.
    let (student, teachers, tokenizers) = open_models(config, classes, &mut |_, _| ())?;
    let aligner = Aligner::new(config, &Vec::from_iter(&tokenizers), Some(&longest(&student, &teachers)))?;
    let mut reports = vec![];
    for (number, tokenizer) in tokenizers.iter().enumerate() {
        let encodings = notes.par_iter().map(|note| tokenizer.encode(&note.text));
        let encodings: Vec<Encoding> = encodings.collect::<Result<_>>()?;
        let lengths: Vec<usize> = encodings.iter().map(|encoding| encoding.ids.len()).collect();
        let unknown =
            encodings.iter().flat_map(|encoding| &encoding.ids).filter(|id| tokenizer.unknown() == Some(**id));
        reports.push(ModelReport {
            role: match number {
                0 => "student".to_string(),
                _ if teachers.len() == 1 => "teacher".to_string(),
                _ => format!("teacher {number}"),
            },
            max_length: aligner.max_lengths[number],
            truncated: lengths.iter().filter(|length| **length > aligner.max_lengths[number]).count(),
            unknown_share: unknown.count() as f64 / lengths.iter().sum::<usize>().max(1) as f64,
            tokens: Quartiles::of(lengths),
            ..ModelReport::default()
        });
    }
    let aligned = notes.par_iter().map(|note| aligner.align(&note.text)).collect::<Result<Vec<_>>>()?;
    for note in &aligned {
        for (view, report) in note.views.iter().zip(&mut reports[1..]) {
            report.aligned_terms += view.terms.len();
            report.dropped_terms.add(view.dropped);
        }
    }
    Ok(reports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_of_few_and_none() {
        assert_eq!(Quartiles::of(vec![]), Quartiles::default());
        let expected = Quartiles { min: 1, lower: 2, median: 3, upper: 4, p95: 4, max: 5 };
        assert_eq!(Quartiles::of(vec![5, 1, 4, 2, 3]), expected);
    }
}
