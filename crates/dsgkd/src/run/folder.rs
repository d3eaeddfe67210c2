//! The run folder: what stands where.

use super::atomic::write_file;
use crate::config::Monitor;
use crate::error::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Checkpoints to resume from that are kept.
const CHECKPOINTS_KEPT: usize = 2;

/// Paths of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
}

impl RunFolder {
    /// Creates the folder for a new run, readable by its owner alone (it holds what was derived from notes), or finds it
    /// again to resume.
    ///
    /// # Errors
    /// The folder holds another run, or to resume there is none.
    pub fn open(root: &Path, resume: bool) -> Result<RunFolder> {
        let folder = RunFolder { root: root.to_path_buf() };
        if resume && !folder.config().exists() {
            return Err(Error::Config(format!("{}: holds no run to resume", root.display())));
        }
        if !resume && folder.config().exists() {
            return Err(Error::Config(format!(
                "{}: holds a run already; resume it with --resume, or choose another output_dir",
                root.display()
            )));
        }
        for path in [root.to_path_buf(), folder.checkpoints(), folder.root.join("best")] {
            std::fs::create_dir_all(&path).map_err(Error::io(&path, "create"))?;
            private(&path)?;
        }
        Ok(folder)
    }

    /// A run folder that is only read.
    pub fn existing(root: &Path) -> RunFolder {
        RunFolder { root: root.to_path_buf() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved experiment file.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Versions, processor, hashes of the data.
    pub fn environment(&self) -> PathBuf {
        self.root.join("environment.json")
    }

    /// What was measured, step by step.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }

    /// Folder of TensorBoard's event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.checkpoints().join(format!("checkpoint-{step:09}.safetensors"))
    }

    /// The best weights by a measure.
    pub fn best(&self, monitor: Monitor) -> PathBuf {
        self.root.join("best").join(format!("{}.safetensors", format!("{monitor:?}").to_lowercase()))
    }

    /// The trained model, a Hugging Face folder.
    pub fn model(&self) -> PathBuf {
        self.root.join("model")
    }

    /// Measures on the test notes.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.json")
    }

    /// Probabilities of the test notes.
    pub fn predictions(&self) -> PathBuf {
        self.root.join("predictions.json")
    }

    /// Checkpoints by step, the latest last.
    pub fn steps(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(self.checkpoints()).into_iter().flatten().flatten();
        let step = |name: &str| name.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?.parse().ok();
        let mut steps: Vec<u64> = entries.filter_map(|entry| step(&entry.file_name().to_string_lossy())).collect();
        steps.sort_unstable();
        steps
    }

    /// Removes all but the latest checkpoints.
    pub fn prune(&self) -> Result<()> {
        let steps = self.steps();
        for step in &steps[..steps.len().saturating_sub(CHECKPOINTS_KEPT)] {
            let path = self.checkpoint(*step);
            std::fs::remove_file(&path).map_err(Error::io(&path, "write"))?;
        }
        Ok(())
    }

    /// Writes a value as JSON, whole or not at all.
    pub fn write_json(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        let failed = |error: serde_json::Error| Error::io(path, "write")(error.into());
        let text = serde_json::to_string_pretty(value).map_err(failed)?;
        write_file(path, |out| writeln!(out, "{text}"))
    }
}

#[cfg(unix)]
fn private(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).map_err(Error::io(path, "write"))
}

#[cfg(not(unix))]
fn private(_: &Path) -> Result<()> {
    Ok(())
}
