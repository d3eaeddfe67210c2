//! The library's one error type: a value that names the file, row, key or tensor at fault and says
//! what to do, and never quotes the content of a note or a cell.

use std::path::{Path, PathBuf};

/// What went wrong, by whose fault; the command line maps each kind to an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The experiment file or a command's argument is wrong (exit code 2).
    #[error("{0}")]
    Config(String),
    /// The user's records are wrong (exit code 3).
    #[error("{0}")]
    Data(String),
    /// A model folder, checkpoint or tokenizer is wrong (exit code 3).
    #[error("{0}")]
    Model(String),
    /// The operating system refused to read or write a file (exit code 4).
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The device that computes failed (exit code 4).
    #[error("{0}")]
    Device(String),
    /// The user asked to stop (exit code 130); what was done is saved.
    #[error("{0}")]
    Interrupted(String),
}

/// The library's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An [`Error::Io`], for `map_err`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, action, source }
    }
}

impl From<dsgkd_encoder::Error> for Error {
    fn from(error: dsgkd_encoder::Error) -> Error {
        match error {
            dsgkd_encoder::Error::Io { path, action, source } => Error::Io { path, action, source },
            folder @ dsgkd_encoder::Error::Folder { .. } => Error::Model(folder.to_string()),
        }
    }
}
