//! `[adapt]`: the student learns to read before it learns to classify.

use super::RunObserver;
use crate::config::{Config, PretrainConfig, PretrainTrainConfig};
use crate::data::{Notes, Splits};
use crate::error::{Error, Result};
use crate::pretrain::{PretrainLog, PretrainObserver, pretrain_on};
use crate::run::atomic::create_private_folder;
use crate::run::folder::RunFolder;
use dsgkd_encoder::{Heads, LoadReport, Model};

/// Trains the student's folder as a masked language model on the training notes and those without labels, and takes the encoder's
/// tensors over; heads and pooler stay. What was finished before the run was cut off is kept.
pub(super) fn adapt(
    config: &Config,
    notes: &Notes,
    splits: &Splits,
    folder: &RunFolder,
    student: &mut Model,
    observer: &mut dyn RunObserver,
) -> Result<()> {
    let own = splits.train.iter().chain(&splits.unlabeled).map(|index| &notes.notes[*index]);
    let texts: Vec<&str> = own.chain(&notes.unlabeled).map(|note| &note.text[..]).collect();
    let pretraining = PretrainConfig {
        output_dir: folder.adapted(),
        seed: config.seed,
        model: config.student.model.clone(),
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
    let model = folder.adapted().join("model");
    if !model.exists() {
        create_private_folder(&folder.adapted()).map_err(Error::io(&folder.adapted(), "create"))?;
        pretrain_on(&pretraining, &texts, true, &mut Adapting(observer))?;
    }
    let (adapted, _) = Model::open(&model, &Heads::default(), config.seed)?;
    for spec in student.layout().tensors().to_vec() {
        if let Some(found) = adapted.layout().find(&spec.name) {
            student.values[spec.range].copy_from_slice(&adapted.values[found.range.clone()]);
        }
    }
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
