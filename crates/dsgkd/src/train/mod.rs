//! Training: [`learner`] is one step, [`schedule`] the learning rate over the steps.

pub mod checkpoint;
pub mod learner;
pub mod schedule;
