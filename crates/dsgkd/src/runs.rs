//! Runs that are done, read back from their folders.

use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::run::folder::{RunFolder, read_json};
use std::path::{Path, PathBuf};

/// One run, or the runs of one experiment's folds or seeds.
pub struct FinishedRuns {
    /// Name of the folder.
    pub name: String,
    /// The folders of the runs.
    pub folders: Vec<RunFolder>,
    /// Their test predictions, in the same order.
    pub predictions: Vec<Predictions>,
}

impl FinishedRuns {
    /// Reads a run folder, or a folder of run folders: the folds of an experiment, or the seeds of a grid's arm with their folds.
    ///
    /// # Errors
    /// The folder, when it holds no run with test predictions; the file that is not what dsgkd wrote.
    pub fn read(folder: &Path) -> Result<FinishedRuns> {
        let folders = with(folder, |run| run.predictions().exists())?;
        if folders.is_empty() {
            let message = format!("{}: holds no run with test predictions", folder.display());
            return Err(Error::Data(message));
        }
        let predictions = folders.iter().map(read_predictions).collect::<Result<_>>()?;
        Ok(FinishedRuns { name: file_name(folder), folders, predictions })
    }
}

/// The folder's own run, or those of the folders in it and in these, in the order of their names, for which `holds`.
pub fn with(folder: &Path, holds: impl Fn(&RunFolder) -> bool) -> Result<Vec<RunFolder>> {
    let own = RunFolder::existing(folder);
    if holds(&own) {
        return Ok(vec![own]);
    }
    let mut runs = vec![];
    for inner in folders_in(folder)? {
        let run = RunFolder::existing(&inner);
        match holds(&run) {
            true => runs.push(run),
            false => {
                let folds = folders_in(&inner)?.into_iter().map(|fold| RunFolder::existing(&fold));
                runs.extend(folds.filter(|fold| holds(fold)));
            }
        }
    }
    Ok(runs)
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "read"))?.flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    paths.sort();
    Ok(paths)
}

/// A run's test predictions, checked.
///
/// # Errors
/// The file, when it is not what dsgkd wrote.
pub fn read_predictions(run: &RunFolder) -> Result<Predictions> {
    let predictions: Predictions = read_json(&run.predictions())?;
    predictions.validate()?;
    Ok(predictions)
}

/// The last part of a path, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().to_string())
}
