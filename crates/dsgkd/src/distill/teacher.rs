//! A frozen teacher and what it says of a note.

use super::TeacherView;
use super::maps::{HeadPairs, LevelPairs};
use super::rows::{Columns, Side, into_space};
use crate::config::{AttentionRows, TeacherConfig};
use crate::error::Result;
use dsgkd_encoder::{Activations, Architecture, Batch, ForwardOptions, Model};
use dsgkd_ops::spans::{Span, row_offsets};
use sha2::{Digest, Sha256};
use std::sync::Mutex;

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
    /// What the columns of attention rows are.
    pub attention: AttentionRows,
    /// Buffers of the passes that run side by side.
    activations: Mutex<Vec<Activations>>,
}

/// What a teacher says of one note, for its terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TeacherFeatures {
    /// Pooled hidden states, `[paired levels, terms, teacher hidden]`.
    pub hidden: Vec<f32>,
    /// Pooled attention rows in the compared space, `[paired layers, terms, paired heads, columns]`.
    pub rows: Vec<f32>,
    /// Number of columns: words, or the teacher's tokens.
    pub columns: usize,
}

/// Name of the tensor in the student's arena, `[teacher hidden, student hidden]`, that maps the student's hidden states to a teacher's. Where the
/// student has none, they are compared number by number.
pub fn projection_name(teacher: usize) -> String {
    format!("distill.teachers.{teacher}.projection.weight")
}

impl Teacher {
    /// Pairs a teacher with a student of the architecture `student`.
    ///
    /// # Errors
    /// A map names a layer or a head that one of them lacks.
    pub fn new(
        model: Model,
        config: &TeacherConfig,
        attention: AttentionRows,
        student: &Architecture,
    ) -> Result<Teacher> {
        let (t, s) = (&model.architecture, student);
        let levels = LevelPairs::new(&config.layer_map, t.num_hidden_layers, s.num_hidden_layers)?;
        let heads = HeadPairs::new(&config.head_map, t.num_attention_heads, s.num_attention_heads)?;
        Ok(Teacher { model, weight: config.weight, levels, heads, attention, activations: Mutex::default() })
    }

    /// Features of one note. Notes run one by one, side by side on the cores: packed with others, a note's last bits would
    /// depend on its company, and a resumed run (whose cache is empty) would differ from one that was never stopped.
    pub fn features(&self, view: &TeacherView) -> TeacherFeatures {
        let pool = || self.activations.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut activations = pool().pop().unwrap_or_default();
        let batch = Batch::pack([&view.input_ids[..]]);
        let spans = view.terms.iter().map(|term| Span { note: 0, start: term.teacher.0, end: term.teacher.1 });
        let spans: Vec<Span> = spans.collect();
        let wanted = batch.wanted(&spans);
        let options = ForwardOptions {
            spans: &spans,
            layers: Some(self.levels.teacher_layers()),
            wanted: Some(&wanted),
            ..ForwardOptions::default()
        };
        self.model.forward(&batch, &options, &mut activations);
        let words: Vec<(u32, u32)> = view.words.iter().map(|word| word.teacher).collect();
        let columns = match self.attention {
            AttentionRows::Aligned => Columns::Words(&words),
            AttentionRows::Positional => Columns::Positions,
        };
        let tokens = batch.tokens();
        let mut features = TeacherFeatures { columns: columns.len(tokens), ..TeacherFeatures::default() };
        for (level, _) in &self.levels.pairs {
            features.hidden.extend_from_slice(&activations.pooled_hidden[*level]);
        }
        let offsets = row_offsets(&batch.cu_seqlens, &spans, self.model.architecture.num_attention_heads);
        for (layer, _) in self.levels.layers() {
            for span in offsets.windows(2) {
                let rows = &activations.pooled_rows[layer][span[0]..span[1]];
                into_space(rows, tokens, &self.heads, Side::Teacher, columns, &mut features.rows);
            }
        }
        pool().push(activations);
        features
    }

    /// A hash of all that [`Teacher::features`] depends on beside the note: weights, architecture, paired levels and heads.
    pub fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let settings = (&self.model.architecture, &self.levels, &self.heads, self.attention);
        hash.update(format!("{settings:?}\n"));
        hash.update(bytemuck::cast_slice::<f32, u8>(&self.model.values));
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::LayerMap;
    use crate::text::SpanPair;
    use dsgkd_encoder::Heads;

    #[test]
    fn layers_above_the_last_that_is_compared_are_not_run() {
        let config = serde_json::json!({"model_type": "bert", "vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 3,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16});
        let model = Model::fresh(config, &Heads::default(), 5).unwrap();
        let student = model.architecture.clone();
        let maps = TeacherConfig { layer_map: LayerMap::Pairs(vec![[0, 0], [1, 3]]), ..TeacherConfig::default() };
        let teacher = Teacher::new(model, &maps, AttentionRows::Aligned, &student).unwrap();
        let span = SpanPair { student: (1, 2), teacher: (1, 2) };
        let view =
            TeacherView { input_ids: vec![1, 2, 3], words: vec![span], terms: vec![span], ..TeacherView::default() };
        assert_eq!(teacher.features(&view).hidden.len(), 2 * 8);
        let ran = teacher.activations.lock().unwrap();
        assert_eq!(
            (ran[0].pooled_hidden.len(), ran[0].pooled_rows.len()),
            (2, 1),
            "the embeddings and one layer of three"
        );
    }
}
