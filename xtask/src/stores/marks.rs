//! What the stores themselves say: which run was brought there last, and whether the services have taken over.
//! A run's directory may be old, a copy, or another machine's; this counts (DESIGN rules 13 and 18).
//!
//! No transaction spans four stores: the first one that says that a cut-over has begun speaks for all.

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Cutover, Export, Manifest, Published};
use crate::stores::ownership::published_runs;
use crate::tables::Table;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use datapath::document::{Document, Value};
use datapath::firestore::{Address, Fields, Firestore, Guarded, Instant, Version};
use futures_util::future::try_join_all;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fmt;

/// The collection of Firestore's mark, and its one document; closed to clients by the rules.
pub const COLLECTION: &str = "xtask";
pub const DOCUMENT: &str = "state";

/// How far a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkState {
    /// A run writes, or has written.
    Published,
    /// The cut-over was recorded in some store: `cutover` completes it.
    CuttingOver,
    CutOver,
}

impl MarkState {
    fn word(self) -> &'static str {
        match self {
            MarkState::Published => "published",
            MarkState::CuttingOver => "cutting-over",
            MarkState::CutOver => "cut-over",
        }
    }

    fn read(word: &str) -> Result<MarkState> {
        [MarkState::Published, MarkState::CuttingOver, MarkState::CutOver]
            .into_iter()
            .find(|state| state.word() == word)
            .with_context(|| format!("another version of this tool has written the state {word:?} there"))
    }
}

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
            MarkState::CuttingOver => write!(f, "the cut-over of run {} began at {}", self.run, self.at),
            _ => write!(f, "the services took over from run {} at {}", self.run, self.at),
        }
    }
}

/// What Firestore says: it belongs to one environment's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FirestoreState {
    environment: String,
    run: String,
    state: MarkState,
    at: String,
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
        let (mut published, mut cutovers, mut taken_back) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        for (database, newest, mark, taken) in try_join_all(Database::ALL.map(one)).await? {
            published.extend(newest.map(|(tables, run)| (database, (run, tables))));
            cutovers.extend(mark);
            taken_back.extend(taken);
        }
        let firestore = in_firestore(&connect(ctx).await?).await?.0;
        let of_firestore = firestore.iter().filter(|state| state.state != MarkState::Published);
        cutovers.extend(of_firestore.map(|state| Mark {
            store: format!("Firestore project {}", ctx.settings.firestore.project),
            run: state.run.clone(),
            state: state.state,
            at: state.at.clone(),
        }));
        Ok(Marks { published, firestore, cutovers, taken_back })
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
                "run {run} was taken back already, at {taken}: the shop is on its old database. `cargo xtask migrate \
                 --replace` makes a new run"
            );
        }
        Ok(())
    }

    /// For what loads the stores.
    ///
    /// # Errors
    /// Refuses after a cut-over, in stores of another environment, and where a newer run has come between.
    pub fn may_be_loaded(&self, ctx: &Ctx, manifest: Option<&Manifest>) -> Result<()> {
        self.not_taken_back(ctx)?;
        if let Some(mark) = self.cutover() {
            refuse!(
                "{mark} ({}): what stands in the stores is theirs, and nothing takes its place. Nothing has been \
                 changed",
                mark.store
            );
        }
        self.one_environment(ctx)?;
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
                state.at,
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
        for (database, (run, tables)) in &self.published {
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
                     which ones, and its manifest says otherwise. A replay was made from another copy of it, or cut \
                     off: use that copy, or complete it here with `cargo xtask replay --run {run}`",
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

async fn connect(ctx: &Ctx) -> Result<Firestore> {
    Firestore::connect(&Address::from(&ctx.settings.firestore)).await
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

async fn taken_back_in(connection: &mut Connection) -> Result<Vec<(String, String)>> {
    if !connection.row(&sql::exists("xtask", "taken_back")).await?.try_get::<bool, _>(0)? {
        return Ok(Vec::new());
    }
    let line = |row: &sqlx::postgres::PgRow| {
        let (at, scope): (String, String) = (row.try_get("at")?, row.try_get("scope")?);
        Ok((row.try_get("run")?, format!("{at} ({scope})")))
    };
    connection.rows(sql_file!("phases/marks/taken_back_runs.sql").text).await?.iter().map(line).collect()
}

async fn in_firestore(firestore: &Firestore) -> Result<(Option<FirestoreState>, Version)> {
    let mut found = firestore.read_versions(COLLECTION, &[DOCUMENT.to_string()]).await?;
    let (fields, version) = found.remove(DOCUMENT).context("no answer for Firestore's mark")?;
    Ok((fields.as_ref().map(FirestoreState::read).transpose()?, version))
}

impl FirestoreState {
    fn read(fields: &Fields) -> Result<FirestoreState> {
        let text = |name: &str| match fields.get(name) {
            Some(Value::Text(text)) => Ok(text.clone()),
            other => {
                anyhow::bail!("document {COLLECTION}/{DOCUMENT} in Firestore has no text {name:?}: {other:?}")
            }
        };
        Ok(FirestoreState {
            environment: text("environment")?,
            run: text("run")?,
            state: MarkState::read(&text("state")?)?,
            at: text("at")?,
        })
    }

    fn document(&self) -> Document {
        let text = |value: &str| Value::Text(value.to_string());
        Document {
            id: DOCUMENT.to_string(),
            fields: vec![
                ("environment", text(&self.environment)),
                ("run", text(&self.run)),
                ("state", text(self.state.word())),
                ("at", text(&self.at)),
            ],
        }
    }
}

/// Says in Firestore whose its collections are, before the first document is written there.
///
/// # Errors
/// Refuses where somebody else says so at the same moment.
pub async fn claim_firestore(ctx: &Ctx) -> Result<()> {
    set_in_firestore(ctx, MarkState::Published).await
}

async fn set_in_firestore(ctx: &Ctx, state: MarkState) -> Result<()> {
    let firestore = connect(ctx).await?;
    let (found, version) = in_firestore(&firestore).await?;
    let wanted = FirestoreState {
        environment: ctx.settings.environment.clone(),
        run: ctx.run.id().to_string(),
        state,
        at: crate::run::dir::now(),
    };
    // The instant of the cut-over is the first that was written.
    if let Some(found) = &found
        && found.run == wanted.run
        && (found.state == state || found.state == MarkState::CutOver)
    {
        return Ok(());
    }
    if let Some(found) = found.filter(|found| state == MarkState::Published && found.state != state) {
        refuse!(
            "the services took over from run {} at {}, or are about to: nothing was written to Firestore",
            found.run,
            found.at
        );
    }
    let change = Guarded::Set(wanted.document());
    if !firestore.change(COLLECTION, vec![(change, version)]).await?.is_empty()
        && in_firestore(&firestore).await?.0.as_ref() != Some(&wanted)
    {
        refuse!(
            "another run has just claimed the collections of Firestore project {}: nothing was written there",
            ctx.settings.firestore.project
        );
    }
    Ok(())
}

/// Takes back in every store that this run's cut-over has begun; where it is done, nothing changes.
pub async fn withdraw_cutover(ctx: &Ctx) -> Result<()> {
    let begun = [MarkState::CuttingOver];
    for database in Database::ALL {
        let mut connection = ctx.target(database, "cutover").await?;
        withdraw(ctx, &mut connection, &begun).await?;
        connection.close().await?;
    }
    withdraw_in_firestore(ctx, &begun).await
}

/// The services have gone back to the old database, `scope` says how: in the transaction that is open.
pub async fn taken_back(ctx: &Ctx, connection: &mut Connection, scope: &str) -> Result<()> {
    let values = [("run", ctx.run.id()), ("scope", scope)];
    connection.run(&sql::bind(sql_file!("phases/marks/taken_back.sql"), &values)).await?;
    withdraw(ctx, connection, &CUT_OVER).await
}

/// The same in Firestore, which remembers no runs: they are not cut over any more.
pub async fn taken_back_in_firestore(ctx: &Ctx) -> Result<()> {
    withdraw_in_firestore(ctx, &CUT_OVER).await
}

/// However far a cut-over has come.
const CUT_OVER: [MarkState; 2] = [MarkState::CuttingOver, MarkState::CutOver];

async fn withdraw(ctx: &Ctx, connection: &mut Connection, states: &[MarkState]) -> Result<()> {
    if !connection.row(&sql::exists("xtask", "cutover")).await?.try_get::<bool, _>(0)? {
        return Ok(());
    }
    let states = sql::array(states.iter().map(|state| state.word()));
    let values = [("run", ctx.run.id()), ("states", &states)];
    connection.run(&sql::bind(sql_file!("phases/marks/withdraw.sql"), &values)).await
}

/// # Errors
/// Where somebody changes the mark at this moment.
async fn withdraw_in_firestore(ctx: &Ctx, states: &[MarkState]) -> Result<()> {
    let firestore = connect(ctx).await?;
    let (found, version) = in_firestore(&firestore).await?;
    let is_meant = |found: &FirestoreState| found.run == ctx.run.id() && states.contains(&found.state);
    let Some(found) = found.filter(is_meant) else { return Ok(()) };
    let state = FirestoreState { state: MarkState::Published, at: crate::run::dir::now(), ..found };
    let others = firestore.change(COLLECTION, vec![(Guarded::Set(state.document()), version)]).await?;
    anyhow::ensure!(others.is_empty(), "somebody has changed Firestore's mark at this moment");
    Ok(())
}

/// An instant of each collection: what is written later is told by it.
pub async fn instants(ctx: &Ctx) -> Result<BTreeMap<String, Instant>> {
    let firestore = connect(ctx).await?;
    let mut instants = BTreeMap::new();
    for collection in ctx.tables.iter().filter_map(Table::collection) {
        instants.insert(collection.name.to_string(), firestore.instant(collection.name).await?);
    }
    Ok(instants)
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
