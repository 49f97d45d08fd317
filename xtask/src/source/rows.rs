//! The way to a table's rows, which must be the one that the export went, and rows that are read on it after
//! the export.

use crate::effects::postgres::Connection;
use crate::ledger::kind_of;
use crate::model::{MIGRATED, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::overlay;
use crate::sql::{self, Reading, Rows};
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::csv_text::field;
use sqlx::Row as _;
use std::collections::BTreeMap;

/// A row of the source as the table's SELECT gives it.
#[derive(Clone, Debug)]
pub struct Row {
    pub outcome: String,
    /// As the target must hold it; of migrated rows.
    pub hash: i64,
    /// What it loses; empty: nothing.
    pub note: String,
    /// As the export's file holds it, with its line break.
    pub csv: Vec<u8>,
}

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

/// Reads what a COPY of [`Rows`] gives, row by row with its id. Returns the header of the export's file.
pub async fn read(
    connection: Connection,
    copy: &str,
    mut take: impl FnMut(i64, Row) -> Result<()> + Send,
) -> Result<(Vec<u8>, Connection)> {
    let mut header = Vec::new();
    let line = |line: &[u8]| {
        let (outcome, rest) = field(line);
        let (note, rest) = field(rest);
        let (_key, rest) = field(rest);
        let (hash, csv) = field(rest);
        if header.is_empty() {
            header = csv.to_vec();
            return Ok(());
        }
        let outcome = String::from_utf8_lossy(&outcome).into_owned();
        let text = String::from_utf8_lossy(&hash);
        let hash = match outcome.as_str() {
            MIGRATED => text.parse().with_context(|| format!("not a hash: {text:?}"))?,
            _ => 0,
        };
        let note = String::from_utf8_lossy(&note).into_owned();
        take(overlay::id_of(csv, "the source")?, Row { outcome, hash, note, csv: csv.to_vec() })
    };
    let connection = connection.copy_rows(copy, line).await?;
    Ok((header, connection))
}

/// The rules told a second time must agree about these rows (DESIGN rule 2). `told`: their outcomes.
///
/// # Errors
/// `Stop::Differs`, naming some of the rows.
pub async fn audited(
    ctx: &Ctx,
    connection: &mut Connection,
    reading: &Reading,
    table: &Table,
    ids: &[i64],
    told: BTreeMap<i64, &str>,
) -> Result<()> {
    let audit = sql::expand(ctx.tables, table.audit, reading)?;
    let mut audited: BTreeMap<i64, String> = BTreeMap::new();
    for row in connection.rows(&sql::audit_of(&audit, ids)).await? {
        audited.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let told: BTreeMap<i64, String> =
        told.into_iter().map(|(id, outcome)| (id, kind_of(outcome).to_string())).collect();
    if told != audited {
        let other = |(id, kind): (&i64, &String)| audited.get(id) != Some(kind);
        let ids: Vec<String> =
            told.iter().filter(|t| other(*t)).map(|(id, kind)| format!("{id} ({kind})")).take(10).collect();
        let what = format!(
            "{}: SELECT and audit do not agree about id {}; nothing has been changed",
            table.name,
            ids.join(", ")
        );
        return Err(Stop::Differs(what).into());
    }
    Ok(())
}
