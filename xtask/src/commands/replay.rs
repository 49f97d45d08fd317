//! Rows that were fixed in the source, brought in after the run.

use crate::identity::ServerName;
use crate::model::{Stop, explain};
use crate::phases::replay::{self, Replayed, TableReplayed};
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::servers;
use crate::session::{Command, Ending, OldDatabase, RunArgs, Servers, Session};
use crate::steps::CommandName;
use crate::stores::marks::Marks;
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Migrate quarantined rows that were fixed in the source
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    run: RunArgs,
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
        session.permitted(&ctx.settings)?;
        let replayed = run(&ctx).await?;
        session.keep_report_with(&ctx, &text(&replayed));
        let next = session.then(&format!("verify --run {}", ctx.run.id()));
        let ending = Ending::of_text(verdict(&replayed), text(&replayed)).details(session.details_file(&ctx));
        session.done_with(&replayed, &ending.next(Some(next)))?;
        judge(&replayed)
    }
}

pub async fn run(ctx: &Arc<Ctx>) -> Result<Replayed> {
    let locks = Locks::all(ctx).await?;
    let work = async {
        let mut manifest = ctx.run.load_manifest()?;
        servers::belongs(ctx, &manifest, &ServerName::ALL, &[]).await?;
        let marks = Marks::read(ctx).await?;
        marks.hold(ctx)?;
        marks.teach(&mut manifest);
        replay::run(ctx, &mut manifest).await
    };
    visibly(ctx, CommandName::Replay, locks.guard(Box::pin(work))).await
}

fn verdict(replayed: &Replayed) -> String {
    let sum = |of: fn(&TableReplayed) -> usize| replayed.tables.values().map(of).sum::<usize>();
    let (brought_in, still) = (sum(|table| table.brought_in.len()), sum(|table| table.still.len()));
    let rest = match still {
        0 => String::new(),
        n => format!(", {n} still in quarantine"),
    };
    match sum(|table| table.conflicts.len()) {
        0 if !replayed.done => format!("✓ NOTHING TO REPLAY: the stores have not been touched{rest}"),
        0 => format!("✓ REPLAYED {brought_in} rows, brought in and proven{rest}"),
        n => format!("✗ REPLAYED {brought_in} rows; {n} left alone: others have written there{rest}"),
    }
}

/// Accounts for each row, in words.
pub fn text(replayed: &Replayed) -> String {
    let mut out = String::new();
    for (name, table) in &replayed.tables {
        for line in lines(table) {
            out += &format!("  {name:<17} {line}\n");
        }
    }
    if out.is_empty() {
        out = "  nothing is in quarantine\n".into();
    }
    let done = if replayed.done { "" } else { "Nothing to do: the stores have not been touched\n" };
    format!("Quarantine\n{out}{done}")
}

fn lines(table: &TableReplayed) -> Vec<String> {
    let TableReplayed { brought_in, changed, excluded, still, vanished, conflicts, held_back } = table;
    let ids = |ids: &[i64]| ids.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if !brought_in.is_empty() {
        lines.push(format!("✓ brought in and proven: id {}", ids(brought_in)));
    }
    if !changed.is_empty() {
        lines.push(format!("✓ changed with their users' uids, and proven: id {}", ids(changed)));
    }
    for (rule, rows) in grouped(excluded.iter().map(|(id, rule)| (meaning(rule), *id))) {
        lines.push(format!("– excluded now ({rule}): id {}", ids(&rows)));
    }
    let reason = |moved: &crate::run::manifest::Moved| match moved.from == moved.to {
        true => meaning(&moved.to),
        false => format!("{}; at the run's snapshot: {}", meaning(&moved.to), meaning(&moved.from)),
    };
    for (reason, rows) in grouped(still.iter().map(|(id, moved)| (reason(moved), *id))) {
        lines.push(format!("– still in quarantine ({reason}): id {}", ids(&rows)));
    }
    if !vanished.is_empty() {
        lines.push(format!("– not in the source any more: id {}", ids(vanished)));
    }
    lines.extend(conflicts.iter().map(|(id, how)| format!("✗ conflict, left alone: id {id}: {how}")));
    lines.extend(held_back.iter().map(|(id, why)| format!("✗ held back: id {id}: {why}")));
    lines
}

fn grouped(rows: impl Iterator<Item = (String, i64)>) -> BTreeMap<String, Vec<i64>> {
    let mut groups: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    rows.for_each(|(group, id)| groups.entry(group).or_default().push(id));
    groups
}

fn meaning(outcome: &str) -> String {
    explain(outcome).unwrap_or(outcome).to_string()
}

/// The error that gives exit code 3, where others have written what would have been brought in.
pub fn judge(replayed: &Replayed) -> Result<()> {
    let conflicts: usize = replayed.tables.values().map(|t| t.conflicts.len()).sum();
    match conflicts {
        0 => Ok(()),
        n => Err(Stop::Differs(format!("{n} rows were left alone: others have written there")).into()),
    }
}
