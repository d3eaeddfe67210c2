//! The template that makes a note of columns: `{Age}세 {Sex} 환자[ BT {BT}]`.
//!
//! `{Column}` is a cell; a part in `[ ]` is left out when a cell in it is missing; `\{ \} \[ \] \\` stand for themselves.

use super::columns::{find_column, nearest, short};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
    Optional(Vec<Part>),
}

impl Template {
    /// Parses a template. The error says at which character (from 1) what was expected.
    pub fn parse(template: &str) -> Result<Template> {
        let mut parser = Parser { characters: template.chars().collect(), position: 0 };
        let parts = parser.parts(None)?;
        let template = Template { parts };
        if template.columns().is_empty() {
            return Err(Error::Config("data.template: names no column; write one as {Column}".to_string()));
        }
        Ok(template)
    }

    /// Names of the columns in it, in order, with repeats.
    pub fn columns(&self) -> Vec<&str> {
        let parts = self.parts.iter().flat_map(|part| match part {
            Part::Optional(parts) => parts.as_slice(),
            part => std::slice::from_ref(part),
        });
        parts.filter_map(|part| if let Part::Column(name) = part { Some(name.as_str()) } else { None }).collect()
    }

    /// Ties the template to the columns of a file and to the words for cell values (`data.values`).
    ///
    /// Errors when a column is not there, or when `values` has words for a column that the template does not use.
    pub(super) fn bind(
        &self,
        file: &Path,
        columns: &[String],
        values: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<BoundTemplate> {
        let used = self.columns();
        for column in values.keys() {
            if !used.contains(&column.trim()) {
                let near = nearest(column, used.iter().copied());
                let near = near.map(|near| format!("; did you mean \"{}\"?", short(near))).unwrap_or_default();
                return Err(Error::Config(format!(
                    "data.values: column \"{}\" is not in data.template{near}",
                    short(column)
                )));
            }
        }
        let mut words = HashMap::new();
        let mut places = HashMap::new();
        for name in used {
            let place = find_column(file, columns, name, "data.template")?;
            places.insert(name.to_string(), place);
            if let Some((_, map)) = values.iter().find(|(column, _)| column.trim() == name) {
                words.insert(place, map.iter().map(|(cell, text)| (cell.trim().to_string(), text.clone())).collect());
            }
        }
        Ok(BoundTemplate { parts: bind_parts(&self.parts, &places), words })
    }
}

fn bind_parts(parts: &[Part], places: &HashMap<String, usize>) -> Vec<BoundPart> {
    let bind = |part: &Part| match part {
        Part::Text(text) => BoundPart::Text(text.clone()),
        Part::Column(name) => BoundPart::Column(places.get(name).copied().unwrap_or_default()),
        Part::Optional(parts) => BoundPart::Optional(bind_parts(parts, places)),
    };
    parts.iter().map(bind).collect()
}

/// A template tied to the columns of a file.
#[derive(Debug, Clone)]
pub(super) struct BoundTemplate {
    parts: Vec<BoundPart>,
    /// Column -> cell value -> words.
    words: HashMap<usize, HashMap<String, String>>,
}

#[derive(Debug, Clone)]
enum BoundPart {
    Text(String),
    Column(usize),
    Optional(Vec<BoundPart>),
}

impl BoundTemplate {
    /// The note of a row, or the column outside `[ ]` whose cell is missing.
    ///
    /// Words given for a cell value come before everything, so that `""` or `??` can have words too; a value without words
    /// stands as it is.
    pub(super) fn render(
        &self,
        fields: &[Option<String>],
        is_missing: &dyn Fn(Option<&str>) -> bool,
    ) -> Result<String, usize> {
        self.render_parts(&self.parts, fields, is_missing)
    }

    fn render_parts(
        &self,
        parts: &[BoundPart],
        fields: &[Option<String>],
        is_missing: &dyn Fn(Option<&str>) -> bool,
    ) -> Result<String, usize> {
        let mut note = String::new();
        for part in parts {
            match part {
                BoundPart::Text(text) => note.push_str(text),
                BoundPart::Column(column) => {
                    let cell = fields.get(*column).and_then(Option::as_deref);
                    let trimmed = cell.unwrap_or_default().trim();
                    match self.words.get(column).and_then(|words| words.get(trimmed)) {
                        Some(words) => note.push_str(words),
                        None if is_missing(cell) => return Err(*column),
                        None => note.push_str(trimmed),
                    }
                }
                BoundPart::Optional(parts) => {
                    if let Ok(text) = self.render_parts(parts, fields, is_missing) {
                        note.push_str(&text);
                    }
                }
            }
        }
        Ok(note)
    }
}

struct Parser {
    characters: Vec<char>,
    position: usize,
}

impl Parser {
    /// Parts up to the end or, inside an optional part that began at `open`, up to its `]`.
    fn parts(&mut self, open: Option<usize>) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(&character) = self.characters.get(self.position) {
            let at = self.position;
            self.position += 1;
            let part = match character {
                '\\' => {
                    text.push(self.escaped(at)?);
                    continue;
                }
                '{' => self.column(at)?,
                '[' if open.is_some() => {
                    return Err(wrong(
                        at,
                        "\"[\" inside an optional part; close it with \"]\" first, or write \"\\[\"",
                    ));
                }
                '[' => {
                    let inner = self.parts(Some(at))?;
                    if !inner.iter().any(|part| matches!(part, Part::Column(_))) {
                        return Err(wrong(at, "an optional part without a column; write {Column} in it, or \"\\[\""));
                    }
                    Part::Optional(inner)
                }
                ']' if open.is_some() => {
                    push_text(&mut parts, &mut text);
                    return Ok(parts);
                }
                ']' => {
                    return Err(wrong(at, "\"]\" without \"[\"; write \"\\]\" for the character"));
                }
                '}' => {
                    return Err(wrong(at, "\"}\" without \"{\"; write \"\\}\" for the character"));
                }
                other => {
                    text.push(other);
                    continue;
                }
            };
            push_text(&mut parts, &mut text);
            parts.push(part);
        }
        if let Some(at) = open {
            return Err(wrong(at, "\"[\" is never closed; expected \"]\", or write \"\\[\" for the character"));
        }
        push_text(&mut parts, &mut text);
        Ok(parts)
    }

    fn column(&mut self, open: usize) -> Result<Part> {
        let mut name = String::new();
        while let Some(&character) = self.characters.get(self.position) {
            let at = self.position;
            self.position += 1;
            match character {
                '}' if name.trim().is_empty() => return Err(wrong(open, "\"{}\" names no column")),
                '}' => return Ok(Part::Column(name.trim().to_string())),
                '\\' => name.push(self.escaped(at)?),
                '{' | '[' | ']' => {
                    return Err(wrong(
                        at,
                        "expected \"}\" after the column's name; write \"\\\" before a bracket in it",
                    ));
                }
                other => name.push(other),
            }
        }
        Err(wrong(open, "\"{\" is never closed; expected \"}\", or write \"\\{\" for the character"))
    }

    fn escaped(&mut self, at: usize) -> Result<char> {
        match self.characters.get(self.position) {
            Some(&character @ ('{' | '}' | '[' | ']' | '\\')) => {
                self.position += 1;
                Ok(character)
            }
            _ => Err(wrong(at, "expected one of { } [ ] \\ after \"\\\"; write \"\\\\\" for the character")),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut String) {
    if !text.is_empty() {
        parts.push(Part::Text(std::mem::take(text)));
    }
}

fn wrong(position: usize, what: &str) -> Error {
    Error::Config(format!("data.template, character {}: {what}", position + 1))
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
