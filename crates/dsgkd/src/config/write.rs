//! Configurations written as TOML: what a run used, and the commented file to start from.

use super::keys::{KEYS, Key, REQUIRED, SECTIONS};
use super::load::to_table;
use super::schema::{Config, TeacherConfig};
use crate::error::{Error, Result};
use std::fmt::Write;
use toml::{Table, Value};

/// The configuration as TOML text; [`super::load`] reads it back to an equal one (relative paths aside: see
/// [`Config::with_absolute_paths`]).
///
/// # Errors
/// [`Error::Config`] when a path is not UTF-8 or a seed is beyond TOML's 2^63 - 1.
pub fn to_toml(config: &Config) -> Result<String> {
    toml::to_string(config).map_err(|error| Error::Config(format!("the experiment cannot be written as TOML: {error}")))
}

/// The commented experiment file of `dsgkd init`: every key, its meaning and its default. Keys that a training
/// needs stand ready to be filled in, the run folder with `output_dir`; the others are comments, so that a preset can still set them.
pub fn commented_template(output_dir: &str) -> String {
    let defaults = Config { output_dir: output_dir.into(), ..Config::default() };
    let defaults = to_table(&defaults).unwrap_or_default();
    let teacher = Table::try_from(TeacherConfig::default()).unwrap_or_default();
    let mut text = String::from(
        "# An experiment of dsgkd. A line that begins with `# name =` shows a key and its default: take the\n\
         # mark away to set it. Any key can also be set for one run: --set train.batch_size=8\n\n",
    );
    let mut section = "";
    for key in KEYS {
        let (own, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if own != section {
            section = own;
            let about = SECTIONS.iter().find(|(name, _)| *name == own).map_or("", |(_, about)| about);
            let header = if own == "teachers" { "# [[teachers]]".to_string() } else { format!("[{own}]") };
            let _ = write!(text, "\n# {about}\n{header}\n");
        }
        let mark = if REQUIRED.contains(&key.path) { "" } else { "# " };
        let _ = writeln!(text, "## {}\n{mark}{name} = {}", key.meaning, shown_value(key, name, &defaults, &teacher));
    }
    text
}

fn shown_value(key: &Key, name: &str, defaults: &Table, teacher: &Table) -> String {
    if !key.example.is_empty() {
        return key.example.to_string();
    }
    let value = match key.path.strip_prefix("teachers.") {
        Some(_) => teacher.get(name),
        None => key
            .path
            .split('.')
            .try_fold(None, |table: Option<&Value>, part| match table {
                None => defaults.get(part).map(Some),
                Some(table) => table.get(part).map(Some),
            })
            .flatten(),
    };
    match value {
        Some(Value::Table(table)) if table.is_empty() => "{}".to_string(),
        Some(value) => value.to_string(),
        None => String::new(),
    }
}
