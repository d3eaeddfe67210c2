//! From the hub into the cache.

use super::ModelId;
use super::cache::Cache;
use crate::data::file_sha256;
use crate::error::{Error, Result};
use crate::text::TOKENIZER_FILES;
use dsgkd_encoder::weights::{INDEX, SINGLE, is_pickle, refuse_pickle, shards};
use serde::Deserialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use ureq::{Agent, Body, http::Response};

/// Told of a download; says whether to stop.
pub trait DownloadObserver {
    /// So many bytes of a model are missing.
    fn begins(&mut self, model: &str, bytes: u64);
    /// More of them are there.
    fn received(&mut self, bytes: u64);
    /// All of them are.
    fn ends(&mut self);
    /// Asked all the time: end here, keeping what is there?
    fn interrupted(&self) -> bool;
}

/// Turns a model's id into its folder in the cache, and fetches what the cache lacks. A folder, and what is no id, stay as
/// they are.
///
/// Heeds `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE`. What is in the cache is not asked about
/// again: a branch that has moved on is seen when its `refs` file is gone, or a commit is named.
///
/// # Errors
/// There is no such model or it has no safetensors, the hub cannot be reached or may not be asked, the disk is full.
pub fn fetch_model(model: &mut PathBuf, observer: &mut dyn DownloadObserver) -> Result<()> {
    if model.is_dir() {
        return Ok(());
    }
    let Some(id) = model.to_str().and_then(ModelId::parse) else { return Ok(()) };
    let cache = Cache::of(&id)?;
    *model = match cache.find(&id.revision) {
        Some(folder) => folder,
        None => Download::new(id, cache)?.fetch(observer)?,
    };
    Ok(())
}

/// What the hub says of a model.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    #[serde(rename = "rfilename")]
    name: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: String,
}

/// A file to fetch.
struct Wanted<'a> {
    name: &'a str,
    size: u64,
    /// Its name in `blobs/`.
    blob: &'a str,
    /// Small files have none.
    sha256: Option<&'a str>,
}

struct Download {
    id: ModelId,
    cache: Cache,
    endpoint: String,
    agent: Agent,
}

impl Download {
    fn new(id: ModelId, cache: Cache) -> Result<Download> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let offline = set("HF_HUB_OFFLINE").unwrap_or_default().to_uppercase();
        if ["1", "ON", "YES", "TRUE"].contains(&offline.as_str()) {
            return Err(Error::Model(format!(
                "{}: is not a folder, and as a model of the hub it is not (or not wholly) in {}; HF_HUB_OFFLINE forbids to fetch it",
                id.name,
                cache.root().display()
            )));
        }
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_string());
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .user_agent(concat!("dsgkd/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Ok(Download { id, cache, endpoint: endpoint.trim_end_matches('/').to_string(), agent: agent.into() })
    }

    fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::Model(format!("{}: {what}", self.id.name))
    }

    fn fetch(&self, observer: &mut dyn DownloadObserver) -> Result<PathBuf> {
        let listing = self.listing()?;
        let (others, mut weights) = self.choose(&listing)?;
        if weights[0].name == INDEX {
            let index = &weights[0];
            self.file(&listing.sha, index, 0, observer)?;
            let names = shards(Path::new(""), &self.cache.blob(index.blob))?;
            let shards: Vec<Wanted> = names
                .iter()
                .map(|name| {
                    let name = name.to_string_lossy();
                    self.find(&listing, &name)?.ok_or_else(|| self.error(format!("lacks {name}, which {INDEX} names")))
                })
                .collect::<Result<_>>()?;
            weights = shards.into_iter().chain(weights).collect();
        }
        // The weights last, and their index after them: a folder that has them has all.
        let files: Vec<Wanted> = others.into_iter().chain(weights).collect();
        let is_missing = |file: &&Wanted| !self.cache.blob(file.blob).is_file();
        observer.begins(&self.id.name, files.iter().filter(is_missing).map(|file| file.size).sum());
        let mut received = 0;
        for file in &files {
            if is_missing(&file) {
                self.file(&listing.sha, file, received, observer)?;
                received += file.size;
            }
        }
        observer.ends();
        for name in TOKENIZER_FILES {
            if !files.iter().any(|file| file.name == name) {
                self.cache.mark_absent(&listing.sha, name)?;
            }
        }
        files.iter().try_for_each(|file| self.cache.link(&listing.sha, file.name, file.blob))?;
        self.cache.set_revision(&self.id.revision, &listing.sha)?;
        Ok(self.cache.snapshot(&listing.sha))
    }

    fn listing(&self) -> Result<Listing> {
        let revision = self.id.revision.replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}?blobs=true", self.endpoint, self.id.name);
        let mut body = self.get(&url, 0)?.into_body();
        let text = body.with_config().limit(64 << 20).read_to_string().map_err(|error| self.unreachable(&error))?;
        let listing: Listing = serde_json::from_str(&text)
            .map_err(|_| self.error(format!("{} does not answer as a hub does", self.endpoint)))?;
        match is_plain(&listing.sha) {
            true => Ok(listing),
            false => Err(self.error(format!("{} names no commit", self.endpoint))),
        }
    }

    /// The settings and tokenizer, and the weights or their index.
    fn choose<'a>(&self, listing: &'a Listing) -> Result<(Vec<Wanted<'a>>, Vec<Wanted<'a>>)> {
        let weights = match (self.find(listing, SINGLE)?, self.find(listing, INDEX)?) {
            (Some(file), _) | (None, Some(file)) => vec![file],
            (None, None) => {
                let pickle = listing.siblings.iter().find(|file| is_pickle(Path::new(&file.name)));
                return Err(match pickle {
                    Some(pickle) => refuse_pickle(&Path::new(&self.id.name).join(&pickle.name)).into(),
                    None => self.error(format!("the hub's model has neither {SINGLE} nor {INDEX}")),
                });
            }
        };
        let mut others = vec![];
        for name in ["config.json"].into_iter().chain(TOKENIZER_FILES) {
            others.extend(self.find(listing, name)?);
        }
        let has = |name: &str| others.iter().any(|file| file.name == name);
        if !has("config.json") || !(has("tokenizer.json") || has("vocab.txt")) {
            let what = "the hub's model lacks config.json, or has neither tokenizer.json nor vocab.txt";
            return Err(self.error(what));
        }
        Ok((others, weights))
    }

    fn find<'a>(&self, listing: &'a Listing, name: &str) -> Result<Option<Wanted<'a>>> {
        let Some(file) = listing.siblings.iter().find(|file| file.name == name) else { return Ok(None) };
        let sha256 = file.lfs.as_ref().map(|large| large.sha256.as_str());
        match (sha256.or(file.blob.as_deref()).filter(|blob| is_plain(blob)), file.size) {
            (Some(blob), Some(size)) => Ok(Some(Wanted { name: &file.name, size, blob, sha256 })),
            _ => Err(self.error(format!("{} does not tell size and hash of {name}", self.endpoint))),
        }
    }

    /// Fetches a file into `blobs/`: aside, checked, then renamed. What an earlier try left is gone on with.
    fn file(&self, commit: &str, file: &Wanted, before: u64, observer: &mut dyn DownloadObserver) -> Result<()> {
        let blob = self.cache.blob(file.blob);
        let _lock = self.cache.lock(file.blob)?;
        if blob.is_file() {
            return Ok(());
        }
        let part = blob.with_file_name(format!("{}.incomplete", file.blob));
        let mut out = OpenOptions::new().create(true).append(true).open(&part).map_err(Error::io(&part, "create"))?;
        let received = self.receive(commit, file, &mut out, &part, before, observer);
        if let Err(error) = received.and_then(|()| self.check(file, &part)) {
            if file.sha256.is_none() {
                // Nothing would tell a sound beginning from another.
                let _ = std::fs::remove_file(&part);
            }
            return Err(error);
        }
        out.sync_all().map_err(Error::io(&part, "write"))?;
        std::fs::rename(&part, &blob).map_err(Error::io(&blob, "create"))
    }

    fn receive(
        &self,
        commit: &str,
        file: &Wanted,
        out: &mut File,
        part: &Path,
        before: u64,
        observer: &mut dyn DownloadObserver,
    ) -> Result<()> {
        let mut have = out.metadata().map_err(Error::io(part, "read"))?.len();
        if have > file.size || file.sha256.is_none() {
            out.set_len(0).map_err(Error::io(part, "write"))?;
            have = 0;
        }
        if have == file.size {
            return Ok(());
        }
        let response = self.get(&format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.id.name, file.name), have)?;
        if response.status() != 206 {
            out.set_len(0).map_err(Error::io(part, "write"))?;
            have = 0;
        }
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 16];
        while have < file.size {
            if observer.interrupted() {
                let what = format!("{}: the download was stopped; the same command goes on from there", self.id.name);
                return Err(Error::Interrupted(what));
            }
            let broken = |why: String| {
                self.error(format!(
                    "the download of {} broke off after {have} of {} bytes ({why}); start the same command again",
                    file.name, file.size
                ))
            };
            match body.read(&mut buffer) {
                Ok(0) => return Err(broken("the connection was closed".to_string())),
                Ok(bytes) => {
                    out.write_all(&buffer[..bytes]).map_err(Error::io(part, "write"))?;
                    have += bytes as u64;
                    observer.received(before + have);
                }
                Err(error) => return Err(broken(error.to_string())),
            }
        }
        Ok(())
    }

    /// The file is what the hub said it would be.
    fn check(&self, file: &Wanted, part: &Path) -> Result<()> {
        let size = part.metadata().map_err(Error::io(part, "read"))?.len();
        let is_same = match file.sha256 {
            Some(sha256) => file_sha256(part)? == sha256,
            None => true,
        };
        if size == file.size && is_same {
            return Ok(());
        }
        std::fs::remove_file(part).map_err(Error::io(part, "remove"))?;
        Err(self.error(format!("{} arrived damaged and was thrown away; start the same command again", file.name)))
    }

    /// The answer from byte `from` on; redirects are followed, without the token to another host.
    fn get(&self, url: &str, from: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url);
        if let Some(token) = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty()) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|error| self.unreachable(&error))?;
        match response.status().as_u16() {
            200 | 206 => Ok(response),
            401 | 403 | 404 => Err(self.error(format!(
                "is not a folder, and {} has no such model at revision {} (or shows it only to whom HF_TOKEN names: \
                 status {}); check the name, or give a local folder",
                self.endpoint,
                self.id.revision,
                response.status().as_u16()
            ))),
            status => Err(self.error(format!("{} answers with status {status}; try again later", self.endpoint))),
        }
    }

    fn unreachable(&self, error: &ureq::Error) -> Error {
        self.error(format!(
            "is not a folder, and the hub at {} cannot be asked for it ({error}); check the network, or give a local folder",
            self.endpoint
        ))
    }
}

/// Hashes and commits become file names.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
