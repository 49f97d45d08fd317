//! What Firestore says of itself: whose its collections are, and whether the services have taken over.

use crate::refuse;
use crate::run::ctx::Ctx;
use crate::shown::utc;
use crate::tables::Table;
use anyhow::{Context, Result};
use datapath::document::{Document, Value};
use datapath::firestore::{Address, Fields, Firestore, Guarded, Instant, Version};
use std::collections::BTreeMap;

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
    /// Of Firestore: user-service alone has gone back to the old database.
    TakenBack,
}

impl MarkState {
    pub(super) fn word(self) -> &'static str {
        match self {
            MarkState::Published => "published",
            MarkState::CuttingOver => "cutting-over",
            MarkState::CutOver => "cut-over",
            MarkState::TakenBack => "taken-back",
        }
    }

    /// Whether the services have taken over, or are about to.
    pub(super) fn is_cutover(self) -> bool {
        CUT_OVER.contains(&self)
    }

    pub(super) fn read(word: &str) -> Result<MarkState> {
        [MarkState::Published, MarkState::CuttingOver, MarkState::CutOver, MarkState::TakenBack]
            .into_iter()
            .find(|state| state.word() == word)
            .with_context(|| format!("another version of this tool has written the state {word:?} there"))
    }
}

/// What Firestore says: it belongs to one environment's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FirestoreState {
    pub environment: String,
    pub run: String,
    pub state: MarkState,
    pub at: String,
}

/// However far a cut-over has come.
pub(super) const CUT_OVER: [MarkState; 2] = [MarkState::CuttingOver, MarkState::CutOver];

pub(super) async fn connect(ctx: &Ctx) -> Result<Firestore> {
    Firestore::connect(&Address::from(&ctx.settings.firestore)).await
}

pub(super) async fn in_firestore(firestore: &Firestore) -> Result<(Option<FirestoreState>, Version)> {
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

pub(super) async fn set_in_firestore(ctx: &Ctx, state: MarkState) -> Result<()> {
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
    if let Some(found) = found.filter(|found| state == MarkState::Published && found.state.is_cutover()) {
        refuse!(
            "the services took over from run {} at {}, or are about to: nothing was written to Firestore",
            found.run,
            utc(&found.at)
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

/// # Errors
/// Where somebody changes the mark at this moment.
pub(super) async fn withdraw_in_firestore(ctx: &Ctx, states: &[MarkState], instead: MarkState) -> Result<()> {
    let firestore = connect(ctx).await?;
    let (found, version) = in_firestore(&firestore).await?;
    let is_meant = |found: &FirestoreState| found.run == ctx.run.id() && states.contains(&found.state);
    let Some(found) = found.filter(is_meant) else { return Ok(()) };
    let state = FirestoreState { state: instead, at: crate::run::dir::now(), ..found };
    let others = firestore.change(COLLECTION, vec![(Guarded::Set(state.document()), version)]).await?;
    anyhow::ensure!(others.is_empty(), "another client has changed Firestore's mark at this moment");
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
