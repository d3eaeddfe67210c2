//! `--set a.b=c`: one key of the file, set on the command line.

use super::document::{Document, join, one_line};
use super::keys::Kind;
use super::known::KnownKeys;
use super::load::map_path;
use crate::error::{Error, Result};
use std::path::Path;
use toml::{Table, Value};

/// The schema is four deep; this bounds what a hostile argument can nest.
const DEEPEST: usize = 8;

/// Sets `key=value` in the document; relative paths start at `folder`.
pub(super) fn apply(document: &mut Document, known: &KnownKeys, setting: &str, folder: &Path) -> Result<()> {
    let refuse = |why: &str| Error::Config(format!("--set {}: {why}", one_line(setting, 100)));
    let (key, text) =
        setting.split_once('=').ok_or_else(|| refuse("write it as key=value, like train.batch_size=8"))?;
    let (key, text) = (key.trim(), text.trim());
    let names = segments(key);
    if names.len() > DEEPEST {
        return Err(refuse("no key is that deep"));
    }
    if names.iter().any(String::is_empty) {
        return Err(refuse("a part of the key is empty"));
    }
    let kind = kind(known, &names);
    let mut value = value(text, kind.is_some_and(Kind::is_textual));
    if let Some(kind) = kind {
        map_path(kind, &mut value, &|path| Ok(folder.join(path)))?;
    }
    insert(&mut document.table, known, &names, value).map_err(|why| refuse(&why))?;
    document.mark_override(&names.iter().fold(String::new(), |path, name| join(&path, name)));
    Ok(())
}

/// The parts of a dotted key, quoted parts as TOML reads them.
fn segments(key: &str) -> Vec<String> {
    // A newline would let the key bring further lines of TOML with it.
    let parsed = if key.contains(['\n', '#', '=']) { None } else { format!("{key} = 0").parse::<Table>().ok() };
    let Some(mut table) = parsed else {
        // Not bare TOML: names in other scripts are taken as they are typed.
        return key.split('.').map(|name| name.trim().to_string()).collect();
    };
    let mut names = vec![];
    while let Some((name, value)) = std::mem::take(&mut table).into_iter().next() {
        names.push(name);
        if let Value::Table(inner) = value {
            table = inner;
        }
    }
    names
}

/// What may stand behind the key, positions in lists left out; where text does, a number or date typed for it is meant as text.
fn kind(known: &KnownKeys, names: &[String]) -> Option<Kind> {
    let mut path: Vec<&str> = vec![];
    for name in names {
        if !(name.parse::<usize>().is_ok() && known.lists.contains(&path.join(".").as_str())) {
            path.push(name);
        }
    }
    let kind = |names: &[&str]| known.kind(&names.join("."));
    match &path[..] {
        [list @ .., _] if matches!(kind(list), Some(Kind::Paths)) => Some(Kind::Path),
        [section @ .., _] if kind(section).is_some_and(Kind::holds_text) => Some(Kind::Text),
        [section @ .., _, _] if matches!(kind(section), Some(Kind::TextMapMap)) => Some(Kind::Text),
        all => kind(all),
    }
}

/// The value as TOML reads it, else as text.
fn value(text: &str, is_textual: bool) -> Value {
    let plain = || Value::String(text.to_string());
    let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
    match parsed.and_then(|mut table| table.remove("value")) {
        // `data.id=2024` names a column, though 2024 reads as a number.
        Some(value) if is_textual && !value.is_str() => plain(),
        Some(value) => value,
        None => plain(),
    }
}

fn insert(table: &mut Table, known: &KnownKeys, names: &[String], value: Value) -> std::result::Result<(), String> {
    let mut path = String::new();
    let mut place: Option<&mut Value> = None;
    for (depth, name) in names.iter().enumerate() {
        let is_counted = known.lists.contains(&path.as_str()) || known.kind(&path).is_some_and(Kind::is_list);
        let index = name.parse::<usize>().ok().filter(|_| is_counted);
        let (holder, schema_path) = (path.clone(), if index.is_some() { path.clone() } else { join(&path, name) });
        place = Some(match (place, index) {
            (None, _) => table.entry(name.clone()).or_insert_with(|| Value::Table(Table::new())),
            (Some(holder_value), Some(index)) => {
                // A key that was not there, or a name like "none", gives way to a list.
                if holder_value.is_str() || holder_value.as_table().is_some_and(Table::is_empty) {
                    *holder_value = Value::Array(vec![]);
                }
                let Value::Array(items) = holder_value else {
                    return Err(format!("{holder} is not a list"));
                };
                if index > items.len() {
                    return Err(format!(
                        "{holder} has {} written items; the next to set is {holder}.{}",
                        items.len(),
                        items.len()
                    ));
                }
                if index == items.len() {
                    items.push(Value::Table(Table::new()));
                }
                &mut items[index]
            }
            (Some(holder_value), None) => {
                if depth == 1 && known.lists.contains(&path.as_str()) {
                    return Err(format!("say which of the {path}, like {path}.0.{name}"));
                }
                let Value::Table(inner) = holder_value else {
                    return Err(format!("{holder} is not a table"));
                };
                inner.entry(name.clone()).or_insert_with(|| Value::Table(Table::new()))
            }
        });
        path = schema_path;
    }
    if let Some(place) = place {
        *place = value;
    }
    Ok(())
}
