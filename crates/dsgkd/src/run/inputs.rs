//! Fingerprints of what a run is made from, so that it says which bytes those were and is never taken for another.

use crate::config::{Baseline, Config};
use crate::data::file_sha256;
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// SHA-256 of the files that a run reads, 64 hexadecimal digits each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Of each data file, by its path.
    pub data: BTreeMap<String, String>,
    /// Of each model by its role (`student`, `teacher 0`): that of the names and hashes of what lies in its folder.
    pub models: BTreeMap<String, String>,
}

impl Inputs {
    /// Those of an experiment.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(config: &Config) -> Result<Inputs> {
        let mut inputs = Inputs::data_of(config)?;
        if config.baseline == Baseline::None {
            inputs.models.insert("student".to_string(), folder_sha256(&config.student.model)?);
            for (number, teacher) in config.teachers.iter().enumerate() {
                inputs.models.insert(format!("teacher {number}"), folder_sha256(&teacher.model)?);
            }
        }
        Ok(inputs)
    }

    /// Those of its data files alone.
    ///
    /// # Errors
    /// As [`Inputs::of`].
    pub fn data_of(config: &Config) -> Result<Inputs> {
        let data = &config.data;
        let files = [&data.train, &data.validation, &data.test, &data.unlabeled].into_iter().flatten();
        let data = files.map(|path| Ok((path.display().to_string(), file_sha256(path)?))).collect::<Result<_>>()?;
        Ok(Inputs { data, ..Inputs::default() })
    }
}

/// Of the configuration, the tokenizer and the weights that lie in the folder itself; not of the model card, which alters no number.
pub(crate) fn folder_sha256(folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "read"))?.flatten().map(|entry| entry.path());
    let is_read = |path: &PathBuf| {
        path.is_file()
            && path
                .extension()
                .is_some_and(|extension| ["json", "safetensors", "txt", "model"].iter().any(|e| extension == *e))
    };
    let mut paths: Vec<PathBuf> = entries.filter(is_read).collect();
    paths.sort();
    let mut list = String::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_string();
        list += &format!("{} {name}\n", file_sha256(&path)?);
    }
    Ok(crate::data::text_sha256(&list))
}
