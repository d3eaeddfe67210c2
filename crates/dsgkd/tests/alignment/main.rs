//! Alignment of two tokenizers: hand-made notes, and random ones.
#![allow(clippy::unwrap_used)]

mod properties;
mod tokenizers_made;

use dsgkd::config::{Config, Normalization, TermRule, TextConfig, Truncation};
use dsgkd::data::normalise;
use dsgkd::text::{AlignedNote, Aligner, Tokenizer};
use tokenizers_made::{byte_level, cased, uncased, unigram};

/// With all terms, also those that the student has whole.
fn align(text: &str, student: &Tokenizer, teacher: &Tokenizer, config: &TextConfig) -> AlignedNote {
    let config = TextConfig { min_student_tokens: config.min_student_tokens.or(Some(1)), ..config.clone() };
    align_by_default(text, student, teacher, &config)
}

fn align_by_default(text: &str, student: &Tokenizer, teacher: &Tokenizer, config: &TextConfig) -> AlignedNote {
    let config = Config { text: config.clone(), ..Config::default() };
    Aligner::new(&config, &[student, teacher], None).unwrap().align(text).unwrap()
}

/// The student's tokens of each term.
fn terms(note: &AlignedNote, tokenizer: &Tokenizer) -> Vec<String> {
    let token = |id: &u32| tokenizer.token(*id).unwrap();
    let spelled = |(start, end): (u32, u32)| note.input_ids[start as usize..end as usize].iter().map(token).collect();
    note.views[0].terms.iter().map(|term| spelled(term.student)).collect()
}

#[test]
fn code_switched_reality_is_aligned() {
    let text = "fever가 abd. pain(+) vomit/diarrhea BT38.5C\r\n👍🏽 fever, cafe\u{301}";
    let (student, teacher) = (byte_level(), uncased());
    let note = align(&normalise(text, Normalization::Nfc), &student, &teacher, &TextConfig::default());
    let found = terms(&note, &student);
    assert_eq!(
        found.iter().map(|term| term.replace('\u{120}', "")).collect::<Vec<_>>()[..6],
        ["fever", "abd", "pain", "vomit", "diarrhea", "BT"]
    );
    assert_eq!(note.terms, note.views[0].terms.len() + note.views[0].dropped.total());
}

#[test]
fn a_particle_that_no_vocabulary_splits_off_costs_the_term() {
    // The cased vocabulary has no piece for 갊 after fever: the whole word is one [UNK].
    let note = align("fever갊 pain", &byte_level(), &cased(), &TextConfig::default());
    assert_eq!((note.views[0].terms.len(), note.views[0].dropped.part_of_token), (1, 1));
    let alone = align("\u{ff21}\u{ff22} pain", &byte_level(), &cased(), &TextConfig::default());
    assert_eq!((alone.views[0].terms.len(), alone.views[0].dropped.unknown), (1, 1));
}

#[test]
fn the_space_before_a_word_is_no_part_of_it() {
    let note = align("diarrhea", &unigram(), &byte_level(), &TextConfig::default());
    assert_eq!(note.views[0].terms[0].student.0, 2, "<s> and the marker come first");
}

#[test]
fn terms_lost_to_truncation_are_counted() {
    let text = "fever 환자 pain 환자 fever 환자 pain";
    for truncation in [Truncation::Head, Truncation::Tail, Truncation::Both] {
        let config = TextConfig { max_length: 6, truncation, ..TextConfig::default() };
        let note = align(text, &cased(), &unigram(), &config);
        assert_eq!((note.views[0].terms.len(), note.views[0].dropped.truncated), (2, 2), "{truncation:?}");
        assert_eq!(note.truncated, 3);
    }
}

#[test]
fn hostile_tokenizer_files_are_named_and_never_a_panic() {
    let cases: [&[(&str, &[u8])]; 8] = [
        &[],
        &[("tokenizer.json", b"")],
        &[("tokenizer.json", b"{}")],
        &[("tokenizer.json", b"\xff\xfe\x00")],
        &[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\nfever\n")],
        &[("vocab.txt", b"\xff\xfe")],
        &[("tokenizer.json", b"{\"model\": {\"type\": \"WordPiece\", \"vocab\": {}}}")],
        &[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"), ("tokenizer_config.json", b"[")],
    ];
    for (number, files) in cases.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let error = Tokenizer::open(folder.path()).err().unwrap_or_else(|| panic!("case {number} was taken"));
        assert!(error.to_string().contains(&*folder.path().to_string_lossy()), "case {number}: {error}");
    }
    let nested = tempfile::tempdir().unwrap();
    std::fs::write(nested.path().join("tokenizer.json"), "[".repeat(1 << 20)).unwrap();
    assert!(Tokenizer::open(nested.path()).is_err());
}

#[test]
fn the_unknown_token_is_the_model_s_own_and_an_unreadable_config_is_an_error() {
    let vocabulary = "[PAD]\n<what>\n[CLS]\n[SEP]\n[MASK]\npain\n".to_string();
    let config = r#"{"unk_token": "<what>", "tokenizer_class": "BertTokenizer"}"#.to_string();
    let files = [("vocab.txt", vocabulary.clone()), ("tokenizer_config.json", config)];
    let (_folder, student) = tokenizers_made::open_files(&files).unwrap();
    let note = align("fever pain", &student, &byte_level(), &TextConfig::default());
    assert_eq!((note.views[0].terms.len(), note.views[0].dropped.unknown), (1, 1));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), vocabulary).unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), b"\xff\xfe").unwrap();
    assert!(Tokenizer::open(folder.path()).err().unwrap().to_string().contains("tokenizer_config.json"));
}

#[test]
fn terms_past_the_published_limit_are_counted_as_such() {
    let config = TextConfig { terms: TermRule::Reference, max_terms: 2, ..TextConfig::default() };
    let note = align("pain fever pain fever", &cased(), &uncased(), &config);
    assert_eq!((note.views[0].terms.len(), note.views[0].dropped.over_limit), (2, 2));
    assert_eq!(note.views[0].dropped.truncated, 0);
}

#[test]
fn terms_that_the_student_has_whole_can_be_left_out() {
    // The cased vocabulary has fever and pain as one token each, vomiting as two.
    let config = |least| TextConfig { min_student_tokens: Some(least), ..TextConfig::default() };
    for (least, kept) in [(1, vec!["fever", "vomit##ing", "pain"]), (2, vec!["vomit##ing"]), (3, vec![])] {
        let note = align("fever vomiting pain", &cased(), &byte_level(), &config(least));
        assert_eq!(terms(&note, &cased()), kept);
        assert_eq!(note.views[0].dropped.few_tokens, 3 - kept.len());
    }
    let note = align_by_default("fever vomiting pain", &cased(), &byte_level(), &TextConfig::default());
    assert_eq!(terms(&note, &cased()), ["vomit##ing"]);
    let published = TextConfig { terms: TermRule::Reference, ..TextConfig::default() };
    assert_eq!(align_by_default("fever vomiting pain", &cased(), &byte_level(), &published).views[0].terms.len(), 3);
    // Those that are left out take no place from the others.
    let note = align("fever pain vomiting", &cased(), &byte_level(), &TextConfig { max_terms: 1, ..config(2) });
    assert_eq!(terms(&note, &cased()), ["vomit##ing"]);
}

#[test]
fn the_published_rule_says_what_it_does_not_know() {
    for (config, key) in [
        (TextConfig { truncation: Truncation::Tail, ..TextConfig::default() }, "text.truncation"),
        (TextConfig { min_student_tokens: Some(2), ..TextConfig::default() }, "text.min_student_tokens"),
    ] {
        let config = Config { text: TextConfig { terms: TermRule::Reference, ..config }, ..Config::default() };
        let error = Aligner::new(&config, &[&cased(), &uncased()], None).err().unwrap();
        assert!(error.to_string().contains(key), "{error}");
    }
}
