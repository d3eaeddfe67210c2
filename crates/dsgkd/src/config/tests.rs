//! The whole way from text to [`Config`], and hostile texts.
#![allow(clippy::unwrap_used)]

use super::document::Document;
use super::keys::{KEYS, Kind, REQUIRED, schema_keys};
use super::load::finish;
use super::*;
use crate::error::Error;
use std::path::{Path, PathBuf};

pub(super) fn read(text: &str, overrides: &[&str]) -> Result<Config, String> {
    let overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    let result = Document::parse("exp.toml", text).and_then(|mut document| {
        let known = KnownKeys::experiment();
        known.settle(&mut document, &overrides, Path::new(""))?;
        finish(document, &known)
    });
    result.map_err(|error| match error {
        Error::Config(message) => message,
        other => panic!("not a configuration error: {other}"),
    })
}

pub(super) fn message(text: &str, overrides: &[&str]) -> String {
    let message = read(text, overrides).unwrap_err();
    assert!(!message.contains('\n'), "{message}");
    message
}

/// A configuration in which every field differs from its default.
pub(super) fn full() -> Config {
    let text = r#"
        preset = "reference"
        output_dir = "runs/a"
        threads = 3
        seed = 7
        cache_dir = "c"
        baseline = "tf-idf"
        [data]
        train = ["a.csv", "b.csv"]
        validation = ["v.csv"]
        test = ["t.csv"]
        unlabeled = ["u.csv"]
        format = "csv"
        encoding = "euc-kr"
        separator = ";"
        sheet = "S"
        template = "{Age}세[ BT {BT}]"
        label = "y"
        labels = ["no", "yes"]
        label_map = { "1" = "yes", "예" = "yes" }
        group = "patient"
        id = "visit"
        missing = ["NA"]
        values = { Sex = { M = "남" } }
        normalization = "nfkc"
        skip_bad_rows = true
        duplicates = "same-side"
        split = { stratified = false, test_fraction = 0.3, validation_fraction = 0.2, folds = 5, fold = 1, label_budget = 50, rest_unlabeled = true, seed = 9 }
        [text]
        max_length = 64
        truncation = "both"
        terms = "regex"
        max_terms = 5
        min_student_tokens = 3
        term_scripts = ["Greek"]
        min_term_length = 3
        dictionary = "d.txt"
        pattern = "[a-z]+"
        [student]
        model = "s"
        head = "mean"
        linear_probing = true
        hidden_dropout_prob = 0.2
        attention_probs_dropout_prob = 0.3
        classifier_dropout = 0.4
        [adapt]
        num_train_epochs = 2
        learning_rate = 1e-3
        batch_tokens = 512
        whole_word_masking = true
        [[teachers]]
        model = "t"
        weight = 2
        layer_map = [[0, 0], [6, 12]]
        head_map = "mean"
        [[teachers]]
        model = "t2"
        layer_map = "last-k"
        head_map = [[0, 1]]
        [distill]
        when = "with-labels"
        num_train_epochs = 3
        learning_rate = 2e-4
        alpha = 1
        beta = 0
        attention = "positional"
        attention_after_dropout = true
        projection = "where-widths-differ"
        shuffle_terms = true
        whole_notes = true
        teacher_cache = "file"
        teacher_cache_dtype = "float16"
        teacher_cache_mib = 1
        [train]
        device = "cuda"
        dtype = "bfloat16"
        num_train_epochs = 2
        batch_size = 4
        unlabeled_batch_size = 12
        max_tokens_per_batch = 512
        gradient_checkpointing = true
        gradient_accumulation_steps = 2
        learning_rate = 3e-5
        classifier_learning_rate = 1e-2
        weight_decay = 0.1
        adam_beta1 = 0.8
        adam_beta2 = 0.9
        adam_epsilon = 1e-6
        warmup_ratio = 0.1
        max_grad_norm = 0
        shuffle = false
        class_weights = [1, 4.5]
        early_stopping = ["auroc"]
        early_stopping_patience = 2
        metric_for_best_model = "auroc"
        save_steps = 10
        [evaluation]
        bootstrap_samples = 10
        reference_subsamples = true
    "#;
    read(text, &[]).unwrap()
}

#[test]
fn toml_of_a_configuration_reads_back_equal() {
    for config in [
        Config::default(),
        Config::of_preset(Preset::Reference),
        full(),
        full().resolved(),
        Config::default().resolved(),
    ] {
        let text = to_toml(&config).unwrap();
        assert_eq!(read(&text, &[]).unwrap(), config, "{text}");
    }
}

/// The sample above would be a weak test if it left a key at its default.
#[test]
fn the_full_sample_changes_every_key() {
    let full = serde_json::to_value(full()).unwrap();
    let mut default = serde_json::to_value(Config::default()).unwrap();
    default["teachers"] = serde_json::json!([TeacherConfig::default()]);
    for path in schema_keys() {
        // The sample can give only one of the two.
        if path == "data.text" {
            continue;
        }
        let pointer = format!("/{}", path.replace("teachers.", "teachers.0.").replace('.', "/"));
        assert_ne!(full.pointer(&pointer), default.pointer(&pointer), "{path}");
    }
}

#[test]
fn the_template_is_the_defaults() {
    assert_eq!(read(&commented_template(""), &[]).unwrap(), Config::default());
}

#[test]
fn the_template_shows_every_key_with_its_default() {
    let template = commented_template("");
    let uncommented: Vec<&str> = template
        .lines()
        .map(|line| {
            line.strip_prefix("# ").filter(|line| line.contains(" = ") || *line == "[[teachers]]").unwrap_or(line)
        })
        .collect();
    let uncommented = uncommented.join("\n").replace("model = \"\"\n## Weight", "model = \"t\"\n## Weight");
    // The example of the heading is no key.
    let uncommented = uncommented.replacen(
        "mark away to set it. Any key can also be set for one run: --set train.batch_size=8",
        "",
        1,
    );
    let table: toml::Table = uncommented
        .lines()
        .filter(|line| !line.starts_with("An experiment"))
        .collect::<Vec<_>>()
        .join("\n")
        .parse()
        .unwrap();
    for key in KEYS {
        let value = key.path.split('.').fold(toml::Value::Table(table.clone()), |value, name| {
            let value = value.get(name).unwrap_or_else(|| panic!("{} is not shown", key.path)).clone();
            value.as_array().filter(|_| name == "teachers").map_or(value.clone(), |items| items[0].clone())
        });
        assert!(key.kind.accepts(&value), "{} = {value}", key.path);
    }
    let mut config: Config = table.try_into().unwrap();
    // Keys without a default show an example.
    assert_eq!(
        config.teachers,
        [TeacherConfig {
            model: "t".into(),
            head_map: Some(HeadMap::Named(HeadMapName::Same)),
            ..TeacherConfig::default()
        }]
    );
    config.teachers.clear();
    config.student = StudentConfig::default();
    (config.train.learning_rate, config.train.warmup_ratio, config.data.split.seed) = (None, None, None);
    (config.text.min_student_tokens, config.train.unlabeled_batch_size, config.distill.learning_rate) =
        (None, None, None);
    assert_eq!(config, Config::default());
}

#[test]
fn the_template_offers_what_a_training_needs() {
    for path in REQUIRED {
        let name = path.rsplit('.').next().unwrap();
        assert!(commented_template("runs/my").lines().any(|line| line.starts_with(&format!("{name} = "))), "{path}");
    }
}

#[test]
fn unknown_keys_name_line_and_neighbour() {
    assert_eq!(
        message("seed = 1\n[train]\n\nbacth_size = 8\n", &[]),
        "exp.toml:4: unknown key `train.bacth_size`; did you mean `train.batch_size`?"
    );
    assert_eq!(
        message("batch_size = 8", &[]),
        "exp.toml:1: unknown key `batch_size`; did you mean `train.batch_size`?"
    );
    assert_eq!(
        message("[train]\nepochs = 8", &[]),
        "exp.toml:2: unknown key `train.epochs`; did you mean `train.num_train_epochs`?"
    );
    assert_eq!(
        message("[[teachers]]\nmodel='t'\n[[teachers]]\nmodel='t'\nwieght=1", &[]),
        "exp.toml:5: unknown key `teachers.1.wieght`; did you mean `teachers.weight`?"
    );
    assert_eq!(
        message("", &["train.lr=1"]),
        "--set: unknown key `train.lr`; `dsgkd init` writes a file that shows every key"
    );
    assert_eq!(
        message("seed = 1", &["zzzzzzzzzz.a=1"]),
        "--set: unknown key `zzzzzzzzzz`; `dsgkd init` writes a file that shows every key"
    );
    assert_eq!(
        message("[data.split]\nfolds=5\nx=1\n[zzzzzzzzzz]", &[]),
        "exp.toml:3: unknown key `data.split.x`; `dsgkd init` writes a file that shows every key (and 1 more wrong: `zzzzzzzzzz`)"
    );
}

#[test]
fn every_key_is_known_and_every_slip_is_not() {
    for path in schema_keys() {
        let set = |name: &str| message("", &[&format!("{}=zz", name.replace("teachers.", "teachers.0."))]);
        if read("", &[&format!("{}=zz", path.replace("teachers.", "teachers.0."))]).is_err() {
            assert!(!set(&path).contains("unknown key"), "{path}");
        }
        let slip = format!("{path}x");
        assert!(set(&slip).ends_with(&format!("did you mean `{path}`?")), "{}", set(&slip));
    }
}

#[test]
fn wrong_types_name_key_and_expected_type() {
    assert_eq!(
        message("[train]\nbatch_size = \"8\"", &[]),
        "exp.toml:2: `train.batch_size` is \"8\", expected a whole number, 0 or more"
    );
    assert_eq!(
        message("[train]\nbatch_size = -8", &[]),
        "exp.toml:2: `train.batch_size` is -8, expected a whole number, 0 or more"
    );
    assert_eq!(message("train = 3", &[]), "exp.toml:1: `train` is a whole number, expected a section [train]");
    assert_eq!(
        message("[teachers]\nmodel = 't'", &[]),
        "exp.toml:1: `teachers` is a table, expected a [[teachers]] block for each (two brackets)"
    );
    assert_eq!(message("teachers = ['t']", &[]), "exp.toml:1: `teachers.0` is text, expected a [[teachers]] block");
    assert_eq!(
        message("", &["data.train=notes.csv"]),
        "--set: `data.train` is \"notes.csv\", expected a list of paths, like [\"notes.csv\"]"
    );
    assert!(message("[text]\nterms = 'sript'", &[]).contains("expected one of \"script\", \"reference\""));
    assert!(
        message("[[teachers]]\nmodel='t'\nlayer_map = [[1]]", &[])
            .contains("`teachers.0.layer_map` is a list, expected \"uniform\", \"last-k\", or a list of")
    );
}

/// Whatever stands behind a key, serde is never the first to complain.
#[test]
fn every_kind_refuses_every_other_type() {
    for key in KEYS {
        for value in ["1979-05-27", "-1", "[[[1]]]", "{ a = 1 }"] {
            let path = key.path.replace("teachers.", "teachers.0.");
            if key.kind.is_textual() && !value.starts_with('{') || matches!(key.kind, Kind::Number) && value == "-1" {
                continue; // read as text, or a number of a wrong range
            }
            if let Err(message) = read("", &[&format!("{path}={value}")]) {
                assert!(message.contains(&format!("`{path}")), "{message}");
            }
        }
    }
}

#[test]
fn overrides_reach_every_shape_of_key() {
    let config = read(
        "[[teachers]]\nmodel='a'\n[data]\nid='x'",
        &[
            "teachers.0.model=b",
            "teachers.1.model=2024",
            "data.id=7",
            "data.label_map.1=yes",
            "data.values.\"Age group\".1=\"young\"",
            "data.values.성별.M=남",
            "data.train.0=n.csv",
            "data.train.1=2024",
            "train.class_weights=[1, 2]",
            "train.shuffle=false",
            "train.batch_size = 8",
            "data.template={A}=b",
            "train.early_stopping.0=f1",
            "teachers.1.layer_map=last-k",
        ],
    )
    .unwrap();
    let models: Vec<_> = config.teachers.iter().map(|teacher| teacher.model.to_str().unwrap()).collect();
    assert_eq!(models, ["b", "2024"]);
    assert_eq!(config.data.id, "7");
    assert_eq!(config.data.label_map["1"], "yes");
    assert_eq!(config.data.values["Age group"]["1"], "young");
    assert_eq!(config.data.values["성별"]["M"], "남");
    assert_eq!(config.data.train, [PathBuf::from("n.csv"), PathBuf::from("2024")]);
    assert_eq!(config.train.class_weights, ClassWeights::Values(vec![1.0, 2.0]));
    assert_eq!((config.train.shuffle, config.train.batch_size), (false, 8));
    assert_eq!(config.data.template, "{A}=b");
    assert_eq!(config.train.early_stopping, [Monitor::F1]);
    let alias = read("[train]\nper_device_train_batch_size = 3", &[]).unwrap();
    assert_eq!(alias.train.batch_size, 3);
}

#[test]
fn bad_overrides_say_what_to_write() {
    assert!(message("", &["train.batch_size"]).contains("write it as key=value"));
    assert!(message("", &["teachers.model=t"]).contains("say which of the teachers, like teachers.0.model"));
    assert!(
        message("", &["teachers.1.model=t"]).contains("teachers has 0 written items; the next to set is teachers.0")
    );
    assert!(message("", &["a..b=1"]).contains("empty"));
    assert!(message("", &["=1"]).contains("empty"));
    assert!(message("", &[&format!("{}=1", vec!["a"; 50_000].join("."))]).contains("no key is that deep"));
    assert!(message("", &["seed=1\nthreads=9"]).contains("`seed` is \"1 threads=9\""));
    assert!(message("[train]\nbatch_size=1\nper_device_train_batch_size=2", &[]).contains("are the same key"));
}

#[test]
fn paths_start_at_the_file_and_overrides_where_they_were_typed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exp.toml");
    let mut text = String::from("[[teachers]]\nmodel = 'm'\n");
    for key in KEYS.iter().filter(|key| !key.path.starts_with("teachers")) {
        match key.kind {
            Kind::Path | Kind::Model => text = format!("{} = 'p'\n{text}", key.path),
            Kind::Paths => text = format!("{} = ['p', '/abs']\n{text}", key.path),
            _ => {}
        }
    }
    std::fs::write(&file, text).unwrap();
    let config = load(Some(&file), &["data.test=[\"typed.csv\"]".to_string()]).unwrap();
    let beside = |name: &str| folder.path().join(name);
    assert_eq!(config.data.train, [beside("p"), PathBuf::from("/abs")]);
    assert_eq!(config.data.test, [PathBuf::from("typed.csv")]);
    assert_eq!((&config.output_dir, &config.student.model), (&beside("p"), &beside("p")));
    assert_eq!((&config.teachers[0].model, &config.text.dictionary), (&beside("m"), &beside("p")));
    let absolute = config.with_absolute_paths().unwrap();
    assert_eq!(absolute.data.test, [std::env::current_dir().unwrap().join("typed.csv")]);
    assert_eq!(Config { data: config.data.clone(), ..absolute }, config);
    assert_eq!(Config::default().with_absolute_paths().unwrap(), Config::default());
    let settings =
        ["data.test=[\"t.csv\"]", "data.train.0=a.csv", "teachers.0.model=t", "student.model=/abs", "data.id=p"];
    let settings = settings.map(str::to_string);
    let config = load_from(None, &settings, Path::new("grid")).unwrap();
    assert_eq!((&config.data.test[0], &config.data.train[0]), (&"grid/t.csv".into(), &"grid/a.csv".into()));
    assert_eq!((&config.teachers[0].model, &config.student.model), (&"grid/t".into(), &"/abs".into()));
    assert_eq!(config.data.id, "p");
}

#[test]
fn a_model_s_id_is_a_path_only_where_there_is_such_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exp.toml");
    std::fs::create_dir_all(folder.path().join("acme/here")).unwrap();
    std::fs::write(&file, "student.model = 'acme/tiny@v2'\n[[teachers]]\nmodel = 'acme/here'\n").unwrap();
    let config = load(Some(&file), &[]).unwrap().with_absolute_paths().unwrap();
    assert_eq!(config.student.model, PathBuf::from("acme/tiny@v2"));
    assert_eq!(config.teachers[0].model, folder.path().join("acme/here"));
}

#[test]
fn impossible_values_are_refused_with_their_line() {
    for (text, wanted) in [
        ("[data]\ntext='a'\ntemplate='{b}'", "exp.toml:3: `data.template` and `data.text` are both given"),
        ("[data]\nformat='doc'", "exp.toml:2: `data.format` must be csv"),
        ("[data]\nseparator='ab'", "`data.separator` must be one character"),
        ("[data]\nlabels=['a','a']", "`data.labels` names a class twice"),
        ("[data]\nlabels=['a','b']\nlabel_map={x='c'}", "`data.label_map` maps to a class"),
        ("[data.split]\ntest_fraction=1.0", "exp.toml:2: `data.split.test_fraction` must be at least 0 and below 1"),
        ("[data.split]\nvalidation_fraction=nan", "`data.split.validation_fraction` must be"),
        ("[data.split]\nfolds=1", "`data.split.folds` must be 0"),
        ("[data.split]\nfolds=5\nfold=5", "exp.toml:3: `data.split.fold` must be below"),
        ("[text]\nmax_length=2", "`text.max_length` must be 3"),
        ("[text]\nmin_student_tokens=0", "`text.min_student_tokens` must be 1 or more"),
        ("[text]\nterms='dictionary'", "`text.dictionary` is empty"),
        ("[text]\nterms='regex'\npattern='('", "`text.pattern` is not a valid regular expression"),
        ("[text]\nterm_scripts=['Latn1']", "`text.term_scripts` has a name that is no Unicode script"),
        ("[student]\nclassifier_dropout=1", "`student.classifier_dropout` must be"),
        ("[[teachers]]\nmodel='t'\nweight=0", "exp.toml:3: `teachers.0.weight` must be above 0"),
        ("[[teachers]]\nweight=1", "exp.toml:1: `teachers.0.model` is empty"),
        ("[[teachers]]\nmodel='t'\nlayer_map=[]", "`teachers.0.layer_map` is an empty list"),
        ("[distill]\nalpha=inf", "`distill.alpha` must be 0 or more"),
        ("[distill]\nwhole_notes=true", "`distill.whole_notes` needs distill.beta = 0"),
        ("[train]\nlearning_rate=0", "`train.learning_rate` must be a finite number above 0"),
        ("[train]\nclassifier_learning_rate=inf", "`train.classifier_learning_rate` must be a finite"),
        ("[train]\nbatch_size=0", "`train.batch_size` must be 1 or more"),
        ("[train]\nadam_beta2=1", "`train.adam_beta2` must be"),
        ("[train]\nwarmup_ratio=1.5", "`train.warmup_ratio` must be between 0 and 1"),
        ("[train]\nclass_weights=[1,0]", "`train.class_weights` must all be above 0"),
        (
            "[data]\nlabels=['a','b']\n[train]\nclass_weights=[1,1,1]",
            "`train.class_weights` needs one weight for each class",
        ),
        ("[train]\nearly_stopping=['f1','f1']", "`train.early_stopping` names a measure twice"),
    ] {
        let message = message(text, &[]);
        assert!(message.contains(wanted), "{message}\nwanted {wanted}");
    }
}

#[test]
fn validate_asks_for_what_a_training_needs() {
    let mut config = Config::default();
    let mut missing = || {
        let message = config.validate().err().map(|error| error.to_string());
        match message.as_deref() {
            Some(text) if text.contains("`data.train`") => config.data.train = vec!["a".into()],
            Some(text) if text.starts_with("`data.text`") => config.data.text = "t".into(),
            Some(text) if text.contains("`data.label`") => config.data.label = "t".into(),
            Some(text) if text.contains("`student.model`") => config.student.model = "m".into(),
            Some(text) => panic!("{text}"),
            None => return false,
        }
        true
    };
    let mut asked = 0;
    while missing() {
        asked += 1;
    }
    assert_eq!(asked, 4);
}
