//! What the stores themselves say: which run was brought there last, and whether the services have taken over.
//! A run's directory may be old, a copy, or another machine's; this counts (DESIGN rules 13 and 18).
//!
//! No transaction spans four stores: the first one that says that a cut-over has begun speaks for all.

use crate::effects::postgres::Connection;
use crate::model::{Database, Existing, Service};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Cutover, Export, Manifest, Published};
use crate::shown::utc;
use crate::stores::firestore_mark::{
    CUT_OVER, FirestoreState, connect, in_firestore, set_in_firestore, withdraw_in_firestore,
};
use crate::stores::ownership::published_runs;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use crate::stores::firestore_mark::{COLLECTION, DOCUMENT, MarkState, claim_firestore, instants};

/// What a store says of a cut-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// For people.
    pub store: String,
    pub run: String,
    pub state: MarkState,
    pub at: String,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.state {
            MarkState::CuttingOver => {
                write!(f, "the cut-over of run {} began at {}", self.run, utc(&self.at))
            }
            _ => write!(f, "the services took over from run {} at {}", self.run, utc(&self.at)),
        }
    }
}

/// What all stores say.
pub struct Marks {
    /// The run that was published last, and its tables as they were then.
    published: BTreeMap<Database, (String, BTreeMap<String, Published>)>,
    firestore: Option<FirestoreState>,
    /// Of all stores that have one.
    cutovers: Vec<Mark>,
    /// By run: when, and how.
    taken_back: BTreeMap<String, String>,
    /// Services that have gone back alone: of which run, and when.
    services_back: BTreeMap<Service, (String, String)>,
}

impl Marks {
    pub async fn read(ctx: &Ctx) -> Result<Marks> {
        let one = |database: Database| async move {
            let mut connection = ctx.target(database, "marks").await?;
            let newest = published_runs(&mut connection).await?.into_iter().next();
            // Of another version of this tool, none that can be compared.
            let newest = newest.map(|newest| (newest.wrote().unwrap_or_default(), newest.run));
            let mark = in_database(ctx, &mut connection, database).await?;
            let taken_back = taken_back_in(&mut connection).await?;
            connection.close().await?;
            anyhow::Ok((database, newest, mark, taken_back))
        };
        let (mut published, mut cutovers) = (BTreeMap::new(), Vec::new());
        let (mut taken_back, mut services_back) = (BTreeMap::new(), BTreeMap::new());
        for (database, newest, mark, taken) in try_join_all(Database::ALL.map(one)).await? {
            published.extend(newest.map(|(tables, run)| (database, (run, tables))));
            cutovers.extend(mark);
            for taken in taken {
                match taken.alone() {
                    Some(service) => drop(services_back.insert(service, (taken.run, taken.at))),
                    None => drop(taken_back.insert(taken.run, format!("{} ({})", taken.at, taken.scope))),
                }
            }
        }
        let firestore = in_firestore(&connect(ctx).await?).await?.0;
        if let Some(state) = firestore.iter().find(|state| state.state == MarkState::TakenBack) {
            services_back.insert(Service::User, (state.run.clone(), state.at.clone()));
        }
        let of_firestore = firestore.iter().filter(|state| state.state.is_cutover());
        cutovers.extend(of_firestore.map(|state| Mark {
            store: format!("Firestore project {}", ctx.settings.firestore.project),
            run: state.run.clone(),
            state: state.state,
            at: state.at.clone(),
        }));
        Ok(Marks { published, firestore, cutovers, taken_back, services_back })
    }

    /// Whether the services have taken over, or may have.
    pub fn cutover(&self) -> Option<&Mark> {
        self.cutovers.first()
    }

    /// Whether every store has been told of the cut-over's end.
    pub fn cutover_is_complete(&self) -> bool {
        self.cutovers.len() == Database::ALL.len() + 1
            && self.cutovers.iter().all(|mark| mark.state == MarkState::CutOver)
    }

    /// The runs whose place a run takes that begins now: by store.
    pub fn newest(&self) -> BTreeMap<String, String> {
        let databases = self.published.iter().map(|(database, (run, _))| (database.to_string(), run.clone()));
        let firestore = self.firestore.iter().map(|state| ("firestore".to_string(), state.run.clone()));
        databases.chain(firestore).collect()
    }

    /// # Errors
    /// Refuses a run that was taken back: the shop is on its old database, and goes forward with a new one.
    pub fn not_taken_back(&self, ctx: &Ctx) -> Result<()> {
        let run = ctx.run.id();
        if let Some(taken) = self.taken_back.get(run) {
            refuse!(
                "run {run} was taken back already, at {}: the shop is on its old database. `cargo xtask migrate \
                 --replace` makes a new run",
                utc(taken)
            );
        }
        match self.gone_back(run) {
            gone if gone.len() == Service::ALL.len() => refuse!(
                "run {run} was taken back already, service by service: the shop is on its old database. `cargo xtask \
                 migrate --replace` makes a new run"
            ),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// Refuses a run of which a service has gone back alone.
    pub fn whole(&self, ctx: &Ctx) -> Result<()> {
        let run = ctx.run.id();
        if let Some(service) = self.gone_back(run).first() {
            refuse!(
                "{service} of run {run} has gone back to the old database: the run stays cut over for the others, and is \
                 not cut over again. `cargo xtask rollback after-start --run {run}` takes them back, too; then `cargo \
                 xtask migrate --replace` makes a new run"
            );
        }
        Ok(())
    }

    /// The services of this run that have gone back alone.
    fn gone_back(&self, run: &str) -> Vec<Service> {
        let of_run = self.services_back.iter().filter(|(_, (of, _))| of == run);
        of_run.map(|(service, _)| *service).collect()
    }

    /// For what loads the stores.
    ///
    /// # Errors
    /// Refuses after a cut-over, in stores of another environment, and where a newer run has come between.
    pub fn may_be_loaded(&self, ctx: &Ctx, manifest: Option<&Manifest>) -> Result<()> {
        self.not_taken_back(ctx)?;
        if let Some(mark) = self.cutover() {
            refuse!(
                "{mark} ({}): what is in the stores is theirs, and nothing takes its place. Nothing has been \
                 changed",
                mark.store
            );
        }
        self.one_environment(ctx)?;
        if ctx.existing == Existing::Replace {
            self.no_pass_was_cut_off(ctx)?;
        }
        let Some(replaces) = manifest.and_then(|manifest| manifest.replaces.as_ref()) else { return Ok(()) };
        let run = ctx.run.id();
        for (store, newest) in self.newest() {
            if newest != run && replaces.get(&store) != Some(&newest) {
                refuse!(
                    "run {newest} was brought to {store} after run {run} began: run {run} was to take the place of \
                     {}, not of that. Nothing has been changed",
                    replaces.get(&store).map_or("nothing".to_string(), |run| format!("run {run}"))
                );
            }
        }
        Ok(())
    }

    /// Of a run whose place is to be taken: some stores hold it as before the pass, others as after it.
    fn no_pass_was_cut_off(&self, ctx: &Ctx) -> Result<()> {
        let runs: BTreeSet<String> = self.newest().into_values().filter(|run| run != ctx.run.id()).collect();
        for run in runs {
            // Without its directory it is said later what that means.
            let Ok(manifest) = dir::load_manifest(&ctx.run.runs().join(&run)) else { continue };
            if manifest.export.is_some_and(|export| export.unfinished_pass().is_some()) {
                refuse!(
                    "a catch-up pass of run {run} was cut off, and not every store has it: `cargo xtask catch-up --run \
                     {run}` completes it, and then this command may take its place. Nothing has been changed"
                );
            }
        }
        Ok(())
    }

    /// Firestore takes any number of runs, of one environment.
    fn one_environment(&self, ctx: &Ctx) -> Result<()> {
        let Some(state) = &self.firestore else { return Ok(()) };
        if state.environment != ctx.settings.environment {
            refuse!(
                "the collections of Firestore project {} are those of environment `{}` (run {} since {}): environment \
                 `{}` needs a project or database of its own",
                ctx.settings.firestore.project,
                state.environment,
                state.run,
                utc(&state.at),
                ctx.settings.environment
            );
        }
        Ok(())
    }

    /// For what compares the stores with a run, or changes single rows.
    ///
    /// # Errors
    /// Refuses where the stores hold another run.
    pub fn hold(&self, ctx: &Ctx) -> Result<()> {
        self.not_taken_back(ctx)?;
        self.hold_or_held(ctx)
    }

    /// The same for the way back, which may have been cut off after the first store was told of it.
    pub fn hold_or_held(&self, ctx: &Ctx) -> Result<()> {
        let run = ctx.run.id();
        if let Some(mark) = self.cutovers.iter().find(|mark| mark.run != run) {
            refuse!("{mark} ({}): the stores are not those of run {run}. Say --run {}", mark.store, mark.run);
        }
        self.one_environment(ctx)?;
        for (store, newest) in self.newest() {
            if newest != run {
                refuse!("{store} holds run {newest}, which took the place of run {run}: say --run {newest}",);
            }
        }
        Ok(())
    }

    /// Besides: that this directory is as new as the stores.
    ///
    /// # Errors
    /// Refuses where a replay was written into a database that this directory does not know of.
    pub fn hold_this(&self, ctx: &Ctx, export: &Export) -> Result<()> {
        self.hold(ctx)?;
        if export.unfinished_pass().is_some() {
            refuse!(
                "a catch-up pass of run {0} was cut off, and not every store has it: `cargo xtask catch-up --run {0}` \
                 completes it",
                ctx.run.id()
            );
        }
        let gone = self.gone_back(ctx.run.id());
        for (database, (run, tables)) in self.published.iter().filter(|(d, _)| !gone.contains(&d.service())) {
            let server = ctx.settings.target(*database);
            let other = tables.iter().find(|(name, published)| {
                let record = export.tables.get(*name);
                record.is_some_and(|record| {
                    published.hash == export.snapshot.hash && record.content.total() != published.content
                })
            });
            if let Some((table, published)) = other {
                refuse!(
                    "{} is not the newest of run {run}: {server} says that the run wrote {} rows into {table} and \
                     which ones, and its manifest says otherwise. A replay or a catch-up pass was made from another \
                     copy of it, or a replay cut off: use that copy, or complete it here with `cargo xtask replay --run {run}`",
                    ctx.run.path().display(),
                    published.content.rows
                );
            }
        }
        Ok(())
    }

    /// What a directory may not know: that the services have taken over.
    pub fn teach(&self, manifest: &mut Manifest) {
        if let (Some(mark), None) = (self.cutover(), &manifest.cutover) {
            manifest.cutover = Some(Cutover { at: mark.at.clone(), ..Cutover::default() });
        }
    }
}

async fn in_database(ctx: &Ctx, connection: &mut Connection, database: Database) -> Result<Option<Mark>> {
    if !connection.row(&sql::exists("xtask", "cutover")).await?.try_get::<bool, _>(0)? {
        return Ok(None);
    }
    let rows = connection.rows(sql_file!("phases/marks/cut_over.sql").text).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Mark {
        store: ctx.settings.target(database).to_string(),
        run: row.try_get("run")?,
        state: MarkState::read(row.try_get("state")?)?,
        at: row.try_get("at")?,
    }))
}

/// What a database says of a run that was taken back, or of its service alone.
struct TakenBack {
    run: String,
    /// As `phases/rollback` writes it.
    scope: String,
    at: String,
}

impl TakenBack {
    fn alone(&self) -> Option<Service> {
        let name = self.scope.strip_prefix("service ")?;
        Service::ALL.into_iter().find(|service| service.key() == name)
    }
}

async fn taken_back_in(connection: &mut Connection) -> Result<Vec<TakenBack>> {
    if !connection.row(&sql::exists("xtask", "taken_back")).await?.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let line = |row: &sqlx::postgres::PgRow| {
        Ok(TakenBack { run: row.try_get("run")?, scope: row.try_get("scope")?, at: row.try_get("at")? })
    };
    connection.rows(sql_file!("phases/marks/taken_back_runs.sql").text).await?.iter().map(line).collect()
}

/// Takes back in every store that this run's cut-over has begun; where it is done, nothing changes.
pub async fn withdraw_cutover(ctx: &Ctx) -> Result<()> {
    let begun = [MarkState::CuttingOver];
    for database in Database::ALL {
        let mut connection = ctx.target(database, "cutover").await?;
        withdraw(ctx, &mut connection, &begun).await?;
        connection.close().await?;
    }
    withdraw_in_firestore(ctx, &begun, MarkState::Published).await
}

/// The services have gone back to the old database, `scope` says how: in the transaction that is open.
pub async fn taken_back(ctx: &Ctx, connection: &mut Connection, scope: &str) -> Result<()> {
    let values = [("run", ctx.run.id()), ("scope", scope)];
    connection.run(&sql::bind(sql_file!("phases/marks/taken_back.sql"), &values)).await?;
    withdraw(ctx, connection, &CUT_OVER).await
}

/// The same in Firestore, which remembers no runs: they are not cut over any more. `instead`: what is
/// said of it then.
pub async fn taken_back_in_firestore(ctx: &Ctx, instead: MarkState) -> Result<()> {
    withdraw_in_firestore(ctx, &CUT_OVER, instead).await
}

async fn withdraw(ctx: &Ctx, connection: &mut Connection, states: &[MarkState]) -> Result<()> {
    if !connection.row(&sql::exists("xtask", "cutover")).await?.try_get::<bool, _>(0)? {
        return Ok(());
    }
    let states = sql::array(states.iter().map(|state| state.word()));
    let values = [("run", ctx.run.id()), ("states", &states)];
    connection.run(&sql::bind(sql_file!("phases/marks/withdraw.sql"), &values)).await
}

/// Says in every store that the services take over, or have: the databases first.
pub async fn record_cutover(ctx: &Ctx, state: MarkState) -> Result<()> {
    let environment = &ctx.settings.environment;
    for database in Database::ALL {
        let values = [("run", ctx.run.id()), ("environment", environment), ("state", state.word())];
        let mut connection = ctx.target(database, "cutover").await?;
        let recorded = connection.run(&sql::bind(sql_file!("phases/marks/cutover.sql"), &values)).await;
        recorded.with_context(|| format!("recording the cut-over in {database}"))?;
        connection.close().await?;
    }
    set_in_firestore(ctx, state).await.context("recording the cut-over in Firestore")
}
