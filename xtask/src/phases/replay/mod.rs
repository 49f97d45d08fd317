//! Rows that were quarantined and have been fixed in the source: read again by key through the table's
//! SELECT, under one new snapshot, brought in within DESIGN rule 13, proven, and entered in the ledger.
//!
//! Rows that had been migrated change with them where they refer to a user whose uid is another one now
//! (or one at all). Nothing is brought in half: what needs a row that the run does not have ends the
//! replay before anything is changed, and what hangs on a conflict stays where it is.

mod reading;
mod references;

use self::reading::{Batch, Key, Mapping};
use crate::findings::{Words, escaped};
use crate::ledger::{OutcomeKind, kind_of};
use crate::model::{Database, MIGRATED, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, Known, Manifest, Moved, Replay, SnapshotInfo, TableReplay};
use crate::run::{dir, terms};
use crate::source::{assess::conversions, drift::known, snapshot::Snapshot};
use crate::sql::{self, BUCKET, Held, Kind, Owner};
use crate::steps::StepName;
use crate::stores::reconcile::{self, Reconciliation, Wanted};
use crate::stores::{documents, ownership};
use crate::tables::{self, USERS};
use anyhow::{Context, Result};
use datapath::digest::{Content, Digest};
use datapath::document::Document;
use datapath::files::FileInfo;
use datapath::firestore::{Address, Firestore};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The outcome of every row in quarantine, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    pub tables: BTreeMap<String, TableReplayed>,
    /// Whether anything was brought in or changed.
    pub done: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReplayed {
    /// Brought in and proven.
    pub brought_in: Vec<i64>,
    /// Had been migrated, and refer to another user's uid now.
    pub changed: Vec<i64>,
    /// A rule excludes them now; which.
    pub excluded: BTreeMap<i64, String>,
    /// Still in quarantine: the reason at the run's snapshot, and now.
    pub still: BTreeMap<i64, Moved>,
    /// Not in the source any more.
    pub vanished: Vec<i64>,
    /// Others have written there: left alone, with what they wrote.
    pub conflicts: BTreeMap<i64, String>,
    /// Could come in, but hang on a conflict.
    pub held_back: BTreeMap<i64, String>,
}

/// # Errors
/// Refuses, before anything is changed, where the run was made by other rules and where a row needs one
/// that the run does not have. `Stop::Differs` where what was written does not prove to be what the source
/// holds; then no database has been changed.
pub async fn run(ctx: &Arc<Ctx>, manifest: &mut Manifest) -> Result<Replayed> {
    let Some(export) = manifest.export.clone() else {
        refuse!("run {} has no complete export: nothing of it is in quarantine", ctx.run.id());
    };
    if manifest.proof.is_none() && export.replays.is_empty() {
        refuse!("run {} has not come to its end: `cargo xtask migrate --resume {0}` first", ctx.run.id());
    }
    if let Some((number, ..)) = export.passes().last() {
        refuse!(
            "run {0} has been caught up with (pass {number}): each pass brings in what was fixed in the source. `cargo \
             xtask catch-up --run {0}`",
            ctx.run.id()
        );
    }
    terms::same_rules(ctx, manifest)?;
    terms::files_are_whole(ctx, &export.files)?;
    let step = ctx.run.step(StepName::Replay)?;
    let read = read(ctx, manifest, &export).await?;
    let mut replaying = Replaying::new(ctx.clone(), export, read);
    let unknown = references::unknown(ctx, &replaying.export, &replaying.batch, &replaying.mapping).await?;
    if !unknown.is_empty() {
        refuse!(
            "rows that were fixed need rows that the run does not have:\n  {}\nNothing has been changed: let \
             them refer to rows that were migrated, or take them out of the source; then rerun the \
             command. Or start over with `cargo xtask migrate` and empty targets",
            unknown.join("\n  ")
        );
    }
    replaying.make(manifest).await?;
    let replayed = replaying.result();
    let brought_in: usize = replayed.tables.values().map(|t| t.brought_in.len()).sum();
    step.done(&format!("{brought_in} rows brought in"))?;
    Ok(replayed)
}

/// Everything that is asked of the source, at one instant.
struct SourceReading {
    batch: Batch,
    mapping: Mapping,
    snapshot: SnapshotInfo,
    /// What the run knows of the source, before it.
    known: BTreeMap<String, Known>,
}

async fn read(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Export) -> Result<SourceReading> {
    ctx.terminal.phase("Replay: what is in quarantine, as it is in the source now");
    let snapshot = Snapshot::open(ctx, export.snapshot.hash).await?;
    let snapshot = conversions::read_as(ctx, snapshot, export.snapshot.reading.clone()).await?;
    let mut batch = Batch::quarantined(ctx, export)?;
    batch.read(ctx, &snapshot.info, export).await?;
    let mapping = Mapping::read(ctx, &snapshot.info, export, &batch).await?;
    batch.read_dependents(ctx, &snapshot.info, export, &mapping).await?;
    let info = snapshot.info.clone();
    snapshot.release().await?;
    Ok(SourceReading { batch, mapping, snapshot: info, known: known(ctx, manifest) })
}

/// A replay under way.
struct Replaying {
    ctx: Arc<Ctx>,
    export: Export,
    batch: Batch,
    mapping: Mapping,
    snapshot: SnapshotInfo,
    known: BTreeMap<String, Known>,
    conflicts: BTreeMap<Key, Words>,
    held_back: BTreeMap<Key, String>,
    done: bool,
}

impl Replaying {
    fn new(ctx: Arc<Ctx>, export: Export, read: SourceReading) -> Replaying {
        let SourceReading { batch, mapping, snapshot, known } = read;
        let (conflicts, held_back) = (BTreeMap::new(), BTreeMap::new());
        Replaying { ctx, export, batch, mapping, snapshot, known, conflicts, held_back, done: false }
    }

    /// Compares, writes, proves, and enters it in the manifest: the manifest last. After a crash before
    /// that, the next replay finds what is there already as it should be.
    async fn make(&mut self, manifest: &mut Manifest) -> Result<()> {
        let ctx = self.ctx.clone();
        let firestore = Firestore::connect(&Address::from(&ctx.settings.firestore)).await?;
        let mut agreements = self.compare(&firestore).await?;
        self.hold_back(&mut agreements).await?;
        self.done = self.anything();
        let source = self.known_now();
        if !self.done && source.is_empty() {
            return Ok(());
        }
        let mut replay = self.entry(source);
        for agreement in &mut agreements {
            self.write_rows(agreement, &mut replay).await?;
        }
        let export = self.entered(replay)?;
        for agreement in &mut agreements {
            let record = ownership::record(&ctx, &export, agreement.database).to_string();
            agreement.connection().run(&sql::record_run(ctx.run.id(), &record)).await?;
        }
        self.write_documents(&firestore).await?;
        for agreement in agreements {
            agreement.end().await?;
        }
        *manifest = ctx.run.change_manifest(|manifest| {
            manifest.export = Some(export);
            // It was the proof of what the stores held before.
            manifest.proof = manifest.proof.take().filter(|_| !self.done);
            Ok(())
        })?;
        Ok(())
    }

    /// Opens the databases that get rows, and finds the conflicts in all stores. No other session writes to
    /// those databases until they are closed.
    async fn compare(&mut self, firestore: &Firestore) -> Result<Vec<Reconciliation>> {
        let ctx = self.ctx.clone();
        let mut agreements = Vec::new();
        for database in Database::ALL {
            let ours = self.batch.tables.iter().filter(|t| t.table.database() == Some(database));
            let ours: Vec<_> = ours.filter(|t| !t.wanted.is_empty()).collect();
            if ours.is_empty() {
                continue;
            }
            let mut agreement = Reconciliation::begin(&ctx, database, "replay", true).await?;
            for part in ours {
                let (wanted, last) = (part.csv(part.wanted.values()), part.last_csv());
                let record = &self.export.tables[part.table.name];
                let scope = sql::Scope::Wanted;
                let (found, owner) = (sql::FoundColumns::default(), Owner::Others);
                let compared =
                    agreement.compare(part.table, record, &wanted[..], &last, &found, scope, owner);
                agreement = compared.await?;
                for kind in [Kind::Conflict, Kind::DuplicateKey] {
                    for (id, how) in agreement.found(part.table, kind).await? {
                        self.conflicts.insert((part.table.name, id), how);
                    }
                }
            }
            agreements.push(agreement);
        }
        for (table, conflicts) in self.documents(firestore, false).await? {
            self.conflicts.extend(conflicts.into_iter().map(|(id, how)| ((table, id), how)));
        }
        Ok(agreements)
    }

    /// Whatever hangs on a conflict stays where it is.
    async fn hold_back(&mut self, agreements: &mut [Reconciliation]) -> Result<()> {
        let of = |a: &Reconciliation| a.references.clone();
        let inside: Vec<[String; 4]> = agreements.iter().flat_map(of).collect();
        let conflicts: BTreeSet<Key> = self.conflicts.keys().copied().collect();
        self.held_back = references::hanging_on(&conflicts, &self.batch, &inside);
        let out: BTreeSet<Key> = conflicts.into_iter().chain(self.held_back.keys().copied()).collect();
        for agreement in agreements {
            for part in &self.batch.tables {
                let mut ids: Vec<i64> = part.wanted.keys().copied().collect();
                ids.retain(|id| out.contains(&(part.table.name, *id)));
                if part.table.database() == Some(agreement.database) && !ids.is_empty() {
                    agreement.hold_back(part.table.name, &ids).await?;
                }
            }
        }
        for (table, id) in &out {
            if *table == USERS {
                self.mapping.changed.remove(id);
            }
            if let Some(part) = self.batch.tables.iter_mut().find(|t| t.table.name == *table) {
                part.wanted.remove(id);
            }
        }
        Ok(())
    }

    fn anything(&self) -> bool {
        let tables = self.batch.tables.iter();
        !self.mapping.changed.is_empty()
            || tables.into_iter().any(|t| !t.wanted.is_empty() || t.excluded().next().is_some())
    }

    /// Writes the rows of one database, not yet for others to see, and proves them: the digest of exactly
    /// these keys, here and in the source.
    async fn write_rows(&self, agreement: &mut Reconciliation, replay: &mut Replay) -> Result<()> {
        let hash = self.export.snapshot.hash;
        let ours = self.batch.tables.iter().filter(|t| t.table.database() == Some(agreement.database));
        let ours: Vec<_> = ours.filter(|t| replay.tables.contains_key(t.table.name)).collect();
        for part in &ours {
            let (name, record) = (part.table.name, &self.export.tables[part.table.name]);
            if let (Some(entry), false) = (replay.tables.get_mut(name), part.wanted.is_empty()) {
                entry.gone = agreement.digest(name, record, hash, Held::Last).await?;
            }
        }
        agreement.make(&mut |_| Ok(())).await.with_context(|| format!("replaying {}", agreement.database))?;
        for part in ours.into_iter().filter(|t| !t.wanted.is_empty()) {
            let (name, record) = (part.table.name, &self.export.tables[part.table.name]);
            let found = agreement.digest(name, record, hash, Held::Found).await?;
            if replay.tables.get(name).map(|entry| &entry.come) != Some(&found) {
                let what = format!(
                    "{name}: {} rows were read in the source, what {} holds of them has another digest; \
                     nothing has been changed",
                    part.wanted.len(),
                    agreement.database
                );
                return Err(Stop::Differs(what).into());
            }
        }
        Ok(())
    }

    /// # Errors
    /// Where another client writes to one of the documents meanwhile: no database has been changed then, and
    /// the next replay goes on.
    async fn write_documents(&self, firestore: &Firestore) -> Result<()> {
        for (table, conflicts) in self.documents(firestore, true).await? {
            if let Some((id, how)) = conflicts.first_key_value() {
                let how = how.said(self.ctx.values);
                let what = format!("{table} id {id}: {how}: stop who writes there, then replay again");
                return Err(Stop::Differs(what).into());
            }
        }
        Ok(())
    }

    /// Compares the documents, and writes them where told to; conflicts by the rows' ids.
    async fn documents(
        &self,
        firestore: &Firestore,
        apply: bool,
    ) -> Result<Vec<(&'static str, BTreeMap<i64, Words>)>> {
        let mut all = Vec::new();
        for part in &self.batch.tables {
            if part.table.collection().is_none() {
                continue;
            }
            let rows = part.wanted.iter().map(|(id, row)| (*id, &row.csv));
            let documents = documents::of_rows(&self.ctx, part.table, &part.header, rows)?;
            let wanted = documents.iter().map(|(_, document)| Wanted {
                id: document.id.clone(),
                document: Some(document.clone()),
                last: None,
            });
            let wanted: Vec<Wanted> = wanted.collect();
            let made =
                reconcile::documents(firestore, part.table, &wanted, Owner::Others, apply, &mut |_| Ok(()))
                    .await?;
            let row =
                |(id, document): &(i64, Document)| Some((*id, made.conflicts.get(&document.id)?.clone()));
            all.push((part.table.name, documents.iter().filter_map(row).collect()));
        }
        Ok(all)
    }

    /// The tables of the source of which the run knows more than before: their rows in quarantine have been
    /// read, and some have left it. Nothing is known of changes to other rows.
    fn known_now(&self) -> BTreeMap<String, Known> {
        let mut now = BTreeMap::new();
        for part in &self.batch.tables {
            let name = format!("public.{}", part.table.source);
            let before = self.known.get(&name).copied().unwrap_or_default();
            let mut content = before.content.without(before.open);
            content.add(Digest::of(part.raw.values()));
            let known = Known { content, open: part.open(&self.mapping) };
            if known != before {
                now.insert(name, known);
            }
        }
        now
    }

    /// What the manifest will say; `gone` is found in the databases.
    fn entry(&self, source: BTreeMap<String, Known>) -> Replay {
        let mut tables = BTreeMap::new();
        for part in &self.batch.tables {
            let left = |id: &i64, to: &str| {
                let from = format!("quarantined:{}", part.quarantined[id]);
                (*id, Moved { from, to: to.to_string() })
            };
            let brought_in = part.brought_in().map(|id| left(&id, MIGRATED));
            let moved = brought_in.chain(part.excluded().map(|(id, rule)| left(&id, rule))).collect();
            let mut come = Content::default();
            for (id, row) in &part.wanted {
                let digest = Digest { rows: 1, sum: i128::from(row.hash) };
                come.buckets.entry(id / BUCKET).or_default().add(digest);
            }
            let entry =
                TableReplay { moved, changed: part.changed().collect(), gone: Content::default(), come };
            if !entry.moved.is_empty() || !entry.changed.is_empty() {
                tables.insert(part.table.name.to_string(), entry);
            }
        }
        Replay { at: dir::now(), snapshot: self.snapshot.clone(), tables, source, pass: None }
    }

    /// The export with this replay: ledger, what the stores must hold, and the files, which are on disk
    /// then.
    fn entered(&self, replay: Replay) -> Result<Export> {
        let mut export = self.export.clone();
        let number = export.replays.len() + 1;
        for (name, table) in &replay.tables {
            let record = export.tables.get_mut(name).with_context(|| format!("no table {name}"))?;
            for moved in table.moved.values() {
                record.outcomes.turn(Some(&moved.from), Some(&moved.to));
            }
            record.content.remove(&table.gone);
            record.content.add(&table.come);
        }
        for part in self.batch.tables.iter().filter(|t| !t.wanted.is_empty()) {
            let (name, csv) = (replay.file(number, &part.table.file()), part.csv(part.wanted.values()));
            self.file(&mut export, name, &csv, part.wanted.len())?;
        }
        if !self.mapping.changed.is_empty() {
            let (name, csv) = (replay.file(number, tables::MAPPING), self.mapping.csv());
            self.file(&mut export, name, &csv, self.mapping.changed.len())?;
        }
        export.replays.push(replay);
        Ok(export)
    }

    fn file(&self, export: &mut Export, name: String, csv: &[u8], rows: usize) -> Result<()> {
        let mut writing = self.ctx.run.create_file(&name)?;
        writing.write(csv)?;
        let info: FileInfo = writing.finish(Some(rows as u64))?;
        export.files.insert(name, info);
        Ok(())
    }

    fn result(self) -> Replayed {
        let mut tables = BTreeMap::new();
        for part in &self.batch.tables {
            let name = part.table.name;
            let conflicts = self.conflicts.iter().filter(|((table, _), _)| *table == name);
            let held_back = self.held_back.iter().filter(|((table, _), _)| *table == name);
            let still = part.read.iter().filter(|(_, row)| kind_of(&row.outcome) == OutcomeKind::Quarantined);
            let still = still.map(|(id, row)| {
                let from = format!("quarantined:{}", part.quarantined[id]);
                (*id, Moved { from, to: row.outcome.clone() })
            });
            let table = TableReplayed {
                brought_in: part.brought_in().collect(),
                changed: part.changed().collect(),
                excluded: part.excluded().map(|(id, rule)| (id, rule.to_string())).collect(),
                still: still.collect(),
                vanished: part.quarantined.keys().filter(|id| !part.read.contains_key(id)).copied().collect(),
                conflicts: conflicts
                    .map(|((_, id), how)| (*id, escaped(how.said(self.ctx.values))))
                    .collect(),
                held_back: held_back.map(|((_, id), why)| (*id, why.clone())).collect(),
            };
            if table != TableReplayed::default() {
                tables.insert(name.to_string(), table);
            }
        }
        Replayed { tables, done: self.done }
    }
}
