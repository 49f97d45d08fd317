//! Phase 5, verify: what every store holds against what the snapshot held. A mismatch is a finding,
//! collected and reported with the others; an error is when we could not look. Changes nothing.

use super::p1_backup::damaged_files;
use super::{p2_export, p3_transform, p4_import, staging};
use crate::ctx::Ctx;
use crate::digest::{Content, Digest, HashFn};
use crate::document::{self, Document};
use crate::effects::firestore::Firestore;
use crate::effects::postgres::Connection;
use crate::manifest::{Check, Export, Manifest, Proof, TableExport, TableProof};
use crate::model::{Collection, Column, Database, grouped};
use crate::tables::{self, Home, Reference, Table, To};
use crate::{csv_text, run_dir, sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::{Seek, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Requests for documents that are under way at once.
const READERS: usize = 8;

/// Looks at everything and returns what was found; the caller decides what a red proof means.
pub async fn run(ctx: &Arc<Ctx>, manifest: &Manifest, export: &Arc<Export>) -> Result<Proof> {
    let started = Instant::now();
    let step = ctx.run.step("5 verify")?;
    let tables = super::all(ctx.tables.iter().map(|t| {
        let (ctx, export) = (ctx.clone(), export.clone());
        async move { table(&ctx, &export, t).await.with_context(|| format!("verifying {}", t.name)) }
    }));
    let (tables, structure, sequences, orphans, references) = tokio::try_join!(
        tables,
        structure(ctx),
        sequences(ctx, export),
        orphans(ctx),
        references(ctx, export),
    )?;
    let mut checks = vec![files(ctx, manifest)];
    checks.extend([structure, sequences, orphans].into_iter().flatten());
    checks.extend(references);
    let proof = Proof {
        finished: run_dir::now(),
        tables: ctx.tables.iter().map(|t| t.name.to_string()).zip(tables).collect(),
        checks,
        seconds: started.elapsed().as_secs_f64(),
    };
    step.done(&format!("{} findings", proof.findings().count()))?;
    Ok(proof)
}

async fn table(ctx: &Arc<Ctx>, export: &Arc<Export>, table: &'static Table) -> Result<TableProof> {
    let started = Instant::now();
    let record = export.tables.get(table.name).context("the run's manifest does not know this table")?;
    let proof = match &table.home {
        Home::Postgres(database) => rows(ctx, export, table, record, *database).await,
        Home::Firestore(collection) => documents(ctx, export, table, collection).await,
    };
    let mut proof = proof.or_else(|error| {
        let damage = damage_of(ctx, export, &[table.file()], error)?;
        let findings = vec![format!("{}: cannot be compared: {damage}", table.name)];
        Ok::<_, anyhow::Error>(TableProof {
            expected_rows: record.content.total().rows,
            findings,
            ..TableProof::default()
        })
    })?;
    proof.seconds = started.elapsed().as_secs_f64();
    Ok(proof)
}

/// The damage to these files of the run that explains an error met while they were read: a damaged file
/// is a finding. The error itself where they are what they were.
fn damage_of(ctx: &Ctx, export: &Export, names: &[String], error: anyhow::Error) -> Result<String> {
    let known = |name: &String| Some((name.clone(), export.files.get(name)?.clone()));
    let damaged = damaged_files(&ctx.run, &names.iter().filter_map(known).collect());
    if damaged.is_empty() { Err(error) } else { Ok(damaged.join("; ")) }
}

/// Whether the table and these columns of it are there. Where not, that is a finding of the table
/// itself, and what is to be looked up in them cannot be.
async fn has(connection: &mut Connection, table: &str, columns: &[&str]) -> Result<bool> {
    if !connection.row(&sql::exists("public", table)).await?.try_get::<bool, _>(0)? {
        return Ok(false);
    }
    let have = staging::columns(connection, "public", table).await?;
    Ok(columns.iter().all(|c| have.iter().any(|h| h.name == *c)))
}

/// What a table holds, in the same terms as what it must hold.
pub async fn content(
    connection: &mut Connection,
    schema: &str,
    table: &str,
    columns: &[Column],
    hash: HashFn,
) -> Result<Content> {
    let mut content = Content::default();
    for row in connection.rows(&sql::digest_target(schema, table, columns, hash)).await? {
        content.buckets.insert(row.try_get(0)?, Digest::new(row.try_get(1)?, row.try_get(2)?)?);
    }
    Ok(content)
}

/// A table of a PostgreSQL target: count and digest, and where they differ the rows.
async fn rows(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &Table,
    record: &TableExport,
    database: Database,
) -> Result<TableProof> {
    let mut connection = ctx.target(database, "verify").await?;
    let expected = record.content.total();
    let mut proof = TableProof { expected_rows: expected.rows, ..TableProof::default() };
    if let Some(missing) = missing_columns(&mut connection, table, record).await? {
        proof.findings.push(missing);
        return Ok(proof);
    }
    let task = ctx.terminal.task("verify", table.name, expected.rows);
    let hash = export.snapshot.hash;
    let found = content(&mut connection, "public", table.name, &record.target_columns, hash).await?;
    proof.found_rows = found.total().rows;
    task.done(proof.found_rows);
    let buckets = record.content.differing(&found);
    if buckets.is_empty() {
        connection.close().await?;
        return Ok(proof);
    }
    if proof.found_rows != expected.rows {
        proof
            .findings
            .push(format!("{}: {} rows expected, {} found", table.name, expected.rows, proof.found_rows));
    }
    let rows = differing_rows(ctx, connection, table, record, database, &buckets).await?;
    if rows.is_empty() {
        // The files of the run do not show it: they are damaged, or it was mended just now.
        proof.findings.push(format!(
            "{}: the digest differs in the ranges {buckets:?} × {}",
            table.name,
            sql::BUCKET
        ));
    }
    proof.findings.extend(rows);
    Ok(proof)
}

/// A table or column that is not there cannot be digested; it can be reported.
async fn missing_columns(
    connection: &mut Connection,
    table: &Table,
    record: &TableExport,
) -> Result<Option<String>> {
    if !connection.row(&sql::exists("public", table.name)).await?.try_get::<bool, _>(0)? {
        return Ok(Some(format!("{}: the table is not there", table.name)));
    }
    let have = staging::columns(connection, "public", table.name).await?;
    let missing: Vec<&str> = record.target_columns.iter().map(|c| c.name.as_str()).collect();
    let missing: Vec<&str> = missing.into_iter().filter(|c| !have.iter().any(|h| h.name == *c)).collect();
    Ok((!missing.is_empty())
        .then(|| format!("{}: columns are not there: {}", table.name, missing.join(", "))))
}

/// The rows of these ranges of ids that differ, with both values; the expected ones come from the
/// run's file, nothing is asked of the source.
async fn differing_rows(
    ctx: &Ctx,
    mut connection: Connection,
    table: &Table,
    record: &TableExport,
    database: Database,
    buckets: &[i64],
) -> Result<Vec<String>> {
    let (create, fill) = sql::expected_rows(staging::STAGING, table.name, &record.target_columns, buckets);
    connection.run("BEGIN").await?;
    // The expected rows need the types of sql/schema: the table's own may have become too narrow.
    staging::create(&mut connection, database).await?;
    connection.run(&create).await?;
    let mut reader = ctx.run.read(&table.file())?;
    let (_, mut connection) = p4_import::feed(connection, &fill, &mut reader, table, record, |_| ()).await?;
    let query = sql::row_differences(table.name, &record.target_columns, buckets, ctx.max_diffs);
    let mut lines = Vec::new();
    for row in connection.rows(&query).await? {
        let values = |column: usize| -> Result<Option<Vec<Option<String>>>> {
            let json: Option<String> = row.try_get(column)?;
            Ok(json.as_deref().map(serde_json::from_str).transpose()?)
        };
        let (id, expected, found): (String, _, _) = (row.try_get(0)?, values(1)?, values(2)?);
        let name = table.name;
        if let Some(times @ 2..) = row.try_get::<Option<i64>, _>(3)? {
            lines.push(format!("{name} id {id}: is there {times} times"));
        }
        match (expected, found) {
            (Some(_), None) => lines.push(format!("{name} id {id}: is missing")),
            (None, Some(_)) => lines.push(format!("{name} id {id}: is not of this run")),
            (Some(expected), Some(found)) => {
                for ((column, expected), found) in record.target_columns.iter().zip(expected).zip(found) {
                    if expected != found {
                        let (e, f) = (expected.as_deref(), found.as_deref());
                        let (expected, found) = (csv_text::shown(e, f), csv_text::shown(f, e));
                        lines.push(format!(
                            "{name} id {id}: {}: expected {expected}, found {found}",
                            column.name
                        ));
                    }
                }
            }
            (None, None) => {}
        }
    }
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    // A row that is there twice is shown twice.
    lines.dedup();
    Ok(lines)
}

/// What became of some documents.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// There, and exactly as expected.
    pub equal: u64,
    /// There, but different.
    pub different: u64,
    pub findings: Vec<String>,
}

/// Reads these documents back and compares every field.
pub(super) async fn compare(
    firestore: &Firestore,
    collection: &Collection,
    documents: &[Document],
) -> Result<Compared> {
    let ids: Vec<String> = documents.iter().map(|d| d.id.clone()).collect();
    let found: BTreeMap<_, _> = firestore.read(collection.name, &ids).await?.into_iter().collect();
    let mut compared = Compared::default();
    for document in documents {
        let name = format!("{}/{}", collection.name, document.id);
        match found.get(&document.id) {
            Some(Some(fields)) => {
                let differences = document::differences(document, fields);
                if differences.is_empty() {
                    compared.equal += 1;
                } else {
                    compared.different += 1;
                    compared.findings.extend(differences.iter().map(|d| format!("{name}: {d}")));
                }
            }
            _ => compared.findings.push(format!("{name}: is missing")),
        }
    }
    Ok(compared)
}

/// A collection: every document by its fields, then the server's own count for what is there beside.
async fn documents(
    ctx: &Arc<Ctx>,
    export: &Arc<Export>,
    table: &'static Table,
    collection: &'static Collection,
) -> Result<TableProof> {
    let firestore = Arc::new(Firestore::connect(&p3_transform::address(&ctx.settings.firestore)).await?);
    let rows = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
    let task = ctx.terminal.task("verify", table.name, rows);
    let (documents, reading) = p3_transform::documents(ctx, table, export)?;
    let documents = Arc::new(tokio::sync::Mutex::new(documents));
    let sum = Arc::new(Mutex::new(Compared::default()));
    let max_diffs = ctx.max_diffs;
    let readers = (0..READERS).map(|_| {
        let (documents, firestore, sum, count) =
            (documents.clone(), firestore.clone(), sum.clone(), task.counter());
        async move {
            loop {
                let piece = documents.lock().await.recv().await;
                let Some(piece) = piece else { return Ok(()) };
                let compared = compare(&firestore, collection, &piece).await?;
                count(piece.len() as u64);
                let mut sum = sum.lock().map_err(|_| anyhow::anyhow!("another reader failed"))?;
                sum.equal += compared.equal;
                sum.different += compared.different;
                let room = max_diffs.saturating_sub(sum.findings.len());
                sum.findings.extend(compared.findings.into_iter().take(room));
            }
        }
    });
    super::all(readers).await?;
    let read = reading.await.context("the reader of the file ended unexpectedly")??;
    let sum = std::mem::take(&mut *sum.lock().map_err(|_| anyhow::anyhow!("a reader failed"))?);

    let there = firestore.count(collection.name).await?;
    let mut proof = TableProof { expected_rows: read.documents, found_rows: there, ..TableProof::default() };
    if there != read.documents {
        proof
            .findings
            .push(format!("{}: {} documents expected, {there} found", collection.name, read.documents));
    }
    proof.findings.extend(sum.findings);
    if there != sum.equal + sum.different {
        proof.findings.extend(foreign_documents(ctx, &firestore, export, table, collection).await?);
    }
    task.done(there);
    Ok(proof)
}

/// Documents that are in the collection, but not in the run's file. Of the expected ids only hashes
/// are kept: 8 bytes each.
async fn foreign_documents(
    ctx: &Arc<Ctx>,
    firestore: &Firestore,
    export: &Export,
    table: &'static Table,
    collection: &Collection,
) -> Result<Vec<String>> {
    let hasher = RandomState::new();
    let (mut documents, reading) = p3_transform::documents(ctx, table, export)?;
    let mut expected = HashSet::new();
    while let Some(piece) = documents.recv().await {
        expected.extend(piece.iter().map(|d| hasher.hash_one(d.id.as_str())));
    }
    reading.await.context("the reader of the file ended unexpectedly")??;
    let mut foreign = Vec::new();
    let room = ctx.max_diffs;
    firestore
        .ids(collection.name, |page| {
            let unknown = page.into_iter().filter(|id| !expected.contains(&hasher.hash_one(id.as_str())));
            foreign.extend(unknown.map(|id| format!("{}/{id}: is not of this run", collection.name)));
            foreign.truncate(room);
            Ok(())
        })
        .await?;
    Ok(foreign)
}

/// The run's own files: they are what the stores are compared with.
fn files(ctx: &Ctx, manifest: &Manifest) -> Check {
    let of_backup = manifest.backup.iter().flat_map(|b| &b.files);
    let of_export = manifest.export.iter().flat_map(|e| &e.files);
    let files = of_backup.chain(of_export).map(|(n, i)| (n.clone(), i.clone())).collect::<BTreeMap<_, _>>();
    Check {
        name: "files".into(),
        looked_at: format!("{} files of the run by SHA-256", files.len()),
        findings: damaged_files(&ctx.run, &files),
    }
}

/// Columns, keys, indexes and references are what `sql/schema` says, and valid.
async fn structure(ctx: &Arc<Ctx>) -> Result<Option<Check>> {
    let (mut findings, mut parts) = (Vec::new(), 0);
    for database in Database::ALL {
        let mut connection = ctx.target(database, "verify").await?;
        let expected = staging::expected_definition(&mut connection, database).await?;
        let found = staging::definition(&mut connection, "public").await?;
        findings.extend(staging::differences(database, &expected, &found));
        parts += expected.len();
        connection.close().await?;
    }
    let looked_at = format!("{parts} columns, keys, indexes and references");
    Ok(Some(Check { name: "structure".into(), looked_at, findings }))
}

/// No new row may take an id that the source has given out.
async fn sequences(ctx: &Arc<Ctx>, export: &Export) -> Result<Option<Check>> {
    let (mut findings, mut looked_at) = (Vec::new(), 0);
    for database in Database::ALL {
        let mut connection = ctx.target(database, "verify").await?;
        for table in tables::of_database(ctx.tables, database) {
            let Some(record) = export.tables.get(table.name) else { continue };
            if !has(&mut connection, table.name, &["id"]).await? {
                findings.push(format!("{}: the sequence of its id cannot be looked at", table.name));
                continue;
            }
            let query = sql::bind(sql_file!("phases/5-verify/sequence.sql"), &[("table", table.name)]);
            let row = connection.row(&query).await?;
            let (Some(name), largest) =
                (row.try_get::<Option<String>, _>(0)?, row.try_get::<Option<i64>, _>(1)?)
            else {
                findings.push(format!("{}: its id has no sequence", table.name));
                continue;
            };
            let state = connection.row(&sql::sequence_state(&name)).await?;
            let found =
                crate::manifest::Sequence { last: state.try_get(0)?, called: state.try_get(1)? }.next();
            let wanted = record.sequence.next().max(largest.unwrap_or(0) + 1);
            looked_at += 1;
            if found < wanted {
                findings.push(format!(
                    "{}: the next new row gets id {found}; ids below {wanted} have been given out ({name})",
                    table.name
                ));
            }
        }
        connection.close().await?;
    }
    Ok(Some(Check { name: "sequences".into(), looked_at: format!("{looked_at} sequences"), findings }))
}

/// Foreign keys looked at as data: a constraint can be there and not hold.
async fn orphans(ctx: &Arc<Ctx>) -> Result<Option<Check>> {
    let (mut findings, mut looked_at) = (Vec::new(), Vec::new());
    for database in Database::ALL {
        let mut connection = ctx.target(database, "verify").await?;
        for foreign_key in declared_references(&mut connection, database).await? {
            let [table, column, parent, parent_column] = foreign_key.each_ref().map(String::as_str);
            if !has(&mut connection, table, &["id", column]).await?
                || !has(&mut connection, parent, &[parent_column]).await?
            {
                findings.push(format!("{table}.{column}: cannot be looked up in {parent}.{parent_column}"));
                continue;
            }
            let limit = ctx.max_diffs.to_string();
            let query = sql::bind(
                sql_file!("phases/5-verify/orphans.sql"),
                &[
                    ("parent_column", parent_column),
                    ("parent", parent),
                    ("table", table),
                    ("column", column),
                    ("limit", &limit),
                ],
            );
            for row in connection.rows(&query).await? {
                let (id, refers_to): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                findings.push(format!("{table} id {id}: {column} {refers_to} is not in {parent}"));
            }
            looked_at.push(format!("{table}.{column}"));
        }
        connection.close().await?;
    }
    Ok(Some(Check { name: "orphans".into(), looked_at: looked_at.join(", "), findings }))
}

/// The references that `sql/schema` declares: table, column, parent, its column. Not those that are
/// there: a reference that was dropped is where orphans come from.
async fn declared_references(connection: &mut Connection, database: Database) -> Result<Vec<[String; 4]>> {
    connection.run("BEGIN").await?;
    let declared = async {
        staging::create(connection, database).await?;
        let query = sql::bind(sql_file!("phases/5-verify/foreign_keys.sql"), &[("schema", staging::STAGING)]);
        connection.rows(&query).await
    }
    .await;
    connection.run("ROLLBACK").await?;
    let mut references = Vec::new();
    for row in declared? {
        references.push([row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?]);
    }
    Ok(references)
}

/// References that leave their database: no foreign key can hold them, so they are looked up.
async fn references(ctx: &Arc<Ctx>, export: &Arc<Export>) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for table in ctx.tables {
        for reference in table.references {
            let (ctx, export) = (ctx.clone(), export.clone());
            checks.push(async move {
                let check = self::reference(&ctx, &export, table, reference).await;
                check.or_else(|error| {
                    let name = format!("{}.{}", table.name, reference.column);
                    let file = match reference.to {
                        To::User => p2_export::MAPPING.to_string(),
                        To::Row(_, parent) => quarantine_of(parent),
                    };
                    Ok(not_looked_up(name, &damage_of(&ctx, &export, &[file], error)?))
                })
            });
        }
    }
    super::all(checks).await
}

/// A check on nothing is not a pass.
fn not_looked_up(name: String, why: &str) -> Check {
    let findings = vec![format!("{name}: cannot be looked up: {why}")];
    Check { name, looked_at: "nothing".into(), findings }
}

fn quarantine_of(table: &str) -> String {
    format!("quarantine/{table}.csv")
}

async fn reference(
    ctx: &Arc<Ctx>,
    export: &Export,
    table: &'static Table,
    reference: &'static Reference,
) -> Result<Check> {
    let name = format!("{}.{}", table.name, reference.column);
    let database = table.database().with_context(|| format!("{} is not in a database", table.name))?;
    let mut connection = ctx.target(database, "verify").await?;
    if !has(&mut connection, table.name, &["id", reference.column]).await? {
        return Ok(not_looked_up(name, "the table or the column is not there"));
    }
    if let To::Row(there, parent) = reference.to {
        let mut other = ctx.target(there, "verify").await?;
        if !has(&mut other, parent, &["id"]).await? {
            return Ok(not_looked_up(name, &format!("{parent} or its id is not there")));
        }
        other.close().await?;
    }
    connection.run("BEGIN").await?;
    connection.run(sql::KNOWN_KEYS).await?;
    let connection = match reference.to {
        To::User => {
            let mut mapping = ctx.run.read(p2_export::MAPPING)?;
            connection.copy_in(sql::FILL_KNOWN_KEYS, &mut mapping, |_| ()).await?.1
        }
        To::Row(there, parent) => known_rows(ctx, export, connection, there, parent).await?,
    };
    let mut connection = connection;
    connection.run(sql::ANALYZE_KNOWN_KEYS).await?;
    let query = sql::bind(
        sql_file!("phases/5-verify/references.sql"),
        &[("table", table.name), ("column", reference.column)],
    );
    let (mut known, mut dangling, mut findings) = (0, BTreeMap::new(), Vec::new());
    for row in connection.rows(&query).await? {
        let (state, rows) = (row.try_get::<Option<String>, _>(0)?, u64::try_from(row.try_get::<i64, _>(1)?)?);
        match state.as_deref() {
            Some(crate::model::MIGRATED) => known += rows,
            Some(state) => {
                dangling.insert(state.to_string(), rows);
            }
            None => {
                let (id, key): (String, String) = (row.try_get(2)?, row.try_get(3)?);
                findings.push(format!(
                    "{name}: {rows} rows refer to what no store holds, for example id {id} to {key:?}"
                ));
            }
        }
    }
    connection.run("ROLLBACK").await?;
    connection.close().await?;
    let mut looked_at = format!("{} rows refer to what is there", grouped(known));
    if !dangling.is_empty() {
        let kinds: Vec<String> =
            dangling.iter().map(|(state, n)| format!("{} ({state})", grouped(*n))).collect();
        looked_at += &format!("; expected to dangle: {}", kinds.join(", "));
    }
    Ok(Check { name, looked_at, findings })
}

/// Fills the table of known keys with the ids that another database holds, and those in quarantine.
async fn known_rows(
    ctx: &Ctx,
    export: &Export,
    connection: Connection,
    there: Database,
    parent: &str,
) -> Result<Connection> {
    let mut file = tempfile::tempfile().context("making a temporary file")?;
    let other = ctx.target(there, "verify").await?;
    other
        .copy_out(&sql::keys_of(parent), |piece, _| file.write_all(piece).context("writing a temporary file"))
        .await?;
    let quarantine = quarantine_of(parent);
    if export.files.contains_key(&quarantine) {
        let mut reader = csv::Reader::from_reader(ctx.run.read(&quarantine)?);
        let column = reader
            .headers()?
            .iter()
            .position(|h| h == "id")
            .context("the quarantine's file has no column id")?;
        for record in reader.records() {
            let record = record.with_context(|| format!("reading {quarantine}"))?;
            let id: i64 =
                record.get(column).unwrap_or_default().parse().with_context(|| format!("in {quarantine}"))?;
            writeln!(file, "{id},{id},quarantined").context("writing a temporary file")?;
        }
    }
    file.rewind().context("reading a temporary file")?;
    Ok(connection.copy_in(sql::FILL_KNOWN_KEYS, file, |_| ()).await?.1)
}
