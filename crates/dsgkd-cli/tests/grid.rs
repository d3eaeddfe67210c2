//! `dsgkd grid`, whole.
#![allow(clippy::unwrap_used)]

mod common;

use common::{World, dsgkd};

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
        String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
    };
    let table = run();
    assert_eq!(table.lines().count(), 2 + 4, "{table}");
    assert!(
        table.contains("| 30 labels | taught | ") && table.contains("| all | alone | ") && !table.contains("undefined")
    );
    let folder = world.path("grid").join("30 labels").join("taught").join("seed-2");
    let environment = std::fs::read_to_string(folder.join("environment.json")).unwrap();
    let counts: serde_json::Value = serde_json::from_str(&environment).unwrap();
    assert_eq!(counts["notes"]["training"], 30);
    assert!(counts["notes"]["unlabeled"].as_u64().unwrap() > 20);
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    let of_split = config.split("[data.split]").nth(1).unwrap().split("\n[").next().unwrap();
    assert!(of_split.contains("\nseed = 2\n"), "{of_split}");

    // What is done is kept; what is not is trained.
    let before = std::fs::metadata(folder.join("config.toml")).unwrap().modified().unwrap();
    std::fs::remove_dir_all(world.path("grid").join("all").join("alone").join("seed-1")).unwrap();
    assert_eq!(run(), table);
    assert_eq!(std::fs::metadata(folder.join("config.toml")).unwrap().modified().unwrap(), before);
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
