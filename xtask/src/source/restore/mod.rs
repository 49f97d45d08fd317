//! A run's backup restored beside the source's database: into a new database of the same server, with the owner,
//! privileges, settings and locale that were recorded, proven against the run's manifest before it has its name.
//! And its way into the source's place (`replace.rs`).
//!
//! Until it is proven the database is called `<name>_unproven`, and is dropped on every way out; what a killed
//! call has left, the next one drops.

mod aside;
mod place;
mod plan;
mod prove;
mod replace;

pub use aside::{Aside, drop_these, put_aside};
pub use place::{beside, name, properties};
pub use plan::{ARCHIVE, Goal, Origin, Plan};
pub use prove::{Difference, Proof, SCHEMA};
pub use replace::{Consent, InPlace, Replaced, replace};

use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::postgres::{self, Connection};
use crate::model::Stop;
use crate::remembered::Remembered;
use crate::run::ctx::Ctx;
use crate::run::lock::Locks;
use crate::run::manifest::{Backup, Manifest};
use crate::run::properties::Properties;
use crate::steps::StepName;
use crate::{refuse, sql};
use anyhow::{Context, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// What becomes of a database that is not what the backup holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unproven {
    Drop,
    /// For a person to look at, under the name that it has until it is proven.
    Keep,
}

/// A database that holds what the run's backup holds, and nothing else.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    pub run: String,
    pub database: String,
    pub tables: u64,
    pub rows: u64,
    /// What the dump does not hold, and nothing was proven of.
    pub left_out: BTreeMap<String, String>,
    /// Restored, and not read by any digest.
    pub large_objects: u64,
    pub definitions_not_compared: Option<String>,
    pub properties_from: Origin,
    /// Sequences that the dump had a moment before the backup read them.
    pub sequences_raised: Vec<String>,
    /// It was there already, restored by an earlier call, and has been proven again.
    pub before: bool,
    pub seconds: f64,
    /// By which its tables are known from now on.
    #[serde(skip)]
    pub remembered: Remembered,
}

/// What is not as the backup has it.
#[derive(Debug)]
pub struct NotProven {
    /// What the database is called, where it was kept.
    pub kept: Option<String>,
    pub differences: Vec<Difference>,
}

impl fmt::Display for NotProven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kept {
            Some(database) => write!(f, "kept as {database}, which is NOT what was backed up"),
            None => f.write_str("what was restored has been dropped again (--keep keeps it)"),
        }
    }
}

/// Restores the run's backup into a new database of this name, and proves it.
///
/// # Errors
/// Refuses with everything at once that stands in the way, and nothing has been made; `Stop::Differs` where the
/// new database is not what the backup holds, which is dropped then, as it is on every other way out.
pub async fn restore_beside(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    name: &str,
    cleanup: &Cleanup,
) -> Result<Restored> {
    let plan = Plan::look(ctx, manifest, &Goal::Beside(name.to_string())).await?;
    restore(ctx, manifest, &plan, Unproven::Drop, cleanup).await
}

/// The same as planned.
pub async fn restore(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    plan: &Plan,
    unproven: Unproven,
    cleanup: &Cleanup,
) -> Result<Restored> {
    plan.possible()?;
    let backup = plan::backup(ctx, manifest)?;
    let restore = Restore { ctx, backup, plan, working: place::unproven(&plan.database) };
    if plan.in_place.as_ref().is_some_and(|in_place| in_place.restored_before) {
        return restore.prove_again().await;
    }
    let (connection, server) = place::maintenance(ctx).await?;
    // One restore at a time on this server: two would take the same name.
    let locks = Locks::unless_ours(&server, "restore").await?;
    locks.guard(Box::pin(restore.run(connection, unproven, cleanup))).await
}

/// The plan and then the source's place: the backup is restored, proven, and takes it.
///
/// # Errors
/// As [`restore_beside`] and [`replace`]. Cut off anywhere, the same call goes on.
pub async fn restore_in_place(
    ctx: &Arc<Ctx>,
    manifest: &Manifest,
    plan: &Plan,
    consent: Consent,
    cleanup: &Cleanup,
) -> Result<(Restored, Replaced)> {
    let restored = restore(ctx, manifest, plan, Unproven::Drop, cleanup).await?;
    let replaced = replace(ctx, manifest, &restored.database, consent).await;
    let replaced = replaced.with_context(|| format!("{} is restored and proven", restored.database))?;
    Ok((restored, replaced))
}

/// Compares a database that holds what `backup` holds, restored by other means; its sequences are first brought to
/// where the backup found them. `there`: with that database in the place of the source.
///
/// # Errors
/// Where it cannot be asked. What differs is in the proof.
pub async fn compare(there: &Arc<Ctx>, backup: &Backup) -> Result<Proof> {
    prove::raise_sequences(there, backup).await?;
    prove::prove(there, backup).await
}

struct Restore<'a> {
    ctx: &'a Arc<Ctx>,
    backup: &'a Backup,
    plan: &'a Plan,
    /// What the database is called until it is proven.
    working: String,
}

impl Restore<'_> {
    async fn run(
        &self,
        mut connection: Connection,
        unproven: Unproven,
        cleanup: &Cleanup,
    ) -> Result<Restored> {
        let (ctx, started) = (self.ctx, Instant::now());
        let step = ctx.run.step(StepName::Restore)?;
        // Looked at again, now that nobody else is at it.
        if place::look(&mut connection, &self.plan.database).await?.is_some() {
            refuse!("the database {} is there by now: name another", self.plan.database);
        }
        place::drop_unproven(ctx, &mut connection, &self.working).await?;
        let pending = self.undone_by(cleanup);
        let made = self.make(&mut connection).await;
        let (proof, raised) = match made {
            Ok(made) => made,
            Err(error) => {
                if let Err(undoing) = cleanup.undo(pending).await {
                    ctx.terminal.warn(format!("{} is still there: {undoing:#}", self.working));
                }
                return Err(error.context(format!("restoring run {}", ctx.run.id())));
            }
        };
        if !proof.differences.is_empty() {
            return Err(self.not_proven(&mut connection, proof, unproven, cleanup, pending).await?);
        }
        cleanup.keep(pending);
        connection.close().await?;
        step.done(&format!("{}: {} tables, {} rows", self.plan.database, proof.tables, proof.rows))?;
        Ok(self.restored(proof, raised, started))
    }

    /// Notes what has to be undone, before it is made.
    fn undone_by(&self, cleanup: &Cleanup) -> Pending {
        let (ctx, working) = (self.ctx.clone(), self.working.clone());
        cleanup.add(format!("the database {working} is there"), sql::drop_by_hand(&working), move || {
            let (ctx, working) = (ctx.clone(), working.clone());
            async move {
                let (mut connection, server) = place::maintenance(&ctx).await?;
                // Who has the lock meanwhile has dropped ours, and made one of the same name.
                let locks = Locks::unless_ours(&server, "restore").await?;
                place::drop_unproven(&ctx, &mut connection, &working).await?;
                locks.release().await;
                connection.close().await
            }
        })
    }

    /// Everything up to its name, which it has only where nothing differs. Besides the proof the sequences that
    /// were moved.
    async fn make(&self, connection: &mut Connection) -> Result<(Proof, Vec<String>)> {
        let Restore { ctx, backup, plan, working } = self;
        place::create(connection, working, &plan.properties).await?;
        // What this role may not give is found now, and not after the rows.
        let rehearsed = place::equipment(connection, working, &plan.properties).await?;
        connection.run(&sql::rehearsed(&rehearsed)).await.context("rehearsing the recorded properties")?;
        let task = ctx.terminal.task("restore", &plan.database, 0);
        let (archive, server) = (ctx.run.file(plan::ARCHIVE), place::of(ctx, working));
        ctx.tools.restore(&server, &ctx.purpose("restore"), &archive, ctx.jobs).await?;
        task.done(plan.tables.values().sum());
        let there = prove::with_source(ctx, working)?;
        let raised = prove::raise_sequences(&there, backup).await?;
        let mut analyzing = postgres::connect(&server, &ctx.purpose("statistics")).await?;
        analyzing.run(sql::ANALYZE_ALL).await?;
        analyzing.close().await?;
        let mut proof = prove::prove(&there, backup).await?;
        if proof.differences.is_empty() {
            proof.differences = self.give_name(connection).await?;
        }
        Ok((proof, raised))
    }

    /// Its properties and its name, in one transaction; what it has otherwise than recorded, and then neither.
    async fn give_name(&self, connection: &mut Connection) -> Result<Vec<Difference>> {
        let Restore { plan, working, .. } = self;
        let mut statements = place::equipment(connection, working, &plan.properties).await?;
        statements.push(sql::rename_database(working, &plan.database));
        connection.run(&sql::begun(&statements)).await?;
        let differences = property_differences(connection, &plan.database, &plan.properties).await?;
        connection.run(if differences.is_empty() { "COMMIT" } else { "ROLLBACK" }).await?;
        Ok(differences)
    }

    async fn not_proven(
        &self,
        connection: &mut Connection,
        proof: Proof,
        unproven: Unproven,
        cleanup: &Cleanup,
        pending: Pending,
    ) -> Result<anyhow::Error> {
        let kept = match unproven {
            Unproven::Keep => {
                connection.run(&sql::comment_on_database(&self.working, place::KEPT)).await?;
                cleanup.keep(pending);
                Some(self.working.clone())
            }
            Unproven::Drop => {
                cleanup.undo(pending).await?;
                None
            }
        };
        Ok(self.differs(proof.differences, kept))
    }

    fn differs(&self, differences: Vec<Difference>, kept: Option<String>) -> anyhow::Error {
        let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let what = format!(
            "restored from run {}, it is not what was backed up:\n  {}",
            self.plan.run,
            lines.join("\n  ")
        );
        anyhow::Error::new(Stop::Differs(what)).context(NotProven { kept, differences })
    }

    /// What an earlier call has restored and not put in place: nobody may have been at it since.
    async fn prove_again(&self) -> Result<Restored> {
        let started = Instant::now();
        let step = self.ctx.run.step(StepName::Restore)?;
        let there = prove::with_source(self.ctx, &self.plan.database)?;
        let mut proof = prove::prove(&there, self.backup).await?;
        let (mut connection, _) = place::maintenance(self.ctx).await?;
        let (database, properties) = (&self.plan.database, &self.plan.properties);
        proof.differences.extend(property_differences(&mut connection, database, properties).await?);
        connection.close().await?;
        if !proof.differences.is_empty() {
            let error = self.differs(proof.differences, Some(database.clone()));
            let drop = sql::drop_by_hand(database);
            return Err(error.context(format!(
                "{database}, which an earlier call has restored, has been changed since. If nobody needs it: {drop}"
            )));
        }
        step.done(&format!("{database} as an earlier call has restored it"))?;
        Ok(Restored { before: true, ..self.restored(proof, Vec::new(), started) })
    }

    fn restored(&self, proof: Proof, sequences_raised: Vec<String>, started: Instant) -> Restored {
        Restored {
            run: self.plan.run.clone(),
            database: self.plan.database.clone(),
            tables: proof.tables,
            rows: proof.rows,
            left_out: self.backup.left_out.clone(),
            large_objects: proof.large_objects,
            definitions_not_compared: proof.definitions_not_compared,
            properties_from: self.plan.properties_from,
            sequences_raised,
            before: false,
            remembered: proof.remembered,
            seconds: started.elapsed().as_secs_f64(),
        }
    }
}

async fn property_differences(
    connection: &mut Connection,
    database: &str,
    wanted: &Properties,
) -> Result<Vec<Difference>> {
    let found = place::properties(connection, database).await?;
    let found = found.with_context(|| format!("{database} is gone"))?;
    Ok(wanted.differences(&found).into_iter().map(|line| Difference::Property { line }).collect())
}
