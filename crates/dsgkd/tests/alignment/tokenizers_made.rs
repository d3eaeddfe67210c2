//! Small tokenizers of each kind that real models have, made here.

use dsgkd::text::Tokenizer;
use serde_json::{Value, json};
use std::fs;

use tempfile::TempDir;

/// Pieces that BERT-like tokenizers of the tests know, beside single characters.
const PIECES: [&str; 20] = [
    "fever", "pain", "abd", "vomit", "##ing", "diarrhea", "bt", "BT", "follow", "up", "cafe", "café", "naive", "crohn",
    "##s", "환자", "주소", "##로", "복", "##통",
];

/// Characters that every tokenizer of the tests knows alone.
fn characters() -> Vec<char> {
    let mut characters: Vec<char> = ('!'..='~').collect();
    characters.extend("가나다라마바사아자차카타파하환자주소로복통열é飲コヒムー".chars());
    // Jamo, for tokenizers that take syllables apart.
    characters.extend(('\u{1100}'..='\u{1112}').chain('\u{1161}'..='\u{1175}').chain('\u{11a8}'..='\u{11c2}'));
    characters
}

/// Lines of a `vocab.txt`.
pub(crate) fn vocabulary_lines() -> Vec<String> {
    let mut lines: Vec<String> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from).into();
    for c in characters() {
        lines.extend([c.to_string(), format!("##{c}")]);
    }
    lines.extend(PIECES.map(String::from));
    lines
}

pub(crate) fn open_files(files: &[(&str, String)]) -> dsgkd::error::Result<(TempDir, Tokenizer)> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    Tokenizer::open(folder.path()).map(|tokenizer| (folder, tokenizer))
}

fn open_json(json: &Value) -> Tokenizer {
    open_files(&[("tokenizer.json", json.to_string())]).unwrap().1
}

/// As bert-base-multilingual-cased.
pub(crate) fn cased() -> Tokenizer {
    let config = json!({"do_lower_case": false, "strip_accents": false}).to_string();
    open_files(&[("vocab.txt", vocabulary_lines().join("\n")), ("tokenizer_config.json", config)]).unwrap().1
}

/// As bert-base-uncased: lower case, accents stripped, Hangul taken apart.
pub(crate) fn uncased() -> Tokenizer {
    open_files(&[("vocab.txt", vocabulary_lines().join("\n"))]).unwrap().1
}

fn added(names: &[&str]) -> Vec<Value> {
    let token = |(id, name): (usize, &&str)| {
        json!({"id": id, "content": name, "single_word": false, "lstrip": *name == "<mask>", "rstrip": false,
               "normalized": false, "special": true})
    };
    names.iter().enumerate().map(token).collect()
}

fn roberta_processing() -> Value {
    let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": special("<s>", 0), "</s>": special("</s>", 2)},
    })
}

/// As XLM-RoBERTa: Unigram pieces of NFKC text with `▁` for spaces.
pub(crate) fn unigram() -> Tokenizer {
    let mut pieces = vec![json!(["<s>", 0.0]), json!(["<pad>", 0.0]), json!(["</s>", 0.0]), json!(["<unk>", 0.0])];
    pieces.push(json!(["<mask>", 0.0]));
    pieces.push(json!(["\u{2581}", -4.0]));
    for piece in
        ["\u{2581}fever", "\u{2581}pain", "ing", "\u{2581}환자", "\u{2581}vomit", "(+)", "ver가", "38", ".5", "::"]
    {
        pieces.push(json!([piece, -5.0]));
    }
    for c in characters() {
        pieces.push(json!([c.to_string(), -9.0]));
    }
    open_json(&json!({
        "version": "1.0",
        "added_tokens": added(&["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "post_processor": roberta_processing(),
        "decoder": {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": false},
    }))
}

/// As RoBERTa: byte-level BPE, every byte known, no unknown token; with a stored truncation and padding.
pub(crate) fn byte_level() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    let mut next = 0;
    for name in ["<s>", "<pad>", "</s>", "<mask>"] {
        vocabulary.insert(name.into(), json!(next));
        next += 1;
    }
    // The bytes' stand-ins: printable Latin-1 as itself, the others from U+0100.
    let printable = |byte: u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
    let mut moved = 0x100;
    for byte in 0..=0xff {
        let code = if printable(byte) {
            byte
        } else {
            moved += 1;
            moved - 1
        };
        vocabulary.insert(char::from_u32(code).unwrap().to_string(), json!(next));
        next += 1;
    }
    // The last two merge bytes of different Hangul syllables and of a space with a syllable's first byte.
    let merges = [
        ["f", "e"],
        ["v", "e"],
        ["ve", "r"],
        ["fe", "ver"],
        ["\u{120}", "p"],
        ["\u{120}p", "a"],
        ["i", "n"],
        ["\u{120}pa", "in"],
        ["in", "g"],
        ["\u{120}", "ê"],
        ["(", "+"],
        ["r", "ê"],
    ];
    for [left, right] in merges {
        vocabulary.insert(format!("{left}{right}"), json!(next));
        next += 1;
    }
    open_json(&json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 6, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 32}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 1,
                    "pad_type_id": 0, "pad_token": "<pad>"},
        "added_tokens": added(&["<s>", "<pad>", "</s>", "<mask>"]),
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": false,
                           "add_prefix_space": false},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
    }))
}

/// All four.
pub(crate) fn all() -> Vec<Tokenizer> {
    vec![cased(), uncased(), unigram(), byte_level()]
}
