//! The user's file as a TOML table that remembers on which line each key was written.

use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use toml::Table;
use toml::de::{DeTable, DeValue};

/// No file of settings is this long: something else was given by mistake.
const LARGEST_FILE: u64 = 4 << 20;

/// Where a key's value comes from.
enum Place {
    Line(usize),
    Override,
}

/// What the user wrote, in the file and in overrides.
pub(crate) struct Document {
    /// The file as messages name it; empty without a file.
    name: String,
    pub(super) table: Table,
    places: BTreeMap<String, Place>,
}

impl Document {
    /// Without a file: overrides and defaults only.
    pub(super) fn empty() -> Self {
        Document { name: String::new(), table: Table::new(), places: BTreeMap::new() }
    }

    /// Reads and parses the file, which should be `kind` ("an experiment file").
    pub(super) fn read(path: &Path, kind: &str) -> Result<Self> {
        let name = path.display().to_string();
        let mut bytes = vec![];
        std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
            .map_err(Error::io(path, "read"))?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(Error::Config(format!("{name}: larger than {} MiB, so not {kind}", LARGEST_FILE >> 20)));
        }
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = line_of(&bytes, error.valid_up_to());
            Error::Config(format!("{name}:{line}: not UTF-8 text; save the file as UTF-8"))
        })?;
        Self::parse(&name, text)
    }

    /// Parses the text of a file that messages call `name`.
    pub(super) fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let refuse = |error: toml::de::Error| {
            let line = line_of(text.as_bytes(), error.span().map_or(0, |span| span.start));
            Error::Config(format!("{name}:{line}: not valid TOML: {}", one_line(error.message(), 200)))
        };
        let spanned = DeTable::parse(text).map_err(refuse)?;
        // Counted once: a hostile file may hold as many keys as it has lines.
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
        let mut lines = Lines { ends, places: BTreeMap::new() };
        lines.collect("", spanned.get_ref());
        Ok(Document { name: name.to_string(), table: text.parse().map_err(refuse)?, places: lines.places })
    }

    /// Notes that an override has set `path`, so that messages do not point at a line of the file.
    pub(super) fn mark_override(&mut self, path: &str) {
        let below = format!("{path}.");
        self.places.retain(|known, _| !known.starts_with(&below));
        self.places.insert(path.to_string(), Place::Override);
    }

    /// What was written, as a value of the type that describes it.
    ///
    /// # Errors
    /// [`Error::Config`] at the key that the type does not take.
    pub(crate) fn read_as<T: DeserializeOwned>(&self) -> Result<T> {
        self.convert(self.table.clone())
    }

    /// As [`Document::read_as`], of what was written and something beneath it.
    pub(super) fn convert<T: DeserializeOwned>(&self, table: Table) -> Result<T> {
        table.try_into().map_err(|error: toml::de::Error| {
            // The key at fault is told by the whole text alone.
            let whole = error.to_string();
            let key = whole.lines().find_map(|line| line.strip_prefix("in `")?.strip_suffix('`')).unwrap_or("");
            let name = if key.is_empty() { String::new() } else { format!("`{}`: ", one_line(key, 80)) };
            Error::Config(format!("{}{name}{}", self.place(key), one_line(error.message(), 200)))
        })
    }

    /// The line on which `path`, or the nearest table around it, was written; 0 when unknown.
    pub(super) fn line(&self, path: &str) -> usize {
        match self.find(path) {
            Some(Place::Line(line)) => *line,
            _ => 0,
        }
    }

    /// The beginning of a message about `path`: `file:line: `, `--set: `, or what of it is known.
    pub(crate) fn place(&self, path: &str) -> String {
        match self.find(path) {
            Some(Place::Line(line)) => format!("{}:{line}: ", self.name),
            Some(Place::Override) => "--set: ".to_string(),
            None if self.name.is_empty() => String::new(),
            None => format!("{}: ", self.name),
        }
    }

    fn find(&self, path: &str) -> Option<&Place> {
        if let Some(place) = self.places.get(path) {
            return Some(place);
        }
        // A section that overrides alone have made.
        let below = format!("{path}.");
        if let Some((_, place)) =
            self.places.range(below.clone()..).next().filter(|(known, _)| known.starts_with(&below))
        {
            return Some(place);
        }
        let mut path = path;
        loop {
            path = path.rsplit_once('.')?.0;
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
        }
    }
}

struct Lines {
    /// Where each line of the text ends.
    ends: Vec<usize>,
    places: BTreeMap<String, Place>,
}

impl Lines {
    fn collect(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let path = join(prefix, name.get_ref());
            self.note(&path, name.span().start);
            self.descend(&path, value.get_ref());
        }
    }

    fn descend(&mut self, path: &str, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.collect(path, table),
            DeValue::Array(items) => {
                // Only tables in arrays have keys to speak of; a long list of names needs no places.
                for (index, item) in items.iter().enumerate().filter(|(_, item)| item.get_ref().is_table()) {
                    let path = format!("{path}.{index}");
                    self.note(&path, item.span().start);
                    self.descend(&path, item.get_ref());
                }
            }
            _ => {}
        }
    }

    fn note(&mut self, path: &str, offset: usize) {
        let line = 1 + self.ends.partition_point(|end| *end < offset);
        self.places.insert(path.to_string(), Place::Line(line));
    }
}

/// `prefix.name`, with the name quoted where TOML wants it quoted.
pub(super) fn join(prefix: &str, name: &str) -> String {
    let is_bare =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    let name = if is_bare { name.to_string() } else { format!("{name:?}") };
    if prefix.is_empty() { name } else { format!("{prefix}.{name}") }
}

/// The text without control characters and cut to `longest` characters: hostile files must not
/// reach the terminal as they are.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let mut line: String = text.chars().take(longest).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(longest).is_some() {
        line.push('…');
    }
    line
}

fn line_of(text: &[u8], offset: usize) -> usize {
    1 + text.iter().take(offset).filter(|byte| **byte == b'\n').count()
}
