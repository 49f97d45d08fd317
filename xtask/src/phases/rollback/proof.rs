//! PutGet: what the old database tells of the rows that were written is what the stores hold, row by row and document by
//! document, by hashes that were taken on both sides; what had to go is gone.

use super::summary::{Back, Left, Triggers};
use super::table::{OldDatabase, TablePut};
use crate::effects::postgres::Connection;
use crate::model::Stop;
use crate::tables::USERS;
use anyhow::{Context, Result};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, BTreeSet};

/// By table, the keys of which the old database tells something else than the store holds, and in which columns: it
/// rounds, pads or writes in another way.
pub type Otherwise = BTreeMap<&'static str, BTreeMap<String, String>>;

/// # Errors
/// `Stop::Differs` where a row is there that had to go.
pub async fn put_get(
    old: &OldDatabase<'_>,
    puts: &[TablePut<'_>],
    (connection, back): (&mut Connection, &mut Back),
    triggers: Triggers,
) -> Result<Otherwise> {
    let mut otherwise = Otherwise::new();
    for put in puts {
        let mut wrong = BTreeMap::new();
        let noted = ids(connection, &put.sql().noted()).await?;
        let noted = told_otherwise(old, put, connection, &noted).await?;
        wrong.extend(noted.into_values().map(|other| (other.key, other.columns)));
        let written = ids(connection, &put.sql().written()).await?;
        let by_hash = different(old, put, connection, &written).await?;
        if triggers == Triggers::Fire || !by_hash.is_empty() {
            wrong.extend(by_hash.into_iter().map(|key| (key, String::new())));
            for (id, Other { key, columns }) in told_otherwise(old, put, connection, &written).await? {
                if triggers == Triggers::Quiet {
                    wrong.insert(key, columns);
                    continue;
                }
                wrong.remove(&key);
                let why = format!("the old database itself has set {columns}");
                let told = back.tables.entry(put.table().name.to_string()).or_default();
                told.noted.push(Left { key: id.to_string(), why });
            }
        }
        if !wrong.is_empty() {
            otherwise.insert(put.table().name, wrong);
        }
        gone(put, connection).await?;
    }
    Ok(otherwise)
}

/// The keys of written rows whose hashes are not those of the store.
async fn different(
    old: &OldDatabase<'_>,
    put: &TablePut<'_>,
    connection: &mut Connection,
    written: &[i64],
) -> Result<BTreeSet<String>> {
    let table = put.table();
    let mut wrong = BTreeSet::new();
    if written.is_empty() {
        return Ok(wrong);
    }
    let query = put.rows.hashes_of(table, old.export.snapshot.hash, written);
    let mut told: BTreeMap<i64, (String, Option<i64>)> = BTreeMap::new();
    for row in connection.rows(&query).await? {
        let key = row.try_get::<Option<String>, _>(1)?.unwrap_or_default();
        told.insert(row.try_get(0)?, (key, row.try_get(2)?));
    }
    for id in written {
        let (key, hash) = told.get(id).with_context(|| format!("{} {id} is not told", table.source))?;
        let theirs = put.delta.hashes.get(key);
        if theirs.is_none() || theirs.copied() != *hash {
            wrong.insert(key.clone());
        }
    }
    Ok(wrong)
}

async fn gone(put: &TablePut<'_>, connection: &mut Connection) -> Result<()> {
    let table = put.table();
    let there: i64 = match table.name {
        USERS => 0,
        _ => connection.row(&put.sql().still_there()).await?.try_get(0)?,
    };
    if there > 0 {
        let what =
            format!("{there} rows of {} that had to go are there; nothing has been changed", table.source);
        return Err(Stop::Differs(what).into());
    }
    Ok(())
}

/// A row that the old database tells otherwise than the store holds it.
struct Other {
    key: String,
    columns: String,
}

/// By id, of these ids.
async fn told_otherwise(
    old: &OldDatabase<'_>,
    put: &TablePut<'_>,
    connection: &mut Connection,
    ids: &[i64],
) -> Result<BTreeMap<i64, Other>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let query =
        put.sql().told_otherwise(old.export.snapshot.hash, &put.rows.as_held(), &put.delta.columns, ids);
    let rows = connection.rows(&query).await?;
    let other = |row: &PgRow| Ok((row.try_get(0)?, Other { key: row.try_get(1)?, columns: row.try_get(2)? }));
    rows.iter().map(other).collect()
}

async fn ids(connection: &mut Connection, query: &str) -> Result<Vec<i64>> {
    connection.rows(query).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
