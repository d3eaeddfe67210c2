//! The numbers of `transformers`, for every family: hidden states, attention, logits, gradients; and folders that are not
//! what they should be. `fixtures/make_fixtures.py` makes the fixtures.
//!
//! `DSGKD_PYTHON=python cargo test --release transformers` also opens what we write in `transformers` itself.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use dsgkd_encoder::classifier::ClassifierActivations;
use dsgkd_encoder::mlm::MlmActivations;
use dsgkd_encoder::model::heads_of;
use dsgkd_encoder::weights::WeightFormat;
use dsgkd_encoder::{Activations, Batch, ForwardOptions, HeadForm, Heads, Model, PooledGradients};
use dsgkd_ops::loss::cross_entropy;
use dsgkd_ops::spans::{Span, row_offsets};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};

const FAMILIES: [&str; 5] = ["bert", "roberta", "xlm-roberta", "distilbert", "electra"];
const NOTES: usize = 3;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Tensors of a fixture by name.
struct Expected(Vec<u8>);

impl Expected {
    fn read(path: &Path) -> Expected {
        Expected(std::fs::read(path).unwrap())
    }

    fn values(&self, name: &str) -> Vec<f32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let data = tensors.tensor(name).unwrap_or_else(|_| panic!("no {name}")).data().to_vec();
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    fn ids(&self, note: usize) -> Vec<u32> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let data = tensors.tensor(&format!("note{note}.input_ids")).unwrap().data().to_vec();
        data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as u32).collect()
    }
}

#[track_caller]
fn close(what: &str, ours: &[f32], theirs: &[f32], allowed: impl Fn(f32) -> f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() <= allowed(*theirs), "{what}: {ours}, transformers has {theirs}");
    }
}

fn open(name: &str) -> Model {
    let folder = fixture(name);
    let (model, report) = Model::open(&folder, &heads_of(&folder).unwrap(), 1).unwrap();
    assert!(report.fresh.is_empty() && report.surplus.is_empty(), "{name}: {report:?}");
    model
}

/// The fixture's notes in one batch, and a span for each token of each note.
fn packed(expected: &Expected) -> (Batch, Vec<Span>) {
    let notes: Vec<Vec<u32>> = (0..NOTES).map(|note| expected.ids(note)).collect();
    let batch = Batch::pack(notes.iter().map(|note| &note[..]));
    let spans = notes.iter().enumerate().flat_map(|(note, ids)| {
        (0..ids.len() as u32).map(move |start| Span { note: note as u32, start, end: start + 1 })
    });
    (batch, spans.collect())
}

#[test]
fn hidden_states_attention_and_logits_of_every_family() {
    for name in FAMILIES {
        let expected = Expected::read(&fixture(name).join("expected.safetensors"));
        let model = open(name);
        let (batch, spans) = packed(&expected);
        let (mut act, mut head) = (Activations::default(), ClassifierActivations::default());
        model.forward(&batch, &ForwardOptions { spans: &spans, ..ForwardOptions::default() }, &mut act);
        model.classify(&batch, &[0, 1, 2], None, &act, &mut head);
        let (h, heads) = (model.architecture.hidden_size, model.architecture.num_attention_heads);
        let offsets = row_offsets(&batch.cu_seqlens, &spans, heads);
        for note in 0..NOTES {
            let tokens = batch.cu_seqlens[note] as usize..batch.cu_seqlens[note + 1] as usize;
            for (level, pooled) in act.pooled_hidden.iter().enumerate() {
                let theirs = expected.values(&format!("note{note}.hidden.{level}"));
                let what = format!("{name}, note {note}, hidden state {level}");
                close(&what, &pooled[tokens.start * h..tokens.end * h], &theirs, |_| 1e-4);
            }
            for (layer, rows) in act.pooled_rows.iter().enumerate() {
                // Ours is [token][head][column], theirs [head][token][column].
                let theirs = expected.values(&format!("note{note}.attention.{layer}"));
                let length = tokens.len();
                for (token, span) in tokens.clone().enumerate() {
                    for head in 0..heads {
                        let ours = &rows[offsets[span] + head * length..offsets[span] + (head + 1) * length];
                        let at = (head * length + token) * length;
                        close(&format!("{name}, attention {layer}"), ours, &theirs[at..at + length], |_| 1e-4);
                    }
                }
            }
            let theirs = expected.values(&format!("note{note}.logits"));
            let ours = &head.logits[note * 3..(note + 1) * 3];
            close(&format!("{name}, note {note}, logits"), ours, &theirs, |logit| 1e-5 * logit.abs().max(1.0));
        }
    }
}

#[test]
fn masked_language_model_logits_of_every_family() {
    for name in FAMILIES {
        let folder = fixture(name).join("mlm");
        let expected = Expected::read(&folder.join("expected.safetensors"));
        let (model, report) = Model::open(&folder, &Heads { mlm: true, ..Heads::default() }, 1).unwrap();
        assert!(report.fresh.is_empty() && report.surplus.is_empty(), "{name}: {report:?}");
        let (batch, _) = packed(&expected);
        let (mut act, mut head) = (Activations::default(), MlmActivations::default());
        model.forward(&batch, &ForwardOptions::default(), &mut act);
        model.predict_masked(&(0..batch.tokens()).collect::<Vec<_>>(), &act, &mut head);
        let theirs: Vec<f32> = (0..NOTES).flat_map(|note| expected.values(&format!("note{note}.logits"))).collect();
        close(name, &head.logits, &theirs, |logit| 2e-5 * logit.abs().max(1.0));
    }
}

#[test]
fn gradients_of_a_padded_batch_are_those_of_the_packed_one() {
    let model = open("bert");
    let expected = Expected::read(&fixture("bert/expected.safetensors"));
    let gradients_expected = Expected::read(&fixture("bert/gradients.safetensors"));
    let (batch, _) = packed(&expected);
    let options = ForwardOptions { for_backward: true, ..ForwardOptions::default() };
    let (mut act, mut head) = (Activations::default(), ClassifierActivations::default());
    let mut gradients = vec![0f32; model.values.len()];
    model.forward(&batch, &options, &mut act);
    model.classify(&batch, &[0, 1, 2], None, &act, &mut head);
    let loss = cross_entropy(&mut head.logits, &[0, 1, 2], 3, &[]);
    close("loss", &[loss as f32], &gradients_expected.values("loss"), |loss| 1e-5 * loss);
    model.clear_gradient(&batch, &mut act);
    model.classify_backward(&batch, &[0, 1, 2], None, &mut act, &mut head, &mut gradients);
    model.backward(&batch, &options, &PooledGradients::default(), &mut act, &mut gradients);
    for spec in model.layout().tensors() {
        let theirs = gradients_expected.values(&spec.name);
        let norm = theirs.iter().map(|g| g * g).sum::<f32>().sqrt();
        close(&spec.name, &gradients[spec.range.clone()], &theirs, |_| 1e-4 * norm + 1e-7);
    }
}

#[test]
fn shards_and_half_precision_hold_the_same_weights() {
    let bert = open("bert");
    assert!(open("bert-sharded").values == bert.values);
    for (name, relative) in [("bert-f16", 1e-3), ("bert-bf16", 8e-3)] {
        let model = open(name);
        close(name, &model.values, &bert.values, |value| relative * value.abs() + 1e-6);
        assert!(model.values != bert.values);
    }
}

#[test]
fn a_folder_without_a_pooler_gets_a_fresh_one_and_says_so() {
    let heads = Heads { classes: vec!["a".into(), "b".into()], ..Heads::default() };
    let (_, report) = Model::open(&fixture("bert-nopooler"), &heads, 1).unwrap();
    let fresh = ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"];
    assert_eq!(report.fresh, fresh);
}

/// A copy of the bert fixture in which one thing was changed.
fn broken(change: impl FnOnce(&Path)) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(fixture("bert").join(name), folder.path().join(name)).unwrap();
    }
    change(folder.path());
    let error = match Model::open(folder.path(), &Heads::default(), 1) {
        Ok(_) => panic!("a broken folder was opened"),
        Err(error) => error.to_string(),
    };
    (folder, error)
}

fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from));
    std::fs::write(path, text.replace(from, to)).unwrap();
}

#[test]
fn broken_folders_are_named_and_never_a_panic() {
    let weights = |folder: &Path| folder.join("model.safetensors");
    let cut = |folder: &Path, keep: fn(&[u8]) -> Vec<u8>| {
        let bytes = std::fs::read(weights(folder)).unwrap();
        std::fs::write(weights(folder), keep(&bytes)).unwrap();
    };
    let check = |word: &str, change: &dyn Fn(&Path)| {
        let (_, error) = broken(change);
        assert!(error.contains(word), "{error}");
    };
    check("layer.2", &|f| edit(f, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3"));
    check("shape", &|f| edit(f, "\"intermediate_size\": 48", "\"intermediate_size\": 50"));
    check("num_hidden_layers", &|f| edit(f, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1000000000000"));
    check("hidden_size", &|f| edit(f, "\"hidden_size\": 32", "\"hidden_size\": -1"));
    check("num_attention_heads", &|f| edit(f, "\"num_attention_heads\": 4", "\"num_attention_heads\": 5"));
    check("layer_norm_eps", &|f| edit(f, "\"layer_norm_eps\": 1e-12", "\"layer_norm_eps\": -1.0"));
    check("parameters", &|f| {
        edit(
            f,
            "\"vocab_size\": ",
            "\"hidden_size\": 65536, \"intermediate_size\": 262144, \"num_hidden_layers\": 1024, \"vocab_size\": ",
        )
    });
    check("model_type", &|f| edit(f, "\"model_type\": \"bert\"", "\"model_type\": \"gpt2\""));
    check("JSON", &|f| std::fs::write(f.join("config.json"), "{").unwrap());
    check("safetensors", &|f| cut(f, |bytes| bytes[..bytes.len() - 100].to_vec()));
    check("safetensors", &|f| cut(f, |_| vec![]));
    check("safetensors", &|f| cut(f, |bytes| [&[0xff; 8], &bytes[8..]].concat()));
    check("safetensors", &|f| cut(f, |bytes| bytes.iter().map(|byte| byte ^ 0x55).collect()));
    check("same folder", &|f| {
        std::fs::remove_file(weights(f)).unwrap();
        let index = "{\"weight_map\": {\"a\": \"../model.safetensors\"}}";
        std::fs::write(f.join("model.safetensors.index.json"), index).unwrap();
    });
    check("safe_serialization", &|f| {
        std::fs::rename(weights(f), f.join("pytorch_model.bin")).unwrap();
    });
    check("config.json", &|f| std::fs::remove_file(f.join("config.json")).unwrap());
}

#[test]
fn a_classifier_of_another_form_begins_anew() {
    let model = open("bert");
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path(), WeightFormat::F32).unwrap();
    let heads = |form| Heads { classes: model.classes.clone(), form, ..Heads::default() };
    let (mean, report) = Model::open(folder.path(), &heads(HeadForm::Mean), 1).unwrap();
    assert_eq!(report.fresh, ["classifier.weight", "classifier.bias"]);
    mean.save(folder.path(), WeightFormat::F32).unwrap();
    assert!(Model::open(folder.path(), &heads(HeadForm::Mean), 1).unwrap().1.fresh.is_empty());
    let (_, report) = Model::open(folder.path(), &heads(HeadForm::Family), 1).unwrap();
    assert!(report.fresh.iter().any(|name| name == "classifier.weight"), "{report:?}");
}

/// A model's logits of a fixture's notes, `[NOTES, classes]`.
fn logits_of(model: &Model, expected: &Expected) -> Vec<f32> {
    let (batch, _) = packed(expected);
    let (mut act, mut head) = (Activations::default(), ClassifierActivations::default());
    model.forward(&batch, &ForwardOptions::default(), &mut act);
    model.classify(&batch, &[0, 1, 2], None, &act, &mut head);
    head.logits
}

#[test]
fn what_is_written_opens_again_here_and_in_transformers() {
    let forms = [HeadForm::Family, HeadForm::Reference, HeadForm::Mean];
    for (name, form) in FAMILIES.iter().flat_map(|name| forms.map(|form| (name, form))) {
        let (classes, path) = (heads_of(&fixture(name)).unwrap().classes, fixture(name));
        let (model, _) = Model::open(&path, &Heads { classes, form, ..Heads::default() }, 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), WeightFormat::F32).unwrap();
        let (again, report) = Model::open(folder.path(), &heads_of(folder.path()).unwrap(), 1).unwrap();
        assert!(again.values == model.values && report == Default::default(), "{name}: {report:?}");
        assert_eq!(again.classes, model.classes);
        assert_eq!(folder.path().join("modeling_dsgkd.py").exists(), form != HeadForm::Family);

        let Some(python) = std::env::var_os("DSGKD_PYTHON") else {
            println!("skipped: set DSGKD_PYTHON to a Python with transformers to open {name} there");
            continue;
        };
        let expected = Expected::read(&fixture(name).join("expected.safetensors"));
        let logits = logits_of(&model, &expected);
        let notes: Vec<serde_json::Value> = (0..NOTES)
            .map(|note| serde_json::json!({"input_ids": expected.ids(note), "logits": logits[note * 3..note * 3 + 3]}))
            .collect();
        let logits = folder.path().join("logits.json");
        std::fs::write(&logits, serde_json::to_string(&notes).unwrap()).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/open_in_transformers.py");
        let run =
            std::process::Command::new(python).arg(script).arg(folder.path()).arg("--logits").arg(logits).output();
        let output = run.unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
