//! What a target database itself has to be like, and what this session's role needs there, whatever its tables
//! are.

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::FreezeLog;
use crate::run::privileges::{self, Lacking, Privileges};
use crate::settings::Server;
use crate::tables::Table;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;

/// The one encoding that holds every text.
const EVERY_TEXT: &str = "UTF8";

/// Whether the database can hold every text; `None`: it can.
pub async fn encoding(connection: &mut Connection, server: &Server) -> Result<Option<Lacking>> {
    let encoding = connection.info().await?.encoding;
    Ok((encoding != EVERY_TEXT).then(|| Lacking {
        found: format!("its encoding is {encoding}, and {EVERY_TEXT} is needed to hold every text"),
        statement: format!(
            "make it again, as a superuser, once it is empty: DROP DATABASE {}; {}",
            crate::sql_text::ident(&server.database),
            sql::create_utf8_database(&server.database, &server.user)
        ),
    }))
}

/// What keeps the sessions of services from writing; this tool's own could. What a rollback holds back the next
/// cut-over lets in again.
pub async fn read_only(
    ctx: &Ctx,
    database: Database,
    connection: &mut Connection,
) -> Result<Option<Lacking>> {
    if FreezeLog::at(ctx.run.runs()).holds(ctx.settings.target(database))? {
        return Ok(None);
    }
    let rows = connection.rows(sql_file!("phases/4-import/read_only.sql").text).await?;
    let statements =
        rows.iter().map(|row| Ok(row.try_get::<String, _>(0)? + ";")).collect::<Result<Vec<_>>>()?;
    Ok((!statements.is_empty()).then(|| Lacking {
        found: "new sessions are read-only (default_transaction_read_only), so its service could not write"
            .into(),
        statement: statements.join(" "),
    }))
}

/// What this session's role needs there with these tables.
pub async fn privileges<'a>(
    connection: &mut Connection,
    tables: impl Iterator<Item = &'a Table>,
) -> Result<Privileges> {
    let names = sql::array(tables.map(|table| table.name));
    let query = sql::bind(sql_file!("phases/0-doctor/privileges_target.sql"), &[("tables", &names)]);
    privileges::look(connection, &query).await
}
