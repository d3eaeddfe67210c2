//! Which notes make up which batch and which batches which step, from the first step to the last: it follows from the notes' lengths, the
//! configuration and the seed alone, so that a resumed training goes on with the same ones.

use crate::config::TrainConfig;
use crate::random::SplitMix64;

/// Keeps the numbers drawn for the order apart from others.
const ORDER_STREAM: u64 = 1 << 32;

/// The steps of a training.
pub struct Plan<'a> {
    /// Tokens of each training note.
    lengths: Vec<usize>,
    config: &'a TrainConfig,
    seed: u64,
    /// The first step of each epoch, and the number of all steps, `[epochs + 1]`.
    first_steps: Vec<u64>,
}

impl Plan<'_> {
    /// Plans the training of notes of so many tokens.
    pub fn new(lengths: Vec<usize>, config: &TrainConfig, seed: u64) -> Plan<'_> {
        let mut plan = Plan { lengths, config, seed, first_steps: vec![0] };
        let mut steps = 0;
        for epoch in 0..config.num_train_epochs as u64 {
            steps += plan.batches(epoch).len().div_ceil(config.gradient_accumulation_steps) as u64;
            plan.first_steps.push(steps);
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

    /// The batches of an epoch, each the places of its notes in the training set. A batch holds up to `batch_size` notes and, unless
    /// it is a single note, up to `max_tokens_per_batch` tokens.
    pub fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.lengths.len()).collect();
        if self.config.shuffle {
            SplitMix64::at(self.seed, ORDER_STREAM + epoch).shuffle(&mut order);
        }
        let limit = match self.config.max_tokens_per_batch {
            0 => usize::MAX,
            limit => limit,
        };
        let mut batches: Vec<Vec<usize>> = vec![];
        let mut tokens = 0usize;
        for note in order {
            let length = self.lengths[note];
            match batches.last_mut() {
                Some(batch) if batch.len() < self.config.batch_size && tokens + length <= limit => {
                    batch.push(note);
                    tokens += length;
                }
                _ => {
                    batches.push(vec![note]);
                    tokens = length;
                }
            }
        }
        batches
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
        let plan = Plan::new(lengths.clone(), &by_notes, 1);
        assert_eq!(plan.batches(0), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        let by_tokens = config(4, 9, 2, 2, false);
        let plan = Plan::new(lengths, &by_tokens, 1);
        let batches = plan.batches(1);
        assert_eq!(batches, [vec![0, 1, 2], vec![3], vec![4], vec![5], vec![6, 7, 8, 9]]);
        assert_eq!(plan.steps(), 6);
        assert_eq!(plan.of_step(&batches, 3), &batches[..2]);
        assert_eq!(plan.of_step(&batches, 5), &batches[4..]);
    }

    proptest! {
        #[test]
        fn every_epoch_has_every_note_once_and_no_batch_is_too_large(
            lengths in prop::collection::vec(1usize..40, 1..60),
            batch_size in 1usize..9, max_tokens in 0usize..80, accumulate in 1usize..4, epochs in 1usize..4, seed: u64,
        ) {
            let config = config(batch_size, max_tokens, accumulate, epochs, true);
            let plan = Plan::new(lengths.clone(), &config, seed);
            let mut step = 0;
            for epoch in 0..epochs as u64 {
                let batches = plan.batches(epoch);
                for batch in &batches {
                    let tokens: usize = batch.iter().map(|note| lengths[*note]).sum();
                    prop_assert!(batch.len() <= batch_size);
                    prop_assert!(max_tokens == 0 || tokens <= max_tokens || batch.len() == 1);
                }
                let mut seen: Vec<usize> = batches.iter().flatten().copied().collect();
                seen.sort_unstable();
                prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
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
