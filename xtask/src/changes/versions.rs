//! The versions of a leaf's rows, and whether it is still the leaf that was remembered.

use super::leaves::{Leaf, leaves};
use super::pieces::{Pieces, by_pieces};
use super::place::Place;
use crate::effects::postgres::Connection;
use crate::remembered::{Buckets, Counted, KeyKind, LeafThen, TableThen, comparable};
use crate::sql;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use sqlx::Row;
use std::collections::BTreeMap;

/// The leaves of now beside those of then, where they are the same and can be compared; else why not.
pub(super) async fn same_leaves<'t>(
    connection: &mut Connection,
    place: Place<'_>,
    then: &'t TableThen,
) -> Result<Result<Vec<(Leaf, &'t LeafThen)>, String>> {
    let now = oldest(connection).await?;
    if !comparable(then.oldest, now) {
        return Ok(Err(format!(
            "transaction {} of then and {now} of now are too far apart, or in the wrong order",
            then.oldest
        )));
    }
    let leaves = match leaves(connection, place).await? {
        Ok(leaves) => leaves,
        Err(why) => return Ok(Err(why)),
    };
    if !leaves.iter().map(|leaf| leaf.oid).eq(then.leaves.keys().copied()) {
        return Ok(Err(format!(
            "{}.{} is another table than it was, or has other parts",
            place.schema, place.table
        )));
    }
    let mut both = Vec::new();
    for (leaf, then) in leaves.into_iter().zip(then.leaves.values()) {
        if leaf.definition != then.definition {
            return Ok(Err(format!("{} is defined otherwise than it was", leaf.name)));
        }
        if leaf.key != then.key {
            return Ok(Err(format!("{} has another key than it had", leaf.name)));
        }
        both.push((leaf, then));
    }
    Ok(Ok(both))
}

/// S: the oldest transaction that could still be writing.
pub(super) async fn oldest(connection: &mut Connection) -> Result<u64> {
    let row = connection.row("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").await?;
    Ok(row.try_get::<String, _>(0)?.parse()?)
}

/// A leaf by range of ids; where a hash of its row `t` is given, in the same pass its digest.
pub(super) async fn versions(
    connection: &mut Connection,
    leaf: &Leaf,
    key: KeyKind,
    oldest: u64,
    hash: Option<&str>,
) -> Result<(Buckets, Digest)> {
    let (mut buckets, mut content) = (Buckets::default(), Digest::default());
    for row in connection.rows(&sql::versions(&leaf.name, key, oldest, hash)).await? {
        let (rows, old): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        buckets.0.insert(row.try_get(0)?, Counted { rows: u64::try_from(rows)?, old: u64::try_from(old)? });
        if hash.is_some() {
            content.add(Digest::new(rows, row.try_get(3)?)?);
        }
    }
    Ok((buckets, content))
}

/// Candidates by range of ids, each with its transaction.
pub(super) type Candidates = BTreeMap<i64, Vec<(i64, u32)>>;

/// A leaf by range of ids, with its candidates, in one scan, which may be in pieces. Without a key there is one range,
/// however many candidates it has: they are counted, and not told.
pub(super) async fn versions_and_candidates(
    connection: &mut Connection,
    leaf: &Leaf,
    oldest: u64,
    pieces: Option<&Pieces<'_>>,
) -> Result<(Buckets, Candidates)> {
    let (mut buckets, mut candidates) = (Buckets::default(), Candidates::new());
    if leaf.key == KeyKind::None {
        return Ok((versions(connection, leaf, leaf.key, oldest, None).await?.0, candidates));
    }
    let candidate = |text: &str| {
        let (id, transaction) = text.split_once(' ').context("a candidate has two numbers")?;
        Ok((id.parse()?, transaction.parse()?))
    };
    let query = |pages| sql::versions_and_candidates(&leaf.name, oldest, pages);
    for row in by_pieces(connection, leaf, pieces, query).await? {
        let (bucket, rows): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let rows = u64::try_from(rows)?;
        let told: Option<String> = row.try_get(2)?;
        let told: Vec<_> =
            told.iter().flat_map(|told| told.split(',')).map(candidate).collect::<Result<_>>()?;
        // A range of ids may lie in several pieces.
        let counted = buckets.0.entry(bucket).or_default();
        (counted.rows, counted.old) = (counted.rows + rows, counted.old + rows - told.len() as u64);
        candidates.entry(bucket).or_default().extend(told);
    }
    Ok((buckets, candidates))
}

/// The same as a later S has them: its candidates are those that it, or a later transaction, has written.
pub(super) fn since_later(buckets: &mut Buckets, candidates: &mut Candidates, oldest: u64) {
    // Row numbers of transactions go round; what is compared is less than half a round apart.
    let is_later = |transaction: u32| transaction.wrapping_sub(oldest as u32).cast_signed() >= 0;
    for (bucket, told) in candidates {
        told.retain(|(_, transaction)| is_later(*transaction));
        if let Some(counted) = buckets.0.get_mut(bucket) {
            counted.old = counted.rows - told.len() as u64;
        }
    }
}

pub(super) async fn candidates(
    connection: &mut Connection,
    leaf: &Leaf,
    oldest: u64,
) -> Result<Vec<(i64, u32)>> {
    let rows = connection.rows(&sql::candidates(&leaf.name, oldest)).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<String, _>(1)?.parse()?))).collect()
}
