//! `dsgkd grid`, whole.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

const GRID: &str = r#"
output_dir = "grid"
seeds = [1, 2]
resplit = true
[[arms]]
name = "alone"
config = "alone.toml"
[[arms]]
name = "taught"
config = "taught.toml"
set = ["teachers.0.model=teacher-run/model"] # from the grid file's folder, wherever the command runs
[[columns]]
name = "30 labels"
set = ["data.split.label_budget=30", "data.split.rest_unlabeled=true", "train.num_train_epochs=1"]
[[columns]]
name = "all"
set = ["train.num_train_epochs=1"]
"#;

#[test]
fn a_grid_trains_every_cell_once_and_compares_within_its_columns() {
    let world = World::new();
    world.experiment("alone", false, "");
    world.experiment("taught", true, "");
    let file = world.path("grid.toml");
    std::fs::write(&file, GRID).unwrap();
    let run = || {
        let mut command = dsgkd();
        command.arg("grid").arg(&file).args(["--bootstrap-samples", "50", "--quiet"]);
        command.arg("--chart").arg(world.path("curve.svg"));
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let table = run();
    assert_eq!(table.lines().count(), 2 + 4, "{table}");
    assert!(
        table.contains("| 30 labels | taught | ") && table.contains("| all | alone | ") && !table.contains("undefined")
    );
    let folder = world.path("grid").join("30 labels").join("taught").join("seed-2");
    let environment = std::fs::read_to_string(folder.join("environment.json")).unwrap();
    let counts: Json = serde_json::from_str(&environment).unwrap();
    assert_eq!(counts["notes"]["training"], 30);
    assert!(counts["notes"]["unlabeled"].as_u64().unwrap() > 20);
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let of_split = config.split("[data.split]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(of_split.contains("\nseed = 2\n"), "{of_split}");

    let curve = std::fs::read_to_string(world.path("curve.svg")).unwrap();
    assert!(curve.starts_with("<svg role=\"img\" aria-label=\"auroc of each arm"));
    for word in ["30 labels", ">\nall\n<", ">\nalone\n<", ">\ntaught\n<", "prefers-color-scheme: dark"] {
        assert!(curve.contains(word), "{word}: {curve}");
    }
    assert_eq!(curve.matches("xmlns=").count(), 1);
    assert_eq!(curve.matches("<circle").count(), 2 + 4, "two arms in the legend, and each under two conditions");

    // Another program finds the table's figures in what every arm said of every note.
    let said = world.path("said.csv");
    let mut command = dsgkd();
    command.arg("grid").arg(&file).args(["--finished", "--json", "--predictions"]).arg(&said);
    let cells: Json = serde_json::from_slice(&command.assert().success().get_output().stdout).unwrap();
    let said = std::fs::read_to_string(&said).unwrap();
    let mut rows = said.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = "condition arm seed fold training_prevalence seconds id group label probability_no probability_yes";
    assert_eq!(rows.next().unwrap().join(" "), header);
    let rows: Vec<Vec<&str>> = rows.collect();
    assert_eq!(rows.len(), 2 * 2 * 2 * 30, "conditions, arms, seeds, and test notes");
    for cell in cells.as_array().unwrap() {
        for (seed, auroc) in ["1", "2"].iter().zip(cell["seeds"].as_array().unwrap()) {
            let of_cell = |row: &&Vec<&str>| cell["column"] == row[0] && cell["arm"] == row[1] && row[2] == *seed;
            let scored: Vec<(bool, f64)> =
                rows.iter().filter(of_cell).map(|row| (row[8] == "yes", row[10].parse().unwrap())).collect();
            assert!((auroc_of(&scored) - auroc.as_f64().unwrap()).abs() < 1e-12, "{cell} {seed}");
        }
    }

    // An arm with all its seeds is a folder of runs.
    let arm = |name: &str| world.path("grid").join("all").join(name);
    let compared = dsgkd().arg("compare").args([arm("alone"), arm("taught")]).assert().success();
    let compared = String::from_utf8(compared.get_output().stdout.clone()).unwrap();
    assert!(
        compared.contains("taught minus alone, means over seeds; ") && compared.contains("(60 and 60 rows)"),
        "{compared}"
    );
    assert!(!compared.contains("DeLong"), "{compared}");
    dsgkd().arg("report").args([arm("alone"), arm("taught")]).arg("-o").arg(world.path("r.html")).assert().success();
    let page = std::fs::read_to_string(world.path("r.html")).unwrap();
    assert!(page.contains(">1; 2<") && !page.contains("DeLong"), "both seeds, and rows that are not independent");
    assert!(page.contains("means over seeds; ") && page.contains("count the rows of all folds and seeds together"));

    // It says what the grid says of the same runs, whose scores are not ranked among each other.
    let json = |arguments: &[&str], paths: &[PathBuf]| -> Json {
        let mut command = dsgkd();
        let found = command.args(arguments).args(paths).arg("--json").assert().success();
        serde_json::from_slice(&found.get_output().stdout).unwrap()
    };
    let cells = json(&["grid", "--finished", "--against", "taught"], std::slice::from_ref(&file));
    let compared = json(&["compare"], &[arm("taught"), arm("alone")]);
    let auroc = &compared["differences"][0][1]["differences"][0];
    let cell = &cells[2]; // "alone" under "all", which "taught" follows
    assert!((cell["arm"] == "alone") && cells[3]["difference"].is_null() && cells[1]["difference"].is_null());
    assert_eq!(cell["mean"], auroc["candidate"]);
    for part in ["difference", "interval", "p_value"] {
        assert_eq!(cell["difference"][part], auroc[part], "{part}");
    }
    assert_eq!(json(&["evaluate"], &[arm("alone")])["intervals"]["estimates"][0]["value"], cell["mean"]);

    // A part of it.
    let mut command = dsgkd();
    command.arg("grid").arg(&file).args(["--finished", "--arm", "alone", "--against", "taught", "--seeds", "2"]);
    let part = String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap();
    assert!(part.contains("| difference to taught [95 %") && part.lines().count() == 2 + 4, "{part}");
    for (wrong, message) in [(["--arm", "alon"], "there are: alone, taught"), (["--seeds", "3"], "seed 3 is none")] {
        let refused = dsgkd().arg("grid").arg(&file).args(wrong).assert().code(2).get_output().stderr.clone();
        assert!(String::from_utf8(refused).unwrap().contains(message));
    }

    // Settings are chosen by the validation notes, of the same runs.
    let validated = world.path("validated.toml");
    std::fs::write(&validated, GRID.replace("resplit = true", "resplit = true\non = \"validation\"")).unwrap();
    let chosen = dsgkd().arg("grid").arg(&validated).args(["--finished", "--json"]).assert().success();
    let chosen: Vec<Json> = serde_json::from_slice(&chosen.get_output().stdout).unwrap();
    let shown = dsgkd().arg("grid").arg(&validated).arg("--finished").assert().success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(shown.contains("auroc of validation notes") && !shown.contains("undefined"), "{shown}");
    let record = std::fs::read_to_string(folder.join("training.json")).unwrap();
    let record: Json = serde_json::from_str(&record).unwrap();
    assert_eq!(chosen.len(), 4);
    assert_eq!(chosen[1]["seeds"][1], record["validation"]["auroc"], "{record}");
    assert!(chosen[1]["difference"]["interval"].is_null() && record["validation"]["notes"].as_u64().unwrap() > 0);

    // What is done is kept; what is not is trained.
    let before = std::fs::metadata(folder.join("config.toml")).unwrap().modified().unwrap();
    let removed = world.path("grid").join("all").join("alone").join("seed-1");
    std::fs::remove_dir_all(&removed).unwrap();
    let mut command = dsgkd();
    command.arg("grid").arg(&file).args(["--bootstrap-samples", "50", "--quiet", "--finished"]);
    let finished = String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap();
    assert!(table.starts_with(&finished) && finished.lines().count() == 2 + 2 && !removed.exists(), "{finished}");
    // Of a run that is gone, what was written of it stands: with it the table is what it was.
    let from = |file: &Path, table: &Path| {
        let mut command = dsgkd();
        command.arg("grid").arg(file).args(["--bootstrap-samples", "50", "--finished", "--from"]).arg(table);
        command
    };
    let output = from(&file, &world.path("said.csv")).assert().success().get_output().clone();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), table);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("grid: 1 of 4 cells out of ") && !removed.exists(), "{told}");
    let again = world.path("again.parquet");
    from(&file, &world.path("said.csv")).arg("--predictions").arg(&again).assert().success();
    std::fs::rename(world.path("grid"), world.path("gone")).unwrap();
    let output = from(&file, &again).arg("--json").assert().success().get_output().stdout.clone();
    let cells: Vec<Json> = serde_json::from_slice(&output).unwrap();
    assert!(cells.len() == 4 && cells.iter().all(|cell| cell["written"] == serde_json::json!([true, true])));
    let output = from(&file, &again).assert().success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(output).unwrap(), table, "seconds and all");
    std::fs::rename(world.path("gone"), world.path("grid")).unwrap();
    // A seed that is not in it is not done; what is no such table is refused, and told without its cells.
    let rows = std::fs::read_to_string(world.path("said.csv")).unwrap();
    let write = |text: String| std::fs::write(world.path("part.csv"), text).unwrap();
    write(rows.lines().filter(|row| !row.starts_with("all,alone,1")).collect::<Vec<_>>().join("\n"));
    let output = from(&file, &world.path("part.csv")).assert().success().get_output().stdout.clone();
    assert_eq!(String::from_utf8(output).unwrap(), finished);
    let refused = |table: &str| {
        let output = from(&file, &world.path(table)).assert().code(3).get_output().stderr.clone();
        String::from_utf8(output).unwrap()
    };
    assert!(refused("notes.csv").contains("has no column \"condition\""));
    write(rows.replacen(",no,", ",secret,", 1));
    let message = refused("part.csv");
    assert!(
        message.contains("part.csv, line 2, column \"label\": is none of") && !message.contains("secret"),
        "{message}"
    );
    write(rows.replacen("all,alone,1,", "all,alone,one,", 1));
    assert!(refused("part.csv").contains(", column \"seed\": is no number"));
    write(rows.replace("probability_no", "probability_maybe"));
    assert!(refused("part.csv").contains("column \"label\": is none of the classes"));
    from(&validated, &again).assert().code(2);

    assert_eq!(without_seconds(&run()), without_seconds(&table));
    assert_eq!(std::fs::metadata(folder.join("config.toml")).unwrap().modified().unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.join("checkpoints")).unwrap().count(), 0, "the run is done");

    // What is done by another file than the grid's is not what it asks for.
    std::fs::write(&file, GRID.replace("label_budget=30", "label_budget=31")).unwrap();
    let refused = dsgkd().arg("grid").arg(&file).arg("--quiet").assert().code(2).get_output().stderr.clone();
    let refused = String::from_utf8(refused).unwrap();
    assert!(refused.contains("alone/seed-1: the run was begun with another `data.split.label_budget`"), "{refused}");
    std::fs::write(&file, GRID).unwrap();
    let weights = world.path("teacher-run/model/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    let refused = dsgkd().arg("grid").arg(&file).arg("--quiet").assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(refused).unwrap().contains("the model of the teacher 0 changed"));
}

/// The share of pairs of a positive and a negative that are ranked right, a tie being half of one.
fn auroc_of(scored: &[(bool, f64)]) -> f64 {
    let of = |positive: bool| scored.iter().filter(move |(label, _)| *label == positive).map(|(_, score)| *score);
    let won = |(high, low): (f64, f64)| if high > low { 1.0 } else { f64::from(u8::from(high == low)) / 2.0 };
    let pairs: Vec<f64> = of(true).flat_map(|high| of(false).map(move |low| won((high, low)))).collect();
    pairs.iter().sum::<f64>() / pairs.len() as f64
}

/// A table without its last column, which no two runs share.
fn without_seconds(table: &str) -> String {
    let line = |line: &str| line.trim_end_matches('|').rsplit_once('|').unwrap().0.to_string();
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_wrong_key_in_the_last_cell_is_found_before_anything_is_trained() {
    let world = World::new();
    world.experiment("alone", false, "");
    world.experiment("taught", true, "");
    let file = world.path("grid.toml");
    std::fs::write(
        &file,
        GRID.replace(
            "name = \"all\"\nset = [\"train.num_train_epochs=1\"",
            "name = \"all\"\nset = [\"train.epochs=1\"",
        ),
    )
    .unwrap();
    let output = dsgkd().arg("grid").arg(&file).assert().code(2).get_output().stderr.clone();
    assert!(String::from_utf8(output).unwrap().contains("train.epochs"));
    assert!(!world.path("grid").exists());
    std::fs::write(&file, GRID.replace("taught\"", "../taught\"")).unwrap();
    dsgkd().arg("grid").arg(&file).assert().code(2);
}

/// Folds are paired by their number, whatever order a table has them in, and all of them must be there.
#[test]
fn a_table_of_folds_says_the_same_in_any_order_and_lacks_none() {
    let world = World::new();
    world.experiment("floor", false, "");
    let set = "set = [\"baseline=tf-idf\", \"data.split.folds=12\", \"data.split.validation_fraction=0\", \"train.early_stopping=[]\"]";
    let arm = |name: &str| format!("[[arms]]\nname = \"{name}\"\nconfig = \"floor.toml\"\n{set}\n");
    let grid = format!("output_dir = \"grid\"\nseeds = [1]\n{}{}", arm("alone"), arm("taught"));
    let (file, said) = (world.path("grid.toml"), world.path("said.csv"));
    std::fs::write(&file, grid).unwrap();
    let run = |more: &[&str]| {
        let mut command = dsgkd();
        command.arg("grid").arg(&file).args(["--bootstrap-samples", "50", "--quiet"]).args(more);
        command
    };
    run(&["--predictions"]).arg(&said).assert().success();
    let rows = std::fs::read_to_string(&said).unwrap();
    let mut lines: Vec<&str> = rows.lines().collect();
    assert!(
        lines.iter().any(|line| line.contains(",alone,1,10,")) && lines.iter().any(|line| line.contains(",alone,1,2,"))
    );
    // Other scores for one arm, so that the folds differ.
    std::fs::rename(world.path("grid"), world.path("gone")).unwrap();
    let change = |line: &str| {
        let mut cells: Vec<String> = line.split(',').map(str::to_string).collect();
        let fold: f64 = cells[3].parse().unwrap();
        let score: f64 = cells[10].parse().unwrap();
        let score = (score * 7919.0 * (fold + 1.0)).fract();
        (cells[9], cells[10]) = ((1.0 - score).to_string(), score.to_string());
        cells.join(",")
    };
    let changed: Vec<String> =
        lines.iter().map(|line| if line.starts_with("all,taught") { change(line) } else { line.to_string() }).collect();
    let table = |lines: &[String]| {
        std::fs::write(&said, lines.join("\n")).unwrap();
        run(&["--finished", "--from"]).arg(&said).assert()
    };
    let text =
        |assert: assert_cmd::assert::Assert| String::from_utf8(assert.success().get_output().stdout.clone()).unwrap();
    let expected = text(table(&changed));
    // The rows of one arm alone, or positions would still be those of the same folds.
    let (mut mixed, of_taught): (Vec<String>, Vec<String>) =
        changed.iter().cloned().partition(|line| !line.starts_with("all,taught"));
    mixed.extend(of_taught.into_iter().rev());
    assert_eq!(text(table(&mixed)), expected);
    lines.retain(|line| !line.contains(",alone,1,7,"));
    let short: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
    let message = String::from_utf8(table(&short).code(3).get_output().stderr.clone()).unwrap();
    assert!(message.contains("arm \"alone\", seed 1: has 11 trainings where the grid's file has 12"), "{message}");
}
