//! Which notes make up which batch and which batches which step, from the first step to the last: it follows from the notes' lengths, the
//! configuration and the seed alone, so that a resumed training goes on with the same ones.
//!
//! An epoch is a pass over the labelled notes. Those without a label ride along, some in each batch, in turn: few labels among many notes
//! are then seen as often, and in batches as large, as if they were alone.

use crate::config::TrainConfig;
use crate::random::SplitMix64;
use std::iter::Peekable;

/// Keeps the numbers drawn for the order of the labelled notes apart from others.
const ORDER_STREAM: u64 = 1 << 32;

/// And those for the order of the notes without labels.
const UNLABELED_STREAM: u64 = 3 << 32;

/// The steps of a training.
pub struct Plan<'a> {
    /// Tokens of each training note; the labelled ones come first.
    lengths: Vec<usize>,
    labelled: usize,
    config: &'a TrainConfig,
    seed: u64,
    /// The first step of each epoch, and the number of all steps, `[epochs + 1]`.
    first_steps: Vec<u64>,
    /// How many notes without labels rode along before each epoch, counted again when they come again, `[epochs + 1]`.
    unlabeled_before: Vec<usize>,
}

impl Plan<'_> {
    /// Plans the training of notes of so many tokens, the first `labelled` of which have labels.
    pub fn new(lengths: Vec<usize>, labelled: usize, config: &TrainConfig, seed: u64) -> Plan<'_> {
        // Without any label an epoch is a pass over all notes.
        let labelled = if labelled == 0 { lengths.len() } else { labelled };
        let mut plan = Plan { lengths, labelled, config, seed, first_steps: vec![0], unlabeled_before: vec![0] };
        let (mut steps, mut unlabeled) = (0, 0);
        for epoch in 0..config.num_train_epochs as u64 {
            let batches = plan.batches(epoch);
            steps += batches.len().div_ceil(config.gradient_accumulation_steps) as u64;
            unlabeled += batches.iter().flatten().filter(|note| **note >= labelled).count();
            plan.first_steps.push(steps);
            plan.unlabeled_before.push(unlabeled);
        }
        plan
    }

    /// Optimiser steps in all.
    pub fn steps(&self) -> u64 {
        self.first_steps.last().copied().unwrap_or(0)
    }

    /// The epoch of a step, both counted from 0.
    pub fn epoch_of(&self, step: u64) -> u64 {
        self.first_steps.partition_point(|first| *first <= step) as u64 - 1
    }

    /// Whether an epoch ends when so many steps are done.
    pub fn ends_epoch(&self, steps: u64) -> bool {
        steps > 0 && self.first_steps.binary_search(&steps).is_ok()
    }

    /// The batches of an epoch, each the places of its notes in the training set: up to `batch_size` labelled notes and, unless it is a single
    /// one, up to `max_tokens_per_batch` tokens; then up to `unlabeled_batch_size` notes without labels and as many tokens again.
    pub fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.labelled).collect();
        if self.config.shuffle {
            SplitMix64::at(self.seed, ORDER_STREAM + epoch).shuffle(&mut order);
        }
        let mut batches = vec![];
        let mut order = order.into_iter().peekable();
        while order.peek().is_some() {
            batches.push(self.take(&mut order, self.config.batch_size));
        }
        let beside = self.config.unlabeled_batch_size.unwrap_or(self.config.batch_size);
        let beside = beside.min(self.lengths.len() - self.labelled); // no note twice for want of others
        let mut unlabeled = self.unlabeled_from(self.unlabeled_before[epoch as usize]).peekable();
        for batch in &mut batches {
            batch.extend(self.take(&mut unlabeled, beside));
        }
        batches
    }

    /// The next notes of an order that fit one batch: at least one where `count` is.
    fn take(&self, order: &mut Peekable<impl Iterator<Item = usize>>, count: usize) -> Vec<usize> {
        let limit = match self.config.max_tokens_per_batch {
            0 => usize::MAX,
            limit => limit,
        };
        let (mut taken, mut tokens) = (vec![], 0usize);
        while taken.len() < count {
            let fits = |note: &usize| taken.is_empty() || tokens + self.lengths[*note] <= limit;
            let Some(note) = order.next_if(fits) else { break };
            tokens += self.lengths[note];
            taken.push(note);
        }
        taken
    }

    /// The notes without labels, each once before any comes again, but for the first `before`.
    fn unlabeled_from(&self, before: usize) -> impl Iterator<Item = usize> {
        let count = self.lengths.len() - self.labelled;
        let passes = before.checked_div(count).map_or(0..0, |pass| pass..usize::MAX);
        let of_pass = move |pass: usize| {
            let mut order: Vec<usize> = (self.labelled..self.lengths.len()).collect();
            if self.config.shuffle {
                SplitMix64::at(self.seed, UNLABELED_STREAM + pass as u64).shuffle(&mut order);
            }
            order
        };
        passes.flat_map(of_pass).skip(before.checked_rem(count).unwrap_or(0))
    }

    /// The batches of a step, out of those of its epoch; the last step of an epoch may have fewer.
    pub fn of_step<'b>(&self, batches: &'b [Vec<usize>], step: u64) -> &'b [Vec<usize>] {
        let in_epoch = step - self.first_steps[self.epoch_of(step) as usize];
        batches.chunks(self.config.gradient_accumulation_steps).nth(in_epoch as usize).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(batch_size: usize, max_tokens: usize, accumulate: usize, epochs: usize, shuffle: bool) -> TrainConfig {
        TrainConfig {
            batch_size,
            max_tokens_per_batch: max_tokens,
            gradient_accumulation_steps: accumulate,
            num_train_epochs: epochs,
            shuffle,
            ..TrainConfig::default()
        }
    }

    #[test]
    fn batches_are_filled_by_notes_and_by_tokens() {
        let lengths = vec![3, 3, 3, 10, 2, 9, 1, 1, 1, 1];
        let by_notes = config(4, 0, 1, 1, false);
        let plan = Plan::new(lengths.clone(), 10, &by_notes, 1);
        assert_eq!(plan.batches(0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        let by_tokens = config(4, 9, 2, 2, false);
        let plan = Plan::new(lengths, 10, &by_tokens, 1);
        let batches = plan.batches(1);
        assert_eq!(batches, [vec![0, 1, 2], vec![3], vec![4], vec![5], vec![6, 7, 8, 9]]);
        assert_eq!(plan.steps(), 6);
        assert_eq!(plan.of_step(&batches, 3), &batches[..2]);
        assert_eq!(plan.of_step(&batches, 5), &batches[4..]);
    }

    #[test]
    fn notes_without_labels_ride_along_in_turn() {
        let mut config = config(2, 0, 1, 2, false);
        let plan = Plan::new(vec![1; 8], 5, &config, 1);
        assert_eq!(plan.batches(0), [vec![0, 1, 5, 6], vec![2, 3, 7, 5], vec![4, 6, 7]]);
        assert_eq!(plan.batches(1), [vec![0, 1, 5, 6], vec![2, 3, 7, 5], vec![4, 6, 7]]);
        config.unlabeled_batch_size = Some(1);
        config.num_train_epochs = 3;
        let plan = Plan::new(vec![1; 7], 5, &config, 1);
        assert_eq!(plan.batches(1), [vec![0, 1, 6], vec![2, 3, 5], vec![4, 6]]);
        config.unlabeled_batch_size = Some(0);
        assert_eq!(Plan::new(vec![1; 7], 5, &config, 1).batches(2), [vec![0, 1], vec![2, 3], vec![4]]);
    }

    proptest! {
        #[test]
        fn every_epoch_has_every_label_once_and_no_batch_is_too_large(
            lengths in prop::collection::vec(1usize..40, 1..60), unlabeled in 0usize..40, beside in prop::option::of(0usize..9),
            batch_size in 1usize..9, max_tokens in 0usize..80, accumulate in 1usize..4, epochs in 1usize..4, seed: u64,
        ) {
            let labelled = lengths.len().saturating_sub(unlabeled).max(1);
            let config = TrainConfig { unlabeled_batch_size: beside, ..config(batch_size, max_tokens, accumulate, epochs, true) };
            let beside = beside.unwrap_or(batch_size).min(lengths.len() - labelled);
            let plan = Plan::new(lengths.clone(), labelled, &config, seed);
            let (mut step, mut rode_along) = (0, vec![0usize; lengths.len() - labelled]);
            for epoch in 0..epochs as u64 {
                let batches = plan.batches(epoch);
                let mut seen = vec![];
                for batch in &batches {
                    let (with, without): (Vec<usize>, Vec<usize>) = batch.iter().partition(|note| **note < labelled);
                    for (part, count) in [(&with, batch_size), (&without, beside)] {
                        let tokens: usize = part.iter().map(|note| lengths[*note]).sum();
                        prop_assert!(part.len() <= count);
                        prop_assert!(max_tokens == 0 || tokens <= max_tokens || part.len() == 1);
                    }
                    prop_assert_eq!(without.is_empty(), beside == 0);
                    without.iter().for_each(|note| rode_along[note - labelled] += 1);
                    seen.extend(with);
                }
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..labelled).collect::<Vec<_>>());
                let spread = rode_along.iter().max().zip(rode_along.iter().min()).map_or(0, |(most, least)| most - least);
                prop_assert!(spread <= 1, "each once before any comes again");
                let mut walked = vec![];
                loop {
                    prop_assert_eq!(plan.epoch_of(step), epoch);
                    walked.extend_from_slice(plan.of_step(&batches, step));
                    step += 1;
                    if plan.ends_epoch(step) {
                        break;
                    }
                }
                prop_assert_eq!(walked, batches);
            }
            prop_assert_eq!(step, plan.steps());
        }
    }
}
