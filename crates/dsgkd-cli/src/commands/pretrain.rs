//! `dsgkd pretrain`

use crate::args::{Global, PretrainArgs};
use crate::exit::{CommandResult, Outcome};
use crate::output::{print, print_json};
use crate::progress::Progress;
use dsgkd::pretrain::RankedWord;

pub(crate) fn run(args: &PretrainArgs, global: &Global) -> CommandResult {
    let mut config = dsgkd::config::load_pretrain(&args.config, &args.set)?;
    super::fetch_model(&mut config.model, global)?;
    super::use_threads(config.threads)?;
    super::say_what_is_lacking(config.train.dtype, global);
    let mut progress = Progress::new(global.quiet, "pretrain");
    if args.preview {
        let words = dsgkd::pretrain::preview(&config, args.words, &mut progress);
        progress.finish();
        return show(&words?, global);
    }
    let summary = dsgkd::pretrain::pretrain(&config, args.resume, &mut progress);
    progress.finish();
    let summary = summary?;
    if global.json {
        print_json(&summary)?;
    } else {
        let pseudo = summary.pseudo_perplexity.map_or(String::new(), |found| {
            format!(", pseudo-perplexity {:.2} ({} tokens of {} texts)", found.value, found.tokens, found.texts)
        });
        print(&format!(
            "{} documents, {} tokens seen in {} steps, {} parameters\nheld out: loss {:.4} (before: {:.4}; its exponential now {:.2}), masked accuracy {:.4}{pseudo}\nmodel: {}\n",
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

/// Prints ranked words.
fn show(words: &[RankedWord], global: &Global) -> CommandResult {
    if global.json {
        print_json(&words)?;
    } else {
        let mut table = String::from("score  count  documents  general  word\n");
        for RankedWord { word, score, count, documents, general_count } in words {
            table += &format!("{score:.3}  {count:>5}  {documents:>9}  {general_count:>7}  {word}\n");
        }
        print(&table)?;
    }
    Ok(Outcome::Done)
}
