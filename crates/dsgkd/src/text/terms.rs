//! Which words of a note are the domain's (DSG-KD, step 1).
//!
//! Differs from the paper: published is [`TermRule::Reference`], which keeps a word only where spaces stand on both sides of
//! ASCII letters, and so loses `fever가`, `abd.`, `pain(+)` and `N/V/D`; the default finds runs of letters of a script
//! wherever they stand.

use super::dictionary::Dictionary;
use super::{TextSpan, reference};
use crate::config::{Normalization, TermRule, TextConfig};
use crate::error::{Error, Result};
use regex::Regex;
use unicode_normalization::char::is_combining_mark;
use unicode_script::{Script, UnicodeScript};

/// A term rule, ready for use.
pub struct TermSelector {
    rule: Rule,
    max_terms: usize,
    min_student_tokens: usize,
}

enum Rule {
    Script { scripts: Vec<Script>, min_length: usize },
    Reference,
    Dictionary(Dictionary),
    Regex(Regex),
}

impl TermSelector {
    /// Reads the dictionary or compiles the pattern where the rule needs one. `form` is that of the notes.
    pub fn new(config: &TextConfig, form: Normalization) -> Result<TermSelector> {
        let rule = match config.terms {
            TermRule::Reference => Rule::Reference,
            TermRule::Dictionary => Rule::Dictionary(Dictionary::open(&config.dictionary, form)?),
            TermRule::Script => Rule::Script {
                scripts: config.term_scripts.iter().map(|name| script(name)).collect::<Result<_>>()?,
                min_length: config.min_term_length,
            },
            TermRule::Regex => {
                let pattern = Regex::new(&config.pattern);
                Rule::Regex(pattern.map_err(|error| Error::Config(format!("text.pattern: {error}")))?)
            }
        };
        let min_student_tokens = config.min_student_tokens.unwrap_or(config.terms.min_student_tokens());
        Ok(TermSelector { rule, max_terms: config.max_terms, min_student_tokens })
    }

    /// Whether terms and spans follow the published rule, in which words are tokenized alone.
    pub fn is_reference(&self) -> bool {
        matches!(self.rule, Rule::Reference)
    }

    /// Terms at most.
    pub fn max_terms(&self) -> usize {
        self.max_terms
    }

    /// Tokens of the student's that a term has at least.
    pub fn min_student_tokens(&self) -> usize {
        self.min_student_tokens
    }

    /// The terms of a note in order, without overlap; how many are kept is decided when they are aligned.
    pub fn terms(&self, text: &str) -> Vec<TextSpan> {
        let mut terms = match &self.rule {
            Rule::Script { scripts, min_length } => by_script(text, scripts, *min_length),
            Rule::Reference => reference::terms(text),
            Rule::Dictionary(dictionary) => dictionary.terms(text),
            Rule::Regex(pattern) => {
                let captures = pattern.captures_iter(text).filter_map(|found| found.get(1).or_else(|| found.get(0)));
                captures.map(|found| TextSpan { start: found.start(), end: found.end() }).collect()
            }
        };
        terms.retain(|term| term.start < term.end);
        terms
    }
}

fn script(name: &str) -> Result<Script> {
    Script::from_full_name(name).or_else(|| Script::from_short_name(name)).ok_or_else(|| {
        Error::Config(format!(
            "text.term_scripts: \"{name}\" is no Unicode script; examples are Latin, Hangul, Han, Hiragana, Katakana, Cyrillic, Arabic"
        ))
    })
}

/// What joins two runs of letters to one term when it stands between them alone: `follow-up`, `Crohn's`.
const JOINERS: [&str; 4] = ["-", "'", "\u{2019}", "\u{2010}"];

fn by_script(text: &str, scripts: &[Script], min_length: usize) -> Vec<TextSpan> {
    let mut terms: Vec<TextSpan> = vec![];
    for run in runs(text, |letter| {
        letter.is_alphabetic() && scripts.iter().any(|script| letter.script_extension().contains_script(*script))
    }) {
        if let Some(last) = terms.last_mut() {
            let between = &text[last.end..run.start];
            let short =
                |span: TextSpan| span.of(text).rsplit('/').next().is_some_and(|piece| piece.chars().count() == 1);
            // Initials such as `N/V/D` are one term; words such as `vomiting/diarrhea` are two.
            if JOINERS.contains(&between) || (between == "/" && short(*last) && short(run)) {
                last.end = run.end;
                continue;
            }
        }
        terms.push(run);
    }
    terms.retain(|term| term.of(text).chars().count() >= min_length);
    terms
}

/// Longest runs of letters that belong, each with the combining marks that follow it.
fn runs(text: &str, belongs: impl Fn(char) -> bool) -> Vec<TextSpan> {
    let mut runs: Vec<TextSpan> = vec![];
    let mut open = false;
    for (at, letter) in text.char_indices() {
        let mark = open && is_combining_mark(letter);
        if belongs(letter) || mark {
            let end = at + letter.len_utf8();
            match runs.last_mut().filter(|_| open) {
                Some(run) => run.end = end,
                None => runs.push(TextSpan { start: at, end }),
            }
            open = true;
        } else {
            open = false;
        }
    }
    runs
}

/// A letter of no script of its own, such as `ー`.
fn is_lengthener(letter: char) -> bool {
    letter.is_alphabetic() && letter.script() == Script::Common
}

/// All words of a note: runs of letters of one script, and of digits. They are the common columns of aligned attention rows.
pub fn words(text: &str) -> Vec<TextSpan> {
    #[derive(PartialEq, Clone, Copy)]
    enum Kind {
        Digits,
        Letters(Script),
    }
    let mut words: Vec<(Kind, TextSpan)> = vec![];
    for (at, letter) in text.char_indices() {
        let end = at + letter.len_utf8();
        let touches = words.last().is_some_and(|(_, word)| word.end == at);
        let kind = match letter {
            _ if letter.is_numeric() => Kind::Digits,
            // A combining mark, or the sign that lengthens a Japanese vowel, belongs to what it follows.
            _ if touches && (is_combining_mark(letter) || is_lengthener(letter)) => {
                words.last().map_or(Kind::Digits, |(kind, _)| *kind)
            }
            _ if letter.is_alphabetic() => Kind::Letters(letter.script()),
            _ => continue,
        };
        match words.last_mut().filter(|(last, _)| touches && *last == kind) {
            Some((_, word)) => word.end = end,
            None => words.push((kind, TextSpan { start: at, end })),
        }
    }
    words.into_iter().map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[track_caller]
    fn check(config: &TextConfig, text: &str, expected: &[&str]) {
        let terms = TermSelector::new(config, Normalization::Nfc).unwrap().terms(text);
        let found: Vec<&str> = terms.iter().map(|term| term.of(text)).collect();
        assert_eq!(found, expected, "in {text}");
    }

    #[test]
    fn code_switched_notes_by_script() {
        let config = TextConfig::default();
        check(&config, "상기 환아 3 times vomiting, fever가 38.5C", &["times", "vomiting", "fever"]);
        check(&config, "abd. pain(+) N/V/D (+/+/-) BT38.5C", &["abd", "pain", "N/V/D", "BT"]);
        check(
            &config,
            "vomiting/diarrhea로 내원, follow-up 및 Crohn's",
            &["vomiting", "diarrhea", "follow-up", "Crohn's"],
        );
        check(&config, "e\u{301}tat fébrile😀fever👨‍👩‍👧\r\ncough", &["e\u{301}tat", "fébrile", "fever", "cough"]);
        check(&config, "열이 나요. 38.5", &[]);
        check(&config, "fever\u{200d} cough", &["fever", "cough"]);
        let katakana = TextConfig { term_scripts: vec!["Katakana".into()], ..config.clone() };
        check(&katakana, "コーヒーを飲む", &["コーヒー"]);
        check(&TextConfig { term_scripts: vec!["Han".into()], ..config }, "患者は嘔吐と fever", &["患者", "嘔吐"]);
    }

    #[test]
    fn a_set_of_notes_that_the_published_rule_mostly_loses() {
        let notes = [
            "상기 환아 fever가 있고 vomiting, diarrhea 동반",
            "abd. pain(+), N/V/D 있음",
            "내원 전 seizure로 ER 경유, BT38.5C 측정",
            "cough/sputum 동반된 dyspnea",
            "chest pain 호소하며 syncope있었음",
        ];
        let count = |rule| -> usize {
            let selector =
                TermSelector::new(&TextConfig { terms: rule, ..TextConfig::default() }, Normalization::Nfc).unwrap();
            notes.iter().map(|note| selector.terms(note).len()).sum()
        };
        assert_eq!((count(TermRule::Script), count(TermRule::Reference)), (15, 5));
    }

    #[test]
    fn patterns_and_unknown_scripts() {
        let config = TextConfig { terms: TermRule::Regex, pattern: r"(\w+)\(\+\)".into(), ..TextConfig::default() };
        check(&config, "pain(+) fever(-) cough(+)", &["pain", "cough"]);
        assert!(TermSelector::new(&TextConfig { pattern: "(".into(), ..config }, Normalization::Nfc).is_err());
        assert!(
            TermSelector::new(
                &TextConfig { term_scripts: vec!["Klingon".into()], ..TextConfig::default() },
                Normalization::Nfc
            )
            .is_err()
        );
    }

    #[test]
    fn words_are_runs_of_one_script_or_of_digits() {
        let text = "fever가 38.5C, N/V コーヒー";
        let found: Vec<&str> = words(text).iter().map(|word| word.of(text)).collect();
        assert_eq!(found, ["fever", "가", "38", "5", "C", "N", "V", "コーヒー"]);
    }
}
