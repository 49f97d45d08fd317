//! A table remembered, and looked at again.

use super::history::{history, unbroken};
use super::leaves::{Leaf, leaves};
use super::place::Place;
use super::versions::{candidates, oldest, same_leaves, versions};
use crate::effects::clock;
use crate::effects::postgres::Connection;
use crate::remembered::{CANDIDATES, History, KeyKind, LeafThen, TableThen};
use crate::sql;
use anyhow::Result;
use datapath::digest::Digest;
use sqlx::Row;
use std::collections::BTreeMap;

/// What versions say of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// Every row is the one that stood there, and no other is there.
    Unchanged { rows: u64 },
    /// Rows that were written since, or, where more, that are gone.
    Changed { about: u64 },
    /// Nothing, and why.
    Unknown(String),
}

/// Begins the transaction in which a table is looked at: it sees one instant, with nobody able to change what
/// the table is.
pub async fn begin(connection: &mut Connection, place: Place<'_>) -> Result<()> {
    // Nothing that takes a snapshot before the lock: a TRUNCATE in between would show an empty table.
    connection.run(sql::BEGIN_LOOKING).await?;
    connection.run(&sql::lock_to_look(place.schema, place.table)).await
}

/// A table remembered, or why it cannot be.
pub type Then = Result<TableThen, String>;

/// Remembers a table as the transaction sees it, whose content has been told by other means.
///
/// Counts only once it has been asked after the transaction whether all of it is [`flushed`](super::flushed), or
/// it has been [`marked`](super::marked).
pub async fn remember(
    connection: &mut Connection,
    place: Place<'_>,
    history: History,
    content: Digest,
) -> Result<Then> {
    let (_, then) = read(connection, place, history, None).await?;
    Ok(then.map(|then| TableThen { content, ..then }))
}

/// The same on the history that the database's versions stand on now; or why they tell nothing.
pub async fn remember_now(connection: &mut Connection, place: Place<'_>, content: Digest) -> Result<Then> {
    match history(connection).await? {
        Ok(history) => remember(connection, place, history, content).await,
        Err(why) => Ok(Err(why)),
    }
}

/// The same in one pass with the table's digest, which is there also where it cannot be remembered. `hash`: of
/// a row `t`.
pub async fn digest_and_remember(
    connection: &mut Connection,
    place: Place<'_>,
    history: Result<History, String>,
    hash: &str,
) -> Result<(Digest, Then)> {
    let (content, then) = match history {
        Ok(history) => read(connection, place, history, Some(hash)).await?,
        Err(why) => (None, Err(why)),
    };
    if let Some(content) = content {
        return Ok((content, then));
    }
    let row = connection.row(&sql::digest(place.schema, place.table, place.children.keyword(), hash)).await?;
    Ok((Digest::new(row.try_get(0)?, row.try_get(1)?)?, then))
}

/// Besides, the digest: also where too many candidates keep the table from being remembered, so that no row is
/// hashed twice.
async fn read(
    connection: &mut Connection,
    place: Place<'_>,
    history: History,
    hash: Option<&str>,
) -> Result<(Option<Digest>, Then)> {
    let leaves = match leaves(connection, place).await? {
        Ok(leaves) => leaves,
        Err(why) => return Ok((None, Err(why))),
    };
    let oldest = oldest(connection).await?;
    let (mut content, mut remembered) = (Digest::default(), Ok(BTreeMap::new()));
    for leaf in leaves {
        let (then, of_leaf) = leaf_then(connection, &leaf, oldest, hash).await?;
        content.add(of_leaf);
        remembered = remembered.and_then(|mut leaves| {
            leaves.insert(leaf.oid, then?);
            Ok(leaves)
        });
    }
    let at = clock::now();
    let then = remembered.map(|leaves| TableThen { at, history, oldest, content, leaves });
    Ok((Some(content), then))
}

async fn leaf_then(
    connection: &mut Connection,
    leaf: &Leaf,
    oldest: u64,
    hash: Option<&str>,
) -> Result<(Result<LeafThen, String>, Digest)> {
    let (buckets, content) = versions(connection, leaf, leaf.key, oldest, hash).await?;
    let open = buckets.candidates();
    if let Err(why) = few_enough(leaf, open) {
        return Ok((Err(why), content));
    }
    let candidates = if open > 0 { candidates(connection, leaf, oldest).await? } else { Vec::new() };
    let then = LeafThen { definition: leaf.definition.clone(), key: leaf.key, buckets, candidates };
    Ok((Ok(then), content))
}

/// # Errors
/// In words, where there are more candidates than are remembered one by one.
pub(super) fn few_enough(leaf: &Leaf, candidates: u64) -> Result<(), String> {
    match candidates > if leaf.key == KeyKind::Id { CANDIDATES } else { 0 } {
        true => Err(format!(
            "{candidates} rows of {} were written while an older transaction was still open",
            leaf.name
        )),
        false => Ok(()),
    }
}

/// Whether a table has changed since it was remembered, as the transaction sees it.
pub async fn since(connection: &mut Connection, place: Place<'_>, then: &TableThen) -> Result<Since> {
    if let Err(why) = unbroken(connection, &then.history).await? {
        return Ok(Since::Unknown(why));
    }
    let leaves = match same_leaves(connection, place, then).await? {
        Ok(leaves) => leaves,
        Err(why) => return Ok(Since::Unknown(why)),
    };
    let (mut rows, mut written, mut changed) = (0, 0, false);
    for (leaf, then_leaf) in &leaves {
        let (now, _) = versions(connection, leaf, then_leaf.key, then.oldest, None).await?;
        // Where there are more or fewer, they are not the same.
        let as_many = now.candidates() == then_leaf.candidates.len() as u64;
        let there = match as_many && now.candidates() > 0 {
            true => candidates(connection, leaf, then.oldest).await?,
            false => Vec::new(),
        };
        match then_leaf.is_unchanged(&now, &there) {
            Ok(unchanged) => changed |= !(unchanged && as_many),
            Err(why) => return Ok(Since::Unknown(format!("{}: {why}", leaf.name))),
        }
        rows += now.rows();
        written += now.candidates().saturating_sub(then_leaf.candidates.len() as u64);
    }
    if !changed {
        return Ok(Since::Unchanged { rows });
    }
    let gone = then.leaves.values().map(|leaf| leaf.buckets.rows()).sum::<u64>().saturating_sub(rows);
    // A row that was a candidate then may be another one now.
    Ok(Since::Changed { about: written.max(gone).max(1) })
}
