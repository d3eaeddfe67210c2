#![allow(clippy::unwrap_used)]
use super::*;
use crate::config::TeacherConfig;
use std::fs;

fn sample() -> Config {
    let mut config = Config::default();
    config.data.train = vec!["notes.csv".into()];
    config.resolved().with_absolute_paths().unwrap()
}

fn inputs(data: &str, model: &str) -> Inputs {
    let of = |name: &str, hash: &str| [(name.to_string(), hash.to_string())].into();
    Inputs { data: of("notes.csv", data), models: of("student", model) }
}

fn begin(root: &Path) -> RunFolder {
    let folder = RunFolder::open(root, false).unwrap();
    fs::write(folder.config(), config::to_toml(&sample()).unwrap()).unwrap();
    let environment = serde_json::json!({ "sha256": inputs("aa", "").data, "models": inputs("", "mm").models });
    write_json(&folder.environment(), &environment).unwrap();
    folder
}

fn refusal(root: &Path, resume: bool) -> String {
    match RunFolder::open(root, resume) {
        Err(Error::Config(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_with_anything_in_it_is_refused_and_left_alone() {
    let around = tempfile::tempdir().unwrap();
    fs::write(around.path().join("thesis.doc"), "").unwrap();
    assert!(refusal(around.path(), false).ends_with("is not empty; choose another output_dir"));
    assert!(refusal(around.path(), true).ends_with("holds no run to resume"));
    assert_eq!(fs::read_dir(around.path()).unwrap().count(), 1);
    assert!(refusal(Path::new(""), false).starts_with("`output_dir` is empty"));
    let root = around.path().join("a/b");
    drop(begin(&root));
    assert!(refusal(&root, false).contains("resume it with --resume"));
}

#[test]
fn a_creation_cut_short_is_no_obstacle_and_leftovers_are_swept() {
    let around = tempfile::tempdir().unwrap();
    let root = around.path().join("run");
    drop(RunFolder::open(&root, false).unwrap());
    fs::write(root.join(".config.toml.1-0.dsgkd-tmp"), "half").unwrap();
    let folder = begin(&root);
    assert!(!root.join(".config.toml.1-0.dsgkd-tmp").exists());
    drop(folder);
    let half = root.join("checkpoints/.checkpoint-000000002.safetensors.1-0.dsgkd-tmp");
    fs::write(&half, "half").unwrap();
    RunFolder::open(&root, true).unwrap();
    assert!(!half.exists());
}

#[test]
fn two_processes_cannot_write_one_run() {
    let around = tempfile::tempdir().unwrap();
    let folder = begin(&around.path().join("run"));
    let other = folder.clone();
    drop(folder);
    assert!(refusal(other.root(), true).ends_with("another dsgkd is working in this folder"));
    assert!(RunFolder::existing(other.root()).config().exists());
    let root = other.root().to_path_buf();
    drop(other);
    assert!(RunFolder::open(&root, true).is_ok());
}

#[test]
fn only_the_same_experiment_on_the_same_data_is_resumed() {
    let around = tempfile::tempdir().unwrap();
    let folder = begin(&around.path().join("run"));
    let check_both = |config: &Config, data: &str, model: &str| {
        folder.check_same(config, &inputs(data, model)).map_err(|error| error.to_string())
    };
    let check = |config: &Config, data: &str| check_both(config, data, "mm");
    assert_eq!(check(&sample(), "aa"), Ok(()));
    let mut config = sample();
    config.threads = 7;
    assert_eq!(check(&config, "aa"), Ok(()));
    config.train.batch_size = 99;
    config.data.label_map.insert("1".into(), "yes".into());
    assert!(check(&config, "aa").unwrap_err().contains("begun with another `data.label_map`, `train.batch_size`; "));
    assert!(check(&sample(), "bb").unwrap_err().starts_with("notes.csv: changed since the run in "));
    assert!(
        check_both(&sample(), "aa", "nn")
            .unwrap_err()
            .ends_with("the model of the student changed since the run was begun")
    );
    assert!(folder.check_same(&sample(), &Inputs::default()).unwrap_err().to_string().contains("other data files"));
    // How terms are chosen and taught, and when, is no matter without a teacher, and is one with.
    let mut other = sample();
    (other.text.max_terms, other.distill.alpha) = (3, 0.1);
    assert_eq!(check(&other, "aa"), Ok(()));
    other.text.max_length = 9;
    assert!(check(&other, "aa").unwrap_err().contains("another `text.max_length`; "));
    let mut taught = sample();
    taught.teachers = vec![TeacherConfig { model: "/teacher".into(), ..TeacherConfig::default() }];
    fs::write(folder.config(), config::to_toml(&taught).unwrap()).unwrap();
    assert_eq!(check(&taught, "aa"), Ok(()));
    (taught.text.max_terms, taught.distill.alpha) = (3, 0.1);
    assert!(check(&taught, "aa").unwrap_err().contains("another `text.max_terms`, `distill.alpha`; "));
    // Before the labels the hearing has epochs of its own; with them, notes without labels ride along.
    for (when, binding) in [
        (DistillWhen::BeforeLabels, "`distill.num_train_epochs`"),
        (DistillWhen::WithLabels, "`train.unlabeled_batch_size`"),
    ] {
        let mut begun = sample();
        begun.teachers = vec![TeacherConfig { model: "/teacher".into(), ..TeacherConfig::default() }];
        begun.distill.when = when;
        fs::write(folder.config(), config::to_toml(&begun).unwrap()).unwrap();
        (begun.distill.num_train_epochs, begun.train.unlabeled_batch_size) = (3, Some(5));
        assert!(check(&begun, "aa").unwrap_err().contains(&format!("begun with another {binding}; ")));
    }
    // A run that learned its classes from the data, held against what was written before any was read.
    let mut learned = sample();
    learned.data.labels = vec!["no".into(), "yes".into()];
    fs::write(folder.config(), config::to_toml(&learned).unwrap()).unwrap();
    assert_eq!(check(&sample(), "aa"), Ok(()));
    learned.data.labels = vec!["yes".into(), "no".into()];
    assert!(check(&learned, "aa").unwrap_err().contains("another `data.labels`"));
}

#[test]
fn the_last_checkpoints_are_found_by_number_and_kept() {
    let around = tempfile::tempdir().unwrap();
    let folder = begin(&around.path().join("run"));
    for name in ["checkpoint-999999.tmp", "checkpoint-+00009.safetensors", "notes"] {
        fs::write(around.path().join("run/checkpoints").join(name), "").unwrap();
    }
    assert_eq!(folder.steps(), Vec::<u64>::new());
    // Beyond the nine digits the order of names is no longer that of steps.
    for step in [1_000_000_000, 999_999_999, 5] {
        fs::write(folder.checkpoint(step), "").unwrap();
    }
    folder.prune().unwrap();
    assert_eq!(folder.steps(), [999_999_999, 1_000_000_000]);
}

#[cfg(unix)]
#[test]
fn nobody_else_may_read_a_run() {
    use std::os::unix::fs::PermissionsExt;
    let around = tempfile::tempdir().unwrap();
    let folder = begin(&around.path().join("run"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(folder.root()), mode(&folder.root().join("best"))), (0o700, 0o700));
    assert_eq!((mode(&folder.environment()), mode(&folder.root().join(LOCK))), (0o600, 0o600));
}
