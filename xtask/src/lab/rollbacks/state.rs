//! What the old database and the new stores hold, read without the tool's own way back.

use crate::effects::postgres;
use crate::lab::compare;
use crate::run::dir::RunDir;
use crate::settings::Settings;
use crate::sql;
use crate::sql_file;
use crate::tables::{Home, TABLES, Table};
use anyhow::{Context, Result};
use datapath::csv_text::{self, Lines};
use datapath::firestore::Fields;
use sqlx::Row;
use std::collections::BTreeMap;
use std::io::BufReader;

/// A row by the names of its columns.
pub type Named = BTreeMap<String, Option<String>>;

/// A row as text, and the key that the new store knows it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldRow {
    pub key: String,
    text: String,
}

/// By table of the monolith and id.
pub type Old = BTreeMap<&'static str, BTreeMap<i64, OldRow>>;

/// Everything that the four stores hold.
#[derive(Clone, Default)]
pub struct Stores {
    /// By table and id.
    pub rows: BTreeMap<&'static str, BTreeMap<i64, Named>>,
    /// By `collection/id`.
    pub documents: BTreeMap<String, Fields>,
}

pub async fn old(settings: &Settings) -> Result<Old> {
    let mut connection = postgres::connect(&settings.source, "chaos").await?;
    let mut old = Old::new();
    for table in TABLES {
        let key = table.collection().map_or("id", |collection| collection.id);
        let values = [("table", table.source), ("key", key)];
        let query = sql::bind(sql_file!("chaos/rollbacks/old_rows.sql"), &values);
        let rows = connection.rows(&query).await?;
        let rows = rows.iter().map(|row| {
            Ok((row.try_get("id")?, OldRow { key: row.try_get("key")?, text: row.try_get("text")? }))
        });
        old.insert(table.source, rows.collect::<Result<_>>()?);
    }
    connection.close().await?;
    Ok(old)
}

pub async fn stores(settings: &Settings) -> Result<Stores> {
    let mut stores = Stores { documents: compare::documents(settings).await?, ..Stores::default() };
    for table in TABLES {
        let Home::Postgres(database) = table.home else { continue };
        let connection = postgres::connect(settings.target(database), "chaos").await?;
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let take = |line: &[u8]| {
            lines.push(line.to_vec());
            Ok(())
        };
        connection.copy_rows(&sql::copy_csv(&sql::all("public", table.name)), take).await?;
        stores.rows.insert(table.name, named(lines)?);
    }
    Ok(stores)
}

/// What a run's files say that the stores must hold: what its snapshot of the old database told.
pub fn told(run: &RunDir, table: &Table) -> Result<BTreeMap<i64, Named>> {
    let file = run.read(&table.file())?;
    let (mut lines, mut reader, mut line) = (Vec::new(), Lines::new(BufReader::new(file)), Vec::new());
    while reader.next(&mut line)? {
        lines.push(line.clone());
    }
    named(lines)
}

fn named(lines: Vec<Vec<u8>>) -> Result<BTreeMap<i64, Named>> {
    let mut lines = lines.into_iter();
    let text =
        |value: Option<std::borrow::Cow<'_, [u8]>>| value.map(|v| String::from_utf8_lossy(&v).into_owned());
    let header = lines.next().unwrap_or_default();
    let names: Vec<String> =
        csv_text::fields(&header).into_iter().map(|name| text(name).unwrap_or_default()).collect();
    let row = |line: Vec<u8>| {
        let id = csv_text::id(&line).context("a row without an id")?;
        Ok((id, names.iter().cloned().zip(csv_text::fields(&line).into_iter().map(text)).collect()))
    };
    lines.map(row).collect()
}
