//! Progress of downloads on standard error: a bar of bytes on a terminal, a line at the beginning elsewhere.

use crate::interrupt::interrupted;
use crate::output::stderr_line;
use dsgkd::hub::DownloadObserver;
use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;

/// See the module.
pub(crate) struct Downloads {
    quiet: bool,
    bar: Option<ProgressBar>,
}

impl Downloads {
    pub(crate) fn new(quiet: bool) -> Downloads {
        Downloads { quiet, bar: None }
    }
}

impl DownloadObserver for Downloads {
    fn begins(&mut self, model: &str, bytes: u64) {
        if self.quiet || bytes == 0 {
            return;
        }
        stderr_line(&format!("{model}: downloading {}", DecimalBytes(bytes)));
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
            let template = "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta_precise} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            self.bar = Some(bar);
        }
    }

    fn received(&mut self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
    }

    fn ends(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn interrupted(&self) -> bool {
        interrupted()
    }
}
