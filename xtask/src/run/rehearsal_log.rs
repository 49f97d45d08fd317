//! The rehearsals that have ended, noted beside the tool that did them (`target/debug/rehearsals.jsonl`):
//! a migration may want a green one of its own version and SQL. A line each, 0600, the newest last.

use crate::run::manifest::ToolVersion;
use crate::settings::human;
use crate::shown::utc;
use crate::timing::Timing;
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One that ran to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// When it ended, UTC.
    pub at: Timestamp,
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

/// The newest of this tool and its SQL, if it was green and is young enough. `Err`: what was found instead.
pub fn fitting<'a>(
    rehearsals: &'a [Rehearsal],
    tool: &ToolVersion,
    max_age: Duration,
    now: Timestamp,
) -> Result<&'a Rehearsal, String> {
    let at = |rehearsal: &Rehearsal| utc(&rehearsal.at.to_string());
    let Some(last) = rehearsals.iter().rev().find(|r| r.tool == *tool) else {
        return Err(match rehearsals.last() {
            None => "no rehearsal is noted".to_string(),
            Some(other) if other.tool.version != tool.version => format!(
                "the last one, at {}, was of version {}, this is {}",
                at(other),
                other.tool.version,
                tool.version
            ),
            Some(other) => format!("the last one, at {}, was of other SQL", at(other)),
        });
    };
    // One from the future (a clock was set back) is not old.
    let age = Duration::try_from(now.duration_since(last.at)).unwrap_or_default();
    match (last.green, age <= max_age) {
        (true, true) => Ok(last),
        (false, _) => Err(format!("the last one, at {}, was not green", at(last))),
        (true, false) => Err(format!("the last one, at {}, is {} old", at(last), human(age))),
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

    #[test]
    fn only_a_green_one_of_the_same_tool_that_is_young_enough() {
        let tool = |version: &str, sql: &str| ToolVersion { version: version.into(), sql: sql.into() };
        let one = |at: &str, tool: &ToolVersion, green| Rehearsal {
            at: at.parse().unwrap(),
            tool: tool.clone(),
            scale: 1,
            green,
            time: None,
        };
        let (this, now) = (tool("1.0.0", "aa"), "2026-01-31T12:00:00Z".parse().unwrap());
        let week = Duration::from_secs(7 * 86_400);
        let judge =
            |rehearsals: &[Rehearsal]| fitting(rehearsals, &this, week, now).map(|r| r.at.to_string());
        let young = one("2026-01-24T12:00:00Z", &this, true);
        assert_eq!(judge(std::slice::from_ref(&young)), Ok(young.at.to_string()), "just young enough");
        assert!(judge(&[one("2026-02-01T00:00:00Z", &this, true)]).is_ok(), "a clock was set back");
        let error = |rehearsals: &[Rehearsal], words: &str| {
            let found = judge(rehearsals).unwrap_err();
            assert!(found.contains(words), "{words}: {found}");
        };
        error(&[], "no rehearsal is noted");
        error(&[one("2026-01-24T11:59:59Z", &this, true)], "is 7d old");
        error(
            &[one("2026-01-30T12:00:00Z", &tool("0.9.0", "aa"), true)],
            "was of version 0.9.0, this is 1.0.0",
        );
        error(&[one("2026-01-30T12:00:00Z", &tool("1.0.0", "bb"), true)], "was of other SQL");
        // The newest of this tool counts, whatever others were.
        let red = one("2026-01-30T12:00:00Z", &this, false);
        error(&[young.clone(), red.clone()], "2026-01-30 12:00:00 UTC, was not green");
        let other = one("2026-01-31T00:00:00Z", &tool("1.0.0", "bb"), false);
        assert_eq!(judge(&[red, young.clone(), other]), Ok(young.at.to_string()));
    }
}
