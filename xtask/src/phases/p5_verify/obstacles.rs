//! What keeps verify from looking: a table or column that is not there, a file of the run that is damaged.

use crate::effects::postgres::Connection;
use crate::run::ctx::Ctx;
use crate::run::dir::damaged_files;
use crate::run::manifest::Export;
use crate::run::overlay;
use crate::sql;
use crate::stores::schema;
use anyhow::Result;
use sqlx::Row;

/// Whether the table and these columns of it are there and can be read. Where not, that is a finding of the
/// table itself, and what is to be looked up in them cannot be.
pub(super) async fn has(connection: &mut Connection, table: &str, columns: &[&str]) -> Result<bool> {
    if !connection.row(&sql::exists("public", table)).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    if connection.row(&sql::hides_rows("public", table)).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    if !connection.row(&sql::may_be_read("public", table)).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    let have = schema::columns(connection, "public", table).await?;
    Ok(columns.iter().all(|c| have.iter().any(|h| h.name == *c)))
}

/// The damage to these files of the run that explains an error met while they were read: a damaged file
/// is a finding. The error itself where they are what they were.
pub(super) fn damage_of(
    ctx: &Ctx,
    export: &Export,
    names: &[String],
    error: anyhow::Error,
) -> Result<String> {
    let files = names.iter().flat_map(|name| overlay::files(export, name)).collect();
    let damaged = damaged_files(&ctx.run, &files);
    if damaged.is_empty() { Err(error) } else { Ok(damaged.join("; ")) }
}
