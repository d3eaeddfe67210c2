//! Runs that are done, read back from their folders.

use crate::config;
use crate::error::{Error, Result};
use crate::eval::Predictions;
use crate::path_names::end_that_tells_apart;
use crate::run::folder::{RunFolder, comparable, differences, read_json};
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// One run, or the runs of one experiment's folds and seeds.
pub struct FinishedRuns {
    /// Name of the folder.
    pub name: String,
    /// The folders of the runs, seed by seed and fold by fold.
    pub folders: Vec<RunFolder>,
    /// Their test predictions in the same order, the folds of each seed together.
    pub seeds: Vec<Vec<Predictions>>,
}

impl FinishedRuns {
    /// Reads a run folder, or a folder of run folders: the folds of an experiment, or the seeds of a grid's arm with their folds.
    ///
    /// # Errors
    /// The folder, when it holds no run with test predictions or runs of several experiments; the file that is not what dsgkd wrote.
    pub fn read(folder: &Path) -> Result<FinishedRuns> {
        let folders = with(folder, |run| run.predictions().exists())?;
        if folders.is_empty() {
            let message = format!(
                "{}: holds no run with test predictions, neither itself nor in folders of seeds and folds; of a grid name an arm's folder",
                folder.display()
            );
            return Err(Error::Data(message));
        }
        check_one_experiment(folder, &folders)?;
        if folders.len() > 1 || folders[0].root() != folder {
            check_folds(folder, &folders)?;
        }
        FinishedRuns::of(file_name(folder), folders)
    }

    /// Of several folders, each with a name of its own: as many folders of its path as tell it from the others.
    ///
    /// # Errors
    /// As [`FinishedRuns::read`].
    pub fn read_each(folders: &[PathBuf]) -> Result<Vec<FinishedRuns>> {
        let mut all = folders.iter().map(|folder| FinishedRuns::read(folder)).collect::<Result<Vec<_>>>()?;
        for (runs, folder) in all.iter_mut().zip(folders) {
            runs.name = end_that_tells_apart(folder, folders).display().to_string();
        }
        Ok(all)
    }

    /// Of these run folders.
    ///
    /// # Errors
    /// A file that is not there, or not what dsgkd wrote.
    pub fn of(name: String, folders: Vec<RunFolder>) -> Result<FinishedRuns> {
        // What is one run needs no seed to be told from another's.
        let seed = |run: &RunFolder| if folders.len() == 1 { Ok(Seed::default()) } else { seed_of(run) };
        let mut runs = folders.iter().map(|run| Ok((seed(run)?, run.clone()))).collect::<Result<Vec<_>>>()?;
        runs.sort_by_key(|(seed, _)| *seed);
        let of_seed = |runs: &[(Seed, RunFolder)]| runs.iter().map(|(_, run)| read_predictions(run)).collect();
        let seeds = runs.chunk_by(|(one, _), (next, _)| one == next).map(of_seed).collect::<Result<_>>()?;
        Ok(FinishedRuns { name, folders: runs.into_iter().map(|(_, run)| run).collect(), seeds })
    }
}

/// What the folds of one training share: its seed, and that of its split.
type Seed = (u64, Option<u64>);

fn seed_of(run: &RunFolder) -> Result<Seed> {
    let config = config::load(Some(&run.config()), &[])?;
    Ok((config.seed, config.data.split.seed))
}

/// Whether the runs differ in fold and seed alone. Figures over runs of several experiments would be nobody's.
fn check_one_experiment(folder: &Path, runs: &[RunFolder]) -> Result<()> {
    let Some((first, others)) = runs.split_first().filter(|(_, others)| !others.is_empty()) else { return Ok(()) };
    let of_first = experiment_of(first)?;
    for other in others {
        let differing = differences(&of_first, &experiment_of(other)?);
        if !differing.is_empty() {
            return Err(Error::Config(format!(
                "{}: holds runs of several experiments (`{}` differs between {} and {}); name the folder of one of them",
                folder.display(),
                differing.join("`, `"),
                first.root().display(),
                other.root().display()
            )));
        }
    }
    Ok(())
}

/// Whether all folds of each seed are there: without one, the figures would be of some notes and not of all.
fn check_folds(folder: &Path, runs: &[RunFolder]) -> Result<()> {
    let mut folds: BTreeMap<Seed, (usize, BTreeSet<usize>)> = BTreeMap::new();
    for run in runs {
        let config = match config::load(Some(&run.config()), &[]) {
            // One run is itself, whatever became of its experiment file.
            Err(_) if runs.len() == 1 => return Ok(()),
            config => config?,
        };
        let of_seed = folds.entry(seed_of(run)?).or_insert((config.data.split.folds, BTreeSet::new()));
        of_seed.1.insert(config.data.split.fold);
    }
    let is_partial = |(_, (all, there)): &(&Seed, &(usize, BTreeSet<usize>))| there.len() < *all;
    let Some(((seed, _), (all, there))) = folds.iter().find(is_partial) else { return Ok(()) };
    Err(Error::Data(format!(
        "{}: holds {} of the {all} folds of seed {seed}; train the others first, or name a seed's or a fold's folder",
        folder.display(),
        there.len()
    )))
}

/// What a run shares with the others of its experiment: settings but for fold and seed, and the bytes of its files, wherever these lay.
fn experiment_of(run: &RunFolder) -> Result<Json> {
    let mut config = config::load(Some(&run.config()), &[])?;
    let data = &mut config.data;
    for files in [&mut data.train, &mut data.validation, &mut data.test, &mut data.unlabeled] {
        files.clear();
    }
    (data.split.seed, data.split.fold, config.seed) = (None, 0, 0);
    config.student.model = PathBuf::new();
    config.teachers.iter_mut().for_each(|teacher| teacher.model = PathBuf::new());
    config.text.dictionary = file_name(&config.text.dictionary).into();
    let environment: Json = read_json(&run.environment())?;
    let mut files: Vec<String> =
        environment["sha256"].as_object().into_iter().flatten().map(|(_, hash)| hash.to_string()).collect();
    files.sort_unstable();
    let mut experiment = comparable(&config);
    (experiment["data files"], experiment["models"]) = (files.into(), environment["models"].clone());
    Ok(experiment)
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
    predictions.validate().map_err(in_file(&run.predictions()))?;
    Ok(predictions)
}

/// Puts the file before what is wrong with what it holds.
pub fn in_file(path: &Path) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Data(message) => Error::Data(format!("{}: {message}", path.display())),
        other => other,
    }
}

/// The last part of a path, for people.
pub fn file_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().to_string())
}
