//! A frozen teacher, what it says of each note, and the memory of that.

use super::maps::{HeadPairs, LevelPairs};
use super::rows::{Columns, Side, into_space};
use super::{Example, TeacherView};
use crate::config::{AttentionRows, TeacherConfig};
use crate::error::Result;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::spans::{Span, row_offsets};
use std::sync::Arc;

/// A teacher and how it is compared with the student.
pub struct Teacher {
    /// The frozen encoder.
    pub model: Model,
    /// Share of this teacher in the mean of the losses.
    pub weight: f64,
    /// Paired levels.
    pub levels: LevelPairs,
    /// Paired heads.
    pub heads: HeadPairs,
    /// The student's hidden states are mapped to the teacher's width by this tensor of the student's arena,
    /// `[teacher hidden, student hidden]`; `None` where the widths agree.
    pub projection: Option<std::ops::Range<usize>>,
    /// What the columns of attention rows are.
    pub attention: AttentionRows,
    activations: Activations,
}

/// What a teacher says of one note, for its terms.
#[derive(Debug, Default, PartialEq)]
pub struct TeacherFeatures {
    /// Pooled hidden states, `[paired levels, terms, teacher hidden]`.
    pub hidden: Vec<f32>,
    /// Pooled attention rows in the compared space, `[paired layers, terms, paired heads, columns]`.
    pub rows: Vec<f32>,
    /// Number of columns: words, or the teacher's tokens.
    pub columns: usize,
}

impl TeacherFeatures {
    fn bytes(&self) -> usize {
        (self.hidden.len() + self.rows.len()) * size_of::<f32>() + size_of::<TeacherFeatures>()
    }
}

/// Name of a teacher's projection in the student's arena.
pub fn projection_name(teacher: usize) -> String {
    format!("distill.teachers.{teacher}.projection.weight")
}

impl Teacher {
    /// Pairs a teacher with a student, whose arena holds the projection where one is needed.
    pub fn new(
        model: Model,
        index: usize,
        config: &TeacherConfig,
        attention: AttentionRows,
        student: &Model,
    ) -> Result<Teacher> {
        let (t, s) = (&model.architecture, &student.architecture);
        let levels = LevelPairs::new(&config.layer_map, t.num_hidden_layers, s.num_hidden_layers)?;
        let heads = HeadPairs::new(&config.head_map, t.num_attention_heads, s.num_attention_heads)?;
        let projection = student.projection(&projection_name(index));
        Ok(Teacher {
            model,
            weight: config.weight,
            levels,
            heads,
            projection,
            attention,
            activations: Activations::default(),
        })
    }

    /// Features of several notes, in one packed pass.
    fn features(&mut self, views: &[&TeacherView]) -> Vec<TeacherFeatures> {
        let batch = Batch::pack(views.iter().map(|view| &view.input_ids[..]));
        let mut spans = vec![];
        for (note, view) in views.iter().enumerate() {
            let span = |term: &super::SpanPair| Span { note: note as u32, start: term.teacher.0, end: term.teacher.1 };
            spans.extend(view.terms.iter().map(span));
        }
        let options =
            ForwardOptions { spans: &spans, layers: Some(self.levels.teacher_layers()), ..ForwardOptions::default() };
        self.model.forward(&batch, &options, &mut self.activations);
        let h = self.model.architecture.hidden_size;
        let offsets = row_offsets(&batch.cu_seqlens, &spans, self.model.architecture.num_attention_heads);
        let mut first = 0;
        let mut features = Vec::with_capacity(views.len());
        for view in views {
            let here = first..first + view.terms.len();
            first = here.end;
            let words: Vec<(u32, u32)> = view.words.iter().map(|word| word.teacher).collect();
            let columns = match self.attention {
                AttentionRows::Aligned => Columns::Words(&words),
                AttentionRows::Positional => Columns::Positions,
            };
            let tokens = view.input_ids.len();
            let mut of_note = TeacherFeatures { columns: columns.len(tokens), ..TeacherFeatures::default() };
            for (level, _) in &self.levels.pairs {
                of_note.hidden.extend_from_slice(&self.activations.pooled_hidden[*level][here.start * h..here.end * h]);
            }
            for (layer, _) in self.levels.layers() {
                for span in here.clone() {
                    let rows = &self.activations.pooled_rows[layer][offsets[span]..offsets[span + 1]];
                    into_space(rows, tokens, &self.heads, Side::Teacher, columns, &mut of_note.rows);
                }
            }
            features.push(of_note);
        }
        features
    }
}

/// What a teacher said of notes so far, within a budget of bytes; notes beyond it are asked about again.
#[derive(Default)]
pub struct TeacherCache {
    budget: usize,
    used: usize,
    notes: Vec<Option<Arc<TeacherFeatures>>>,
}

impl TeacherCache {
    /// An empty cache of at most `budget` bytes for `notes` notes; a budget of 0 keeps nothing.
    pub fn new(budget: usize, notes: usize) -> TeacherCache {
        TeacherCache { budget, used: 0, notes: vec![None; notes] }
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Features of the notes `indices` (of the whole training set) as `teacher` number `number` sees them, from memory or
    /// from the teacher. Notes without terms are never run.
    pub fn features(
        &mut self,
        teacher: &mut Teacher,
        number: usize,
        indices: &[usize],
        examples: &[&Example],
    ) -> Vec<Arc<TeacherFeatures>> {
        let mut found: Vec<Option<Arc<TeacherFeatures>>> =
            indices.iter().map(|index| self.notes[*index].clone()).collect();
        let has_terms = |at: usize| !examples[at].views[number].terms.is_empty();
        let unknown: Vec<usize> = (0..indices.len()).filter(|at| found[*at].is_none() && has_terms(*at)).collect();
        if !unknown.is_empty() {
            let views: Vec<&TeacherView> = unknown.iter().map(|at| &examples[*at].views[number]).collect();
            for (at, features) in unknown.iter().zip(teacher.features(&views)) {
                let features = Arc::new(features);
                if self.used + features.bytes() <= self.budget {
                    self.used += features.bytes();
                    self.notes[indices[*at]] = Some(features.clone());
                }
                found[*at] = Some(features);
            }
        }
        found.into_iter().map(Option::unwrap_or_default).collect()
    }
}
