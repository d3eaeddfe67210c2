//! The page's first section: what was run on what.

use super::gather::{Arm, Gathered};
use super::page::{counted, heads, table};
use crate::config::{Baseline, Config, DistillWhen, HeadKind};
use crate::hub::model_name;
use crate::runs::file_name;
use maud::{Markup, html};
use serde_json::Value as Json;

/// Writes it.
pub(super) fn what_was_run(gathered: &Gathered) -> Markup {
    let arms = &gathered.arms;
    let row = |name: &str, cell: &dyn Fn(&Arm) -> String| heads(name, arms.iter().map(cell));
    let config =
        |arm: &Arm, say: &dyn Fn(&Config) -> String| arm.config.as_ref().map_or_else(|| "unknown".to_string(), say);
    let of_runs = |arm: &Arm, say: &dyn Fn(&Json) -> String| {
        let mut said: Vec<String> = arm.environments.iter().map(say).collect();
        said.sort();
        said.dedup();
        said.join("; ")
    };
    let counts = |key: &'static str| {
        move |run: &Json| run["notes"][key].as_u64().map_or("unknown".to_string(), |count| count.to_string())
    };
    let has_several_runs = arms.iter().any(|arm| arm.environments.len() > 1);
    let (each, all) = if has_several_runs { (", each run", ", all runs") } else { ("", "") };
    let text = |run: &Json, key: &str| run[key].as_str().unwrap_or("unknown").to_string();
    let rows = vec![
        row("student", &|arm| config(arm, &student)),
        row("classifier", &|arm| config(arm, &classifier)),
        row("teachers", &|arm| config(arm, &teachers)),
        row("classes", &|arm| arm.pooled.classes.join(", ")),
        row("runs (folds, seeds)", &|arm| arm.environments.len().to_string()),
        row(&format!("training notes{each}"), &|arm| of_runs(arm, &counts("training"))),
        row(&format!("notes without labels{each}"), &|arm| of_runs(arm, &counts("unlabeled"))),
        row(&format!("validation notes{each}"), &|arm| of_runs(arm, &counts("validation"))),
        row(&format!("test notes{all}"), &|arm| arm.intervals.notes.to_string()),
        row("seeds", &|arm| arm.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join("; ")),
        row("dsgkd", &|arm| of_runs(arm, &|run| text(run, "dsgkd"))),
        row("computed in", &|arm| of_runs(arm, &computed_in)),
        row("data files", &|arm| of_runs(arm, &data_files)),
    ];
    html! { section { h2 { "What was run on what" } (table("", &heads("", arms.iter().map(|arm| arm.name.clone())), &rows)) } }
}

fn student(config: &Config) -> String {
    let name = model_name(&config.student.model);
    match (config.baseline, config.adapt.num_train_epochs) {
        (Baseline::TfIdf, _) => "none: TF-IDF and logistic regression".to_string(),
        (Baseline::None, 0) => name,
        (Baseline::None, epochs) => {
            format!("{name}, first a masked language model of the training notes for {}", counted(epochs, "epoch"))
        }
    }
}

/// What it reads, and where that is told, how it began.
pub(super) fn classifier(config: &Config) -> String {
    if config.baseline == Baseline::TfIdf {
        return "logistic regression".to_string();
    }
    let reads = match config.student.head {
        Some(HeadKind::Family) | None => "the model family's, on the first token",
        Some(HeadKind::Reference) => "the published one, on the first token",
        Some(HeadKind::Mean) => "linear, on the mean of the tokens",
    };
    let began = if config.student.linear_probing == Some(true) { ", begun as a logistic regression" } else { "" };
    format!("{reads}{began}")
}

fn teachers(config: &Config) -> String {
    let names: Vec<String> = config.teachers.iter().map(|teacher| model_name(&teacher.model)).collect();
    if names.is_empty() {
        return "none".to_string();
    }
    let when = match config.distill.when {
        DistillWhen::WithLabels => ", heard with the labels",
        DistillWhen::BeforeLabels => ", heard before the labels",
    };
    let control = match (config.distill.whole_notes, config.distill.shuffle_terms) {
        (true, _) => ", of whole notes (a control)",
        (false, true) => ", at shuffled terms (a control)",
        (false, false) => "",
    };
    format!("{}{when}{control}", names.join(", "))
}

/// Type, device (of the student's training, where it was not the CPU) and threads.
fn computed_in(run: &Json) -> String {
    let dtype = run["dtype"].as_str().unwrap_or("unknown");
    let device = run["device"].as_str().filter(|device| *device != "cpu");
    let on = device.map_or(String::new(), |device| format!(" on {device}"));
    let threads = run["threads"].as_u64();
    let threads = threads.map_or("unknown threads".to_string(), |threads| counted(threads as usize, "thread"));
    format!("{dtype}{on}, {threads}")
}

/// Names and the first digits of the hashes.
fn data_files(run: &Json) -> String {
    let files = run["sha256"].as_object().into_iter().flatten().map(|(path, hash)| {
        let hash: String = hash.as_str().unwrap_or_default().chars().take(12).collect();
        format!("{} ({hash})", file_name(std::path::Path::new(path)))
    });
    files.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TeacherConfig;

    #[test]
    fn what_is_no_plain_training_is_said() {
        let mut config = Config::default();
        config.student.model = "models/general".into();
        assert_eq!((student(&config), teachers(&config)), ("general".to_string(), "none".to_string()));
        config.adapt.num_train_epochs = 20;
        assert_eq!(student(&config), "general, first a masked language model of the training notes for 20 epochs");
        config.teachers.push(TeacherConfig { model: "models/medical".into(), ..TeacherConfig::default() });
        config.distill.shuffle_terms = true;
        assert_eq!(teachers(&config), "medical, heard before the labels, at shuffled terms (a control)");
        config.distill.when = DistillWhen::WithLabels;
        assert_eq!(teachers(&config), "medical, heard with the labels, at shuffled terms (a control)");
        (config.distill.shuffle_terms, config.distill.whole_notes) = (false, true);
        assert_eq!(teachers(&config), "medical, heard with the labels, of whole notes (a control)");
        let run = |device: &str, threads: usize| serde_json::json!({"dtype": "float32", "device": device, "threads": threads});
        assert_eq!(computed_in(&run("cpu", 2)), "float32, 2 threads");
        assert_eq!(computed_in(&run("cuda", 1)), "float32 on cuda, 1 thread");
        assert_eq!(classifier(&config), "the model family's, on the first token");
        (config.student.head, config.student.linear_probing) = (Some(HeadKind::Mean), Some(true));
        assert_eq!(classifier(&config), "linear, on the mean of the tokens, begun as a logistic regression");
        config.baseline = Baseline::TfIdf;
        assert_eq!(classifier(&config), "logistic regression");
        assert_eq!(student(&config), "none: TF-IDF and logistic regression");
    }
}
