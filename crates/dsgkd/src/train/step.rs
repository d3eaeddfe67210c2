//! A training step, wherever its numbers lie: what it is told, what it says, and what the training loop asks of who computes it, on the CPU
//! ([`super::learner`]) or on a device (`super::portable`).

use super::checkpoint::{Arenas, ArenasMut};
use crate::distill::Example;
use crate::error::Result;
use dsgkd_encoder::Model;
use serde::{Deserialize, Serialize};

/// What stays the same from step to step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSettings {
    /// Weight of the hidden-state loss.
    pub alpha: f64,
    /// Weight of the attention loss.
    pub beta: f64,
    /// Take the student's attention rows after dropout.
    pub attention_after_dropout: bool,
    /// Keep each layer's input alone for the backward pass.
    pub gradient_checkpointing: bool,
    /// Columns of positional attention rows.
    pub max_length: usize,
    /// Weight of each class in the cross-entropy; empty: all 1.
    pub class_weights: Vec<f32>,
    /// AdamW's decays and epsilon, and weight decay.
    pub betas: (f64, f64),
    /// See [`dsgkd_ops::adamw::AdamW`].
    pub epsilon: f64,
    /// See [`dsgkd_ops::adamw::AdamW`].
    pub weight_decay: f64,
    /// Gradient norms are cut to this; 0: never.
    pub max_grad_norm: f64,
}

/// The losses of one step, unweighted, and their sum as it is minimised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLosses {
    /// `alpha * hidden + beta * attention + prediction`, hidden and attention being means over the teachers.
    pub total: f64,
    /// Mean squared error of hidden states.
    pub hidden: f64,
    /// Mean squared error of attention rows.
    pub attention: f64,
    /// Cross-entropy.
    pub prediction: f64,
}

/// A student in training.
pub trait Learn {
    /// Forward and backward of one batch: adds to the gradients. `indices` are the notes' places in the whole training
    /// set, by which the teachers' answers are remembered; `dropout_seed` `None` drops nothing.
    ///
    /// # Errors
    /// Of the file in which a teacher's answers are kept, and of the device.
    fn accumulate(&mut self, examples: &[&Example], indices: &[usize], dropout_seed: Option<u64>)
    -> Result<StepLosses>;

    /// Clips the mean gradient of `batches` batches, moves the weights by AdamW with `learning_rates` (encoder, heads), and
    /// clears the gradients. Returns the norm before clipping.
    ///
    /// # Errors
    /// Of the device.
    fn update(&mut self, learning_rates: (f64, f64), batches: usize) -> Result<f64>;

    /// Whether somebody teaches it.
    fn has_teacher(&self) -> bool;

    /// The student as it is now.
    ///
    /// # Errors
    /// Of the device.
    fn student(&mut self) -> Result<&Model>;

    /// Parameters and moments as they are now.
    ///
    /// # Errors
    /// Of the device.
    fn arenas(&mut self) -> Result<Arenas<'_>>;

    /// What a checkpoint is read into; [`Learn::go_on`] then takes it over.
    fn arenas_mut(&mut self) -> ArenasMut<'_>;

    /// Goes on after `step` steps from what was read into [`Learn::arenas_mut`].
    fn go_on(&mut self, step: u64);

    /// The student as it was when last asked for or read.
    fn into_student(self: Box<Self>) -> Model;
}
