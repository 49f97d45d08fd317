//! Before anything is changed: are all servers there, do they fit, are the targets empty?

use crate::effects::postgres;
use crate::model::{AGAIN, ServerInfo, refused};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Export;
use crate::run::privileges::{self, Privileges};
use crate::source::services;
use crate::source::standby::{self, Standby};
use crate::sql::HashFn;
use crate::stores::marks::Marks;
use crate::stores::readiness::{FOREIGN, obstacles};
use anyhow::Result;
use std::sync::Arc;

/// Looks at all four databases and chooses the hash that they all compute alike.
///
/// # Errors
/// Refuses with every server that cannot be used, and why.
pub async fn servers(ctx: &Ctx) -> Result<HashFn> {
    let info = async |server| -> Result<ServerInfo> {
        let mut connection = postgres::connect(server, &ctx.purpose("preflight")).await?;
        let info = connection.info().await?;
        connection.close().await?;
        Ok(info)
    };
    let s = &ctx.settings;
    let all = tokio::join!(info(&s.source), info(&s.product), info(&s.order), info(&s.gateway));
    let (mut infos, mut unusable) = (Vec::new(), Vec::new());
    for info in [all.0, all.1, all.2, all.3] {
        match info {
            Ok(info) => infos.push(info),
            Err(error) => unusable.push(format!("{error:#}")),
        }
    }
    if !unusable.is_empty() {
        refuse!("not every server can be used:\n  {}\n{AGAIN}", unusable.join("\n  "));
    }
    Ok(HashFn::for_servers(infos.iter().map(|i| (i.major, i.encoding.as_str()))))
}

/// Whether all of the source can be read and dumped: the role's rights, a pg_dump that knows the server, and
/// rows that are there.
///
/// # Errors
/// Refuses with all that is missing, each with what gives it.
pub async fn source_can_be_dumped(ctx: &Ctx) -> Result<()> {
    let looked = async {
        let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("preflight")).await?;
        let info = connection.info().await?;
        let privileges = privileges::of_source(ctx, &mut connection).await?;
        let standby = standby::look(&mut connection).await?;
        connection.close().await?;
        anyhow::Ok((info, privileges, standby, ctx.tools.version().await?))
    };
    let (info, Privileges { missing, .. }, standby, pg_dump) = looked.await.map_err(refused)?;
    let source = &ctx.settings.source;
    if let Some(Standby { replayed, unlogged }) = standby {
        if let Some(tables) = unlogged {
            refuse!(
                "{source} is a standby, and has no rows of unlogged tables: {tables}. Name its primary in the \
                 environment file, or there: ALTER TABLE … SET LOGGED\n{AGAIN}"
            );
        }
        ctx.terminal.warn(format!(
            "{source} is a standby: the run holds what it has replayed, which is {replayed}, and its primary may \
             have more"
        ));
    }
    if pg_dump < info.major {
        refuse!(
            "pg_dump {pg_dump} in {} is older than {source} ({}): it cannot dump it. Install it: apt-get install \
             postgresql-client-{}\n{AGAIN}",
            ctx.tools.bindir.display(),
            info.major,
            info.major
        );
    }
    if !missing.is_empty() {
        let lines = missing.iter().map(ToString::to_string);
        refuse!(
            "{source} cannot be read whole by {}:\n  {}\nAll that are needed: {}\n{AGAIN}",
            source.user,
            lines.collect::<Vec<_>>().join("\n  "),
            privileges::script_for_source(ctx)
        );
    }
    Ok(())
}

/// # Errors
/// Refuses a compose file of the shop that Compose does not understand.
pub async fn configuration_can_be_kept(ctx: &Ctx) -> Result<()> {
    match &ctx.settings.services.compose {
        Some(file) => services::can_be_kept(file).await,
        None => Ok(()),
    }
}

/// The hash for a run that looks at the source only.
pub async fn source_alone(ctx: &Ctx) -> Result<HashFn> {
    let purpose = ctx.purpose("preflight");
    let connected = postgres::connect(&ctx.settings.source, &purpose).await;
    let mut connection = connected.map_err(refused)?;
    let info = connection.info().await?;
    connection.close().await?;
    Ok(HashFn::for_servers([(info.major, info.encoding.as_str())]))
}

/// Whether rows and documents that are in the way may be those of an earlier run. Those of a run that has an export are
/// repaired.
async fn may_be_replaced(ctx: &Ctx, export: Option<&Export>, found: &[String]) -> Result<bool> {
    if !found.iter().any(|line| line.contains(FOREIGN)) {
        return Ok(false);
    }
    let newest = Marks::read(ctx).await?.newest();
    Ok(export.is_none() || (!newest.is_empty() && newest.values().all(|run| run != ctx.run.id())))
}

/// # Errors
/// Refuses with everything that was found at once: tables that hold rows or are not what `sql/schema`
/// says, collections that hold documents. `export`: what they may hold, where there is a run already.
pub async fn targets(ctx: &Arc<Ctx>, export: Option<&Export>) -> Result<()> {
    let found = obstacles(ctx, export).await?;
    if !found.is_empty() {
        let replace = match may_be_replaced(ctx, export, &found).await? {
            true => {
                "\nWhat an earlier run brought, and nobody has changed since, gives way to `cargo xtask migrate \
                 --replace`"
            }
            false => "",
        };
        refuse!("the targets are not ready:\n  {}\n{AGAIN}{replace}", found.join("\n  "));
    }
    Ok(())
}
