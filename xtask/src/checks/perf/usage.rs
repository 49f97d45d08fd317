//! What a new database counts of itself: indexes that nobody uses, tables that are read from end to end.

use super::report::{Index, Remark};
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

/// A table that has been read from end to end so often, with so many rows each time, is remarked.
const OFTEN: (&str, &str) = ("100", "10000");

pub struct Usage {
    pub remarks: Vec<Remark>,
    /// Whether the services have taken over.
    pub cut_over: bool,
}

pub async fn look(connection: &mut Connection, database: Database) -> Result<Usage> {
    let row = connection.row(sql_file!("phases/perf/since.sql").text).await?;
    let since: Option<String> = row.try_get("since")?;
    let cut_over = row.try_get("cut_over")?;
    let mut indexes = BTreeMap::new();
    for row in connection.rows(sql_file!("phases/perf/indexes.sql").text).await? {
        let bytes = u64::try_from(row.try_get::<i64, _>("bytes")?)?;
        indexes.insert(row.try_get("index")?, Index { table: row.try_get("table")?, bytes });
    }
    let mut remarks = Vec::new();
    if !indexes.is_empty() {
        remarks.push(Remark::UnusedIndexes { database, since: since.clone(), indexes });
    }
    let often = [("scans", OFTEN.0), ("rows", OFTEN.1)];
    for row in connection.rows(&sql::bind(sql_file!("phases/perf/scans.sql"), &often)).await? {
        remarks.push(Remark::SequentialScans {
            database,
            since: since.clone(),
            table: row.try_get("table")?,
            scans: u64::try_from(row.try_get::<i64, _>("scans")?)?,
            rows: u64::try_from(row.try_get::<i64, _>("rows")?)?,
        });
    }
    Ok(Usage { remarks, cut_over })
}
