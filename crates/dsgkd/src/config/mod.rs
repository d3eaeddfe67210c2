//! One TOML file is one experiment. This module holds its shape; every key has a default that the
//! commented file of `dsgkd init` shows. Keys are Hugging Face's where it has one.

mod pretrain;
mod schema;

pub use pretrain::*;
pub use schema::*;
