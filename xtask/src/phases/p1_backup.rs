//! Phase 1, backup: the archive and what can be read from it, the counts, and a digest of every table
//! of the source, with which the way back is proven later.

use crate::effects::dump::{ExportedSnapshot, Form};
use crate::run::ctx::Ctx;
use crate::run::manifest::{self, Backup, SnapshotInfo};
use crate::servers::docker;
use crate::shown::escaped;
use crate::source::digests::{raw_digests, sequences, writes};
use crate::source::snapshot::{RawName, Snapshot, worker};
use crate::steps::StepName;
use crate::{sql, sql_file};
use anyhow::{Context, Result, ensure};
use datapath::files::FileInfo;
use sqlx::Row;
use sqlx::postgres::types::Oid;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const ARCHIVE: &str = "full_backup.dump";
/// The same as SQL.
pub const PLAIN: &str = "full_backup.sql";
const SCHEMA: &str = "schema_only.sql";
const GLOBALS: &str = "globals.sql";
const COUNTS: &str = "record_counts.txt";
const COMPOSE: &str = "docker-compose-before.yml";

/// # Errors
/// Fails where a dump cannot be read back whole.
pub async fn run(ctx: &Arc<Ctx>, snapshot: &Snapshot) -> Result<Backup> {
    let started = Instant::now();
    let step = ctx.run.step(StepName::Backup)?;
    let pg_dump = ctx.tools.version().await?;
    let writes = writes(ctx).await?;
    let left_out = left_out(ctx, &snapshot.info).await?;
    let (files, counts, (raw, remembered), compose) = tokio::try_join!(
        dump(ctx, snapshot, &left_out),
        record_counts(ctx, snapshot),
        raw_digests(ctx, snapshot),
        compose_configuration(ctx),
    )?;
    // After the last reading, as the exports' own are.
    let sequences = sequences(ctx).await?;
    let mut files = files;
    files.insert(COUNTS.into(), counts);
    files.extend(compose);
    step.done(&format!("{} files, {} tables", files.len(), raw.len()))?;
    Ok(Backup {
        snapshot: snapshot.info.clone(),
        pg_dump,
        files,
        raw,
        remembered,
        left_out: left_out.why,
        writes,
        sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The archive, and everything that is made from it.
async fn dump(ctx: &Ctx, snapshot: &Snapshot, left_out: &LeftOut) -> Result<BTreeMap<String, FileInfo>> {
    let step = ctx.run.step(StepName::Dump)?;
    let (archive, plain) = (ctx.run.reserve(ARCHIVE)?, ctx.run.reserve(PLAIN)?);
    let (schema, globals) = (ctx.run.reserve(SCHEMA)?, ctx.run.reserve(GLOBALS)?);
    let (source, purpose) = (&ctx.settings.source, ctx.purpose("dump"));
    let of = ExportedSnapshot { id: &snapshot.info.id, encoding: &snapshot.info.server.encoding };
    let dump = async |form, file: &Path, what: &'static str| {
        // First of all: reading the archive back has to wait for it.
        let _permit = ctx.source_permit(u64::MAX).await;
        ctx.throttle.free().await;
        let dumped = ctx.tools.dump(source, &purpose, &of, form, file).await;
        dumped.with_context(|| format!("dumping {what}"))
    };
    tokio::try_join!(
        dump(Form::Archive, &archive, "the source"),
        dump(Form::Plain, &plain, "the source as SQL"),
        dump(Form::Schema, &schema, "the source's schema"),
        async { ctx.tools.globals(source, &purpose, &globals).await.context("dumping the roles") },
    )?;
    let read_back = ctx.tools.read_back(&archive, &plain).await;
    read_back.with_context(|| format!("{ARCHIVE} does not read back as what was dumped"))?;

    holds_every_table(&ctx.tools.tables(&archive).await?, &snapshot.tables, left_out)?;

    let mut files = BTreeMap::new();
    for name in [ARCHIVE, PLAIN, SCHEMA, GLOBALS] {
        files.insert(name.to_string(), ctx.run.measure(name)?);
    }
    step.done(&manifest::left_out_lines(&left_out.why).join("; "))?;
    Ok(files)
}

/// Every table has its rows in the archive, but those of which pg_dump takes none.
fn holds_every_table(archive: &BTreeSet<u32>, tables: &[RawName], left_out: &LeftOut) -> Result<()> {
    let wanted = |table: &&RawName| !left_out.tables.contains(&table.oid);
    let missing = tables.iter().filter(wanted).filter(|table| !archive.contains(&table.oid));
    let missing: Vec<String> = missing.map(|table| escaped(&table.full())).collect();
    ensure!(missing.is_empty(), "{ARCHIVE} does not hold the rows of {}", missing.join(", "));
    let known: BTreeSet<u32> = tables.iter().map(|table| table.oid).collect();
    let strange: Vec<String> = archive.difference(&known).map(u32::to_string).collect();
    ensure!(
        strange.is_empty(),
        "{ARCHIVE} holds the rows of tables that the snapshot does not show, with these OIDs: {}",
        strange.join(", ")
    );
    Ok(())
}

/// What pg_dump does not take.
struct LeftOut {
    /// By name, each with why.
    why: BTreeMap<String, String>,
    /// The OIDs of tables of which it takes no row.
    tables: BTreeSet<u32>,
}

async fn left_out(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<LeftOut> {
    let mut worker = worker(ctx, snapshot, "left out").await?;
    let rows = worker.rows(sql_file!("phases/1-backup/left_out.sql").text).await?;
    worker.close().await?;
    let mut left_out = LeftOut { why: BTreeMap::new(), tables: BTreeSet::new() };
    for row in &rows {
        let (name, why): (String, String) = (row.try_get("name")?, row.try_get("why")?);
        left_out.tables.extend(row.try_get::<Option<Oid>, _>("oid")?.map(|oid| oid.0));
        left_out.why.insert(name, why);
    }
    Ok(left_out)
}

/// The guide's counts, of every table that is migrated.
async fn record_counts(ctx: &Ctx, snapshot: &Snapshot) -> Result<FileInfo> {
    let mut worker = worker(ctx, &snapshot.info, "counts").await?;
    let mut text = format!("{:<20} | {:>12}\n{:-<21}+{:->13}\n", "table_name", "record_count", "", "");
    for table in ctx.tables {
        let query = sql::bind(sql_file!("phases/1-backup/record_counts.sql"), &[("table", table.source)]);
        let row = worker.row(&query).await?;
        text += &format!("{:<20} | {:>12}\n", row.try_get::<String, _>(0)?, row.try_get::<i64, _>(1)?);
    }
    worker.close().await?;
    ctx.run.write(COUNTS, &text)
}

/// The configuration of the containers, where the workspace has one: what Compose makes of it, passwords
/// in clear, and the files that it is made of.
async fn compose_configuration(ctx: &Ctx) -> Result<BTreeMap<String, FileInfo>> {
    let raw = docker::configuration_files(&ctx.workspace);
    let mut files = BTreeMap::new();
    let Some(main) = raw.first() else { return Ok(files) };
    for path in &raw {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        files.insert(name.clone(), ctx.run.write(&name, &text)?);
    }
    let text = match docker::configuration(&ctx.workspace).await {
        Ok(text) => text,
        Err(error) => {
            let plain = format!("{COMPOSE} is a plain copy of {}: {error:#}", main.display());
            // Without .env these containers were not started here.
            let used = files.contains_key(docker::DOTENV);
            if used {
                ctx.terminal.warn(plain)
            } else {
                ctx.terminal.detail(plain)
            }
            std::fs::read_to_string(main).with_context(|| format!("reading {}", main.display()))?
        }
    };
    files.insert(COMPOSE.to_string(), ctx.run.write(COMPOSE, &text)?);
    Ok(files)
}
