//! The learning rate over the steps: linear warm-up, then linear decay to 0 (DSG-KD, step 5).

/// `total` steps, of which the first `warmup` rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    warmup: u64,
    total: u64,
}

impl Schedule {
    /// A schedule whose warm-up is the share `warmup_ratio` (0..1) of all steps, rounded down.
    pub fn new(total: u64, warmup_ratio: f64) -> Schedule {
        Schedule { warmup: (total as f64 * warmup_ratio) as u64, total }
    }

    /// The factor of the peak rate at `step`, counted from 0.
    pub fn factor(&self, step: u64) -> f64 {
        if step < self.warmup {
            return step as f64 / self.warmup as f64;
        }
        let left = self.total.saturating_sub(step) as f64;
        left / (self.total - self.warmup).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_and_falls_as_the_reference_run_did() {
        // The reference run: 18 steps, warm-up 0.25, peak 0.001.
        let schedule = Schedule::new(18, 0.25);
        let rates: Vec<f64> = (0..6).map(|step| 0.001 * schedule.factor(step)).collect();
        let expected = [0.0, 0.00025, 0.0005, 0.00075, 0.001, 0.000_928_571_428_571_428_6];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        assert_eq!(schedule.factor(18), 0.0);
    }

    #[test]
    fn no_warm_up_begins_at_the_peak_and_all_warm_up_never_falls() {
        assert_eq!(Schedule::new(10, 0.0).factor(0), 1.0);
        assert!((Schedule::new(10, 1.0).factor(9) - 0.9).abs() < 1e-12);
        assert_eq!(Schedule::new(0, 0.5).factor(0), 0.0);
    }
}
