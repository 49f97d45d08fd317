//! A round: what the subject is, who writes to it and when, drawn from the seed and the round's number alone.

use crate::sql_file;
use crate::sql_text::SqlFile;
use fastrand::Rng;
use std::fmt;

/// What the subject is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    /// Ids of one range of 512 are in several parts.
    ByHash,
    ByRange,
    /// A key in each part only; rows move.
    ByKind,
    WithoutKey,
}

/// What is done after the instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Writers go on, also while the subject is looked at again.
    Busy,
    /// A few small changes, so that each has to tell by itself.
    Sparse,
    /// Nothing is committed: vacuums, rewrites and aborts alone.
    Quiet,
}

/// A writing transaction that is older than the instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Older {
    /// In the subject's database.
    Here,
    /// In another database of the cluster.
    Elsewhere,
}

/// What shows at the second look that the history is unbroken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    ByTheServersStart,
    ByANonce,
}

/// Whether somebody writes at the instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instant {
    WhileWritersRun,
    /// Nothing is open: without a key no candidate may be there.
    AtRest,
}

#[derive(Clone, Debug)]
pub struct Round {
    pub number: usize,
    pub seed: u64,
    pub shape: Shape,
    pub after: After,
    pub older: Option<Older>,
    pub shown: Shown,
    pub instant: Instant,
    /// The ids that it is filled with, some of them left out.
    pub ids: (i64, i64),
    /// It is filled while the older transaction is open: more candidates than are remembered.
    pub crowded: bool,
    /// Transactions of the writers before the instant, and after it.
    pub transactions: (u64, u64),
}

impl Round {
    pub fn draw(seed: u64, number: usize) -> Round {
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(number as u64);
        let mut rng = Rng::with_seed(seed);
        let shape = match rng.u32(..20) {
            0..3 => Shape::ByHash,
            3..5 => Shape::ByRange,
            5..7 => Shape::ByKind,
            7..9 => Shape::WithoutKey,
            _ => Shape::Plain,
        };
        let after = match number % 5 {
            0 => After::Quiet,
            2 => After::Sparse,
            _ => After::Busy,
        };
        let crowded = rng.u32(..25) == 0;
        let older = match rng.u32(..4) {
            0 => Some(Older::Here),
            1 => Some(Older::Elsewhere),
            _ => crowded.then_some(Older::Elsewhere),
        };
        let at_rest = shape == Shape::WithoutKey && !crowded && rng.u32(..4) > 0;
        let first = if rng.u32(..4) == 0 { 1 } else { rng.i64(-1_500..-400) };
        Round {
            number,
            seed: rng.u64(..),
            shape,
            after,
            older: if at_rest { None } else { older },
            shown: if rng.bool() { Shown::ByANonce } else { Shown::ByTheServersStart },
            instant: if at_rest { Instant::AtRest } else { Instant::WhileWritersRun },
            ids: (first, first + if crowded { 13_000 } else { 2_500 }),
            crowded,
            transactions: (rng.u64(5..60), rng.u64(1..90)),
        }
    }
}

impl Shape {
    pub fn file(self) -> SqlFile {
        match self {
            Shape::Plain => sql_file!("chaos/changes/plain.sql"),
            Shape::ByHash => sql_file!("chaos/changes/by_hash.sql"),
            Shape::ByRange => sql_file!("chaos/changes/by_range.sql"),
            Shape::ByKind => sql_file!("chaos/changes/by_kind.sql"),
            Shape::WithoutKey => sql_file!("chaos/changes/without_key.sql"),
        }
    }

    /// Where its rows are.
    pub fn parts(self) -> &'static [&'static str] {
        match self {
            Shape::Plain | Shape::WithoutKey => &["subject"],
            Shape::ByHash | Shape::ByRange | Shape::ByKind => &["subject_0", "subject_1", "subject_2"],
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round { number, shape, after, older, shown, instant, ids, .. } = self;
        write!(f, "round {number} ({shape:?} of ids from {}, {after:?}, {instant:?}, {shown:?}", ids.0)?;
        if let Some(older) = older {
            write!(f, ", an older transaction {older:?}")?;
        }
        f.write_str(if self.crowded { ", crowded)" } else { ")" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_is_quiet_and_everything_is_drawn() {
        let rounds: Vec<Round> = (1..=200).map(|number| Round::draw(3, number)).collect();
        assert_eq!(rounds.iter().filter(|r| r.after == After::Quiet).count(), 40);
        for shape in [Shape::Plain, Shape::ByHash, Shape::ByRange, Shape::ByKind, Shape::WithoutKey] {
            assert!(rounds.iter().filter(|r| r.shape == shape).count() > 5, "{shape:?}");
        }
        for older in [Some(Older::Here), Some(Older::Elsewhere), None] {
            assert!(rounds.iter().filter(|r| r.older == older).count() > 20, "{older:?}");
        }
        assert!(rounds.iter().filter(|r| r.ids.0 < 0).count() > 50);
        assert!(rounds.iter().filter(|r| r.crowded).all(|r| r.older.is_some()));
        assert_eq!(Round::draw(3, 17).to_string(), Round::draw(3, 17).to_string());
    }
}
