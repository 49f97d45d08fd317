//! The evidence of a drill: `drill.json` in the backup's directory, of the last one.

use super::manifest::sha256_of_manifest;
use super::target::Target;
use crate::run::manifest::ToolVersion;
use crate::shown::escaped;
use anyhow::{Context, Result};
use datapath::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

pub const DRILL: &str = "drill.json";

/// A backup that was restored into scratch servers, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Drill {
    pub target: Target,
    pub environment: String,
    /// The name of the backup's directory.
    pub backup: String,
    /// Of the backup's manifest: the drill says nothing of a backup with another one.
    pub manifest_sha256: String,
    pub tool: ToolVersion,
    /// `user@host`
    pub who: String,
    /// UTC.
    pub started: String,
    pub ended: String,
    pub seconds: f64,
    /// Where it was restored: `PostgreSQL 15.18`, `the Firestore emulator`.
    pub restored_on: Option<String>,
    pub green: bool,
    pub findings: Vec<DrillFinding>,
    /// What was found there, by table or collection; empty where nothing could be restored.
    pub content: BTreeMap<String, Digest>,
    /// The services' queries on what was restored: rows by query; `None`: there was nothing to ask for.
    pub queries: BTreeMap<String, Option<u64>>,
}

/// Why a backup is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DrillFinding {
    /// A file that is not what was written.
    File { line: String },
    /// It does not restore.
    Restore { line: String },
    /// What was restored is not what the backup recorded.
    Content { line: String },
    /// A query of the services fails on it.
    Query { query: String, line: String },
}

impl fmt::Display for DrillFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillFinding::File { line } => f.write_str(&escaped(line)),
            DrillFinding::Restore { line } => write!(f, "it does not restore: {}", escaped(line)),
            DrillFinding::Content { line } => f.write_str(&escaped(line)),
            DrillFinding::Query { query, line } => {
                write!(f, "the query {query} fails on it: {}", escaped(line))
            }
        }
    }
}

impl Drill {
    /// The last drill of the backup in this directory; `None`: it has had none, or another manifest since.
    ///
    /// # Errors
    /// Where the evidence cannot be read.
    pub fn of(backup: &Path) -> Result<Option<Drill>> {
        let path = backup.join(DRILL);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        let drill: Drill =
            serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Some(drill)
            .filter(|drill| sha256_of_manifest(backup).is_ok_and(|now| now == drill.manifest_sha256)))
    }
}
