//! Repairs what verification found: says how much it is, shows every change, and makes it where told to.

use super::verify;
use crate::findings::{Values, escaped};
use crate::identity::ServerName;
use crate::model::{Stop, grouped};
use crate::phases::p5_verify::Depth;
use crate::phases::repair::{self, Listener, Repaired, Situation, Summary};
use crate::refuse;
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::report::Report;
use crate::run::servers;
use crate::session::{Command, Document, Ending, OldDatabase, RunArgs, Said, Servers, Session, print};
use crate::shown::utc;
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use crate::stores::reconcile::{Action, Change, SaidChange};
use anyhow::Result;
use std::sync::Arc;

/// Show what fixes the differences; make the changes: --apply
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

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = session.existing_run(&self.run)?;
        if self.apply {
            session.permitted(&ctx.settings)?;
        }
        let mut listing = Listing { document: &session.document, values: ctx.values, told: 0 };
        let outcome = run(&ctx, self.apply, &mut listing).await?;
        session.keep_report(&ctx);
        let (run, columns) = (ctx.run.id(), session.terminal.columns());
        let Repaired { changes, structure, .. } = outcome.repaired;
        let next = match (self.apply, changes + structure) {
            (false, 1..) => session.then(&format!("repair --run {run} --apply")),
            _ => session.then(&format!("verify --run {run}")),
        };
        match &outcome.report {
            report if session.document.is_wanted() => {
                listing.end(&serde_json::json!({ "sums": outcome.repaired, "report": report }), next)?;
            }
            None => session.say(Said { text: outcome.text(), next: Some(next) })?,
            Some(report) => session.ends(&Ending {
                verdict: report.verdict(),
                brief: outcome.text().lines().map(String::from).chain(report.brief(columns)).collect(),
                full: format!("{}\n{}", report.text(), outcome.text()),
                details: Some(session.details(run)),
                next: Some(next),
            })?,
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
pub async fn run(ctx: &Arc<Ctx>, apply: bool, listener: &mut dyn Listener) -> Result<Outcome> {
    if !apply {
        return visibly(ctx, CommandName::LookForRepairs, find_and_repair(ctx, false, listener)).await;
    }
    let locks = Locks::targets(ctx).await?;
    visibly(ctx, CommandName::Repair, locks.guard(Box::pin(find_and_repair(ctx, true, listener)))).await
}

async fn find_and_repair(ctx: &Arc<Ctx>, apply: bool, listener: &mut dyn Listener) -> Result<Outcome> {
    let mut manifest = ctx.run.load_manifest()?;
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: nobody knows what the stores must hold", ctx.run.id());
    };
    servers::belongs(ctx, &manifest, &ServerName::TARGETS, &[]).await?;
    let marks = Marks::read(ctx).await?;
    marks.hold_this(ctx, &export)?;
    marks.teach(&mut manifest);
    ctx.terminal.phase(if apply { "Repair" } else { "Repair: what would be done" });
    let situation = Situation::of(&manifest);
    let repaired = repair::run(ctx, &Arc::new(export), &situation, apply, listener).await?;
    let report = if apply { Some(verify::verified(ctx, &[], Depth::Changes).await?) } else { None };
    Ok(Outcome { repaired, report, cut_over: manifest.cutover.map(|c| c.at) })
}

impl Outcome {
    /// What was done, in words.
    pub fn text(&self) -> String {
        let Repaired { changes, structure, conflicts, theirs, not_by_this_command } = self.repaired;
        let made = if self.report.is_some() { "changed" } else { "to be changed; nothing has been" };
        let mut out = String::new();
        if conflicts > 0 {
            let n = grouped(conflicts);
            out += &format!("-- {n} are not as this run last wrote them: left alone\n");
        }
        if theirs > 0 {
            let (n, at) = (grouped(theirs), utc(self.cut_over.as_deref().unwrap_or_default()));
            out += &format!("-- {n} were added by the services since the cut-over at {at}: left alone\n");
        }
        if not_by_this_command > 0 {
            let n = grouped(not_by_this_command);
            out += &format!("-- {n} are not repaired by this command: see above\n");
        }
        if structure > 0 {
            let made = if self.report.is_some() { "altered" } else { "to be altered" };
            out += &format!("-- {} parts of structure and sequences {made}\n", grouped(structure));
        }
        let mark = if self.judge().is_ok() { "✓" } else { "✗" };
        out + &format!("-- {mark} {} rows and documents {made}\n", grouped(changes))
    }

    /// The error that gives exit code 3, where something differs still.
    pub fn judge(&self) -> Result<()> {
        let Repaired { changes, structure, conflicts, not_by_this_command, .. } = self.repaired;
        let red = self.report.as_ref().is_some_and(|r| r.proven == Some(false));
        let what = match self.report {
            _ if conflicts > 0 => {
                format!("{conflicts} rows or documents were left alone: others have written there")
            }
            _ if not_by_this_command > 0 => {
                format!("{not_by_this_command} findings are not repaired by this command")
            }
            None if changes + structure > 0 => format!(
                "{changes} rows or documents, {structure} parts of structure; nothing has been changed"
            ),
            _ if red => "see above".to_string(),
            _ => return Ok(()),
        };
        Err(Stop::Differs(what).into())
    }
}

/// A change for a person: what is written as it is written, all else as a comment before it.
pub fn shown(change: &SaidChange) -> String {
    // A line break in an id must not end the comment.
    let ids = escaped(&change.ids.join(", "));
    let place = match (change.store.as_str(), ids.as_str()) {
        ("firestore", id) => format!("firestore {}/{id}", change.table),
        (store, "") => format!("{store} {}", change.table),
        (store, ids) => format!("{store} {} id {ids}", change.table),
    };
    let what = match change.action {
        Action::Insert => "is missing",
        Action::Update => "differs",
        Action::Delete => "is not of this run",
        Action::Alter => "altered",
        Action::Conflict => "conflict, left alone",
        Action::AddedByOthers => "added by others, left alone",
        Action::NotByThisCommand => "not by this command",
    };
    let because = change.because.as_ref().map(|b| format!(": {}", escaped(b))).unwrap_or_default();
    let head = format!("-- {}: {what}{because}\n", escaped(&place));
    match (&change.writes, change.store.as_str()) {
        (None, _) => head,
        (Some(document), "firestore") => format!("{head}{document}\n"),
        (Some(statement), _) => format!("{head}{statement};\n"),
    }
}

/// Changes on stdout as they come: there may be more than memory holds.
struct Listing<'a> {
    document: &'a Document,
    values: Values,
    told: u64,
}

impl Listener for Listing<'_> {
    fn summary(&mut self, summary: &Summary) -> Result<()> {
        if self.document.is_wanted() {
            let summary = serde_json::to_string(summary)?;
            return self.document.begin(&format!("{{\"summary\": {summary},\n\"changes\": ["), "]}");
        }
        let masked = match self.values {
            Values::Masked if !summary.tables.is_empty() => {
                "-- customers' values are masked: --show-values shows them, --apply writes them whole\n"
            }
            _ => "",
        };
        print(&format!("{}{masked}", summary.text()))
    }

    fn change(&mut self, change: &Change) -> Result<()> {
        self.told += 1;
        let change = change.said(self.values);
        if !self.document.is_wanted() {
            return print(&shown(&change));
        }
        let before = if self.told == 1 { "\n" } else { ",\n" };
        self.document.go_on(&format!("{before}{}", serde_json::to_string(&change)?))
    }
}

impl Listing<'_> {
    /// The rest of the result: the members of this one.
    fn end(&self, rest: &serde_json::Value, next: String) -> Result<()> {
        let rest = serde_json::to_string(rest)?;
        self.document.close(&format!("],\n{}", rest.strip_prefix('{').unwrap_or(&rest)), Some(next))
    }
}
