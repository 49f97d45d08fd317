//! The statements that cost most in a database, as its extension pg_stat_statements counts them: of the source
//! they are saved at backup, of the new databases read beside them.

use crate::effects::postgres::{self, Connection};
use crate::run::dir::{self, RunDir};
use crate::run::manifest::Manifest;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sqlx::Row;

/// Where a run keeps those of the source.
pub const FILE: &str = "statements.json";

/// So many are kept.
const KEPT: &str = "200";

/// A statement is slow from so many milliseconds on average, and if it is called so often.
const SLOW: (f64, u64) = (20.0, 100);

/// Those that cost most in all, the most expensive first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statements {
    /// When they were read.
    pub at: String,
    /// Since when they have been counted.
    pub since: Option<String>,
    /// How many others the role may not read.
    pub hidden: u64,
    pub statements: Vec<Statement>,
}

/// One of them, under all roles that call it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    /// With `$1` in place of constants.
    pub query: String,
    pub calls: u64,
    pub mean_ms: f64,
    pub total_ms: f64,
    /// Returned or written, in all.
    pub rows: u64,
    /// Shared buffers that were found or read, in all.
    pub buffers: u64,
}

impl Statement {
    pub fn is_slow(&self) -> bool {
        self.mean_ms >= SLOW.0 && self.calls >= SLOW.1
    }

    /// In one line: two servers may have been sent it with other breaks.
    pub fn line(&self) -> String {
        self.query.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a database says of its statements.
pub enum Asked {
    Counted(Statements),
    /// Why there are none: the extension is not there, not loaded, too old, or not for this role.
    NotThere(String),
}

pub async fn ask(connection: &mut Connection) -> Result<Asked> {
    let place = connection.rows(sql_file!("phases/1-backup/statements_place.sql").text).await?;
    let Some(place) = place.first() else {
        return Ok(Asked::NotThere("the extension pg_stat_statements is not installed there".into()));
    };
    let schema: String = place.try_get("schema")?;
    match counted(connection, &schema).await {
        // The server has answered, and does not tell.
        Err(error) => match postgres::message(&error) {
            Some(message) => Ok(Asked::NotThere(format!("pg_stat_statements cannot be read: {message}"))),
            None => Err(error),
        },
        Ok(counted) => Ok(Asked::Counted(counted)),
    }
}

async fn counted(connection: &mut Connection, schema: &str) -> Result<Statements> {
    let info = sql_file!("phases/1-backup/statements_info.sql");
    let info = connection.row(&sql::bind(info, &[("schema", schema)])).await?;
    let statements = sql_file!("phases/1-backup/statements.sql");
    let statements = sql::bind(statements, &[("schema", schema), ("number", KEPT)]);
    let statement = |row: &sqlx::postgres::PgRow| {
        Ok(Statement {
            query: row.try_get("query")?,
            calls: u64::try_from(row.try_get::<i64, _>("calls")?)?,
            mean_ms: row.try_get("mean_ms")?,
            total_ms: row.try_get("total_ms")?,
            rows: u64::try_from(row.try_get::<i64, _>("rows")?)?,
            buffers: u64::try_from(row.try_get::<i64, _>("buffers")?)?,
        })
    };
    let statements = connection.rows(&statements).await?.iter().map(statement).collect::<Result<_>>()?;
    Ok(Statements {
        at: dir::now(),
        since: info.try_get("since")?,
        hidden: u64::try_from(info.try_get::<i64, _>("hidden")?)?,
        statements,
    })
}

/// Those of the source, as the run's backup saved them; `None`: it saved none.
///
/// # Errors
/// Refuses a file that is not what was written.
pub fn of_run(run: &RunDir, manifest: &Manifest) -> Result<Option<Statements>> {
    let Some(info) = manifest.backup.as_ref().and_then(|backup| backup.files.get(FILE)) else {
        return Ok(None);
    };
    let path = run.file(FILE);
    if let Some(damage) = dir::damage(run, FILE, info) {
        refuse!("in {}: {FILE}{damage}. Without --run the queries alone are compared", run.path().display());
    }
    let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?))
}
