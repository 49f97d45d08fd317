//! The source's encoding, and whether its text is text.
//!
//! What was learnt: COPY converts on its way out, and ends at the first byte that does not convert. A
//! server that calls its encoding SQL_ASCII converts nothing. So bytes are judged and converted in the
//! SELECT, where it has to be, and only there.

use crate::effects::postgres::{self, Connection};
use crate::run::ctx::Ctx;
use crate::source::assess::columns::Columns;
use crate::source::assess::looks::connect;
use crate::sql::{self, Decoding};
use crate::{refuse, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::sync::Arc;

/// What a server calls an encoding that it knows nothing of.
const NONE: &str = "SQL_ASCII";

/// How text has to be decoded; `None` where the server does it, and all of it converts.
///
/// # Errors
/// Refuses a SQL_ASCII source whose encoding is not named, and a name that is of no use.
pub(super) async fn decoding(
    ctx: &Arc<Ctx>,
    connection: &mut Connection,
    columns: &Columns,
) -> Result<Option<Decoding>> {
    let server = connection.info().await?.encoding;
    let encoding = match (server.as_str(), &ctx.settings.policy.source_encoding) {
        (NONE, None) => refuse!(
            "{} does not know its encoding (SQL_ASCII): nobody can say which letters its bytes are. Name it in \
             [policy] of environment `{}`: source_encoding = \"LATIN1\", or UTF8, or what the applications write",
            ctx.settings.source,
            ctx.settings.environment
        ),
        (NONE, Some(name)) => known(ctx, connection, name).await?,
        (server, Some(name)) => {
            let known = known(ctx, connection, name).await?;
            if known != server {
                refuse!(
                    "source_encoding = \"{name}\" in environment `{}`, but {} is encoded in {server}: take it out",
                    ctx.settings.environment,
                    ctx.settings.source
                );
            }
            server.to_string()
        }
        (server, None) => server.to_string(),
    };
    if server != NONE && everything_converts(ctx, columns).await? {
        return Ok(None);
    }
    let bad_bytes = bad_bytes(ctx, connection, &encoding).await?;
    let columns = columns
        .iter()
        .map(|(table, columns)| (table.clone(), columns.iter().map(|c| c.column.clone()).collect()))
        .collect();
    Ok(Some(Decoding { server, encoding, bad_bytes, columns }))
}

/// The server's name of an encoding of which single values can be judged.
async fn known(ctx: &Ctx, connection: &mut Connection, name: &str) -> Result<String> {
    let query = sql::bind(sql_file!("phases/preflight/encoding.sql"), &[("encoding", name)]);
    let row = connection.row(&query).await?;
    let (known, longest): (Option<String>, Option<i32>) = (row.try_get(0)?, row.try_get(1)?);
    match known {
        Some(known) if known == "UTF8" || (known != NONE && longest == Some(1)) => Ok(known),
        Some(known) => refuse!(
            "source_encoding = \"{known}\" in environment `{}` is of no use: UTF8, or an encoding with one byte a \
             character such as LATIN1, WIN1252, KOI8R",
            ctx.settings.environment
        ),
        None => refuse!(
            "source_encoding = \"{name}\" in environment `{}`: {} knows no such encoding; LATIN1, WIN1252 and UTF8 \
             are some that it knows",
            ctx.settings.environment,
            ctx.settings.source
        ),
    }
}

/// Whether all text of the tables is what the server says that it is.
async fn everything_converts(ctx: &Arc<Ctx>, columns: &Columns) -> Result<bool> {
    let looks = columns.iter().map(|(table, columns)| {
        let columns: Vec<_> = columns.iter().map(|c| c.column.clone()).collect();
        converts(ctx.clone(), sql::all_convert(table, &columns), table.clone())
    });
    Ok(crate::run::join::all(looks.collect::<Vec<_>>()).await?.into_iter().all(|converts| converts))
}

async fn converts(ctx: Arc<Ctx>, query: String, table: String) -> Result<bool> {
    let _turn = ctx.source_permit(0).await;
    let mut connection = connect(&ctx).await?;
    let looked = connection.rows(&query).await;
    connection.close().await?;
    match looked {
        Ok(_) => Ok(true),
        Err(error) => match postgres::code(&error).as_deref() {
            // Not of this encoding; of it, but nothing in UTF-8.
            Some("22021" | "22P05") => Ok(false),
            // Rows that are hidden: a hazard of its own.
            Some("42501") => Ok(true),
            _ => Err(error).with_context(|| format!("reading the text of {table}")),
        },
    }
}

/// Bytes that are nothing in an encoding with one byte a character: the server is asked for each.
async fn bad_bytes(ctx: &Ctx, connection: &mut Connection, encoding: &str) -> Result<Option<Vec<u8>>> {
    if encoding == "UTF8" {
        return Ok(None);
    }
    known(ctx, connection, encoding).await?;
    let mut bad = Vec::new();
    for byte in 0x80..=0xff {
        match connection.rows(&sql::byte_converts(byte, encoding)).await {
            Ok(_) => {}
            Err(error) if matches!(postgres::code(&error).as_deref(), Some("22021" | "22P05")) => {
                bad.push(byte);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(bad))
}
