//! What this machine has to have: PostgreSQL's programs, and room for the files.

use crate::effects::disk;
use crate::health::{Line, Lines};
use crate::model::{ServerInfo, grouped};
use crate::run::ctx::Ctx;
use crate::run::rehearsal_log;
use crate::servers::docker::Compose;
use crate::servers::native::CLIENT_PROGRAMS;
use crate::settings::human;
use crate::shown::utc;
use anyhow::Result;
use jiff::Timestamp;
use std::path::Path;

/// How many times the source's size the guide wants to be free.
const TIMES: u64 = 3;

/// The major version of each program, or why it is not known.
pub(super) struct Versions(Vec<(&'static str, Result<u32>)>);

impl Versions {
    pub fn pg_dump(&self) -> Option<u32> {
        self.0.iter().find(|(name, _)| *name == "pg_dump").and_then(|(_, v)| v.as_ref().ok().copied())
    }
}

pub(super) async fn versions(ctx: &Ctx) -> Versions {
    let mut versions = Vec::new();
    for program in CLIENT_PROGRAMS.iter().copied() {
        versions.push((program, ctx.tools.version_of(program).await));
    }
    Versions(versions)
}

/// The version of Compose, where there is one.
pub(super) async fn compose() -> Result<String> {
    let compose = Compose::find().await?;
    Ok(format!("{} {}", compose.name(), compose.version))
}

pub(super) fn lines(
    ctx: &Ctx,
    versions: &Versions,
    compose: Result<String>,
    source: Option<&ServerInfo>,
) -> Vec<Line> {
    let mut lines = Lines::of("this machine");
    let newest = source.map_or(15, |info| info.major);
    for (program, version) in &versions.0 {
        match version {
            Ok(version) => lines.met(program, format!("version {version}")),
            Err(error) => {
                let install = format!("apt-get install postgresql-client-{newest}");
                lines.not_met(program, format!("not found: {error:#}"), install);
            }
        }
    }
    rehearsal(ctx, &mut lines);
    match source {
        Some(info) => room(ctx, &mut lines, info.bytes),
        None => lines.not_looked_at(&["free disk"], "the source's size is not known"),
    }
    match compose {
        Ok(version) => lines.met("docker compose", version),
        Err(_) => lines.warn(
            "docker compose",
            "not found: the migration does not need it, but the backup keeps a plain copy of the compose file",
            "apt-get install docker.io docker-compose",
        ),
    }
    lines.met("node", "not needed: documents are written by this tool");
    lines.lines
}

/// Where the policy wants one: when it was, or why none fits.
fn rehearsal(ctx: &Ctx, lines: &mut Lines) {
    let what = "rehearsal";
    let Some(max_age) = ctx.settings.policy.rehearsal_max_age else { return };
    let fix = "cargo xtask rehearse   # or go without: cargo xtask migrate --accept no-rehearsal";
    let rehearsals = match rehearsal_log::file().and_then(|file| rehearsal_log::read(&file)) {
        Ok(rehearsals) => rehearsals,
        Err(error) => return lines.failed(what, &error, fix),
    };
    match rehearsal_log::fitting(&rehearsals, &ctx.tool_version(), max_age, Timestamp::now()) {
        Ok(last) => lines.met(
            what,
            format!("the last fitting one was at {}, of scale {}", utc(&last.at.to_string()), last.scale),
        ),
        Err(found) => {
            let max_age = human(max_age);
            lines.not_met(what, format!("none that is green and not older than {max_age}: {found}"), fix);
        }
    }
}

fn room(ctx: &Ctx, lines: &mut Lines, source: u64) {
    let runs = ctx.run.path().parent().unwrap_or(Path::new("."));
    let elsewhere = "name a directory with more room: --backup-dir DIR";
    let (there, free) = match disk::free(runs) {
        Ok(found) => found,
        Err(error) => return lines.failed("free disk", &error, elsewhere),
    };
    if !disk::writable(&there) {
        let found = format!("{} cannot be written", there.display());
        return lines.not_met("free disk", found, "name another directory: --backup-dir DIR");
    }
    let needed = source.saturating_mul(TIMES);
    let found = format!(
        "{} has {} bytes, {TIMES} times the source's size are {}",
        there.display(),
        grouped(free),
        grouped(needed)
    );
    if free < needed { lines.not_met("free disk", found, elsewhere) } else { lines.met("free disk", found) }
}
