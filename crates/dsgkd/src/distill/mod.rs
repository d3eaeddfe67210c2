//! Distillation of frozen domain teachers into the student at the aligned terms (DSG-KD, arXiv 2409.14904, steps 2, 3).
//!
//! [`maps`] pairs the models' layers and heads, [`rows`] brings attention rows of two tokenizers into one space,
//! [`teacher`] computes what a frozen teacher says of a note, [`cache`] keeps it (in memory or in a [`feature_file`]), and [`losses`]
//! compares.

pub mod cache;
pub mod feature_file;
pub mod losses;
pub mod maps;
pub mod rows;
pub mod teacher;

pub use crate::text::{SpanPair, TeacherView};
use dsgkd_ops::spans::Span;

/// A note made ready for training.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Example {
    /// The student's token ids, truncated.
    pub input_ids: Vec<u32>,
    /// The class, or `None` for a note that only distils.
    pub label: Option<u32>,
    /// One view a teacher.
    pub views: Vec<TeacherView>,
}

/// The student's spans of a batch in the order of its notes, and which of them each teacher compares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchSpans {
    /// For the student's forward pass.
    pub spans: Vec<Span>,
    /// Teacher by teacher, note by note: where the note's terms stand in `spans`.
    pub of_teacher: Vec<Vec<std::ops::Range<usize>>>,
}

impl BatchSpans {
    /// Lists the terms of all views of all notes.
    pub fn new(examples: &[&Example], teachers: usize) -> BatchSpans {
        let mut batch = BatchSpans { spans: vec![], of_teacher: vec![vec![]; teachers] };
        for (note, example) in examples.iter().enumerate() {
            for (teacher, ranges) in batch.of_teacher.iter_mut().enumerate() {
                let first = batch.spans.len();
                let terms = example.views.get(teacher).map_or(&[][..], |view| &view.terms);
                batch.spans.extend(terms.iter().map(|term| Span {
                    note: note as u32,
                    start: term.student.0,
                    end: term.student.1,
                }));
                ranges.push(first..batch.spans.len());
            }
        }
        batch
    }
}
