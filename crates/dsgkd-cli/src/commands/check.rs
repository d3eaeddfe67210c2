//! `dsgkd check`

use super::experiment;
use crate::args::{ExperimentArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::left_out;
use dsgkd::check::{CheckReport, ModelReport, Quartiles};
use std::fmt::Write;

pub(crate) fn run(args: &ExperimentArgs, global: &Global) -> CommandResult {
    let config = experiment(args, global)?;
    super::use_threads(config.threads)?;
    let report = dsgkd::check::check(&config)?;
    if global.json {
        print_json(&report)?
    } else {
        print(&table(&report))?
    }
    let sound = report.split.is_ok()
        && (report.bad_rows == 0 || config.data.skip_bad_rows)
        && !report.models.iter().any(has_nothing_to_teach);
    Ok(if sound { Outcome::Done } else { Outcome::No })
}

fn is_teacher(model: &ModelReport) -> bool {
    model.role != "student"
}

fn has_nothing_to_teach(model: &ModelReport) -> bool {
    is_teacher(model) && model.aligned_terms == 0
}

fn table(report: &CheckReport) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<22}{value}");
    };
    line("notes", format!("{} labelled, {} without labels", report.notes, report.unlabeled));
    for (label, count) in &report.labels {
        let share = 100.0 * *count as f64 / report.notes.max(1) as f64;
        line("", format!("{label}: {count} ({share:.1} %)"));
    }
    report.advice.iter().for_each(|advice| line("advice", advice.clone()));
    line("bad rows", report.bad_rows.to_string());
    report.first_bad_rows.iter().for_each(|row| line("", row.clone()));
    match report.bad_rows.saturating_sub(report.first_bad_rows.len() as u64) {
        0 => {}
        more => line("", format!("and {more} more")),
    }
    match &report.split {
        Ok(parts) => {
            for (place, part) in parts.iter().filter(|part| part.notes > 0).enumerate() {
                let of_class = report.labels.iter().zip(&part.classes);
                let classes: Vec<String> = of_class.map(|((class, _), count)| format!("{count} {class}")).collect();
                let groups = part.groups.map_or(String::new(), |groups| format!("; {groups} groups"));
                let name = if place == 0 { "split" } else { "" };
                line(name, format!("{} {}: {}{groups}", part.notes, part.part, classes.join(", ")));
            }
        }
        Err(error) => line("split", format!("REFUSED: {error}")),
    }
    if report.beyond_budget > 0 {
        line("", format!("{} beyond the label budget, read without their labels", report.beyond_budget));
    }
    if report.unlabeled_left_out > 0 {
        line("", left_out(report.unlabeled_left_out));
    }
    line("duplicates", format!("{} labelled notes repeat an earlier one", report.duplicates));
    let scripts = report.scripts.iter().take(5).map(|(script, share)| format!("{script} {:.1} %", 100.0 * share));
    line("letters by script", scripts.collect::<Vec<_>>().join(", "));
    line("mixed notes", format!("{} have letters of more than one script", report.mixed_notes));
    line("terms a note", format!("{}; {} notes have none", quartiles(report.terms), report.notes_without_terms));
    for model in &report.models {
        line(&format!("{} tokens", model.role), quartiles(model.tokens));
        line(
            "",
            format!(
                "{} notes are cut at {} tokens; {:.2} % unknown tokens",
                model.truncated,
                model.max_length,
                100.0 * model.unknown_share
            ),
        );
        if is_teacher(model) {
            let dropped = model.dropped_terms;
            let nothing = if has_nothing_to_teach(model) { "NOTHING TO TEACH: " } else { "" };
            line("", format!("{nothing}{} terms kept; dropped: {dropped}", model.aligned_terms));
        }
    }
    out
}

fn quartiles(q: Quartiles) -> String {
    format!(
        "{} / {} / {} / {} / {} (least, 25 %, 50 %, 75 %, most), 95 %: {}",
        q.min, q.lower, q.median, q.upper, q.max, q.p95
    )
}
