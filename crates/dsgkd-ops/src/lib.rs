//! Fused forward and backward operations of transformer encoders on packed tokens, on the CPU.
//!
//! Every operation works on plain `f32` slices, row-major. A batch of notes is *packed*: the tokens of
//! all notes stand end to end (`[tokens, hidden]`, no padding), and `cu_seqlens` (`[notes + 1]`) says where
//! each note begins; only [`attention`] and [`spans`] look at it. Every backward is written by hand and
//! *adds* to the gradients of parameters, so that gradients can be accumulated over batches.
//!
//! All operations use the current rayon thread pool. Work is divided by fixed sizes, never by what a
//! thread happens to take, so that the same inputs on the same number of threads give the same bytes.
//!
//! Sizes are checked by assertion: a mismatch is a bug of the caller, not an input error.

#![allow(unsafe_code)] // Kernels write disjoint parts of one buffer from many tasks, and call the GEMM; each use gives its reason.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod dropout;
pub mod embedding;
mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod loss;
mod math;
mod parallel;
#[cfg(feature = "portable")]
pub mod portable;
pub mod spans;

pub use dropout::{Dropout, RowDropout};
pub use gemm::{Instructions, PackedWeight, Precision, WeightPrecision};
pub use parallel::in_pool;
