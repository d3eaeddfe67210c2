//! Models named by their id on a hub (`klue/bert-base`). With the feature `hub`, `fetch_model` brings them into the
//! Hugging Face cache; without it, nothing here reaches for a network.

#[cfg(feature = "hub")]
mod cache;
#[cfg(feature = "hub")]
mod download;

#[cfg(feature = "hub")]
pub use download::{DownloadObserver, fetch_model};

use std::path::Path;

/// `owner/name`, or `owner/name@revision` with a branch, tag or commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelId {
    /// `owner/name`.
    pub name: String,
    /// `main` where none was given.
    pub revision: String,
}

impl ModelId {
    /// `None` where the text has not the form of an id. Whoever asks looks first whether it is a folder.
    pub fn parse(text: &str) -> Option<ModelId> {
        let (name, revision) = text.split_once('@').unwrap_or((text, "main"));
        // These become parts of addresses and of file names.
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
                && !part.contains("..")
        };
        let (owner, model) = name.split_once('/')?;
        let is_id = is_part(owner) && is_part(model) && revision.split('/').all(is_part);
        is_id.then(|| ModelId { name: name.to_string(), revision: revision.to_string() })
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.revision)
    }
}

/// What people call the model of a folder: its id with the commit where the folder is one of the Hugging Face cache, else
/// the folder's name.
pub fn model_name(folder: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().to_string();
    let of_cache = || {
        let snapshots = folder.parent().filter(|parent| name(parent) == "snapshots")?;
        let id = name(snapshots.parent()?).strip_prefix("models--")?.replacen("--", "/", 1);
        Some(format!("{id}@{}", name(folder)))
    };
    of_cache().unwrap_or_else(|| name(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_paths() {
        let parsed = |text: &str| ModelId::parse(text).map(|id| (id.name, id.revision));
        let id = |name: &str, revision: &str| Some((name.to_string(), revision.to_string()));
        assert_eq!(parsed("klue/bert-base"), id("klue/bert-base", "main"));
        assert_eq!(parsed("klue/bert-base@refs/pr/3"), id("klue/bert-base", "refs/pr/3"));
        for path in [
            "", "model", "/a/b", "a/b/c", "./a", "../a", "a/..", "a/b..c", "a/.b", "a/b@", "a/b@../c", "a/b@/c",
            "C:\\a/b", "ㄱ/b",
        ] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    #[test]
    fn a_folder_of_the_cache_is_called_by_its_id() {
        assert_eq!(model_name(Path::new("/c/hub/models--klue--bert-base/snapshots/0af")), "klue/bert-base@0af");
        assert_eq!(model_name(Path::new("/c/snapshots/0af")), "0af");
        assert_eq!(model_name(Path::new("runs/a/model")), "model");
    }
}
