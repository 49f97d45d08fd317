//! What a table or collection has received since the run wrote it: every key that is not what it was, with the row as
//! the run wrote it and as it is now. Told by row versions and update times where those can be trusted, else by
//! digests of ranges; what is told is compared with the run's files in any case.

use super::documents;
use super::going::Going;
use super::received::Delta;
use super::summary::{BackPart, DeltaCounts, Seconds};
use crate::changes::{self, Key};
use crate::model::{Column, Database};
use crate::remembered::TableThen;
use crate::run::ctx::Ctx;
use crate::run::join;
use crate::run::manifest::{Cutover, Export, TableExport};
use crate::run::overlay::{self, RowsById};
use crate::sql::{self, BUCKET};
use crate::stores::{remembering, rows};
use crate::tables::{Home, Table};
use anyhow::{Context, Result};
use datapath::csv_text::{self, field};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

/// Looks at all tables and collections that go back, the databases at once.
pub async fn all(ctx: &Arc<Ctx>, going: &Going, seconds: &mut Seconds) -> Result<Vec<Delta>> {
    let tables: Vec<&'static Table> = going.tables(ctx).collect();
    let looks = Database::ALL.map(|database| {
        let of_database = tables.iter().copied().filter(move |table| table.database() == Some(database));
        several(ctx.clone(), going, of_database.collect())
    });
    let looked = seconds.of(BackPart::Databases, join::all(looks)).await?;
    let mut deltas: Vec<Delta> = looked.into_iter().flatten().collect();
    let documents = tables.iter().copied().filter(|table| table.collection().is_some());
    deltas.extend(seconds.of(BackPart::Collections, several(ctx.clone(), going, documents.collect())).await?);
    let place = |delta: &Delta| tables.iter().position(|table| table.name == delta.table.name);
    deltas.sort_by_key(place);
    Ok(deltas)
}

/// One after the other.
fn several(
    ctx: Arc<Ctx>,
    going: &Going,
    tables: Vec<&'static Table>,
) -> impl Future<Output = Result<Vec<Delta>>> + Send + 'static {
    let (export, cutover) = (going.export.clone(), going.cutover.clone());
    async move {
        let mut deltas = Vec::new();
        for table in tables {
            deltas.push(of(&ctx, &export, &cutover, table).await?);
        }
        Ok(deltas)
    }
}

/// Looks at one table or collection as it is now.
async fn of(ctx: &Arc<Ctx>, export: &Export, cutover: &Cutover, table: &'static Table) -> Result<Delta> {
    let record = export.tables.get(table.name).context("the run does not know this table")?;
    let looked = match &table.home {
        Home::Firestore(collection) => {
            let then = cutover.firestore.get(collection.name).copied();
            documents::delta(ctx, export, record, (table, collection), then).await
        }
        Home::Postgres(database) => {
            of_rows(ctx, export, record, (table, *database), cutover.remembered.get(table.name)).await
        }
    };
    looked.with_context(|| format!("looking at what {} has received", table.name))
}

/// Which rows may be others than the run wrote.
enum Candidates {
    Ids(BTreeSet<i64>),
    /// All of these ranges of ids.
    Buckets(Vec<i64>),
}

impl Candidates {
    /// Those of these ids.
    fn among(&self, ids: Vec<i64>) -> Vec<i64> {
        let is_one = |id: &i64| match self {
            Candidates::Ids(candidates) => candidates.contains(id),
            Candidates::Buckets(buckets) => buckets.contains(&(id / BUCKET)),
        };
        ids.into_iter().filter(is_one).collect()
    }

    fn condition(&self) -> String {
        match self {
            Candidates::Ids(ids) => sql::of_ids(&ids.iter().copied().collect::<Vec<_>>()),
            Candidates::Buckets(buckets) => sql::of_buckets(buckets),
        }
    }
}

async fn of_rows(
    ctx: &Ctx,
    export: &Export,
    record: &TableExport,
    (table, database): (&'static Table, Database),
    then: Option<&TableThen>,
) -> Result<Delta> {
    let mut delta = Delta::new(table, record);
    let mut file = OnceLock::new();
    let Some(candidates) = candidates(ctx, export, record, (table, database), (then, &file)).await? else {
        return Ok(delta);
    };
    rows_of(&file, ctx, export, table)?;
    let mut base: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    if let Some(file) = file.get_mut() {
        for id in candidates.among(file.ids()) {
            base.extend(file.row(id)?.map(|row| (id, row)));
        }
    }
    let proven = proven_columns(table, record);
    let copy = sql::copy_theirs(
        table,
        &record.target_columns,
        &proven,
        export.snapshot.hash,
        &candidates.condition(),
    );
    let (mut header, mut unchanged) = (true, BTreeSet::new());
    let file_only = table.file_only.len();
    let take = |line: &[u8]| {
        if std::mem::take(&mut header) {
            return Ok(());
        }
        let (hash, row) = field(line);
        let id = csv_text::id(row).context("a row without an id")?;
        let before = base.get(&id);
        if before.is_some_and(|before| same(before, row, record, file_only)) {
            unchanged.insert(id);
            return Ok(());
        }
        let hash: i64 = std::str::from_utf8(&hash)?.parse().context("a row without its hash")?;
        delta.hashes.insert(id.to_string(), hash);
        delta.counts.count_row(table, record, row, before.is_none());
        delta.theirs.extend(padded(row, file_only));
        Ok(())
    };
    ctx.target(database, "rollback").await?.copy_rows(&copy, take).await?;
    for (id, row) in base.iter().filter(|(id, _)| !unchanged.contains(id)) {
        delta.counts.deleted += u64::from(!delta.hashes.contains_key(&id.to_string()));
        delta.base.extend_from_slice(row);
    }
    Ok(delta)
}

/// The columns that say something of their own: what the run assumed is not in the old database.
pub fn proven_columns(table: &Table, record: &TableExport) -> Vec<Column> {
    let assumed = |column: &&Column| table.assumed.iter().any(|(name, _)| *name == column.name);
    record.target_columns.iter().filter(|column| !assumed(column)).cloned().collect()
}

/// Whether a row of the file and one of the target are the same. The columns that stay in the file come last.
fn same(file: &[u8], target: &[u8], record: &TableExport, file_only: usize) -> bool {
    if file_only == 0 {
        return file == target;
    }
    let (file, target) = (csv_text::fields(file), csv_text::fields(target));
    let index = |column: &Column| record.columns.iter().position(|c| c.name == column.name);
    let value = |column| index(column).and_then(|at| file.get(at).cloned()).flatten();
    record.target_columns.iter().zip(target).all(|(column, found)| value(column) == found)
}

/// A row of the target with NULL for the columns that it does not have.
fn padded(row: &[u8], file_only: usize) -> Vec<u8> {
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    let mut out = row.to_vec();
    out.extend(std::iter::repeat_n(b',', file_only));
    out.push(b'\n');
    out
}

impl DeltaCounts {
    fn count_row(&mut self, table: &Table, record: &TableExport, row: &[u8], is_new: bool) {
        match is_new {
            true => self.added += 1,
            false => self.changed += 1,
        }
        if table.assumed.is_empty() {
            return;
        }
        let fields = csv_text::fields(row);
        for (name, assumed) in table.assumed {
            let at = record.target_columns.iter().position(|c| c.name == *name);
            let value = at.and_then(|at| fields.get(at).cloned()).flatten();
            if value.as_deref() != Some(assumed.as_bytes()) {
                *self.without_a_place.entry(name.to_string()).or_default() += 1;
            }
        }
    }
}

/// `None`: nothing has changed.
async fn candidates(
    ctx: &Ctx,
    export: &Export,
    record: &TableExport,
    (table, database): (&'static Table, Database),
    (then, file): (Option<&TableThen>, &OnceLock<RowsById>),
) -> Result<Option<Candidates>> {
    let mut connection = ctx.looking(database, "rollback").await?;
    if let Some(then) = then.filter(|then| then.content == record.content.total()) {
        let place = remembering::place(table.name);
        changes::begin(&mut connection, place).await?;
        let (ids, mut changed) = (OnceLock::new(), BTreeSet::new());
        let of_range = |first: i64, last: i64| {
            let ids = match ids.get() {
                Some(ids) => ids,
                None => {
                    let of_file = rows_of(file, ctx, export, table)?.ids();
                    ids.get_or_init(|| of_file)
                }
            };
            let from = ids.partition_point(|id| *id < first);
            let to = ids.partition_point(|id| *id <= last);
            Ok(ids[from..to].to_vec())
        };
        let tell = |key: Key| {
            let (Key::Written(id) | Key::Deleted(id)) = key;
            changed.insert(id);
            Ok(())
        };
        let told = changes::changed_keys(&mut connection, place, then, None, of_range, tell).await?;
        let told = told.map(|_| Some(Candidates::Ids(changed)));
        connection.run("COMMIT").await?;
        match told {
            Ok(candidates) => {
                connection.close().await?;
                return Ok(candidates.filter(|candidates| !candidates.is_empty()));
            }
            Err(why) => ctx.terminal.detail(format!("{} is digested: {why}", table.name)),
        }
    }
    let hash = export.snapshot.hash;
    let found = rows::content(&mut connection, "public", table.name, &record.target_columns, hash).await?;
    connection.close().await?;
    let both: BTreeSet<i64> = found.buckets.keys().chain(record.content.buckets.keys()).copied().collect();
    let differ =
        both.into_iter().filter(|bucket| found.buckets.get(bucket) != record.content.buckets.get(bucket));
    let differ: Vec<i64> = differ.collect();
    Ok(Some(Candidates::Buckets(differ)).filter(|candidates| !candidates.is_empty()))
}

impl Candidates {
    fn is_empty(&self) -> bool {
        match self {
            Candidates::Ids(ids) => ids.is_empty(),
            Candidates::Buckets(buckets) => buckets.is_empty(),
        }
    }
}

/// The table's file, read once where it is wanted.
fn rows_of<'f>(
    file: &'f OnceLock<RowsById>,
    ctx: &Ctx,
    export: &Export,
    table: &Table,
) -> Result<&'f RowsById> {
    if let Some(rows) = file.get() {
        return Ok(rows);
    }
    let rows = overlay::by_id(&ctx.run, export, &table.file())?;
    Ok(file.get_or_init(|| rows))
}
