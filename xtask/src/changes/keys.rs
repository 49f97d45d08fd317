//! Which keys have changed since an instant.

use super::history::unbroken;
use super::leaves::Leaf;
use super::pieces::Pieces;
use super::place::Place;
use super::table::{Then, few_enough};
use super::versions::{Candidates, oldest, same_leaves, since_later, versions_and_candidates};
use crate::effects::clock;
use crate::effects::postgres::Connection;
use crate::remembered::{BUCKET_BITS, Buckets, History, KeyKind, LeafThen, TableThen, deleted};
use crate::sql;
use anyhow::Result;
use datapath::digest::Digest;
use sqlx::Row;
use std::collections::BTreeSet;

/// A key that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Written since: changed, or new.
    Written(i64),
    Deleted(i64),
}

/// Tells every key that has changed since a table was remembered, range of ids by range; an answer in words
/// where that cannot be told. `ids_then`: the ids of a range (its first and last) that stood there then, those
/// that were excluded or quarantined too, in order.
///
/// Held are the written keys and the counts of ranges, and of one range the ids. `pieces`: how a large table is scanned
/// by several sessions. The table as it is now is remembered from the same scan, as [`remember`](super::remember) would,
/// without a digest.
pub async fn changed_keys(
    connection: &mut Connection,
    place: Place<'_>,
    then: &TableThen,
    pieces: Option<&Pieces<'_>>,
    mut ids_then: impl FnMut(i64, i64) -> Result<Vec<i64>>,
    mut tell: impl FnMut(Key) -> Result<()>,
) -> Result<Result<Then, String>> {
    let history = match unbroken(connection, &then.history).await? {
        Ok(history) => history,
        Err(why) => return Ok(Err(why)),
    };
    let leaves = match same_leaves(connection, place, then).await? {
        Ok(leaves) => leaves,
        Err(why) => return Ok(Err(why)),
    };
    let since = match LeavesSince::read(connection, leaves, then.oldest, pieces).await? {
        Ok(since) => since,
        Err(why) => return Ok(Err(why)),
    };
    for bucket in since.changed() {
        let told = since.range(connection, bucket, &mut ids_then, &mut tell).await?;
        if let Err(why) = told {
            return Ok(Err(format!("{}.{}: {why}", place.schema, place.table)));
        }
    }
    let oldest = oldest(connection).await?;
    Ok(Ok(since.remembered(oldest, history)))
}

/// A table's leaves of then beside their versions now. Together, because ids of one range may be in several.
struct LeavesSince<'a> {
    leaves: Vec<LeafSince<'a>>,
}

struct LeafSince<'a> {
    leaf: Leaf,
    then: &'a LeafThen,
    now: Buckets,
    candidates: Candidates,
}

impl LeafSince<'_> {
    /// Whether a range holds the rows that it held then, and no candidate.
    fn is_whole(&self, bucket: i64) -> bool {
        let (now, then) = (self.now.of(bucket), self.then.buckets.of(bucket));
        now.rows == now.old && now.old == then.rows
    }

    fn candidates_of(&self, bucket: i64) -> impl Iterator<Item = Candidate> {
        let is_new = |told| self.then.candidates.binary_search(told).is_err();
        let candidates = self.candidates.get(&bucket).into_iter().flatten();
        candidates.map(move |told| Candidate { id: told.0, is_new: is_new(told) })
    }
}

/// Why rows of a leaf are not told apart by `id`.
fn without_key(leaf: &Leaf) -> Option<&'static str> {
    match (leaf.key, leaf.key_of_table) {
        (KeyKind::None, _) => Some("has no key"),
        (KeyKind::Id, KeyKind::None) => Some("has a key of its own: another part may hold the same id"),
        (KeyKind::Id, KeyKind::Id) => None,
    }
}

struct Candidate {
    id: i64,
    /// Not one that stood there then.
    is_new: bool,
}

impl<'a> LeavesSince<'a> {
    /// # Errors
    /// In words, where something has changed and keys do not tell what.
    async fn read(
        connection: &mut Connection,
        leaves: Vec<(Leaf, &'a LeafThen)>,
        oldest: u64,
        pieces: Option<&Pieces<'_>>,
    ) -> Result<Result<LeavesSince<'a>, String>> {
        let mut since = LeavesSince { leaves: Vec::new() };
        for (leaf, then) in leaves {
            let (now, candidates) = versions_and_candidates(connection, &leaf, oldest, pieces).await?;
            since.leaves.push(LeafSince { leaf, then, now, candidates });
        }
        if since.changed().is_empty() {
            return Ok(Ok(since));
        }
        for LeafSince { leaf, .. } in &since.leaves {
            if let Some(why) = without_key(leaf) {
                return Ok(Err(format!("{} {why}", leaf.name)));
            }
        }
        Ok(Ok(since))
    }

    /// What stands there now, for who asks later. `oldest`: S of now.
    fn remembered(self, oldest: u64, history: History) -> Then {
        let leaf = |mut of: LeafSince<'_>| {
            since_later(&mut of.now, &mut of.candidates, oldest);
            few_enough(&of.leaf, of.now.candidates())?;
            let mut candidates: Vec<(i64, u32)> = of.candidates.into_values().flatten().collect();
            candidates.sort_unstable();
            let Leaf { oid, definition, key, .. } = of.leaf;
            Ok((oid, LeafThen { definition, key, buckets: of.now, candidates }))
        };
        let leaves = self.leaves.into_iter().map(leaf).collect::<Result<_, String>>()?;
        Ok(TableThen { at: clock::now(), history, oldest, content: Digest::default(), leaves })
    }

    /// Ranges with candidates or with fewer rows that are none. Those of then and those of now: one that is empty now
    /// had rows then.
    fn changed(&self) -> BTreeSet<i64> {
        let buckets = self.leaves.iter().flat_map(|of| of.then.buckets.0.keys().chain(of.now.0.keys()));
        let is_whole = |bucket: i64| self.leaves.iter().all(|of| of.is_whole(bucket));
        buckets.copied().filter(|bucket| !is_whole(*bucket)).collect()
    }

    async fn range(
        &self,
        connection: &mut Connection,
        bucket: i64,
        ids_then: &mut impl FnMut(i64, i64) -> Result<Vec<i64>>,
        tell: &mut impl FnMut(Key) -> Result<()>,
    ) -> Result<Result<(), String>> {
        let candidates: Vec<Candidate> = self.leaves.iter().flat_map(|of| of.candidates_of(bucket)).collect();
        let first = bucket << BUCKET_BITS;
        let then = ids_then(first, first | ((1 << BUCKET_BITS) - 1))?;
        let there = candidates.iter().filter(|candidate| then.binary_search(&candidate.id).is_ok());
        let there = there.count() as u64;
        let leaves = self.leaves.iter().map(|of| (of.then, &of.now));
        let deleted = match deleted(leaves, bucket, there) {
            Ok(deleted) => deleted,
            Err(why) => return Ok(Err(why)),
        };
        let mut new = candidates.iter().filter(|candidate| candidate.is_new);
        new.try_for_each(|candidate| tell(Key::Written(candidate.id)))?;
        if deleted == 0 {
            return Ok(Ok(()));
        }
        let now = self.ids_now(connection, bucket).await?;
        let gone: Vec<i64> = then.into_iter().filter(|id| !now.contains(id)).collect();
        if gone.len() as u64 != deleted {
            return Ok(Err(format!(
                "{deleted} rows of range {bucket} are gone by their versions, {} by their ids",
                gone.len()
            )));
        }
        gone.into_iter().try_for_each(|id| tell(Key::Deleted(id)))?;
        Ok(Ok(()))
    }

    async fn ids_now(&self, connection: &mut Connection, bucket: i64) -> Result<BTreeSet<i64>> {
        let mut ids = BTreeSet::new();
        for of in self.leaves.iter().filter(|of| of.now.of(bucket).rows > 0) {
            for row in connection.rows(&sql::ids_of_range(&of.leaf.name, bucket)).await? {
                ids.insert(row.try_get(0)?);
            }
        }
        Ok(ids)
    }
}
