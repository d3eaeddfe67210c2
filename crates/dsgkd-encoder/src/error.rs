//! What can be wrong with a model folder.

use std::path::{Path, PathBuf};

/// An error of a model folder, which names the file, key or tensor at fault.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// "read", "write", "create".
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder's content is not what it should be.
    #[error("{}: {message}", path.display())]
    Folder {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, action, source }
    }

    pub(crate) fn folder(path: &Path, message: impl Into<String>) -> Error {
        Error::Folder { path: path.to_path_buf(), message: message.into() }
    }
}
