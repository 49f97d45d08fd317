//! How long nobody has been in the old database, by the samples that were taken. Pure.

use super::record::Sample;
use crate::operations::monitor::seconds;
use crate::shown::utc;
use anyhow::Result;
use std::collections::BTreeSet;

/// What the samples say.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Quiet {
    /// The oldest sample since which nobody has been there; `None`: somebody is there now, or nothing was sampled.
    pub since: Option<String>,
    /// From then to the newest sample.
    pub seconds: f64,
    /// In how many different hours of that time it was looked at.
    pub hours: usize,
    /// What ended the time before.
    pub broken: Option<String>,
}

pub(super) fn quiet(samples: &[Sample]) -> Result<Quiet> {
    let mut quiet = Quiet { since: None, seconds: 0.0, hours: 0, broken: None };
    let mut newer: Option<&Sample> = None;
    let mut hours = BTreeSet::new();
    for sample in samples.iter().rev() {
        quiet.broken = disturbed(sample, newer);
        if quiet.broken.is_some() {
            break;
        }
        hours.insert(sample.at.get(..13).unwrap_or(&sample.at));
        quiet.since = Some(sample.at.clone());
        newer = Some(sample);
    }
    if let (Some(since), Some(newest)) = (&quiet.since, samples.last()) {
        quiet.seconds = seconds(&newest.at)? - seconds(since)?;
    }
    quiet.hours = hours.len();
    Ok(quiet)
}

/// Who was there at a sample, or between it and the next one.
fn disturbed(sample: &Sample, newer: Option<&Sample>) -> Option<String> {
    if !sample.others.is_empty() {
        return Some(format!("at {} there was {}", utc(&sample.at), sample.others.join(", ")));
    }
    let newer = newer?;
    let between = format!("between {} and {}", utc(&sample.at), utc(&newer.at));
    if newer.reset != sample.reset || newer.sessions < sample.sessions {
        return Some(format!(
            "{between} the statistics were reset (stats_reset), so nobody knows who was there"
        ));
    }
    match newer.sessions - sample.sessions {
        0 => None,
        n => Some(format!(
            "{between} {n} sessions came and went (a health check counts: let pg_isready ask `-d postgres`)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(hour: usize, sessions: i64) -> Sample {
        Sample {
            at: format!("2026-01-02T{hour:02}:00:00.000Z"),
            sessions,
            commits: 7,
            reset: None,
            others: vec![],
        }
    }

    #[test]
    fn nobody_was_there_as_long_as_no_session_was_counted() {
        let samples = [sample(1, 70), sample(2, 71), sample(3, 71), sample(9, 71)];
        let seen = quiet(&samples).unwrap();
        assert_eq!((seen.since.as_deref(), seen.hours), (Some("2026-01-02T02:00:00.000Z"), 3));
        assert_eq!(seen.seconds, 7.0 * 3_600.0);
        assert!(seen.broken.unwrap().contains(" 1 sessions came and went"));
        let again = [sample(1, 71), sample(1, 71)];
        assert_eq!((quiet(&again).unwrap().hours, quiet(&again).unwrap().broken), (1, None));
    }

    #[test]
    fn whoever_is_there_now_ends_it() {
        let there = Sample { others: vec!["session 7 of app".into()], ..sample(3, 71) };
        let seen = quiet(&[sample(2, 71), there.clone()]).unwrap();
        assert_eq!((seen.since, seen.seconds, seen.hours), (None, 0.0, 0));
        assert!(seen.broken.unwrap().contains("session 7 of app"));
        // It is counted already.
        let seen = quiet(&[there, sample(4, 71), sample(5, 71)]).unwrap();
        assert_eq!(seen.since.as_deref(), Some("2026-01-02T04:00:00.000Z"));
        assert_eq!(quiet(&[]).unwrap(), Quiet { since: None, seconds: 0.0, hours: 0, broken: None });
    }

    #[test]
    fn statistics_that_were_reset_say_nothing() {
        let reset = Sample { reset: Some("2026-01-02 02:30:00+00".into()), ..sample(3, 71) };
        for second in [reset, sample(3, 4)] {
            let seen = quiet(&[sample(2, 71), second]).unwrap();
            assert_eq!(seen.hours, 1);
            assert!(seen.broken.unwrap().contains("stats_reset"));
        }
    }
}
