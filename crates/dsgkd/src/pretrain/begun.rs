//! The folder of a pretraining: written to by one process at a time, and gone on with by the settings and files that it was begun with alone.

use crate::config::{CorpusConfig, PretrainConfig, pretrain_to_toml};
use crate::data::file_sha256;
use crate::error::{Error, Result};
use crate::run::atomic::write_file;
use crate::run::folder::{LOCK, SETTINGS, claim, differences, read_json, without, write_json};
use crate::run::inputs::folder_sha256;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Keys that may change when a pretraining goes on: they alter no number that it computes.
const FREE_KEYS: [&str; 5] = ["/output_dir", "/threads", "/license", "/train/save_steps", "/train/eval_steps"];

/// Makes the output folder, or finds it again to resume; no other process can while the file is held (`None`: the file system has no locks).
///
/// # Errors
/// The folder holds another run or other files, or is in use; to resume there is none, or one of other settings or files.
pub(super) fn begin(config: &PretrainConfig, resume: bool) -> Result<Option<File>> {
    let root = &config.output_dir;
    let (settings, environment) = (root.join(SETTINGS), root.join("environment.json"));
    let lock = claim(root, resume || (settings.exists() && never_computed(root)))?;
    let files = sha256_of_files(config)?;
    let text = pretrain_to_toml(config)?;
    if resume {
        let known = std::fs::read_to_string(&settings).map_err(Error::io(&settings, "read"))?;
        let damaged = |_| Error::Config(format!("{}: is of no pretraining, or damaged", settings.display()));
        let begun: PretrainConfig = toml::from_str(&known).map_err(damaged)?;
        let now: PretrainConfig = toml::from_str(&text).map_err(damaged)?;
        let differing = differences(&comparable(&begun), &comparable(&now));
        if !differing.is_empty() {
            return Err(Error::Config(format!(
                "{}: was begun with another `{}`; choose another output_dir, or remove this one",
                root.display(),
                differing.join("`, `")
            )));
        }
    } else {
        write_file(&settings, |file| file.write_all(text.as_bytes()))?;
    }
    if resume && environment.exists() {
        let known: Json = read_json(&environment)?;
        if let Some((file, _)) = files.iter().find(|(file, hash)| known["sha256"][file].as_str() != Some(hash)) {
            return Err(Error::Data(format!("{file}: changed since the training in {} was begun", root.display())));
        }
    } else {
        // Nothing is computed before it stands there.
        write_json(&environment, &serde_json::json!({ "dsgkd": env!("CARGO_PKG_VERSION"), "sha256": files }))?;
    }
    Ok(lock)
}

/// Whether a pretraining ended here before its first step, by whatever was wrong with its files: it is then begun anew.
fn never_computed(root: &Path) -> bool {
    let ours = [SETTINGS, LOCK, "environment.json", "tokenizer"];
    let mut entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    root.join("environment.json").exists() && entries.all(|entry| ours.iter().any(|name| entry.file_name() == *name))
}

/// Of each file of text or words and of the model's folder, by its absolute path.
fn sha256_of_files(config: &PretrainConfig) -> Result<BTreeMap<String, String>> {
    let corpora = config.corpus.iter().chain(&config.selective.general);
    let words = Some(&config.vocabulary.words).filter(|path| !path.as_os_str().is_empty());
    let hash = |path: &PathBuf| {
        let place = std::path::absolute(path).map_err(Error::io(path, "find"))?;
        let hash = if path.is_dir() { folder_sha256(path)? } else { file_sha256(path)? };
        Ok((place.display().to_string(), hash))
    };
    let model = Some(&config.model).filter(|path| !path.as_os_str().is_empty());
    corpora.flat_map(|CorpusConfig { files, .. }| files).chain(words).chain(model).map(hash).collect()
}

fn comparable(config: &PretrainConfig) -> Json {
    let mut config = config.clone();
    // For the model card alone.
    config.corpus.iter_mut().for_each(|corpus| corpus.source.clear());
    without(&config, &FREE_KEYS)
}
