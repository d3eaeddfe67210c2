//! From a file and overrides to a [`Config`].

use super::check::refuse;
use super::document::Document;
use super::keys::Kind;
use super::known::KnownKeys;
use super::schema::{Config, Preset};
use crate::error::{Error, Result};
use crate::hub::ModelId;
use std::path::Path;
use toml::{Table, Value};

/// Reads an experiment: the file, then each `key=value` override, over the defaults of its preset.
///
/// An override's value is read as TOML, else as text; `teachers.0.model=folder` counts into lists.
/// Relative paths in the file start at the file's folder, those in overrides at the current one.
/// Keys left out that hang on other keys stay `None`: see [`Config::resolved`].
///
/// # Errors
/// [`Error::Config`] with file, line and key for broken TOML, unknown keys (and the nearest known
/// one), wrong types and impossible values; [`Error::Io`] when the file cannot be read. Keys that
/// only a training needs are asked for by [`Config::validate`].
pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Config> {
    load_from(path, overrides, Path::new(""))
}

/// As [`load`], with relative paths in overrides starting at `folder`.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_from(path: Option<&Path>, overrides: &[String], folder: &Path) -> Result<Config> {
    let known = KnownKeys::experiment();
    let document = match path {
        Some(path) => known.read(path, overrides, folder)?,
        None => {
            let mut document = Document::empty();
            known.settle(&mut document, overrides, folder)?;
            document
        }
    };
    finish(document, &known)
}

/// Everything after reading and checking: defaults, and values that cannot be meant.
pub(super) fn finish(mut document: Document, known: &KnownKeys) -> Result<Config> {
    let preset = match document.table.get("preset").and_then(Value::as_str) {
        Some("reference") => Preset::Reference,
        _ => Preset::Default,
    };
    let mut table = to_table(&Config::of_preset(preset))?;
    merge(&mut table, std::mem::take(&mut document.table));
    let config: Config = document.convert(table)?;
    refuse(&document, known, config.impossible_values())?;
    Ok(config)
}

/// The configuration as a TOML table; `None` fields are left out.
pub(super) fn to_table(config: &Config) -> Result<Table> {
    Table::try_from(config).map_err(|error| Error::Config(format!("the experiment cannot be written as TOML: {error}")))
}

/// Rewrites every path; an empty one means "none" and stays so.
pub(super) fn map_paths(
    table: &mut Table,
    known: &KnownKeys,
    change: &dyn Fn(&Path) -> std::io::Result<std::path::PathBuf>,
) -> Result<()> {
    for (key, kind) in &known.keys {
        if let Some(kind) = kind {
            values_at(table, key).into_iter().try_for_each(|value| map_path(*kind, value, change))?;
        }
    }
    Ok(())
}

/// Rewrites a value, or each of a list, where its kind is that of paths. A model's id stays as it is.
pub(super) fn map_path(
    kind: Kind,
    value: &mut Value,
    change: &dyn Fn(&Path) -> std::io::Result<std::path::PathBuf>,
) -> Result<()> {
    match value {
        _ if !matches!(kind, Kind::Path | Kind::Paths | Kind::Model) => Ok(()),
        Value::Array(items) => items.iter_mut().try_for_each(|item| map_path(kind, item, change)),
        Value::String(text) if !text.is_empty() => {
            let changed = change(Path::new(text)).map_err(Error::io(Path::new(text), "find"))?;
            if matches!(kind, Kind::Model) && !changed.is_dir() && ModelId::parse(text).is_some() {
                return Ok(());
            }
            // Folder names need not be UTF-8, TOML must be.
            let utf8 = changed.into_os_string().into_string();
            let not_utf8 = |path| Error::Config(format!("{}: the path is not UTF-8", Path::new(&path).display()));
            *text = utf8.map_err(not_utf8)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The values behind a key: none, one, or one a block.
fn values_at<'table>(table: &'table mut Table, path: &str) -> Vec<&'table mut Value> {
    let (section, rest) = match path.split_once('.') {
        None => return table.get_mut(path).into_iter().collect(),
        Some(parts) => parts,
    };
    match table.get_mut(section) {
        Some(Value::Table(inner)) => values_at(inner, rest),
        Some(Value::Array(items)) => items.iter_mut().filter_map(|item| item.as_table_mut()?.get_mut(rest)).collect(),
        _ => vec![],
    }
}

/// What the user wrote wins, key by key.
fn merge(defaults: &mut Table, written: Table) {
    for (name, value) in written {
        match (defaults.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                defaults.insert(name, value);
            }
        }
    }
}
