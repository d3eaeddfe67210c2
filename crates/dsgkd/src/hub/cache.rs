//! The Hugging Face cache, as its Python library lays it out: `blobs/` by content, `snapshots/COMMIT/` of links to them,
//! `refs/REVISION` naming a commit. What either of the two programs has fetched, the other finds.

use super::ModelId;
use crate::error::{Error, Result};
use crate::run::atomic::write_file;
use std::env::var_os;
use std::fs::{File, create_dir_all};
use std::path::{Path, PathBuf};

/// A model's part of the cache.
pub(super) struct Cache {
    root: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// Where the environment says: `HF_HUB_CACHE`, else `HF_HOME`, else the user's cache folder.
    pub(super) fn of(id: &ModelId) -> Result<Cache> {
        let set = |name: &str| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = || {
            let cache = set("XDG_CACHE_HOME").or_else(|| Some(std::env::home_dir()?.join(".cache")));
            set("HF_HOME").or_else(|| Some(cache?.join("huggingface")))
        };
        let hub = set("HF_HUB_CACHE").or_else(|| Some(home()?.join("hub")));
        let hub = hub.ok_or_else(|| {
            Error::Config("there is no home folder to keep models in; name one in HF_HUB_CACHE".to_string())
        })?;
        let name = format!("models--{}", id.name.replace('/', "--"));
        Ok(Cache { root: hub.join(&name), locks: hub.join(".locks").join(name) })
    }

    /// The folder that was asked for, if all that is needed of it is there.
    pub(super) fn find(&self, revision: &str) -> Option<PathBuf> {
        let commit = std::fs::read_to_string(self.root.join("refs").join(revision));
        let commit = commit.map_or_else(|_| revision.to_string(), |commit| commit.trim().to_string());
        let folder = self.snapshot(&commit);
        let has = |name: &str| folder.join(name).is_file();
        let has_weights = || {
            let files = dsgkd_encoder::weights::weight_files(&folder);
            files.is_ok_and(|files| files.iter().all(|file| file.is_file()))
        };
        // Without its settings, `vocab.txt` would be read with the wrong case.
        let settings = "tokenizer_config.json";
        let has_vocabulary = || has("vocab.txt") && (has(settings) || self.absent(&commit, settings).is_file());
        (!commit.is_empty() && has("config.json") && (has("tokenizer.json") || has_vocabulary()) && has_weights())
            .then_some(folder)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn blob(&self, blob: &str) -> PathBuf {
        self.root.join("blobs").join(blob)
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The mark that a commit has no such file.
    fn absent(&self, commit: &str, name: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(name)
    }

    /// Keeps other processes from fetching the same file; waits for them.
    pub(super) fn lock(&self, blob: &str) -> Result<File> {
        let path = self.locks.join(format!("{blob}.lock"));
        make_parent(&path)?;
        make_parent(&self.blob(blob))?;
        let file = File::create(&path).map_err(Error::io(&path, "create"))?;
        file.lock().map_err(Error::io(&path, "lock"))?;
        Ok(file)
    }

    /// Gives a blob its name in the snapshot.
    pub(super) fn link(&self, commit: &str, name: &str, blob: &str) -> Result<()> {
        let path = self.snapshot(commit).join(name);
        make_parent(&path)?;
        if path.is_file() {
            return Ok(());
        }
        // A link to a blob that is gone.
        let _ = std::fs::remove_file(&path);
        #[cfg(unix)]
        let made = std::os::unix::fs::symlink(Path::new("../../blobs").join(blob), &path);
        #[cfg(not(unix))]
        let made = std::fs::hard_link(self.blob(blob), &path);
        match made {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(Error::io(&path, "create")(error)),
            _ => Ok(()),
        }
    }

    /// Notes that the commit has no file of this name.
    pub(super) fn mark_absent(&self, commit: &str, name: &str) -> Result<()> {
        let path = self.absent(commit, name);
        make_parent(&path)?;
        File::create(&path).map_err(Error::io(&path, "create")).map(|_| ())
    }

    /// Notes which commit a revision is.
    pub(super) fn set_revision(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        let path = self.root.join("refs").join(revision);
        make_parent(&path)?;
        write_file(&path, |out| out.write_all(commit.as_bytes()))
    }
}

fn make_parent(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    create_dir_all(folder).map_err(Error::io(folder, "create"))
}
