//! The keys of a grid file (`dsgkd grid`): arms by columns by seeds, each cell an experiment.

use crate::config::{Config, Kind, KnownKeys, load_from};
use crate::error::{Error, Result};
use crate::eval::Metric;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// A comparison.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grid {
    /// The folder of all runs; finished ones are kept.
    pub output_dir: PathBuf,
    /// Seeds of every cell.
    pub seeds: Vec<u64>,
    /// Draw each seed's split anew, whatever `data.split.seed` the arms name: the differences then tell of other training notes too.
    #[serde(default)]
    pub resplit: bool,
    /// What is shown.
    #[serde(default = "auroc")]
    pub metric: Metric,
    /// Of which notes.
    #[serde(default)]
    pub on: Part,
    /// The grid file's folder.
    #[serde(skip)]
    folder: PathBuf,
    /// What is compared; the others are held against the first.
    pub arms: Vec<Arm>,
    /// Under which conditions; none: as the arms are.
    #[serde(default)]
    pub columns: Vec<Column>,
}

/// Notes that a grid's metric is of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Of the test notes.
    #[default]
    Test,
    /// Of the validation notes: to choose settings by, without a look at the test notes.
    Validation,
}

/// One arm.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    /// Its name, which is also that of its folder.
    pub name: String,
    /// Its experiment file.
    pub config: PathBuf,
    /// Overrides, `key=value`; relative paths start at the grid file's folder.
    #[serde(default)]
    pub set: Vec<String>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, which is also that of its folder.
    pub name: String,
    /// Overrides, `key=value`, after the arm's.
    #[serde(default)]
    pub set: Vec<String>,
}

fn auroc() -> Metric {
    Metric::Auroc
}

fn known_keys() -> KnownKeys {
    let keys = [
        ("output_dir", Some(Kind::Path)),
        // What these hold, the types say.
        ("seeds", None),
        ("resplit", Some(Kind::Flag)),
        ("metric", None),
        ("on", None),
        ("arms.name", Some(Kind::Text)),
        ("arms.config", Some(Kind::Path)),
        ("arms.set", Some(Kind::Texts)),
        ("columns.name", Some(Kind::Text)),
        ("columns.set", Some(Kind::Texts)),
    ];
    let keys = keys.map(|(path, kind)| (path.to_string(), kind)).into();
    KnownKeys::new("a grid file", "docs/evaluation.md shows a file", keys, &["arms", "columns"])
}

/// Reads a grid file; its paths are relative to its folder.
///
/// # Errors
/// [`Error::Config`] with file and line.
pub fn load_grid(path: &Path) -> Result<Grid> {
    let mut grid: Grid = known_keys().read(path, &[], Path::new(""))?.read_as()?;
    grid.folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    if grid.columns.is_empty() {
        grid.columns.push(Column { name: "all".to_string(), set: vec![] });
    }
    let refuse = |what: &str| Err(Error::Config(format!("{}: {what}", path.display())));
    let names = |names: Vec<&String>| {
        let plain = |name: &&String| {
            !name.is_empty()
                && !name.starts_with('.')
                && name.chars().all(|c| c.is_alphanumeric() || " -_+.".contains(c))
        };
        names.iter().all(plain) && (1..names.len()).all(|index| !names[..index].contains(&names[index]))
    };
    match () {
        _ if grid.seeds.is_empty() || grid.arms.is_empty() => refuse("name at least one seed and one arm"),
        _ if !names(grid.arms.iter().map(|arm| &arm.name).collect())
            || !names(grid.columns.iter().map(|column| &column.name).collect()) =>
        {
            refuse("names of arms and columns are folders: letters, digits, spaces and - _ + . only, each once")
        }
        () => Ok(grid),
    }
}

impl Grid {
    /// The number of the arm of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn arm(&self, name: &str) -> Result<usize> {
        self.arms.iter().position(|arm| arm.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.arms.iter().map(|arm| arm.name.as_str()).collect();
            Error::Config(format!("no arm is called \"{name}\"; there are: {}", names.join(", ")))
        })
    }

    /// Leaves the arms of these names and these seeds, each in the file's order; all of them where none is named.
    ///
    /// # Errors
    /// A name or a seed that the file does not have.
    pub fn keep(&mut self, arms: &[String], seeds: &[u64]) -> Result<()> {
        arms.iter().try_for_each(|name| self.arm(name).map(|_| ()))?;
        if let Some(seed) = seeds.iter().find(|seed| !self.seeds.contains(seed)) {
            return Err(Error::Config(format!("seed {seed} is none of the grid file's; add it to its `seeds`")));
        }
        self.arms.retain(|arm| arms.is_empty() || arms.contains(&arm.name));
        self.seeds.retain(|seed| seeds.is_empty() || seeds.contains(seed));
        Ok(())
    }

    /// Where the runs of a cell's seed lie.
    pub fn folder(&self, arm: &Arm, column: &Column, seed: u64) -> PathBuf {
        self.output_dir.join(&column.name).join(&arm.name).join(format!("seed-{seed}"))
    }

    /// The experiment of a cell.
    ///
    /// # Errors
    /// As [`load`](crate::config::load) and [`Config::validate`].
    pub fn experiment(&self, arm: &Arm, column: &Column, seed: u64) -> Result<Config> {
        let mut set: Vec<String> = arm.set.iter().chain(&column.set).cloned().collect();
        set.push(format!("seed={seed}"));
        if self.resplit {
            set.push(format!("data.split.seed={seed}"));
        }
        let named = |error| match error {
            Error::Config(message) => {
                let what = message.strip_prefix("--set: ").unwrap_or(&message);
                let column =
                    if self.columns.len() > 1 { format!(", column \"{}\"", column.name) } else { String::new() };
                Error::Config(format!("arm \"{}\"{column}: {what}", arm.name))
            }
            other => other,
        };
        let mut config = load_from(Some(&arm.config), &set, &self.folder).map_err(named)?.resolved();
        config.output_dir = self.folder(arm, column, seed);
        if config.cache_dir.as_os_str().is_empty() {
            // Arms that differ in what comes after share the students that were prepared before. No column's name begins with a point.
            config.cache_dir = self.output_dir.join(".students");
        }
        config.validate().map_err(named)?;
        Ok(config)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Grid, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.toml");
        std::fs::write(&path, text).unwrap();
        load_grid(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_folders_and_wrong_files_are_named_by_line() {
        let arms = "output_dir = \"o\"\nseeds = [1]\n[[arms]]\nname = \"a b\"\nconfig = \"a.toml\"\n";
        let grid = read(arms).unwrap();
        assert_eq!((grid.metric, grid.columns[0].name.as_str()), (Metric::Auroc, "all"));
        for (text, expected) in [
            (arms.replace("a b", "../a"), "are folders"),
            (format!("{arms}[[arms]]\nname = \"a b\"\nconfig = \"b.toml\"\n"), "each once"),
            (arms.replace("[1]", "[]"), "at least one seed"),
            (format!("{arms}sett = []\n"), "grid.toml:6: unknown key `arms.0.sett`; did you mean `arms.set`?"),
            (arms.replace("seeds", "metric = \"auc\"\nseeds"), "grid.toml:2: `metric`: unknown variant `auc`"),
            (arms.replace("seeds", "on = \"train\"\nseeds"), "grid.toml:2: `on`: unknown variant `train`"),
            (arms.replace("[1]", "[-1]"), "grid.toml:2: `seeds`: "),
            (arms.replace("seeds = [1]", ""), "grid.toml: missing field `seeds`"),
        ] {
            assert!(read(&text).unwrap_err().contains(expected), "{text}");
        }
    }
}
