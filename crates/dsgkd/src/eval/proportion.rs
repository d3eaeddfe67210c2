//! How sure a share is.

use super::bootstrap::Interval;

/// The 97.5 % point of the standard normal distribution.
pub(super) const NORMAL_97_5: f64 = 1.959963984540054;

/// Wilson's 95 % interval of `events` among `all` (Wilson, JASA 22, 1927): keeps near its level for small numbers and for shares near 0 and 1,
/// where `share ± 1.96 standard errors` does not. Equals statsmodels' `proportion_confint(method="wilson")`. `None` for none of none.
pub fn wilson_interval(events: u64, all: u64) -> Option<Interval> {
    if all == 0 || events > all {
        return None;
    }
    let (n, share, z2) = (all as f64, events as f64 / all as f64, NORMAL_97_5 * NORMAL_97_5);
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = NORMAL_97_5 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    // At either end the formula gives that end but for its last digits.
    Some(Interval {
        low: if events == 0 { 0.0 } else { middle - half },
        high: if events == all { 1.0 } else { middle + half },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn none_and_all_have_one_open_end() {
        // n / (n + z^2) and z^2 / (n + z^2).
        let z2 = NORMAL_97_5 * NORMAL_97_5;
        let (none, all) = (wilson_interval(0, 10).unwrap(), wilson_interval(10, 10).unwrap());
        assert!(none.low == 0.0 && (none.high - z2 / (10.0 + z2)).abs() < 1e-12);
        assert!(all.high == 1.0 && (all.low - 10.0 / (10.0 + z2)).abs() < 1e-12);
        assert_eq!(wilson_interval(0, 0), None);
    }
}
