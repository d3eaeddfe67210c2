//! What a run leaves on disk, and how it gets there in one piece. Files are made for their owner alone: they are derived
//! from somebody's health.

pub mod atomic;
pub mod environment;
pub mod folder;
pub mod history;
pub mod inputs;
pub mod tensorboard;
