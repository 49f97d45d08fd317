//! The rehearsals that have ended, noted beside the tool that did them (`target/debug/rehearsals.jsonl`):
//! a migration may want a green one of its own version and SQL. A line each, 0600, the newest last.

use crate::forecast::Timing;
use crate::manifest::ToolVersion;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// One that ran to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// When it ended, UTC.
    pub at: jiff::Timestamp,
    pub tool: ToolVersion,
    /// Of the monolith's data.
    pub scale: u32,
    /// Whether every row was accounted for and proven.
    pub green: bool,
    /// What it was expected to take, and what it took: for those who foresee the next one.
    #[serde(default)]
    pub time: Option<Timing>,
}

/// Where they are noted.
pub fn file() -> Result<PathBuf> {
    let tool = std::env::current_exe().context("finding the tool's own place")?;
    Ok(tool.with_file_name("rehearsals.jsonl"))
}

pub fn note(file: &Path, rehearsal: &Rehearsal) -> Result<()> {
    let line = serde_json::to_string(rehearsal)? + "\n";
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(file);
    // In one write: two rehearsals may end at once.
    opened
        .and_then(|mut f| f.write_all(line.as_bytes()))
        .with_context(|| format!("writing {}", file.display()))
}

/// The oldest first. A line that cannot be read (the disk was full, another version wrote it) stands for
/// no rehearsal: at worst one more is asked for.
pub fn read(file: &Path) -> Result<Vec<Rehearsal>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).with_context(|| format!("reading {}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_noted_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rehearsals.jsonl");
        assert_eq!(read(&file).unwrap(), []);
        let rehearsal = |scale| Rehearsal {
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
            tool: ToolVersion { version: "1.0.0".into(), sql: "ab".into() },
            scale,
            green: true,
            time: None,
        };
        note(&file, &rehearsal(1)).unwrap();
        std::fs::OpenOptions::new().append(true).open(&file).unwrap().write_all(b"{\"at\":\"20\n").unwrap();
        note(&file, &rehearsal(2)).unwrap();
        assert_eq!(read(&file).unwrap(), [rehearsal(1), rehearsal(2)]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
