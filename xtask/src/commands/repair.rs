//! Repairs what verification found: shows every change, complete, and makes it where told to.

use super::verify;
use crate::model::{Stop, grouped};
use crate::phases::repair::{self, Repaired};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::report::Report;
use crate::session::{Command, RunArgs, Said, Servers, Session, print};
use crate::steps::CommandName;
use crate::stores::reconcile::{Action, Change, OnChange};
use anyhow::Result;
use std::sync::Arc;

/// What verify found, mended: shows each change, complete; makes them with --apply
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub run: RunArgs,
    /// Make the changes, then verify
    #[arg(long)]
    pub apply: bool,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        if self.apply {
            session.permitted(&ctx.settings)?;
        }
        let mut listing = Listing { json: session.common.json, told: 0 };
        let outcome = run(&ctx, self.apply, &mut |change| listing.tell(change)).await?;
        listing.end(serde_json::json!({ "sums": outcome.repaired, "report": outcome.report }))?;
        let run = ctx.run.id();
        if !session.common.json {
            let report = outcome.report.iter().map(|report| report.text());
            let text = report.chain([outcome.text()]).collect::<Vec<_>>().join("\n");
            let next = match (self.apply, outcome.repaired.changes) {
                (false, 1..) => session.then(&format!("repair --run {run} --apply")),
                _ => session.then(&format!("verify --run {run}")),
            };
            session.say(Said { text, next: Some(next) })?;
        }
        outcome.judge()
    }
}

/// What was found and, where changes were to be made, the verification after them.
pub struct Outcome {
    pub repaired: Repaired,
    pub report: Option<Report>,
    cut_over: Option<String>,
}

/// `apply`: makes the changes, while no other run can be at work on the stores; else nothing is touched.
pub async fn run(ctx: &Arc<Ctx>, apply: bool, tell: &mut OnChange<'_>) -> Result<Outcome> {
    if !apply {
        return visibly(ctx, CommandName::LookForRepairs, find_and_repair(ctx, false, tell)).await;
    }
    let locks = Locks::targets(ctx).await?;
    visibly(ctx, CommandName::Repair, locks.guard(Box::pin(find_and_repair(ctx, true, tell)))).await
}

async fn find_and_repair(ctx: &Arc<Ctx>, apply: bool, tell: &mut OnChange<'_>) -> Result<Outcome> {
    let manifest = ctx.run.load_manifest()?;
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: nobody knows what the stores must hold", ctx.run.id());
    };
    ctx.terminal.phase(if apply { "Repair" } else { "Repair: what would be done" });
    let owner = repair::owner(&manifest);
    let repaired = repair::run(ctx, &Arc::new(export), owner, apply, tell).await?;
    let report = if apply { Some(verify::verified(ctx).await?) } else { None };
    Ok(Outcome { repaired, report, cut_over: manifest.cutover.map(|c| c.at) })
}

impl Outcome {
    /// What was done, in words.
    pub fn text(&self) -> String {
        let Repaired { changes, conflicts, theirs, not_by_rows } = self.repaired;
        let made = if self.report.is_some() { "changed" } else { "to be changed; nothing has been" };
        let mut out = format!("-- {} rows and documents {made}\n", grouped(changes));
        if conflicts > 0 {
            let n = grouped(conflicts);
            out += &format!("-- {n} are not as this run last wrote them: left alone\n");
        }
        if theirs > 0 {
            let (n, at) = (grouped(theirs), self.cut_over.as_deref().unwrap_or_default());
            out += &format!("-- {n} were added by the services since the cut-over at {at}: left alone\n");
        }
        if not_by_rows > 0 {
            let n = grouped(not_by_rows);
            out += &format!("-- {n} findings cannot be mended by rows: see above\n");
        }
        out
    }

    /// The error that gives exit code 3, where something differs still.
    pub fn judge(&self) -> Result<()> {
        let Repaired { changes, conflicts, not_by_rows, .. } = self.repaired;
        let red = self.report.as_ref().is_some_and(|r| r.proven == Some(false));
        let what = match self.report {
            _ if conflicts > 0 => {
                format!("{conflicts} rows or documents were left alone: others have written there")
            }
            _ if not_by_rows > 0 => format!("{not_by_rows} findings cannot be mended by rows"),
            None if changes > 0 => format!("{changes} rows or documents; nothing has been changed"),
            _ if red => "see above".to_string(),
            _ => return Ok(()),
        };
        Err(Stop::Differs(what).into())
    }
}

/// A change for a person: what is written as it is written, all else as a comment before it.
pub fn shown(change: &Change) -> String {
    let ids = change.ids.join(", ");
    let place = match (change.store.as_str(), ids.as_str()) {
        ("firestore", id) => format!("firestore {}/{id}", change.table),
        (store, "") => store.to_string(),
        (store, ids) => format!("{store} {} id {ids}", change.table),
    };
    let what = match change.action {
        Action::Insert => "is missing",
        Action::Update => "differs",
        Action::Delete => "is not of this run",
        Action::Conflict => "conflict, left alone",
        Action::AddedByOthers => "added by others, left alone",
        Action::NotByRows => "not by rows",
    };
    let because =
        change.because.as_ref().map(|b| format!(": {}", b.replace('\n', "\n--   "))).unwrap_or_default();
    let head = format!("-- {place}: {what}{because}\n");
    match (&change.writes, change.store.as_str()) {
        (None, _) => head,
        (Some(document), "firestore") => format!("{head}{document}\n"),
        (Some(statement), _) => format!("{head}{statement};\n"),
    }
}

/// Changes on stdout as they come: there may be more than memory holds.
struct Listing {
    json: bool,
    told: u64,
}

impl Listing {
    fn tell(&mut self, change: &Change) -> Result<()> {
        self.told += 1;
        if !self.json {
            return print(&shown(change));
        }
        let before = if self.told == 1 { "{\"changes\": [\n" } else { ",\n" };
        print(&format!("{before}{}", serde_json::to_string(change)?))
    }

    /// The rest of the object: the members of this one.
    fn end(&self, rest: serde_json::Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let before = if self.told == 0 { "{\"changes\": [" } else { "" };
        let rest = serde_json::to_string(&rest)?;
        print(&format!("{before}],\n{}\n", rest.strip_prefix('{').unwrap_or(&rest)))
    }
}
