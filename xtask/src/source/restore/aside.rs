//! Databases that were put aside when a restored one took their place: known by their names, and dropped once nobody
//! needs them any more.

use super::place;
use super::replace::ASIDE;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::source::freeze::others::{self, EVER};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use serde::Serialize;
use sqlx::Row;

/// What follows the name: a time of this length.
const TIME: &str = "00000000_000000";

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Aside {
    pub database: String,
    /// For people; `None`: this role may not see it.
    pub size: Option<String>,
}

/// Those of the source's database.
///
/// # Errors
/// Refuses where somebody is in one of them.
pub async fn put_aside(ctx: &Ctx) -> Result<Vec<Aside>> {
    let (mut connection, _) = place::maintenance(ctx).await?;
    // As long as its name may be, the end of the source's own may be cut off.
    let name = place::name(&ctx.settings.source.database, &format!("{ASIDE}{TIME}"));
    let begins = &name[..name.len() - TIME.len()];
    let query = sql::bind(sql_file!("phases/restore/put_aside.sql"), &[("begins", begins)]);
    let mut found = Vec::new();
    let mut used = Vec::new();
    for row in connection.rows(&query).await? {
        let database: String = row.try_get("database")?;
        let sessions = others::sessions_of(&mut connection, &database, EVER).await?;
        used.extend(sessions.iter().map(|session| format!("{session} in {database}")));
        found.push(Aside { database, size: row.try_get("size")? });
    }
    connection.close().await?;
    if !used.is_empty() {
        refuse!(
            "a database that was put aside is in use, and none is dropped:\n  {}\nEnd these sessions, or leave \
             --drop-old out",
            used.join("\n  ")
        );
    }
    Ok(found)
}

/// Drops them. One that somebody has come into meanwhile stays, and is the error.
pub async fn drop_these(ctx: &Ctx, these: &[Aside]) -> Result<()> {
    let (mut connection, _) = place::maintenance(ctx).await?;
    for Aside { database, .. } in these {
        let dropping = connection.run(&sql::drop_if_nobody_is_in(database)).await;
        dropping.with_context(|| format!("dropping {database}"))?;
        ctx.terminal.line(format!("dropped the database {database}"));
    }
    connection.close().await
}
