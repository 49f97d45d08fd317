//! The way to a table's rows, which must be the one that the export went.

use crate::effects::postgres::Connection;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::sql::{self, Reading, Rows};
use crate::tables::Table;
use anyhow::Result;

/// # Errors
/// Refuses where the table has other columns than at the run's snapshot.
pub async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    reading: &Reading,
    (table, export): (&Table, &Export),
) -> Result<Rows> {
    let select = sql::expand(ctx.tables, table.export, reading)?;
    let shape = connection.describe(&Rows::shape(&select)).await?;
    let rows = Rows::new(table, select, shape, ctx.treatment(reading))?;
    let exported = export.tables.get(table.name).map(|record| &record.columns);
    if exported != Some(&rows.columns) {
        refuse!(
            "{} has other columns in the source than at the run's snapshot: {:?}, then {exported:?}",
            table.name,
            rows.columns
        );
    }
    Ok(rows)
}
