//! What a run leaves on disk.

pub mod atomic;
pub mod folder;
pub mod history;
pub mod tensorboard;
