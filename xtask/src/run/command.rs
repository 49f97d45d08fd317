//! A command at work on a run: how it begins, shows how far it is, and ends.

use crate::effects::terminal::UnderWay;
use crate::identity::Identity;
use crate::model::{Existing, Stop};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Manifest, RowPolicy};
use crate::steps::CommandName;
use crate::timing::{Part, Seconds};
use anyhow::Result;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long parts of a command took, in seconds.
#[derive(Default)]
pub struct Times(BTreeMap<Part, f64>);

impl Times {
    pub async fn of<T>(&mut self, part: Part, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let result = work.await;
        self.0.insert(part, started.elapsed().as_secs_f64());
        result
    }

    /// Those of the phases; `None` where one of them did not run.
    pub fn seconds(&self) -> Option<Seconds> {
        let of = |part: Part| self.0.get(&part).copied();
        Some(Seconds {
            export: of(Part::BackupAndExport)?,
            import: of(Part::Import)?,
            verify: of(Part::Verify)?,
        })
    }

    pub fn by_part(&self) -> BTreeMap<Part, f64> {
        self.0.clone()
    }
}

/// Does the work of a command on a run, and lets others see it: who does it, how far it is, how it ended.
///
/// The only way to the journal: a step outside of a command is not begun.
pub async fn visibly<T>(ctx: &Ctx, command: CommandName, work: impl Future<Output = Result<T>>) -> Result<T> {
    let step = ctx.run.command(&command)?;
    let result = tokio::select! {
        biased;
        result = work => result,
        never = show_progress(ctx) => match never {},
    };
    ctx.run.remove_progress();
    match &result {
        Ok(_) => step.done("")?,
        Err(error) if matches!(error.downcast_ref(), Some(Stop::Refused(_))) => {
            drop(step.refused(&format!("{error:#}")));
        }
        // The error itself counts, also where the disk is so full that it cannot be written down.
        Err(error) => drop(step.failed(&format!("{error:#}"))),
    }
    result
}

/// Does work that mostly takes no time; where it does, says what it is.
pub async fn said_if_slow<T>(ctx: &Ctx, what: &str, work: impl Future<Output = T>) -> T {
    const SLOW: Duration = Duration::from_secs(2);
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        result = &mut work => return result,
        () = tokio::time::sleep(SLOW) => ctx.terminal.line(format!("  {what}")),
    }
    work.await
}

/// Writes down every second what is under way.
pub async fn show_progress(ctx: &Ctx) -> Infallible {
    let mut warned = false;
    loop {
        let progress = Progress { at: dir::now(), pid: std::process::id(), tasks: ctx.terminal.under_way() };
        let json = serde_json::to_string(&progress).map_err(anyhow::Error::new);
        if let Err(error) = json.and_then(|json| ctx.run.save_progress(&json))
            && !std::mem::replace(&mut warned, true)
        {
            ctx.terminal.warn(format!("`status` cannot show how far this is: {error:#}"));
        }
        ctx.terminal.tick();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Writes down that the run has begun, and by which command.
///
/// `servers`: those that it belongs to from now on; `replaces`: whose place it takes, by store.
pub fn begin(
    ctx: &Ctx,
    command: CommandName,
    servers: Identity,
    replaces: BTreeMap<String, String>,
) -> Result<Manifest> {
    let policy = &ctx.settings.policy;
    let mut manifest = ctx.run.new_manifest(command, &ctx.settings.environment, ctx.tool_version());
    manifest.accepted = ctx.settings.policy.accepted.clone();
    manifest.replace = ctx.existing == Existing::Replace;
    manifest.replaces = manifest.replace.then_some(replaces);
    manifest.servers = servers;
    manifest.policy = Some(RowPolicy {
        max_quarantine: policy.max_quarantine,
        null_policy: policy.null_policy,
        source_zone: policy.source_zone.clone(),
    });
    ctx.run.save_manifest(&manifest)?;
    ctx.terminal.line(format!("run {} in {}", ctx.run.id(), ctx.run.path().display()));
    Ok(manifest)
}

/// What is under way, as the run writes it down every second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub at: String,
    pub pid: u32,
    pub tasks: Vec<UnderWay>,
}
