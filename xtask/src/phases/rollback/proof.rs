//! PutGet: what the old database tells of the rows that were written is what the stores hold, row by row and document by
//! document, by hashes that were taken on both sides; what had to go is gone.

use super::table::{OldDatabase, TablePut};
use crate::effects::postgres::Connection;
use crate::model::Stop;
use crate::tables::USERS;
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// By table, the keys of which the old database tells something else than the store holds: its columns round, pad or
/// write in another way.
pub type Otherwise = BTreeMap<&'static str, BTreeSet<String>>;

/// # Errors
/// `Stop::Differs` where a row is there that had to go.
pub async fn put_get(
    old: &OldDatabase<'_>,
    puts: &[TablePut<'_>],
    connection: &mut Connection,
) -> Result<Otherwise> {
    let mut otherwise = Otherwise::new();
    for put in puts {
        let different = different(old, put, connection).await?;
        if !different.is_empty() {
            otherwise.insert(put.table().name, different);
        }
    }
    Ok(otherwise)
}

async fn different(
    old: &OldDatabase<'_>,
    put: &TablePut<'_>,
    connection: &mut Connection,
) -> Result<BTreeSet<String>> {
    let table = put.table();
    let mut wrong = BTreeSet::new();
    let written: Vec<i64> = ids(connection, &put.sql().written()).await?;
    if !written.is_empty() {
        let hash = old.export.snapshot.hash;
        let query = put.rows.hashes_of(table, hash, &put.sql().written());
        let mut told: BTreeMap<i64, (String, Option<i64>)> = BTreeMap::new();
        for row in connection.rows(&query).await? {
            told.insert(
                row.try_get(0)?,
                (row.try_get::<Option<String>, _>(1)?.unwrap_or_default(), row.try_get(2)?),
            );
        }
        for id in written {
            let same = told.get(&id).is_some_and(|(key, hash)| {
                let theirs = put.delta.hashes.get(key);
                theirs.is_some() && theirs.copied() == *hash
            });
            if !same {
                let (key, _) = told.get(&id).with_context(|| format!("{} {id} is not told", table.source))?;
                wrong.insert(key.clone());
            }
        }
    }
    let query = put.sql().noted_otherwise(&put.rows.as_filed(), &put.delta.columns);
    for row in connection.rows(&query).await? {
        wrong.insert(row.try_get(0)?);
    }
    let there: i64 = match table.name {
        USERS => 0,
        _ => connection.row(&put.sql().still_there()).await?.try_get(0)?,
    };
    if there > 0 {
        let what =
            format!("{there} rows of {} that had to go are there; nothing has been changed", table.source);
        return Err(Stop::Differs(what).into());
    }
    Ok(wrong)
}

async fn ids(connection: &mut Connection, query: &str) -> Result<Vec<i64>> {
    connection.rows(query).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
