//! One training step on a device: what [`super::learner`] does on the CPU, with the same losses, masks and optimiser.

use super::checkpoint::{Arenas, ArenasMut};
use super::step::{Learn, StepLosses, StepSettings};
use crate::distill::cache::TeacherCache;
use crate::distill::portable::{StudentSide, compare};
use crate::distill::teacher::Teacher;
use crate::distill::{BatchSpans, Example};
use crate::error::{Error, Result};
use dsgkd_encoder::portable::{Parameters, classify, forward};
use dsgkd_encoder::{Batch, ForwardOptions, Group, Model};
use dsgkd_ops::adamw::AdamW;
use dsgkd_ops::portable::adamw::{self, Moving};
use dsgkd_ops::portable::loss::cross_entropy;
use dsgkd_ops::portable::{Device, DeviceError, Tensor, download, upload};

/// A student in training whose parameters, gradients and moments lie on a device, in the student's layout. Teachers run on the CPU.
pub struct DeviceLearner {
    /// The student; its own values are those that were last brought back.
    pub student: Model,
    /// The frozen teachers.
    pub teachers: Vec<Teacher>,
    /// What each teacher said so far.
    pub caches: Vec<TeacherCache>,
    /// Number of optimiser steps done.
    pub step: u64,
    moving: Moving,
    /// The moments as they were last brought back; empty before.
    moments: (Vec<f32>, Vec<f32>),
    /// Sum since the last update; `None` is 0.
    gradients: Option<Tensor<1>>,
    settings: StepSettings,
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Error {
        Error::Device(error.to_string())
    }
}

impl DeviceLearner {
    /// A learner at step 0. `settings.gradient_checkpointing` is not known on devices.
    pub fn new(
        student: Model,
        teachers: Vec<Teacher>,
        caches: Vec<TeacherCache>,
        settings: StepSettings,
        device: &Device,
    ) -> DeviceLearner {
        let device = device.clone().inner();
        let length = student.values.len();
        let moving = Moving {
            parameters: upload(&student.values, [length], &device),
            exp_avg: Tensor::zeros([length], &device),
            exp_avg_sq: Tensor::zeros([length], &device),
        };
        DeviceLearner {
            student,
            teachers,
            caches,
            step: 0,
            moving,
            moments: Default::default(),
            gradients: None,
            settings,
        }
    }
}

impl Learn for DeviceLearner {
    fn accumulate(
        &mut self,
        examples: &[&Example],
        indices: &[usize],
        dropout_seed: Option<u64>,
    ) -> Result<StepLosses> {
        let batch = Batch::pack(examples.iter().map(|example| &example.input_ids[..]));
        let spans = BatchSpans::new(examples, self.teachers.len());
        let options = ForwardOptions {
            dropout: dropout_seed,
            for_backward: true,
            checkpointing: false,
            spans: &spans.spans,
            rows_after_dropout: self.settings.attention_after_dropout,
            layers: None,
            wanted: None, // on devices every token is computed
        };
        let mut parameters = Parameters::new(self.moving.parameters.clone(), true);
        let states = forward(&self.student, &mut parameters, &batch, &options);
        let mut total = Total::default();

        let shares: f64 = self.teachers.iter().map(|teacher| teacher.weight).sum();
        for (number, teacher) in self.teachers.iter().enumerate() {
            let features = self.caches[number].features(teacher, number, indices, examples)?;
            let student = StudentSide {
                model: &self.student,
                parameters: &mut parameters,
                spans: &spans,
                states: &states,
                examples,
            };
            let losses = compare(student, teacher, number, &features, self.settings.max_length);
            let share = teacher.weight / shares;
            total.add(losses.hidden, Kind::Hidden, share, self.settings.alpha);
            total.add(losses.attention, Kind::Attention, share, self.settings.beta);
        }

        // The labels: only notes that have one go through the head.
        let labelled: Vec<usize> = (0..examples.len()).filter(|note| examples[*note].label.is_some()).collect();
        if !labelled.is_empty() {
            let labels: Vec<u32> = examples.iter().filter_map(|example| example.label).collect();
            let logits = classify(&self.student, &mut parameters, &batch, &labelled, dropout_seed, &states);
            let loss = cross_entropy(logits, &labels, &self.settings.class_weights);
            total.add(Some(loss), Kind::Prediction, 1.0, 1.0);
        }
        let Some(minimised) = &total.minimised else { return Ok(StepLosses::default()) };
        let gradients = parameters.gradients(&mut minimised.backward());
        self.gradients = Some(match self.gradients.take() {
            Some(sum) => sum.add(gradients),
            None => gradients,
        });
        total.losses(&self.settings)
    }

    fn update(&mut self, learning_rates: (f64, f64), batches: usize) -> Result<f64> {
        let mean = 1.0 / batches as f64;
        let gradients = self.gradients.take().unwrap_or_else(|| self.moving.parameters.zeros_like());
        let norm = adamw::norm(gradients.clone()).mul_scalar(mean);
        let clip = adamw::clipping_factor(norm.clone(), self.settings.max_grad_norm);
        self.step += 1;
        let mut moved: Vec<Moving> = vec![];
        for (group, learning_rate) in [(Group::Encoder, learning_rates.0), (Group::Head, learning_rates.1)] {
            let range = self.student.layout().group(group);
            if range.is_empty() {
                continue;
            }
            let settings = AdamW {
                learning_rate,
                beta1: self.settings.betas.0,
                beta2: self.settings.betas.1,
                epsilon: self.settings.epsilon,
                weight_decay: self.settings.weight_decay,
                gradient_scale: mean,
                step: self.step,
            };
            let part = |tensor: &Tensor<1>| tensor.clone().narrow(0, range.start, range.len());
            let before = Moving {
                parameters: part(&self.moving.parameters),
                exp_avg: part(&self.moving.exp_avg),
                exp_avg_sq: part(&self.moving.exp_avg_sq),
            };
            moved.push(adamw::step(settings, clip.clone(), part(&gradients), before));
        }
        let joined = |field: fn(&Moving) -> &Tensor<1>| Tensor::cat(moved.iter().map(field).cloned().collect(), 0);
        self.moving = Moving {
            parameters: joined(|moving| &moving.parameters),
            exp_avg: joined(|moving| &moving.exp_avg),
            exp_avg_sq: joined(|moving| &moving.exp_avg_sq),
        };
        Ok(f64::from(number(&norm)?))
    }

    fn has_teacher(&self) -> bool {
        !self.teachers.is_empty()
    }

    fn student(&mut self) -> Result<&Model> {
        self.student.values = download(&self.moving.parameters)?;
        Ok(&self.student)
    }

    fn arenas(&mut self) -> Result<Arenas<'_>> {
        self.student()?;
        self.moments = (download(&self.moving.exp_avg)?, download(&self.moving.exp_avg_sq)?);
        let moments = Some((&self.moments.0[..], &self.moments.1[..]));
        Ok(Arenas { layout: self.student.layout(), parameters: &self.student.values, moments })
    }

    fn arenas_mut(&mut self) -> ArenasMut<'_> {
        let (layout, parameters) = self.student.arena_mut();
        let (exp_avg, exp_avg_sq) = &mut self.moments;
        exp_avg.resize(parameters.len(), 0.0);
        exp_avg_sq.resize(parameters.len(), 0.0);
        ArenasMut { layout, parameters, moments: Some((exp_avg, exp_avg_sq)) }
    }

    fn go_on(&mut self, step: u64) {
        self.step = step;
        let device = self.moving.parameters.device();
        let arena = |values: &[f32]| upload(values, [values.len()], &device);
        self.moving = Moving {
            parameters: arena(&self.student.values),
            exp_avg: arena(&self.moments.0),
            exp_avg_sq: arena(&self.moments.1),
        };
    }

    fn into_student(self: Box<Self>) -> Model {
        self.student
    }
}

fn number(tensor: &Tensor<1>) -> Result<f32> {
    Ok(download(tensor)?[0])
}

#[derive(Clone, Copy)]
enum Kind {
    Hidden,
    Attention,
    Prediction,
}

/// The losses of a step while they are summed.
#[derive(Default)]
struct Total {
    minimised: Option<Tensor<1>>,
    of_kind: [Option<Tensor<1>>; 3],
}

impl Total {
    fn add(&mut self, loss: Option<Tensor<1>>, kind: Kind, share: f64, weight: f64) {
        let Some(loss) = loss else { return };
        let loss = loss.mul_scalar(share);
        let of_kind = loss.clone().inner();
        let add = |sum: &mut Option<Tensor<1>>, loss: Tensor<1>| {
            *sum = Some(match sum.take() {
                Some(sum) => sum.add(loss),
                None => loss,
            });
        };
        add(&mut self.of_kind[kind as usize], of_kind);
        add(&mut self.minimised, loss.mul_scalar(weight));
    }

    fn losses(&self, settings: &StepSettings) -> Result<StepLosses> {
        let of = |kind: Kind| self.of_kind[kind as usize].as_ref().map_or(Ok(0.0), |loss| number(loss).map(f64::from));
        let (hidden, attention, prediction) = (of(Kind::Hidden)?, of(Kind::Attention)?, of(Kind::Prediction)?);
        let total = settings.alpha * hidden + settings.beta * attention + prediction;
        Ok(StepLosses { total, hidden, attention, prediction })
    }
}
