//! Phase 1, backup: the archive and what can be read from it, the counts, and a digest of every table
//! of the source, with which the way back is proven later.

use crate::effects::dump::{ExportedSnapshot, Form, ReadBack};
use crate::effects::postgres;
use crate::run::ctx::Ctx;
use crate::run::manifest::{self, Backup, COMPOSE_BEFORE, SnapshotInfo};
use crate::run::properties::Properties;
use crate::run::statements::{self, Asked};
use crate::servers::docker;
use crate::shown::escaped;
use crate::source::digests::{raw_digests, sequences, writes};
use crate::source::freeze::Freezer;
use crate::source::restore;
use crate::source::services;
use crate::source::snapshot::{RawName, Snapshot, worker};
use crate::sql_file;
use crate::steps::StepName;
use anyhow::{Context, Result, ensure};
use datapath::digest::Digest;
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
/// The roles, as SQL.
pub const GLOBALS: &str = "globals.sql";
const COUNTS: &str = "record_counts.txt";

/// # Errors
/// Fails where a dump cannot be read back whole.
pub async fn run(ctx: &Arc<Ctx>, snapshot: &Snapshot) -> Result<Backup> {
    let started = Instant::now();
    let step = ctx.run.step(StepName::Backup)?;
    let pg_dump = ctx.tools.version().await?;
    // First of all: what is done here is counted there, too.
    let statements = statements(ctx).await?;
    let writes = writes(ctx).await?;
    let left_out = left_out(ctx, &snapshot.info).await?;
    let properties = properties(ctx, &snapshot.info).await?;
    let ((files, dumped), (raw, remembered), compose) = tokio::try_join!(
        dump(ctx, snapshot, &left_out),
        raw_digests(ctx, snapshot),
        compose_configuration(ctx),
    )?;
    holds_every_row(&dumped, &snapshot.tables, &raw, &left_out)?;
    // After the last reading, as the exports' own are.
    let sequences = sequences(ctx).await?;
    let mut files = files;
    files.insert(COUNTS.into(), record_counts(ctx, &raw)?);
    files.extend(compose);
    files.extend(statements.map(|info| (statements::FILE.to_string(), info)));
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
        properties: Some(properties),
        shop_compose: ctx.settings.services.compose.clone(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// The statements that cost most in the source, where it counts them.
async fn statements(ctx: &Ctx) -> Result<Option<FileInfo>> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("statements")).await?;
    let asked = statements::ask(&mut connection).await?;
    connection.close().await?;
    match asked {
        Asked::Counted(counted) => {
            let json = serde_json::to_string_pretty(&counted).context("writing down the statements")?;
            Ok(Some(ctx.run.write(statements::FILE, &json)?))
        }
        Asked::NotThere(why) => {
            ctx.terminal.line(format!("no {} is kept, which `perf` would read: {why}", statements::FILE));
            Ok(None)
        }
    }
}

/// What no dump holds of the database, as it was before a freeze.
async fn properties(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<Properties> {
    let mut worker = worker(ctx, snapshot, "properties").await?;
    let database = &ctx.settings.source.database;
    let properties = restore::properties(&mut worker, database).await?;
    worker.close().await?;
    let properties = properties.with_context(|| format!("{database} is not among the server's databases"))?;
    Ok(match Freezer::of(ctx).open()? {
        Some(open) => properties.read_only_as_before(open.frozen.setting.as_deref()),
        None => properties,
    })
}

/// The archive, and everything that is made from it. Besides the files the rows that the archive holds, by the
/// table's OID.
async fn dump(
    ctx: &Ctx,
    snapshot: &Snapshot,
    left_out: &LeftOut,
) -> Result<(BTreeMap<String, FileInfo>, BTreeMap<u32, u64>)> {
    let step = ctx.run.step(StepName::Dump)?;
    let archive = ctx.run.reserve(ARCHIVE)?;
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
        dump(Form::Schema, &schema, "the source's schema"),
        async { ctx.tools.globals(source, &purpose, &globals).await.context("dumping the roles") },
    )?;
    let read_back = ctx.tools.read_back(&archive, &schema, ctx.run.create_file(PLAIN)?).await;
    let ReadBack { sql, rows } =
        read_back.with_context(|| format!("{ARCHIVE} does not read back as what was dumped"))?;

    let mut files = BTreeMap::from([(PLAIN.to_string(), sql)]);
    for name in [ARCHIVE, SCHEMA, GLOBALS] {
        files.insert(name.to_string(), ctx.run.measure(name)?);
    }
    step.done(&manifest::left_out_lines(&left_out.why).join("; "))?;
    Ok((files, rows))
}

/// The archive holds all rows of every table, but for those that pg_dump does not take. `dumped`: by OID.
pub fn holds_every_row(
    dumped: &BTreeMap<u32, u64>,
    tables: &[RawName],
    counted: &BTreeMap<String, Digest>,
    left_out: &LeftOut,
) -> Result<()> {
    let mut missing = Vec::new();
    for table in tables.iter().filter(|table| !left_out.whole.contains(&table.oid)) {
        let (name, there) = (escaped(&table.full()), dumped.get(&table.oid));
        let rows = counted.get(&table.full()).map(|counted| counted.rows).unwrap_or_default();
        match there {
            None => missing.push(format!("none of {name}")),
            Some(_) if left_out.in_part.contains(&table.oid) => {}
            Some(there) if rows == *there => {}
            Some(there) => missing.push(format!("{there} of {name}, of which the source counts {rows}")),
        }
    }
    ensure!(missing.is_empty(), "{ARCHIVE} does not hold the rows of the snapshot: {}", missing.join("; "));
    let known: BTreeSet<u32> = tables.iter().map(|table| table.oid).collect();
    let strange: Vec<String> =
        dumped.keys().filter(|oid| !known.contains(oid)).map(ToString::to_string).collect();
    ensure!(
        strange.is_empty(),
        "{ARCHIVE} holds the rows of tables that the snapshot does not show, with these OIDs: {}",
        strange.join(", ")
    );
    Ok(())
}

/// What pg_dump does not take.
pub struct LeftOut {
    /// By name, each with why.
    pub why: BTreeMap<String, String>,
    /// The OIDs of tables of which it takes no row, and of those of which it takes some.
    whole: BTreeSet<u32>,
    in_part: BTreeSet<u32>,
}

/// Asked of the snapshot, in the source's place.
pub async fn left_out(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<LeftOut> {
    let mut worker = worker(ctx, snapshot, "left out").await?;
    let rows = worker.rows(sql_file!("phases/1-backup/left_out.sql").text).await?;
    worker.close().await?;
    let mut left_out = LeftOut { why: BTreeMap::new(), whole: BTreeSet::new(), in_part: BTreeSet::new() };
    for row in &rows {
        let (name, why): (String, String) = (row.try_get("name")?, row.try_get("why")?);
        if let Some(Oid(oid)) = row.try_get("oid")? {
            let tables = if row.try_get("whole")? { &mut left_out.whole } else { &mut left_out.in_part };
            tables.insert(oid);
        }
        left_out.why.insert(name, why);
    }
    Ok(left_out)
}

/// The guide's counts, of every table that is migrated.
fn record_counts(ctx: &Ctx, counted: &BTreeMap<String, Digest>) -> Result<FileInfo> {
    let mut text = format!("{:<20} | {:>12}\n{:-<21}+{:->13}\n", "table_name", "record_count", "", "");
    for table in ctx.tables {
        let name = format!("public.{}", table.source);
        let rows = counted.get(&name).with_context(|| format!("{name} has not been counted"))?.rows;
        text += &format!("{:<20} | {rows:>12}\n", table.source);
    }
    ctx.run.write(COUNTS, &text)
}

/// The configuration of the shop, where the environment names it; else of the containers, where the workspace has one: what Compose makes of it, passwords
/// in clear, and the files that it is made of.
async fn compose_configuration(ctx: &Ctx) -> Result<BTreeMap<String, FileInfo>> {
    if let Some(shops) = &ctx.settings.services.compose {
        let kept = services::keep_configuration(&ctx.run, shops, &ctx.terminal).await?;
        return Ok(BTreeMap::from([(COMPOSE_BEFORE.to_string(), kept)]));
    }
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
            let plain = format!("{COMPOSE_BEFORE} is a plain copy of {}: {error:#}", main.display());
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
    files.insert(COMPOSE_BEFORE.to_string(), ctx.run.write(COMPOSE_BEFORE, &text)?);
    Ok(files)
}
