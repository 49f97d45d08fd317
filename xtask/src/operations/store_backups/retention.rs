//! Which backups may go after a new one has been made: words for what stays, and never the last that counts. Pure.

use super::kept::Kept;
use jiff::{Span, Timestamp};

/// What is to stay. Where neither number nor age is said, everything does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The newest so many.
    pub last: Option<usize>,
    /// Those of so many days, and the one before them: what was so many days ago can be restored.
    pub days: Option<u32>,
    /// Never fewer than these.
    pub least: usize,
}

/// Those that no rule keeps, the oldest last. `kept`: the newest first.
///
/// Whatever the rules say, the newest that a drill has found green stays, and the newest `least`.
pub fn expired(kept: &[Kept], retention: Retention, now: Timestamp) -> Vec<&Kept> {
    let Retention { last, days, least } = retention;
    if last.is_none() && days.is_none() {
        return Vec::new();
    }
    let proven = kept.iter().position(|kept| kept.drill.as_ref().is_some_and(|drill| drill.green));
    let window = days.and_then(|days| now.checked_sub(Span::new().hours(24 * i64::from(days))).ok());
    let within = |kept: &Kept| {
        let taken: Option<Timestamp> = kept.taken.parse().ok();
        // What cannot be read as a time is kept.
        window.zip(taken).is_none_or(|(window, taken)| taken >= window)
    };
    let before = kept.iter().position(|kept| !within(kept));
    let stays = |(at, one): (usize, &Kept)| {
        at < least
            || Some(at) == proven
            || last.is_some_and(|last| at < last)
            || days.is_some() && (within(one) || Some(at) == before)
    };
    kept.iter().enumerate().filter(|(at, one)| !stays((*at, one))).map(|(_, one)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kept::Drilled;
    use super::*;

    /// One of each day, the newest first; `green`: those that a drill has restored.
    fn daily(days: u32, green: &[u32]) -> Vec<Kept> {
        let now = now();
        let one = |day: u32| Kept {
            id: format!("day{day}"),
            path: "".into(),
            taken: (now - Span::new().hours(24 * i64::from(day))).to_string(),
            ended: String::new(),
            seconds: 0.0,
            bytes: 0,
            rows: 0,
            drill: Some(Drilled {
                at: String::new(),
                who: String::new(),
                green: green.contains(&day),
                findings: 0,
                seconds: 0.0,
            }),
        };
        (0..days).map(one).collect()
    }

    fn now() -> Timestamp {
        "2026-06-15T02:00:00Z".parse().unwrap()
    }

    fn gone(kept: &[Kept], last: Option<usize>, days: Option<u32>, least: usize) -> Vec<String> {
        expired(kept, Retention { last, days, least }, now()).iter().map(|kept| kept.id.clone()).collect()
    }

    #[test]
    fn what_no_rule_keeps_goes_and_nothing_where_there_is_none() {
        let kept = daily(7, &[0]);
        assert_eq!(gone(&kept, None, None, 0), [""; 0]);
        assert_eq!(gone(&kept, Some(4), None, 3), ["day4", "day5", "day6"]);
        // The window of three days, and the one before it.
        assert_eq!(gone(&kept, None, Some(3), 1), ["day5", "day6"]);
        // Either rule keeps.
        assert_eq!(gone(&kept, Some(1), Some(3), 1), ["day5", "day6"]);
        assert_eq!(gone(&kept, Some(6), Some(1), 1), ["day6"]);
        assert_eq!(gone(&daily(2, &[]), Some(1), Some(1), 3), [""; 0]);
    }

    #[test]
    fn never_fewer_than_the_least_and_never_the_newest_that_counts() {
        assert_eq!(gone(&daily(5, &[0]), Some(1), None, 3), ["day3", "day4"]);
        assert_eq!(gone(&daily(5, &[4]), Some(1), None, 2), ["day2", "day3"]);
        assert_eq!(gone(&daily(5, &[2, 4]), Some(1), None, 1), ["day1", "day3", "day4"]);
        assert_eq!(gone(&daily(5, &[]), Some(1), None, 1), ["day1", "day2", "day3", "day4"]);
    }
}
