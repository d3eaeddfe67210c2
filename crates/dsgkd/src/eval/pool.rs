//! Several runs of one classifier put together, note by note.

use super::metrics::Metrics;
use super::predictions::Predictions;
use super::scored::{Part, Scored};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Runs put together: checked rows, and for each row the number of its note.
pub(super) struct Pool {
    pub(super) scored: Scored,
    pub(super) classes: usize,
    /// `[rows]`, indices into the sorted distinct ids.
    pub(super) note_of_row: Vec<u32>,
    pub(super) notes: usize,
}

impl Pool {
    /// Concatenates runs of the same classifier.
    pub(super) fn new(runs: &[Predictions]) -> Result<Self> {
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
        // Sorted, so that the order of a file does not change the draw: sample k takes the same notes of the same set.
        let mut number_of: BTreeMap<&str, u32> = ids().map(|id| (id, 0)).collect();
        number_of.values_mut().zip(0..).for_each(|(slot, number)| *slot = number);
        Ok(Pool {
            scored: Scored::new(&parts, first.classes.len())?,
            classes: first.classes.len(),
            note_of_row: ids().map(|id| number_of[id]).collect(),
            notes: number_of.len(),
        })
    }

    /// Measures the rows, each counted as often as its note was drawn.
    pub(super) fn measure(&self, drawn: &[u32]) -> Metrics {
        let counts: Vec<u32> = self.note_of_row.iter().map(|&note| drawn[note as usize]).collect();
        self.scored.measure(&counts)
    }
}
