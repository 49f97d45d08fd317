//! What goes with a rollback, once everything else is done: the new stores' volumes, and databases that were put aside.

use crate::model::Service;
use crate::phases::rollback::{Configuration, Scenario, ShopBack};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir::{Latest, RunDir};
use crate::servers::compose_stack::NewStores;
use crate::servers::docker::Engine;
use crate::session::{RunArgs, Servers, Session};
use crate::shown::escaped;
use crate::source::restore::{self, Aside};
use crate::source::services::names;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

/// Says which volumes are being removed: from then on only that is left to do.
const REMOVING: &str = "rollback/volumes.json";

#[derive(Debug, clap::Args)]
pub struct BesideArgs {
    /// Then remove the volumes of the new databases, with their containers: only of this checkout's stack
    #[arg(long)]
    pub remove_volumes: bool,
    /// Then drop the databases that `restore --in-place` has put aside
    #[arg(long)]
    pub drop_old: bool,
}

/// What goes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Besides {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<NewStores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Vec<Aside>>,
}

impl BesideArgs {
    pub fn are_none(&self) -> bool {
        !self.remove_volumes && !self.drop_old
    }

    /// As they were typed.
    pub fn flags(&self) -> String {
        let flags = [(self.remove_volumes, " --remove-volumes"), (self.drop_old, " --drop-old")];
        flags.into_iter().filter_map(|(given, flag)| given.then_some(flag)).collect()
    }

    /// Finds the servers; where an earlier call was cut off while it removed them, removes what is left of them, which
    /// is the last that it had to do. Then what was done.
    pub async fn completed(&self, session: &mut Session<'_>, run: &RunArgs) -> Result<Option<String>> {
        if !self.remove_volumes {
            return Ok(None);
        }
        let run = session.open(&run.run, Latest::WithExport)?;
        let Some(stores) = being_removed(&run)? else {
            session.look_for_containers(Servers::Running).await?;
            return Ok(None);
        };
        remove(&run, &stores).await?;
        Ok(Some(format!("✓ run {} is taken back: the rest of what was to be removed is gone\n", run.id())))
    }

    /// # Errors
    /// Refuses what may not go.
    pub async fn plan(&self, session: &Session<'_>, ctx: &Ctx, scenario: Scenario) -> Result<Besides> {
        let mut besides = Besides::default();
        if self.remove_volumes {
            if let Some(service) = scenario.alone() {
                refuse!(
                    "only {service} goes back: the other services work on the new stores, and those stay"
                );
            }
            if session.containers.is_empty() {
                refuse!(
                    "--remove-volumes is for the containers of this checkout's stack, and these servers are none: \
                     remove their data yourself, and leave it out"
                );
            }
            besides.removed = Some(NewStores::of(&Engine::connect().await?, &session.containers).await?);
        }
        if self.drop_old {
            besides.dropped = Some(restore::put_aside(ctx).await?);
        }
        Ok(besides)
    }
}

impl Besides {
    /// Each can be repeated.
    pub async fn carry_out(&self, ctx: &Arc<Ctx>) -> Result<()> {
        if let Some(databases) = &self.dropped {
            restore::drop_these(ctx, databases).await?;
        }
        if let Some(stores) = &self.removed {
            ctx.run.write(REMOVING, serde_json::to_string(stores)?)?;
            remove(&ctx.run, stores).await?;
        }
        Ok(())
    }

    pub fn text(&self) -> String {
        let mut out = String::new();
        for Aside { database, size } in self.dropped.iter().flatten() {
            let size = size.as_ref().map(|size| format!(", {size}")).unwrap_or_default();
            out += &format!("  dropped: the database {}{size}\n", escaped(database));
        }
        if self.dropped.as_ref().is_some_and(Vec::is_empty) {
            out += "  dropped: none, no database has been put aside\n";
        }
        if let Some(stores) = &self.removed {
            let (containers, volumes) = (stores.containers.join(", "), stores.volumes.join(", "));
            out += &format!("  removed: the containers {containers}\n  removed: the volumes {volumes}\n");
        }
        out
    }
}

fn being_removed(run: &RunDir) -> Result<Option<NewStores>> {
    match fs::read_to_string(run.file(REMOVING)) {
        Ok(text) => Ok(Some(serde_json::from_str(&text).with_context(|| format!("reading {REMOVING}"))?)),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).with_context(|| format!("reading {REMOVING}")),
    }
}

async fn remove(run: &RunDir, stores: &NewStores) -> Result<()> {
    stores.remove(&Engine::connect().await?).await?;
    let file = run.file(REMOVING);
    fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))
}

/// What becomes of the services: a line each.
pub fn services_text(services: &ShopBack) -> String {
    let ShopBack { stopped, new_ones_stopped, configuration, started, revert } = services;
    let mut out = String::new();
    if !stopped.is_empty() {
        out += &format!("  services stopped first: {}\n", names(stopped));
    }
    if !new_ones_stopped.is_empty() {
        out += &format!(
            "  stopped, as the old configuration has none of that name: {}\n",
            new_ones_stopped.join(", ")
        );
    }
    out += &match configuration {
        Configuration::NotNamed => String::new(),
        Configuration::NotKept => {
            "  the run does not hold the shop's old compose file: put it back yourself, then start the services\n"
                .to_string()
        }
        Configuration::ToPutBack(file) => {
            format!("  the old configuration is put back: {}\n", file.display())
        }
        Configuration::Alone { file, as_in } => format!(
            "  the service is started as {} says; {} still has the new one: write the old one there before anybody \
             calls `up` with it\n",
            as_in.display(),
            file.display()
        ),
        Configuration::Before => "  the shop's compose file is the old one\n".to_string(),
        Configuration::PutBack { kept: None } => "  the old compose file has been put back\n".to_string(),
        Configuration::PutBack { kept: Some(kept) } => {
            format!("  the old compose file has been put back; the one that was there: {}\n", kept.display())
        }
    };
    if !started.is_empty() {
        out += &format!("  services started on the old database: {}\n", names(started));
    }
    out += "  to revert, where it names the new stores:\n";
    for (service, files) in revert {
        out += &format!("    {:<16} {}\n", Service::name(*service), files.join(", "));
    }
    out
}
