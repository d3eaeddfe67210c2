//! Where the projections of `distill.projection = "fitted"` begin: the least-squares map from the student to each teacher.
//!
//! Two encoders that were pretrained apart say the same things in other directions. Compared axis by axis (as published), the student would
//! first of all have to turn its space into the teacher's, and lose on the way what it knows; behind a map that is fitted before the first
//! step, only what no linear map of the student's states explains is left to be learned.

use super::cache::TeacherCache;
use super::losses::{said_at_terms, wanted_at_terms};
use super::teacher::Teacher;
use super::{BatchSpans, Example};
use crate::error::{Error, Result};
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Model};
use dsgkd_ops::linear::backward_weight;
use dsgkd_ops::{Precision, in_pool};
use nalgebra::DMatrix;

/// Notes that the maps are fitted to at most, evenly spaced.
const MOST_NOTES: usize = 2000;

/// Notes of one forward pass.
const NOTES_PER_BATCH: usize = 16;

/// Ridge, as a share of the mean square of a hidden unit: enough for units that hardly vary, nothing beside those that do.
const RIDGE: f64 = 1e-3;

/// Sums of one level of one teacher over terms, `x` being the student's hidden states with a 1 behind, `y` the teacher's.
#[derive(Clone)]
struct Sums {
    /// `x x^T`, `[student hidden + 1, student hidden + 1]`.
    gram: Vec<f32>,
    /// `y x^T`, `[teacher hidden, student hidden + 1]`.
    cross: Vec<f32>,
}

/// Sets the projections of all teachers that have one a level to the ridge regression of the teacher's pooled hidden states on the student's
/// (without dropout), over the terms of `examples`.
///
/// # Errors
/// Of the file in which a teacher's answers are kept; hidden states that are no numbers.
pub fn fit_projections(
    student: &mut Model,
    teachers: &[Teacher],
    caches: &mut [TeacherCache],
    examples: &[Example],
) -> Result<()> {
    let hs = student.architecture.hidden_size;
    let stride = examples.len().div_ceil(MOST_NOTES).max(1);
    let indices: Vec<usize> = (0..examples.len()).step_by(stride).collect();
    let mut sums: Vec<Vec<Sums>> = teachers
        .iter()
        .map(|teacher| {
            let ht = teacher.model.architecture.hidden_size;
            vec![
                Sums { gram: vec![0.0; (hs + 1) * (hs + 1)], cross: vec![0.0; ht * (hs + 1)] };
                teacher.projections.len()
            ]
        })
        .collect();
    let mut activations = Activations::default();
    for indices in indices.chunks(NOTES_PER_BATCH) {
        let examples: Vec<&Example> = indices.iter().map(|index| &examples[*index]).collect();
        let batch = Batch::pack(examples.iter().map(|example| &example.input_ids[..]));
        let spans = BatchSpans::new(&examples, teachers.len());
        let options = ForwardOptions { spans: &spans.spans, ..ForwardOptions::default() };
        in_pool(|| student.forward(&batch, &options, &mut activations));
        for (number, teacher) in teachers.iter().enumerate() {
            let features = caches[number].features(teacher, number, indices, &examples)?;
            let notes = &spans.of_teacher[number];
            let terms = notes.iter().map(|note| note.len()).sum();
            for (pair, sums) in sums[number].iter_mut().enumerate() {
                let (_, level) = teacher.levels.pairs[pair];
                let said = said_at_terms(&activations.pooled_hidden[level], hs, notes);
                let said: Vec<f32> = said.chunks_exact(hs).flat_map(|row| [row, &[1.0]].concat()).collect();
                let wanted = wanted_at_terms(&features, notes, pair, teacher.model.architecture.hidden_size);
                backward_weight(&said, &said, Precision::Float32, &mut sums.gram, terms);
                backward_weight(&wanted, &said, Precision::Float32, &mut sums.cross, terms);
            }
        }
    }
    for (teacher, sums) in teachers.iter().zip(&sums) {
        for (projection, sums) in teacher.projections.iter().zip(sums) {
            let fitted = solve(sums, hs).ok_or_else(|| {
                Error::Model("distill.projection: the hidden states at the terms are no numbers".to_string())
            })?;
            // [student hidden + 1, teacher hidden]: nalgebra's columns are the rows of the arena's tensor, and the bias stands last.
            let rows = fitted.column_iter().zip(student.values[projection.weight.clone()].chunks_exact_mut(hs));
            rows.for_each(|(row, weight)| {
                weight.iter_mut().zip(row.iter()).for_each(|(weight, value)| *weight = *value as f32)
            });
            if let Some(bias) = &projection.bias {
                let last = fitted.row(hs);
                student.values[bias.clone()]
                    .iter_mut()
                    .zip(last.iter())
                    .for_each(|(bias, value)| *bias = *value as f32);
            }
        }
    }
    Ok(())
}

/// `[student hidden + 1, teacher hidden]`; all 0 without a term.
fn solve(sums: &Sums, hidden: usize) -> Option<DMatrix<f64>> {
    let side = hidden + 1;
    let mut gram = DMatrix::from_iterator(side, side, sums.gram.iter().map(|value| f64::from(*value)));
    let terms = gram[(hidden, hidden)];
    let targets = sums.cross.len() / side;
    // Rows of `cross` become columns.
    let cross = DMatrix::from_iterator(side, targets, sums.cross.iter().map(|value| f64::from(*value)));
    if terms == 0.0 {
        return Some(DMatrix::zeros(side, targets));
    }
    let ridge = RIDGE * (gram.trace() - terms) / hidden as f64;
    (0..hidden).for_each(|unit| gram[(unit, unit)] += ridge);
    Some(gram.cholesky()?.solve(&cross))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{DistillConfig, Projection, TeacherConfig};
    use crate::distill::maps::LevelPairs;
    use crate::distill::teacher::projection_tensors;
    use crate::text::{SpanPair, TeacherView};
    use crate::train::learner::{Learner, StepSettings};
    use dsgkd_encoder::Heads;
    use serde_json::json;

    fn model(hidden: usize, layers: usize, heads: &Heads) -> Model {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16, "initializer_range": 0.3});
        Model::fresh(config, heads, 5).unwrap()
    }

    /// A student of 2 layers of 8, a teacher of 3 layers of 12, and notes with terms of one and two tokens.
    fn learner(notes: u32) -> (Learner, Vec<Example>) {
        let distill = DistillConfig { projection: Projection::Fitted, ..DistillConfig::default() };
        let teacher = model(12, 3, &Heads::default());
        let plain = model(8, 2, &Heads::default());
        let levels = LevelPairs::new(&TeacherConfig::default().layer_map, 3, 2).unwrap();
        let projections =
            projection_tensors(0, &teacher.architecture, &plain.architecture, &levels, distill.projection);
        let classes = vec!["no".to_string(), "yes".to_string()];
        let student = model(8, 2, &Heads { classes, projections, ..Heads::default() });
        let teacher = Teacher::new(teacher, 0, &TeacherConfig::default(), &distill, &student).unwrap();
        let example = |note: u32| {
            let span = |start: u32, end: u32| SpanPair { student: (start, end), teacher: (start + 1, end + 1) };
            let terms = if note == 2 { vec![] } else { vec![span(1, 2), span(3, 5)] };
            let input_ids: Vec<u32> = (0..8).map(|at| (at * 7 + note * 11 + at * note) % 30).collect();
            let view = TeacherView {
                input_ids: input_ids.iter().map(|id| (id * 3 + 1) % 30).collect(),
                words: vec![span(1, 2), span(3, 5), span(5, 6)],
                terms,
                ..TeacherView::default()
            };
            Example { input_ids, label: Some(note % 2), views: vec![view] }
        };
        let settings = StepSettings {
            alpha: 0.6,
            beta: 0.2,
            attention_after_dropout: false,
            gradient_checkpointing: false,
            max_length: 16,
            class_weights: vec![],
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 0.0,
        };
        (
            Learner::new(student, vec![teacher], vec![TeacherCache::nothing()], settings),
            (0..notes).map(example).collect(),
        )
    }

    fn hidden_loss(learner: &mut Learner, examples: &[Example]) -> f64 {
        let indices: Vec<usize> = (0..examples.len()).collect();
        learner.gradients.fill(0.0);
        learner.accumulate(&examples.iter().collect::<Vec<_>>(), &indices, None).unwrap().hidden
    }

    #[test]
    fn no_other_map_of_a_level_is_nearer_to_the_teacher() {
        let (mut learner, examples) = learner(40);
        let before = hidden_loss(&mut learner, &examples);
        fit_projections(&mut learner.student, &learner.teachers, &mut learner.caches, &examples).unwrap();
        let fitted = hidden_loss(&mut learner, &examples);
        assert!(fitted < 0.5 * before, "{before} {fitted}");
        // The normal equations: at the fit, the loss is flat in every direction of the map, but for the ridge.
        let projections = learner.teachers[0].projections.clone();
        assert_eq!(projections.len(), 3);
        for projection in &projections {
            let of_weight = learner.gradients[projection.weight.clone()].iter().map(|g| g.abs()).fold(0.0, f32::max);
            let of_bias =
                learner.gradients[projection.bias.clone().unwrap()].iter().map(|g| g.abs()).fold(0.0, f32::max);
            assert!(of_weight < 2e-4 && of_bias < 1e-5, "{of_weight} {of_bias}");
        }
        for (place, change) in
            [(projections[1].weight.start + 3, 0.05), (projections[2].bias.clone().unwrap().start, -0.1)]
        {
            learner.student.values[place] += change;
            assert!(hidden_loss(&mut learner, &examples) > fitted);
            learner.student.values[place] -= change;
        }
    }

    #[test]
    fn gradients_through_the_maps_are_those_of_finite_differences() {
        let (mut learner, examples) = learner(6);
        fit_projections(&mut learner.student, &learner.teachers, &mut learner.caches, &examples[..3]).unwrap();
        let indices: Vec<usize> = (0..examples.len()).collect();
        let notes: Vec<&Example> = examples.iter().collect();
        learner.accumulate(&notes, &indices, None).unwrap();
        let gradients = learner.gradients.clone();
        let (mut worst, mut looked_at) = (0f64, 0);
        for spec in learner.student.layout().tensors().to_vec() {
            // The steepest place of each tensor, where rounding hides least.
            let steepest =
                spec.range.clone().max_by(|a, b| gradients[*a].abs().total_cmp(&gradients[*b].abs())).unwrap();
            let expected = f64::from(gradients[steepest]);
            if expected.abs() < 1e-3 {
                continue;
            }
            let mut at = |change: f32| {
                let value = learner.student.values[steepest];
                learner.student.values[steepest] = value + change;
                let total = learner.accumulate(&notes, &indices, None).unwrap().total;
                learner.student.values[steepest] = value;
                total
            };
            let found = (at(5e-3) - at(-5e-3)) / 1e-2;
            worst = worst.max((found - expected).abs() / expected.abs());
            looked_at += usize::from(spec.name.contains("projection"));
        }
        assert!(worst < 0.02 && looked_at >= 4, "{worst} of {looked_at}");
    }

    #[test]
    fn without_a_term_the_maps_are_zero() {
        let (mut learner, examples) = learner(3);
        fit_projections(&mut learner.student, &learner.teachers, &mut learner.caches, &examples[2..]).unwrap();
        let weight = learner.teachers[0].projections[0].weight.clone();
        assert!(learner.student.values[weight].iter().all(|value| *value == 0.0));
    }
}
