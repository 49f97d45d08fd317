//! Where a sequence stands, and how that is read.

use crate::effects::postgres::Connection;
use crate::{sql, sql_file};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use sqlx::Row;

/// A sequence's state, as `setval` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    pub last: i64,
    /// False only for a table that never held a row: the next id is `last` itself.
    pub called: bool,
}

impl Sequence {
    /// The id that the next row gets.
    pub fn next(self) -> i64 {
        if self.called { self.last.saturating_add(1) } else { self.last }
    }

    /// `quoted`: its name as `pg_get_serial_sequence` gives it.
    pub async fn read(connection: &mut Connection, quoted: &str) -> Result<Sequence> {
        let row = connection.row(&sql::sequence_state(quoted)).await?;
        Ok(Sequence { last: row.try_get(0)?, called: row.try_get(1)? })
    }

    /// That of a target's table, with its name; `None`: its id has none.
    pub async fn of_target(connection: &mut Connection, table: &str) -> Result<Option<(String, Sequence)>> {
        let query = sql::bind(sql_file!("phases/5-verify/sequence.sql"), &[("table", table)]);
        let name: Option<String> = connection.row(&query).await?.try_get("sequence")?;
        let Some(name) = name else { return Ok(None) };
        let sequence = Sequence::read(connection, &name).await?;
        Ok(Some((name, sequence)))
    }
}
