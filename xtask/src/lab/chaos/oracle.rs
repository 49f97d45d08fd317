//! How a run has ended that was cut: what it left in all four stores, in its directory and on the servers,
//! beside what an undisturbed run leaves.

use crate::effects::postgres::{self, Connection};
use crate::effects::wait::{self, Patience, State};
use crate::lab::chaos::point::{Point, points};
use crate::lab::compare;
use crate::model::{Database, MIGRATED};
use crate::operations::report;
use crate::phases::p1_backup;
use crate::run::dir;
use crate::run::manifest::{Export, Manifest, Proof, Sequence};
use crate::settings::Settings;
use crate::steps::Event;
use crate::tables::{self, TABLES};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use datapath::document::{Layout, NullPolicy};
use datapath::firestore::Fields;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Duration;

/// Until the last session of a run that has ended is gone from a server.
const GRACE: Patience = Patience { deadline: Duration::from_secs(5), interval: Duration::from_millis(20) };

/// Every document, by `collection/id`.
pub type Documents = BTreeMap<String, Fields>;

/// The undisturbed run.
pub struct Undisturbed {
    /// Every step of its journal.
    pub steps: BTreeSet<Point>,
    pub export: Export,
    pub documents: Documents,
    /// How long it took.
    pub length: Duration,
}

impl Undisturbed {
    /// What a run has left that has just ended.
    pub async fn read(settings: &Settings, run: &Path, length: Duration) -> Result<Undisturbed> {
        let told = dir::load_journal(run)?.commands.pop().context("its journal is empty")?;
        let steps = points(&told).map(|(point, _)| point).collect();
        let export = dir::load_manifest(run)?.export.context("the undisturbed run has no export")?;
        Ok(Undisturbed { steps, export, documents: compare::documents(settings).await?, length })
    }
}

/// A line for each difference between what a run that is done has left and what it should have.
///
/// With a quiet source that is what the undisturbed run left. With a busy one it is what its own snapshot
/// held: the digests that were taken in it, and the files that were exported from it.
pub async fn differences(
    settings: &Settings,
    run: &Path,
    undisturbed: Option<&Undisturbed>,
) -> Result<Vec<String>> {
    let manifest = dir::load_manifest(run)?;
    let own = manifest.export.as_ref().context("a run that is done has no export")?;
    let export = undisturbed.map_or(own, |u| &u.export);
    let mut lines = compare::databases(settings, export).await?;
    lines.extend(sequences(settings, export).await?);
    let found = compare::documents(settings).await?;
    let (from_files, expected);
    match undisturbed {
        None => {
            from_files = documents_of(run, settings.policy.null_policy)?;
            expected = &from_files;
        }
        Some(undisturbed) => {
            lines.extend(books(&undisturbed.export, own));
            expected = &undisturbed.documents;
        }
    }
    let ids: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    let differ = ids.into_iter().filter(|id| found.get(*id) != expected.get(*id));
    lines.extend(differ.map(|id| format!("document {id} differs")));
    if !manifest.proof.as_ref().is_some_and(Proof::is_green) {
        lines.push("the manifest has no green proof".into());
    }
    lines.extend(left_in_directory(run, &manifest)?);
    lines.extend(left_on_servers(settings).await?);
    Ok(lines)
}

/// Which ids the next rows get.
async fn sequences(settings: &Settings, export: &Export) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for database in Database::ALL {
        let mut connection = postgres::connect(settings.target(database), "chaos").await?;
        for table in tables::of_database(TABLES, database) {
            let expected = export.tables.get(table.name).map(|t| t.sequence.next());
            let query = sql::bind(sql_file!("phases/5-verify/sequence.sql"), &[("table", table.name)]);
            let name: String = connection.row(&query).await?.try_get("sequence")?;
            let found = Sequence::read(&mut connection, &name).await?.next();
            if Some(found) != expected {
                lines.push(format!("{}: the next id is {found}, expected {expected:?}", table.name));
            }
        }
        connection.close().await?;
    }
    Ok(lines)
}

/// What the two say became of every row, and their files.
fn books(expected: &Export, found: &Export) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, table) in &expected.tables {
        let same = found.tables.get(name).is_some_and(|other| {
            other.outcomes == table.outcomes
                && other.source_rows == table.source_rows
                && other.content == table.content
                && other.sequence == table.sequence
        });
        if !same {
            lines.push(format!("{name}: another ledger"));
        }
    }
    let names: BTreeSet<&String> = expected.files.keys().chain(found.files.keys()).collect();
    let differ = names.into_iter().filter(|name| expected.files.get(*name) != found.files.get(*name));
    lines.extend(differ.map(|name| format!("{name}: another file")));
    lines
}

/// The documents that the files of a run become.
fn documents_of(run: &Path, null_policy: NullPolicy) -> Result<Documents> {
    let mut documents = Documents::new();
    for table in TABLES {
        let Some(collection) = table.collection() else { continue };
        let path = run.join(table.file());
        let mut reader = csv::Reader::from_path(&path).with_context(|| path.display().to_string())?;
        let header = reader.headers().with_context(|| path.display().to_string())?.clone();
        let mut layout = Layout::new(&header, collection, null_policy)?;
        for record in reader.records() {
            let document = layout.document(&record.with_context(|| path.display().to_string())?)?;
            let fields = document.fields.into_iter().map(|(name, value)| (name.to_string(), value));
            documents.insert(format!("{}/{}", collection.name, document.id), fields.collect());
        }
    }
    Ok(documents)
}

/// Files that no manifest knows, and a command that did not come to its end.
fn left_in_directory(run: &Path, manifest: &Manifest) -> Result<Vec<String>> {
    let own = [dir::MANIFEST, dir::JOURNAL].map(String::from);
    let of_backup = manifest.backup.iter().flat_map(|backup| backup.files.keys().cloned());
    let of_export = manifest.export.iter().flat_map(|export| export.files.keys().cloned());
    let known: BTreeSet<String> = own.into_iter().chain(of_backup).chain(of_export).collect();
    let mut there = files_under(run, "")?;
    // Written once a command has come to its end, and again by the next one.
    there.retain(|name| !report::FILES.contains(&name.as_str()));
    let mut lines: Vec<String> =
        there.difference(&known).map(|name| format!("{name} is in the run's directory")).collect();
    lines.extend(known.difference(&there).map(|name| format!("{name} is not in the run's directory")));
    let last = dir::load_journal(run)?.commands.pop();
    if last.as_ref().is_none_or(|command| command.whole.event != Event::Done) {
        lines.push(format!("the journal does not say that it is done: {last:?}"));
    }
    Ok(lines)
}

/// The names of all files, with their folders.
fn files_under(folder: &Path, name: &str) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let context = || format!("reading {}", folder.display());
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = format!("{name}{}", entry.file_name().to_string_lossy());
        match entry.file_type().with_context(context)?.is_dir() {
            true => files.extend(files_under(&entry.path(), &format!("{name}/"))?),
            false => drop(files.insert(name)),
        }
    }
    Ok(files)
}

/// Staging schemas, and sessions of a run, that still stand there.
pub(super) async fn left_on_servers(settings: &Settings) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for database in Database::ALL {
        let mut connection = postgres::connect(settings.target(database), "chaos").await?;
        for row in connection.rows(sql_file!("chaos/leftovers.sql").text).await? {
            lines.push(format!("{database}: {} is left over", row.try_get::<String, _>(0)?));
        }
        lines.extend(left_sessions(&mut connection, database.name()).await?);
        connection.close().await?;
    }
    let mut connection = postgres::connect(&settings.source, "chaos").await?;
    lines.extend(left_sessions(&mut connection, "source").await?);
    connection.close().await?;
    Ok(lines)
}

async fn left_sessions(connection: &mut Connection, server: &str) -> Result<Vec<String>> {
    let gone = wait::until(GRACE, async || {
        let rows = connection.rows(sql_file!("chaos/sessions.sql").text).await?;
        Ok(if rows.is_empty() { State::Ready(()) } else { State::NotYet(rows) })
    });
    let State::NotYet(left) = gone.await? else { return Ok(Vec::new()) };
    let line = |row: &sqlx::postgres::PgRow| {
        let name: String = row.try_get("name")?;
        Ok(format!("{server}: the session `{name}` is left over"))
    };
    left.iter().map(line).collect()
}

/// Where the books of a run do not add up: rows of the dump that are not in the ledger, rows of the ledger
/// without an outcome, outcomes without a row. A line each.
pub fn gaps(run: &Path) -> Result<Vec<String>> {
    let manifest = dir::load_manifest(run)?;
    let export = manifest.export.as_ref().context("a run that is done has no export")?;
    let dumped = dumped_rows(&run.join(p1_backup::PLAIN))?;
    let mut lines = Vec::new();
    for table in TABLES {
        let Some(record) = export.tables.get(table.name) else {
            lines.push(format!("{}: not in the manifest", table.name));
            continue;
        };
        let rows = record.source_rows;
        let dumped = dumped.get(table.source).copied().unwrap_or_default();
        let outcomes: u64 = record.outcomes.rows.values().sum();
        let migrated = record.outcomes.rows.get(MIGRATED).copied().unwrap_or_default();
        let in_file = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
        if dumped != rows || outcomes != rows || in_file != migrated {
            lines.push(format!(
                "{}: {dumped} rows in the dump, {rows} in the ledger, {outcomes} outcomes, {migrated} of them \
                 migrated, {in_file} rows in the file",
                table.name
            ));
        }
    }
    Ok(lines)
}

/// The rows of every table of `public` in a plain dump, in which each has a line of its own.
fn dumped_rows(dump: &Path) -> Result<BTreeMap<String, u64>> {
    let context = || format!("reading {}", dump.display());
    let mut rows = BTreeMap::new();
    let mut table: Option<String> = None;
    for line in BufReader::new(File::open(dump).with_context(context)?).split(b'\n') {
        let line = line.with_context(context)?;
        if let Some(name) = &table {
            match &line[..] {
                b"\\." => table = None,
                _ => *rows.entry(name.clone()).or_default() += 1,
            }
        } else if let Some(rest) = line.strip_prefix(b"COPY public.") {
            let name: Vec<u8> = rest.iter().copied().take_while(|byte| *byte != b' ').collect();
            table = Some(String::from_utf8(name).with_context(context)?);
        }
    }
    Ok(rows)
}
