//! Experiment files as people get them wrong, and output that nobody takes: against the real binary.
#![allow(clippy::unwrap_used)]

mod common;

use assert_cmd::Command;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

fn dsgkd(arguments: &[&str]) -> Output {
    Command::cargo_bin("dsgkd").unwrap().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn write(folder: &Path, content: &[u8]) -> PathBuf {
    let path = folder.join("exp.toml");
    std::fs::write(&path, content).unwrap();
    path
}

/// What `dsgkd config` says of a file that it must refuse: one line, and nothing on standard output.
fn refusal(content: &[u8], more: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), content);
    let output = dsgkd(&[&["config", path.to_str().unwrap()], more].concat());
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    assert!(!said.trim_end().contains(char::is_control), "{said:?}");
    said
}

#[test]
fn hostile_files_are_refused_in_one_line() {
    let binary: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
    let nested = [b"a = ".to_vec(), vec![b'['; 100_000]].concat();
    let tables = format!("[{}]", vec!["a"; 50_000].join("."));
    let cases: [(&[u8], &str); 9] = [
        (&binary, "not UTF-8"),
        (&vec![b'['; 10 << 20], "larger than"),
        (&vec![b'['; 1 << 20], "not valid TOML"),
        (&nested, "not valid TOML"),
        (tables.as_bytes(), "not valid TOML"),
        (b"seed = 1\nseed = 2\n", "exp.toml:2: not valid TOML: duplicate key"),
        (b"[data]\ntext = \"\xb0\xa1\"\n", "exp.toml:2: not UTF-8"),
        (b"[train]\nbatch_size = \"many\"\n", "exp.toml:2: `train.batch_size` is \"many\", expected a whole number"),
        (
            b"[train]\n\nbacth_size = 8\n",
            "exp.toml:3: unknown key `train.bacth_size`; did you mean `train.batch_size`?",
        ),
    ];
    for (content, wanted) in cases {
        let said = refusal(content, &[]);
        assert!(said.contains(wanted), "{said}");
    }
    assert!(refusal(b"", &["--set", "train.alpha=1"]).contains("did you mean `distill.alpha`?"));
}

#[test]
fn an_experiment_is_shown_as_it_resolves_and_reads_back_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        write(folder.path(), b"preset = \"reference\"\n[data]\ntrain = [\"n.csv\"]\n[[teachers]]\nmodel = \"t\"\n");
    let path = path.to_str().unwrap();
    let shown = dsgkd(&["config", path, "--set", "train.batch_size=8"]);
    let shown_text = text(&shown.stdout);
    for line in ["batch_size = 8", "max_length = 384", "head = \"reference\"", "learning_rate = 0.0001"] {
        assert!(shown_text.contains(line), "{line} is not in:\n{shown_text}");
    }
    assert!(shown_text.contains(&format!("train = [{:?}]", folder.path().join("n.csv"))), "{shown_text}");
    let elsewhere = tempfile::tempdir().unwrap();
    let again = write(elsewhere.path(), &shown.stdout);
    assert_eq!(text(&dsgkd(&["config", again.to_str().unwrap()]).stdout), shown_text);
    let json: serde_json::Value = serde_json::from_slice(&dsgkd(&["config", path, "--json"]).stdout).unwrap();
    assert_eq!(json["text"]["max_length"], 384);
}

#[test]
fn a_file_from_init_reads_as_the_defaults_in_a_folder_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.toml");
    let path = path.to_str().unwrap();
    assert!(dsgkd(&["init", path, "--quiet"]).stderr.is_empty());
    let written = std::fs::read(path).unwrap();
    let empty = write(folder.path(), b"output_dir = \"runs/new\"");
    assert_eq!(dsgkd(&["config", path]).stdout, dsgkd(&["config", empty.to_str().unwrap()]).stdout);
    let refused = dsgkd(&["init", path]);
    assert_eq!(refused.status.code(), Some(4));
    assert_eq!(std::fs::read(path).unwrap(), written);
    // As it stands it lacks everything that a training needs, and says what first.
    let refused = dsgkd(&["train", path]);
    assert_eq!((refused.status.code(), text(&refused.stderr).contains("`data.train`")), (Some(2), true));
}

#[test]
fn usage_mistakes_are_2_and_unreadable_files_4() {
    for arguments in [&[][..], &["trian"], &["train"], &["config", "a", "b"], &["completions", "tcsh2"]] {
        assert_eq!(dsgkd(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for path in ["nowhere.toml", "."] {
        let output = dsgkd(&["config", path]);
        assert_eq!(output.status.code(), Some(4), "{path}");
        assert!(text(&output.stderr).starts_with(&format!("error: {path}: cannot read: ")));
    }
    assert_eq!(dsgkd(&["--version"]).status.code(), Some(0));
}

#[test]
fn nothing_is_coloured_where_nobody_asked() {
    for arguments in [&["--help"][..], &["trian"], &["config", "nowhere.toml"]] {
        let mut command = Command::cargo_bin("dsgkd").unwrap();
        let output = command.args(arguments).env("NO_COLOR", "1").env("TERM", "xterm-256color").output().unwrap();
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "{arguments:?}");
    }
}

#[cfg(unix)]
#[test]
fn a_reader_who_leaves_is_no_error_and_a_full_disk_is() {
    let binary = assert_cmd::cargo::cargo_bin("dsgkd");
    for arguments in [&["completions", "bash"][..], &["--help"]] {
        let mut child = std::process::Command::new(&binary)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
    if let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") {
        let output = std::process::Command::new(&binary).args(["completions", "bash"]).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(4));
        assert!(text(&output.stderr).starts_with("error: standard output: cannot write: "));
    }
}

/// `config` does not wait for a checkpoint: the first Ctrl-C ends it.
#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_ends_a_command_that_only_reads() {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.toml");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = common::dsgkd_that_heeds_ctrl_c().arg("config").arg(&pipe).spawn().unwrap();
    // Opening the pipe to write waits until the command has opened it to read.
    let writer = std::fs::OpenOptions::new().write(true).open(&pipe).unwrap();
    assert!(std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().signal(), Some(2));
    drop(writer);
}
