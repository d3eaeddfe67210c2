//! Students that were prepared before they saw a label: where that is done, and how other runs of the same student and notes take them.

use super::RunObserver;
use crate::data::text_sha256;
use crate::error::{Error, Result};
use crate::private::create_private_folder;
use crate::run::environment::Instructions;
use crate::run::folder::{lock_file, read_json, write_json};
use dsgkd_encoder::layout::TensorSpec;
use dsgkd_encoder::{Heads, Model};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A run's student before it sees a label.
pub(super) struct Student {
    pub(super) model: Model,
    /// A hash of all that it is made of, kept true where prepared students are shared.
    pub(super) made_of: String,
    /// Seconds that it took so far, by this run or by the one that it was taken from; `None` if one was cut off.
    pub(super) seconds: Option<f64>,
}

/// Lets `work` prepare a student further in `own` and leave it in the folder `model` there, or with a `cache_dir` in the folder of it that is named
/// after all that the student is then made of: what it was and `parts`. What was finished there before is taken, what was begun goes on.
/// Then the encoder's tensors are taken over; heads and pooler stay. Returns the folder where it was done.
pub(super) fn prepare(
    cache_dir: &Path,
    own: PathBuf,
    parts: impl FnOnce() -> serde_json::Value,
    student: &mut Student,
    observer: &mut dyn RunObserver,
    work: impl FnOnce(&Path, &Model, &mut dyn RunObserver) -> Result<()>,
) -> Result<PathBuf> {
    let place = if cache_dir.as_os_str().is_empty() {
        own
    } else {
        student.made_of =
            text_sha256(&serde_json::json!([student.made_of, parts(), Instructions::used().name()]).to_string());
        cache_dir.join(&student.made_of)
    };
    create_private_folder(&place).map_err(Error::io(&place, "create"))?;
    let _lock = wait_for(&place, observer)?;
    let (model, took) = (place.join("model"), place.join("seconds.json"));
    if model.exists() {
        observer.prepared_elsewhere(true);
    } else {
        let begun = place.join("history.jsonl").exists();
        let clock = Instant::now();
        work(&place, &student.model, observer)?;
        if !begun {
            write_json(&took, &clock.elapsed().as_secs_f64())?;
        }
    }
    let (prepared, _) = Model::open(&model, &Heads::default(), 0)?;
    let fits =
        |theirs: &TensorSpec| student.model.layout().find(&theirs.name).is_some_and(|own| own.shape == theirs.shape);
    if !prepared.layout().tensors().iter().all(fits) {
        let message = "is no student of this kind; remove it, so that it is prepared again";
        return Err(Error::Data(format!("{}: {message}", model.display())));
    }
    student.model.take_over(&prepared);
    let took: Option<f64> = read_json(&took).ok();
    student.seconds = student.seconds.zip(took).map(|(before, took)| before + took);
    Ok(place)
}

/// Holds a folder against other processes: who comes second finds the work done.
fn wait_for(place: &Path, observer: &mut dyn RunObserver) -> Result<Option<File>> {
    let file = lock_file(place)?;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if observer.interrupted() => {
                let message = "stopped while another dsgkd prepared the student; go on with --resume";
                return Err(Error::Interrupted(message.to_string()));
            }
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut told, true) {
                    observer.prepared_elsewhere(false);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            // Not every file system has locks; two processes would then do the same work.
            Err(TryLockError::Error(_)) => return Ok(None),
        }
    }
}
