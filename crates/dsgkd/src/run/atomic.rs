//! Files and folders that are there whole or not at all, whatever kills the process.

use crate::error::{Error, Result};
use crate::private::{create_private_folder, private_file};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Ends the names of what is being written.
const UNFINISHED: &str = "dsgkd-tmp";
/// Ends the name of a finished folder that waits to take its place.
const FINISHED: &str = "dsgkd-new";
/// Ends the name of a folder that gave its place away.
const REPLACED: &str = "dsgkd-old";

/// Writes a file whole or not at all: into a temporary file beside it, flushed to the disk, renamed.
///
/// The closure may fail with a library error of its own inside `io::Error::other(error)`: it comes back as
/// itself. A path that is no regular file (`/dev/stdout`, a pipe) is written to directly.
///
/// # Errors
/// [`Error::Io`] naming the path, for a full disk or a folder that may not be written too; the old file is then
/// as it was.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    // A link's target is replaced, not the link; and a device must not be replaced by a file.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let file = fs::OpenOptions::new().write(true).open(&target).map_err(Error::io(path, "write"))?;
        let mut writer = BufWriter::new(file);
        return write(&mut writer).and_then(|()| writer.flush()).map_err(failure(path, "write"));
    }
    let temporary = beside(&target, &unique(UNFINISHED));
    let written = write_and_sync(&temporary, write).and_then(|()| fs::rename(&temporary, &target));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failure(path, "write")(error));
    }
    sync_folder(parent(&target)).map_err(Error::io(path, "write"))
}

fn write_and_sync(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 16, private_file().write(true).create_new(true).open(path)?);
    write(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// Fills a folder whole or not at all; one that is there already is replaced. The closure fills a temporary folder
/// beside it, which is flushed to the disk and renamed. Between the two renames that replace an old folder there is
/// neither; [`sweep`] of the folder around it puts that right after a crash. One process at a time may write a folder.
///
/// # Errors
/// What the closure returns; [`Error::Io`] naming the path. The old folder is then as it was.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let (new, replaced) = (beside(path, FINISHED), beside(path, REPLACED));
    finish_replacement(path).map_err(Error::io(path, "write"))?;
    let temporary = beside(path, &unique(UNFINISHED));
    let filled = create_private_folder(&temporary).map_err(Error::io(path, "create")).and_then(|()| fill(&temporary));
    filled.inspect_err(|_| {
        let _ = fs::remove_dir_all(&temporary);
    })?;
    let replace = || {
        sync_tree(&temporary)?;
        // From this name on the folder is known to be whole.
        fs::rename(&temporary, &new)?;
        if path.symlink_metadata().is_ok() {
            fs::rename(path, &replaced)?;
        }
        fs::rename(&new, path)?;
        sync_folder(parent(path))?;
        remove(&replaced)
    };
    let replaced = replace();
    if replaced.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    replaced.map_err(Error::io(path, "write"))
}

/// Deletes what a killed process left unfinished in this folder (not in those below it), and puts folders that
/// were being replaced back in their place. Nobody else may be writing here.
///
/// # Errors
/// [`Error::Io`] naming the folder.
pub fn sweep(folder: &Path) -> Result<()> {
    sweep_entries(folder).map_err(Error::io(folder, "clean up"))
}

fn sweep_entries(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        // Names that are not UTF-8 are none of ours to guess at.
        let Some((stem, ending)) = name.to_str().and_then(|name| name.strip_prefix('.')?.rsplit_once('.')) else {
            continue;
        };
        match ending {
            UNFINISHED => remove(&entry.path())?,
            FINISHED | REPLACED => finish_replacement(&folder.join(stem))?,
            _ => {}
        }
    }
    Ok(())
}

/// Completes or undoes a replacement of the folder that was cut short.
fn finish_replacement(path: &Path) -> io::Result<()> {
    let (new, replaced) = (beside(path, FINISHED), beside(path, REPLACED));
    if path.symlink_metadata().is_err() {
        for candidate in [&new, &replaced] {
            if candidate.symlink_metadata().is_ok() {
                fs::rename(candidate, path)?;
                sync_folder(parent(path))?;
                break;
            }
        }
    }
    remove(&new)?;
    remove(&replaced)
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// An ending that no other writer of this or another process has.
fn unique(ending: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}.{ending}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// `.name.ending` in the folder of `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".");
    name.push(ending);
    parent(path).join(name)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A library error that travelled inside an `io::Error` comes out as itself.
fn failure(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.downcast::<Error>() {
        Ok(inner) => inner,
        Err(source) => Error::Io { path: path.to_path_buf(), action, source },
    }
}

/// Flushes every file and folder below, then the folder itself.
fn sync_tree(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync_tree(&entry.path())?;
        } else if kind.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    sync_folder(folder)
}

/// A rename survives a power cut only once its folder is on the disk.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network file systems do not flush folders; there is nothing more to be done there.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests;
