//! `dsgkd pretrain`: from scratch, and an encoder adapted to a domain by selective masking and words added to the vocabulary.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, bytes, dsgkd, ran};
use safetensors::SafeTensors;
use serde_json::Value;
use std::path::Path;

/// Notes and general text of the same small words; `gastroscopy` and `dysuria` stand in the notes alone.
fn write_text(world: &World) {
    let (mut notes, mut general) = (String::new(), String::new());
    for number in 0..120 {
        let rare = if number % 3 == 0 { "gastroscopy gastroscopy dysuria" } else { "cough" };
        let pain = if number % 6 == 5 { "" } else { "chest pain" };
        notes += &format!("{number} 세 환자 {pain} {rare} 있어 내원\n");
        general += &format!("{number} 세 환자 있어 내원 가 sore throat cough\n");
    }
    std::fs::write(world.path("notes.txt"), notes).unwrap();
    std::fs::write(world.path("general.txt"), general).unwrap();
}

fn write_file(world: &World, output: &str, sections: &str) {
    let text = format!(
        "output_dir = \"{output}\"\nmodel = \"student-run/model\"\n[[corpus]]\nfiles = [\"notes.txt\"]\n{sections}\n"
    );
    std::fs::write(world.path("adapt.toml"), text).unwrap();
}

fn pretrain(world: &World, more: &[&str]) -> assert_cmd::assert::Assert {
    dsgkd().arg("pretrain").arg(world.path("adapt.toml")).args(more).arg("--quiet").assert()
}

const SELECTIVE: &str = "[train]\nmasking = \"selective\"\nmax_steps = 12\nbatch_tokens = 200\nheld_out_every = 20\nsave_steps = 1\n\
                         [[selective.general]]\nfiles = [\"general.txt\"]";

#[test]
fn words_of_the_domain_are_shown_and_hidden() {
    let world = World::new();
    write_text(&world);
    write_file(&world, "selective", SELECTIVE);
    let shown = pretrain(&world, &["--preview", "--words", "4", "--json"]).success().get_output().stdout.clone();
    let shown: Vec<Value> = serde_json::from_slice(&shown).unwrap();
    let words: Vec<&str> = shown.iter().map(|word| word["word"].as_str().unwrap()).collect();
    assert!(words.len() == 4 && words.contains(&"gastroscopy") && words.contains(&"chest"), "{words:?}");
    assert!(shown.iter().all(|word| word["documents"].as_u64() >= Some(5)));
    assert!(!world.path("selective").exists(), "a preview writes nothing");

    // The same seed hides the same, and so does a training that goes on from a checkpoint.
    let weights = |output: &str| bytes(&world.path(output).join("model/model.safetensors"));
    pretrain(&world, &[]).success();
    write_file(&world, "again", SELECTIVE);
    let binary = assert_cmd::cargo::cargo_bin("dsgkd");
    let mut child = std::process::Command::new(binary);
    child.arg("pretrain").arg(world.path("adapt.toml")).arg("--quiet").env("RAYON_NUM_THREADS", "2");
    let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
    while !world.path("again/checkpoint.safetensors").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    pretrain(&world, &["--resume"]).success();
    assert!(weights("selective") == weights("again"));
    write_file(
        &world,
        "plain",
        &SELECTIVE.replace("selective\"", "whole-word\"").replace("[[selective", "#").replace("files", "#"),
    );
    pretrain(&world, &[]).success();
    assert!(weights("selective") != weights("plain"));
    // Words of the corpus are in no file but the model's own.
    let history = std::fs::read_to_string(world.path("selective/history.jsonl")).unwrap();
    assert!(!history.contains("gastroscopy"));
}

/// The ids of a text, by the tokenizer in a folder.
fn ids(folder: &Path, text: &str) -> Vec<u32> {
    dsgkd::text::Tokenizer::open(folder).unwrap().content_ids(text).unwrap()
}

#[test]
fn added_words_are_tokens_that_begin_as_the_mean_of_their_pieces() {
    let world = World::new();
    write_text(&world);
    let (old, new) = (world.path("student-run/model"), world.path("extended/model"));
    // A learning rate of 0 leaves the first values to be seen.
    write_file(
        &world,
        "extended",
        "[vocabulary]\nadd = 2\n[train]\nlearning_rate = 0.0\nmax_steps = 1\nheld_out_every = 20",
    );
    pretrain(&world, &[]).success();
    let first = std::fs::read_to_string(old.join("vocab.txt")).unwrap().lines().count();
    let vocabulary = std::fs::read_to_string(new.join("vocab.txt")).unwrap();
    assert_eq!(vocabulary.lines().skip(first).collect::<Vec<_>>(), ["gastroscopy", "dysuria"]);
    let json = |path: &Path| serde_json::from_slice::<Value>(&bytes(path)).unwrap();
    assert_eq!(json(&new.join("config.json"))["vocab_size"], first + 2);
    assert_eq!(json(&new.join("tokenizer.json"))["model"]["vocab"]["gastroscopy"], first);
    assert_eq!(ids(&new, "gastroscopy"), [first as u32]);
    let other = "환자 chest pain cough 3 gas dysur astroscopy";
    assert_eq!(ids(&new, other), ids(&old, other));

    let (old_bytes, new_bytes) = (bytes(&old.join("model.safetensors")), bytes(&new.join("model.safetensors")));
    let (before, after) =
        (SafeTensors::deserialize(&old_bytes).unwrap(), SafeTensors::deserialize(&new_bytes).unwrap());
    for name in ["bert.embeddings.word_embeddings.weight", "cls.predictions.bias"] {
        let rows = |tensors: &SafeTensors| -> Vec<f32> {
            let view = tensors.tensor(name).unwrap();
            view.data().chunks_exact(2).map(|two| half::f16::from_le_bytes([two[0], two[1]]).to_f32()).collect()
        };
        let (before, after) = (rows(&before), rows(&after));
        let width = before.len() / first;
        assert_eq!(after.len(), (first + 2) * width, "{name}");
        assert_eq!(after[..before.len()], before, "{name}");
        for (place, word) in ["gastroscopy", "dysuria"].into_iter().enumerate() {
            let pieces = ids(&old, word);
            for column in 0..width {
                let sum: f32 = pieces.iter().map(|piece| before[*piece as usize * width + column]).sum();
                let mean = half::f16::from_f32(sum / pieces.len() as f32).to_f32();
                assert_eq!(after[(first + place) * width + column], mean, "{name} of {word}");
            }
        }
    }

    // A list of words; and what cannot be extended.
    std::fs::write(world.path("words.txt"), "Dysuria\n\nchest\n").unwrap();
    let listed = "[vocabulary]\nwords = \"words.txt\"\n[train]\nmax_steps = 1\nheld_out_every = 20";
    write_file(&world, "listed", listed);
    pretrain(&world, &[]).success();
    let vocabulary = std::fs::read_to_string(world.path("listed/model/vocab.txt")).unwrap();
    assert_eq!(vocabulary.lines().skip(first).collect::<Vec<_>>(), ["dysuria"]);
    write_file(&world, "refused", listed);
    std::fs::write(world.path("words.txt"), "chest pain\n").unwrap();
    let said = |assert: assert_cmd::assert::Assert| String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    let error = said(pretrain(&world, &[]).code(2));
    assert!(error.contains("words.txt, line 1") && !error.contains("chest"), "{error}");
    let path = old.join("tokenizer.json");
    let mut unigram = json(&path);
    unigram["model"] = serde_json::json!({"type": "Unigram", "unk_id": 0, "vocab": [["[UNK]", 0.0], ["a", -1.0]]});
    std::fs::write(&path, unigram.to_string()).unwrap();
    let error = said(pretrain(&world, &[]).code(3));
    assert!(error.contains("Unigram") && error.contains("WordPiece"), "{error}");
}

#[test]
fn a_pretraining_learns_and_says_what_it_could_not_read_or_spell() {
    let folder = tempfile::tempdir().unwrap();
    let mut table = String::from("complaint,course\n");
    for number in 0..60 {
        table += &format!("chest pain {number},pain again at {number} hours\n");
        table += "chest pain and cough,\n";
    }
    table += "torn,of,secret\n가 hapax,\n";
    std::fs::write(folder.path().join("notes.csv"), table).unwrap();
    let text = "output_dir = \"scratch\"\n[[corpus]]\nfiles = [\"notes.csv\"]\ncolumns = [\"complaint\", \"course\"]\n[vocabulary]\nsize = SIZE\n\
                [architecture]\nhidden_size = 16\nnum_hidden_layers = 1\nnum_attention_heads = 2\nintermediate_size = 32\n\
                max_position_embeddings = 32\n[train]\nmax_steps = 60\nbatch_tokens = 400\nnum_train_epochs = 60\nlearning_rate = 0.01\n\
                held_out_every = 10\n";
    // No room for 가 and x, which stand once.
    let size = 5 + 2 * "0123456789acdeghinoprstu".len();
    std::fs::write(folder.path().join("scratch.toml"), text.replace("SIZE", &size.to_string())).unwrap();
    let mut command = dsgkd();
    let (done, said) = ran(command.arg("pretrain").arg(folder.path().join("scratch.toml")).arg("--json"), 0);

    let done: Value = serde_json::from_str(&done).unwrap();
    let number = |name: &str| done.pointer(name).unwrap().as_f64().unwrap();
    assert!(number("/held_out/loss") < 0.8 * number("/held_out_before/loss"), "{done}");
    let counts = ["/documents", "/repeated_documents", "/bad_rows"].map(number);
    assert_eq!(counts, [181.0, 59.0, 1.0]);
    let held_out = number("/held_out_documents");
    assert!((12.0..25.0).contains(&held_out), "{held_out}");

    let place = format!("{}, line 122", folder.path().join("notes.csv").display());
    let skipped = format!("pretrain: skipped 1 bad rows: 1 with a wrong number of cells ({place})\n");
    assert!(said.contains(&skipped), "{said}");
    assert!(said.contains(&format!("pretrain: 181 documents (59 repeat a text), {held_out} held out")), "{said}");
    assert!(said.contains(&format!("vocabulary.size = {size} has room for 24 letters, ")), "{said}");
    assert!(!said.contains("secret") && !said.contains("hapax"), "{said}");
    let model = folder.path().join("scratch/model");
    assert_eq!(std::fs::read_to_string(model.join("vocab.txt")).unwrap().lines().count(), size);
    let card = std::fs::read_to_string(model.join("README.md")).unwrap();
    let line = format!(
        "- documents: 181, 59 of them with the text of an earlier one; {held_out} different texts held out; 1 rows could not be read\n"
    );
    assert!(card.contains(&line), "{card}");
    // Trained, it is surer than a model that knows nothing.
    let pseudo = number("/pseudo_perplexity/value");
    assert!(pseudo > 1.0 && pseudo < number("/held_out_before/loss").exp(), "{done}");
    assert_eq!(number("/pseudo_perplexity/texts"), held_out);
    assert!(card.contains(&format!("- pseudo-perplexity {pseudo:.2}: {held_out} held-out texts")), "{card}");
}

#[test]
fn a_pretraining_takes_no_other_s_folder_and_goes_on_only_as_it_was_begun() {
    let world = World::new();
    write_text(&world);
    write_file(&world, "begun", SELECTIVE);
    let refused = |more: &[&str], code: i32| {
        String::from_utf8(pretrain(&world, more).code(code).get_output().stderr.clone()).unwrap()
    };
    assert!(refused(&["--resume"], 2).contains("begun: holds no run to resume"));
    pretrain(&world, &[]).success();
    let weights = || bytes(&world.path("begun/model/model.safetensors"));
    let made = weights();
    assert!(refused(&[], 2).contains("begun: holds a run already; resume it with --resume"));
    let other = ["--resume", "--set", "train.learning_rate=0.5", "--set", "seed=9"];
    assert!(refused(&other, 2).contains("begun: was begun with another `seed`, `train.learning_rate`; "));
    pretrain(&world, &["--resume", "--set", "threads=1"]).success();
    std::fs::write(world.path("other.txt"), "다른 글\n").unwrap();
    write_file(&world, "begun", &SELECTIVE.replace("general.txt", "other.txt"));
    assert!(refused(&["--resume"], 2).contains("begun with another `selective.general`; "));
    write_file(&world, "begun", SELECTIVE);
    let notes = std::fs::read_to_string(world.path("notes.txt")).unwrap();
    std::fs::write(world.path("notes.txt"), notes + "한 줄 더\n").unwrap();
    assert!(refused(&["--resume"], 3).contains("notes.txt: changed since the training in "));
    // Nor is a trained run's folder, or one with anything else in it, written over.
    let experiment = world.experiment("run", false, "");
    dsgkd().arg("train").arg(&experiment).arg("--quiet").assert().success();
    let run = world.path("run").display().to_string();
    assert!(refused(&["--set", &format!("output_dir={run}")], 2).contains("run: holds a run already"));
    let baseline = world.experiment("floor", false, "");
    dsgkd().arg("train").arg(&baseline).args(["--quiet", "--set", "baseline=tf-idf"]).assert().success();
    let floor = world.path("floor").display().to_string();
    assert!(refused(&["--set", &format!("output_dir={floor}")], 2).contains("floor: holds a run already"));
    assert!(refused(&["--resume", "--set", &format!("output_dir={floor}")], 2).contains("is of no pretraining"));
    std::fs::create_dir(world.path("thesis")).unwrap();
    std::fs::write(world.path("thesis/config.toml"), "mine = 1").unwrap();
    let thesis = world.path("thesis").display().to_string();
    assert!(refused(&["--set", &format!("output_dir={thesis}")], 2).contains("thesis: holds a run already"));
    std::fs::remove_file(world.path("thesis/config.toml")).unwrap();
    std::fs::write(world.path("thesis/chapter.txt"), "1").unwrap();
    assert!(refused(&["--set", &format!("output_dir={thesis}")], 2).contains("thesis: is not empty"));
    assert!(weights() == made);
}

#[test]
fn whole_words_can_be_hidden_in_pretraining() {
    let world = World::new();
    let pretrain = |name: &str, whole_words: bool| {
        let config = format!(
            "output_dir = \"{name}\"\nmodel = \"student-run/model\"\n[[corpus]]\nfiles = [\"text.txt\"]\n\
             [train]\nmax_steps = 3\nheld_out_every = 20\nwhole_word_masking = {whole_words}\n"
        );
        std::fs::write(world.path("words.toml"), config).unwrap();
        dsgkd().arg("pretrain").arg(world.path("words.toml")).arg("--quiet").assert().success();
        let history = std::fs::read_to_string(world.path(name).join("history.jsonl")).unwrap();
        let last: Value = serde_json::from_str(history.lines().last().unwrap()).unwrap();
        (last["loss"].as_f64().unwrap(), last["held_out"]["loss"].as_f64().unwrap())
    };
    let (tokens, words) = (pretrain("tokens", false), pretrain("words", true));
    assert_ne!(tokens.0, words.0);
    // Measured behind the same masks; three tiny steps change little.
    assert!((tokens.1 - words.1).abs() < 0.1, "{tokens:?} {words:?}");
}

#[test]
fn pretraining_files_take_overrides_and_name_wrong_keys() {
    let world = World::new();
    let file = world.path("override.toml");
    let text =
        "output_dir = \"over\"\n[[corpus]]\nfiles = [\"text.txt\"]\n[vocabulary]\nmin_frequency = 1\nsiz = 120\n";
    std::fs::write(&file, text).unwrap();
    let refused = ran(dsgkd().arg("pretrain").arg(&file), 2).1;
    assert!(
        refused.contains("override.toml:6: unknown key `vocabulary.siz`; did you mean `vocabulary.size`?"),
        "{refused}"
    );
    std::fs::write(&file, text.replace("siz =", "size =")).unwrap();
    let refused = ran(dsgkd().arg("pretrain").arg(&file).args(["--set", "train.maxsteps=2"]), 2).1;
    assert!(refused.contains("--set: unknown key `train.maxsteps`; did you mean `train.max_steps`?"), "{refused}");
    let settings =
        ["train.max_steps=2", "train.batch_tokens=400", "train.held_out_every=20", "architecture.hidden_size=8"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let done = ran(dsgkd().arg("pretrain").arg(&file).args(settings).args(["--quiet", "--json"]), 0).0;
    assert_eq!(serde_json::from_str::<Value>(&done).unwrap()["steps"], 2);
    let model: Value = serde_json::from_slice(&bytes(&world.path("over/model/config.json"))).unwrap();
    assert_eq!((&model["hidden_size"], &model["vocab_size"]), (&8.into(), &120.into()));
}
