//! Where a backup is restored to: the source's server, seen from a database that is always there, and the new
//! database under a name of its own until it is proven.

use crate::effects::postgres::{self, Connection};
use crate::run::ctx::Ctx;
use crate::run::properties::Properties;
use crate::settings::Server;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;

/// Databases that are there although the source's own may be gone: PostgreSQL makes both.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// PostgreSQL's limit for a name, in bytes.
const NAME: usize = 63;

/// What ends the name of a database that is not proven yet.
const UNPROVEN: &str = "_unproven";

/// The comment of a database that is not proven yet: with it the next call knows its own.
const MARK: &str = "xtask restore: not proven";

/// The comment of one that was not proven and is kept.
pub(super) const KEPT: &str = "xtask restore: DIFFERS from the backup, kept by --keep";

/// The way to the server as long as nothing is known of the source's database.
pub(super) async fn maintenance(ctx: &Ctx) -> Result<(Connection, Server)> {
    beside(ctx, "restore").await
}

/// The same for another purpose: a session on the source's server that is not in its database.
pub async fn beside(ctx: &Ctx, purpose: &str) -> Result<(Connection, Server)> {
    let mut failed = None;
    for database in MAINTENANCE {
        let server = of(ctx, database);
        match postgres::connect(&server, &ctx.purpose(purpose)).await {
            Ok(connection) => return Ok((connection, server)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    Err(failed.context("no database to connect to")?)
}

/// A database of the source's server.
pub(super) fn of(ctx: &Ctx, database: &str) -> Server {
    Server { database: database.to_string(), ..ctx.settings.source.clone() }
}

/// A name made of another one, cut off where both do not fit.
pub fn name(base: &str, ending: &str) -> String {
    let mut end = base.len().min(NAME - ending.len());
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ending}", &base[..end])
}

/// The name of the database until it is proven.
pub(super) fn unproven(database: &str) -> String {
    name(database, UNPROVEN)
}

/// Why a database cannot be called so.
pub(super) fn wrong_name(database: &str) -> Option<String> {
    match database.len() {
        0 => Some("the new database has no name".to_string()),
        length if length > NAME => Some(format!(
            "{database} is {length} bytes long, and a name has {NAME} at most: take a shorter one"
        )),
        _ => None,
    }
}

/// A database that is there.
pub(super) struct There {
    pub oid: i64,
    comment: String,
}

pub(super) async fn look(connection: &mut Connection, database: &str) -> Result<Option<There>> {
    let query = sql::bind(sql_file!("phases/restore/state.sql"), &[("database", database)]);
    let rows = connection.rows(&query).await?;
    let there = |row: &sqlx::postgres::PgRow| {
        anyhow::Ok(There { oid: row.try_get("oid")?, comment: row.try_get("comment")? })
    };
    rows.first().map(there).transpose()
}

/// What a database of this name has that no dump holds; `None`: there is none.
pub async fn properties(connection: &mut Connection, database: &str) -> Result<Option<Properties>> {
    let query = sql::bind(sql_file!("phases/1-backup/properties.sql"), &[("database", database)]);
    let rows = connection.rows(&query).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let text: String = row.try_get(0)?;
    let properties = serde_json::from_str(&text);
    Ok(Some(properties.with_context(|| format!("reading the properties of {database}: {text}"))?))
}

/// Why a database that is not proven stands in the way, if it does: one that an earlier call left is our own.
pub(super) async fn in_the_way(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
) -> Result<Option<String>> {
    let Some(there) = look(connection, database).await? else { return Ok(None) };
    if is_left_by_us(ctx, database, &there).await? {
        return Ok(None);
    }
    let drop = sql::drop_by_hand(database);
    let why =
        if there.comment == KEPT { "it was kept by --keep" } else { "it is none of this tool's making" };
    Ok(Some(format!("the database {database} is in the way, and {why}: if nobody needs it, {drop}")))
}

/// One that an earlier call left; killed right after it had made it, it could not mark it any more.
async fn is_left_by_us(ctx: &Ctx, database: &str, there: &There) -> Result<bool> {
    if !there.comment.is_empty() {
        return Ok(there.comment == MARK);
    }
    let mut connection = postgres::connect(&of(ctx, database), &ctx.purpose("restore")).await?;
    let empty = connection.row(sql_file!("phases/restore/empty.sql").text).await?.try_get(0)?;
    connection.close().await?;
    Ok(empty)
}

/// Makes the database, empty, with a mark by which it is known as not proven.
pub(super) async fn create(
    connection: &mut Connection,
    database: &str,
    properties: &Properties,
) -> Result<()> {
    let json = serde_json::to_string(properties)?;
    let values = [("database", database), ("properties", json.as_str())];
    let row = connection.row(&sql::bind(sql_file!("phases/restore/create.sql"), &values)).await?;
    let create: String = row.try_get("statement")?;
    connection.run(&create).await?;
    connection.run(&sql::comment_on_database(database, MARK)).await?;
    connection.run(&sql::close_to_others(database)).await
}

/// What gives a database the recorded properties, in order.
pub(super) async fn equipment(
    connection: &mut Connection,
    database: &str,
    properties: &Properties,
) -> Result<Vec<String>> {
    let json = serde_json::to_string(properties)?;
    let values = [("database", database), ("properties", json.as_str())];
    let rows = connection.rows(&sql::bind(sql_file!("phases/restore/equip.sql"), &values)).await?;
    rows.iter().map(|row| Ok(row.try_get("statement")?)).collect()
}

/// Drops what an earlier call has left.
///
/// # Errors
/// Refuses to drop what is not marked as our own.
pub(super) async fn drop_unproven(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
    if let Some(why) = in_the_way(ctx, connection, database).await? {
        refuse!("{why}");
    }
    connection.run(&sql::drop_database(database)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        assert_eq!(name("shop", "_before"), "shop_before");
        let long = name(&"é".repeat(40), "_x");
        assert_eq!(long, format!("{}_x", "é".repeat(30)));
        assert!(long.len() <= NAME);
        assert!(wrong_name("").is_some() && wrong_name(&"x".repeat(64)).is_some());
        assert_eq!(wrong_name(&"x".repeat(63)), None);
    }
}
