//! The versions of a leaf's rows, and whether it is still the leaf that was remembered.

use super::leaves::{Leaf, leaves};
use super::place::Place;
use crate::effects::postgres::Connection;
use crate::remembered::{Buckets, Counted, KeyKind, LeafThen, TableThen, comparable};
use crate::sql;
use anyhow::Result;
use datapath::digest::Digest;
use sqlx::Row;

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

pub(super) async fn candidates(
    connection: &mut Connection,
    leaf: &Leaf,
    oldest: u64,
) -> Result<Vec<(i64, u32)>> {
    let rows = connection.rows(&sql::candidates(&leaf.name, oldest)).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<String, _>(1)?.parse()?))).collect()
}
