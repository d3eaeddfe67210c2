//! Parts of the test notes: by length, by script, by columns of the data files.

use crate::config::Config;
use crate::data::visit_tested_files;
use crate::error::{Error, Result};
use crate::eval::{BootstrapOptions, Interval, Intervals, Metric, Predictions, bootstrap};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use unicode_script::{Script, UnicodeScript};

/// Values of a column that are shown one by one; a column of numbers with more is cut into quarters.
const MAX_VALUES: usize = 12;
/// Fewer notes are counted and not measured: the interval would be all there is.
const LEAST_NOTES: usize = 10;
/// The part of notes that have no value.
const EMPTY: &str = "(empty)";

/// One way to divide the notes.
#[derive(Serialize)]
pub(super) struct Subgroups {
    /// By what.
    pub by: String,
    /// The parts.
    pub parts: Vec<Subgroup>,
}

/// One part.
#[derive(Serialize)]
pub(super) struct Subgroup {
    /// Its value.
    pub name: String,
    /// Test notes in it, each once however many seeds it was tested with.
    pub notes: usize,
    /// Of these, of the second class: of two, the positive one.
    pub positives: usize,
    /// Metrics; `None` for too few notes.
    pub intervals: Option<Intervals>,
    /// What `predict` decides in it; `None` for too few notes, and where no threshold was chosen.
    pub chosen: Option<ChosenShares>,
}

/// What is decided rightly at thresholds that were chosen on validation notes.
#[derive(Serialize)]
pub(super) struct ChosenShares {
    /// Of the positives.
    pub sensitivity: Share,
    /// Of the negatives.
    pub specificity: Share,
}

/// A share of notes, `None` of none, with its 95 % interval.
#[derive(Serialize)]
pub(super) struct Share {
    /// 0..=1.
    pub value: Option<f64>,
    /// Over other notes.
    pub interval: Option<Interval>,
}

/// What is known of a note beside its text.
struct Facts {
    characters: usize,
    latin_share: f64,
    /// One a wanted column.
    cells: Vec<Option<String>>,
}

/// Measures parts of the notes. Without columns asked for, data files that are gone are no error: there are no subgroups then.
///
/// `chosen`: the same runs with what `predict` writes, and in place of the training prevalence the threshold at which it decides.
pub(super) fn subgroups(
    config: &Config,
    seeds: &[Vec<Predictions>],
    chosen: Option<&[Vec<Predictions>]>,
    columns: &[String],
    samples: BootstrapOptions,
) -> Result<Vec<Subgroups>> {
    let facts = match facts(config, seeds, columns) {
        Ok(facts) => facts,
        Err(_) if columns.is_empty() => return Ok(vec![]),
        Err(error) => return Err(error),
    };
    let mut divisions = vec![
        ("note length, in characters".to_string(), by_number(&facts, |facts| Some(facts.characters as f64), 3)),
        ("share of Latin letters".to_string(), by_latin_share(&facts)),
    ];
    for (index, column) in columns.iter().enumerate() {
        divisions.push((format!("column {column}"), by_column(&facts, index, column)?));
    }
    let measured = divisions.into_iter().filter(|(_, parts)| !parts.is_empty()).map(|(by, parts)| {
        let parts = parts.into_iter().map(|(name, ids)| measure(seeds, chosen, name, &ids, samples));
        Ok(Subgroups { by, parts: parts.collect::<Result<_>>()? })
    });
    measured.collect()
}

fn facts(config: &Config, seeds: &[Vec<Predictions>], columns: &[String]) -> Result<HashMap<String, Facts>> {
    let wanted: HashSet<&String> = seeds.iter().flatten().flat_map(|run| &run.ids).collect();
    let mut facts = HashMap::new();
    let mut missing = None;
    visit_tested_files(&config.data, &mut |note, names, cells| {
        if !wanted.contains(&note.id) {
            return;
        }
        let letters = || note.text.chars().filter(|letter| letter.is_alphabetic());
        let latin = letters().filter(|letter| letter.script() == Script::Latin).count();
        let cell = |column: &String| {
            let place = names.iter().position(|name| name == column);
            if place.is_none() {
                missing.get_or_insert_with(|| (column.clone(), names.join(", ")));
            }
            let text = cells.get(place?)?.as_ref()?.trim();
            (!text.is_empty()).then(|| text.to_string())
        };
        let cells = columns.iter().map(cell).collect();
        let latin_share = latin as f64 / letters().count().max(1) as f64;
        facts.insert(note.id.clone(), Facts { characters: note.text.chars().count(), latin_share, cells });
    })?;
    match missing {
        Some((column, names)) => {
            Err(Error::Config(format!("--subgroup {column}: there is no such column; there are {names}")))
        }
        None => Ok(facts),
    }
}

type Parts = Vec<(String, HashSet<String>)>;

/// Cuts at quantiles of a number: `pieces` parts of about equal size, before them the notes without one.
fn by_number(facts: &HashMap<String, Facts>, number: impl Fn(&Facts) -> Option<f64>, pieces: usize) -> Parts {
    let mut sorted: Vec<f64> = facts.values().filter_map(&number).collect();
    sorted.sort_by(f64::total_cmp);
    let mut edges: Vec<f64> = (1..pieces).filter_map(|cut| sorted.get(cut * sorted.len() / pieces).copied()).collect();
    edges.dedup();
    let mut parts: Parts = (0..=edges.len())
        .map(|part| {
            let name = match (part.checked_sub(1).map(|before| edges[before]), edges.get(part)) {
                (None, None) => "all".to_string(),
                (None, Some(high)) => format!("below {high}"),
                (Some(low), None) => format!("{low} or more"),
                (Some(low), Some(high)) => format!("{low} to below {high}"),
            };
            (name, HashSet::new())
        })
        .collect();
    parts.insert(0, (EMPTY.to_string(), HashSet::new()));
    for (id, facts) in facts {
        let part = number(facts).map_or(0, |value| 1 + edges.partition_point(|edge| *edge <= value));
        parts[part].1.insert(id.clone());
    }
    parts.retain(|(_, ids)| !ids.is_empty());
    parts
}

fn by_latin_share(facts: &HashMap<String, Facts>) -> Parts {
    let edges = [(0.0, "none"), (0.25, "up to 25 %"), (0.5, "25 to 50 %"), (0.75, "50 to 75 %"), (1.0, "above 75 %")];
    let mut parts: Parts = edges.iter().map(|(_, name)| (name.to_string(), HashSet::new())).collect();
    for (id, facts) in facts {
        let part = edges.partition_point(|(edge, _)| *edge < facts.latin_share);
        parts[part].1.insert(id.clone());
    }
    parts.retain(|(_, ids)| !ids.is_empty());
    parts
}

fn by_column(facts: &HashMap<String, Facts>, index: usize, column: &str) -> Result<Parts> {
    let mut values: BTreeMap<Option<String>, HashSet<String>> = BTreeMap::new();
    for (id, facts) in facts {
        values.entry(facts.cells[index].clone()).or_default().insert(id.clone());
    }
    let named = values.keys().flatten().count();
    if named > MAX_VALUES {
        let number = |facts: &Facts| facts.cells[index].as_ref()?.replace(',', ".").parse::<f64>().ok();
        let numbers = facts.values().filter(|facts| number(facts).is_some()).count();
        let filled = facts.values().filter(|facts| facts.cells[index].is_some()).count();
        if numbers < filled {
            return Err(Error::Config(format!(
                "--subgroup {column}: the column has {named} different values that are not all numbers; name one with at most {MAX_VALUES}"
            )));
        }
        return Ok(by_number(facts, number, 4));
    }
    Ok(values.into_iter().map(|(value, ids)| (value.unwrap_or_else(|| EMPTY.to_string()), ids)).collect())
}

fn measure(
    seeds: &[Vec<Predictions>],
    chosen: Option<&[Vec<Predictions>]>,
    name: String,
    ids: &HashSet<String>,
    samples: BootstrapOptions,
) -> Result<Subgroup> {
    let parts = parts_of(seeds, ids);
    let all = || parts.iter().flatten();
    let notes = all().flat_map(|part| &part.ids).collect::<HashSet<_>>().len();
    let labelled = all().flat_map(|part| part.ids.iter().zip(&part.labels));
    let positives = labelled.filter(|(_, label)| **label == 1).map(|(id, _)| id).collect::<HashSet<_>>().len();
    if notes < LEAST_NOTES {
        return Ok(Subgroup { name, notes, positives, intervals: None, chosen: None });
    }
    let intervals = Some(bootstrap(&parts, samples)?);
    let chosen = match chosen {
        Some(seeds) => Some(shares(&bootstrap(&parts_of(seeds, ids), samples)?)),
        None => None,
    };
    Ok(Subgroup { name, notes, positives, intervals, chosen })
}

/// Of runs whose prevalence is the threshold that was chosen.
fn shares(intervals: &Intervals) -> ChosenShares {
    let share = |metric| {
        let found = intervals.of(metric);
        Share { value: found.and_then(|found| found.value), interval: found.and_then(|found| found.interval) }
    };
    ChosenShares { sensitivity: share(Metric::RecallAtPrevalence), specificity: share(Metric::SpecificityAtPrevalence) }
}

/// The rows of the notes `ids` of every run that has any.
fn parts_of(seeds: &[Vec<Predictions>], ids: &HashSet<String>) -> Vec<Vec<Predictions>> {
    let of_seed = |runs: &Vec<Predictions>| -> Vec<Predictions> {
        runs.iter().map(|run| part(run, ids)).filter(|part| !part.ids.is_empty()).collect()
    };
    seeds.iter().map(of_seed).filter(|parts| !parts.is_empty()).collect()
}

/// The rows of the notes `ids`.
fn part(run: &Predictions, ids: &HashSet<String>) -> Predictions {
    let classes = run.classes.len();
    let rows: Vec<usize> = (0..run.ids.len()).filter(|row| ids.contains(&run.ids[*row])).collect();
    Predictions {
        ids: rows.iter().map(|row| run.ids[*row].clone()).collect(),
        groups: rows.iter().filter_map(|row| run.groups.get(*row).cloned()).collect(),
        labels: rows.iter().map(|row| run.labels[*row]).collect(),
        probabilities: rows
            .iter()
            .flat_map(|row| &run.probabilities[row * classes..(row + 1) * classes])
            .copied()
            .collect(),
        ..run.clone()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn facts(values: &[(usize, f64, Option<&str>)]) -> HashMap<String, Facts> {
        let fact = |(number, (characters, latin_share, cell)): (usize, &(usize, f64, Option<&str>))| {
            let cells = vec![cell.map(str::to_string)];
            (number.to_string(), Facts { characters: *characters, latin_share: *latin_share, cells })
        };
        values.iter().enumerate().map(fact).collect()
    }

    fn sizes(parts: &Parts) -> Vec<(&str, usize)> {
        parts.iter().map(|(name, ids)| (name.as_str(), ids.len())).collect()
    }

    #[test]
    fn every_note_is_in_one_part() {
        let facts = facts(&[(10, 0.0, Some("F")), (20, 0.25, Some("M")), (30, 0.26, Some("F")), (30, 1.0, None)]);
        let by_length = by_number(&facts, |facts| Some(facts.characters as f64), 3);
        assert_eq!(sizes(&by_length), [("below 20", 1), ("20 to below 30", 1), ("30 or more", 2)]);
        let by_share = by_latin_share(&facts);
        assert_eq!(sizes(&by_share), [("none", 1), ("up to 25 %", 1), ("25 to 50 %", 1), ("above 75 %", 1)]);
        let by_cell = by_column(&facts, 0, "Sex").unwrap();
        assert_eq!(sizes(&by_cell), [("(empty)", 1), ("F", 2), ("M", 1)]);
    }

    #[test]
    fn many_numbers_are_cut_into_quarters_and_many_words_are_refused_unquoted() {
        let numbers: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let with =
            |cells: &[String]| facts(&cells.iter().map(|cell| (1, 0.0, Some(cell.as_str()))).collect::<Vec<_>>());
        let parts = by_column(&with(&numbers), 0, "Age").unwrap();
        let expected = [("below 10", 10), ("10 to below 20", 10), ("20 to below 30", 10), ("30 or more", 10)];
        assert_eq!(sizes(&parts), expected);
        let mut some = facts(&[(1, 0.0, None)]);
        some.extend(with(&numbers).into_iter().map(|(id, facts)| (format!("n{id}"), facts)));
        let with_empty = [&[("(empty)", 1)][..], &expected[..]].concat();
        assert_eq!(sizes(&by_column(&some, 0, "Age").unwrap()), with_empty, "a note without a number is in a part too");
        let words: Vec<String> = (0..40).map(|number| format!("secret{number}")).collect();
        let error = by_column(&with(&words), 0, "Complaint").unwrap_err().to_string();
        assert!(error.contains("40 different") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn of_two_seeds_each_note_is_counted_once() {
        let run = Predictions {
            ids: (0..12).map(|id| id.to_string()).collect(),
            groups: vec![],
            labels: (0..12).map(|id| usize::from(id % 3 == 0)).collect(),
            probabilities: (0..12).flat_map(|id| [1.0 - f64::from(id) / 12.0, f64::from(id) / 12.0]).collect(),
            classes: vec!["no".to_string(), "yes".to_string()],
            training_prevalence: Some(0.5),
        };
        let seeds = [vec![run.clone()], vec![run]];
        let of_first = |notes: usize| {
            let ids = (0..notes).map(|id| id.to_string()).collect();
            measure(&seeds, None, "first".to_string(), &ids, BootstrapOptions { samples: 5, seed: 0 }).unwrap()
        };
        let (all, nine) = (of_first(12), of_first(9));
        assert_eq!((all.notes, all.positives, all.intervals.is_some()), (12, 4, true));
        assert_eq!((nine.notes, nine.positives, nine.intervals.is_some()), (9, 3, false), "18 rows are 9 notes");
    }
}
