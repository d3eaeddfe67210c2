//! From a file and overrides to a [`Config`].

use super::check::{check, refuse};
use super::document::{Document, one_line};
use super::keys::{KEYS, Kind};
use super::overrides;
use super::schema::{Config, Preset};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
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
    let document = match path {
        Some(path) => {
            let mut document = Document::read(path)?;
            if let Some(folder) = path.parent() {
                map_paths(&mut document.table, &|path| Ok(folder.join(path)))?;
            }
            document
        }
        None => Document::empty(),
    };
    finish(document, overrides, folder)
}

/// Reads a file that is no experiment: unknown keys are refused by the type.
///
/// # Errors
/// [`Error::Config`] with file and line; [`Error::Io`].
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::Config(format!("{}, line {line}: {}", path.display(), error.message().replace('\n', " ")))
    })
}

/// Everything after reading: overrides, checks, defaults.
pub(super) fn finish(mut document: Document, settings: &[String], folder: &Path) -> Result<Config> {
    for setting in settings {
        overrides::apply(&mut document, setting, folder)?;
    }
    check(&mut document)?;
    let preset = match document.table.get("preset").and_then(Value::as_str) {
        Some("reference") => Preset::Reference,
        _ => Preset::Default,
    };
    let mut table = to_table(&Config::of_preset(preset))?;
    merge(&mut table, std::mem::take(&mut document.table));
    let config: Config =
        table.try_into().map_err(|error: toml::de::Error| Error::Config(one_line(error.message(), 200)))?;
    refuse(&document, config.impossible_values())?;
    Ok(config)
}

/// The configuration as a TOML table; `None` fields are left out.
pub(super) fn to_table(config: &Config) -> Result<Table> {
    Table::try_from(config).map_err(|error| Error::Config(format!("the experiment cannot be written as TOML: {error}")))
}

/// Rewrites every path; an empty one means "none" and stays so.
pub(super) fn map_paths(
    table: &mut Table,
    change: &dyn Fn(&Path) -> std::io::Result<std::path::PathBuf>,
) -> Result<()> {
    let rewrite = |value: &mut Value| -> Result<()> {
        let Value::String(text) = value else {
            return Ok(());
        };
        if text.is_empty() {
            return Ok(());
        }
        let changed = change(Path::new(text)).map_err(Error::io(Path::new(text), "find"))?;
        // Folder names need not be UTF-8, TOML must be.
        let utf8 = changed.into_os_string().into_string();
        *text = utf8.map_err(|path| Error::Config(format!("{}: the path is not UTF-8", Path::new(&path).display())))?;
        Ok(())
    };
    for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Path | Kind::Paths)) {
        for value in values_at(table, key.path) {
            match value {
                Value::Array(items) => items.iter_mut().try_for_each(rewrite)?,
                value => rewrite(value)?,
            }
        }
    }
    Ok(())
}

/// The values behind a key: none, one, or one a teacher.
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
