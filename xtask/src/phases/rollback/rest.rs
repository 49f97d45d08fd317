//! The rows and documents that no service has written, compared by value: in the old database they are told as the
//! run wrote them, whatever has come back beside them.

use super::summary::{Back, Left, TableBack};
use super::table::{OldDatabase, TablePut};
use crate::effects::postgres::Connection;
use crate::model::{MIGRATED, Stop};
use crate::run::overlay;
use anyhow::{Context, Result};
use datapath::csv_text::{self, field};
use datapath::sha256::Sha256;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};

/// What a row has to read as.
type RowHash = [u8; 16];

fn hash(row: &[u8]) -> RowHash {
    let mut sha256 = Sha256::new();
    sha256.update(row);
    let mut hash = RowHash::default();
    hash.copy_from_slice(&sha256.finish()[..16]);
    hash
}

/// Rows that are classified otherwise than before, because of what has come back, are listed.
///
/// # Errors
/// `Stop::Differs` where one reads otherwise, or is not there.
pub async fn compare(
    old: &OldDatabase<'_>,
    puts: &[TablePut<'_>],
    mut connection: Connection,
    back: &mut Back,
) -> Result<Connection> {
    let mut wrong = Vec::new();
    for put in puts {
        let mut written = BTreeSet::new();
        for row in connection.rows(&put.sql().keys()).await? {
            written.insert(row.try_get::<i64, _>(0)?);
        }
        let mut rest =
            Rest { expected: untouched(old, put, &written)?, written, other: Vec::new(), wrong: Vec::new() };
        let copy = put.rows.copy_sorted(old.export.snapshot.hash);
        let mut header = true;
        let take = |line: &[u8]| match std::mem::take(&mut header) {
            true => Ok(()),
            false => rest.take(line),
        };
        connection = connection.copy_rows(&copy, take).await?;
        let table = put.table().name;
        wrong.extend(
            rest.finish(back.tables.entry(table.to_string()).or_default())
                .map(|what| format!("{table} {what}")),
        );
    }
    if wrong.is_empty() {
        return Ok(connection);
    }
    let what = format!(
        "rows that no service has written would be told otherwise by the old database; nothing has been changed \
         there: {}",
        wrong.join("; ")
    );
    Err(Stop::Differs(what).into())
}

/// By id, every row that the run wrote and nobody has written since.
fn untouched(
    old: &OldDatabase<'_>,
    put: &TablePut<'_>,
    written: &BTreeSet<i64>,
) -> Result<BTreeMap<i64, RowHash>> {
    let mut expected = BTreeMap::new();
    overlay::each_row(&old.ctx.run, old.export, &put.table().file(), |id, row| {
        if !written.contains(&id) {
            expected.insert(id, hash(row));
        }
    })?;
    Ok(expected)
}

/// One table's rows as they are told.
struct Rest {
    /// Those that have not been told yet.
    expected: BTreeMap<i64, RowHash>,
    /// Those that came back, or are listed.
    written: BTreeSet<i64>,
    /// Told otherwise because of what came back.
    other: Vec<Left>,
    wrong: Vec<i64>,
}

impl Rest {
    fn take(&mut self, line: &[u8]) -> Result<()> {
        let (outcome, rest) = field(line);
        let (_note, rest) = field(rest);
        let (_key, rest) = field(rest);
        let (_hash, row) = field(rest);
        let id = csv_text::id(row).context("a row without an id")?;
        let is_migrated = *outcome == *MIGRATED.as_bytes();
        match (self.expected.remove(&id), is_migrated) {
            (Some(expected), true) if expected != hash(row) => self.wrong.push(id),
            (Some(_), false) => {
                self.list(id, &format!("untouched, and now {}", String::from_utf8_lossy(&outcome)))
            }
            (None, true) if !self.written.contains(&id) => self.list(id, "untouched, and now migrated"),
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, id: i64, why: &str) {
        self.other.push(Left { key: id.to_string(), why: why.to_string() });
    }

    /// What is wrong, if anything.
    fn finish(mut self, told: &mut TableBack) -> Option<String> {
        told.noted.append(&mut self.other);
        self.wrong.extend(self.expected.keys());
        let some: Vec<String> = self.wrong.iter().take(5).map(i64::to_string).collect();
        (!self.wrong.is_empty()).then(|| format!("{} ({} in all)", some.join(", "), self.wrong.len()))
    }
}
