//! `dsgkd align`

use super::experiment;
use crate::args::{AlignArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use dsgkd::config::Config;
use dsgkd::data::normalise;
use dsgkd::error::{Error, Result};
use dsgkd::text::{Aligner, SpanPair, Tokenizer};
use serde_json::json;
use std::fmt::Write;
use unicode_width::UnicodeWidthStr;

pub(crate) fn run(args: &AlignArgs, global: &Global) -> CommandResult {
    let config = experiment(&args.experiment, global)?;
    let tokenizers = Tokenizer::open_all(&config)?;
    let aligner = Aligner::new(&config, &Vec::from_iter(&tokenizers), None)?;
    let texts = texts(args, &config)?;
    if global.json {
        let notes = texts.iter().map(|text| as_json(text, &aligner, &tokenizers));
        print_json(&notes.collect::<Result<Vec<_>>>()?)?;
        return Ok(Outcome::Done);
    }
    for text in texts {
        print(&show(&text, &aligner, &tokenizers)?)?;
    }
    Ok(Outcome::Done)
}

fn texts(args: &AlignArgs, config: &Config) -> Result<Vec<String>> {
    if let Some(text) = &args.text {
        return Ok(vec![normalise(text, config.data.normalization)]);
    }
    let notes = dsgkd::data::read_notes(&config.data)?;
    if notes.notes.is_empty() {
        return Err(Error::Data("the files hold no notes".to_string()));
    }
    Ok(notes.notes.into_iter().take(args.notes).map(|note| note.text).collect())
}

fn tokens(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| tokenizer.token(*id).unwrap_or_else(|| format!("#{id}"))).collect()
}

fn terms<'t>(text: &'t str, aligner: &Aligner) -> Vec<&'t str> {
    aligner.selector.terms(text).into_iter().map(|term| term.of(text)).collect()
}

/// The note, its tokens in each model, and for each teacher the terms and words that both have, as ranges of these tokens.
fn as_json(text: &str, aligner: &Aligner, tokenizers: &[Tokenizer]) -> Result<serde_json::Value> {
    let aligned = aligner.align(text)?;
    let ranges = |pairs: &[SpanPair]| -> Vec<serde_json::Value> {
        pairs.iter().map(|pair| json!({ "student": pair.student, "teacher": pair.teacher })).collect()
    };
    let teachers = aligned.views.iter().zip(&tokenizers[1..]).map(|(view, tokenizer)| {
        json!({
            "tokens": tokens(tokenizer, &view.input_ids),
            "terms": ranges(&view.terms),
            "words": ranges(&view.words),
            "dropped": view.dropped,
        })
    });
    Ok(json!({
        "text": text,
        "terms": terms(text, aligner),
        "student": { "tokens": tokens(&tokenizers[0], &aligned.input_ids) },
        "teachers": teachers.collect::<Vec<_>>(),
    }))
}

/// The note, then a line a term: the term, and its tokens in the student and in each teacher.
fn show(text: &str, aligner: &Aligner, tokenizers: &[Tokenizer]) -> Result<String> {
    let aligned = aligner.align(text)?;
    let spelled = |tokenizer: &Tokenizer, ids: &[u32], (start, end): (u32, u32)| -> String {
        format!("{} [{start}, {end})", tokens(tokenizer, &ids[start as usize..end as usize]).join(" "))
    };
    let mut out = format!("note      {}\n", text.replace('\n', " "));
    // Writing to a String cannot fail.
    let _ = writeln!(out, "student   {}", tokens(&tokenizers[0], &aligned.input_ids).join(" "));
    for (view, tokenizer) in aligned.views.iter().zip(&tokenizers[1..]) {
        let _ = writeln!(out, "teacher   {}", tokens(tokenizer, &view.input_ids).join(" "));
        let rows: Vec<(&str, [String; 2])> = [("term", &view.terms), ("word", &view.words)]
            .into_iter()
            .flat_map(|(kind, pairs)| pairs.iter().map(move |pair| (kind, pair)))
            .map(|(kind, pair)| {
                let student = spelled(&tokenizers[0], &aligned.input_ids, pair.student);
                (kind, [student, spelled(tokenizer, &view.input_ids, pair.teacher)])
            })
            .collect();
        let width = rows.iter().map(|(_, [student, _])| student.width()).max().unwrap_or(0);
        for (kind, [student, teacher]) in rows {
            let pad = " ".repeat(width - student.width());
            let _ = writeln!(out, "{kind}      {student}{pad}  =  {teacher}");
        }
        let dropped = view.dropped;
        let _ = writeln!(out, "{} terms, {} kept; dropped: {}", aligned.terms, view.terms.len(), dropped);
    }
    if aligned.views.is_empty() {
        let _ = writeln!(out, "terms     {}", terms(text, aligner).join(" | "));
    }
    out.push('\n');
    Ok(out)
}
