//! `distill.when = "before-labels"`: the student hears its teachers before it learns to classify.

use super::kept::{Student, prepare};
use super::models::teacher_caches;
use super::{Begun, DataSummary, RunObserver, step_settings};
use crate::config::{Config, TeacherCacheDtype, TeacherCacheStore, TeacherConfig, TrainConfig};
use crate::data::{Splits, hexadecimal};
use crate::distill::Example;
use crate::distill::teacher::Teacher;
use crate::error::Result;
use crate::run::atomic::write_folder;
use crate::run::folder::RunFolder;
use crate::train::device::learner;
use crate::train::step::StepSettings;
use crate::train::training::{EpochLog, StepLog, TrainObserver, TrainingSet, train};
use dsgkd_encoder::weights::WeightFormat;
use dsgkd_encoder::{HeadForm, Heads};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// Distils the teachers into the student on all notes of `set`, labels unseen; see [`prepare`] for what is kept. `splits` say which notes of `set`
/// are which.
pub(super) fn teach(
    config: &Config,
    begun: &Begun,
    set: &TrainingSet,
    splits: &Splits,
    teachers: Vec<Teacher>,
    student: &mut Student,
    observer: &mut dyn RunObserver,
) -> Result<()> {
    // Whatever has a label: runs with other label budgets hear of the same notes.
    let standings = splits.standings(set.training.len() - splits.train.len() - splits.unlabeled.len());
    let mut order: Vec<usize> = (0..set.training.len()).collect();
    order.sort_unstable_by_key(|position| standings[*position]);
    let without_label = |position: usize| Example { label: None, ..set.training[position].clone() };
    let heard = TrainingSet {
        training: order.into_iter().map(without_label).collect(),
        validation: vec![],
        prevalence: set.prevalence,
    };
    // What concerns labels and validation notes alone is left out, so that runs which differ in it hear together.
    let unlabelled = TrainConfig::default();
    let hearing = TrainConfig {
        num_train_epochs: config.distill.num_train_epochs,
        learning_rate: config.distill.learning_rate.or(config.train.learning_rate),
        unlabeled_batch_size: None,
        class_weights: unlabelled.class_weights,
        early_stopping: vec![],
        early_stopping_patience: 0,
        metric_for_best_model: unlabelled.metric_for_best_model,
        ..config.train.clone()
    };
    let settings = StepSettings { class_weights: vec![], ..step_settings(config, &DataSummary::default()) };
    let anonymous = |teacher: &TeacherConfig| TeacherConfig { model: PathBuf::new(), ..teacher.clone() };
    let rounded = match config.distill.teacher_cache {
        TeacherCacheStore::None => TeacherCacheDtype::Float32,
        _ => config.distill.teacher_cache_dtype,
    };
    let parts = || {
        // What alters no number is blotted out.
        let settings = StepSettings { gradient_checkpointing: false, ..settings.clone() };
        let hearing = TrainConfig { gradient_checkpointing: false, save_steps: 0, ..hearing.clone() };
        serde_json::json!([
            format!("{settings:?}"),
            hearing,
            rounded,
            config.seed,
            config.distill.attention,
            config.distill.projection,
            [config.student.hidden_dropout_prob, config.student.attention_probs_dropout_prob],
            config.teachers.iter().map(anonymous).collect::<Vec<_>>(),
            begun.inputs.models,
            sha256(&heard.training),
        ])
    };
    let folder = &begun.folder;
    let place = prepare(&config.cache_dir, folder.taught(), parts, student, observer, |place, student, observer| {
        let caches = teacher_caches(config, &teachers, folder, heard.training.len())?;
        let own = RunFolder::part(place)?;
        let teacher_count = teachers.len();
        // The classifier takes no part, but the sum of the gradient's squares rounds by where the tensors lie: with one and the same in the arena, runs
        // with any head and any classes hear the same.
        let heads = Heads { form: HeadForm::Family, classes: vec![String::new(); 2], ..student.heads() };
        let hearer = student.with_heads(&heads, config.seed)?;
        let mut learner = learner(hearing.device, hearer, teachers, caches, settings.clone())?;
        train(&mut *learner, &heard, &hearing, config.seed, &own, true, &mut Teaching(observer))?;
        let student = learner.into_student(); // closes the caches' files
        (0..teacher_count).try_for_each(|number| folder.remove_teacher_features(number))?;
        write_folder(&place.join("model"), |to| Ok(student.save(to, WeightFormat::F32)?))?;
        own.remove_checkpoints()
    })?;
    folder.keep_teaching(&RunFolder::existing(&place))
}

fn sha256(examples: &[Example]) -> String {
    let mut hash = Sha256::new();
    examples.iter().for_each(|example| hash.update(format!("{example:?}\n")));
    hexadecimal(hash)
}

/// Passes this training's progress on as a run's.
struct Teaching<'a>(&'a mut dyn RunObserver);

impl TrainObserver for Teaching<'_> {
    fn step(&mut self, log: &StepLog) {
        self.0.teaching(log);
    }

    fn epoch(&mut self, _: &EpochLog) {}

    fn interrupted(&self) -> bool {
        self.0.interrupted()
    }
}
