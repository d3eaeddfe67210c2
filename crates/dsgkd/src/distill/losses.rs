//! The distillation losses of one teacher on one batch, with their gradients.
//!
//! `L_hidden` (step 2) is the mean squared error over all terms of the batch, paired levels and hidden units; `L_attn`
//! (step 3) that over all terms, paired layers, paired heads and columns. Both are 0 for a batch without terms, where
//! the original stops with an error.

use super::maps::HeadPairs;
use super::rows::{Columns, Side, into_space, out_of_space};
use super::teacher::{Teacher, TeacherFeatures, projection_name};
use super::{BatchSpans, Example};
use crate::config::AttentionRows;
use dsgkd_encoder::{Activations, Batch, Model, PooledGradients};
use dsgkd_ops::Precision;
use dsgkd_ops::linear::{self, Weight};
use dsgkd_ops::spans::row_offsets;
use std::sync::Arc;

/// Unweighted losses.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DistillLosses {
    /// `L_hidden`.
    pub hidden: f64,
    /// `L_attn`.
    pub attention: f64,
}

/// How much the losses weigh in the total, and the width that positional rows are padded to.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Of the hidden-state loss: alpha times the teacher's share.
    pub hidden: f64,
    /// Of the attention loss: beta times the teacher's share.
    pub attention: f64,
    /// Columns of positional rows.
    pub max_length: usize,
}

/// The student's side of a batch.
#[derive(Clone, Copy)]
pub struct StudentSide<'a> {
    /// The student.
    pub model: &'a Model,
    /// Its packed notes.
    pub batch: &'a Batch,
    /// Its spans.
    pub spans: &'a BatchSpans,
    /// What its forward pass gave.
    pub activations: &'a Activations,
    /// The notes.
    pub examples: &'a [&'a Example],
}

/// Losses of one teacher (number `number`); adds the gradients of the student's pooled values to `pooled` and that of
/// the projection to `gradients`.
pub fn compare(
    student: StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
    weights: Weights,
    pooled: &mut PooledGradients,
    gradients: &mut [f32],
) -> DistillLosses {
    DistillLosses {
        hidden: hidden_loss(student, teacher, number, features, weights.hidden, pooled, gradients),
        attention: attention_loss(student, teacher, number, features, weights, pooled),
    }
}

/// Makes a gradient as long as its value, keeping what it holds.
fn grown(gradients: &mut Vec<Vec<f32>>, index: usize, length: usize) -> &mut Vec<f32> {
    if gradients.len() <= index {
        gradients.resize_with(index + 1, Vec::new);
    }
    gradients[index].resize(length, 0.0);
    &mut gradients[index]
}

fn hidden_loss(
    student: StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
    weight: f64,
    pooled: &mut PooledGradients,
    gradients: &mut [f32],
) -> f64 {
    let (hs, ht) = (student.model.architecture.hidden_size, teacher.model.architecture.hidden_size);
    let notes = &student.spans.of_teacher[number];
    let terms: usize = notes.iter().map(|note| note.len()).sum(); // N
    if terms == 0 {
        return 0.0;
    }
    let count = (terms * teacher.levels.pairs.len() * ht) as f64;
    let scale = (2.0 * weight / count) as f32;
    let projection = student.model.projection(&projection_name(number));
    let projection = projection.map(|place| (place.clone(), &student.model.values[place]));
    let mut loss = 0f64;
    for (pair, (_, level)) in teacher.levels.pairs.iter().enumerate() {
        let values = &student.activations.pooled_hidden[*level];
        let said = notes.iter().flat_map(|note| &values[note.start * hs..note.end * hs]);
        let said: Vec<f32> = said.copied().collect(); // [N, hs]
        let wanted: Vec<f32> = features // [N, ht]
            .iter()
            .zip(notes)
            .flat_map(|(of_note, note)| &of_note.hidden[pair * note.len() * ht..(pair + 1) * note.len() * ht])
            .copied()
            .collect();
        let mut difference = match &projection {
            Some((_, projection)) => {
                let mut projected = vec![0f32; terms * ht];
                linear::forward(&said, Weight::Plain(projection, Precision::Float32), &mut projected, terms);
                projected
            }
            None => said.clone(),
        };
        for (difference, wanted) in difference.iter_mut().zip(&wanted) {
            *difference -= wanted;
            loss += f64::from(*difference * *difference);
            *difference *= scale; // now the gradient
        }
        let d_said = match &projection {
            Some((place, projection)) => {
                linear::backward_weight(&difference, &said, Precision::Float32, &mut gradients[place.clone()], terms);
                let mut d_said = vec![0f32; terms * hs];
                linear::backward_input(&difference, projection, Precision::Float32, &mut d_said, terms, false);
                d_said
            }
            None => difference,
        };
        let target = grown(&mut pooled.hidden, *level, values.len());
        let places = notes.iter().flat_map(|note| note.start * hs..note.end * hs);
        places.zip(&d_said).for_each(|(place, gradient)| target[place] += gradient);
    }
    loss / count
}

fn attention_loss(
    student: StudentSide,
    teacher: &Teacher,
    number: usize,
    features: &[Arc<TeacherFeatures>],
    weights: Weights,
    pooled: &mut PooledGradients,
) -> f64 {
    let notes = &student.spans.of_teacher[number];
    let layers: Vec<(usize, usize)> = teacher.levels.layers().collect();
    let width = |of_note: &TeacherFeatures| match teacher.attention {
        AttentionRows::Aligned => of_note.columns,
        AttentionRows::Positional => weights.max_length,
    };
    let elements: usize = notes.iter().zip(features).map(|(note, of_note)| note.len() * width(of_note)).sum();
    if elements == 0 || layers.is_empty() {
        return 0.0; // nothing aligned, or a layer map of embeddings alone, which have no attention
    }
    let count = (elements * layers.len() * teacher.heads.len()) as f64;
    let scale = (2.0 * weights.attention / count) as f32;
    let cu_seqlens = &student.batch.cu_seqlens;
    let offsets = row_offsets(cu_seqlens, &student.spans.spans, student.model.architecture.num_attention_heads);
    let mut loss = 0f64;
    for (pair, (_, layer)) in layers.iter().enumerate() {
        let values = &student.activations.pooled_rows[*layer];
        let target = grown(&mut pooled.rows, *layer, values.len());
        for (index, (note, of_note)) in notes.iter().zip(features).enumerate() {
            let words: Vec<(u32, u32)> =
                student.examples[index].views[number].words.iter().map(|word| word.student).collect();
            let columns = match teacher.attention {
                AttentionRows::Aligned => Columns::Words(&words),
                AttentionRows::Positional => Columns::Positions,
            };
            let tokens = (cu_seqlens[index + 1] - cu_seqlens[index]) as usize;
            let size = teacher.heads.len() * of_note.columns; // of one term in one layer
            for (term, span) in note.clone().enumerate() {
                let at = (pair * note.len() + term) * size;
                let wanted = &of_note.rows[at..at + size];
                let here = offsets[span]..offsets[span + 1];
                loss +=
                    row_loss(&values[here.clone()], tokens, wanted, &teacher.heads, columns, scale, &mut target[here]);
            }
        }
    }
    loss / count
}

/// Squared error of one term's rows in one layer; adds `scale * difference` to the gradient of `rows [heads, tokens]`.
fn row_loss(
    rows: &[f32],
    tokens: usize,
    wanted: &[f32],
    heads: &HeadPairs,
    columns: Columns,
    scale: f32,
    d_rows: &mut [f32],
) -> f64 {
    let mut said = Vec::with_capacity(wanted.len());
    into_space(rows, tokens, heads, Side::Student, columns, &mut said);
    let (student_width, teacher_width) = (said.len() / heads.len(), wanted.len() / heads.len());
    let mut loss = 0f64;
    for (said, wanted) in said.chunks_exact_mut(student_width).zip(wanted.chunks_exact(teacher_width)) {
        // Past the shorter row, the other is compared with zeros.
        loss += wanted.iter().skip(student_width).map(|value| f64::from(value * value)).sum::<f64>();
        for (column, said) in said.iter_mut().enumerate() {
            *said -= wanted.get(column).copied().unwrap_or(0.0);
            loss += f64::from(*said * *said);
            *said *= scale; // now the gradient
        }
    }
    out_of_space(rows, tokens, heads, Side::Student, columns, &said, d_rows);
    loss
}
