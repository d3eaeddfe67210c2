//! Training: [`step`] is what a step is told and says, [`learner`] one on the CPU and `portable` (with the feature of its name) one on a
//! device, [`device`] the choice between them; [`training`] is the loop around it, [`plan`] its batches, [`schedule`] the learning rate over
//! the steps, [`checkpoint`] what is written to go on from.

pub mod checkpoint;
pub mod device;
pub mod learner;
pub mod plan;
#[cfg(feature = "portable")]
pub mod portable;
pub mod schedule;
pub mod step;
pub mod training;
