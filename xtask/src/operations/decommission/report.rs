//! What `decommission` says: how far it is, what is missing, and which lines of the shop's compose file can go.

use super::compose_lines::{Known, OldService, old_service};
use super::record::Record;
use super::{archive, conditions};
use crate::health::{Line, Verdict};
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::shown::escaped;
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// In place, some conditions do not hold.
    NotYet,
    /// In place, all conditions hold.
    Ready,
    Retired,
    Dropped,
    Undone,
}

#[derive(Clone, Debug, Serialize)]
pub struct Done {
    pub run: String,
    pub database: String,
    pub stage: Stage,
    pub conditions: Vec<Line>,
    #[serde(flatten)]
    pub record: Record,
    pub archive_directory: Option<PathBuf>,
    /// The shop's compose file, and what of it can go.
    pub compose: Option<PathBuf>,
    pub lines: Option<OldService>,
}

impl Done {
    pub(super) fn new(ctx: &Ctx, record: Record, conditions: Vec<Line>) -> Result<Done> {
        let stage = match (&record.dropped, &record.retired) {
            (Some(_), _) => Stage::Dropped,
            (None, Some(_)) => Stage::Retired,
            (None, None) if conditions::hold(&conditions) => Stage::Ready,
            (None, None) => Stage::NotYet,
        };
        let source = &ctx.settings.source;
        let known = Known { database: &source.database, host: &source.host, port: source.port };
        let compose = ctx.settings.services.compose.clone();
        // That it cannot be read is no reason to fail: its lines are for people.
        let text = compose.as_ref().and_then(|file| std::fs::read_to_string(file).ok());
        Ok(Done {
            run: ctx.run.id().to_string(),
            database: source.database.clone(),
            stage,
            conditions,
            archive_directory: record.archive.as_ref().map(|made| archive::directory(ctx).join(&made.id)),
            record,
            lines: text.and_then(|text| old_service(&text, &known)),
            compose,
        })
    }

    fn missing(&self) -> Vec<&'static str> {
        self.conditions.iter().filter(|line| line.verdict != Verdict::Met).map(|line| line.what).collect()
    }

    fn verdict(&self) -> String {
        let (database, all) = (escaped(&self.database), self.conditions.len());
        let name = self.record.retired.as_ref().map_or_else(String::new, |retired| escaped(&retired.name));
        match self.stage {
            Stage::NotYet => {
                format!("✗ NOT YET {database}: {} of {all} conditions do not hold", self.missing().len())
            }
            Stage::Ready => format!("✓ {database} may be retired: all {all} conditions hold"),
            Stage::Retired => {
                format!("✓ RETIRED {database}: archived, proven, and called {name} from now on")
            }
            Stage::Dropped => format!("✓ DROPPED {name}: the archive has what was in it"),
            Stage::Undone => format!("✓ {database} has its name, and lets in who was let in before"),
        }
    }

    pub fn text(&self) -> String {
        let mut out = self.verdict() + "\n" + &conditions::text(&self.conditions);
        if let (Some(directory), Stage::Retired | Stage::Dropped) = (&self.archive_directory, self.stage) {
            out += &format!("  archive: {}\n", directory.display());
        }
        if let Some(removed) = &self.record.removed {
            let (containers, volumes) = (removed.containers.join(", "), removed.volumes.join(", "));
            out += &format!("  removed: the container {containers}, the volumes {volumes}\n");
        }
        if matches!(self.stage, Stage::Retired | Stage::Dropped) {
            out += &self.lines_to_delete();
        }
        out
    }

    fn lines_to_delete(&self) -> String {
        match (&self.compose, &self.lines) {
            (None, _) => String::new(),
            (Some(file), None) => {
                format!("  which service of {} it was is not known: look for it yourself\n", file.display())
            }
            (Some(file), Some(found)) => {
                let mut out = format!("  once it is dropped, these lines of {} can go:\n", file.display());
                for (number, line) in &found.lines {
                    out += &format!("  {number:>5}  {}\n", escaped(line));
                }
                out
            }
        }
    }

    /// The error that gives exit code 4, where not all conditions hold; they have been shown.
    pub fn judge(&self) -> Result<()> {
        match self.stage {
            Stage::NotYet => {
                let missing = self.missing().join(", ");
                Err(Stop::Refused(format!("{} is not retired yet: {missing}; see above", self.database))
                    .into())
            }
            Stage::Ready | Stage::Retired | Stage::Dropped | Stage::Undone => Ok(()),
        }
    }
}
