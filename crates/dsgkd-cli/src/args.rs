//! What is typed.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Teach a general language model your domain (DSG-KD).
#[derive(Parser)]
#[command(name = "dsgkd", version, about, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every command.
#[derive(Args)]
pub(crate) struct Global {
    /// Print the result as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing on standard error but errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Write a commented experiment file to start from
    Init(InitArgs),
    /// Print an experiment as it resolves: file, overrides, preset, defaults
    Config(ExperimentArgs),
    /// Look at the notes before training: labels, lengths, terms, duplicates, bad rows
    Check(ExperimentArgs),
    /// Show notes with their words, terms and both tokenizations (prints note text)
    Align(AlignArgs),
    /// Cluster documents by domain, and pick those like a few examples (writes their text to the file that is named)
    Select(SelectArgs),
    /// Train a masked language model on domain text, from scratch or from a folder
    Pretrain(PretrainArgs),
    /// Train a classifier, with a domain teacher (DSG-KD) or without, and test it
    Train(TrainArgs),
    /// Measure a run, or predictions of any program, with confidence intervals
    Evaluate(EvaluateArgs),
    /// Put runs side by side, with paired differences to the first
    Compare(CompareArgs),
    /// Train arms under several conditions and seeds, and compare them; what is done is kept
    Grid(GridArgs),
    /// Fit a temperature on a run's validation notes, for probabilities that come true as often as they say, and choose a threshold on them
    Calibrate(CalibrateArgs),
    /// Write one HTML page about runs: metrics, curves, calibration, thresholds, parts of the notes
    Report(ReportArgs),
    /// Classify new notes
    ///
    /// `predicted_label` is the most probable class; of two classes the positive one at or above the threshold that `dsgkd calibrate` chose, or else its share
    /// among the training notes, as runs are tested.
    Predict(PredictArgs),
    /// Train with and without the teacher on real emergency records, and compare
    Demo(DemoArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
pub(crate) struct InitArgs {
    /// The file to write
    #[arg(default_value = "experiment.toml")]
    pub(crate) file: PathBuf,
    /// Write a grid file instead, which holds this experiment against all that a taught student must beat
    #[arg(long, value_name = "CONFIG")]
    pub(crate) rivals_of: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ExperimentArgs {
    /// The experiment file
    pub(crate) config: PathBuf,
    /// Override a key: `--set train.batch_size=8` (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Count bad rows and go on, as `data.skip_bad_rows = true` does
    #[arg(long)]
    pub(crate) skip_bad_rows: bool,
}

#[derive(Args)]
pub(crate) struct AlignArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    /// Show this text instead of notes of the data files
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Notes to show
    #[arg(long, default_value_t = 3)]
    pub(crate) notes: usize,
}

#[derive(Args)]
pub(crate) struct SelectArgs {
    /// The selection file
    pub(crate) config: PathBuf,
}

#[derive(Args)]
pub(crate) struct PretrainArgs {
    /// The pretraining file
    pub(crate) config: PathBuf,
    /// Override a key: `--set train.max_steps=100` (repeatable)
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Go on from the checkpoint in the output folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Print the words that selective masking prefers, and train nothing (prints words of the corpus); needs a `model` to continue from, or a training that
    /// has begun, for its tokenizer splits the words
    #[arg(long, conflicts_with = "resume")]
    pub(crate) preview: bool,
    /// Words to print
    #[arg(long, requires = "preview", default_value_t = 50)]
    pub(crate) words: usize,
}

#[derive(Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) experiment: ExperimentArgs,
    /// Go on from the latest checkpoint of the output folder
    #[arg(long)]
    pub(crate) resume: bool,
    /// Train every fold of `data.split.folds`, each in a folder of its own; finished folds are kept
    #[arg(long)]
    pub(crate) all_folds: bool,
}

#[derive(Args)]
pub(crate) struct EvaluateArgs {
    /// A run folder, or a folder of runs (the folds of one experiment)
    #[arg(required_unless_present = "predictions", conflicts_with = "predictions")]
    pub(crate) run: Option<PathBuf>,
    /// A table of any program with a label and a probability column
    #[arg(long, requires = "label", requires = "probability")]
    pub(crate) predictions: Option<PathBuf>,
    /// Column with the true label
    #[arg(long, requires = "predictions")]
    pub(crate) label: Option<String>,
    /// Column with the probability of the positive class; or one a class (`--probability A,B,C`), in the order of `--classes`. Columns named `probability_CLASS`, as `predict` writes
    /// them, say without `--classes` whose they are
    #[arg(long, value_delimiter = ',', requires = "predictions")]
    pub(crate) probability: Vec<String>,
    /// Column that names a note
    #[arg(long, requires = "predictions")]
    pub(crate) id: Option<String>,
    /// Column with what a note is drawn together with in the bootstrap: its patient
    #[arg(long, requires = "predictions")]
    pub(crate) group: Option<String>,
    /// Class names in order, the second of two being the positive one; default: what the probability columns are named after, else the sorted labels
    #[arg(long, value_delimiter = ',', requires = "predictions")]
    pub(crate) classes: Vec<String>,
    /// Share of positives among the training notes, the second threshold; without it the measures at_prevalence are undefined
    #[arg(long, requires = "predictions")]
    pub(crate) prevalence: Option<f64>,
    /// The table's format, where its name does not tell: csv, tsv, jsonl, json, parquet or xlsx
    #[arg(long, requires = "predictions")]
    pub(crate) format: Option<String>,
    /// The table's encoding, like `euc-kr`; default: UTF-8, which JSONL and JSON always are
    #[arg(long, requires = "predictions")]
    pub(crate) encoding: Option<String>,
    /// The table's separator; default: a comma, or a tab by the file's name
    #[arg(long, requires = "predictions")]
    pub(crate) separator: Option<String>,
    /// Bootstrap samples of the 95 % intervals
    #[arg(long, default_value_t = 2000)]
    pub(crate) bootstrap_samples: usize,
    /// Also the reference's ten subsamples of 75 %, as mean and standard deviation
    #[arg(long)]
    pub(crate) subsamples: bool,
    /// Write the JSON here as well
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct CompareArgs {
    /// Run folders, or folders of runs; the first is the baseline
    #[arg(required = true, num_args = 2..)]
    pub(crate) runs: Vec<PathBuf>,
    /// Bootstrap samples
    #[arg(long, default_value_t = 2000)]
    pub(crate) bootstrap_samples: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct GridArgs {
    /// The grid file
    pub(crate) grid: PathBuf,
    /// Train nothing: compare the arms that are done
    #[arg(long)]
    pub(crate) finished: bool,
    /// Take this arm alone (repeatable)
    #[arg(long = "arm", value_name = "ARM")]
    pub(crate) arms: Vec<String>,
    /// Take these seeds of the file's alone: `--seeds 1,2`
    #[arg(long, value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Hold the arms against this one in place of the first
    #[arg(long, value_name = "ARM")]
    pub(crate) against: Option<String>,
    /// Write the first four arms under all conditions as a curve, an SVG file
    #[arg(long, value_name = "FILE")]
    pub(crate) chart: Option<PathBuf>,
    /// Write what every arm said of every test note, for other programs and for `--from`: a CSV, TSV, JSONL or Parquet file (ids and groups, no text)
    #[arg(long, value_name = "FILE")]
    pub(crate) predictions: Option<PathBuf>,
    /// Take from this file, which `--predictions` wrote, what arms said whose runs are not there
    #[arg(long, value_name = "FILE", requires = "finished")]
    pub(crate) from: Option<PathBuf>,
    /// Bootstrap samples of the paired differences
    #[arg(long, default_value_t = 2000)]
    pub(crate) bootstrap_samples: usize,
    /// Their seed
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct CalibrateArgs {
    /// Run folders, or folders of runs
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// Have `predict` call positive what reaches this calibrated probability; without one of these four what was chosen before stays
    #[arg(long, value_name = "PROBABILITY", group = "point")]
    pub(crate) threshold: Option<f64>,
    /// Have `predict` find so large a share of the positives, as far as the validation notes tell
    #[arg(long, value_name = "SHARE", group = "point")]
    pub(crate) sensitivity: Option<f64>,
    /// Have `predict` leave so large a share of the negatives alone, as far as the validation notes tell
    #[arg(long, value_name = "SHARE", group = "point")]
    pub(crate) specificity: Option<f64>,
    /// Have `predict` decide at the share of positives among the training notes again
    #[arg(long, group = "point")]
    pub(crate) at_prevalence: bool,
}

#[derive(Args)]
pub(crate) struct ReportArgs {
    /// Run folders, or folders of runs; the others are compared with the first
    #[arg(required = true)]
    pub(crate) runs: Vec<PathBuf>,
    /// The page to write; default: standard output
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
    /// Also measure the parts of the notes that this column of the data files makes (repeatable)
    #[arg(long, value_name = "COLUMN")]
    pub(crate) subgroup: Vec<String>,
    /// Show what this threshold decides (repeatable, as the two below; without any: sensitivity 0.9 and 0.95, specificity 0.9)
    #[arg(long, value_name = "PROBABILITY")]
    pub(crate) threshold: Vec<f64>,
    /// Show the threshold at which so large a share of the positives is found
    #[arg(long, value_name = "SHARE")]
    pub(crate) sensitivity: Vec<f64>,
    /// Show the threshold at which so large a share of the negatives is left alone
    #[arg(long, value_name = "SHARE")]
    pub(crate) specificity: Vec<f64>,
    /// Bootstrap samples
    #[arg(long, default_value_t = 2000)]
    pub(crate) bootstrap_samples: usize,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Args)]
pub(crate) struct PredictArgs {
    /// The model folder of a run (`RUN/model`)
    pub(crate) model: PathBuf,
    /// The notes: CSV, TSV, JSONL, JSON, Parquet or XLSX; `-`: standard input
    #[arg(default_value = "-")]
    pub(crate) notes: PathBuf,
    /// The table to write (CSV, TSV, JSONL or Parquet by its extension); default: standard output
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
    /// Column with the note's text, where it differs from the training's columns
    #[arg(long)]
    pub(crate) text: Option<String>,
    /// Format of the notes, where the name does not tell; also that of standard input and (but for `--json`) output
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// Encoding of the notes; default: the training files'. JSONL and JSON are UTF-8 whatever stands here
    #[arg(long)]
    pub(crate) encoding: Option<String>,
    /// Separator of the notes; default: the training files'
    #[arg(long)]
    pub(crate) separator: Option<String>,
    /// Sheet of a workbook; default: the one of that name in the training's workbook, else the first
    #[arg(long)]
    pub(crate) sheet: Option<String>,
    /// Call positive what reaches this probability (of two classes), in place of the model's own threshold
    #[arg(long, value_name = "PROBABILITY")]
    pub(crate) threshold: Option<f64>,
    /// What the model computes in; what a smaller type changes is measured on the first notes, and said
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dtype: Dtype,
    /// Go on past bad rows and count them
    #[arg(long)]
    pub(crate) skip_bad_rows: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, ValueEnum)]
pub(crate) enum Dtype {
    /// As it was trained and tested
    #[default]
    Float32,
    /// Weights and activations rounded to 8 bits of mantissa (AVX-512)
    Bfloat16,
    /// Weights and activations in 8 bits (AVX2; fastest with AVX-512 VNNI or AMX)
    Int8,
}

#[derive(Args)]
pub(crate) struct DemoArgs {
    /// The demo's folder
    #[arg(default_value = "demo")]
    pub(crate) folder: PathBuf,
    /// Where the runs go; default: a fresh folder beside the system's temporary files
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
}
