//! A database of a service, dumped from one snapshot in which every table is counted and digested, and read back
//! whole.

use super::manifest::DatabaseContent;
use crate::effects::dump::{ExportedSnapshot, Form};
use crate::identity::ServerName;
use crate::phases::p1_backup::{self, GLOBALS};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Backup, SnapshotInfo};
use crate::run::properties::Properties;
use crate::run::servers;
use crate::source::digests::{raw_digests, sequences};
use crate::source::restore::{self, ARCHIVE, SCHEMA};
use crate::source::snapshot::{Snapshot, worker};
use crate::sql::HashFn;
use crate::sql_file;
use anyhow::{Context, Result};
use datapath::files::FileInfo;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// The same on every server, since a drill restores wherever it is.
const HASH: HashFn = HashFn::Md5Utf8;

/// `ctx`: with the store in the source's place.
///
/// # Errors
/// Fails where the dump cannot be read back whole, or does not hold what was counted.
pub async fn back_up(ctx: &Arc<Ctx>) -> Result<DatabaseContent> {
    let started = Instant::now();
    let identity = servers::look(ctx, &[ServerName::Source]).await?;
    let server = identity.databases.into_values().next().context("a server without identity")?;
    let pg_dump = ctx.tools.version().await?;
    let snapshot = Snapshot::again(ctx, HASH).await?;
    let left_out = p1_backup::left_out(ctx, &snapshot.info).await?;
    let (properties, roles) = around(ctx, &snapshot.info).await?;
    let (dumped, (raw, _)) = tokio::try_join!(dump(ctx, &snapshot.info), raw_digests(ctx, &snapshot))?;
    p1_backup::holds_every_row(&dumped, &snapshot.tables, &raw, &left_out)?;
    // After the last reading: no number is given out twice.
    let sequences = sequences(ctx).await?;
    let info = snapshot.info.clone();
    snapshot.release().await?;
    let backup = Backup {
        snapshot: info,
        pg_dump,
        files: files(ctx)?,
        raw,
        remembered: BTreeMap::default(),
        left_out: left_out.why,
        writes: BTreeMap::new(),
        sequences: sequences.into_iter().map(|s| (s.name, s.last)).collect(),
        properties: Some(properties),
        shop_compose: None,
        seconds: started.elapsed().as_secs_f64(),
    };
    Ok(DatabaseContent { server, roles, backup })
}

/// What no dump holds: the database's properties, and the server's roles.
async fn around(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<(Properties, Vec<String>)> {
    let mut worker = worker(ctx, snapshot, "properties").await?;
    let database = &ctx.settings.source.database;
    let properties = restore::properties(&mut worker, database).await?;
    let properties = properties.with_context(|| format!("{database} is not among the server's databases"))?;
    let roles = worker.rows(sql_file!("phases/store-backup/roles.sql").text).await?;
    worker.close().await?;
    let roles = roles.iter().map(|row| Ok(row.try_get("role")?)).collect::<Result<_>>()?;
    Ok((properties, roles))
}

/// The archive and what tells whether it is whole. Returns the rows that it holds, by the table's OID.
async fn dump(ctx: &Ctx, snapshot: &SnapshotInfo) -> Result<BTreeMap<u32, u64>> {
    let archive = ctx.run.file(ARCHIVE);
    let (schema, globals) = (ctx.run.reserve(SCHEMA)?, ctx.run.reserve(GLOBALS)?);
    let (store, purpose, tools) = (&ctx.settings.source, ctx.purpose("dump"), &ctx.tools);
    let of = ExportedSnapshot { id: &snapshot.id, encoding: &snapshot.server.encoding };
    let task = ctx.terminal.task("dump", &store.label, 0);
    tokio::try_join!(
        async {
            let dumped = tools.dump_directory(store, &purpose, &of, ctx.jobs, &archive).await;
            dumped.with_context(|| format!("dumping {store}"))
        },
        async {
            let dumped = tools.dump(store, &purpose, &of, Form::Schema, &schema).await;
            dumped.with_context(|| format!("dumping the definitions of {store}"))
        },
        async { tools.globals(store, &purpose, &globals).await.context("dumping the roles") },
    )?;
    let rows = tools.read_through(&archive, &schema).await;
    let rows = rows.with_context(|| format!("{ARCHIVE} does not read back as what was dumped"))?;
    task.done(rows.values().sum());
    Ok(rows)
}

/// Every file, private, with its size and hash.
fn files(ctx: &Ctx) -> Result<BTreeMap<String, FileInfo>> {
    let mut names = vec![SCHEMA.to_string(), GLOBALS.to_string()];
    names.extend(inside(&ctx.run.file(ARCHIVE))?.into_iter().map(|name| format!("{ARCHIVE}/{name}")));
    let measured = |name: String| {
        let info = ctx.run.measure(&name)?;
        Ok((name, info))
    };
    names.into_iter().map(measured).collect()
}

/// pg_dump makes its files readable for all that the umask lets.
fn inside(directory: &Path) -> Result<Vec<String>> {
    let context = || format!("reading {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let entry = entry.with_context(context)?;
        fs::set_permissions(entry.path(), Permissions::from_mode(0o600)).with_context(context)?;
        names.push(entry.file_name().into_string().ok().with_context(context)?);
    }
    fs::set_permissions(directory, Permissions::from_mode(0o700)).with_context(context)?;
    Ok(names)
}
