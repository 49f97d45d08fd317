//! The columns that the source's tables have.

use crate::effects::postgres::Connection;
use crate::run::ctx::Ctx;
use crate::sql::{self, SourceColumn};
use crate::sql_file;
use crate::sql_text::SqlFile;
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// A column of the source, and the type that stands for its own on another server.
pub struct Seen {
    pub column: SourceColumn,
    pub stand_in: String,
}

/// By table.
pub(super) type Columns = BTreeMap<String, Vec<Seen>>;

pub(super) async fn columns(ctx: &Ctx, connection: &mut Connection) -> Result<Columns> {
    const COLUMNS: SqlFile = sql_file!("phases/preflight/columns.sql");
    let mut columns = Columns::new();
    for row in connection.rows(&sql::bind(COLUMNS, &[("tables", &names(ctx))])).await? {
        let column = SourceColumn {
            name: row.try_get("column")?,
            kind: row.try_get("type")?,
            textual: row.try_get("textual")?,
        };
        let seen = Seen { column, stand_in: row.try_get("stand_in")? };
        columns.entry(row.try_get("table")?).or_default().push(seen);
    }
    Ok(columns)
}

/// The source's tables that are to be migrated, as an array for psql's variable.
pub(super) fn names(ctx: &Ctx) -> String {
    sql::array(ctx.tables.iter().map(|t| t.source))
}
