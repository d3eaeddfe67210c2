//! Refuses unknown keys and wrong types before serde sees the table, so that messages name the key,
//! the line and what was meant.

use super::document::{Document, join, one_line};
use super::known::KnownKeys;
use crate::error::{Error, Result};
use toml::{Table, Value};

/// Something wrong with one key.
pub(super) struct Problem {
    /// The key with array positions, as it was written: `teachers.0.weight`.
    pub(super) path: String,
    /// What is wrong, the key included.
    pub(super) message: String,
    /// The path without array positions, where no such key is known.
    pub(super) unknown: Option<String>,
}

/// Checks every key of the document, and gives aliases their proper name.
pub(super) fn check(document: &mut Document, known: &KnownKeys) -> Result<()> {
    let mut checker = Checker { known, problems: vec![] };
    checker.aliases(&mut document.table);
    checker.table(&document.table, "", "");
    refuse(document, known, checker.problems)
}

/// An error for the first of the problems in the order of the file, which also names the others.
pub(super) fn refuse(document: &Document, known: &KnownKeys, mut problems: Vec<Problem>) -> Result<()> {
    problems.sort_by_key(|problem| document.line(&problem.path));
    let Some(first) = problems.first() else {
        return Ok(());
    };
    let mut message = format!("{}{}", document.place(&first.path), first.message);
    // Looked for here and not where it was found: a hostile file may hold a million unknown keys.
    if let Some(unknown) = &first.unknown {
        message += &match nearest(known, unknown) {
            Some(key) => format!("; did you mean `{key}`?"),
            None => format!("; {}", known.shown),
        };
    }
    let others: Vec<_> =
        problems.iter().skip(1).take(5).map(|problem| format!("`{}`", one_line(&problem.path, 80))).collect();
    if !others.is_empty() {
        let more = if problems.len() > 6 { ", …" } else { "" };
        message += &format!(" (and {} more wrong: {}{more})", problems.len() - 1, others.join(", "));
    }
    Err(Error::Config(message))
}

struct Checker<'known> {
    known: &'known KnownKeys,
    problems: Vec<Problem>,
}

impl Checker<'_> {
    fn refuse(&mut self, path: &str, what: String) {
        self.problems.push(Problem { path: path.to_string(), message: what, unknown: None });
    }

    fn aliases(&mut self, table: &mut Table) {
        for (alias, path) in self.known.aliases {
            let (Some((section, alias_name)), Some((_, name))) = (alias.rsplit_once('.'), path.rsplit_once('.')) else {
                continue;
            };
            let Some(Value::Table(section)) = table.get_mut(section) else {
                continue;
            };
            let Some(value) = section.remove(alias_name) else {
                continue;
            };
            if section.contains_key(name) {
                self.refuse(alias, format!("`{alias}` and `{path}` are the same key; keep one"));
            } else {
                section.insert(name.to_string(), value);
            }
        }
    }

    /// `schema` is the table's path without array positions, `written` the one with them.
    fn table(&mut self, table: &Table, schema: &str, written: &str) {
        for (name, value) in table {
            let (schema, written) = (join(schema, name), join(written, name));
            let below = format!("{schema}.");
            if self.known.has(&schema) {
                self.leaf(&schema, &written, value);
            } else if self.known.lists.contains(&schema.as_str()) {
                self.blocks(&schema, value);
            } else if self.known.keys.iter().any(|(key, _)| key.starts_with(&below)) {
                match value {
                    Value::Table(inner) => self.table(inner, &schema, &written),
                    other => self.refuse(
                        &written,
                        format!("`{written}` is {}, expected a section [{schema}]", type_name(other)),
                    ),
                }
            } else {
                let message = format!("unknown key `{}`", one_line(&written, 80));
                self.problems.push(Problem { path: written, message, unknown: Some(schema) });
            }
        }
    }

    fn blocks(&mut self, list: &str, value: &Value) {
        let Value::Array(blocks) = value else {
            let what = format!("`{list}` is {}, expected a [[{list}]] block for each (two brackets)", type_name(value));
            return self.refuse(list, what);
        };
        for (index, block) in blocks.iter().enumerate() {
            let written = format!("{list}.{index}");
            match block {
                Value::Table(block) => self.table(block, list, &written),
                other => {
                    self.refuse(&written, format!("`{written}` is {}, expected a [[{list}]] block", type_name(other)))
                }
            }
        }
    }

    fn leaf(&mut self, schema: &str, written: &str, value: &Value) {
        if let Some(kind) = self.known.kind(schema)
            && !kind.accepts(value)
        {
            let is = match value {
                Value::String(text) => format!("{:?}", one_line(text, 40)),
                Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => value.to_string(),
                other => type_name(other).to_string(),
            };
            self.refuse(written, format!("`{written}` is {is}, expected {}", kind.expected()));
        }
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// The known key that `path` was most likely meant to be: a neighbour with a like name, else a key
/// of that name in another section.
fn nearest<'keys>(known: &'keys KnownKeys, path: &str) -> Option<&'keys str> {
    // Comparing takes time in the product of the lengths; nobody mistypes 60 characters.
    if path.len() > 60 {
        return None;
    }
    let split =
        |path: &str| path.rsplit_once('.').map_or((String::new(), path.to_string()), |(a, b)| (a.into(), b.into()));
    let (section, name) = split(path);
    let distance = |key: &str| {
        let (key_section, key_name) = split(key);
        let distance = strsim::damerau_levenshtein(&key_name, &name);
        let longest_slip = (name.chars().count().max(key_name.chars().count()) / 3).max(1);
        let is_part = name.len() > 3 && (key_name.contains(&name) || name.contains(&key_name) && key_name.len() > 3);
        let score =
            if distance <= longest_slip { Some(2 * distance) } else { is_part.then_some(2 * distance.min(8) + 1) };
        // A key of the same section is the likelier slip.
        score.map(|score| if key_section == section { score } else { score + 4 })
    };
    let near = known.keys.iter().filter_map(|(key, _)| Some((distance(key)?, key)));
    near.min().map(|(_, key)| key.as_str())
}
