//! Which keys have changed since an instant.

use super::history::unbroken;
use super::leaves::Leaf;
use super::place::Place;
use super::versions::{candidates, same_leaves, versions};
use crate::effects::postgres::Connection;
use crate::remembered::{BUCKET_BITS, Buckets, KeyKind, LeafThen, TableThen, deleted};
use crate::sql;
use anyhow::Result;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// A key that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Written since: changed, or new.
    Written(i64),
    Deleted(i64),
}

/// Tells every key that has changed since a table was remembered, range of ids by range; an answer in words
/// where that cannot be told. `ids_then`: the ids of a range (its first and last) that stood there then, those
/// that were excluded or quarantined too.
///
/// Held are the written keys and the counts of ranges, and of one range the ids.
pub async fn changed_keys(
    connection: &mut Connection,
    place: Place<'_>,
    then: &TableThen,
    mut ids_then: impl FnMut(i64, i64) -> Result<Vec<i64>>,
    mut tell: impl FnMut(Key) -> Result<()>,
) -> Result<Result<(), String>> {
    if let Err(why) = unbroken(connection, &then.history).await? {
        return Ok(Err(why));
    }
    let leaves = match same_leaves(connection, place, then).await? {
        Ok(leaves) => leaves,
        Err(why) => return Ok(Err(why)),
    };
    for (leaf, _) in &leaves {
        let why = match (leaf.key, leaf.key_of_table) {
            (KeyKind::None, _) => "has no key",
            (KeyKind::Id, KeyKind::None) => "has a key of its own: another part may hold the same id",
            (KeyKind::Id, KeyKind::Id) => continue,
        };
        return Ok(Err(format!("{} {why}", leaf.name)));
    }
    let since = LeavesSince::read(connection, leaves, then.oldest).await?;
    for bucket in since.buckets() {
        let told = since.range(connection, bucket, &mut ids_then, &mut tell).await?;
        if let Err(why) = told {
            return Ok(Err(format!("{}.{}: {why}", place.schema, place.table)));
        }
    }
    Ok(Ok(()))
}

/// A table's leaves of then beside their versions now. Together, because ids of one range may be in several.
struct LeavesSince<'a> {
    leaves: Vec<LeafSince<'a>>,
    /// By range.
    candidates: BTreeMap<i64, Vec<Candidate>>,
}

struct LeafSince<'a> {
    leaf: Leaf,
    then: &'a LeafThen,
    now: Buckets,
}

struct Candidate {
    id: i64,
    /// Not one that stood there then.
    is_new: bool,
}

impl<'a> LeavesSince<'a> {
    async fn read(
        connection: &mut Connection,
        leaves: Vec<(Leaf, &'a LeafThen)>,
        oldest: u64,
    ) -> Result<LeavesSince<'a>> {
        let mut since = LeavesSince { leaves: Vec::new(), candidates: BTreeMap::new() };
        for (leaf, then) in leaves {
            let (now, _) = versions(connection, &leaf, then.key, oldest, None).await?;
            if now.candidates() > 0 {
                for candidate in candidates(connection, &leaf, oldest).await? {
                    let is_new = then.candidates.binary_search(&candidate).is_err();
                    let range = since.candidates.entry(candidate.0 >> BUCKET_BITS).or_default();
                    range.push(Candidate { id: candidate.0, is_new });
                }
            }
            since.leaves.push(LeafSince { leaf, then, now });
        }
        Ok(since)
    }

    /// Those of then and those of now: one that is empty now had rows then.
    fn buckets(&self) -> BTreeSet<i64> {
        self.leaves.iter().flat_map(|of| of.then.buckets.0.keys().chain(of.now.0.keys())).copied().collect()
    }

    async fn range(
        &self,
        connection: &mut Connection,
        bucket: i64,
        ids_then: &mut impl FnMut(i64, i64) -> Result<Vec<i64>>,
        tell: &mut impl FnMut(Key) -> Result<()>,
    ) -> Result<Result<(), String>> {
        let candidates = self.candidates.get(&bucket).map(Vec::as_slice).unwrap_or_default();
        let is_whole = |of: &LeafSince<'_>| of.now.of(bucket).old == of.then.buckets.of(bucket).rows;
        if candidates.is_empty() && self.leaves.iter().all(is_whole) {
            return Ok(Ok(()));
        }
        let first = bucket << BUCKET_BITS;
        let then: BTreeSet<i64> = ids_then(first, first | ((1 << BUCKET_BITS) - 1))?.into_iter().collect();
        let there = candidates.iter().filter(|candidate| then.contains(&candidate.id)).count() as u64;
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
        let gone: Vec<i64> = then.difference(&now).copied().collect();
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
