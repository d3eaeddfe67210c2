//! Which notes train, which validate, which test: from given files, or dealt out by a seed.

use super::notes::{Note, Notes};
use super::units::{deal, duplicate_key, units};
use crate::config::{DuplicatePolicy, SplitConfig};
use crate::error::{Error, Result};
use crate::random::SplitMix64;
use std::collections::{HashMap, HashSet};

/// The parts of an experiment's notes, as rising indices into [`Notes::notes`]; no note is in two.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Splits {
    /// Notes that are trained on.
    pub train: Vec<usize>,
    /// Notes that early stopping watches; empty when `validation_fraction` is 0.
    pub validation: Vec<usize>,
    /// Notes that are measured at the end; empty when `test_fraction` is 0.
    pub test: Vec<usize>,
    /// Training notes beyond `label_budget`, where they are kept without their labels.
    pub unlabeled: Vec<usize>,
    /// Notes without labels that [`leave_out_tested`] took out.
    pub unlabeled_left_out: usize,
    /// Notes of the validation and test parts whose text also stands in an earlier part (training, then validation).
    pub duplicates: usize,
}

impl Splits {
    /// The training files' notes to train on, with their label or beyond the budget, as rising indices: the same whatever the budget.
    pub fn training_notes(&self) -> Vec<usize> {
        let mut all = [&self.train[..], &self.unlabeled].concat();
        all.sort_unstable();
        all
    }

    /// Where each note of a training set stands in one order whatever has a label: first [`Splits::training_notes`], then the `given` that came without
    /// labels. The set has the labelled ones first, then those that came without labels, then those whose labels are beyond the budget.
    pub fn standings(&self, given: usize) -> Vec<usize> {
        let all = self.training_notes();
        let rank = |index: &usize| all.partition_point(|other| other < index);
        self.train.iter().map(rank).chain(all.len()..all.len() + given).chain(self.unlabeled.iter().map(rank)).collect()
    }
}

/// Divides the notes.
///
/// Parts whose files are given are taken as they are. Otherwise the test part is fold `fold` of `folds` of the training files'
/// notes, or a share `test_fraction` of them, and the validation part is a share `validation_fraction` of what remains. Groups
/// stay together; with `stratified` each class keeps its share. The same notes, options and seed (`split.seed`, else `seed`)
/// give the same parts on every machine, and the folds of one seed are disjoint and cover all notes.
///
/// Errors when the options contradict each other, when a part would be empty, when the notes to train on are of one class or fewer than the label budget,
/// when a group stands in two parts, or when equal notes do and `duplicates` does not allow it.
pub fn make_splits(notes: &Notes, split: &SplitConfig, seed: u64, duplicates: DuplicatePolicy) -> Result<Splits> {
    check(notes, split)?;
    let seed = split.seed.unwrap_or(seed);
    let dealing = Dealing { notes, stratified: split.stratified, duplicates };
    let mut train: Vec<usize> = notes.train.clone().collect();
    let mut test: Vec<usize> = notes.test.clone().collect();
    let mut validation: Vec<usize> = notes.validation.clone().collect();

    if split.folds > 0 {
        let shares = vec![1.0 / split.folds as f64; split.folds];
        let mut parts = dealing.parts(&train, &shares, &mut SplitMix64::new(seed));
        test = parts.swap_remove(split.fold);
        if test.is_empty() {
            return Err(Error::Data(format!(
                "data.split: fold {} is empty: there are fewer notes (or groups) than folds",
                split.fold
            )));
        }
        train = without(&train, &test);
    } else if test.is_empty() && split.test_fraction > 0.0 {
        test = dealing.share(&train, split.test_fraction, "test_fraction", &mut SplitMix64::new(seed))?;
        train = without(&train, &test);
    }
    if validation.is_empty() && split.validation_fraction > 0.0 {
        // A stream of its own for each fold, so that a fold's validation part does not depend on how many folds came before.
        let mut random = SplitMix64::new(SplitMix64::new(seed ^ (split.fold as u64 + 1)).next_u64());
        validation = dealing.share(&train, split.validation_fraction, "validation_fraction", &mut random)?;
        train = without(&train, &validation);
    }
    if train.is_empty() {
        return Err(Error::Data("data.split: no note is left to train on; lower the fractions".to_string()));
    }
    let mut splits = Splits { train, validation, test, ..Splits::default() };
    check_groups(notes, &splits)?;
    splits.duplicates = count_duplicates(notes, &splits);
    if splits.duplicates > 0 && duplicates != DuplicatePolicy::Allow {
        let given = !notes.validation.is_empty() || !notes.test.is_empty();
        let advice = match duplicates {
            DuplicatePolicy::SameSide => {
                "given files are not moved: remove the repeats, or set data.duplicates = \"allow\""
            }
            _ if given => "remove the repeats, or set data.duplicates = \"allow\"",
            _ => "set data.duplicates = \"same-side\" to keep equal notes together, or \"allow\"",
        };
        return Err(Error::Data(format!(
            "data.split: {} validation or test notes also stand in an earlier part, so the results would flatter; {advice}",
            splits.duplicates
        )));
    }
    if split.label_budget > splits.train.len() {
        return Err(Error::Data(format!(
            "data.split.label_budget: {} labels are asked for, and there are {} notes to train on; lower it, or set 0 for the labels of all",
            split.label_budget,
            splits.train.len()
        )));
    }
    if split.label_budget > 0 {
        let kept = labelled_within(notes, &splits.train, split.label_budget, seed);
        let rest = without(&splits.train, &kept);
        splits.train = kept;
        splits.unlabeled = if split.rest_unlabeled { rest } else { vec![] };
    }
    if notes.class_counts(&splits.train).iter().filter(|count| **count > 0).count() < 2 {
        let advice = match split.label_budget {
            0 => "lower the fractions, or see whether data.label_map or data.group leaves one",
            _ => "raise data.split.label_budget to two or more",
        };
        return Err(Error::Data(format!("data.split: the notes to train on are all of one class; {advice}")));
    }
    Ok(splits)
}

/// Keeps the numbers drawn for the budget apart from those of the parts.
const BUDGET_STREAM: u64 = 1 << 40;

/// `budget` of the notes `indices`, which are at least as many, as rising indices: each class has its share, and every class a note while the budget lasts. Notes
/// come in one order whatever the budget, so a larger one holds a smaller one's but for rounding.
fn labelled_within(notes: &Notes, indices: &[usize], budget: usize, seed: u64) -> Vec<usize> {
    let mut order = indices.to_vec();
    SplitMix64::at(seed, BUDGET_STREAM).shuffle(&mut order);
    let mut of_class: Vec<Vec<usize>> = vec![vec![]; notes.labels.len()];
    for index in order {
        if let Some(label) = notes.notes[index].label {
            of_class[label].push(index);
        }
    }
    let all: usize = of_class.iter().map(Vec::len).sum();
    let mut taken = vec![0; of_class.len()];
    for _ in 0..budget {
        // The class that is furthest behind its share; one without a note yet comes first.
        let behind = |class: &usize| match taken[*class] {
            0 => f64::INFINITY,
            taken => of_class[*class].len() as f64 / all as f64 - taken as f64 / budget as f64,
        };
        let open = (0..of_class.len()).filter(|class| taken[*class] < of_class[*class].len());
        let next = open.rev().max_by(|a, b| behind(a).total_cmp(&behind(b)));
        next.into_iter().for_each(|class| taken[class] += 1);
    }
    let mut kept: Vec<usize> =
        of_class.iter().zip(taken).flat_map(|(notes, taken)| notes[..taken].iter().copied()).collect();
    kept.sort_unstable();
    kept
}

fn check(notes: &Notes, split: &SplitConfig) -> Result<()> {
    for (name, fraction) in [("test_fraction", split.test_fraction), ("validation_fraction", split.validation_fraction)]
    {
        if !(0.0..1.0).contains(&fraction) {
            return Err(Error::Config(format!("data.split.{name}: {fraction} is not from 0 to below 1")));
        }
    }
    if split.folds == 1 {
        return Err(Error::Config(
            "data.split.folds: one fold leaves nothing to train on; 0 or at least 2".to_string(),
        ));
    }
    if split.folds > 0 && split.fold >= split.folds {
        return Err(Error::Config(format!(
            "data.split.fold: {} is not below folds = {}; folds count from 0",
            split.fold, split.folds
        )));
    }
    if split.folds > 0 && !notes.test.is_empty() {
        return Err(Error::Config(
            "data: test files and data.split.folds both say what the test part is; give one".to_string(),
        ));
    }
    if split.folds > notes.train.len() {
        return Err(Error::Data(format!(
            "data.split.folds: {} notes cannot make {} folds",
            notes.train.len(),
            split.folds
        )));
    }
    Ok(())
}

struct Dealing<'a> {
    notes: &'a Notes,
    stratified: bool,
    duplicates: DuplicatePolicy,
}

impl Dealing<'_> {
    fn parts(&self, indices: &[usize], shares: &[f64], random: &mut SplitMix64) -> Vec<Vec<usize>> {
        let units = units(&self.notes.notes, indices, self.duplicates == DuplicatePolicy::SameSide);
        let classes = if self.stratified { self.notes.labels.len() } else { 1 };
        deal(&self.notes.notes, units, shares, classes, random)
    }

    fn share(&self, indices: &[usize], share: f64, name: &str, random: &mut SplitMix64) -> Result<Vec<usize>> {
        let part = self.parts(indices, &[1.0 - share, share], random).swap_remove(1);
        if part.is_empty() || part.len() == indices.len() {
            return Err(Error::Data(format!(
                "data.split.{name}: {share} of {} notes leaves a part empty (groups stay whole); add notes or change it",
                indices.len()
            )));
        }
        Ok(part)
    }
}

/// `indices` without those of `part`.
fn without(indices: &[usize], part: &[usize]) -> Vec<usize> {
    let part: HashSet<usize> = part.iter().copied().collect();
    indices.iter().copied().filter(|index| !part.contains(index)).collect()
}

fn parts(splits: &Splits) -> [&[usize]; 3] {
    [&splits.train, &splits.validation, &splits.test]
}

fn check_groups(notes: &Notes, splits: &Splits) -> Result<()> {
    let mut part_of: HashMap<&str, usize> = HashMap::new();
    let mut torn: HashSet<&str> = HashSet::new();
    for (part, indices) in parts(splits).into_iter().enumerate() {
        for group in indices.iter().filter_map(|&index| notes.notes[index].group.as_deref()) {
            if *part_of.entry(group).or_insert(part) != part {
                torn.insert(group);
            }
        }
    }
    if torn.is_empty() {
        return Ok(());
    }
    Err(Error::Data(format!(
        "data.group: {} groups stand in more than one of the given files' parts, so the results would flatter; \
         move each group to one side",
        torn.len()
    )))
}

/// Takes out of the notes without labels those that stand among the validation or test notes too (the same text, unless `duplicates` allows it) or are of
/// a group that does, and counts them: what is measured on a note must not come from a model that has read it.
pub fn leave_out_tested(notes: &mut Notes, splits: &mut Splits, duplicates: DuplicatePolicy) {
    let measured = || splits.validation.iter().chain(&splits.test).map(|index| &notes.notes[*index]);
    let groups: HashSet<String> = measured().filter_map(|note| note.group.clone()).collect();
    let texts: HashSet<String> = match duplicates {
        DuplicatePolicy::Allow => HashSet::new(),
        _ => measured().map(|note| duplicate_key(&note.text)).collect(),
    };
    let before = notes.unlabeled.len();
    let is_measured = |note: &Note| {
        note.group.as_ref().is_some_and(|group| groups.contains(group)) || texts.contains(&duplicate_key(&note.text))
    };
    notes.unlabeled.retain(|note| !is_measured(note));
    splits.unlabeled_left_out = before - notes.unlabeled.len();
}

fn count_duplicates(notes: &Notes, splits: &Splits) -> usize {
    let mut seen: HashSet<String> = HashSet::new();
    let mut duplicates = 0;
    for indices in parts(splits) {
        let keys: Vec<String> = indices.iter().map(|&index| duplicate_key(&notes.notes[index].text)).collect();
        duplicates += keys.iter().filter(|key| seen.contains(*key)).count();
        seen.extend(keys);
    }
    duplicates
}

#[cfg(test)]
#[path = "split_tests.rs"]
mod tests;
