//! `decommission.json` in the run's directory: how far the old database has been taken out of service, so that the next
//! call goes on, and what was before can come back.

use crate::effects::clock;
use crate::operations::monitor::seconds;
use crate::run::dir::RunDir;
use crate::servers::compose_stack::NewStores;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::time::Duration;

pub(super) const FILE: &str = "decommission.json";

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Nobody but superusers and this tool is let in any more.
    pub closed: Option<Closed>,
    /// The oldest first.
    pub samples: Vec<Sample>,
    /// When it was seen that nobody has been in it for long enough.
    pub quiet: Option<String>,
    pub archive: Option<Archive>,
    /// Written down before it is done.
    pub retired: Option<Retired>,
    pub dropped: Option<String>,
    /// The container and the volumes that are being removed, or have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<NewStores>,
}

/// What was taken away, to be given back by `--undo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    pub at: String,
    pub revoked: Vec<Revoked>,
    /// Whether this tool's role was let in by name for it.
    pub ours: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// `None`: PUBLIC.
    pub role: Option<String>,
    pub grantable: bool,
}

/// Who has been in the database by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// By the server's clock, UTC.
    pub at: String,
    /// Sessions that were ever established there, since `reset`; this tool samples from another database.
    pub sessions: i64,
    pub commits: i64,
    pub reset: Option<String>,
    /// Those that are there, in words.
    pub others: Vec<String>,
}

/// The last backup of the old database: a run of its own, in `archive/` beside the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// Its run.
    pub id: String,
    pub begun: String,
    /// When it was restored and found equal, and how many sessions had been established in the database by then.
    pub proven: Option<(String, i64)>,
    /// Tables that are not what they were at the cut-over.
    pub changed: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retired {
    pub at: String,
    /// What the database is called since.
    pub name: String,
}

impl Record {
    /// Until when nobody had been there, where that was seen lately: an archive that was cut off has been in it since, so
    /// that this holds for as long again.
    pub(super) fn quiet_until(&self, lately: Duration) -> Option<&String> {
        let is_lately =
            |at: &&String| seconds(at).is_ok_and(|at| clock::seconds_now() - at < lately.as_secs_f64());
        self.quiet.as_ref().filter(is_lately)
    }

    /// What has been done for this run; nothing yet, where nobody has begun.
    pub fn load(run: &RunDir) -> Result<Record> {
        let path = run.file(FILE);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Record::default()),
            text => text.with_context(|| format!("reading {}", path.display()))?,
        };
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Read again and written under a lock, so that what another command has added meanwhile stays. Returns all of it.
    pub fn change(run: &RunDir, change: impl FnOnce(&mut Record)) -> Result<Record> {
        let folder = File::open(run.path()).with_context(|| format!("opening {}", run.path().display()))?;
        // Until the folder is closed.
        folder.lock().with_context(|| format!("locking {}", run.path().display()))?;
        let mut record = Record::load(run)?;
        change(&mut record);
        let json = serde_json::to_string_pretty(&record).context("writing down the decommissioning")?;
        let new = format!("{FILE}.new");
        run.write(&new, json)?;
        fs::rename(run.file(&new), run.file(FILE)).with_context(|| format!("writing {FILE}"))?;
        folder.sync_all().with_context(|| format!("writing {FILE}"))?;
        Ok(record)
    }
}
