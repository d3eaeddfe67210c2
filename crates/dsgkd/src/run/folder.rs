//! The run folder: what stands where.

use super::atomic::{sweep, write_file};
use super::inputs::Inputs;
use crate::config::{self, Baseline, Config, DistillConfig, DistillWhen, Monitor, TextConfig};
use crate::error::{Error, Result};
use crate::private::{create_private_folder, private_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Checkpoints to resume from that are kept.
const CHECKPOINTS_KEPT: usize = 2;

/// The resolved experiment file, or pretraining file.
pub(crate) const SETTINGS: &str = "config.toml";

/// Held locked by the process that writes.
pub(crate) const LOCK: &str = ".lock";

/// Keys that may change when a run goes on: they alter no number that it computes.
const FREE_KEYS: [&str; 8] = [
    "/output_dir",
    "/threads",
    "/train/save_steps",
    "/train/gradient_checkpointing",
    "/cache_dir",
    "/evaluation",
    "/distill/teacher_cache",
    "/distill/teacher_cache_mib",
];

/// Paths of a run.
#[derive(Debug, Clone)]
pub struct RunFolder {
    root: PathBuf,
    /// Held against other processes while the run is written to.
    _lock: Option<Arc<File>>,
}

impl RunFolder {
    /// Creates the folder for a new run, readable by its owner alone (it holds what was derived from notes), or finds it
    /// again to resume. What a killed process left unfinished in it is swept away; while the value or a clone of it lives,
    /// no other process can open the folder so.
    ///
    /// # Errors
    /// The folder holds another run or other files, is in use, or to resume there is none.
    pub fn open(root: &Path, resume: bool) -> Result<RunFolder> {
        let lock = claim(root, resume)?;
        let folder = RunFolder { root: root.to_path_buf(), _lock: lock.map(Arc::new) };
        folder.make()?;
        Ok(folder)
    }

    /// The folder of a training that is a part of a run, with checkpoints and a history of its own; whoever opens it holds the lock.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn part(root: &Path) -> Result<RunFolder> {
        let folder = RunFolder::existing(root);
        folder.make()?;
        Ok(folder)
    }

    fn make(&self) -> Result<()> {
        for path in [self.root.clone(), self.checkpoints(), self.root.join("best")] {
            create_private_folder(&path).map_err(Error::io(&path, "create"))?;
            private(&path)?;
            sweep(&path)?;
        }
        Ok(())
    }

    /// A run folder that is only read.
    pub fn existing(root: &Path) -> RunFolder {
        RunFolder { root: root.to_path_buf(), _lock: None }
    }

    /// Holds an experiment against what the run was begun with: another one or other files would give numbers that belong to neither.
    /// `config` is resolved, its paths absolute; models are compared where `inputs` names any.
    ///
    /// # Errors
    /// [`Error::Config`] naming the keys or the model that differ, [`Error::Data`] naming a file that does.
    pub fn check_same(&self, config: &Config, inputs: &Inputs) -> Result<()> {
        let root = self.root.display();
        // Resolved again: a run of an older dsgkd lacks the keys that are new since.
        let begun = config::load(Some(&self.config()), &[])?.resolved();
        let mut config = config.clone();
        if config.data.labels.is_empty() {
            // Found in the data, whose bytes are compared below.
            config.data.labels.clone_from(&begun.data.labels);
        }
        let differing = differences(&comparable(&begun), &comparable(&config));
        if !differing.is_empty() {
            let keys = differing.join("`, `");
            return Err(Error::Config(format!(
                "{root}: the run was begun with another `{keys}`; choose another folder, or remove this one"
            )));
        }
        let path = self.environment();
        if self.steps().is_empty() && !path.exists() {
            // Stopped before anything was computed.
            return Ok(());
        }
        let text = std::fs::read(&path).map_err(Error::io(&path, "read"))?;
        let environment: Json = serde_json::from_slice(&text).unwrap_or_default();
        let Some(known) = environment["sha256"].as_object() else {
            return Err(Error::Config(format!("{}: damaged; begin a new run", path.display())));
        };
        // Hashes and not names: files may have moved.
        let is_known = |hash: &str| known.values().any(|known| known == hash);
        if let Some((file, _)) = inputs.data.iter().find(|(_, hash)| !is_known(hash)) {
            return Err(Error::Data(format!("{file}: changed since the run in {root} was begun")));
        }
        if inputs.data.len() != known.len() {
            return Err(Error::Data(format!("{root}: the run was begun with other data files")));
        }
        let was_another = |(role, hash): &(&String, &String)| {
            environment["models"][role].as_str().is_some_and(|known| known != *hash)
        };
        match inputs.models.iter().find(was_another) {
            Some((role, _)) => {
                Err(Error::Config(format!("{root}: the model of the {role} changed since the run was begun")))
            }
            None => Ok(()),
        }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The resolved experiment file.
    pub fn config(&self) -> PathBuf {
        self.root.join(SETTINGS)
    }

    /// Versions, processor, hashes of the data.
    pub fn environment(&self) -> PathBuf {
        self.root.join("environment.json")
    }

    /// What was measured, step by step.
    pub fn history(&self) -> PathBuf {
        self.root.join("history.jsonl")
    }

    /// What was measured while the student heard its teachers, if that came before the labels: lines as those of the history.
    pub fn teaching(&self) -> PathBuf {
        self.root.join("teaching.jsonl")
    }

    /// Folder of TensorBoard's event files.
    pub fn tensorboard(&self) -> PathBuf {
        self.root.join("tensorboard")
    }

    /// Keeps what was measured in `teaching`, the training in which the student heard its teachers: [`RunFolder::teaching`], and the events as a
    /// run `teaching` of TensorBoard's.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn keep_teaching(&self, teaching: &RunFolder) -> Result<()> {
        let take = |from: &Path, to: &Path| match std::fs::read(from) {
            Ok(bytes) => write_file(to, |out| out.write_all(&bytes)),
            // Somebody tidied a kept student up; it is whole without.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(from, "read")(error)),
        };
        let to = self.tensorboard().join("teaching");
        create_private_folder(&to).map_err(Error::io(&to, "create"))?;
        for event in std::fs::read_dir(teaching.tensorboard()).into_iter().flatten().flatten() {
            take(&event.path(), &to.join(event.file_name()))?;
        }
        take(&teaching.history(), &self.teaching())
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

    /// What the training did, and how long it took.
    pub fn training(&self) -> PathBuf {
        self.root.join("training.json")
    }

    /// The temperature that was fitted to the model, if one was.
    pub fn calibration(&self) -> PathBuf {
        self.root.join("calibration.json")
    }

    /// Probabilities of the test notes.
    pub fn predictions(&self) -> PathBuf {
        self.root.join("predictions.json")
    }

    /// Whether all of it is done: the model is written last, and a baseline's figures are.
    pub fn is_finished(&self, config: &Config) -> bool {
        match config.baseline {
            Baseline::None => self.model().exists(),
            Baseline::TfIdf => self.metrics().exists(),
        }
    }

    /// The student as a masked language model of the training notes, there while the run lasts.
    pub fn adapted(&self) -> PathBuf {
        self.root.join("adapted")
    }

    /// The student after it heard its teachers, if that came before the labels; there while the run lasts.
    pub fn taught(&self) -> PathBuf {
        self.root.join("taught")
    }

    /// Removes these: the run's model has come of them.
    pub fn remove_prepared(&self) -> Result<()> {
        let remove = |path: PathBuf| match path.exists() {
            true => std::fs::remove_dir_all(&path).map_err(Error::io(&path, "write")),
            false => Ok(()),
        };
        [self.adapted(), self.taught()].into_iter().try_for_each(remove)
    }

    /// What teacher `number` said of notes: a cache, there while the run lasts.
    pub fn teacher_features(&self, number: usize) -> PathBuf {
        self.root.join(format!("teacher-features-{number}.cache"))
    }

    /// Opens that cache to read and write.
    pub fn open_teacher_features(&self, number: usize) -> Result<File> {
        let path = self.teacher_features(number);
        let mut options = private_file();
        options.read(true).write(true).create(true).truncate(false);
        options.open(&path).map_err(Error::io(&path, "create"))
    }

    /// Removes the cache of a run that is done: it is derived from notes, and nobody reads it again.
    pub fn remove_teacher_features(&self, number: usize) -> Result<()> {
        let path = self.teacher_features(number);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(&path, "write")(error)),
            _ => Ok(()),
        }
    }

    /// Checkpoints by step, the latest last.
    pub fn steps(&self) -> Vec<u64> {
        let entries = std::fs::read_dir(self.checkpoints()).into_iter().flatten().flatten();
        let step = |name: &str| {
            let digits = name.strip_prefix("checkpoint-")?.strip_suffix(".safetensors")?;
            // `parse` alone would take a sign.
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
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

    /// Removes them all: the run is done, and the moments in them are twice the model's size.
    pub fn remove_checkpoints(&self) -> Result<()> {
        let remove = |step: u64| {
            let path = self.checkpoint(step);
            std::fs::remove_file(&path).map_err(Error::io(&path, "write"))
        };
        self.steps().into_iter().try_for_each(remove)
    }
}

/// Writes a value as JSON, whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let failed = |error: serde_json::Error| Error::io(path, "write")(error.into());
    let text = serde_json::to_string_pretty(value).map_err(failed)?;
    write_file(path, |out| writeln!(out, "{text}"))
}

/// Reads what [`write_json`] wrote.
///
/// # Errors
/// [`Error::Io`], or [`Error::Data`] naming file and line, never the content.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let broken = |line: usize| Error::Data(format!("{}: line {line}: is not what dsgkd wrote", path.display()));
    serde_json::from_str(&text).map_err(|error| broken(error.line()))
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

/// Makes a folder to write a run to, or finds it again to resume; the file that comes back holds it against other processes (`None`: the file
/// system has no locks). A run that has been begun has its settings in `config.toml`.
///
/// # Errors
/// The folder holds another run or other files, is in use, or to resume there is none.
pub(crate) fn claim(root: &Path, resume: bool) -> Result<Option<File>> {
    let refuse = |why: &str| Err(Error::Config(format!("{}: {why}", root.display())));
    match (root.join(SETTINGS).exists(), resume) {
        _ if root.as_os_str().is_empty() => {
            return Err(Error::Config("`output_dir` is empty; name the run folder".to_string()));
        }
        (false, true) => return refuse("holds no run to resume"),
        (true, false) => {
            return refuse("holds a run already; resume it with --resume, or choose another output_dir");
        }
        (false, false) if holds_other_files(root) => {
            return refuse("is not empty; choose another output_dir");
        }
        _ => {}
    }
    create_private_folder(root).map_err(Error::io(root, "create"))?;
    lock(root)
}

/// Whether there is anything but what a creation that was cut short leaves behind.
fn holds_other_files(root: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(root) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let is_left_over = match name.to_str() {
            Some("checkpoints" | "best") => {
                std::fs::read_dir(entry.path()).is_ok_and(|mut inner| inner.next().is_none())
            }
            Some(name) => name == LOCK || name.starts_with('.') && name.ends_with(".dsgkd-tmp"),
            None => false,
        };
        !is_left_over
    })
}

/// Opens the file of a folder that is held locked by the process that writes there.
pub(crate) fn lock_file(folder: &Path) -> Result<File> {
    let name = folder.join(LOCK);
    private_file().write(true).create(true).truncate(false).open(&name).map_err(Error::io(&name, "create"))
}

fn lock(path: &Path) -> Result<Option<File>> {
    let file = lock_file(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::Config(format!("{}: another dsgkd is working in this folder", path.display())))
        }
        // Not every file system has locks; a run is no worse off than without.
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// What an experiment is, as JSON: its settings without those that change no number.
pub(crate) fn comparable(config: &Config) -> Json {
    let mut config = config.clone();
    if config.teachers.is_empty() {
        // Nothing is asked of the terms of a note where nobody teaches them.
        let TextConfig { max_length, truncation, .. } = config.text;
        config.text = TextConfig { max_length, truncation, ..TextConfig::default() };
        config.distill = DistillConfig::default();
    }
    match config.distill.when {
        // The labels' training has epochs and a learning rate of its own,
        DistillWhen::WithLabels => (config.distill.num_train_epochs, config.distill.learning_rate) = (0, None),
        // and alone it hears nothing of notes without labels.
        DistillWhen::BeforeLabels => {
            config.train.unlabeled_batch_size = None;
            config.distill.learning_rate = config.distill.learning_rate.or(config.train.learning_rate);
        }
    }
    without(&config, &FREE_KEYS)
}

/// Settings as JSON with the values at `keys` (JSON pointers) blotted out, to be held against others by [`differences`].
pub(crate) fn without(settings: &impl Serialize, keys: &[&str]) -> Json {
    let mut json = serde_json::to_value(settings).unwrap_or_default();
    for key in keys {
        if let Some(value) = json.pointer_mut(key) {
            *value = Json::Null;
        }
    }
    json
}

/// Dotted paths of the values that differ.
pub(crate) fn differences(one: &Json, other: &Json) -> Vec<String> {
    fn collect(path: &str, one: &Json, other: &Json, found: &mut Vec<String>) {
        match (one, other) {
            (Json::Object(one), Json::Object(other)) if one.keys().eq(other.keys()) => {
                for (name, value) in one {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    collect(&path, value, &other[name], found);
                }
            }
            _ if one != other => found.push(path.to_string()),
            _ => {}
        }
    }
    let mut found = vec![];
    collect("", one, other, &mut found);
    found
}

#[cfg(test)]
mod tests;
