//! Phase 1, backup: the archive and what can be read from it, the counts, and a digest of every table
//! of the source, with which the way back is proven later.

use crate::effects::dump::{ExportedSnapshot, Form};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Backup, SnapshotInfo};
use crate::servers::docker;
use crate::source::digests::{raw_digests, sequences, writes};
use crate::source::snapshot::{Snapshot, worker};
use crate::steps::StepName;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result, ensure};
use datapath::files::FileInfo;
use sqlx::Row;
use std::collections::BTreeMap;
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
/// Refuses a pg_dump that is older than the server; fails where a dump cannot be read back whole.
pub async fn run(ctx: &Arc<Ctx>, snapshot: &Snapshot) -> Result<Backup> {
    let started = Instant::now();
    let step = ctx.run.step(StepName::Backup)?;
    let pg_dump = version_check(ctx, &snapshot.info).await?;
    let writes = writes(ctx).await?;
    let (files, counts, raw, compose) = tokio::try_join!(
        dump(ctx, snapshot),
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
        writes,
        sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

async fn version_check(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<u32> {
    let pg_dump = ctx.tools.version().await?;
    let server = snapshot.server.major;
    if pg_dump < server {
        refuse!(
            "pg_dump {pg_dump} in {} is older than the server ({server}): it cannot dump it. \
             Install it: apt-get install postgresql-client-{server}",
            ctx.tools.bindir.display()
        );
    }
    Ok(pg_dump)
}

/// The archive, and everything that is made from it.
async fn dump(ctx: &Ctx, snapshot: &Snapshot) -> Result<BTreeMap<String, FileInfo>> {
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

    let mut expected: Vec<String> =
        snapshot.tables.iter().map(|t| format!("{} {}", t.schema, t.table)).collect();
    expected.sort();
    let found = ctx.tools.tables(&archive).await?;
    ensure!(
        found == expected,
        "{ARCHIVE} does not hold the source's tables: expected {expected:?}, found {found:?}"
    );

    let mut files = BTreeMap::new();
    for name in [ARCHIVE, PLAIN, SCHEMA, GLOBALS] {
        files.insert(name.to_string(), ctx.run.measure(name)?);
    }
    step.done("")?;
    Ok(files)
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
