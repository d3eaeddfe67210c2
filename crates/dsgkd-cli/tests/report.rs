//! `dsgkd report` and `dsgkd calibrate`, whole.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd, notes_csv};
use std::path::Path;
use std::process::Command;

/// Stands in every note, and nowhere else.
const CANARY: &str = "Qz7canaryWord";

fn train(world: &World, name: &str, teacher: bool) {
    let experiment = world.experiment(name, teacher, "");
    dsgkd().arg("train").arg(&experiment).arg("--quiet").assert().success();
}

fn report(world: &World, runs: &[&str], more: &[&str]) -> String {
    let mut command = dsgkd();
    command.arg("report").args(runs.iter().map(|run| world.path(run))).args(["--bootstrap-samples", "100"]).args(more);
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

#[test]
fn a_report_of_two_runs_stands_alone_and_holds_no_note() {
    let world = World::with_notes(&notes_csv(CANARY));
    train(&world, "alone", false);
    // Where prepared students are kept is a path like any other.
    let kept = format!("cache_dir={}", world.path("kept-students").display());
    let taught = world.experiment("taught", true, "");
    dsgkd().arg("train").arg(&taught).args(["--quiet", "--set", &kept]).assert().success();
    let page = report(&world, &["alone", "taught"], &["--subgroup", "urgent"]);
    for section in [
        "What was run on what",
        "Metrics",
        "Differences to alone",
        "Curves",
        "Calibration",
        "Decisions: taught",
        "By note length",
        "By share of Latin letters",
        "By column urgent",
        "Learning",
        "hidden-state loss",
        "Alignment: taught",
        "TRIPOD+AI",
        "Experiment file: taught",
    ] {
        assert!(page.contains(section), "{section} is missing");
    }
    assert!(!page.to_lowercase().contains(&CANARY.to_lowercase()));
    // Nothing is loaded from anywhere: no script, no address but the name of SVG.
    assert!(!page.contains("<script") && !page.contains("@import") && !page.contains("url("));
    let addresses = page.match_indices("http").map(|(at, _)| &page[at..(at + 26).min(page.len())]);
    for address in addresses.filter(|address| !address.starts_with("http-equiv")) {
        assert_eq!(address, "http://www.w3.org/2000/svg");
    }
    assert!(page.matches("<svg").count() >= 8 && !page.contains("NaN"));
    assert!(!page.contains(&*world.root().to_string_lossy()), "where files lie is nobody's business");
    let files: Vec<&str> = page.split("<pre>").skip(1).map(|file| file.split("</pre>").next().unwrap()).collect();
    assert!(files.len() == 2 && files[1].contains("kept-students"), "{files:?}");
    assert!(!files.concat().contains('/'), "no path but names: {files:?}");
    // Of each run, how it was built.
    let built = page.split("internal validation</td>").nth(1).unwrap().split("</td>").next().unwrap();
    assert!(
        built.contains("alone: an encoder fine-tuned without") && built.contains("from 1 frozen teacher,"),
        "{built}"
    );
    assert_eq!(page, report(&world, &["alone", "taught"], &["--subgroup", "urgent"]));

    // As JSON there are the numbers of the page; with a page in a file, its name.
    let file = world.path("page.html");
    let figures = report(&world, &["alone", "taught"], &["--json", "--sensitivity", "0.975", "--threshold", "0.25"]);
    assert!(!figures.to_lowercase().contains(&CANARY.to_lowercase()));
    let figures: serde_json::Value = serde_json::from_str(&figures).unwrap();
    let thresholds = figures["arms"][1]["thresholds"].as_array().unwrap();
    let names: Vec<&str> = thresholds.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["training prevalence", "one half", "threshold 0.25", "sensitivity 0.975"]);
    let part = &figures["arms"][1]["parts"][0]["parts"][0];
    assert!(part["notes"].as_u64().unwrap() > 0 && figures["differences"][0]["name"] == "taught");
    // And the page says the same.
    let chosen = report(&world, &["alone", "taught"], &["--sensitivity", "0.975", "--threshold", "0.25"]);
    let flagged = |row: &serde_json::Value, count: &str| row[count].as_u64().unwrap();
    let [row, ..] = &thresholds[3..] else { panic!() };
    let found = flagged(row, "true_positives") as f64
        / (flagged(row, "true_positives") + flagged(row, "false_negatives")) as f64;
    let cells = chosen.split("Decisions: taught").nth(1).unwrap().split(">sensitivity 0.975<").nth(1).unwrap();
    assert!(found >= 0.975 && cells.split("</tr>").next().unwrap().contains(&format!(">{found:.3} [")), "{cells}");
    assert!(page.contains("sensitivity 0.95<") && !chosen.contains("sensitivity 0.95<"));
    let mut beyond = dsgkd();
    beyond.arg("report").arg(world.path("alone")).args(["--specificity", "95"]).assert().code(2);
    let mut command = dsgkd();
    command.arg("report").arg(world.path("alone")).args(["--json", "--bootstrap-samples", "100"]);
    let written = command.arg("-o").arg(&file).assert().success().get_output().stdout.clone();
    let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
    assert!(written["written"].as_str().is_some_and(|name| file.to_str() == Some(name)));

    // The numbers are those of `evaluate`.
    let json =
        dsgkd().args(["evaluate", "--json", "--bootstrap-samples", "100"]).arg(world.path("taught")).output().unwrap();
    let metrics: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let auroc = format!("{:.3}", metrics["metrics"]["auroc"].as_f64().unwrap());
    assert!(page.contains(&format!(">{auroc} [")), "{auroc}");

    let refused = |column: &str| {
        let mut command = dsgkd();
        command.arg("report").arg(world.path("alone")).args(["--subgroup", column]).assert().code(2);
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(refused("absent").contains("there are id, patient, note, urgent"));
    let message = refused("note");
    assert!(
        message.contains("different values") && !message.to_lowercase().contains(&CANARY.to_lowercase()),
        "{message}"
    );
    // Numbers that no axis can span are left out of the curves.
    let history = "{\"step\":1,\"total\":1e308}\n{\"step\":2,\"total\":-1e308}\n";
    std::fs::write(world.path("alone/history.jsonl"), history).unwrap();
    assert!(report(&world, &["alone"], &[]).contains("Metrics"));
    // Data that is gone is no error unless it is asked for.
    std::fs::remove_file(world.path("notes.csv")).unwrap();
    assert!(!report(&world, &["alone"], &[]).contains("By note length"));
    dsgkd().arg("report").arg(world.path("alone")).args(["--subgroup", "urgent"]).assert().code(4);
    dsgkd().arg("report").arg(world.root()).arg("nowhere").assert().failure();
    std::fs::write(world.path("alone/predictions.json"), "{\"ids\": [").unwrap();
    dsgkd().arg("report").arg(world.path("alone")).assert().code(3);
}

/// What stands in the next cell of the row that this name begins.
fn cell(page: &str, row: &str) -> String {
    let after = page.split(&format!(">{row}</td>")).nth(1).unwrap_or_else(|| panic!("no row {row}"));
    after.split('>').nth(1).unwrap().split('<').next().unwrap().to_string()
}

#[test]
fn two_seeds_of_the_same_notes_are_no_more_notes() {
    let world = World::new();
    train(&world, "one", false);
    // A second training that came to the same as the first.
    for (copy, seed) in [("two/1", 3), ("two/2", 4)] {
        let folder = world.path(copy);
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["config.toml", "environment.json", "predictions.json", "history.jsonl"] {
            std::fs::copy(world.path("one").join(file), folder.join(file)).unwrap();
        }
        let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
        let config = config.replacen("\nseed = 3\n", &format!("\nseed = {seed}\n"), 1);
        std::fs::write(folder.join("config.toml"), config).unwrap();
    }
    let (one, two) = (report(&world, &["one"], &[]), report(&world, &["two"], &[]));
    assert_eq!(cell(&two, "seeds"), "3; 4");
    assert_eq!(cell(&two, "test notes, all runs"), cell(&one, "test notes"));
    assert_eq!(cell(&two, "notes"), cell(&one, "notes"));
    // Shares at thresholds and parts of the notes, with their intervals: the tables' rows are equal.
    let rows = |page: &str, from: &str| page.split(from).nth(1).unwrap().split("</tbody>").next().unwrap().to_string();
    for from in [">one half</td>", "By note length", "By share of Latin letters"] {
        assert_eq!(rows(&one, from), rows(&two, from), "{from}");
    }
    assert!(one.contains(">notes</th>") && !one.contains(">rows</th>"));
    assert!(one.contains("take every note for independent"));
    // One split, two trainings on it.
    assert!(two.contains("\n# seeds 3, 4\n") && two.matches("\nseed = 3\n").count() == 1);
    assert!(one.matches("\nseed = 3\n").count() == 2 && !one.contains("# seeds"));
    assert!(two.contains("2 runs with 2 seeds in this report") && two.contains(" yes) in each of 2 runs; "));
}

/// Of each note, and the class that was decided.
fn predictions(world: &World, run: &str) -> (Vec<f64>, Vec<String>) {
    let out = world.path("out.jsonl");
    dsgkd()
        .arg("predict")
        .arg(world.path(run).join("model"))
        .arg(world.path("notes.csv"))
        .arg("-o")
        .arg(&out)
        .arg("--quiet")
        .assert()
        .success();
    let text = std::fs::read_to_string(&out).unwrap();
    let notes = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let read = |note: serde_json::Value| {
        (note["probability_yes"].as_f64().unwrap(), note["predicted_label"].as_str().unwrap().to_string())
    };
    notes.map(read).unzip()
}

#[test]
fn a_calibrated_model_predicts_scaled_probabilities_in_the_same_order() {
    let world = World::new();
    train(&world, "run", false);
    let (before, decided) = predictions(&world, "run");
    let calibrate = || {
        let output = dsgkd().arg("calibrate").arg(world.path("run")).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[0][1].clone()
    };
    let calibration = calibrate();
    let temperature = calibration["temperature"].as_f64().unwrap();
    let loss = |when: &str| calibration["validation"][when]["log_loss"].as_f64().unwrap();
    assert!(loss("after") <= loss("before") && temperature != 1.0);
    for (before, after) in before.iter().zip(predictions(&world, "run").0) {
        let logit = (before / (1.0 - before)).ln() / temperature;
        assert!((after - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-9);
    }
    assert_eq!(calibrate(), calibration, "it is fitted on what was trained, not on what was scaled");
    assert!(report(&world, &["run"], &[]).contains("After temperature scaling"));
    // Even one that makes all alike changes no decision: these are what was tested.
    let path = world.path("run/model/dsgkd.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    settings["temperature"] = 1000.0.into();
    std::fs::write(&path, settings.to_string()).unwrap();
    let (alike, still) = predictions(&world, "run");
    assert!(alike.iter().all(|probability| (probability - 0.5).abs() < 0.01) && still == decided);

    // Other data, or none to fit on.
    let notes = std::fs::read_to_string(world.path("notes.csv")).unwrap();
    std::fs::write(world.path("notes.csv"), notes.replacen(",yes", ",no", 1)).unwrap();
    dsgkd().arg("calibrate").arg(world.path("run")).assert().code(3);
    let experiment = world.experiment("bare", false, "");
    let set = ["--set", "data.split.validation_fraction=0", "--set", "train.early_stopping=[]"];
    dsgkd().arg("train").arg(&experiment).arg("--quiet").args(set).assert().success();
    let output = dsgkd().arg("calibrate").arg(world.path("bare")).assert().code(3).get_output().stderr.clone();
    assert!(String::from_utf8(output).unwrap().contains("data.split.validation_fraction"));
    // A threshold that is given asks nothing of validation notes.
    let calibrate = |arguments: [&str; 2]| {
        let mut command = dsgkd();
        command.arg("calibrate").arg(world.path("bare")).args(arguments);
        command
    };
    calibrate(["--sensitivity", "0.9"]).assert().code(3);
    let said = calibrate(["--threshold", "0.2"]).assert().success().get_output().stdout.clone();
    assert!(String::from_utf8(said).unwrap().contains("probabilities stay as trained"));
    let (probabilities, labels) = predictions(&world, "bare");
    assert!(probabilities.iter().zip(&labels).all(|(probability, label)| (*probability >= 0.2) == (label == "yes")));
    assert!(report(&world, &["bare"], &[]).contains("threshold 0.2, chosen"));
}

#[test]
fn of_several_runs_none_is_calibrated_where_one_cannot_be() {
    let world = World::new();
    train(&world, "run", false);
    let bare = world.experiment("bare", false, "");
    let set = ["--set", "data.split.validation_fraction=0", "--set", "train.early_stopping=[]"];
    dsgkd().arg("train").arg(&bare).arg("--quiet").args(set).assert().success();
    let settings = || std::fs::read_to_string(world.path("run/model/dsgkd.json")).unwrap();
    let before = settings();
    dsgkd().arg("calibrate").args([world.path("run"), world.path("bare")]).assert().code(3);
    assert_eq!((settings(), world.path("run/calibration.json").exists()), (before.clone(), false));
    let card = world.path("run/model/README.md");
    let text = std::fs::read_to_string(&card).unwrap();
    std::fs::write(&card, b"\xFF").unwrap();
    dsgkd().arg("calibrate").arg(world.path("run")).assert().code(3);
    assert_eq!((settings(), world.path("run/calibration.json").exists()), (before.clone(), false));
    std::fs::write(&card, text).unwrap();
    dsgkd().arg("calibrate").arg(world.path("run")).assert().success();
    assert!(settings() != before && world.path("run/calibration.json").exists());
}

#[test]
fn a_threshold_chosen_on_validation_notes_decides_until_another_is_chosen() {
    let world = World::new();
    train(&world, "run", false);
    let calibrate = |arguments: &[&str]| {
        let output = dsgkd().arg("calibrate").arg(world.path("run")).args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()[0][1].clone()
    };
    let labels_at = |threshold: f64| -> Vec<String> {
        let label = |probability: &f64| if *probability >= threshold { "yes" } else { "no" }.to_string();
        predictions(&world, "run").0.iter().map(label).collect()
    };
    let card = || std::fs::read_to_string(world.path("run/model/README.md")).unwrap();
    assert!(card().contains("the share of `yes` among the training notes. `transformers`"), "{}", card());
    assert!(calibrate(&[])["decision"].is_null());
    assert!(card().contains(", after the temperature. `transformers`"), "{}", card());
    let at_prevalence = predictions(&world, "run").1;
    let chosen = calibrate(&["--sensitivity", "0.99"]);
    let threshold = chosen["decision"]["threshold"].as_f64().unwrap();
    assert_eq!(chosen["decision"]["validation"]["false_negatives"], 0);
    let decided = predictions(&world, "run").1;
    assert!(decided == labels_at(threshold) && decided != at_prevalence);
    assert!(
        card().contains(&format!(
            "a note `yes` at a probability of {threshold} or above: chosen for a sensitivity 0.99 on "
        )),
        "{}",
        card()
    );
    assert_eq!(calibrate(&[]), chosen, "a threshold is not lost by fitting the temperature again");

    // The report counts the test notes as `predict` decides them.
    let page = report(&world, &["run"], &[]);
    let numbers: serde_json::Value = serde_json::from_str(&report(&world, &["run"], &["--json"])).unwrap();
    let row = &numbers["arms"][0]["thresholds"][1];
    let confusion = &numbers["arms"][0]["confusion"];
    assert_eq!(row["name"], "sensitivity 0.99 on validation notes");
    assert_eq!((&row["true_positives"], &row["false_positives"]), (&confusion[1][1], &confusion[0][1]));
    assert_eq!(row["true_positives"], chosen["decision"]["test"]["true_positives"]);
    assert!(page.contains("predict decides at: sensitivity 0.99 on validation notes"));
    // And so it counts their parts, which make the whole: the first has no positives, and too few notes to be measured.
    assert!(page.contains("; decided at: sensitivity 0.99 on validation notes; Brier as trained."));
    let parts = numbers["arms"][0]["parts"][0]["parts"].as_array().unwrap();
    let found = |part: &serde_json::Value| {
        part["chosen"]["sensitivity"]["value"].as_f64().unwrap_or(0.0) * part["positives"].as_f64().unwrap()
    };
    let all: f64 = parts.iter().map(found).sum();
    assert!(all > 0.0 && (all - confusion[1][1].as_f64().unwrap()).abs() < 1e-9);
    let as_at_prevalence = |part: &serde_json::Value| {
        let mut estimates = part["intervals"]["estimates"].as_array().into_iter().flatten();
        let found = estimates.find(|estimate| estimate["metric"] == "specificity_at_prevalence");
        found.is_none_or(|found| found["value"] == part["chosen"]["specificity"]["value"])
    };
    assert!(!parts.iter().all(as_at_prevalence));

    // A probability is one of those that are written, whether it is kept, given once or asked about.
    let given = calibrate(&["--threshold", "0.7"]);
    assert_eq!(given["decision"]["threshold"], 0.7);
    assert!(card().contains("at a probability of 0.7 or above: chosen by whoever"), "{}", card());
    let kept = predictions(&world, "run").1;
    assert_eq!(kept, labels_at(0.7));
    let numbers = report(&world, &["run"], &["--json", "--threshold", "0.7"]);
    let numbers: serde_json::Value = serde_json::from_str(&numbers).unwrap();
    let rows = numbers["arms"][0]["thresholds"].as_array().unwrap();
    let [chosen_row, asked] = ["threshold 0.7, chosen", "threshold 0.7"].map(|name| {
        let row = rows.iter().find(|row| row["name"] == name).unwrap();
        let [found, alarms, benefit] =
            ["true_positives", "false_positives", "net_benefit"].map(|key| row[key].as_f64().unwrap());
        let notes: f64 = ["true_positives", "false_positives", "false_negatives", "true_negatives"]
            .iter()
            .map(|key| row[*key].as_f64().unwrap())
            .sum();
        assert!((benefit - (found - alarms * 0.7 / 0.3) / notes).abs() < 1e-9);
        (found, alarms)
    });
    assert_eq!(chosen_row, asked);
    let predict = |threshold: &str| {
        let mut command = dsgkd();
        command.arg("predict").arg(world.path("run/model")).arg(world.path("notes.csv"));
        command.args(["--threshold", threshold, "--json"]);
        command
    };
    let written = predict("0.01").assert().success().get_output().clone();
    assert!(String::from_utf8(written.stderr).unwrap().contains("`yes` at a probability of 0.01 and above"));
    let written = String::from_utf8(written.stdout).unwrap();
    assert_eq!(
        written.matches("\"predicted_label\":\"yes\"").count(),
        labels_at(0.01).iter().filter(|label| *label == "yes").count()
    );
    predict("1.5").assert().code(2);
    assert!(calibrate(&["--at-prevalence"])["decision"].is_null());
    assert_eq!(predictions(&world, "run").1, at_prevalence);
    let two = ["--sensitivity", "0.9", "--specificity", "0.9"];
    dsgkd().arg("calibrate").arg(world.path("run")).args(two).assert().code(2);
    dsgkd().arg("calibrate").arg(world.path("run")).args(["--sensitivity", "95"]).assert().code(2);
}

fn browse(browser: &str, profile: &Path, page: &Path, arguments: &[&str]) -> (String, String) {
    let output = Command::new(browser)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    (String::from_utf8_lossy(&output.stdout).to_string(), String::from_utf8_lossy(&output.stderr).to_string())
}

#[test]
fn a_browser_shows_and_prints_the_report_without_complaint() {
    // CI names one; elsewhere a browser may be confined in ways that this test cannot know.
    let Ok(browser) = std::env::var("DSGKD_BROWSER") else { return };
    let world = World::new();
    train(&world, "run", true);
    let page = world.path("report.html");
    std::fs::write(&page, report(&world, &["run"], &[])).unwrap();
    let profile = world.path("profile");
    let (shown, log) = browse(&browser, &profile, &page, &["--dump-dom"]);
    assert!(shown.contains("<h2>Metrics</h2>") && shown.contains("</svg>"), "{log}");
    // Errors of the page, and requests that its policy kept it from making, are lines of the console.
    assert!(!log.contains("CONSOLE"), "{log}");
    let pdf = world.path("report.pdf");
    browse(&browser, &profile, &page, &[&format!("--print-to-pdf={}", pdf.display())]);
    assert!(std::fs::metadata(&pdf).unwrap().len() > 10_000);
    std::fs::write(&page, std::fs::read_to_string(&page).unwrap().replace("<body>", "<body><script>1</script>"))
        .unwrap();
    let (_, log) = browse(&browser, &profile, &page, &["--dump-dom"]);
    assert!(log.contains("CONSOLE"), "a page that breaks its policy is noticed: {log}");
}
