//! What drills have found: for programs as it is, for people the verdict first. Pure.

use crate::model::{Stop, grouped};
use crate::operations::store_backups::Drill;
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Findings of a backup that are shown; the others are in its evidence.
const SHOWN: usize = 10;

#[derive(Debug, Serialize)]
pub struct Drills {
    pub green: bool,
    pub seconds: f64,
    pub drills: Vec<Drilled>,
}

#[derive(Debug, Serialize)]
pub struct Drilled {
    #[serde(flatten)]
    pub drill: Drill,
    /// Of the backup.
    pub path: PathBuf,
}

impl Drills {
    pub fn new(drills: Vec<(Drill, PathBuf)>, took: Duration) -> Drills {
        Drills {
            green: drills.iter().all(|(drill, _)| drill.green),
            seconds: took.as_secs_f64(),
            drills: drills.into_iter().map(|(drill, path)| Drilled { drill, path }).collect(),
        }
    }

    /// One line, for the journal.
    pub fn summary(&self) -> String {
        let one = |d: &Drilled| {
            let verdict = if d.drill.green { "green" } else { "RED" };
            format!("{} {} {verdict}", d.drill.target, d.drill.backup)
        };
        self.drills.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    pub fn text(&self) -> String {
        let red: Vec<&str> =
            self.drills.iter().filter(|d| !d.drill.green).map(|d| d.drill.target.name()).collect();
        let mut out = match red[..] {
            [] => format!("✓ RESTORED {} of {} backups, equal", self.drills.len(), self.drills.len()),
            _ => format!("✗ NOT RESTORED: {}", red.join(", ")),
        };
        out += &format!(" · {:.1} s\n", self.seconds);
        for Drilled { drill, path } in &self.drills {
            out += &drill_text(drill, path);
        }
        out
    }

    /// # Errors
    /// [`Stop::Differs`] where a backup is none.
    pub fn judge(&self) -> Result<()> {
        let red: Vec<String> = self.drills.iter().filter(|d| !d.drill.green).map(backup_of).collect();
        match red[..] {
            [] => Ok(()),
            _ => Err(Stop::Differs(format!("no backup to count on: {}; see above", red.join(", "))).into()),
        }
    }
}

fn backup_of(one: &Drilled) -> String {
    format!("{} {}", one.drill.target, one.drill.backup)
}

fn drill_text(drill: &Drill, path: &std::path::Path) -> String {
    if drill.green {
        let rows = drill.content.values().map(|content| content.rows).sum();
        let asked = drill.queries.values().flatten().count();
        let queries = match drill.queries.len() {
            0 => String::new(),
            of => format!(", {asked} of {of} queries answered"),
        };
        let on = drill.restored_on.as_deref().unwrap_or_default();
        return format!(
            "  {:<10} {} parts, {} rows on {on}{queries} · {:.1} s · {}\n",
            drill.target.name(),
            drill.content.len(),
            grouped(rows),
            drill.seconds,
            path.display()
        );
    }
    let mut out = format!("  {:<10} {}\n", drill.target.name(), path.display());
    for finding in drill.findings.iter().take(SHOWN) {
        out += &format!("    {finding}\n");
    }
    if drill.findings.len() > SHOWN {
        out += &format!("    and {} more, in its drill.json\n", drill.findings.len() - SHOWN);
    }
    out
}
