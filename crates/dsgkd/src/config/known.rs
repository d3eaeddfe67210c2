//! Which keys a kind of file may hold: what [`super::check`] and `--set` ask.

use super::document::Document;
use super::keys::{ALIASES, Kind, find, schema_keys};
use super::load::map_paths;
use super::{check, overrides};
use crate::error::Result;
use serde_json::Value as Json;
use std::path::Path;

/// The keys of one kind of file.
pub(crate) struct KnownKeys {
    /// What the file is, for messages: "an experiment file".
    pub(super) file: &'static str,
    /// Where every key can be seen, for a key that is like no other.
    pub(super) shown: &'static str,
    /// Dotted paths of every key, array positions left out, and what may stand behind it where that is known.
    pub(super) keys: Vec<(String, Option<Kind>)>,
    /// Sections that are lists of blocks, like `[[teachers]]`.
    pub(super) lists: &'static [&'static str],
    /// Other spellings, and the key each stands for.
    pub(super) aliases: &'static [(&'static str, &'static str)],
}

impl KnownKeys {
    /// Those of an experiment.
    pub(super) fn experiment() -> KnownKeys {
        KnownKeys {
            file: "an experiment file",
            shown: "`dsgkd init` writes a file that shows every key",
            keys: schema_keys().into_iter().map(|path| (path.clone(), find(&path).map(|key| key.kind))).collect(),
            lists: &["teachers"],
            aliases: &ALIASES,
        }
    }

    /// Those of a file without aliases.
    pub(crate) fn new(
        file: &'static str,
        shown: &'static str,
        keys: Vec<(String, Option<Kind>)>,
        lists: &'static [&'static str],
    ) -> KnownKeys {
        KnownKeys { file, shown, keys, lists, aliases: &[] }
    }

    /// Those that the serialised `sample` shows, each of the kind that its value shows or that `kinds` says: paths, choices, and `None` for
    /// what the type itself says better.
    pub(super) fn of_sample(
        file: &'static str,
        shown: &'static str,
        sample: &Json,
        kinds: &[(&str, Option<Kind>)],
        lists: &'static [&'static str],
    ) -> KnownKeys {
        let described = |path: &str| kinds.iter().find(|(key, _)| *key == path).map(|(_, kind)| *kind);
        let keys = keys_of(sample).into_iter().map(|(path, kind)| (described(&path).unwrap_or(kind), path));
        KnownKeys::new(file, shown, keys.map(|(kind, path)| (path, kind)).collect(), lists)
    }

    /// Whether there is such a key; `path` has no array positions.
    pub(super) fn has(&self, path: &str) -> bool {
        self.keys.iter().any(|(key, _)| key == path)
    }

    /// What may stand behind the key, where that is known.
    pub(super) fn kind(&self, path: &str) -> Option<Kind> {
        self.keys.iter().find(|(key, _)| key == path).and_then(|(_, kind)| *kind)
    }

    /// Reads a file and overrides; every key is known and of its kind. Relative paths in the file start at the file's
    /// folder, those in overrides at `folder`.
    ///
    /// # Errors
    /// As [`super::load()`].
    pub(crate) fn read(&self, path: &Path, settings: &[String], folder: &Path) -> Result<Document> {
        let mut document = Document::read(path, self.file)?;
        if let Some(own_folder) = path.parent() {
            map_paths(&mut document.table, self, &|path| Ok(own_folder.join(path)))?;
        }
        self.settle(&mut document, settings, folder)?;
        Ok(document)
    }

    /// Applies overrides, then checks every key.
    pub(super) fn settle(&self, document: &mut Document, settings: &[String], folder: &Path) -> Result<()> {
        settings.iter().try_for_each(|setting| overrides::apply(document, self, setting, folder))?;
        check::check(document, self)
    }
}

/// The dotted paths of all keys of a serialised default, in its order, and the kind that each value shows. Asked of the
/// schema itself, so a key that is added to it is known at once.
pub(super) fn keys_of(defaults: &Json) -> Vec<(String, Option<Kind>)> {
    fn collect(prefix: &str, value: &Json, keys: &mut Vec<(String, Option<Kind>)>) {
        let kind = match value {
            // A struct always has fields; an empty object is a map with the user's own keys.
            Json::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
                    collect(&path, value, keys);
                }
                return;
            }
            Json::String(_) => Some(Kind::Text),
            Json::Bool(_) => Some(Kind::Flag),
            Json::Number(number) if number.is_f64() => Some(Kind::Number),
            Json::Number(_) => Some(Kind::Whole),
            Json::Array(_) => Some(Kind::Texts),
            Json::Null | Json::Object(_) => None,
        };
        keys.push((prefix.to_string(), kind));
    }
    let mut keys = vec![];
    collect("", defaults, &mut keys);
    keys
}
