//! Runs that are done, read back from their folders.

use crate::config::{self, Config};
use crate::data::is_name_of_a_row;
use crate::error::{Error, Result};
use crate::eval::{BootstrapOptions, Comparison, Predictions, compare};
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
        // One run is itself, whatever became of its experiment file.
        if let [run] = &folders[..]
            && (run.root() == folder || Run::read(run.clone()).is_err())
        {
            let seeds = vec![vec![read_predictions(run)?]];
            return Ok(FinishedRuns { name: file_name(folder), folders, seeds });
        }
        let runs = folders.into_iter().map(Run::read).collect::<Result<Vec<_>>>()?;
        check_one_experiment(folder, &runs)?;
        check_folds(folder, &runs)?;
        FinishedRuns::by_seed(file_name(folder), runs)
    }

    /// Of several folders, of which the others are held against the first, each with a name of its own: as many folders of its path as tell it from the
    /// others.
    ///
    /// # Errors
    /// As [`FinishedRuns::read`] and [`check_pairs`].
    pub fn read_each(folders: &[PathBuf]) -> Result<Vec<FinishedRuns>> {
        let mut all = folders.iter().map(|folder| FinishedRuns::read(folder)).collect::<Result<Vec<_>>>()?;
        for (runs, folder) in all.iter_mut().zip(folders) {
            runs.name = end_that_tells_apart(folder, folders).display().to_string();
        }
        all.iter().skip(1).try_for_each(|runs| check_pairs(all[0].tested(), runs.tested()))?;
        Ok(all)
    }

    /// Of these run folders.
    ///
    /// # Errors
    /// A file that is not there, or not what dsgkd wrote.
    pub fn of(name: String, folders: Vec<RunFolder>) -> Result<FinishedRuns> {
        FinishedRuns::by_seed(name, folders.into_iter().map(Run::read).collect::<Result<_>>()?)
    }

    /// The paired differences of `candidate` to these runs.
    ///
    /// # Errors
    /// As [`compare()`], with the names of both.
    pub fn compare(&self, candidate: &FinishedRuns, options: BootstrapOptions) -> Result<Comparison> {
        compare(&self.seeds, &candidate.seeds, options).map_err(|error| match error {
            Error::Data(message) => {
                Error::Data(format!("{} (the baseline) and {} (the candidate): {message}", self.name, candidate.name))
            }
            other => other,
        })
    }

    fn tested(&self) -> Tested<'_> {
        (&self.folders, &self.seeds)
    }

    fn by_seed(name: String, mut runs: Vec<Run>) -> Result<FinishedRuns> {
        runs.sort_by_key(Run::seed);
        let of_seed = |runs: &[Run]| runs.iter().map(|run| read_predictions(&run.folder)).collect();
        let seeds = runs.chunk_by(|one, next| one.seed() == next.seed()).map(of_seed).collect::<Result<_>>()?;
        Ok(FinishedRuns { name, folders: runs.into_iter().map(|run| run.folder).collect(), seeds })
    }
}

/// A run's folder, and the experiment that it was.
struct Run {
    folder: RunFolder,
    config: Config,
}

impl Run {
    fn read(folder: RunFolder) -> Result<Run> {
        Ok(Run { config: config::load(Some(&folder.config()), &[])?, folder })
    }

    /// What the folds of one training share: its seed, and that of its split.
    fn seed(&self) -> (u64, Option<u64>) {
        (self.config.seed, self.config.data.split.seed)
    }
}

/// Whether the runs differ in fold and seed alone. Figures over runs of several experiments would be nobody's.
fn check_one_experiment(folder: &Path, runs: &[Run]) -> Result<()> {
    let Some((first, others)) = runs.split_first().filter(|(_, others)| !others.is_empty()) else { return Ok(()) };
    let of_first = experiment_of(first)?;
    for other in others {
        let differing = differences(&of_first, &experiment_of(other)?);
        if !differing.is_empty() {
            return Err(Error::Config(format!(
                "{}: holds runs of several experiments (`{}` differs between {} and {}); name the folder of one of them",
                folder.display(),
                differing.join("`, `"),
                first.folder.root().display(),
                other.folder.root().display()
            )));
        }
    }
    Ok(())
}

/// Whether all folds of each seed are there: without one, the figures would be of some notes and not of all.
fn check_folds(folder: &Path, runs: &[Run]) -> Result<()> {
    let mut folds: BTreeMap<_, (usize, BTreeSet<usize>)> = BTreeMap::new();
    for run in runs {
        let split = &run.config.data.split;
        folds.entry(run.seed()).or_insert((split.folds, BTreeSet::new())).1.insert(split.fold);
    }
    let partial = folds.iter().find(|(_, (all, there))| there.len() < *all);
    let Some(((seed, _), (all, there))) = partial else { return Ok(()) };
    Err(Error::Data(format!(
        "{}: holds {} of the {all} folds of seed {seed}; train the others first, or name a seed's or a fold's folder",
        folder.display(),
        there.len()
    )))
}

/// What a run shares with the others of its experiment: settings but for fold and seed, and the bytes of its files, wherever these lay.
fn experiment_of(run: &Run) -> Result<Json> {
    let mut config = run.config.clone();
    let data = &mut config.data;
    for files in [&mut data.train, &mut data.validation, &mut data.test, &mut data.unlabeled] {
        files.clear();
    }
    (data.split.seed, data.split.fold, config.seed) = (None, 0, 0);
    config.student.model = PathBuf::new();
    config.teachers.iter_mut().for_each(|teacher| teacher.model = PathBuf::new());
    config.text.dictionary = file_name(&config.text.dictionary).into();
    let environment: Json = read_json(&run.folder.environment())?;
    let mut files: Vec<String> =
        environment["sha256"].as_object().into_iter().flatten().map(|(_, hash)| hash.to_string()).collect();
    files.sort_unstable();
    let mut experiment = comparable(&config);
    (experiment["data files"], experiment["models"]) = (files.into(), environment["models"].clone());
    Ok(experiment)
}

/// Folders of runs, and their test predictions.
pub type Tested<'a> = (&'a [RunFolder], &'a [Vec<Predictions>]);

/// Whether one id names one note in two experiments' runs: a row number does in the same files alone.
///
/// # Errors
/// [`Error::Data`]: notes without an id, tested in files that differ.
pub fn check_pairs(one: Tested, other: Tested) -> Result<()> {
    match files_of_row_numbers(one).zip(files_of_row_numbers(other)) {
        Some((of_one, of_other)) if of_one != of_other => Err(Error::Data(format!(
            "{} and {}: were tested on files that differ, and notes without an id (data.id) go by row numbers, so that pairs would be of different notes; \
             name a column of ids that both files have in data.id and fill it in, and train again",
            one.0[0].root().display(),
            other.0[0].root().display()
        ))),
        _ => Ok(()),
    }
}

/// Hashes of the files that the test notes of an experiment's runs stand in, where some go by their row numbers; `None` where they have ids, or
/// nothing tells.
fn files_of_row_numbers((folders, seeds): Tested) -> Option<BTreeSet<String>> {
    let run = folders.first()?;
    let data = config::load(Some(&run.config()), &[]).ok()?.data;
    let have_ids = seeds.iter().flatten().flat_map(|found| &found.ids).all(|id| !is_name_of_a_row(id));
    if !data.id.trim().is_empty() && have_ids {
        return None;
    }
    let environment: Json = read_json(&run.environment()).ok()?;
    let known = environment["sha256"].as_object()?;
    // There by the paths of the experiment file as the command had them, which `config.toml` has made absolute.
    let hash = |file: &PathBuf| {
        let names = known.iter().map(|(name, hash)| (Path::new(name), hash));
        let of_file = names.filter(|(name, _)| file.ends_with(name.strip_prefix(".").unwrap_or(name)));
        let (_, hash) = of_file.max_by_key(|(name, _)| name.components().count())?;
        hash.as_str().map(str::to_string)
    };
    let files = if data.test.is_empty() { &data.train } else { &data.test };
    files.iter().map(hash).collect()
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
