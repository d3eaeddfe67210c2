//! Models by their hub id, from a hub on loopback: what is fetched, what is kept, and what a bad day leaves behind.
#![allow(clippy::unwrap_used)]

mod common;

use assert_cmd::Command;
use common::{World, bytes, dsgkd};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";
/// Nobody listens there.
const NO_HUB: &str = "http://127.0.0.1:1";

/// A hub with one model, `acme/tiny`.
struct Hub {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
    /// Bytes of the weights after which the connection breaks.
    cut: Arc<AtomicUsize>,
}

impl Hub {
    /// Serves the files of the folder under other names, if they shall have one.
    fn serve(folder: &Path, weights_name: &'static str) -> Hub {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, cut) = (Arc::new(Mutex::new(vec![])), Arc::new(AtomicUsize::new(usize::MAX)));
        let hub = Hub { address, requests: requests.clone(), cut: cut.clone() };
        let folder = folder.to_path_buf();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is no fault of the hub's.
                let _ = answer(stream, &folder, weights_name, &requests, &cut);
            }
        });
        hub
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn answer(
    mut stream: TcpStream,
    folder: &Path,
    weights_name: &str,
    requests: &Mutex<Vec<String>>,
    cut: &AtomicUsize,
) -> std::io::Result<()> {
    let lines: Vec<String> =
        BufReader::new(stream.try_clone()?).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let path = lines[0].split(' ').nth(1).unwrap_or_default().to_string();
    let range = lines.iter().find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_string));
    let from: usize = range.as_deref().map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
    requests.lock().unwrap().push(format!("{path}{}", range.map_or(String::new(), |range| format!(" {range}"))));
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")
    };
    if path == "/api/models/acme/tiny/revision/main?blobs=true" {
        let names = ["config.json", "tokenizer.json", "tokenizer_config.json", "README.md", WEIGHTS];
        let siblings = names.map(|name| {
            let file = folder.join(name);
            let (sha256, size) = (dsgkd::data::file_sha256(&file).unwrap(), file.metadata().unwrap().len());
            let shown = if name == WEIGHTS { weights_name } else { name };
            let large = (name == WEIGHTS).then(|| json!({ "sha256": sha256, "size": size }));
            json!({ "rfilename": shown, "size": size, "blobId": sha256[..40], "lfs": large })
        });
        let body = json!({ "id": "acme/tiny", "sha": COMMIT, "siblings": siblings }).to_string();
        write!(stream, "{}{body}", head("200 OK", body.len(), ""))
    } else if path == format!("/acme/tiny/resolve/{COMMIT}/{WEIGHTS}") {
        write!(stream, "{}", head("302 Found", 0, "Location: /elsewhere\r\n"))
    } else if path == "/elsewhere" {
        let content = std::fs::read(folder.join(WEIGHTS))?;
        let status = if from > 0 { "206 Partial Content" } else { "200 OK" };
        write!(stream, "{}", head(status, content.len() - from, ""))?;
        let end = content.len().min(cut.swap(usize::MAX, Ordering::SeqCst));
        stream.write_all(&content[from..end])
    } else if let Some(name) = path.strip_prefix(&format!("/acme/tiny/resolve/{COMMIT}/")) {
        let content = std::fs::read(folder.join(name))?;
        write!(stream, "{}", head("200 OK", content.len(), "ETag: \"x\"\r\n"))?;
        stream.write_all(&content)
    } else {
        write!(stream, "{}", head("404 Not Found", 0, ""))
    }
}

/// The command with a cache of its own and this hub, whatever the tester's environment says.
fn with_hub(world: &World, endpoint: &str) -> Command {
    let mut command = dsgkd();
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", world.path("hf")).env("HF_ENDPOINT", endpoint);
    command
}

fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert_eq!(stderr.lines().filter(|line| line.starts_with("error:")).count(), 1, "{stderr}");
    stderr
}

/// An experiment whose student is a model of the hub, and the folder that the hub shows.
fn world() -> (World, PathBuf, PathBuf) {
    let world = World::new();
    let experiment = world.experiment("exp", true, "");
    let text = std::fs::read_to_string(&experiment).unwrap();
    std::fs::write(&experiment, text.replace("student-run/model", "acme/tiny")).unwrap();
    let folder = world.path("student-run/model");
    (world, experiment, folder)
}

#[test]
fn a_model_is_fetched_once_and_the_run_says_which() {
    let (world, experiment, folder) = world();
    let hub = Hub::serve(&folder, WEIGHTS);
    let trained = with_hub(&world, &hub.address).arg("train").arg(&experiment).output().unwrap();
    let said = String::from_utf8(trained.stderr).unwrap();
    assert!(trained.status.success() && said.contains("acme/tiny: downloading"), "{said}");
    // Only what is read: no README.
    let requests = hub.requests();
    assert_eq!(requests.len(), 6, "{requests:?}");
    assert!(!requests.iter().any(|request| request.contains("README")), "{requests:?}");

    let cached = world.path("hf/hub/models--acme--tiny");
    let snapshot = cached.join("snapshots").join(COMMIT);
    assert_eq!(bytes(&cached.join("refs/main")), COMMIT.as_bytes());
    assert_eq!(bytes(&snapshot.join(WEIGHTS)), bytes(&folder.join(WEIGHTS)));
    let config = String::from_utf8(bytes(&world.path("exp/config.toml"))).unwrap();
    assert!(config.contains(&format!("models--acme--tiny/snapshots/{COMMIT}")), "{config}");
    let card = String::from_utf8(bytes(&world.path("exp/model/README.md"))).unwrap();
    assert!(card.contains(&format!("acme/tiny@{COMMIT}")), "{card}");

    // From the cache, by every command, hub or no hub; and by commit.
    let shown = |set: &str| {
        let mut command = with_hub(&world, NO_HUB);
        command.arg("align").arg(&experiment).args(["--text", "chest pain", "--set", set]);
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    assert_eq!(shown("student.model=acme/tiny"), shown(&format!("student.model=acme/tiny@{COMMIT}")));
    with_hub(&world, NO_HUB).env("HF_HUB_OFFLINE", "1").arg("check").arg(&experiment).assert().success();
    let file = world.path("more.toml");
    let text = "output_dir = \"more\"\nmodel = \"acme/tiny\"\n[[corpus]]\nfiles = [\"text.txt\"]\n[train]\nmax_steps = 1\nheld_out_every = 20\n";
    std::fs::write(&file, text).unwrap();
    with_hub(&world, NO_HUB).arg("pretrain").arg(&file).arg("--quiet").assert().success();
}

#[test]
fn a_broken_download_is_gone_on_with_and_never_taken_for_whole() {
    let (world, experiment, folder) = world();
    let hub = Hub::serve(&folder, WEIGHTS);
    hub.cut.store(1000, Ordering::SeqCst);
    let check = |endpoint: &str| {
        let mut command = with_hub(&world, endpoint);
        command.arg("check").arg(&experiment);
        command
    };
    let said = refused(&mut check(&hub.address));
    assert!(said.contains("acme/tiny: the download of model.safetensors broke off after 1000 of"), "{said}");
    let cached = world.path("hf/hub/models--acme--tiny");
    assert!(!cached.join("snapshots").exists() && !cached.join("refs").exists());
    let whole = std::fs::metadata(folder.join(WEIGHTS)).unwrap().len();
    let is_weights = |path: &PathBuf| std::fs::metadata(path).unwrap().len() == whole;
    let blobs = || std::fs::read_dir(cached.join("blobs")).unwrap().map(|entry| entry.unwrap().path());
    assert!(!blobs().any(|path| is_weights(&path)));
    // What is half there does not count without the hub either.
    assert!(refused(check(&hub.address).env("HF_HUB_OFFLINE", "1")).contains("HF_HUB_OFFLINE forbids"));
    hub.requests();
    check(&hub.address).assert().success();
    assert_eq!(hub.requests().last().unwrap(), "/elsewhere 1000-");
    assert!(!blobs().any(|path| path.extension().is_some()));

    // A beginning that is not the file's: thrown away, and the next try is from the start.
    std::fs::remove_dir_all(world.path("hf")).unwrap();
    hub.cut.store(1000, Ordering::SeqCst);
    refused(&mut check(&hub.address));
    let part = blobs().find(|path| path.extension().is_some()).unwrap();
    std::fs::write(&part, vec![0; 1000]).unwrap();
    assert!(refused(&mut check(&hub.address)).contains("arrived damaged"));
    assert!(!part.exists());
    check(&hub.address).assert().success();
}

#[test]
fn what_cannot_be_fetched_is_said_in_one_line() {
    let (world, experiment, folder) = world();
    let hub = Hub::serve(&folder, "pytorch_model.bin");
    let said = |endpoint: &str, set: &str| {
        refused(with_hub(&world, endpoint).arg("align").arg(&experiment).args(["--text", "a", "--set", set]))
    };
    let pickle = said(&hub.address, "seed=1");
    assert!(
        pickle.contains("acme/tiny/pytorch_model.bin: is a pickle") && pickle.contains("safe_serialization"),
        "{pickle}"
    );
    let absent = said(&hub.address, "student.model=acme/other");
    assert!(absent.contains("acme/other: is not a folder") && absent.contains("status 404"), "{absent}");
    let unreachable = said(NO_HUB, "seed=1");
    assert!(unreachable.contains("the hub at http://127.0.0.1:1 cannot be asked"), "{unreachable}");
    let no_id = said(&hub.address, "student.model=nowhere");
    assert!(no_id.contains("nowhere: is not a folder"), "{no_id}");
    assert!(!world.path("hf/hub/models--acme--tiny/snapshots").exists());
}
