//! What our own transactions have loaded, before it can be remembered: while they run, each row is a candidate.

use super::leaves::leaves;
use super::place::Place;
use super::versions::{candidates, same_leaves, versions};
use crate::effects::postgres::Connection;
use crate::remembered::TableThen;
use crate::sql;
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// What was written into a table by known transactions of ours, and what it was when its content was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// By OID: definition.
    leaves: BTreeMap<u32, String>,
    transactions: Vec<u32>,
}

/// Before a table's content is told: what it is, of which these transactions have written every row.
pub async fn written(
    connection: &mut Connection,
    place: Place<'_>,
    transactions: Vec<u32>,
) -> Result<Result<Written, String>> {
    Ok(leaves(connection, place).await?.map(|leaves| Written {
        leaves: leaves.into_iter().map(|leaf| (leaf.oid, leaf.definition)).collect(),
        transactions,
    }))
}

/// Whether a table still holds exactly what these transactions wrote, whose content has been told after them:
/// their rows cannot come back once they are gone, so their number decides.
pub async fn still_written(
    connection: &mut Connection,
    place: Place<'_>,
    written: &Written,
    rows: u64,
) -> Result<bool> {
    let Ok(now) = self::written(connection, place, written.transactions.clone()).await? else {
        return Ok(false);
    };
    let query = sql::written_by(place.schema, place.table, &written.transactions);
    let row = connection.row(&query).await?;
    let (all, ours): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(now == *written && u64::try_from(all)? == rows && all == ours)
}

/// Whether what was written into a table since it was remembered is all of one transaction, which left this many
/// rows: whatever others had done since, a row of theirs or one too few would tell.
pub async fn only_written_by(
    connection: &mut Connection,
    place: Place<'_>,
    then: &TableThen,
    transaction: u32,
    rows: u64,
) -> Result<bool> {
    let Ok(leaves) = same_leaves(connection, place, then).await? else { return Ok(false) };
    let mut there = 0;
    for (leaf, then_leaf) in leaves {
        let (now, _) = versions(connection, &leaf, then_leaf.key, then.oldest, None).await?;
        there += now.rows();
        if now.candidates() == 0 {
            continue;
        }
        for candidate in candidates(connection, &leaf, then.oldest).await? {
            if candidate.1 != transaction && then_leaf.candidates.binary_search(&candidate).is_err() {
                return Ok(false);
            }
        }
    }
    Ok(there == rows)
}
