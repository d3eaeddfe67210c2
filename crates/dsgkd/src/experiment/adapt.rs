//! `[adapt]`: the student learns to read before it learns to classify.

use super::RunObserver;
use super::kept::{Student, prepare};
use crate::config::{Config, PretrainConfig, PretrainTrainConfig};
use crate::data::{Notes, Splits};
use crate::error::Result;
use crate::pretrain::{PretrainLog, PretrainObserver, pretrain_on, remove_checkpoint};
use crate::run::folder::RunFolder;
use dsgkd_encoder::LoadReport;

/// Trains the student's folder as a masked language model on the training notes and those without labels; see [`prepare`] for what is kept.
pub(super) fn adapt(
    config: &Config,
    notes: &Notes,
    splits: &Splits,
    folder: &RunFolder,
    student: &mut Student,
    observer: &mut dyn RunObserver,
) -> Result<()> {
    // Whatever has a label: runs with other label budgets read the same notes.
    let own = splits.training_notes();
    let texts: Vec<&str> =
        own.iter().map(|index| &notes.notes[*index]).chain(&notes.unlabeled).map(|note| &note.text[..]).collect();
    let pretraining = PretrainConfig {
        seed: config.seed,
        train: PretrainTrainConfig {
            dtype: config.train.dtype,
            max_length: config.text.max_length,
            batch_tokens: config.adapt.batch_tokens,
            num_train_epochs: config.adapt.num_train_epochs as f64,
            learning_rate: config.adapt.learning_rate,
            whole_word_masking: config.adapt.whole_word_masking,
            held_out_every: ADAPT_HELD_OUT_EVERY.min(texts.len()),
            ..PretrainTrainConfig::default()
        },
        ..PretrainConfig::default()
    };
    let parts = || serde_json::json!([pretraining, texts]);
    prepare(&config.cache_dir, folder.adapted(), parts, student, observer, |place, _, observer| {
        let (output_dir, model) = (place.to_path_buf(), config.student.model.clone());
        pretrain_on(
            &PretrainConfig { output_dir, model, ..pretraining.clone() },
            &texts,
            true,
            &mut Adapting(observer),
        )?;
        remove_checkpoint(place)
    })?;
    Ok(())
}

/// One in this many notes tells how far [`adapt`] has come, and is not trained on.
const ADAPT_HELD_OUT_EVERY: usize = 20;

/// Passes a pretraining's progress on as a run's.
struct Adapting<'a>(&'a mut dyn RunObserver);

impl PretrainObserver for Adapting<'_> {
    fn stage(&mut self, _: &str) {}

    fn loaded(&mut self, _: &LoadReport) {}

    fn step(&mut self, log: &PretrainLog) {
        self.0.adapting(log);
    }

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
