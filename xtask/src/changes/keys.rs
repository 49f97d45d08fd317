//! Which keys have changed since an instant.

use super::history::unbroken;
use super::leaves::Leaf;
use super::place::Place;
use super::versions::{candidates, same_leaves, versions};
use crate::effects::postgres::Connection;
use crate::remembered::{BUCKET_BITS, Buckets, KeyKind, LeafThen, TableThen};
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
/// where that cannot be told. A row that moved to another partition is told as both. `ids_then`: the ids of a
/// range (its first and last) that stood there then, those that were excluded or quarantined too.
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
    for (leaf, then_leaf) in &leaves {
        if leaf.key == KeyKind::None {
            return Ok(Err(format!("{} has no key", leaf.name)));
        }
        let of = LeafSince::read(connection, leaf, then_leaf, then.oldest).await?;
        for bucket in of.buckets() {
            let told = of.range(connection, bucket, &mut ids_then, &mut tell).await?;
            if told.is_err() {
                return Ok(told);
            }
        }
    }
    Ok(Ok(()))
}

/// A leaf of then beside its versions now.
struct LeafSince<'a> {
    leaf: &'a Leaf,
    then: &'a LeafThen,
    now: Buckets,
    /// By range: key and transaction of candidates.
    candidates: BTreeMap<i64, Vec<(i64, u32)>>,
}

impl LeafSince<'_> {
    async fn read<'a>(
        connection: &mut Connection,
        leaf: &'a Leaf,
        then: &'a LeafThen,
        oldest: u64,
    ) -> Result<LeafSince<'a>> {
        let (now, _) = versions(connection, leaf, then.key, oldest, None).await?;
        let mut by_range: BTreeMap<i64, Vec<(i64, u32)>> = BTreeMap::new();
        if now.candidates() > 0 {
            for candidate in candidates(connection, leaf, oldest).await? {
                by_range.entry(candidate.0 >> BUCKET_BITS).or_default().push(candidate);
            }
        }
        Ok(LeafSince { leaf, then, now, candidates: by_range })
    }

    /// Those of then and those of now: one that is empty now had rows then.
    fn buckets(&self) -> BTreeSet<i64> {
        self.then.buckets.0.keys().chain(self.now.0.keys()).copied().collect()
    }

    async fn range(
        &self,
        connection: &mut Connection,
        bucket: i64,
        ids_then: &mut impl FnMut(i64, i64) -> Result<Vec<i64>>,
        tell: &mut impl FnMut(Key) -> Result<()>,
    ) -> Result<Result<(), String>> {
        let candidates = self.candidates.get(&bucket).map(Vec::as_slice).unwrap_or_default();
        let whole = self.now.of(bucket).old == self.then.buckets.of(bucket).rows;
        if candidates.is_empty() && whole {
            return Ok(Ok(()));
        }
        let first = bucket << BUCKET_BITS;
        let then: BTreeSet<i64> = ids_then(first, first | ((1 << BUCKET_BITS) - 1))?.into_iter().collect();
        let there = candidates.iter().filter(|(id, _)| then.contains(id)).count() as u64;
        let deleted = match self.then.deleted(&self.now, bucket, there) {
            Ok(deleted) => deleted,
            Err(why) => return Ok(Err(format!("{}: {why}", self.leaf.name))),
        };
        for candidate in candidates {
            if self.then.candidates.binary_search(candidate).is_err() {
                tell(Key::Written(candidate.0))?;
            }
        }
        if deleted == 0 {
            return Ok(Ok(()));
        }
        let rows = connection.rows(&sql::ids_of_range(&self.leaf.name, bucket)).await?;
        let now = rows.iter().map(|row| row.try_get(0)).collect::<Result<BTreeSet<i64>, _>>()?;
        let gone: Vec<i64> = then.difference(&now).copied().collect();
        if gone.len() as u64 != deleted {
            return Ok(Err(format!(
                "{}: {deleted} rows of range {bucket} are gone by their versions, {} by their ids",
                self.leaf.name,
                gone.len()
            )));
        }
        gone.into_iter().try_for_each(|id| tell(Key::Deleted(id)))?;
        Ok(Ok(()))
    }
}
