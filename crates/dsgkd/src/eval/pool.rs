//! Several runs of one classifier put together, note by note.

use super::metrics::Metrics;
use super::predictions::Predictions;
use super::scored::{Part, Scored};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// The runs of one seed put together: checked rows, and for each row the number of what it is drawn with.
struct Pool {
    scored: Scored,
    /// `[rows]`, numbers of units: notes, or groups of notes, sorted by name.
    unit_of_row: Vec<u32>,
}

/// The group of each note that has one, by its id.
pub(super) type Groups<'a> = BTreeMap<&'a str, &'a str>;

/// The groups that runs tell.
///
/// # Errors
/// A note with two groups; ids are counted, not named.
pub(super) fn groups_of<'a>(runs: impl IntoIterator<Item = &'a Predictions>) -> Result<Groups<'a>> {
    let mut groups = Groups::new();
    let mut torn = BTreeSet::new();
    for run in runs {
        for (id, group) in run.ids.iter().zip(&run.groups).filter(|(_, group)| !group.is_empty()) {
            if *groups.entry(id).or_insert(group) != group {
                torn.insert(id);
            }
        }
    }
    match torn.len() {
        0 => Ok(groups),
        count => Err(Error::Data(format!(
            "{count} ids lie in two groups; an id must name one note, and a note has one group"
        ))),
    }
}

/// What is drawn: a group, or a note that has none. A group and a note may share a name.
type Unit<'a> = (bool, &'a str);

fn unit<'a>(id: &'a str, groups: &Groups<'a>) -> Unit<'a> {
    groups.get(id).map_or((false, id), |group| (true, *group))
}

/// The units in the order of names, so that the order of a file does not change the draw: sample k takes the same units of the same set.
fn units<'a>(ids: impl Iterator<Item = &'a str>, groups: &Groups<'a>) -> BTreeMap<Unit<'a>, u32> {
    let mut number_of: BTreeMap<Unit, u32> = ids.map(|id| (unit(id, groups), 0)).collect();
    number_of.values_mut().zip(0..).for_each(|(slot, number)| *slot = number);
    number_of
}

/// What each row is drawn with, as a number below the second value: its note's group, or the note itself.
pub(super) fn numbered_units<'a>(ids: impl Iterator<Item = &'a str> + Clone, groups: &Groups<'a>) -> (Vec<u32>, usize) {
    let number_of = units(ids.clone(), groups);
    (ids.map(|id| number_of[&unit(id, groups)]).collect(), number_of.len())
}

/// The ids of runs' rows.
fn ids_of(runs: &[Predictions]) -> impl Iterator<Item = &str> + Clone {
    runs.iter().flat_map(|run| &run.ids).map(String::as_str)
}

/// An arm's seeds, each a pool of its own, whose mean is taken; a pool's folds are ranked each by itself ([`super::ranking`]).
pub(super) struct Seeds {
    /// With the place of each of its units among those of all seeds.
    pools: Vec<(Pool, Vec<u32>)>,
    pub(super) classes: usize,
    /// Of all seeds.
    pub(super) units: usize,
    /// Distinct ids.
    pub(super) notes: usize,
    /// Of all seeds.
    pub(super) rows: usize,
    /// Of all seeds: each fold of each is one.
    pub(super) trainings: usize,
}

impl Seeds {
    /// # Errors
    /// Runs that are not predictions, or of several classifiers; a seed without a run.
    pub(super) fn new(seeds: &[Vec<Predictions>], groups: &Groups) -> Result<Self> {
        check_runs(&Vec::from_iter(seeds.iter().flatten()))?;
        let ids = || seeds.iter().flat_map(|runs| ids_of(runs));
        let all = units(ids(), groups);
        let place = |runs: &Vec<Predictions>| {
            let places = units(ids_of(runs), groups).into_keys().map(|unit| all[&unit]).collect();
            Ok((Pool::new(runs, groups)?, places))
        };
        Ok(Seeds {
            pools: seeds.iter().map(place).collect::<Result<_>>()?,
            classes: seeds[0][0].classes.len(),
            units: all.len(),
            notes: ids().collect::<BTreeSet<_>>().len(),
            rows: ids().count(),
            trainings: seeds.iter().map(Vec::len).sum(),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.pools.len()
    }

    /// Whether it is one training, whose rows are each drawn by themselves: what methods for one ranking of independent notes take for granted.
    pub(super) fn is_one_ranking(&self) -> bool {
        self.trainings == 1 && self.units == self.rows
    }

    /// Each metric's mean over the seeds; `None` where it is undefined in one of them.
    pub(super) fn measure_all(&self) -> Metrics {
        Metrics::mean(&Vec::from_iter(self.pools.iter().map(|(pool, _)| pool.scored.measure_all())))
    }

    /// The same, each row counted as often as its unit was drawn.
    pub(super) fn measure(&self, drawn: &[u32]) -> Metrics {
        let of_seed = |(pool, places): &(Pool, Vec<u32>)| {
            let drawn: Vec<u32> = places.iter().map(|place| drawn[*place as usize]).collect();
            pool.measure(&drawn)
        };
        Metrics::mean(&Vec::from_iter(self.pools.iter().map(of_seed)))
    }
}

/// Every metric of an arm: the mean over its seeds, each the rows of its folds together, of which each is ranked among those of its own training and judged
/// at that one's threshold.
///
/// # Errors
/// As [`Predictions::validate`], and when the runs' classes differ.
pub fn measure(seeds: &[Vec<Predictions>]) -> Result<Metrics> {
    Ok(Seeds::new(seeds, &Groups::new())?.measure_all())
}

/// Refuses runs that are not of one classifier, or not predictions. They are counted from 1.
fn check_runs(runs: &[&Predictions]) -> Result<()> {
    let Some(first) = runs.first() else {
        return Err(Error::Data("there are no predictions to evaluate".into()));
    };
    for (index, run) in runs.iter().enumerate() {
        run.validate().map_err(|error| match error {
            Error::Data(message) if runs.len() > 1 => Error::Data(format!("run {}: {message}", index + 1)),
            other => other,
        })?;
        if run.classes != first.classes {
            return Err(Error::Data(format!(
                "run {} has other classes, or another order of them, than run 1: {:?} and {:?}",
                index + 1,
                run.classes,
                first.classes
            )));
        }
    }
    Ok(())
}

impl Pool {
    /// Concatenates the runs of one seed; notes without a group are units by themselves.
    fn new(runs: &[Predictions], groups: &Groups) -> Result<Self> {
        let parts: Vec<Part<'_>> = runs.iter().map(Predictions::part).collect();
        let classes = runs.first().map_or(0, |run| run.classes.len());
        let (unit_of_row, _) = numbered_units(ids_of(runs), groups);
        Ok(Pool { scored: Scored::new(&parts, classes)?, unit_of_row })
    }

    /// Measures the rows, each counted as often as its unit was drawn.
    fn measure(&self, drawn: &[u32]) -> Metrics {
        let counts: Vec<u32> = self.unit_of_row.iter().map(|&unit| drawn[unit as usize]).collect();
        self.scored.measure(&counts)
    }
}
