//! Models on Burn's devices (CPU, CUDA, Vulkan): the forward pass over the portable operations, the backward by Burn's autodiff.
//!
//! A [`Model`](crate::Model) stays what it is, architecture, layout and places of its tensors; its numbers lie on the device as one
//! flat tensor, from which [`Parameters`] cuts what a pass needs. Gradients come back as one flat tensor of the same layout.
//! The same seed gives the same dropout masks as on the CPU, so that a step there can be held against a step here.

mod encoder;
mod heads;
mod parameters;

pub use encoder::{States, forward};
pub use heads::{classify, predict_masked};
pub use parameters::Parameters;
