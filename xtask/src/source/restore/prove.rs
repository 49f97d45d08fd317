//! Whether a database holds what a run's backup holds: every table by its digest, where the sequences stand, and
//! the definitions line by line.

use crate::model::grouped;
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::dir::RunDir;
use crate::run::manifest::Backup;
use crate::shown::escaped;
use crate::source::digests::raw_digests;
use crate::source::snapshot::Snapshot;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use datapath::digest::Digest;
use serde::Serialize;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The file of the run that holds the definitions.
pub const SCHEMA: &str = "schema_only.sql";

/// What is not as the backup has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Difference {
    /// By rows; equal numbers: they hold other values.
    Table {
        name: String,
        expected: u64,
        found: u64,
    },
    TableMissing {
        name: String,
        expected: u64,
    },
    TableMore {
        name: String,
        found: u64,
    },
    Sequence {
        name: String,
        expected: Option<String>,
        found: Option<String>,
    },
    /// With the number of the line.
    Definitions {
        line: String,
    },
    Property {
        line: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not used".to_string());
        match self {
            Difference::Table { name, expected, found } if expected == found => {
                let (name, rows) = (escaped(name), grouped(*expected));
                write!(f, "{name} has {rows} rows as the backup has, with other values")
            }
            Difference::Table { name, expected, found } => {
                let (name, found) = (escaped(name), grouped(*found));
                write!(f, "{name} has {found} rows, the backup {}", grouped(*expected))
            }
            Difference::TableMissing { name, expected } => {
                write!(f, "{} is missing, the backup has {} rows", escaped(name), grouped(*expected))
            }
            Difference::TableMore { name, found } => {
                write!(f, "{} is not in the backup, {} rows", escaped(name), grouped(*found))
            }
            Difference::Sequence { name, expected, found } => {
                let (name, found, expected) = (escaped(name), said(found), said(expected));
                write!(f, "the sequence {name} stands at {found}, in the backup at {expected}")
            }
            Difference::Definitions { line } => {
                write!(f, "the definitions differ from {SCHEMA}: {}", escaped(line))
            }
            Difference::Property { line } => write!(f, "{line}"),
        }
    }
}

/// What a look at a database came to.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    pub tables: u64,
    pub rows: u64,
    /// Those that a digest does not read.
    pub large_objects: u64,
    /// Why definitions were not compared.
    pub definitions_not_compared: Option<String>,
    pub differences: Vec<Difference>,
    /// What was found, by table.
    pub content: BTreeMap<String, Digest>,
    /// By which its tables are known from now on.
    pub remembered: Remembered,
}

/// The context with this database in the place of the source.
pub(super) fn with_source(ctx: &Ctx, database: &str) -> Result<Arc<Ctx>> {
    let run = RunDir::open(ctx.run.runs(), ctx.run.id())?;
    let mut there = ctx.of_run(run, ctx.settings.policy.null_policy);
    there.settings.source.database = database.to_string();
    Ok(Arc::new(there))
}

/// Brings the sequences to where the backup found them; a line for each that was moved.
pub(super) async fn raise_sequences(there: &Ctx, backup: &Backup) -> Result<Vec<String>> {
    let wanted = serde_json::to_string(&backup.sequences)?;
    let mut connection = there.looking_at_source("sequences").await?;
    let query = sql::bind(sql_file!("phases/restore/raise.sql"), &[("wanted", &wanted)]);
    let rows = connection.rows(&query).await?;
    connection.close().await?;
    let line = |row: &sqlx::postgres::PgRow| {
        let (name, last): (String, i64) = (row.try_get("name")?, row.try_get("last")?);
        Ok(format!("{} = {last}", escaped(&name)))
    };
    rows.iter().map(line).collect()
}

/// `there`: with the database in the place of the source.
pub(super) async fn prove(there: &Arc<Ctx>, backup: &Backup) -> Result<Proof> {
    let snapshot = Snapshot::again(there, backup.snapshot.hash).await?;
    let (found, remembered) = raw_digests(there, &snapshot).await?;
    let mut proof = Proof {
        tables: found.len() as u64,
        rows: found.values().map(|digest| digest.rows).sum(),
        remembered,
        differences: tables(backup, &found),
        content: found,
        ..Proof::default()
    };
    let major = snapshot.info.server.major;
    snapshot.release().await?;
    proof.differences.extend(sequences(there, backup).await?);
    let mut connection = there.looking_at_source("large objects").await?;
    let objects: i64 = connection.row(sql::LARGE_OBJECTS).await?.try_get(0)?;
    connection.close().await?;
    proof.large_objects = u64::try_from(objects)?;
    let (then, now) = ((backup.snapshot.server.major, backup.pg_dump), (major, there.tools.version().await?));
    if then == now {
        let definitions = there.run.file(SCHEMA);
        let (source, purpose) = (&there.settings.source, there.purpose("definitions"));
        let encoding = &backup.snapshot.server.encoding;
        let differ = there.tools.definitions_differ(source, &purpose, encoding, &definitions).await;
        let differ = differ.context("dumping the definitions of the restored database")?;
        proof.differences.extend(differ.map(|line| Difference::Definitions { line }));
    } else {
        proof.definitions_not_compared = Some(format!(
            "{SCHEMA} is of PostgreSQL {} by pg_dump {}, here are {} and {}: they write definitions differently",
            then.0, then.1, now.0, now.1
        ));
    }
    Ok(proof)
}

/// Of tables that the dump does not hold whole nothing can be said.
fn tables(backup: &Backup, found: &BTreeMap<String, Digest>) -> Vec<Difference> {
    let proven = |name: &String| !backup.left_out.contains_key(name);
    let mut differences = Vec::new();
    for (name, expected) in backup.raw.iter().filter(|(name, _)| proven(name)) {
        let name = name.clone();
        match found.get(&name) {
            None => differences.push(Difference::TableMissing { name, expected: expected.rows }),
            Some(found) if found == expected => {}
            Some(found) => {
                differences.push(Difference::Table { name, expected: expected.rows, found: found.rows });
            }
        }
    }
    let more = found.iter().filter(|(name, _)| proven(name) && !backup.raw.contains_key(*name));
    differences
        .extend(more.map(|(name, found)| Difference::TableMore { name: name.clone(), found: found.rows }));
    differences
}

async fn sequences(there: &Ctx, backup: &Backup) -> Result<Vec<Difference>> {
    let wanted = serde_json::to_string(&backup.sequences)?;
    let mut connection = there.looking_at_source("sequences").await?;
    let query = sql::bind(sql_file!("phases/restore/behind.sql"), &[("wanted", &wanted)]);
    let rows = connection.rows(&query).await?;
    connection.close().await?;
    let difference = |row: &sqlx::postgres::PgRow| {
        let found = match row.try_get("there")? {
            true => row.try_get("found")?,
            false => Some("nowhere, it is missing".to_string()),
        };
        Ok(Difference::Sequence { name: row.try_get("name")?, expected: row.try_get("wanted")?, found })
    };
    rows.iter().map(difference).collect()
}
