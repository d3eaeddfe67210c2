//! How sure a share is.

use super::bootstrap::Interval;

/// The 97.5 % point of the standard normal distribution.
pub(super) const NORMAL_97_5: f64 = 1.959963984540054;

/// Wilson's 95 % interval of `events` among `all` (Wilson, JASA 22, 1927): keeps near its level for small numbers and for shares near 0 and 1,
/// where `share ± 1.96 standard errors` does not. Equals statsmodels' `proportion_confint(method="wilson")`. `None` for none of none.
///
/// Counts need not be whole: of several seeds of the same notes they are the mean over the seeds, for five seeds do not tell of five times the notes.
pub fn wilson_interval(events: f64, all: f64) -> Option<Interval> {
    let is_share = all > 0.0 && (0.0..=all).contains(&events);
    if !is_share {
        return None;
    }
    let (share, z2) = (events / all, NORMAL_97_5 * NORMAL_97_5);
    let middle = (share + z2 / (2.0 * all)) / (1.0 + z2 / all);
    let half = NORMAL_97_5 / (1.0 + z2 / all) * (share * (1.0 - share) / all + z2 / (4.0 * all * all)).sqrt();
    // At either end the formula gives that end but for its last digits.
    Some(Interval {
        low: if events == 0.0 { 0.0 } else { middle - half },
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
        let (none, all) = (wilson_interval(0.0, 10.0).unwrap(), wilson_interval(10.0, 10.0).unwrap());
        assert!(none.low == 0.0 && (none.high - z2 / (10.0 + z2)).abs() < 1e-12);
        assert!(all.high == 1.0 && (all.low - 10.0 / (10.0 + z2)).abs() < 1e-12);
        assert_eq!(wilson_interval(0.0, 0.0), None);
        assert_eq!(wilson_interval(11.0, 10.0), None);
    }

    #[test]
    fn a_count_that_is_not_whole_lies_between_those_that_are() {
        let [less, between, more] = [7.0, 7.5, 8.0].map(|events| wilson_interval(events, 10.0).unwrap());
        assert!(less.low < between.low && between.low < more.low);
        assert!(less.high < between.high && between.high < more.high);
    }
}
