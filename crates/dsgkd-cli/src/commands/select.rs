//! `dsgkd select`

use crate::args::{Global, SelectArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;

pub(crate) fn run(args: &SelectArgs, global: &Global) -> CommandResult {
    let mut config = dsgkd::config::load_select(&args.config)?;
    super::fetch_model(&mut config.model, global)?;
    super::use_threads(config.threads)?;
    let mut progress = Progress::new(global.quiet, "select");
    let selection = dsgkd::select::select(&config, &mut progress);
    progress.finish();
    let selection = selection?;
    if global.json {
        print_json(&selection)?;
    } else {
        print(&dsgkd::select::table(&selection))?;
    }
    Ok(Outcome::Done)
}
