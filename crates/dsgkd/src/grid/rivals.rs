//! The grid file that holds an experiment against all that its taught student must beat (`dsgkd init --rivals-of`).

use crate::config::{Baseline, ClassWeights, Config, DistillWhen, HeadKind};
use crate::error::{Error, Result};
use crate::hub::ModelId;
use std::path::Path;

/// Passes over the notes in the arms with `[adapt]`, where the experiment has none of it.
const ADAPT_EPOCHS: usize = 20;

/// The text of a grid file: arms of the experiment `config`, which was read from `file` (a path that holds where the grid file will lie). Runs go to
/// `output_dir`.
///
/// # Errors
/// [`Error::Config`] for an experiment without a teacher, or a path that is not UTF-8.
pub fn rivals(config: &Config, file: &Path, output_dir: &str) -> Result<String> {
    if config.teachers.is_empty() || config.baseline != Baseline::None {
        let message = "names no teacher: there is nothing that rivals could be held against";
        return Err(Error::Config(format!("{}: {message}", file.display())));
    }
    let resolved = config.resolved();
    // Absent, these hang on whether there is a teacher; a comparison must not. What stays is the start as a regression on what was heard.
    let head = match resolved.student.head {
        Some(HeadKind::Mean) => "mean",
        Some(HeadKind::Reference) => "reference",
        Some(HeadKind::Family) | None => "family",
    };
    let same = [
        format!("student.head={head}"),
        format!("train.warmup_ratio={}", resolved.train.warmup_ratio.unwrap_or_default()),
    ];
    // After hearing at a rate of its own the labels are learned more gently, so that what was heard stays; others have nothing to keep.
    let gentle = resolved.train.learning_rate.unwrap_or_default();
    let rate = resolved.distill.learning_rate.unwrap_or(gentle);
    let adapt = match config.adapt.num_train_epochs {
        0 => format!("adapt.num_train_epochs={ADAPT_EPOCHS}"),
        epochs => format!("adapt.num_train_epochs={epochs}"),
    };
    let (adapt, unread, alone) = (adapt.as_str(), "adapt.num_train_epochs=0", "teachers=[]");
    let (before, with) = ("distill.when=before-labels", "distill.when=with-labels");
    let (own, other) = match config.distill.when {
        DistillWhen::BeforeLabels => {
            (before, ("DSG-KD with the labels", "the teacher while the labels are learned", with))
        }
        DistillWhen::WithLabels => (with, ("DSG-KD before the labels", "the teacher first, on all notes", before)),
    };
    let mut floor = vec![alone, unread, "baseline=tf-idf"];
    if config.train.class_weights != ClassWeights::default() {
        floor.push("train.class_weights=none"); // the baseline has none
    }
    let mut arms = vec![
        ("student alone".to_string(), "", vec![alone.to_string(), unread.to_string()]),
        (
            "TF-IDF and logistic regression".to_string(),
            "the floor that an encoder must beat",
            floor.into_iter().map(String::from).collect(),
        ),
    ];
    for (number, teacher) in config.teachers.iter().enumerate() {
        let number = if config.teachers.len() > 1 { format!(" {}", number + 1) } else { String::new() };
        let path = std::path::absolute(&teacher.model).map_err(Error::io(&teacher.model, "find"))?;
        let is_id = !path.is_dir() && ModelId::parse(utf8(&teacher.model)?).is_some();
        let model = format!("student.model={}", utf8(if is_id { &teacher.model } else { &path })?);
        let set = vec![alone.to_string(), unread.to_string(), model];
        arms.push((format!("teacher{number} alone"), "the domain encoder itself, fine-tuned", set));
    }
    let more: [(&str, &str, &[&str]); 5] = [
        ("student after MLM", "masked-language-model training on the training notes first", &[alone, adapt]),
        ("DSG-KD", "", &[own, unread]),
        (other.0, other.1, &[other.2, unread]),
        ("DSG-KD after MLM", "", &[own, adapt]),
        (
            "DSG-KD terms shuffled",
            "a control: if it does as well, it is not the alignment that helps",
            &[own, unread, "distill.shuffle_terms=true"],
        ),
    ];
    arms.extend(more.map(|(name, why, set)| (name.to_string(), why, set.iter().map(|key| key.to_string()).collect())));

    let quoted = |text: &str| toml::Value::from(text).to_string();
    let choose = match config.data.has_validation_notes() {
        true => "# Which ones, choose with on = \"validation\".\n",
        false => "",
    };
    let rates = match rate == gentle {
        true => "the same learning rate",
        false => "the rate at which the teacher is heard (but for the labels after that)",
    };
    let resplit = match config.data.is_dealt_by_seed() {
        true => "resplit = true # each seed draws its own split\n",
        false => "",
    };
    let mut text = format!(
        "# An experiment against what its taught student must beat. Every arm trains with {rates} and the same form of classifier.\n\
         {choose}# Train all of it and see the table: dsgkd grid THIS-FILE\n\n\
         output_dir = {}\nseeds = [1, 2, 3]\n{resplit}",
        quoted(output_dir)
    );
    for (name, why, set) in arms {
        let comment = if why.is_empty() { String::new() } else { format!(" # {why}") };
        let rate = if set.iter().any(|key| key == before) { gentle } else { rate };
        let rate = format!("train.learning_rate={rate:e}");
        let set: Vec<String> = set.iter().chain(&same).chain([&rate]).map(|key| quoted(key)).collect();
        text += &format!(
            "\n[[arms]]{comment}\nname = {}\nconfig = {}\nset = [{}]\n",
            quoted(&name),
            quoted(utf8(file)?),
            set.join(", ")
        );
    }
    Ok(text)
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::Config(format!("{}: the path is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::TeacherConfig;

    #[test]
    fn a_teacher_from_a_hub_keeps_its_id() {
        let teachers = vec![TeacherConfig { model: "nobody/medical-bert".into(), ..TeacherConfig::default() }];
        let text = rivals(&Config { teachers, ..Config::default() }, Path::new("my.toml"), "runs/rivals").unwrap();
        assert!(text.contains("\"student.model=nobody/medical-bert\""), "{text}");
    }

    #[test]
    fn the_floor_has_no_class_weights() {
        let teachers = vec![TeacherConfig { model: "t".into(), ..TeacherConfig::default() }];
        let mut config = Config { teachers, ..Config::default() };
        let set = || "\"baseline=tf-idf\", \"train.class_weights=none\"";
        assert!(!rivals(&config, Path::new("my.toml"), "runs/rivals").unwrap().contains(set()));
        config.train.class_weights = ClassWeights::Values(vec![1.0, 2.0]);
        let text = rivals(&config, Path::new("my.toml"), "runs/rivals").unwrap();
        assert!(text.contains(set()) && text.matches("class_weights").count() == 1, "{text}");
    }

    #[test]
    fn who_hears_nothing_first_learns_at_the_rate_of_hearing() {
        let teachers = vec![TeacherConfig { model: "t".into(), ..TeacherConfig::default() }];
        let mut config = Config { teachers, ..Config::default() };
        config.distill.learning_rate = Some(3e-4);
        let text = rivals(&config, Path::new("my.toml"), "runs/rivals").unwrap();
        let set_of = |arm: &str| {
            let rest = text.split(&format!("name = \"{arm}\"\n")).nth(1).unwrap();
            rest.lines().nth(1).unwrap().to_string()
        };
        for arm in ["student alone", "student after MLM", "DSG-KD with the labels"] {
            assert!(set_of(arm).contains("train.learning_rate=3e-4"), "{arm}: {text}");
        }
        for arm in ["DSG-KD", "DSG-KD after MLM", "DSG-KD terms shuffled"] {
            assert!(set_of(arm).contains("train.learning_rate=1e-4"), "{arm}: {text}");
        }
    }
}
