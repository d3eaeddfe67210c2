//! Speed and memory of dsgkd beside PyTorch on the same machine, threads and arithmetic; `bench/run` starts it.
#![allow(clippy::print_stdout)] // Figures are data.

mod peak;
mod worker;

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    dsgkd_ops::Instructions::asked_for()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["worker", mode, model, dtype] => worker::work(mode, model, dtype),
        _ => Err("dsgkd-bench worker MODE MODEL DTYPE; bench/run starts it".into()),
    }
}
