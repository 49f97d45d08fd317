//! `monitor`: how the servers, the stores and their backups are, once or again and again (guide, Post-Migration 2). Only
//! looks; what does not answer is a measurement.

mod exposition;
mod firestore;
mod judge;
mod report;
mod seen;
mod server;
mod stores;
mod told;

pub use exposition::exposition;
pub use judge::{Line, State, judge};
pub use report::Report;
pub use seen::{
    Activity, CaughtUpSeen, Database, FirestoreSeen, Measured, Replication, RunSeen, Seen, Sequence,
    ServerSeen, Since, Table,
};
pub use stores::{Kept, StoreBackup, read as store_backups, seconds};

use crate::effects::{clock, disk};
use crate::identity::ServerName;
use crate::run::caught_up::CaughtUp;
use crate::run::ctx::Ctx;
use crate::run::manifest::{Manifest, Proof};
use crate::settings::Server;
use anyhow::Result;
use futures_util::future::join_all;
use std::collections::BTreeMap;

/// Looks at everything. `manifest`: of the run whose stores the services work on, or are to; `source`: what is known of
/// the old database, where it is left alone.
///
/// # Errors
/// Where the files of runs and backups cannot be read.
pub async fn look(ctx: &Ctx, manifest: Option<&Manifest>, source: Option<ServerSeen>) -> Result<Report> {
    let run = manifest.and_then(|manifest| run(ctx, manifest).transpose()).transpose()?;
    let caught_up = manifest.map(CaughtUp::of).transpose()?.flatten();
    let caught_up = caught_up.map(|caught_up| CaughtUpSeen { run: ctx.run.id().to_string(), caught_up });
    let purpose = ctx.purpose("monitor");
    let looks = ServerName::ALL.map(|name| {
        let left = source.clone().filter(|_| name == ServerName::Source);
        let purpose = &purpose;
        async move {
            let seen = match left {
                Some(known) => known,
                None => server::look(of(ctx, name), purpose).await,
            };
            (name, seen)
        }
    });
    let (servers, firestore) = tokio::join!(join_all(looks), firestore::look(ctx));
    let runs = ctx.run.runs();
    let seen = Seen {
        environment: ctx.settings.environment.clone(),
        at: clock::now(),
        now: clock::seconds_now(),
        servers: servers.into_iter().collect(),
        firestore,
        // Of stores that the services do not work on yet there is nothing to lose.
        stores: match run {
            Some(_) => stores::read(runs, &ctx.settings.environment)?,
            None => Vec::new(),
        },
        disks: BTreeMap::from([("runs and backups".to_string(), disk::room(runs)?)]),
        run,
        caught_up,
    };
    let lines = judge(&seen, &ctx.settings.monitor);
    Ok(Report::new(seen, lines))
}

fn of(ctx: &Ctx, name: ServerName) -> &Server {
    match name {
        ServerName::Source => &ctx.settings.source,
        ServerName::Product => &ctx.settings.product,
        ServerName::Order => &ctx.settings.order,
        ServerName::Gateway => &ctx.settings.gateway,
    }
}

/// `None`: it is not cut over.
fn run(ctx: &Ctx, manifest: &Manifest) -> Result<Option<RunSeen>> {
    let Some(cutover) = &manifest.cutover else { return Ok(None) };
    let proven = |proof: &Proof| Ok::<_, anyhow::Error>((seconds(&proof.finished)?, proof.is_green()));
    let verified = manifest.proof.as_ref().map(proven).transpose()?;
    Ok(Some(RunSeen { run: ctx.run.id().to_string(), cut_over: seconds(&cutover.at)?, verified }))
}
