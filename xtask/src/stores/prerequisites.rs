//! What a target database itself has to be like, and what this session's role needs there, whatever its tables
//! are.

use crate::effects::postgres::Connection;
use crate::settings::Server;
use crate::tables::Table;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;

/// The one encoding that holds every text.
const EVERY_TEXT: &str = "UTF8";

/// A prerequisite that is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub found: String,
    /// What mends it.
    pub statement: String,
}

/// Whether the database can hold every text; `None`: it can.
pub async fn encoding(connection: &mut Connection, server: &Server) -> Result<Option<Lacking>> {
    let encoding = connection.info().await?.encoding;
    Ok((encoding != EVERY_TEXT).then(|| Lacking {
        found: format!("its encoding is {encoding}, and {EVERY_TEXT} is needed to hold every text"),
        statement: format!(
            "make it anew, as a superuser, once it is empty: DROP DATABASE {}; {}",
            crate::sql_text::ident(&server.database),
            sql::create_utf8_database(&server.database, &server.user)
        ),
    }))
}

/// What keeps the sessions of services from writing; this tool's own could.
pub async fn read_only(connection: &mut Connection) -> Result<Option<Lacking>> {
    let rows = connection.rows(sql_file!("phases/4-import/read_only.sql").text).await?;
    let statements =
        rows.iter().map(|row| Ok(row.try_get::<String, _>(0)? + ";")).collect::<Result<Vec<_>>>()?;
    Ok((!statements.is_empty()).then(|| Lacking {
        found: "new sessions are read-only (default_transaction_read_only), so its service could not write"
            .into(),
        statement: statements.join(" "),
    }))
}

/// How many grants a query of `0-doctor` looks for, and those that are missing.
pub async fn missing_grants(connection: &mut Connection, query: &str) -> Result<(usize, Vec<Lacking>)> {
    let rows = connection.rows(query).await?;
    let mut missing = Vec::new();
    for row in &rows {
        if !row.try_get::<bool, _>("held")? {
            let (grant, statement): (String, String) = (row.try_get("grant")?, row.try_get("statement")?);
            missing.push(Lacking { found: format!("{grant} is missing"), statement: statement + ";" });
        }
    }
    Ok((rows.len(), missing))
}

/// The query for what the role needs on a target with these tables.
pub fn grants_of_target<'a>(tables: impl Iterator<Item = &'a Table>) -> String {
    let names = sql::array(tables.map(|table| table.name));
    sql::bind(sql_file!("phases/0-doctor/privileges_target.sql"), &[("tables", &names)])
}
