//! Files and folders that are there whole or not at all: written aside, flushed to the disk, renamed.

use crate::error::{Error, Result};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// The name under which a file or folder is written before it is renamed. One writer a target: a leftover of a killed
/// process is simply written over.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}

/// The folder that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes a rename last beyond a power cut; on systems whose folders cannot be opened there is nothing to do.
fn sync_folder(folder: &Path) -> Result<()> {
    match File::open(folder) {
        Ok(folder_file) => folder_file.sync_all().map_err(Error::io(folder, "write")),
        Err(_) => Ok(()),
    }
}

/// Writes a file whole or not at all.
pub fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let temporary = aside(path);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&temporary)?);
        write(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&temporary, path)
    })();
    if let Err(error) = written {
        // Best effort: the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(Error::io(path, "write")(error));
    }
    sync_folder(parent(path))
}

/// Fills a folder whole or not at all; one that is there already is replaced.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let temporary = aside(path);
    if temporary.exists() {
        fs::remove_dir_all(&temporary).map_err(Error::io(&temporary, "write"))?;
    }
    fs::create_dir_all(&temporary).map_err(Error::io(&temporary, "create"))?;
    if let Err(error) = fill(&temporary) {
        let _ = fs::remove_dir_all(&temporary);
        return Err(error);
    }
    for entry in fs::read_dir(&temporary).map_err(Error::io(&temporary, "read"))? {
        let file = entry.map_err(Error::io(&temporary, "read"))?.path();
        if file.is_file() {
            File::open(&file).and_then(|file| file.sync_all()).map_err(Error::io(&file, "write"))?;
        }
    }
    if path.exists() {
        // Two renames: a crash between them leaves the old folder under another name, never half of either.
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(".old");
        let old = path.with_file_name(name);
        if old.exists() {
            fs::remove_dir_all(&old).map_err(Error::io(&old, "write"))?;
        }
        fs::rename(path, &old).map_err(Error::io(path, "write"))?;
        fs::rename(&temporary, path).map_err(Error::io(path, "write"))?;
        fs::remove_dir_all(&old).map_err(Error::io(&old, "write"))?;
    } else {
        fs::rename(&temporary, path).map_err(Error::io(path, "write"))?;
    }
    sync_folder(parent(path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_file(&path, |out| out.write_all(b"old")).unwrap();
        let failed = write_file(&path, |out| {
            out.write_all(b"new")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(matches!(failed, Err(Error::Io { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        for content in ["one", "two"] {
            let fill = |to: &Path| fs::write(to.join(content), content).map_err(Error::io(to, "write"));
            write_folder(&path, fill).unwrap();
        }
        let failed = write_folder(&path, |_| Err(Error::Data("no".into())));
        assert!(failed.is_err());
        assert!(path.join("two").exists() && !path.join("one").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
