//! `dsgkd select`, whole.
#![allow(clippy::unwrap_used)]

mod common;

use common::dsgkd;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// English complaints and Korean reviews, of which no two are the same.
fn made(folder: &Path) {
    let english = ["chest pain", "abdominal pain", "shortness of breath", "fever and cough", "acute headache"];
    let korean =
        ["영화가 정말 재미있어요", "배우 연기가 좋았다", "지루한 이야기", "감동적인 결말", "다시 보고 싶은 작품"];
    let (mut complaints, mut mixed) = (String::new(), String::from("where,text\n"));
    for number in 0..60 {
        let (first, second) = (number % 5, number / 5 % 5);
        let complaint = format!("patient with {} and {} for {number} days", english[first], english[second]);
        mixed += &format!("ward,{complaint}\ncinema,{} {} {number}\n", korean[first], korean[second]);
        complaints += &format!("the patient has {} since {number} hours\n", english[first]);
    }
    std::fs::write(folder.join("mixed.csv"), mixed).unwrap();
    std::fs::write(folder.join("examples.txt"), complaints.lines().take(5).collect::<Vec<_>>().join("\n")).unwrap();
}

fn file(folder: &Path, take: &str, more: &str) -> PathBuf {
    let model = repository().join("demo/teacher");
    let path = folder.join("select.toml");
    let text = format!(
        "model = {model:?}\noutput = \"out.jsonl\"\ntake = {take}\ncomponents = 10\n{more}\n[[corpus]]\nfiles = [\"mixed.csv\"]\n\
         columns = [\"text\"]\ndomain = \"where\"\n[examples]\nfiles = [\"examples.txt\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn documents_of_the_examples_domain_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let run = |take: &str, more: &str| {
        let output = dsgkd().arg("select").arg(file(folder.path(), take, more)).arg("--json").assert().success();
        let summary: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
        (summary, std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap())
    };
    let (summary, rows) = run("40", "");
    assert_eq!((summary["documents"].as_u64(), summary["clusters"].as_array().unwrap().len()), (Some(120), 2));
    assert!(summary["purity"].as_f64().unwrap() > 0.95, "{summary}");
    assert_eq!(summary["examples"]["taken_domains"], serde_json::json!({"ward": 40}));
    let rows: Vec<Value> = rows.lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    assert!(rows.len() == 40 && rows.iter().all(|row| row["text"].as_str().unwrap().starts_with("patient with ")));
    let source = std::fs::read_to_string(folder.path().join("mixed.csv")).unwrap();
    let source: Vec<&str> = source.lines().collect();
    for row in &rows {
        let line: usize = row["line"].as_str().unwrap().parse().unwrap();
        assert_eq!(source[line - 1], format!("ward,{}", row["text"].as_str().unwrap()));
        assert!(row["corpus"] == "ward" && row["file"] == "mixed.csv");
    }
    assert!(rows.iter().all(|row| row["similarity"].as_f64() >= summary["examples"]["least_similarity"].as_f64()));

    // The same seed gives the same bytes, on another number of threads too.
    let (first, again) = (run("\"cluster\"", ""), run("\"cluster\"", "threads = 1"));
    assert_eq!(first, again);
    let members = first.0["clusters"].as_array().unwrap().iter().find(|cluster| cluster["domain"] == "ward").unwrap();
    assert_eq!(first.0["examples"]["taken"], members["documents"]);
    assert_eq!(run("0.25", "").0["examples"]["taken"], 30);
}

#[test]
fn examples_that_stand_in_the_corpus_are_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    // Three of its documents, one of them spaced in another way.
    let mixed = std::fs::read_to_string(folder.path().join("mixed.csv")).unwrap();
    let documents: Vec<&str> = mixed.lines().filter_map(|line| line.strip_prefix("ward,")).take(3).collect();
    let examples = documents.join("\n").replacen(' ', "  ", 1);
    std::fs::write(folder.path().join("examples.txt"), examples).unwrap();
    let run = |take: &str, json: &[&str]| {
        let output = dsgkd().arg("select").arg(file(folder.path(), take, "")).args(json).assert().success();
        let said = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        let rows = std::fs::read_to_string(folder.path().join("out.jsonl")).unwrap();
        assert!(!documents.iter().any(|document| rows.contains(&format!("\"{document}\""))), "{rows}");
        (said, rows.lines().count())
    };
    let (said, rows) = run("40", &[]);
    assert!(said.contains("40 documents taken (ward 40)"), "{said}");
    assert!(said.ends_with("; 3 documents are examples themselves and left out\n") && rows == 40, "{said}");
    assert_eq!(run("0.25", &[]).1, 30);
    let summary: Value = serde_json::from_str(&run("\"cluster\"", &["--json"]).0).unwrap();
    assert_eq!((&summary["examples"]["left_out"], &summary["examples"]["taken"]), (&3.into(), &57.into()));
    // More than there are without them.
    assert_eq!(run("1000", &[]).1, 117);
}

#[test]
fn neither_table_nor_talk_nor_errors_hold_text() {
    let folder = tempfile::tempdir().unwrap();
    made(folder.path());
    let path = file(folder.path(), "5", "");
    let output = dsgkd().arg("select").arg(&path).assert().success().get_output().clone();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("purity") && said.contains("5 documents taken (ward 5)"), "{said}");
    // A column of text taken for a domain, an output that is an input, a file of no known format.
    let config = std::fs::read_to_string(&path).unwrap();
    for (wrong, expected) in [
        (config.replace("domain = \"where\"", "domain = \"text\""), "more than 100 values"),
        (config.replace("\"out.jsonl\"", "\"mixed.csv\""), "is read"),
        (config.replace("\"out.jsonl\"", "\"out.docx\""), ".jsonl"),
        (config.replace("components", "component"), "component"),
        (config.replace("take = 5", "take = 5\nclusters = 100"), "too few"),
    ] {
        std::fs::write(&path, wrong).unwrap();
        let error = dsgkd().arg("select").arg(&path).assert().failure().get_output().stderr.clone();
        let error = String::from_utf8(error).unwrap();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("pain") && !said.contains("pain"), "{error}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().count() == 4, "nothing is left beside the files");
}

#[test]
fn real_domains_are_told_apart() {
    let shared = repository().join("../shared");
    let model = shared.join("models/multilingual-e5-small");
    if !model.exists() {
        eprintln!("skipped: there is no ../shared with a real encoder");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let corpora = [
        ("clinical", "mtsamples/mtsamples.jsonl.gz", "columns = [\"description\"]"),
        ("questions", "medquad/medquad_answered.jsonl.gz", "columns = [\"question\"]"),
        ("biomedical", "biomed_text/mtl_bio_sentences.txt.gz", ""),
        ("reviews", "nsmc/reviews.tsv.gz", "columns = [\"review\"]"),
    ];
    let corpora = corpora.map(|(name, file, columns)| {
        let file = shared.join("data").join(file);
        format!("[[corpus]]\nname = \"{name}\"\nfiles = [{file:?}]\n{columns}\nmax_documents = 40\n")
    });
    let path = folder.path().join("select.toml");
    std::fs::write(&path, format!("model = {model:?}\nmax_length = 24\ncomponents = 10\n{}", corpora.concat()))
        .unwrap();
    let output = dsgkd().arg("select").arg(&path).args(["--json", "--quiet"]).assert().success().get_output().clone();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(summary["purity"].as_f64().unwrap() >= 0.85, "{summary}");
}
