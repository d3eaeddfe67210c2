//! Files and arguments that are wrong on purpose: every one is answered in one line.
#![allow(clippy::unwrap_used)]

use super::tests::{full, message, read};
use super::{load, to_toml};
use crate::error::Error;
use proptest::prelude::*;
use std::path::Path;

#[test]
fn hostile_files_are_refused_in_one_line() {
    let deep = |open: &str, close: &str, times: usize| format!("a = {}1{}", open.repeat(times), close.repeat(times));
    for text in [
        "[".repeat(1 << 20),
        "a = ".to_string() + &"[".repeat(1 << 20),
        deep("[", "]", 100_000),
        deep("{a=", "}", 100_000),
        format!("{} = 1", vec!["a"; 100_000].join(".")),
        format!("[{}]", vec!["a"; 100_000].join(".")),
        "[[a.b]]\n".repeat(100_000),
        (0..100_000).map(|i| format!("[k{i}]\n")).collect(),
        "seed = 1\nseed = 2".into(),
        "[data]\n[data]".into(),
        "\u{0}\u{1}\u{7f}".into(),
        "\"\\u001b[31m\" = 1".into(),
        "seed = 99999999999999999999999".into(),
        format!("{} = 1", "x".repeat(1 << 20)),
        format!("[data]\nformat = '{}'", "x".repeat(1 << 20)),
        format!("[train]\nbatch_size = '{}'", "x".repeat(1 << 20)),
    ] {
        let message = message(&text, &[]);
        assert!(message.len() < 1000 && message.starts_with("exp.toml:"), "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn unreadable_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("exp.toml");
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        load(Some(&file), &[]).unwrap_err().to_string()
    };
    assert!(refused(b"seed = 1\nx = \"\xff\"").ends_with("exp.toml:2: not UTF-8 text; save the file as UTF-8"));
    assert!(refused(&vec![b'['; 10 << 20]).ends_with("larger than 4 MiB, so not an experiment file"));
    let absent = load(Some(Path::new("/nowhere/exp.toml")), &[]).unwrap_err();
    assert!(matches!(absent, Error::Io { .. }), "{absent}");
    std::fs::write(&file, "\u{feff}seed = 3").unwrap();
    assert_eq!(load(Some(&file), &[]).unwrap().seed, 3);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// A real file with bytes cut, doubled and changed is read or refused in one line; never a panic.
    #[test]
    fn mutated_files_never_panic(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<char>()), 1..12)) {
        let mut text: Vec<char> = to_toml(&full()).unwrap().chars().collect();
        for (index, edit, replacement) in edits {
            let at = index.index(text.len());
            match edit {
                0 => { text.remove(at); }
                1 => text[at] = replacement,
                2 => text.insert(at, replacement),
                _ => { let end = (at + 7).min(text.len()); let piece = text[at..end].to_vec(); text.splice(at..at, piece); }
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(message) = read(&text, &[]) {
            prop_assert!(!message.contains('\n'), "{message}");
        }
    }

    /// Any argument of `--set` is taken or refused in one line.
    #[test]
    fn any_override_is_answered(key in "([a-z_]{0,8}|teachers|data|train|values|0|1|\\PC)(\\.([a-z_]{0,8}|model|layer_map|train|0|7|\"x y\"|\\PC)){0,4}", value in "\\PC{0,12}|[0-9eE.+-]{1,6}|\\[.*\\]") {
        if let Err(message) = read("[[teachers]]\nmodel='t'", &[&format!("{key}={value}")]) {
            prop_assert!(!message.contains('\n'), "{message}");
        }
    }
}
