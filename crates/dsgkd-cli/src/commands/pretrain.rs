//! `dsgkd pretrain`

use crate::args::{Global, PretrainArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;

pub(crate) fn run(args: &PretrainArgs, global: &Global) -> CommandResult {
    let mut config = dsgkd::config::load_pretrain(&args.config, &args.set)?;
    super::fetch_model(&mut config.model, global)?;
    super::use_threads(config.threads)?;
    super::say_what_is_lacking(config.train.dtype, global);
    let mut progress = Progress::new(global.quiet, "pretrain");
    let summary = dsgkd::pretrain::pretrain(&config, args.resume, &mut progress);
    progress.finish();
    let summary = summary?;
    if global.json {
        print_json(&summary)?;
    } else {
        print(&format!(
            "{} documents, {} tokens seen in {} steps, {} parameters\nheld out: loss {:.4} (before: {:.4}), perplexity {:.2}, masked accuracy {:.4}\nmodel: {}\n",
            summary.documents,
            summary.tokens,
            summary.steps,
            summary.parameters,
            summary.held_out.loss,
            summary.held_out_before.loss,
            summary.held_out.perplexity,
            summary.held_out.accuracy,
            config.output_dir.join("model").display(),
        ))?;
    }
    Ok(Outcome::Done)
}
