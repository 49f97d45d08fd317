//! What earlier runs on the same hosts took: a forecast is corrected by it.

use crate::forecast::{self, Freeze, Sample};
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::run::{dir, rehearsal_log};
use crate::settings::Server;
use crate::timing::{ALIKE, Timing};
use std::path::Path;

/// Where the servers are; ports differ between servers that come and go on one machine.
pub fn hosts(ctx: &Ctx) -> String {
    let targets = Database::ALL.map(|database| ctx.settings.target(database));
    let servers = [&ctx.settings.source].into_iter().chain(targets).map(|s: &Server| s.host.clone());
    let firestore = match &ctx.settings.firestore.emulator {
        Some(address) => {
            format!("emulator {}", address.rsplit_once(':').map_or(address.as_str(), |(h, _)| h))
        }
        None => format!("project {}", ctx.settings.firestore.project),
    };
    servers.chain([firestore]).collect::<Vec<_>>().join(", ")
}

/// By the newest pass that was made on these hosts, of a run about as large as the `rows` there are; else by the
/// sample.
pub fn freeze(ctx: &Ctx, sample: &Sample, rows: u64) -> Freeze {
    let hosts = hosts(ctx);
    let mut passes = earlier_runs(ctx).filter_map(|manifest| {
        manifest.time.filter(|time| time.hosts == hosts)?;
        let pass = manifest.newest_pass?;
        let alike = pass.source_rows / ALIKE <= rows && rows / ALIKE <= pass.source_rows;
        let times = rows as f64 / pass.source_rows.max(1) as f64;
        Some(pass.parts.filter(|_| alike)?.with_rows(times))
    });
    match passes.next() {
        Some(pass) => Freeze { seconds: pass.freeze(), by_a_pass: true },
        None => Freeze { seconds: forecast::pass(sample).freeze(), by_a_pass: false },
    }
}

/// Of this tool and SQL, the newest first. What cannot be read says nothing about time.
fn earlier_runs(ctx: &Ctx) -> impl Iterator<Item = Manifest> {
    let tool = ctx.tool_version();
    let parent = ctx.run.path().parent().unwrap_or(Path::new("."));
    let ids = dir::ids(parent).unwrap_or_default().into_iter().rev().filter(|id| id != ctx.run.id());
    let runs = ids.take(50).filter_map(|id| dir::load_manifest(&parent.join(id)).ok());
    runs.filter(move |manifest| manifest.tool == tool)
}

/// What earlier runs and rehearsals took, the newest first.
pub fn times(ctx: &Ctx) -> Vec<Timing> {
    let tool = ctx.tool_version();
    let runs = earlier_runs(ctx).map(|manifest| (manifest.tool, manifest.time));
    let rehearsals = rehearsal_log::file().and_then(|file| rehearsal_log::read(&file)).unwrap_or_default();
    let rehearsals = rehearsals.into_iter().rev().map(|rehearsal| (rehearsal.tool, rehearsal.time));
    runs.chain(rehearsals).filter(|(of, _)| *of == tool).filter_map(|(_, time)| time).collect()
}
