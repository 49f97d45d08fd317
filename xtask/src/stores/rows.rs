//! Rows of a target: what a table holds, and how rows are sent into one.

use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind, Store};
use crate::model::Column;
use crate::run::manifest::TableExport;
use crate::sql::{self, HashFn};
use crate::stores::schema;
use crate::tables::Table;
use anyhow::{Result, anyhow};
use datapath::csv_text::WithoutColumn;
use datapath::digest::{Content, Digest};
use sqlx::Row;
use std::io::Read;

/// What a table holds, in the same terms as what it must hold.
pub async fn content(
    connection: &mut Connection,
    schema: &str,
    table: &str,
    columns: &[Column],
    hash: HashFn,
) -> Result<Content> {
    let mut content = Content::default();
    for row in connection.rows(&sql::digest_target(schema, table, columns, hash)).await? {
        content.buckets.insert(row.try_get(0)?, Digest::new(row.try_get(1)?, row.try_get(2)?)?);
    }
    Ok(content)
}

/// A table or column that is not there cannot be digested, nor rows that are hidden; it can be a finding.
pub async fn missing_columns(
    connection: &mut Connection,
    table: &Table,
    record: &TableExport,
) -> Result<Option<Finding>> {
    let finding = Finding::new(FindingKind::NotComparable, Store::of(table), table.name);
    if !connection.row(&sql::exists("public", table.name)).await?.try_get::<bool, _>(0)? {
        return Ok(Some(finding.detail("the table is not there")));
    }
    if connection.row(&sql::hides_rows("public", table.name)).await?.try_get::<bool, _>(0)? {
        return Ok(Some(finding.detail("row security hides the table's rows")));
    }
    if !connection.row(&sql::may_be_read("public", table.name)).await?.try_get::<bool, _>(0)? {
        let user: String = connection.row("SELECT session_user::text").await?.try_get(0)?;
        let statement = sql::let_read("public", table.name, &user);
        return Ok(Some(finding.detail(format!("{user} may not read the table's rows: {statement}"))));
    }
    let have = schema::columns(connection, "public", table.name).await?;
    let missing: Vec<&str> = record.target_columns.iter().map(|c| c.name.as_str()).collect();
    let missing: Vec<&str> = missing.into_iter().filter(|c| !have.iter().any(|h| h.name == *c)).collect();
    Ok((!missing.is_empty())
        .then(|| finding.detail(format!("columns are not there: {}", missing.join(", ")))))
}

/// Sends rows of a table's file, without the columns that the target has no place for.
pub async fn feed(
    session: Connection,
    statement: &str,
    reader: &mut (impl Read + Send),
    table: &Table,
    record: &TableExport,
) -> Result<(u64, Connection)> {
    let index = |name: &&str| record.columns.iter().position(|c| c.name == **name);
    match table.file_only.iter().map(|name| (name, index(name))).collect::<Vec<_>>()[..] {
        [] => session.copy_in(statement, reader).await,
        [(_, Some(index))] => session.copy_in(statement, WithoutColumn::new(reader, index)).await,
        _ => Err(anyhow!("{}: one column at most can stay in the file, and it has to be in it", table.name)),
    }
}
