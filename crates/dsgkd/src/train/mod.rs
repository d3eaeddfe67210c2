//! Training: [`learner`] is one step, [`training`] the loop around it, [`plan`] its batches, [`schedule`] the learning rate over the steps,
//! [`checkpoint`] what is written to go on from.

pub mod checkpoint;
pub mod learner;
pub mod plan;
pub mod schedule;
pub mod training;
