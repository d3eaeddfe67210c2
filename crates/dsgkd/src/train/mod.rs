//! Training: [`learner`] is one step, [`training`] the loop around it, [`plan`] its batches, [`schedule`] the learning rate over the steps,
//! [`checkpoint`] what is written to go on from. With the feature of its name, `portable` is a step on a device.

pub mod checkpoint;
pub mod learner;
pub mod plan;
#[cfg(feature = "portable")]
pub mod portable;
pub mod schedule;
pub mod training;
