//! `baseline = "tf-idf"`: a run without an encoder. It leaves predictions and figures, no model.

use super::results::{RunSummary, TrainingRecord, write_test};
use super::{DataSummary, RunObserver, begin};
use crate::baseline;
use crate::config::Config;
use crate::data::{Notes, Splits};
use crate::error::Result;
use crate::eval::evaluate;
use crate::run::folder::write_json;
use crate::train::training::TrainSummary;
use std::time::Instant;

/// Fits on the training notes, measures on the validation notes, tests.
pub(super) fn run_baseline(
    config: &Config,
    resume: bool,
    notes: &Notes,
    splits: &Splits,
    class_counts: Vec<usize>,
    prevalence: f64,
    observer: &mut dyn RunObserver,
) -> Result<RunSummary> {
    let summary = DataSummary::new(notes, splits, class_counts, 0);
    observer.prepared(&summary);
    let folder = begin(config, resume, notes, &summary)?.folder;
    let texts = |indices: &[usize]| indices.iter().map(|index| &notes.notes[*index].text[..]).collect::<Vec<&str>>();
    let labels =
        |indices: &[usize]| indices.iter().filter_map(|index| notes.notes[*index].label).collect::<Vec<usize>>();
    let classes = notes.labels.len();
    let held_out = [texts(&splits.test), texts(&splits.validation)].concat();
    let begun = Instant::now();
    let mut probabilities = baseline::probabilities(&texts(&splits.train), &labels(&splits.train), classes, &held_out)?;
    let seconds = Some(begun.elapsed().as_secs_f64());
    let of_validation = probabilities.split_off(splits.test.len() * classes);
    let validation = match splits.validation.is_empty() {
        true => None,
        false => Some(evaluate(&labels(&splits.validation), &of_validation, classes, prevalence)?),
    };
    let train = TrainSummary { validation, ..TrainSummary::default() };
    let record = TrainingRecord { train: train.clone(), seconds, threads: rayon::current_num_threads() };
    write_json(&folder.training(), &record)?;
    let test = write_test(config, &folder, notes, &splits.test, prevalence, probabilities)?;
    Ok(RunSummary { train, test: Some(test) })
}
