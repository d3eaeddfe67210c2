//! `dsgkd demo`

use super::compare::side_by_side;
use super::train::train_each;
use crate::args::{DemoArgs, Global};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::error::{Error, Result};
use dsgkd::eval::BootstrapOptions;
use dsgkd::runs::FinishedRuns;
use std::path::{Path, PathBuf};

/// The demo's experiments: the same student and folds, without and with the teacher.
const METHODS: [&str; 2] = ["finetune", "distill"];

pub(crate) fn run(args: &DemoArgs, global: &Global) -> CommandResult {
    let output = output(args)?;
    let talk = Progress::new(global.quiet, "demo");
    talk.say(
        "demo: emergency or not, from 1,267 real emergency-department records (Moon et al. 2019, PLOS ONE, CC BY 4.0): the English \
         complaints and the triage labels are real, the Korean wording around them is a template",
    );
    let mut runs = vec![];
    for method in METHODS {
        let path = args.folder.join(format!("{method}.toml"));
        if !path.exists() {
            return Err(Error::Config(format!(
                "{}: is not there; run the demo in the project's folder, or name its demo folder",
                path.display()
            )));
        }
        let mut config = dsgkd::config::load(Some(&path), &[])?.resolved();
        config.output_dir = output.join(method);
        config.validate()?;
        train_each(&config, global).map_err(|error| match error {
            // Without a folder named, the same command begins a new one.
            Error::Interrupted(_) => {
                Error::Interrupted(format!("stopped; dsgkd demo -o {} goes on from there", output.display()))
            }
            other => other,
        })?;
        runs.push(FinishedRuns::read(&config.output_dir)?);
    }
    let compared = side_by_side(&runs, BootstrapOptions::default())?;
    if global.json {
        print_json(&compared)?;
    } else {
        print(&compared.table())?;
        talk.say(&format!("demo: the runs, their models and histories are in {}", output.display()));
    }
    Ok(Outcome::Done)
}

/// Where the runs go: the folder that was named, or a fresh one.
fn output(args: &DemoArgs) -> Result<PathBuf> {
    if let Some(output) = &args.output {
        return Ok(output.clone());
    }
    let fresh = |number: u32| std::env::temp_dir().join(format!("dsgkd-demo-{}-{number}", std::process::id()));
    let path: PathBuf = (0..).map(fresh).find(|path| !Path::exists(path)).unwrap_or_else(|| fresh(0));
    std::fs::create_dir_all(&path).map_err(Error::io(&path, "create"))?;
    Ok(path)
}
