//! What a replay reads: the quarantine's lists, the rows as the source has them now, the users' uids, and
//! migrated rows that refer to users whose uid is another one now.

use crate::ledger::{OutcomeKind, kind_of};
use crate::model::MIGRATED;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Export, SnapshotInfo};
use crate::run::overlay;
use crate::source;
use crate::source::digests::raw_rows;
pub(super) use crate::source::rows::Row;
use crate::source::snapshot::worker;
use crate::sql::{self, Only, Rows};
use crate::sql_file;
use crate::tables::{self, Table, To, USERS};
use anyhow::{Context, Result, ensure};
use datapath::csv_text::fields;
use datapath::digest::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The column by which rows of all stores name their user.
pub(super) const USER_UID: &str = "user_uid";

/// The row `id` of a table.
pub(super) type Key = (&'static str, i64);

/// One table.
pub(super) struct Part {
    pub table: &'static Table,
    /// What is in quarantine still: ids, each with its reason at the run's snapshot.
    pub quarantined: BTreeMap<i64, String>,
    /// Those of them that the source has, whatever their outcome.
    pub read: BTreeMap<i64, Row>,
    /// Users whom the run knows without a uid, in quarantine or not: rows may have come into it by them.
    without_uid: BTreeSet<i64>,
    /// All of these as whole rows of the source.
    pub raw: BTreeMap<i64, Digest>,
    /// What the target is to hold: rows that left the quarantine, and migrated ones that have changed.
    pub wanted: BTreeMap<i64, Row>,
    /// What this run last wrote of the latter.
    last: BTreeMap<i64, Vec<u8>>,
    /// The line of names of the export's file.
    pub header: Vec<u8>,
    /// The columns of the file, in its order.
    columns: Vec<String>,
}

pub(super) struct Batch {
    /// All of them, in load order.
    pub tables: Vec<Part>,
}

impl Part {
    /// Rows as a file like the export's.
    pub fn csv<'a>(&self, rows: impl Iterator<Item = &'a Row>) -> Vec<u8> {
        overlay::csv(&self.header, rows.map(|row| &row.csv))
    }

    /// What this run last wrote of the wanted rows.
    pub fn last_csv(&self) -> Vec<u8> {
        let rows = self.last.iter().filter(|(id, _)| self.wanted.contains_key(id));
        overlay::csv(&self.header, rows.map(|(_, row)| row))
    }

    /// A value of a row, as text.
    pub fn value(&self, row: &[u8], column: &str) -> Option<String> {
        let index = self.columns.iter().position(|c| c == column)?;
        let value = fields(row).into_iter().nth(index)??;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    pub fn brought_in(&self) -> impl Iterator<Item = i64> {
        self.wanted.keys().copied().filter(|id| self.quarantined.contains_key(id))
    }

    pub fn changed(&self) -> impl Iterator<Item = i64> {
        self.wanted.keys().copied().filter(|id| !self.quarantined.contains_key(id))
    }

    /// Rows that a rule excludes now.
    pub fn excluded(&self) -> impl Iterator<Item = (i64, &str)> {
        let excluded = self.read.iter().filter(|(_, row)| kind_of(&row.outcome) == OutcomeKind::Excluded);
        excluded.map(|(id, row)| (*id, row.outcome.as_str()))
    }

    /// The rows that may be fixed in the source still, once this replay is done.
    pub fn open(&self, mapping: &Mapping) -> Digest {
        let left: BTreeSet<i64> = self.brought_in().chain(self.excluded().map(|(id, _)| id)).collect();
        let in_quarantine = |id: &i64| self.quarantined.contains_key(id) && !left.contains(id);
        let without_uid = |id: &i64| match mapping.changed.get(id) {
            Some(row) if self.table.name == USERS => overlay::uid_of(row).is_none(),
            _ => self.without_uid.contains(id),
        };
        let open = self.raw.iter().filter(|(id, _)| in_quarantine(id) || without_uid(id));
        Digest::of(open.map(|(_, digest)| digest))
    }

    /// The column that refers to users from another store, where the table has one.
    fn user_column(&self) -> Option<&'static str> {
        self.table.references.iter().find(|r| r.to == To::User).map(|r| r.column)
    }
}

impl Batch {
    /// What the run has in quarantine, without what replays have brought in.
    pub fn quarantined(ctx: &Ctx, export: &Export) -> Result<Batch> {
        let mut tables = Vec::new();
        for table in ctx.tables {
            let record = export.tables.get(table.name).context("the manifest does not know a table")?;
            let moved = export.replays.iter().filter_map(|replay| replay.tables.get(table.name));
            let moved: BTreeSet<i64> = moved.flat_map(|t| t.moved.keys().copied()).collect();
            let mut quarantined = quarantine(ctx, export, table)?;
            quarantined.retain(|id, _| !moved.contains(id));
            tables.push(Part {
                table,
                quarantined,
                read: BTreeMap::new(),
                without_uid: BTreeSet::new(),
                raw: BTreeMap::new(),
                wanted: BTreeMap::new(),
                last: BTreeMap::new(),
                header: Vec::new(),
                columns: record.columns.iter().map(|c| c.name.clone()).collect(),
            });
        }
        Ok(Batch { tables })
    }

    pub fn part(&self, table: &str) -> Option<&Part> {
        self.tables.iter().find(|part| part.table.name == table)
    }

    /// Reads the rows in quarantine as the source has them now; those that can go are wanted.
    pub async fn read(&mut self, ctx: &Ctx, snapshot: &SnapshotInfo, export: &Export) -> Result<()> {
        for part in &mut self.tables {
            let ids: Vec<i64> = part.quarantined.keys().copied().collect();
            // Also without ids: for the header.
            let rows = rows_of(ctx, snapshot, part.table, export).await?;
            let copy = rows.copy_only(snapshot.hash, Only::Ids(&ids));
            (part.header, part.read) = copied(ctx, snapshot, &copy).await?;
            if part.table.name == USERS {
                part.without_uid = overlay::users_without_uid(&ctx.run, export)?;
            }
            let open: BTreeSet<i64> = part.without_uid.iter().chain(&ids).copied().collect();
            let open: Vec<i64> = open.into_iter().collect();
            part.raw = raw_rows(ctx, snapshot, part.table.source, &open).await?;
            if !ids.is_empty() {
                audited(ctx, snapshot, part, &ids).await?;
            }
            let wanted = part.read.iter().filter(|(_, row)| row.outcome == MIGRATED);
            part.wanted = wanted.map(|(id, row)| (*id, row.clone())).collect();
        }
        Ok(())
    }

    /// Reads the migrated rows of users whose uid may be another one now; those whose uid is are wanted.
    pub async fn read_dependents(
        &mut self,
        ctx: &Ctx,
        snapshot: &SnapshotInfo,
        export: &Export,
        mapping: &Mapping,
    ) -> Result<()> {
        let uids = mapping.uids_to_follow();
        for part in &mut self.tables {
            let (Some(column), false) = (part.user_column(), uids.is_empty()) else { continue };
            let rows = rows_of(ctx, snapshot, part.table, export).await?;
            let copy = rows.copy_only(snapshot.hash, Only::Column(column, &uids));
            let (_, mut found) = copied(ctx, snapshot, &copy).await?;
            found.retain(|id, row| row.outcome == MIGRATED && !part.quarantined.contains_key(id));
            let last = last_written(ctx, export, part.table, found.keys().copied().collect())?;
            for (id, row) in found {
                // One without is newer than the run.
                let Some(before) = last.get(&id) else { continue };
                if part.value(&row.csv, column) != part.value(before, column) {
                    part.last.insert(id, before.clone());
                    part.wanted.insert(id, row);
                }
            }
        }
        Ok(())
    }
}

/// The ids in a table's quarantine, each with its reason.
fn quarantine(ctx: &Ctx, export: &Export, table: &Table) -> Result<BTreeMap<i64, String>> {
    let file = format!("quarantine/{}.csv", table.name);
    let mut quarantined = BTreeMap::new();
    if !export.files.contains_key(&file) {
        return Ok(quarantined);
    }
    let mut reader = csv::Reader::from_reader(ctx.run.read(&file)?);
    let headers = reader.headers().with_context(|| format!("reading {file}"))?.clone();
    let column = |name: &str| {
        let found = headers.iter().position(|h| h == name);
        found.with_context(|| format!("{file} has no column {name}"))
    };
    let (id, reason) = (column("id")?, column("quarantine_reason")?);
    for record in reader.records() {
        let record = record.with_context(|| format!("reading {file}"))?;
        let number = record[id].parse().with_context(|| format!("in {file}: id {:?}", &record[id]))?;
        quarantined.insert(number, record[reason].to_string());
    }
    Ok(quarantined)
}

/// The way to a table's rows, which must be the one that the export went.
async fn rows_of(ctx: &Ctx, snapshot: &SnapshotInfo, table: &Table, export: &Export) -> Result<Rows> {
    let mut connection = worker(ctx, snapshot, "replay").await?;
    let rows = source::rows::of(ctx, &mut connection, &snapshot.reading, (table, export)).await?;
    connection.close().await?;
    Ok(rows)
}

/// The header of the export's file, and the rows by id.
async fn copied(ctx: &Ctx, snapshot: &SnapshotInfo, copy: &str) -> Result<(Vec<u8>, BTreeMap<i64, Row>)> {
    let mut rows = BTreeMap::new();
    let take = |id, row| {
        let before = rows.insert(id, row);
        ensure!(before.is_none(), "the SELECT gives the row with id {id} more than once");
        Ok(())
    };
    let header = source::rows::read(worker(ctx, snapshot, "replay").await?, copy, take).await?.0;
    Ok((header, rows))
}

/// The rules told a second time must agree (DESIGN rule 2).
async fn audited(ctx: &Ctx, snapshot: &SnapshotInfo, part: &Part, ids: &[i64]) -> Result<()> {
    let mut connection = worker(ctx, snapshot, "replay").await?;
    let told = part.read.iter().map(|(id, row)| (*id, row.outcome.as_str())).collect();
    source::rows::audited(ctx, &mut connection, &snapshot.reading, part.table, ids, told).await?;
    connection.close().await
}

/// What this run last wrote of these rows.
fn last_written(
    ctx: &Ctx,
    export: &Export,
    table: &Table,
    ids: BTreeSet<i64>,
) -> Result<BTreeMap<i64, Vec<u8>>> {
    let mut found = BTreeMap::new();
    overlay::each_row(&ctx.run, export, &table.file(), |id, row| {
        if ids.contains(&id) {
            found.insert(id, row.to_vec());
        }
    })?;
    Ok(found)
}

/// Which uid users have, and the outcomes of their documents: `id,firebase_uid,outcome`.
#[derive(Default)]
pub(super) struct Mapping {
    header: Vec<u8>,
    /// Rows that take the place of the run's.
    pub changed: BTreeMap<i64, Vec<u8>>,
    /// The outcomes of the users with each uid that is asked for, with the changes.
    outcomes: BTreeMap<String, Vec<(i64, String)>>,
    /// The uids that earlier replays brought.
    earlier: BTreeSet<String>,
    /// Users that the run does not know, with the uids that they have.
    newer: BTreeMap<i64, String>,
}

impl Mapping {
    /// The users in quarantine, and those whom wanted rows name.
    pub async fn read(ctx: &Ctx, snapshot: &SnapshotInfo, export: &Export, batch: &Batch) -> Result<Mapping> {
        let in_quarantine = batch.part(USERS).map(|part| part.quarantined.clone()).unwrap_or_default();
        let users: Vec<i64> = in_quarantine.keys().copied().collect();
        let earlier = earlier_uids(ctx, export)?;
        let uids: BTreeSet<String> = named_uids(batch).union(&earlier).cloned().collect();
        let select =
            sql::expand(ctx.tables, sql_file!("phases/3-transform/user_id_mapping.sql"), &snapshot.reading)?;
        let mut mapping = Mapping { earlier, ..Mapping::default() };
        let mut now: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
        let take = |line: &[u8]| {
            if mapping.header.is_empty() {
                mapping.header = line.to_vec();
            } else {
                now.insert(overlay::id_of(line, "the mapping")?, line.to_vec());
            }
            Ok(())
        };
        let copy = sql::copy_mapping(&select, &users, &uids.iter().cloned().collect::<Vec<_>>());
        worker(ctx, snapshot, "replay").await?.copy_rows(&copy, take).await?;

        let mut known = BTreeMap::new();
        overlay::each_row(&ctx.run, export, tables::MAPPING, |id, row| {
            let ours = now.contains_key(&id) || overlay::uid_of(row).is_some_and(|uid| uids.contains(&uid));
            if ours {
                known.insert(id, row.to_vec());
            }
        })?;
        for (id, row) in now {
            match known.get(&id) {
                None => {
                    mapping.newer.insert(id, overlay::uid_of(&row).unwrap_or_default());
                }
                // The outcome of users who were never in quarantine is as it was at the run's snapshot.
                Some(before)
                    if overlay::uid_of(before) == overlay::uid_of(&row)
                        && !in_quarantine.contains_key(&id) => {}
                Some(before) if *before == row => {}
                Some(_) => {
                    known.insert(id, row.clone());
                    mapping.changed.insert(id, row);
                }
            }
        }
        for (id, row) in &known {
            if let Some(uid) = overlay::uid_of(row) {
                mapping.outcomes.entry(uid).or_default().push((*id, outcome_of(row)));
            }
        }
        Ok(mapping)
    }

    /// The outcomes of the users who carry a uid; empty: the run knows none.
    pub fn outcomes(&self, uid: &str) -> &[(i64, String)] {
        self.outcomes.get(uid).map(Vec::as_slice).unwrap_or_default()
    }

    /// A user that the run does not know, by its uid.
    pub fn newer(&self, uid: &str) -> Option<i64> {
        self.newer.iter().find(|(_, u)| *u == uid).map(|(id, _)| *id)
    }

    pub fn csv(&self) -> Vec<u8> {
        overlay::csv(&self.header, self.changed.values())
    }

    /// The uids of users who changed in this replay or an earlier one: rows that refer to them may have
    /// been held up then.
    fn uids_to_follow(&self) -> Vec<String> {
        let changed = self.changed.values().filter_map(|row| overlay::uid_of(row));
        changed.chain(self.earlier.iter().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// The uids that earlier replays brought.
fn earlier_uids(ctx: &Ctx, export: &Export) -> Result<BTreeSet<String>> {
    let mut uids = BTreeSet::new();
    for file in export.replays_of(tables::MAPPING) {
        let rows = overlay::replayed(&ctx.run, export, &file)?;
        uids.extend(rows.values().filter_map(|row| overlay::uid_of(row)));
    }
    Ok(uids)
}

/// The uids that wanted rows name.
fn named_uids(batch: &Batch) -> BTreeSet<String> {
    let mut uids = BTreeSet::new();
    for part in &batch.tables {
        uids.extend(part.wanted.values().filter_map(|row| part.value(&row.csv, USER_UID)));
    }
    uids
}

fn outcome_of(mapping: &[u8]) -> String {
    let outcome = fields(mapping).into_iter().nth(2).flatten();
    outcome.map(|o| String::from_utf8_lossy(&o).into_owned()).unwrap_or_default()
}
