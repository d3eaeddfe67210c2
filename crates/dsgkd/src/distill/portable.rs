//! The distillation losses of [`super::losses`] on a device, their gradients left to the autodiff.
//!
//! Shapes: B notes, the longest of L tokens; S spans of the note that has most; N terms that the teacher compares.

use super::maps::HeadPairs;
use super::rows::SMALLEST_MASS;
use super::teacher::{Teacher, TeacherFeatures, projection_name};
use super::{BatchSpans, Example};
use crate::config::AttentionRows;
use dsgkd_encoder::Model;
use dsgkd_encoder::portable::{Parameters, States};
use dsgkd_ops::portable::{Tensor, linear, upload, upload_indices};
use std::sync::Arc;

/// The student's side of a batch.
pub struct StudentSide<'a> {
    /// The student.
    pub model: &'a Model,
    /// Its tensors in this pass.
    pub parameters: &'a mut Parameters,
    /// Its spans.
    pub spans: &'a BatchSpans,
    /// What its forward pass gave.
    pub states: &'a States,
    /// The notes.
    pub examples: &'a [&'a Example],
}

/// Unweighted losses, each `[1]`; `None` is 0, of a batch without terms.
pub struct DistillLosses {
    /// `L_hidden`.
    pub hidden: Option<Tensor<1>>,
    /// `L_attn`.
    pub attention: Option<Tensor<1>>,
}

/// Losses of one teacher (number `number`); positional rows are as if padded to `max_length` columns.
pub fn compare(
    mut student: StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
    max_length: usize,
) -> DistillLosses {
    DistillLosses {
        hidden: hidden_loss(&mut student, teacher, number, features),
        attention: attention_loss(&student, teacher, number, features, max_length),
    }
}

fn sum_of_squares<const D: usize>(difference: Tensor<D>) -> Tensor<1> {
    difference.clone().mul(difference).sum()
}

fn hidden_loss(
    student: &mut StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
) -> Option<Tensor<1>> {
    let (hs, ht) = (student.model.architecture.hidden_size, teacher.model.architecture.hidden_size);
    let device = student.parameters.device();
    let notes = &student.spans.of_teacher[number];
    let terms: Vec<u32> = notes.iter().cloned().flatten().map(|span| span as u32).collect();
    if terms.is_empty() {
        return None;
    }
    let places = (terms.len() < student.spans.spans.len()).then(|| upload_indices(&terms, &device));
    let projection = student.model.projection(&projection_name(number));
    let mut loss: Option<Tensor<1>> = None;
    for (pair, (_, level)) in teacher.levels.pairs.iter().enumerate() {
        let mut said = student.states.pooled_hidden[*level].clone();
        if let Some(places) = &places {
            said = said.select(0, places.clone()); // [N, hs]
        }
        if let Some(range) = &projection {
            said = linear::forward(said, student.parameters.matrix(range, hs), None); // [N, ht]
        }
        let wanted: Vec<f32> = features
            .iter()
            .zip(notes)
            .flat_map(|(of_note, note)| &of_note.hidden[pair * note.len() * ht..(pair + 1) * note.len() * ht])
            .copied()
            .collect();
        let squares = sum_of_squares(said.sub(upload(&wanted, [terms.len(), ht], &device)));
        loss = Some(loss.map_or(squares.clone(), |loss| loss.add(squares)));
    }
    let count = (terms.len() * teacher.levels.pairs.len() * ht) as f64;
    loss.map(|loss| loss.div_scalar(count))
}

fn attention_loss(
    student: &StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
    max_length: usize,
) -> Option<Tensor<1>> {
    let notes = &student.spans.of_teacher[number];
    let layers: Vec<usize> = teacher.levels.layers().map(|(_, layer)| layer).collect();
    let width = |of_note: &TeacherFeatures| match teacher.attention {
        AttentionRows::Aligned => of_note.columns,
        AttentionRows::Positional => max_length,
    };
    let elements: usize = notes.iter().zip(features).map(|(note, of_note)| note.len() * width(of_note)).sum();
    if elements == 0 {
        return None;
    }
    let device = student.parameters.device();
    let [count, _, most, longest] = student.states.pooled_rows[*layers.first()?].dims();
    let columns = features.iter().map(|of_note| of_note.columns).max().unwrap_or(0);
    let words = match teacher.attention {
        AttentionRows::Aligned => Some(word_map(student, number, [count, longest, columns])),
        AttentionRows::Positional => None,
    };
    let columns = if words.is_some() { columns } else { columns.max(longest) };
    let places = student.states.packing.span_places();
    // 1 at the places of this teacher's terms, 0 at other teachers' and where a note has fewer than S.
    let mut compared = vec![0f32; count * most];
    notes.iter().cloned().flatten().for_each(|span| compared[places[span][0] * most + places[span][1]] = 1.0);
    let compared = upload(&compared, [count, 1, most, 1], &device);

    let mut loss: Option<Tensor<1>> = None;
    for (pair, layer) in layers.iter().enumerate() {
        let rows = student.states.pooled_rows[*layer].clone(); // [B, heads, S, L]
        let said = match &words {
            Some(words) => over_words(rows, words),
            None => widened(rows, columns),
        };
        let said = paired_heads(said, &teacher.heads);
        let mut wanted = vec![0f32; count * teacher.heads.len() * most * columns];
        for (note, of_note) in notes.iter().zip(features) {
            let size = teacher.heads.len() * of_note.columns; // of one term in one layer
            for (term, span) in note.clone().enumerate() {
                let [note_index, place] = places[span];
                let at = (pair * note.len() + term) * size;
                for head in 0..teacher.heads.len() {
                    let from = at + head * of_note.columns;
                    let to = ((note_index * teacher.heads.len() + head) * most + place) * columns;
                    wanted[to..to + of_note.columns].copy_from_slice(&of_note.rows[from..from + of_note.columns]);
                }
            }
        }
        let wanted = upload(&wanted, [count, teacher.heads.len(), most, columns], &device);
        let squares = sum_of_squares(said.sub(wanted).mul(compared.clone()));
        loss = Some(loss.map_or(squares.clone(), |loss| loss.add(squares)));
    }
    let count = (elements * layers.len() * teacher.heads.len()) as f64;
    loss.map(|loss| loss.div_scalar(count))
}

/// Which tokens each aligned word has in the student, `[B, 1, L, words]`.
fn word_map(student: &StudentSide, number: usize, [notes, longest, columns]: [usize; 3]) -> Tensor<4> {
    let mut map = vec![0f32; notes * longest * columns];
    for (note, example) in student.examples.iter().enumerate() {
        for (column, word) in example.views[number].words.iter().enumerate() {
            for token in word.student.0..word.student.1 {
                map[(note * longest + token as usize) * columns + column] = 1.0;
            }
        }
    }
    upload(&map, [notes, 1, longest, columns], &student.parameters.device())
}

/// Rows `[B, heads, S, L]` as distributions over words: see [`super::rows`].
fn over_words(rows: Tensor<4>, words: &Tensor<4>) -> Tensor<4> {
    let ([notes, heads, _, longest], [_, _, _, columns]) = (rows.dims(), words.dims());
    let mass = rows.matmul(words.clone().expand([notes, heads, longest, columns])); // [B, heads, S, words]
    let total = mass.clone().sum_dim(3);
    let none = total.clone().lower_equal_scalar(SMALLEST_MASS);
    mass.div(total.mask_fill(none.clone(), 1.0)).mul(none.bool_not().float())
}

/// Rows `[B, heads, S, L]` with zeros behind, `[B, heads, S, columns]`.
fn widened(rows: Tensor<4>, columns: usize) -> Tensor<4> {
    let ([notes, heads, most, longest], device) = (rows.dims(), rows.device());
    if columns == longest {
        return rows;
    }
    Tensor::cat(vec![rows, Tensor::zeros([notes, heads, most, columns - longest], &device)], 3)
}

/// The student's heads behind each compared row, `[B, pairs, S, columns]`.
fn paired_heads(rows: Tensor<4>, pairs: &HeadPairs) -> Tensor<4> {
    match pairs {
        HeadPairs::Mean => rows.mean_dim(1),
        HeadPairs::Pairs(pairs) => {
            let heads: Vec<u32> = pairs.iter().map(|(_, student)| *student as u32).collect();
            let device = rows.device();
            rows.select(1, upload_indices(&heads, &device))
        }
    }
}
