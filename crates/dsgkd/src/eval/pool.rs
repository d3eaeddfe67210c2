//! Several runs of one classifier put together, note by note.

use super::metrics::Metrics;
use super::predictions::Predictions;
use super::scored::{Part, Scored};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Runs put together: checked rows, and for each row the number of what it is drawn with.
pub(super) struct Pool {
    pub(super) scored: Scored,
    pub(super) classes: usize,
    /// `[rows]`, numbers of units: notes, or groups of notes, sorted by name.
    pub(super) unit_of_row: Vec<u32>,
    pub(super) units: usize,
    /// Distinct ids.
    pub(super) notes: usize,
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

/// What each row is drawn with, as a number below the second value: its note's group, or the note itself. Numbered in the order of
/// names, so that the order of a file does not change the draw: sample k takes the same units of the same set.
pub(super) fn numbered_units<'a>(ids: impl Iterator<Item = &'a str> + Clone, groups: &Groups<'a>) -> (Vec<u32>, usize) {
    // A group and a note may share a name.
    let unit = |id: &'a str| groups.get(id).map_or((false, id), |group| (true, *group));
    let mut number_of: BTreeMap<(bool, &str), u32> = ids.clone().map(|id| (unit(id), 0)).collect();
    number_of.values_mut().zip(0..).for_each(|(slot, number)| *slot = number);
    (ids.map(|id| number_of[&unit(id)]).collect(), number_of.len())
}

impl Pool {
    /// Concatenates runs of the same classifier; notes without a group are units by themselves.
    pub(super) fn new(runs: &[Predictions], groups: &Groups) -> Result<Self> {
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
        let parts: Vec<Part<'_>> = runs.iter().map(Predictions::part).collect();
        let ids = || runs.iter().flat_map(|run| &run.ids).map(String::as_str);
        let (unit_of_row, units) = numbered_units(ids(), groups);
        Ok(Pool {
            scored: Scored::new(&parts, first.classes.len())?,
            classes: first.classes.len(),
            unit_of_row,
            units,
            notes: ids().collect::<BTreeSet<_>>().len(),
        })
    }

    /// Whether every row is drawn by itself, as methods for independent notes take for granted.
    pub(super) fn rows_are_independent(&self) -> bool {
        self.units == self.unit_of_row.len()
    }

    /// Measures the rows, each counted as often as its unit was drawn.
    pub(super) fn measure(&self, drawn: &[u32]) -> Metrics {
        let counts: Vec<u32> = self.unit_of_row.iter().map(|&unit| drawn[unit as usize]).collect();
        self.scored.measure(&counts)
    }
}
