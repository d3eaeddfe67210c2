//! The `dsgkd` command.

use dsgkd::pretrain::{PretrainLog, PretrainObserver};

struct Talk(std::time::Instant);
impl PretrainObserver for Talk {
    fn stage(&mut self, what: &str) {
        eprintln!("{:.0}s {what}", self.0.elapsed().as_secs_f64());
    }
    fn loaded(&mut self, _: &dsgkd_encoder::LoadReport) {}
    fn step(&mut self, log: &PretrainLog) {
        eprintln!("{:.0}s {log:?}", self.0.elapsed().as_secs_f64());
    }
    fn interrupted(&self) -> bool {
        false
    }
}

fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let config = toml::from_str(&text).expect("config");
    let resume = std::env::args().nth(2).is_some();
    let summary = dsgkd::pretrain::pretrain(&config, resume, &mut Talk(std::time::Instant::now()));
    eprintln!("{summary:?}");
}
