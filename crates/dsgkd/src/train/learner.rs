//! One training step on the CPU: batch in, losses and new weights out.

use super::checkpoint::{Arenas, ArenasMut};
use super::step::{Learn, StepLosses, StepSettings};
use crate::distill::cache::TeacherCache;
use crate::distill::losses::{StudentSide, Weights, compare};
use crate::distill::teacher::Teacher;
use crate::distill::{BatchSpans, Example};
use crate::error::Result;
use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, Group, Model, PooledGradients};
use dsgkd_ops::adamw::{self, AdamW, TouchedRows};
use dsgkd_ops::in_pool;
use dsgkd_ops::loss::cross_entropy;

/// A student in training: parameters, gradients and moments in arenas of one layout, and buffers.
pub struct Learner {
    /// The student.
    pub student: Model,
    /// The frozen teachers.
    pub teachers: Vec<Teacher>,
    /// What each teacher said so far.
    pub caches: Vec<TeacherCache>,
    /// Number of optimiser steps done.
    pub step: u64,
    /// First moments, in the student's layout.
    pub exp_avg: Vec<f32>,
    /// Second moments, in the student's layout.
    pub exp_avg_sq: Vec<f32>,
    /// Compute the last layer at every token and update every word embedding, also where nobody reads it and no batch had it: to be measured beside programs
    /// that do.
    pub spares_nothing: bool,
    /// Sums of gradients since the last update, in the student's layout.
    pub gradients: Vec<f32>,
    /// Word embeddings that had a gradient so far.
    touched: TouchedRows,
    settings: StepSettings,
    activations: Activations,
    head: ClassifierActivations,
}

impl Learner {
    /// A learner at step 0.
    pub fn new(student: Model, teachers: Vec<Teacher>, caches: Vec<TeacherCache>, settings: StepSettings) -> Learner {
        let zeros = || vec![0f32; student.values.len()];
        let (words, columns) = student.word_embeddings();
        Learner {
            exp_avg: zeros(),
            exp_avg_sq: zeros(),
            gradients: zeros(),
            touched: TouchedRows::none(words, columns),
            student,
            teachers,
            caches,
            step: 0,
            spares_nothing: false,
            settings,
            activations: Activations::default(),
            head: ClassifierActivations::default(),
        }
    }

    fn accumulate_here(
        &mut self,
        examples: &[&Example],
        indices: &[usize],
        dropout_seed: Option<u64>,
    ) -> Result<StepLosses> {
        let batch = Batch::pack(examples.iter().map(|example| &example.input_ids[..]));
        self.touched.touch(&batch.input_ids);
        let spans = BatchSpans::new(examples, self.teachers.len());
        let labelled: Vec<usize> = (0..examples.len()).filter(|note| examples[*note].label.is_some()).collect();
        let classified = self.student.classified_tokens(&batch, labelled.iter().copied());
        let wanted = batch.wanted(classified.iter().chain(&spans.spans));
        let options = ForwardOptions {
            dropout: dropout_seed,
            for_backward: true,
            checkpointing: self.settings.gradient_checkpointing,
            spans: &spans.spans,
            rows_after_dropout: self.settings.attention_after_dropout,
            layers: None,
            wanted: (!self.spares_nothing).then_some(&wanted),
        };
        self.student.forward(&batch, &options, &mut self.activations);
        let mut losses = StepLosses::default();
        let mut pooled = PooledGradients::default();

        // The teachers: hidden states and attention rows at the aligned terms.
        let shares: f64 = self.teachers.iter().map(|teacher| teacher.weight).sum();
        for (number, teacher) in self.teachers.iter().enumerate() {
            let features = self.caches[number].features(teacher, number, indices, examples)?;
            let share = teacher.weight / shares;
            let student = StudentSide {
                model: &self.student,
                batch: &batch,
                spans: &spans,
                activations: &self.activations,
                examples,
            };
            let weights = Weights {
                hidden: self.settings.alpha * share,
                attention: self.settings.beta * share,
                max_length: self.settings.max_length,
            };
            let of_teacher = compare(student, teacher, number, &features, weights, &mut pooled, &mut self.gradients);
            losses.hidden += share * of_teacher.hidden;
            losses.attention += share * of_teacher.attention;
        }

        // The labels: only notes that have one go through the head.
        self.student.clear_gradient(&batch, &mut self.activations);
        if !labelled.is_empty() {
            let labels: Vec<u32> = examples.iter().filter_map(|example| example.label).collect();
            let classes = self.student.classes.len();
            let (act, head) = (&mut self.activations, &mut self.head);
            self.student.classify(&batch, &labelled, dropout_seed, act, head);
            losses.prediction = cross_entropy(&mut head.logits, &labels, classes, &self.settings.class_weights);
            self.student.classify_backward(&batch, &labelled, dropout_seed, act, head, &mut self.gradients);
        }
        self.student.backward(&batch, &options, &pooled, &mut self.activations, &mut self.gradients);
        losses.total = self.settings.alpha * losses.hidden + self.settings.beta * losses.attention + losses.prediction;
        Ok(losses)
    }

    fn update_here(&mut self, learning_rates: (f64, f64), batches: usize) -> f64 {
        let mean = 1.0 / batches as f64;
        let everything = TouchedRows::everything();
        let words = if self.spares_nothing { &everything } else { &self.touched };
        let norm = adamw::sum_of_squares(&self.gradients, words).sqrt() * mean;
        let limit = self.settings.max_grad_norm;
        let clip = if limit > 0.0 { (limit / (norm + 1e-6)).min(1.0) } else { 1.0 };
        self.step += 1;
        let groups = [(Group::Encoder, learning_rates.0, words), (Group::Head, learning_rates.1, &everything)];
        for (group, learning_rate, touched) in groups {
            // The encoder's group begins the arena, so that the table is where `touched` says.
            let range = self.student.layout().group(group);
            let settings = AdamW {
                learning_rate,
                beta1: self.settings.betas.0,
                beta2: self.settings.betas.1,
                epsilon: self.settings.epsilon,
                weight_decay: self.settings.weight_decay,
                gradient_scale: mean * clip,
                step: self.step,
            };
            adamw::step(
                settings,
                touched,
                &mut self.student.values[range.clone()],
                &mut self.gradients[range.clone()],
                &mut self.exp_avg[range.clone()],
                &mut self.exp_avg_sq[range],
            );
        }
        norm
    }
}

impl Learn for Learner {
    fn accumulate(
        &mut self,
        examples: &[&Example],
        indices: &[usize],
        dropout_seed: Option<u64>,
    ) -> Result<StepLosses> {
        in_pool(|| self.accumulate_here(examples, indices, dropout_seed))
    }

    fn update(&mut self, learning_rates: (f64, f64), batches: usize) -> Result<f64> {
        Ok(in_pool(|| self.update_here(learning_rates, batches)))
    }

    fn has_teacher(&self) -> bool {
        !self.teachers.is_empty()
    }

    fn student(&mut self) -> Result<&Model> {
        Ok(&self.student)
    }

    fn arenas(&mut self) -> Result<Arenas<'_>> {
        let moments = Some((&self.exp_avg[..], &self.exp_avg_sq[..]));
        Ok(Arenas { layout: self.student.layout(), parameters: &self.student.values, moments })
    }

    fn arenas_mut(&mut self) -> ArenasMut<'_> {
        let (layout, parameters) = self.student.arena_mut();
        ArenasMut { layout, parameters, moments: Some((&mut self.exp_avg, &mut self.exp_avg_sq)) }
    }

    fn go_on(&mut self, step: u64) {
        self.step = step;
        self.touched.touch_moments(&self.exp_avg, &self.exp_avg_sq);
    }

    fn into_student(self: Box<Self>) -> Model {
        self.student
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{AttentionRows, TeacherConfig};
    use crate::distill::teacher::projection_name;
    use crate::text::{SpanPair, TeacherView};
    use dsgkd_encoder::Heads;
    use serde_json::json;

    fn model(hidden: usize, layers: usize, heads: &Heads) -> Model {
        let config = json!({"model_type": "bert", "vocab_size": 30, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 16, "initializer_range": 0.3});
        Model::fresh(config, heads, 5).unwrap()
    }

    fn example(note: u32) -> Example {
        let span = |start: u32, end: u32| SpanPair { student: (start, end), teacher: (start + 1, end + 1) };
        let input_ids: Vec<u32> = (0..8).map(|at| (at * 7 + note * 11 + at * note) % 30).collect();
        let view = TeacherView {
            input_ids: input_ids.iter().map(|id| (id * 3 + 1) % 30).collect(),
            words: vec![span(1, 2), span(3, 5), span(5, 6)],
            terms: if note == 2 { vec![] } else { vec![span(1, 2), span(3, 5)] },
            ..TeacherView::default()
        };
        Example { input_ids, label: Some(note % 2), views: vec![view] }
    }

    /// A student of 2 layers of 8 behind a projection to a teacher of 3 layers of 12; the published case, of equal widths, is held by
    /// `tests/reference_case.rs`.
    #[test]
    fn gradients_of_the_whole_loss_are_those_of_finite_differences() {
        let projections = vec![(projection_name(0), [12, 8])];
        let classes = vec!["no".to_string(), "yes".to_string()];
        let student = model(8, 2, &Heads { classes, projections, ..Heads::default() });
        let teacher = model(12, 3, &Heads::default());
        let (config, rows) = (TeacherConfig::default(), AttentionRows::Aligned);
        let teacher = Teacher::new(teacher, &config, rows, &student.architecture).unwrap();
        let settings = StepSettings {
            alpha: 0.6,
            beta: 20.0, // so that its gradient counts
            attention_after_dropout: false,
            gradient_checkpointing: false,
            max_length: 16,
            class_weights: vec![],
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 0.0,
        };
        let mut learner = Learner::new(student, vec![teacher], vec![TeacherCache::nothing()], settings);
        let examples: Vec<Example> = (0..6).map(example).collect();
        let (notes, indices): (Vec<&Example>, Vec<usize>) = (examples.iter().collect(), (0..6).collect());
        learner.accumulate(&notes, &indices, None).unwrap();
        let gradients = learner.gradients.clone();
        let (mut worst, mut seen) = (0f64, vec![]);
        for spec in learner.student.layout().tensors().to_vec() {
            // The steepest place of each tensor, where rounding hides least.
            let steepest = spec.range.max_by(|a, b| gradients[*a].abs().total_cmp(&gradients[*b].abs())).unwrap();
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
            seen.push(spec.name);
        }
        assert!(
            worst < 0.02 && seen.len() > 20 && seen.iter().any(|name| *name == projection_name(0)),
            "{worst} {seen:?}"
        );
    }
}
