//! What the versions told, beside the truth.

use super::looks::{Second, Truth};
use super::round::{After, Instant, Round, Shape};
use crate::changes::{Key, Since};
use serde::Serialize;
use std::collections::BTreeSet;

/// What a round came to.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// `MISSED: …`, a line each.
    pub failures: Vec<String>,
    /// Rows that are others, new or gone.
    pub changes: usize,
    /// Rows that are gone.
    pub deletions: usize,
    /// Keys that were told, of rows that have the same values: allowed, they were written again.
    pub same_told: usize,
    /// Why something could not be told, where it may be so.
    pub unknown: Option<String>,
    pub unchanged: bool,
    /// Every key was told.
    pub keys: bool,
}

/// Of a round whose subject could not be remembered.
pub fn not_remembered(round: &Round, why: String) -> Verdict {
    let may_be = round.crowded || (round.shape == Shape::WithoutKey && round.instant != Instant::AtRest);
    let reason = "rows were written while an older transaction was still open";
    match may_be && why.contains("were written while an older transaction was still open") {
        true => Verdict { unknown: Some(reason.to_string()), ..Verdict::default() },
        false => Verdict { failures: vec![format!("PREMISE: not remembered: {why}")], ..Verdict::default() },
    }
}

pub fn judge(round: &Round, then: &Truth, second: &Second) -> Verdict {
    let now = &second.truth;
    let ids: BTreeSet<i64> = then.0.keys().chain(now.0.keys()).copied().collect();
    let differ: BTreeSet<i64> = ids.into_iter().filter(|id| then.0.get(id) != now.0.get(id)).collect();
    let (there, gone): (BTreeSet<i64>, BTreeSet<i64>) = differ.iter().partition(|id| now.0.contains_key(id));
    let mut verdict = Verdict { changes: differ.len(), deletions: gone.len(), ..Verdict::default() };
    judge_since(round, &differ, second, &mut verdict);
    match &second.keys {
        Ok(keys) => judge_keys(keys, &there, &gone, now, &mut verdict),
        Err(why) => match may_be_untold(round.shape, why) {
            Some(reason) => verdict.unknown = Some(reason.to_string()),
            None => verdict.failures.push(format!("PREMISE: no keys: {why}")),
        },
    }
    verdict
}

/// Why a subject of this shape has no keys that could be told.
fn may_be_untold(shape: Shape, why: &str) -> Option<&'static str> {
    let reason = match shape {
        Shape::WithoutKey => "has no key",
        Shape::ByKind => "has a key of its own: another part may hold the same id",
        Shape::Plain | Shape::ByHash | Shape::ByRange => return None,
    };
    why.contains(reason).then_some(reason)
}

fn judge_since(round: &Round, differ: &BTreeSet<i64>, second: &Second, verdict: &mut Verdict) {
    let quiet = round.after == After::Quiet;
    let failure = match &second.since {
        Since::Unchanged { .. } if !differ.is_empty() => {
            format!("WRONG UNCHANGED: {} rows differ: {}", differ.len(), some(differ))
        }
        Since::Unchanged { rows } if *rows != second.truth.rows() => {
            format!("COUNT: unchanged with {rows} rows, there are {}", second.truth.rows())
        }
        Since::Unchanged { .. } => {
            verdict.unchanged = true;
            match &second.keys {
                Ok(keys) if !keys.is_empty() => {
                    format!("FALSE ALARM: unchanged, and {} keys are told", keys.len())
                }
                _ => return,
            }
        }
        Since::Changed { about } if quiet => format!("FALSE ALARM: about {about} changes where nothing was"),
        Since::Changed { about: 0 } => "COUNT: changed by about 0 rows".to_string(),
        Since::Changed { .. } => return,
        Since::Unknown(why) => format!("PREMISE: {why}"),
    };
    verdict.failures.push(failure);
}

/// `there`: rows that are others or new.
fn judge_keys(keys: &[Key], there: &BTreeSet<i64>, gone: &BTreeSet<i64>, now: &Truth, verdict: &mut Verdict) {
    verdict.keys = true;
    let written = |key: &Key| if let Key::Written(id) = key { Some(*id) } else { None };
    let deleted = |key: &Key| if let Key::Deleted(id) = key { Some(*id) } else { None };
    let all_deleted = keys.iter().filter_map(deleted).count();
    let (written, deleted): (BTreeSet<i64>, BTreeSet<i64>) =
        (keys.iter().filter_map(written).collect(), keys.iter().filter_map(deleted).collect());
    let missed: BTreeSet<i64> =
        there.difference(&written).chain(gone.difference(&deleted)).copied().collect();
    if !missed.is_empty() {
        verdict.failures.push(format!("MISSED: {} of {}: {}", missed.len(), verdict.changes, some(&missed)));
    }
    if all_deleted != gone.len() || deleted != *gone {
        let more = deleted.difference(gone).copied().collect();
        let line =
            format!("COUNT: {all_deleted} told as deleted, {} are; wrongly: {}", gone.len(), some(&more));
        verdict.failures.push(line);
    }
    let ghosts: BTreeSet<i64> = written.iter().filter(|id| !now.0.contains_key(id)).copied().collect();
    if !ghosts.is_empty() {
        verdict.failures.push(format!("COUNT: told as written, and not there: {}", some(&ghosts)));
    }
    verdict.same_told = written.difference(there).count();
}

/// The first of them.
fn some(ids: &BTreeSet<i64>) -> String {
    let first: Vec<String> = ids.iter().take(5).map(i64::to_string).collect();
    format!("{}{}", first.join(", "), if ids.len() > 5 { ", …" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn truth(rows: &[(i64, &str)]) -> Truth {
        Truth(rows.iter().map(|(id, value)| (*id, vec![value.to_string()])).collect())
    }

    fn round(after: After) -> Round {
        let drawn = (1..).map(|number| Round::draw(3, number));
        drawn.into_iter().find(|r| r.after == after && r.shape == Shape::Plain).unwrap()
    }

    /// One row is another, one is gone, one is new, one stays.
    fn told(since: Since, keys: Result<Vec<Key>, String>) -> Vec<String> {
        let then = truth(&[(1, "a"), (2, "b"), (3, "c")]);
        let truth = truth(&[(1, "a"), (2, "x"), (4, "d")]);
        judge(&round(After::Busy), &then, &Second { since, keys, truth }).failures
    }

    fn right() -> Vec<Key> {
        vec![Key::Written(2), Key::Written(4), Key::Deleted(3)]
    }

    #[test]
    fn what_is_right_is_so() {
        let changed = Since::Changed { about: 3 };
        let nothing: [&str; 0] = [];
        assert_eq!(told(changed.clone(), Ok(right())), nothing);
        // Written again with the same values.
        assert_eq!(told(changed, Ok([right(), vec![Key::Written(1)]].concat())), nothing);
    }

    #[test]
    fn every_wrong_answer_has_its_word() {
        let changed = || Since::Changed { about: 3 };
        let without = |key: Key| right().into_iter().filter(|k| *k != key).collect::<Vec<_>>();
        for (since, keys, word) in [
            (Since::Unchanged { rows: 3 }, Ok(right()), "WRONG UNCHANGED: 3 rows differ: 2, 3, 4"),
            (Since::Changed { about: 0 }, Ok(right()), "COUNT: changed by about 0"),
            (Since::Unknown("why".into()), Ok(right()), "PREMISE: why"),
            (changed(), Err("why".into()), "PREMISE: no keys: why"),
            (changed(), Ok(without(Key::Written(2))), "MISSED: 1 of 3: 2"),
            (changed(), Ok(without(Key::Written(4))), "MISSED: 1 of 3: 4"),
            (changed(), Ok([right(), vec![Key::Deleted(1)]].concat()), "COUNT: 2 told as deleted, 1 are"),
            (changed(), Ok([right(), vec![Key::Deleted(3)]].concat()), "COUNT: 2 told as deleted, 1 are"),
            (changed(), Ok([right(), vec![Key::Written(9)]].concat()), "COUNT: told as written, and not"),
        ] {
            let failures = told(since, keys);
            assert!(failures.len() == 1 && failures[0].starts_with(word), "{word}: {failures:?}");
        }
        let failures = told(changed(), Ok(without(Key::Deleted(3))));
        assert_eq!(failures.len(), 2, "missed, and the number: {failures:?}");
    }

    #[test]
    fn what_nobody_changed_is_unchanged() {
        let then = truth(&[(1, "a")]);
        let judged = |since, keys| {
            let second = Second { since, keys: Ok(keys), truth: then.clone() };
            judge(&round(After::Quiet), &then, &second)
        };
        let right = judged(Since::Unchanged { rows: 1 }, Vec::new());
        assert!(right.failures.is_empty() && right.unchanged, "{right:?}");
        for (since, keys, word) in [
            (Since::Changed { about: 1 }, Vec::new(), "FALSE ALARM: about 1"),
            (Since::Unchanged { rows: 1 }, vec![Key::Written(1)], "FALSE ALARM: unchanged, and 1 keys"),
            (Since::Unchanged { rows: 2 }, Vec::new(), "COUNT: unchanged with 2 rows, there are 1"),
        ] {
            let failures = judged(since, keys).failures;
            assert!(failures.len() == 1 && failures[0].starts_with(word), "{word}: {failures:?}");
        }
    }

    #[test]
    fn only_a_guard_excuses() {
        let open = "20000 rows of public.subject were written while an older transaction was still open";
        let plain = round(After::Busy);
        assert!(!plain.crowded);
        assert_eq!(
            not_remembered(&plain, open.into()).failures,
            [format!("PREMISE: not remembered: {open}")]
        );
        let crowded = Round { crowded: true, ..plain };
        assert_eq!(not_remembered(&crowded, open.into()).failures, Vec::<String>::new());
        assert_eq!(not_remembered(&crowded, "a standby".into()).failures.len(), 1);
    }
}
