//! Random notes: the text under a kept span is the same in both models, and nothing panics.

use super::tokenizers_made::all;
use dsgkd::config::{Config, Normalization, TermRule, TextConfig, Truncation};
use dsgkd::data::normalise;
use dsgkd::text::truncate::truncate;
use dsgkd::text::{Aligner, SpanPair, TermSelector, TextSpan, Tokenizer, terms};
use proptest::prelude::*;
use std::sync::LazyLock;

static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(all);

/// A piece of a note: words that the tokenizers know, and characters of every trying kind.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "fever",
        "fever가",
        "abd.",
        "pain(+)",
        "vomiting/diarrhea",
        "N/V/D",
        "BT38.5C",
        "follow-up",
        "Crohn's",
        "환자",
        "주소로",
        "cafe\u{301}",
        "[SEP]",
        "[MASK]",
        "<mask>",
        "\u{2581}",
        "\u{120}",
        "ﬁ",
        "㎎",
        "\u{212a}",
        "İ",
        "ß",
        "ς",
    ]);
    let joined = prop::sample::select(vec![
        "👩\u{200d}⚕\u{fe0f}",
        "🇰🇷",
        "👍🏽",
        "\r\n",
        "\0",
        "\u{feff}",
        "\u{fffd}",
        "\u{ad}",
        "\u{200d}",
        "\u{200b}",
        "\u{3000}",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\t",
        " ",
        "  ",
        " ",
        " ",
    ]);
    prop_oneof![
        4 => known.prop_map(String::from),
        4 => joined.prop_map(String::from),
        2 => "[a-zA-Z]{1,8}",
        1 => "[0-9.,/%()+:-]{1,5}",
        2 => "[가-힣]{1,4}",
        1 => "[\u{1100}-\u{1112}][\u{1161}-\u{1175}][\u{11a8}-\u{11c2}]?",
        1 => "[ぁ-んァ-ヶー]{1,4}",
        1 => "[一-鿿\u{f900}-\u{fad9}]{1,3}",
        1 => "[a-zé가][\u{300}-\u{36f}]{1,3}",
        1 => "\\PC{1,4}",
        1 => any::<char>().prop_map(String::from),
    ]
}

fn note() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

fn config() -> impl Strategy<Value = TextConfig> {
    let rules = prop::sample::select(vec![TermRule::Script, TermRule::Reference, TermRule::Regex]);
    let scripts = prop::sample::select(vec!["Latin", "Hangul", "Katakana", "Han"]);
    let truncations = prop::sample::select(vec![Truncation::Head, Truncation::Tail, Truncation::Both]);
    (rules, scripts, truncations, 3..80usize, 1..9usize, 1..4usize, 0..4usize).prop_map(
        |(terms, script, truncation, max_length, max_terms, min_student_tokens, min_term_length)| TextConfig {
            terms,
            truncation: if terms == TermRule::Reference { Truncation::Head } else { truncation },
            max_length,
            max_terms,
            min_student_tokens: Some(min_student_tokens).filter(|_| terms != TermRule::Reference),
            min_term_length,
            term_scripts: vec![script.into()],
            pattern: r"\w\W?\w*".into(),
            ..TextConfig::default()
        },
    )
}

/// The text under tokens of a model's truncated input, found without the library's own search.
fn under(text: &str, tokenizer: &Tokenizer, config: &TextConfig, (start, end): (u32, u32)) -> TextSpan {
    let mut encoding = tokenizer.encode(text).unwrap();
    truncate(&mut encoding, config.max_length, config.truncation);
    assert!(start < end && (end as usize) < encoding.ids.len() && start > 0, "special tokens are no part of a term");
    let here = start as usize..end as usize;
    assert!(encoding.special[here.clone()].iter().all(|special| !special));
    let tokens = encoding.offsets[here].iter().filter(|span| span.start < span.end);
    let hull = tokens.fold(TextSpan { start: usize::MAX, end: 0 }, |hull, span| TextSpan {
        start: hull.start.min(span.start),
        end: hull.end.max(span.end),
    });
    assert!(text.get(hull.start..hull.end).is_some());
    hull
}

fn check(text: &str, config: &TextConfig, student: usize, teacher: usize) {
    let (student, teacher) = (&TOKENIZERS[student], &TOKENIZERS[teacher]);
    let found = TermSelector::new(config, Normalization::Nfc).unwrap().terms(text);
    let columns = terms::words(text);
    for list in [&found, &columns] {
        assert!(list.iter().all(|span| span.start < span.end && text.get(span.start..span.end).is_some()));
        assert!(list.windows(2).all(|pair| pair[0].end <= pair[1].start), "{list:?}");
    }
    let experiment = Config { text: config.clone(), ..Config::default() };
    let aligner = Aligner::new(&experiment, &[student, teacher], None).unwrap();
    let aligned = aligner.align(text).unwrap();
    let view = &aligned.views[0];
    assert!(aligned.input_ids.len() <= config.max_length.max(2) && view.input_ids.len() <= config.max_length.max(2));
    let same = |pair: &SpanPair, of: &[TextSpan]| {
        let (in_student, in_teacher) =
            (under(text, student, config, pair.student), under(text, teacher, config, pair.teacher));
        assert_eq!(in_student, in_teacher, "{text:?}");
        assert!(of.contains(&in_student), "{text:?}");
    };
    view.words.iter().for_each(|pair| same(pair, &columns));
    assert!(view.terms.len() <= config.max_terms);
    let whole = [student, teacher].map(|tokenizer| tokenizer.encode(text).unwrap().ids.len());
    if whole.iter().all(|length| *length <= config.max_length) && config.terms != TermRule::Reference {
        assert_eq!(view.dropped.truncated, 0, "nothing was cut of {text:?}");
    }
    if config.terms != TermRule::Reference {
        view.terms.iter().for_each(|pair| same(pair, &found));
        let tokens = |pair: &SpanPair| (pair.student.1 - pair.student.0) as usize;
        assert!(view.terms.iter().all(|pair| Some(tokens(pair)) >= config.min_student_tokens));
        assert_eq!(view.terms.len() + view.dropped.total(), found.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_under_kept_spans_is_the_term_in_both_models(
        text in note(), config in config(), student in 0..4usize, teacher in 0..4usize, raw in any::<bool>(),
    ) {
        let text = if raw { text } else { normalise(&text, Normalization::Nfc) };
        check(&text, &config, student, teacher);
    }
}
