//! One experiment from its file to its run folder: notes, models, training, test, prediction folder.

mod adapt;
pub(crate) mod card;
mod examples;
mod floor;
mod kept;
pub(crate) mod models;
mod probe;
mod results;
mod teach;

pub use examples::DataSummary;
pub use results::{PredictionSettings, RunMetrics, RunSummary, SETTINGS_FILE, TrainingRecord, evaluate_predictions};

use crate::config::{Baseline, ClassWeights, ClassWeightsName, Config, DistillWhen, to_toml};
use crate::data::{Notes, leave_out_tested, make_splits, read_notes};
use crate::distill::Control;
use crate::error::Result;
use crate::infer::{Scorer, check_finite};
use crate::pretrain::PretrainLog;
use crate::run::atomic::write_file;
use crate::run::environment::{Instructions, cpu_features};
use crate::run::folder::{RunFolder, read_json, write_json};
use crate::run::inputs::Inputs;
use crate::text::Aligner;
use crate::train::device;
use crate::train::step::StepSettings;
use crate::train::training::{StepLog, TrainObserver, train};
use adapt::adapt;
use card::{model_card, with_decisions};
use dsgkd_encoder::LoadReport;
use dsgkd_ops::Precision;
use dsgkd_ops::loss::softmax;
use examples::make_examples;
use floor::run_baseline;
use kept::Student;
use models::{longest, open_models, teacher_caches};
use probe::probe;
pub(crate) use results::CARD_FILE;
use results::{export, write_test};
use std::time::Instant;
use teach::teach;

/// Told of a run's stages, beside the training's own.
pub trait RunObserver: TrainObserver {
    /// A model was read; says what its folder lacked or held for nothing.
    fn loaded(&mut self, role: &str, report: &LoadReport);
    /// Notes are ready: what was found in them.
    fn prepared(&mut self, summary: &DataSummary);
    /// Steps of `[adapt]` were done.
    fn adapting(&mut self, log: &PretrainLog);
    /// A step of distillation before the labels was done.
    fn teaching(&mut self, log: &StepLog);
    /// The student is prepared by another run: that is done, or waited for.
    fn prepared_elsewhere(&mut self, done: bool);
    /// The head begins as a regression on the states of `notes` notes, of which `done` are computed.
    fn probing(&mut self, done: usize, notes: usize);
}

/// Trains, tests and writes everything that `config` describes; `config` has been resolved and validated. Resuming a run that is done reads
/// what it came to.
///
/// # Errors
/// Whatever is wrong with files, notes or models, by name; [`crate::error::Error::Interrupted`] after writing a checkpoint.
pub fn run(config: &Config, resume: bool, observer: &mut dyn RunObserver) -> Result<RunSummary> {
    if resume && is_finished(config)? {
        // Of a process that ended right after the model was written.
        RunFolder::existing(&config.output_dir).remove_checkpoints()?;
        return read_finished(&RunFolder::existing(&config.output_dir));
    }
    device::check(&config.train)?;
    let mut notes = read_notes(&config.data)?;
    config.train.check_class_weights(notes.labels.len())?;
    let mut splits = make_splits(&notes, &config.data.split, config.seed, config.data.duplicates)?;
    leave_out_tested(&mut notes, &mut splits, config.data.duplicates);
    let class_counts = notes.class_counts(&splits.train);
    let prevalence = class_counts.last().map_or(0.0, |positive| *positive as f64 / splits.train.len().max(1) as f64);
    if config.baseline == Baseline::TfIdf {
        return run_baseline(config, resume, &notes, &splits, class_counts, prevalence, observer);
    }

    let (mut student, mut teachers, tokenizers) =
        open_models(config, &notes.labels, &mut |role, report| observer.loaded(role, report))?;
    let longest = longest(&student, &teachers);
    let aligner = Aligner::new(config, &Vec::from_iter(&tokenizers), Some(&longest))?;
    let (mut set, test, summary) = make_examples(&notes, &splits, &aligner, prevalence, class_counts, control(config))?;
    observer.prepared(&summary);
    let begun = begin(config, resume, &notes, &summary)?;
    let folder = &begun.folder;
    student.set_precision(config.train.dtype.precision());
    let mut student = Student { model: student, made_of: begun.inputs.models["student"].clone(), seconds: Some(0.0) };
    if config.adapt.num_train_epochs > 0 {
        adapt(config, &notes, &splits, folder, &mut student, observer)?;
    }
    if config.distill.when == DistillWhen::BeforeLabels && !teachers.is_empty() {
        let teachers = std::mem::take(&mut teachers);
        // With nothing to hear, steps would only let the weights decay.
        if summary.aligned_terms.iter().any(|terms| *terms > 0) {
            teach(config, &begun, &set, &splits, teachers, &mut student, observer)?;
        }
        set.training.truncate(splits.train.len()); // the others have nothing more to say
    }
    let clock = Instant::now();
    if config.student.linear_probing == Some(true) {
        probe(&mut student.model, &set.training[..splits.train.len()], observer)?;
    }
    let caches = teacher_caches(config, &teachers, folder, set.training.len())?;
    let (device, settings) = (config.train.device, step_settings(config, &summary));
    let teacher_count = teachers.len();
    let mut learner = device::learner(device, student.model, teachers, caches, settings)?;
    let trained = train(&mut *learner, &set, &config.train, config.seed, folder, resume, observer)?;

    let training = (!resume).then(|| clock.elapsed().as_secs_f64());
    let seconds = training.zip(student.seconds).map(|(training, before)| training + before);
    let record = TrainingRecord { train: trained.clone(), seconds, threads: rayon::current_num_threads() };
    write_json(&folder.training(), &record)?;

    let mut student = learner.into_student(); // closes the caches' files
    (0..teacher_count).try_for_each(|number| folder.remove_teacher_features(number))?;

    check_finite(&student.values)?; // the last update came after the last loss
    // The test measures what `predict` will give.
    student.set_precision(Precision::Float32);
    let test = if test.is_empty() {
        None
    } else {
        let texts: Vec<&[u32]> = test.iter().map(|example| &example.input_ids[..]).collect();
        let logits = Scorer::default().logits(&student, &texts)?;
        let probabilities = softmax(&logits, notes.labels.len());
        Some(write_test(config, folder, &notes, &splits.test, prevalence, probabilities)?)
    };
    let mut data = begun.resolved.data.clone();
    (data.train, data.validation, data.test, data.unlabeled) = (vec![], vec![], vec![], vec![]);
    let prediction = PredictionSettings {
        data,
        max_length: aligner.max_lengths[0],
        truncation: config.text.truncation,
        prevalence: (notes.labels.len() == 2).then_some(prevalence),
        threshold: None,
        temperature: None,
    };
    let card = model_card(config, &student, &summary, test.as_ref());
    let card = with_decisions(&card, &student.classes, &prediction, None);
    export(&student, &tokenizers[0], &prediction, &card, &folder.model())?;
    folder.remove_prepared()?;
    folder.remove_checkpoints()?;
    Ok(RunSummary { train: trained, test })
}

/// Whether the run that `config` describes is done, so that it need not be trained.
///
/// # Errors
/// Its folder holds a run of another experiment, or of files that have changed since.
pub fn is_finished(config: &Config) -> Result<bool> {
    Ok(of_these_unfinished(vec![config.clone()])?.is_empty())
}

/// The runs that `config` stands for (the folds of an experiment, each in a folder of its own, or the one that it is) that are not done.
///
/// # Errors
/// As [`is_finished`], of any of them.
pub fn unfinished_runs(config: &Config) -> Result<Vec<Config>> {
    of_these_unfinished(runs_of(config))
}

/// Those of an experiment's runs that are not done. They differ in fold and folder alone, so their files are hashed once.
fn of_these_unfinished(mut runs: Vec<Config>) -> Result<Vec<Config>> {
    let is_there = |run: &Config| RunFolder::existing(&run.output_dir).is_finished(run);
    let there: Vec<Config> = runs.extract_if(.., |run| is_there(run)).collect();
    if let Some(first) = there.first() {
        let inputs = Inputs::of(first)?;
        for run in &there {
            RunFolder::existing(&run.output_dir).check_same(&run.with_absolute_paths()?, &inputs)?;
        }
    }
    Ok(runs)
}

/// The runs that `config` stands for: one for each fold, in a folder of its own, or the one that it is.
pub fn runs_of(config: &Config) -> Vec<Config> {
    if config.data.split.folds == 0 {
        return vec![config.clone()];
    }
    let of_fold = |fold: usize| {
        let mut of_fold = config.clone();
        of_fold.data.split.fold = fold;
        of_fold.output_dir = config.output_dir.join(format!("fold-{fold}"));
        of_fold
    };
    (0..config.data.split.folds).map(of_fold).collect()
}

fn read_finished(folder: &RunFolder) -> Result<RunSummary> {
    let record = folder.training().exists().then(|| read_json::<TrainingRecord>(&folder.training())).transpose()?;
    let test = folder.metrics().exists().then(|| read_json(&folder.metrics())).transpose()?;
    Ok(RunSummary { train: record.unwrap_or_default().train, test })
}

/// A run that has been begun.
struct Begun {
    folder: RunFolder,
    /// Its configuration, with absolute paths and the classes found.
    resolved: Config,
    inputs: Inputs,
}

/// Opens the run's folder and writes what it is made of, or when resuming holds that against what is there.
fn begin(config: &Config, resume: bool, notes: &Notes, summary: &DataSummary) -> Result<Begun> {
    let folder = RunFolder::open(&config.output_dir, resume)?;
    let mut resolved = config.with_absolute_paths()?;
    resolved.data.labels = notes.labels.clone();
    let inputs = Inputs::of(config)?;
    if resume {
        folder.check_same(&resolved, &inputs)?;
    }
    let text = to_toml(&resolved)?;
    write_file(&folder.config(), |out| out.write_all(text.as_bytes()))?;
    write_json(&folder.environment(), &environment(&inputs, config, summary))?;
    Ok(Begun { folder, resolved, inputs })
}

/// What the experiment has taught in place of terms; in whole notes there is nothing to shuffle.
fn control(config: &Config) -> Option<Control> {
    let shuffled = config.distill.shuffle_terms.then_some(Control::ShuffledTerms(config.seed));
    if config.distill.whole_notes { Some(Control::WholeNotes) } else { shuffled }
}

fn step_settings(config: &Config, summary: &DataSummary) -> StepSettings {
    let class_weights = match &config.train.class_weights {
        ClassWeights::Named(ClassWeightsName::None) => vec![],
        ClassWeights::Values(values) => values.iter().map(|weight| *weight as f32).collect(),
        ClassWeights::Named(ClassWeightsName::Balanced) => {
            let (all, classes) = (summary.training as f32, summary.class_counts.len() as f32);
            summary.class_counts.iter().map(|count| all / (classes * (*count).max(1) as f32)).collect()
        }
    };
    StepSettings {
        alpha: config.distill.alpha,
        beta: config.distill.beta,
        attention_after_dropout: config.distill.attention_after_dropout,
        gradient_checkpointing: config.train.gradient_checkpointing,
        max_length: config.text.max_length,
        class_weights,
        betas: (config.train.adam_beta1, config.train.adam_beta2),
        epsilon: config.train.adam_epsilon,
        weight_decay: config.train.weight_decay,
        max_grad_norm: config.train.max_grad_norm,
    }
}

/// What the numbers depend on beside the configuration.
fn environment(inputs: &Inputs, config: &Config, summary: &DataSummary) -> serde_json::Value {
    serde_json::json!({
        "dsgkd": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "cpu_features": cpu_features(),
        "products": Instructions::used().name(),
        "threads": rayon::current_num_threads(),
        "device": config.train.device,
        "dtype": config.train.dtype.available(),
        "sha256": inputs.data,
        "models": inputs.models,
        "notes": summary,
    })
}
