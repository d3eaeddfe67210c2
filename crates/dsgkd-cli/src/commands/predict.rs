//! `dsgkd predict`

use crate::args::{Dtype, Global, PredictArgs};
use crate::exit::{CommandResult, Outcome};
use crate::interrupt::interrupted;
use crate::output::print_json;
use crate::progress::Progress;
use dsgkd::data::{Format, NewColumn, ReadOptions, Records, TableWriter, is_same_file};
use dsgkd::error::{Error, Result};
use dsgkd::eval::OperatingPoint;
use dsgkd::infer::WeightPrecision;
use dsgkd::predict::{Predictor, Rounding};
use std::path::Path;

pub(crate) fn run(args: &PredictArgs, global: &Global) -> CommandResult {
    let output = args.output.as_deref().filter(|output| *output != Path::new("-"));
    if let Some(output) = output.filter(|output| is_same_file(&args.notes, output)) {
        // The table of predictions may lack rows of it.
        return Err(Error::Config(format!("-o: {} is read; write to another file", output.display())));
    }
    let mut predictor = Predictor::open(&args.model)?;
    if let Some(threshold) = args.threshold {
        OperatingPoint::Threshold(threshold).check()?;
        if predictor.model.classes.len() != 2 {
            let message =
                format!("--threshold: is of two classes, and the model has {}", predictor.model.classes.len());
            return Err(Error::Config(message));
        }
        predictor.threshold = Some(threshold);
    }
    let progress = Progress::new(global.quiet, "predict");
    let data = &mut predictor.settings.data;
    if let Some(text) = &args.text {
        if !data.template.is_empty() {
            progress.say("predict: the model was trained on several columns put together by data.template; with --text it reads that one alone");
        }
        (data.text, data.template) = (text.clone(), String::new());
    }
    let piped = args.notes == Path::new("-");
    // The training files' format says nothing of these notes; their encoding, separator and sheet do unless told otherwise.
    data.format = args.format.clone().unwrap_or_else(|| if piped { "csv".to_string() } else { String::new() });
    let own = [&mut data.encoding, &mut data.separator, &mut data.sheet];
    for (own, given) in own.into_iter().zip([&args.encoding, &args.separator, &args.sheet]) {
        given.iter().for_each(|given| own.clone_from(given));
    }
    let is_text = matches!(Format::of(&args.notes, &data.format), Ok(Format::Csv | Format::Tsv));
    // In most of these any bytes are text, so that nothing else would tell of a file that is in UTF-8.
    if args.encoding.is_none()
        && is_text
        && !data.encoding.is_empty()
        && !data.encoding.to_lowercase().starts_with("utf")
    {
        let encoding = &data.encoding;
        progress.say(&format!(
            "predict: reading the notes as {encoding}, as the training files were; if they are not, give their --encoding"
        ));
    }
    let options = ReadOptions::from(&*data);
    let records = if piped {
        Records::from_reader(Box::new(std::io::stdin()), Path::new("standard input"), &options)?
    } else {
        Records::open(&args.notes, &options)?
    };
    predictor.precision = match args.dtype {
        Dtype::Float32 => WeightPrecision::Float32,
        Dtype::Bfloat16 => WeightPrecision::Bfloat16,
        Dtype::Int8 => WeightPrecision::Int8,
    };
    if predictor.precision.available() != predictor.precision {
        progress.say("predict: no fast arithmetic of that type here; computing in float32");
    }
    if let (Some(threshold), [_, positive]) = (predictor.written_threshold(), &predictor.model.classes[..]) {
        progress.say(&format!("predict: `{positive}` at a probability of {threshold} and above"));
    }
    let mut last = std::time::Instant::now();
    let mut tell = |notes: u64| {
        if last.elapsed().as_secs() >= 10 {
            last = std::time::Instant::now();
            progress.say(&format!("predict: {notes} notes"));
        }
        interrupted()
    };
    let summary = predictor.stream(
        records,
        |columns, added| writer(args, output, global, columns, added),
        args.skip_bad_rows,
        &mut tell,
    )?;
    let cut = if summary.truncated > 0 { format!(", {} of them truncated", summary.truncated) } else { String::new() };
    progress.say(&format!("predict: {} notes{cut}", summary.notes));
    if let Some(rounding) = &summary.rounding {
        progress.say(&describe(rounding));
    }
    if summary.bad_rows.total() > 0 {
        progress.say(&format!("predict: skipped {}", summary.bad_rows));
    }
    if global.json && output.is_some() {
        print_json(&summary)?;
    }
    Ok(Outcome::Done)
}

fn describe(rounding: &Rounding) -> String {
    let Rounding { notes, max_difference, mean_difference, labels_changed } = rounding;
    format!(
        "predict: against float32, on the first {notes} notes: probabilities differ by {mean_difference:.4} on average and \
         {max_difference:.4} at most, {labels_changed} labels differ"
    )
}

fn writer(
    args: &PredictArgs,
    output: Option<&Path>,
    global: &Global,
    columns: &[String],
    added: &[NewColumn],
) -> Result<TableWriter> {
    match output {
        Some(path) => TableWriter::create(path, columns, added),
        None => {
            let format = match &args.format {
                _ if global.json => Format::Jsonl,
                Some(name) => Format::by_name(name)?,
                None => Format::by_extension(&args.notes).unwrap_or(Format::Csv),
            };
            // What cannot be written to a pipe comes out as what is nearest.
            let format = match format {
                Format::Xlsx | Format::Parquet => Format::Csv,
                Format::Json => Format::Jsonl,
                written => written,
            };
            TableWriter::to_writer(Box::new(std::io::stdout()), Path::new("standard output"), format, columns, added)
        }
    }
}
