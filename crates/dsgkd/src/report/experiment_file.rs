//! The experiment file as a page shows it: without paths, and with the numbers of all of an arm's runs.

use super::gather::Arm;
use crate::config::to_toml;
use crate::error::Result;
use crate::hub::model_name;
use maud::{Markup, html};
use std::path::{Path, PathBuf};

pub(super) fn experiment(arm: &Arm) -> Result<Markup> {
    let Some(config) = &arm.config else { return Ok(html! {}) };
    let mut shown = config.clone();
    // Where files lie on the author's machine is nobody's business.
    shown.output_dir = last_part(&config.output_dir);
    shown.cache_dir = last_part(&config.cache_dir);
    shown.student.model = model_name(&config.student.model).into();
    shown.teachers.iter_mut().for_each(|teacher| teacher.model = model_name(&teacher.model).into());
    shown.text.dictionary = last_part(&config.text.dictionary);
    for files in [&mut shown.data.train, &mut shown.data.validation, &mut shown.data.test, &mut shown.data.unlabeled] {
        files.iter_mut().for_each(|file| *file = last_part(file));
    }
    let numbers = [
        ("", "seed", &arm.seeds[..]),
        ("[data.split]", "seed", &arm.split_seeds[..]),
        ("[data.split]", "fold", &arm.folds[..]),
    ];
    let text = of_all_runs(&to_toml(&shown)?, &numbers);
    Ok(html! { section { h2 { "Experiment file: " (arm.name) } div.wide { pre { (text) } } } })
}

/// Nothing where the path ends in none, as `..` does.
fn last_part(path: &Path) -> PathBuf {
    path.file_name().map(PathBuf::from).unwrap_or_default()
}

/// The file of one run with the numbers of all, as comments, in the lines of keys in which they differ: `(section, key, numbers)`.
fn of_all_runs(text: &str, keys: &[(&str, &str, &[u64])]) -> String {
    let mut section = "";
    let mut lines = vec![];
    for line in text.lines() {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split_once(" = ").map_or("", |(name, _)| name);
        let of_key = keys.iter().find(|(of, key, numbers)| *of == section && *key == name && numbers.len() > 1);
        lines.push(match of_key {
            Some((_, key, numbers)) => {
                let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
                format!("# {key}s {}", numbers.join(", "))
            }
            None => line.to_string(),
        });
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_experiment_file_of_several_runs_has_the_numbers_of_all() {
        let mut config = Config { seed: 1, ..Config::default() };
        config.data.split.seed = Some(7);
        let text = to_toml(&config).unwrap();
        let keys = |seeds: &[u64], folds: &[u64]| {
            of_all_runs(
                &text,
                &[("", "seed", seeds), ("[data.split]", "seed", &[7][..]), ("[data.split]", "fold", folds)],
            )
        };
        assert_eq!(keys(&[1], &[0]), text);
        let expected = text.replacen("\nseed = 1\n", "\n# seeds 1, 2\n", 1);
        assert_eq!(keys(&[1, 2], &[0]), expected);
        assert_eq!(keys(&[1, 2], &[0, 1, 2]), expected.replacen("\nfold = 0\n", "\n# folds 0, 1, 2\n", 1));
        assert!(expected.contains("# seeds") && expected.contains("\nseed = 7\n"), "{expected}");
    }

    #[test]
    fn no_path_but_a_name_is_left_of_a_path() {
        for (path, name) in [("/home/someone/.students", ".students"), ("/home/someone/..", ""), ("/", ""), ("", "")] {
            assert_eq!(last_part(Path::new(path)), Path::new(name), "{path}");
        }
    }
}
