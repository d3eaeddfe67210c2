//! Notes made ready for training: tokens, terms aligned with each teacher, and counts of what was found.

use crate::data::{Note, Notes, Splits};
use crate::distill::{Control, Example};
use crate::error::Result;
use crate::text::{AlignedNote, Aligner, DropCounts};
use crate::train::training::TrainingSet;
use rayon::prelude::*;
use serde::Serialize;

/// Counts of an experiment's notes, terms and tokens.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DataSummary {
    /// Labelled notes to train on.
    pub training: usize,
    /// Notes that only distil.
    pub unlabeled: usize,
    /// Notes without labels that stand among those to watch or test on, or are of their groups: nobody reads them.
    pub unlabeled_left_out: usize,
    /// Notes to watch.
    pub validation: usize,
    /// Notes to test on.
    pub test: usize,
    /// Class names in order.
    pub classes: Vec<String>,
    /// Training notes of each class.
    pub class_counts: Vec<usize>,
    /// Validation notes of each class.
    pub validation_class_counts: Vec<usize>,
    /// Test notes of each class.
    pub test_class_counts: Vec<usize>,
    /// Rows that were skipped.
    pub bad_rows: u64,
    /// Equal notes on both sides of the split, where they were allowed.
    pub duplicates: usize,
    /// Notes that truncation cut.
    pub truncated_notes: usize,
    /// Terms found in the notes to train on.
    pub terms: usize,
    /// Terms aligned with each teacher.
    pub aligned_terms: Vec<usize>,
    /// Terms dropped for each teacher, by reason.
    pub dropped_terms: Vec<DropCounts>,
}

impl DataSummary {
    /// Of notes and their split; terms and tokens are counted as they are read.
    pub(super) fn new(notes: &Notes, splits: &Splits, class_counts: Vec<usize>, teachers: usize) -> DataSummary {
        DataSummary {
            training: splits.train.len(),
            unlabeled: notes.unlabeled.len() + splits.unlabeled.len(),
            unlabeled_left_out: splits.unlabeled_left_out,
            validation: splits.validation.len(),
            test: splits.test.len(),
            classes: notes.labels.clone(),
            class_counts,
            validation_class_counts: notes.class_counts(&splits.validation),
            test_class_counts: notes.class_counts(&splits.test),
            bad_rows: notes.bad_rows.total(),
            duplicates: splits.duplicates,
            aligned_terms: vec![0; teachers],
            dropped_terms: vec![DropCounts::default(); teachers],
            ..DataSummary::default()
        }
    }
}

/// The notes of `splits` as examples: those to train on, watch and test on; `control` says what is taught in place of the terms.
pub(super) fn make_examples(
    notes: &Notes,
    splits: &Splits,
    aligner: &Aligner,
    prevalence: f64,
    class_counts: Vec<usize>,
    control: Option<Control>,
) -> Result<(TrainingSet, Vec<Example>, DataSummary)> {
    let pick = |indices: &[usize]| indices.iter().map(|index| &notes.notes[*index]).collect::<Vec<&Note>>();
    let mut summary = DataSummary::new(notes, splits, class_counts, aligner.teachers.len());
    // `streams` are those by which each note's terms are shuffled; `None`: nobody teaches of these notes.
    let examples = |notes: Vec<&Note>, streams: Option<&[usize]>, summary: &mut DataSummary| -> Result<Vec<Example>> {
        let aligned = notes.par_iter().enumerate().map(|(place, note)| {
            if let Some(streams) = streams {
                let mut aligned = aligner.align(&note.text)?;
                if let Some(control) = control {
                    let (tokens, stream) = (aligned.input_ids.len(), streams[place] as u64);
                    aligned.views.iter_mut().for_each(|view| control.apply(view, tokens, stream));
                }
                return Ok(aligned);
            }
            let (encoding, truncated) = aligner.encode(&note.text)?;
            Ok(AlignedNote { input_ids: encoding.ids, truncated, terms: 0, views: vec![] })
        });
        let aligned: Vec<_> = aligned.collect::<Result<_>>()?;
        for note in &aligned {
            summary.truncated_notes += usize::from(note.truncated > 0);
            summary.terms += note.terms;
            for (number, view) in note.views.iter().enumerate() {
                summary.aligned_terms[number] += view.terms.len();
                summary.dropped_terms[number].add(view.dropped);
            }
        }
        let label = |note: &Note| note.label.map(|label| label as u32);
        let examples = notes.iter().zip(aligned).map(|(note, aligned)| Example {
            input_ids: aligned.input_ids,
            label: label(note),
            views: aligned.views,
        });
        Ok(examples.collect())
    };
    // Whatever has a label: a note's terms are shuffled the same.
    let standings = splits.standings(notes.unlabeled.len());
    let (labelled, others) = standings.split_at(splits.train.len());
    let (given, beyond_budget) = others.split_at(notes.unlabeled.len());
    let mut training = examples(pick(&splits.train), Some(labelled), &mut summary)?;
    // Without a teacher there is nothing to learn from a note without a label.
    if !aligner.teachers.is_empty() {
        training.extend(examples(notes.unlabeled.iter().collect(), Some(given), &mut summary)?);
        let rest = examples(pick(&splits.unlabeled), Some(beyond_budget), &mut summary)?;
        training.extend(rest.into_iter().map(|example| Example { label: None, ..example }));
    }
    let validation = examples(pick(&splits.validation), None, &mut summary)?;
    let test = examples(pick(&splits.test), None, &mut summary)?;
    Ok((TrainingSet { training, validation, prevalence }, test, summary))
}
