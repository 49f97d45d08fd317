//! A query that runs several times on one server.

use super::plan::{Execution, Scan};
use crate::effects::postgres::{self, Connection};
use crate::sql;
use anyhow::Result;
use serde::Serialize;
use sqlx::Row;
use std::time::Duration;

/// A statement that takes longer is cut off.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The server's code for it.
const CUT_OFF: &str = "57014";

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    Measured(Measured),
    /// It did not end within [`LIMIT`].
    CutOff,
}

/// Medians of several executions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub ms: f64,
    /// Shared buffers: found in memory, or read.
    pub buffers: u64,
    pub rows: u64,
    pub scans: Vec<Scan>,
}

/// Runs the query once to warm up, and then `repeat` times, at least once; writes nothing.
pub async fn measure(connection: &mut Connection, query: &str, repeat: u32) -> Result<Seen> {
    connection.run(&sql::begin_to_look(LIMIT)).await?;
    let mut executions = Vec::new();
    for round in 0..=repeat.max(1) {
        let row = match connection.row(&sql::explain(query)).await {
            Err(error) if postgres::code(&error).as_deref() == Some(CUT_OFF) => {
                connection.run("ROLLBACK").await?;
                return Ok(Seen::CutOff);
            }
            row => row?,
        };
        // Text over the protocol, of the type json.
        let execution = Execution::read(&row.try_get_unchecked::<String, _>(0)?)?;
        if round > 0 {
            executions.push(execution);
        }
    }
    connection.run("ROLLBACK").await?;
    Ok(Seen::Measured(median(executions)))
}

/// `executions`: at least one.
fn median(mut executions: Vec<Execution>) -> Measured {
    let middle = executions.len() / 2;
    executions.sort_by_key(|execution| execution.buffers);
    let buffers = executions[middle].buffers;
    executions.sort_by(|a, b| a.ms.total_cmp(&b.ms));
    let Execution { ms, rows, scans, .. } = executions.swap_remove(middle);
    Measured { ms, buffers, rows, scans }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_counts_of_time_and_of_buffers() {
        let execution = |ms: f64, buffers: u64| Execution { ms, buffers, rows: 1, scans: Vec::new() };
        let measured = median(vec![execution(9.0, 5), execution(1.0, 900), execution(2.0, 4)]);
        assert_eq!((measured.ms, measured.buffers), (2.0, 5));
    }
}
