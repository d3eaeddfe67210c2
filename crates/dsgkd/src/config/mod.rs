//! One TOML file is one experiment. This module holds its shape; every key has a default that the
//! commented file of `dsgkd init` shows. Keys are Hugging Face's where it has one.
//!
//! [`load`] reads the file and the command line's overrides, [`Config::resolved`] fills what hangs on
//! the preset and the teachers, [`Config::validate`] says what a training still lacks.

mod check;
mod document;
mod keys;
mod known;
mod load;
mod overrides;
mod pretrain;
mod resolve;
mod schema;
mod select;
mod selective;
mod validate;
mod write;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

pub(crate) use keys::Kind;
pub(crate) use known::KnownKeys;
pub use load::load;
pub(crate) use load::load_from;
pub(crate) use pretrain::pretrain_to_toml;
pub use pretrain::*;
pub use schema::*;
pub use select::*;
pub use selective::*;
pub(crate) use validate::MOST_BOOTSTRAP_SAMPLES;
pub use write::{commented_template, to_toml};
