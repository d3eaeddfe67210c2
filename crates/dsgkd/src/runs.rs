//! Runs that are done, read back from their folders.

use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::run::folder::RunFolder;
use std::path::Path;

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
    /// Reads a run folder, or a folder of run folders.
    ///
    /// # Errors
    /// The folder, when it holds no run with test predictions; the file that is not what dsgkd wrote.
    pub fn read(folder: &Path) -> Result<FinishedRuns> {
        let folders = with(folder, |run| run.predictions().exists())?;
        if folders.is_empty() {
            let message = format!("{}: holds no run with test predictions", folder.display());
            return Err(Error::Data(message));
        }
        let predictions =
            folders.iter().map(|folder| read_predictions(&folder.predictions())).collect::<Result<_>>()?;
        Ok(FinishedRuns { name: file_name(folder), folders, predictions })
    }
}

/// The folder's own run, or those of the folders in it, in the order of their names, for which `holds`.
pub fn with(folder: &Path, holds: impl Fn(&RunFolder) -> bool) -> Result<Vec<RunFolder>> {
    let own = RunFolder::existing(folder);
    if holds(&own) {
        return Ok(vec![own]);
    }
    let entries = std::fs::read_dir(folder).map_err(Error::io(folder, "read"))?.flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths.iter().map(|path| RunFolder::existing(path)).filter(holds).collect())
}

fn read_predictions(path: &Path) -> Result<Predictions> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path, "read"))?;
    let broken = |line: usize| Error::Data(format!("{}: line {line}: is not what dsgkd wrote", path.display()));
    let predictions: Predictions = serde_json::from_str(&text).map_err(|error| broken(error.line()))?;
    predictions.validate()?;
    Ok(predictions)
}

/// The last part of a path, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().to_string())
}
