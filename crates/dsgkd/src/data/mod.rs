//! Files in, notes and splits out: pure data, no models.
//!
//! `files -> records -> notes -> splits`, one pass, each step a file of this folder:
//!
//! - `encoding` turns bytes of any WHATWG encoding, gzipped or not, into UTF-8 as they stream by;
//! - [`Records`] reads CSV, TSV, JSONL, Parquet and XLSX into [`Record`]s of text cells;
//! - [`NoteMapper`] makes a [`Note`] of a record (a column or a [`Template`], label, group, id);
//! - [`read_notes`] does so for all files of an experiment, [`make_splits`] divides them;
//! - [`TableWriter`] writes records back with new columns beside them.
//!
//! A bad row is a value ([`BadRow`]) that names file, line and column and never quotes a cell: the text
//! of a note is somebody's health.

mod bad_row;
mod columns;
pub(crate) mod corpus;
mod delimited;
mod encoding;
mod format;
mod hash;
mod json;
mod jsonl;
mod mapper;
mod notes;
mod parquet;
mod reader;
mod split;
mod template;
mod units;
mod write;
mod write_parquet;
mod xlsx;
mod zip_guard;

pub use bad_row::{BadRow, BadRows, Reason, RowError};
pub use columns::find_column;
pub(crate) use format::row_unit;
pub use format::{Format, ReadOptions};
pub(crate) use hash::hexadecimal;
pub use hash::{file_sha256, text_sha256};
pub use mapper::{NoteMapper, is_name_of_a_row, normalise};
pub use notes::{MAX_CLASSES, Note, Notes, read_notes, visit_tested_files};

pub use reader::{Record, Records};
pub use split::{Splits, leave_out_tested, make_splits};
pub use template::Template;
pub use write::{NewColumn, TableWriter, Value, is_same_file};
