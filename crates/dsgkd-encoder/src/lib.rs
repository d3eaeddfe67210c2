//! Transformer encoders read from and written to Hugging Face model folders, on packed tokens.
//!
//! A [`Model`] is one arena of `f32` parameters with names ([`Layout`]), an encoder of one of the known
//! families, and optional heads. [`encoder`] runs it forward and backward by hand over `dsgkd-ops`: every hidden
//! state and attention-probability row of chosen spans comes out pooled, and gradients of these go in.
//!
//! What differs between families (names of tensors and config keys, shape of the head) is one file each under [`family`].

pub mod architecture;
pub mod classifier;
pub mod encoder;
pub mod error;
pub mod family;
pub mod layout;
pub mod mlm;
pub mod model;
#[cfg(feature = "portable")]
pub mod portable;
pub mod weights;

pub use architecture::Architecture;
pub use classifier::HeadForm;
pub use encoder::{Activations, Batch, DropoutSeed, ForwardOptions, PooledGradients};
pub use error::{Error, Result};
pub use layout::{Group, Layout};
pub use model::{Heads, LoadReport, Model};
