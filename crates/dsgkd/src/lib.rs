//! Teach a general language model your domain (DSG-KD, arXiv 2409.14904).
//!
//! Data flows one way, and the modules stand in that order; each imports only from those above it:
//!
//! `config` -> `data` (files, notes, splits) -> `baseline` | `text` (tokens, terms, aligned spans) -> `batch` ->
//! `distill` (losses) -> `train` -> `run` (folders) -> `eval` -> `predict` -> `runs` (read back), `calibrate`, `report`,
//! `grid`; beside them `pretrain` and `select`, which work on text without labels.

pub mod baseline;
pub mod calibrate;
pub mod check;
pub mod config;
pub mod data;
pub mod distill;
pub mod error;
pub mod eval;
pub mod experiment;
pub mod grid;
pub mod hub;
pub mod infer;
mod path_names;
pub mod predict;
pub mod pretrain;
mod private;
pub mod random;
pub mod report;
pub mod run;
pub mod runs;
pub mod select;
pub mod text;
pub mod train;
