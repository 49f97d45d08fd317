//! What is remembered of a database at an instant, so that later it can be told exactly, at the price of a
//! count, what has changed since (DESIGN rule 24). Pure: `changes` asks the servers.
//!
//! Every version of a row carries the transaction that wrote it. S is the oldest transaction that could still
//! be writing at the instant. On one unbroken history, a version written before S that is visible now stood
//! there then, as it is. Versions written by S or later are *candidates*: few stood there at the instant, and
//! those are remembered one by one.

use datapath::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Ids are counted in ranges of 2^9: `id >> 9`, never `/`, which puts -1 beside 1.
pub const BUCKET_BITS: u32 = 9;

/// More candidates than these are not remembered: somebody has been writing for a long time.
pub const CANDIDATES: u64 = 10_000;

/// Row numbers of transactions have 32 bits: what is further apart cannot be compared.
const COMPARABLE: u64 = 2_000_000_000;

/// Tables as they were, by name.
pub type Remembered = BTreeMap<String, TableThen>;

/// The one history on which versions can be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// `system_identifier` of the cluster.
    pub system: String,
    /// As in the name of a WAL file.
    pub timeline: String,
    /// OID: a copy that was renamed into place has another one.
    pub database: i64,
    /// Who looks: policies hide rows from some.
    pub role: String,
    pub unbroken: Unbroken,
}

/// What shows that nothing was lost or put back in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unbroken {
    /// The server has been running since this instant.
    Started(String),
    /// This row, committed after S, is in `xtask.instants`.
    Nonce(String),
}

/// A table as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableThen {
    /// When; for people.
    pub at: String,
    pub history: History,
    /// S, as 64 bits.
    pub oldest: u64,
    /// What its rows were proven to be.
    pub content: Digest,
    /// Itself and what inherits from it, as far as it holds rows, by OID.
    pub leaves: BTreeMap<u32, LeafThen>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeafThen {
    /// MD5 of what decides how its bytes are read: columns, types, labels of enums, parents.
    pub definition: String,
    pub key: KeyKind,
    pub buckets: Buckets,
    /// Key and transaction of candidates that stood there already, by key; none without a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<(i64, u32)>,
}

/// Whether rows can be told apart by `id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// One unique, valid, total, NOT NULL integer.
    Id,
    /// All rows are in one bucket, and only whether anything has changed can be told.
    None,
}

/// Rows by range of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<[i64; 4]>", into = "Vec<[i64; 4]>")]
pub struct Buckets(pub BTreeMap<i64, Counted>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub rows: u64,
    /// Those of them that are no candidates.
    pub old: u64,
}

/// Neighbours with the same numbers are one entry: first bucket, how many, rows, old.
impl From<Buckets> for Vec<[i64; 4]> {
    fn from(buckets: Buckets) -> Self {
        let mut runs: Vec<[i64; 4]> = Vec::new();
        for (bucket, Counted { rows, old }) in buckets.0 {
            let (rows, old) = (rows.cast_signed(), old.cast_signed());
            match runs.last_mut() {
                Some([first, count, r, o]) if *first + *count == bucket && (*r, *o) == (rows, old) => {
                    *count += 1
                }
                _ => runs.push([bucket, 1, rows, old]),
            }
        }
        runs
    }
}

impl From<Vec<[i64; 4]>> for Buckets {
    fn from(runs: Vec<[i64; 4]>) -> Self {
        let one = |[first, count, rows, old]: [i64; 4]| {
            let counted = Counted { rows: rows.cast_unsigned(), old: old.cast_unsigned() };
            (first..first + count).map(move |bucket| (bucket, counted))
        };
        Buckets(runs.into_iter().flat_map(one).collect())
    }
}

impl Buckets {
    pub fn rows(&self) -> u64 {
        self.0.values().map(|counted| counted.rows).sum()
    }

    pub fn candidates(&self) -> u64 {
        self.0.values().map(|counted| counted.rows - counted.old).sum()
    }

    pub fn of(&self, bucket: i64) -> Counted {
        self.0.get(&bucket).copied().unwrap_or_default()
    }
}

impl LeafThen {
    /// Whether nothing has changed: no old version is gone, and the candidates are those of then.
    ///
    /// # Errors
    /// In words, where more old versions are there than then: what we rest on does not hold.
    pub fn is_unchanged(&self, now: &Buckets, candidates: &[(i64, u32)]) -> Result<bool, String> {
        now.0.iter().try_for_each(|(bucket, counted)| self.plausible(*bucket, *counted))?;
        let old = |b: &Buckets| -> BTreeMap<i64, u64> {
            b.0.iter().map(|(bucket, c)| (*bucket, c.old)).filter(|(_, old)| *old > 0).collect()
        };
        Ok(candidates == self.candidates && old(now) == old(&self.buckets))
    }

    fn plausible(&self, bucket: i64, now: Counted) -> Result<(), String> {
        let then = self.buckets.of(bucket).old;
        match now.old <= then {
            true => Ok(()),
            false => Err(format!("range {bucket} has {} rows of before, and had {then}", now.old)),
        }
    }
}

/// How many ids of a range are gone from a table. `leaves`: each beside its versions now; their ids are mixed.
/// `there`: candidates now whose ids stood there then, of whichever leaf.
///
/// # Errors
/// In words, where it comes out below zero, or old versions are there that were not.
pub fn deleted<'a>(
    leaves: impl IntoIterator<Item = (&'a LeafThen, &'a Buckets)>,
    bucket: i64,
    there: u64,
) -> Result<u64, String> {
    let (mut then, mut left) = (0, there);
    for (leaf, now) in leaves {
        leaf.plausible(bucket, now.of(bucket))?;
        then += leaf.buckets.of(bucket).rows;
        left += now.of(bucket).old;
    }
    then.checked_sub(left)
        .ok_or_else(|| format!("of {then} rows in range {bucket} at least {left} are there now"))
}

/// Whether the numbers of transactions of two instants can be compared.
pub fn comparable(then: u64, now: u64) -> bool {
    now.checked_sub(then).is_some_and(|passed| passed < COMPARABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(entries: &[(i64, u64, u64)]) -> Buckets {
        Buckets(entries.iter().map(|(b, rows, old)| (*b, Counted { rows: *rows, old: *old })).collect())
    }

    fn leaf(entries: &[(i64, u64, u64)], candidates: &[(i64, u32)]) -> LeafThen {
        LeafThen {
            definition: String::new(),
            key: KeyKind::Id,
            buckets: buckets(entries),
            candidates: candidates.to_vec(),
        }
    }

    #[test]
    fn neighbours_are_written_as_one() {
        let all = buckets(&[(-1, 512, 512), (0, 512, 512), (1, 512, 511), (3, 9, 9), (4, 9, 9)]);
        let runs: Vec<[i64; 4]> = all.clone().into();
        assert_eq!(runs, [[-1, 2, 512, 512], [1, 1, 512, 511], [3, 2, 9, 9]]);
        assert_eq!(Buckets::from(runs), all);
    }

    #[test]
    fn old_versions_and_candidates_decide() {
        let then = leaf(&[(0, 3, 2), (5, 4, 4)], &[(7, 100)]);
        let same = buckets(&[(0, 3, 2), (5, 4, 4)]);
        assert_eq!(then.is_unchanged(&same, &[(7, 100)]), Ok(true));
        assert_eq!(then.is_unchanged(&same, &[(7, 101)]), Ok(false), "written again");
        assert_eq!(then.is_unchanged(&same, &[(8, 100)]), Ok(false), "another row");
        // One row deleted here, another inserted there: as many rows as before.
        let moved = buckets(&[(0, 3, 2), (5, 3, 3), (6, 1, 0)]);
        assert_eq!(then.is_unchanged(&moved, &[(7, 100), (3072, 101)]), Ok(false));
        assert_eq!(
            then.is_unchanged(&buckets(&[(0, 2, 2), (5, 4, 4)]), &[]),
            Ok(false),
            "a candidate is gone"
        );
        assert_eq!(
            then.is_unchanged(&buckets(&[(0, 3, 2)]), &[(7, 100)]),
            Ok(false),
            "a whole range is gone"
        );
        // As many old versions as before, elsewhere: rows came from outside.
        assert!(then.is_unchanged(&buckets(&[(0, 3, 2), (5, 3, 3), (6, 1, 1)]), &[(7, 100)]).is_err());
    }

    #[test]
    fn the_deleted_are_counted_exactly() {
        let then = leaf(&[(0, 10, 8)], &[(1, 100), (2, 100)]);
        let gone = |now: &[(i64, u64, u64)], there| deleted([(&then, &buckets(now))], 0, there);
        // Two updated (there), one inserted (not), one deleted.
        assert_eq!(gone(&[(0, 10, 5)], 4), Ok(1));
        assert!(gone(&[(0, 12, 8)], 3).is_err(), "more than there were");
        assert!(gone(&[(0, 9, 9)], 0).is_err(), "old ones that were not there");
        assert_eq!(gone(&[], 0), Ok(10), "a range that is empty now");
        // Ids of one range in two parts: in one a row is updated, in the other two are deleted.
        let other = leaf(&[(0, 6, 6)], &[]);
        let (now, other_now) = (buckets(&[(0, 10, 7)]), buckets(&[(0, 4, 4)]));
        assert_eq!(deleted([(&then, &now), (&other, &other_now)], 0, 3), Ok(2));
    }

    #[test]
    fn transactions_too_far_apart_or_going_backwards_are_not_compared() {
        assert!(comparable(5, 5));
        assert!(comparable(5, 5 + 1_999_999_999));
        assert!(!comparable(5, 5 + 2_000_000_000));
        assert!(!comparable(6, 5));
    }
}
