//! Whether a run belongs to the servers at hand (DESIGN rule 19).

use crate::effects::postgres;
use crate::identity::{DatabaseIdentity, FirestoreIdentity, Identity, ServerName};
use crate::model::{Database, refused};
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::settings::Server;
use crate::{refuse, sql_file};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use sqlx::Row;

/// What these servers say; with the targets what Firestore is. For a run that is about to begin.
///
/// # Errors
/// Refuses where one of them cannot be asked.
pub async fn look(ctx: &Ctx, names: &[ServerName]) -> Result<Identity> {
    asked(ctx, names).await.map_err(refused)
}

async fn asked(ctx: &Ctx, names: &[ServerName]) -> Result<Identity> {
    let one = |name: ServerName| async move {
        let server = server(ctx, name);
        let mut connection = postgres::connect(server, &ctx.purpose("identity")).await?;
        let row = connection.row(sql_file!("phases/marks/identity.sql").text).await?;
        let identity = DatabaseIdentity {
            host: server.host.clone(),
            port: server.port,
            database: row.try_get("name")?,
            oid: row.try_get("oid")?,
            system: row.try_get("system")?,
            timeline: row.try_get("timeline")?,
        };
        connection.close().await?;
        anyhow::Ok((name, identity))
    };
    let databases = try_join_all(names.iter().copied().map(one)).await?;
    let settings = &ctx.settings.firestore;
    let firestore = names.contains(&ServerName::Product).then(|| FirestoreIdentity {
        project: settings.project.clone(),
        database: settings.database.clone(),
    });
    Ok(Identity { databases: databases.into_iter().collect(), firestore })
}

fn server(ctx: &Ctx, name: ServerName) -> &Server {
    match name {
        ServerName::Source => &ctx.settings.source,
        ServerName::Product => ctx.settings.target(Database::Product),
        ServerName::Order => ctx.settings.target(Database::Order),
        ServerName::Gateway => ctx.settings.target(Database::Gateway),
    }
}

/// Why a command of this environment does not touch the run; `None`: it is its own.
pub fn of_another_environment(run: &str, manifest: &Manifest, environment: &str) -> Option<String> {
    let theirs = &manifest.environment;
    (theirs != environment).then(|| {
        format!("run {run} is of environment `{theirs}`, not of `{environment}`: say --env {theirs}")
    })
}

/// The run is of this environment, and these are its servers, but for those that were replaced on purpose
/// (`--adopt`). Returns what they say.
///
/// # Errors
/// Refuses in one line what belongs elsewhere.
pub async fn belongs(
    ctx: &Ctx,
    manifest: &Manifest,
    names: &[ServerName],
    adopt: &[ServerName],
) -> Result<Identity> {
    let run = ctx.run.id();
    let settings = &ctx.settings;
    if let Some(why) = of_another_environment(run, manifest, &settings.environment) {
        refuse!("{why}");
    }
    let found = asked(ctx, names).await.context("looking whose servers these are")?;
    if let (Some(recorded), Some(found)) = (&manifest.servers.firestore, &found.firestore)
        && recorded != found
    {
        refuse!(
            "run {run} belongs to Firestore {recorded}; environment `{}` names {found}",
            settings.environment
        );
    }
    for (name, found) in &found.databases {
        let Some(recorded) = manifest.servers.databases.get(name).filter(|_| !adopt.contains(name)) else {
            continue;
        };
        if let Some(how) = found.differs_from(recorded) {
            refuse!(
                "run {run} belongs to other servers: {name} at {}:{}/{} is {how} than the one that the run worked \
                 on (found then at {}:{}/{}). Name the right ones with --env or --stack; if it was replaced on \
                 purpose, `cargo xtask verify --run {run} --adopt {name}` takes it in",
                found.host,
                found.port,
                found.database,
                recorded.host,
                recorded.port,
                recorded.database
            );
        }
    }
    Ok(found)
}

/// Writes down those that the run has not worked on before.
pub fn remember(ctx: &Ctx, found: Identity) -> Result<()> {
    ctx.run.change_manifest(|manifest| {
        manifest.servers = std::mem::take(&mut manifest.servers).and(found);
        Ok(())
    })?;
    Ok(())
}
