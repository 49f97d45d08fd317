//! What a pass is going to do, on disk before a store is written: a pass that is cut off is completed from it,
//! as an import is from an export's files.

use super::held::{Turned, mapping_of, outcome_word};
use super::reading::{Seen, TableTurned};
use crate::model::{MIGRATED, Stop};
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Export, Pass, Replay, TableReplay, TurnedRows};
use crate::run::overlay::{self, csv};
use crate::sql::BUCKET;
use crate::stores::documents;
use crate::tables::{MAPPING, Table, USERS};
use anyhow::{Context, Result};
use datapath::digest::{Content, Digest};
use datapath::sorting::{OUTCOMES_HEADER, notes_of, outcomes_of};
use std::collections::BTreeMap;

/// The rows of one table that a store gets, loses or has otherwise.
pub struct PlannedTable {
    pub table: &'static Table,
    pub header: Vec<u8>,
    /// As the store is to hold them.
    pub wanted: BTreeMap<i64, Vec<u8>>,
    /// As the run wrote them last: those of `wanted` that were there, and those that go.
    pub last: BTreeMap<i64, Vec<u8>>,
    /// What the store must hold of `wanted`.
    pub come: Content,
}

/// One pass.
pub struct Plan {
    /// Among all that was brought in after the export.
    pub number: usize,
    /// Those in which something changes, in load order.
    pub tables: Vec<PlannedTable>,
    /// The export without the pass: what the stores held before.
    pub before: Export,
}

/// By collection and field.
#[derive(Debug, Default)]
pub struct Defaults(BTreeMap<&'static str, BTreeMap<String, i64>>);

impl Defaults {
    pub fn turn(&self, counted: &mut BTreeMap<String, BTreeMap<String, u64>>) {
        for (collection, fields) in &self.0 {
            let counted = counted.entry(collection.to_string()).or_default();
            for (field, turned) in fields {
                let count = counted.entry(field.clone()).or_default();
                *count = count.saturating_add_signed(*turned);
            }
            counted.retain(|_, count| *count > 0);
        }
    }
}

impl PlannedTable {
    /// Rows as a file like the export's.
    pub fn csv(&self, rows: &BTreeMap<i64, Vec<u8>>) -> Vec<u8> {
        csv(&self.header, rows.values())
    }

    fn of(turned: &TableTurned) -> PlannedTable {
        let mut come = Content::default();
        let (mut wanted, mut last) = (BTreeMap::new(), BTreeMap::new());
        for (id, row) in &turned.rows {
            if let Some(now) = row.wanted() {
                let digest = Digest { rows: 1, sum: i128::from(now.hash) };
                come.buckets.entry(id / BUCKET).or_default().add(digest);
                wanted.insert(*id, now.csv.clone());
            }
            last.extend(row.last().map(|csv| (*id, csv.clone())));
        }
        PlannedTable { table: turned.table, header: turned.header.clone(), wanted, last, come }
    }

    fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.last.is_empty()
    }
}

impl Plan {
    pub fn of(seen: &Seen, before: &Export) -> Plan {
        let tables = seen.tables.iter().map(PlannedTable::of).filter(|planned| !planned.is_empty());
        Plan { number: before.replays.len() + 1, tables: tables.collect(), before: before.clone() }
    }

    /// The plan of a pass that was cut off, from its files.
    pub fn cut_off(ctx: &Ctx, export: &Export) -> Result<Plan> {
        let mut before = export.clone();
        let replay = before.replays.pop().context("there is no pass")?;
        for (name, turned) in &replay.tables {
            let record = before.tables.get_mut(name).with_context(|| format!("no table {name}"))?;
            record.content.remove(&turned.come);
            record.content.add(&turned.gone);
        }
        let number = export.replays.len();
        let mut tables = Vec::new();
        for table in ctx.tables {
            let outcomes = replay.file(number, &outcomes_of(table.name));
            if !export.files.contains_key(&outcomes) {
                continue;
            }
            let outcomes = overlay::outcomes_in(&ctx.run, export, &outcomes)?;
            let file = replay.file(number, &table.file());
            let wanted = match export.files.contains_key(&file) {
                true => overlay::replayed(&ctx.run, export, &file)?,
                false => BTreeMap::new(),
            };
            let (mut rows, mut last) = (overlay::by_id(&ctx.run, &before, &table.file())?, BTreeMap::new());
            for id in outcomes.keys() {
                last.extend(rows.row(*id)?.map(|row| (*id, row)));
            }
            let come = replay.tables.get(table.name).map(|t| t.come.clone()).unwrap_or_default();
            let header = overlay::header(&ctx.run, &table.file())?;
            tables.push(PlannedTable { table, header, wanted, last, come });
        }
        tables.retain(|planned| !planned.is_empty());
        Ok(Plan { number, tables, before })
    }

    /// How much oftener each collection's fields take their defaults for NULL.
    pub fn defaults(&self, ctx: &Ctx) -> Result<Defaults> {
        let mut turned = Defaults::default();
        for planned in self.tables.iter().filter(|planned| planned.table.collection().is_some()) {
            let counts = turned.0.entry(planned.table.name).or_default();
            for (rows, sign) in [(&planned.wanted, 1), (&planned.last, -1)] {
                for (field, n) in documents::defaults_of(ctx, planned.table, &planned.csv(rows))? {
                    *counts.entry(field).or_default() += sign * i64::try_from(n)?;
                }
            }
        }
        Ok(turned)
    }

    /// Writes the pass down: its files, and in the export that it returns what the stores must hold then.
    /// `gone`: by table, what they must not hold any more.
    pub fn written(&self, ctx: &Ctx, seen: &Seen, mut gone: BTreeMap<&str, Content>) -> Result<Export> {
        let mut export = self.before.clone();
        let mut pass = Pass::default();
        let mut replay = Replay {
            at: dir::now(),
            snapshot: seen.snapshot.clone(),
            tables: BTreeMap::new(),
            source: BTreeMap::new(),
            pass: Some(Pass::default()),
        };
        for turned in seen.tables.iter().filter(|turned| !turned.rows.is_empty()) {
            let name = turned.table.name;
            let record = export.tables.get_mut(name).with_context(|| format!("no table {name}"))?;
            for row in turned.rows.values() {
                record.outcomes.turn(row.outcome_then(), row.outcome_now());
                record.source_rows += u64::from(row.then.is_none());
                record.source_rows -= u64::from(row.now.is_none());
                record.notes += u64::from(row.note().is_some());
                record.notes -= u64::from(row.was_noted());
            }
            let planned = self.tables.iter().find(|planned| planned.table.name == name);
            let come = planned.map(|planned| planned.come.clone()).unwrap_or_default();
            let entry =
                TableReplay { gone: gone.remove(name).unwrap_or_default(), come, ..TableReplay::default() };
            record.content.remove(&entry.gone);
            record.content.add(&entry.come);
            agrees(name, record.content.total().rows, record.outcomes.sums().migrated)?;
            replay.tables.insert(name.to_string(), entry);
            pass.tables.insert(name.to_string(), turned_rows(turned.rows.values()));
            self.files(ctx, &mut export, &replay, turned)?;
        }
        replay.pass = Some(pass);
        export.replays.push(replay);
        Ok(export)
    }

    fn files(&self, ctx: &Ctx, export: &mut Export, replay: &Replay, turned: &TableTurned) -> Result<()> {
        let name = turned.table.name;
        let mut write = |file: &str, csv: Vec<u8>, rows: usize| {
            let file = replay.file(self.number, file);
            let mut writing = ctx.run.create_file(&file)?;
            writing.write(&csv)?;
            export.files.insert(file, writing.finish(Some(rows as u64))?);
            anyhow::Ok(())
        };
        let outcome = |(id, row): (&i64, &Turned)| format!("{id},{}\n", outcome_word(row)).into_bytes();
        let outcomes: Vec<Vec<u8>> = turned.rows.iter().map(outcome).collect();
        write(&outcomes_of(name), csv(OUTCOMES_HEADER, outcomes.iter()), outcomes.len())?;
        let planned = self.tables.iter().find(|planned| planned.table.name == name);
        if let Some(planned) = planned.filter(|planned| !planned.wanted.is_empty()) {
            write(&turned.table.file(), planned.csv(&planned.wanted), planned.wanted.len())?;
        }
        let note = |(id, row): (&i64, &Turned)| {
            Some(format!("{id},\"{}\"\n", row.note()?.replace('"', "\"\"")).into_bytes())
        };
        let notes: Vec<Vec<u8>> = turned.rows.iter().filter_map(note).collect();
        if !notes.is_empty() {
            write(&notes_of(name), csv(b"id,note\n", notes.iter()), notes.len())?;
        }
        if !turned.quarantine.is_empty() {
            let rows = turned.rows.values().filter(|row| row.quarantined().is_some()).count();
            write(&format!("quarantine/{name}.csv"), turned.quarantine.clone(), rows)?;
        }
        let mapping = if name == USERS { mapping_of(&turned.rows) } else { BTreeMap::new() };
        if !mapping.is_empty() {
            write(MAPPING, csv(b"id,firebase_uid,outcome\n", mapping.values()), mapping.len())?;
        }
        Ok(())
    }
}

/// The ledger and the digest speak of as many rows.
fn agrees(table: &str, content: u64, migrated: u64) -> Result<()> {
    if content != migrated {
        let what = format!(
            "the ledger does not add up: {migrated} rows of {table} are migrated, the digest is of {content}. Nothing \
             has been changed"
        );
        return Err(Stop::Differs(what).into());
    }
    Ok(())
}

fn turned_rows<'a>(rows: impl Iterator<Item = &'a Turned>) -> TurnedRows {
    let mut counts = TurnedRows::default();
    for row in rows {
        let count = match (row.last().is_some(), row.outcome_now()) {
            (false, Some(MIGRATED)) => &mut counts.inserted,
            (true, Some(MIGRATED)) => &mut counts.updated,
            (true, _) => &mut counts.deleted,
            (false, _) => &mut counts.elsewhere,
        };
        *count += 1;
    }
    counts
}
