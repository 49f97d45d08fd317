//! PutGet: what the old database tells of the rows that were written is what the stores hold, row by row and document by
//! document, by hashes that were taken on both sides; what had to go is gone.

use super::table::{OldDatabase, TablePut};
use crate::effects::postgres::Connection;
use crate::findings::document_key;
use crate::model::Stop;
use crate::tables::{Table, USERS};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// # Errors
/// `Stop::Differs` with the keys that differ.
pub async fn put_get(
    old: &OldDatabase<'_>,
    puts: &[TablePut<'_>],
    connection: &mut Connection,
) -> Result<()> {
    let mut wrong = Vec::new();
    for put in puts {
        let different = different(old, put, connection).await?;
        if !different.is_empty() {
            let some: Vec<&str> = different.iter().take(old.ctx.max_diffs).map(String::as_str).collect();
            wrong.push(format!("{}: {} rows, {}", put.table().source, different.len(), some.join(", ")));
        }
    }
    if !wrong.is_empty() {
        let what = format!(
            "the old database would not tell the same as the stores; nothing has been changed there:\n  {}",
            wrong.join("\n  ")
        );
        return Err(Stop::Differs(what).into());
    }
    Ok(())
}

/// The keys of which the old database tells something else than the store holds.
async fn different(
    old: &OldDatabase<'_>,
    put: &TablePut<'_>,
    connection: &mut Connection,
) -> Result<Vec<String>> {
    let table = put.table();
    let mut wrong = Vec::new();
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
                wrong.push(told.get(&id).map_or(format!("id {id}"), |(key, _)| shown(old, table, key)));
            }
        }
    }
    let there: i64 = match table.name {
        USERS => 0,
        _ => connection.row(&put.sql().still_there()).await?.try_get(0)?,
    };
    if there > 0 {
        wrong.push(format!("{there} that had to be deleted"));
    }
    Ok(wrong)
}

fn shown(old: &OldDatabase<'_>, table: &Table, key: &str) -> String {
    document_key(table, key).said(old.ctx.values).to_string()
}

async fn ids(connection: &mut Connection, query: &str) -> Result<Vec<i64>> {
    connection.rows(query).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
