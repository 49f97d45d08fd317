//! The container of the old database and its volumes: gone once the database has been dropped, where that was asked for.

use super::compose_lines::{Known, old_service};
use super::record::Record;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir::RunDir;
use crate::servers::compose_stack::NewStores;
use crate::servers::docker::{self, Container, Engine, MONOLITH};
use anyhow::{Context, Result};

/// What is removed.
#[derive(Clone, Debug)]
pub struct OldContainer(NewStores);

impl OldContainer {
    /// In the shop's compose project, or in this checkout's stack; or what an earlier call has begun to remove.
    ///
    /// # Errors
    /// Refuses what is no container, and a volume that others use.
    pub async fn of(ctx: &Ctx, stack: &[Container]) -> Result<OldContainer> {
        if let Some(removed) = Record::load(&ctx.run)?.removed {
            return Ok(OldContainer(removed));
        }
        let engine = Engine::connect().await?;
        let container = match stack.iter().find(|container| container.service == MONOLITH) {
            Some(container) => container.clone(),
            None => of_the_shop(ctx, &engine).await?,
        };
        let mut volumes = Vec::new();
        for volume in &container.volumes {
            let users = engine.users_of_volume(volume).await?;
            let foreign: Vec<String> = users.into_iter().filter(|user| *user != container.name).collect();
            if !foreign.is_empty() {
                refuse!("{}", docker::volume_in_use(volume, &foreign));
            }
            volumes.push(volume.clone());
        }
        Ok(OldContainer(NewStores { containers: vec![container.name], volumes }))
    }

    /// Can be repeated.
    pub(super) async fn remove(&self, run: &RunDir) -> Result<()> {
        Record::change(run, |record| record.removed = Some(self.0.clone()))?;
        self.0.remove(&Engine::connect().await?).await
    }
}

async fn of_the_shop(ctx: &Ctx, engine: &Engine) -> Result<Container> {
    let Some(file) = &ctx.settings.services.compose else {
        refuse!(
            "--remove-container is for the container of the shop's compose file ([services] compose) or of this \
             checkout's stack, and neither is at hand: remove it yourself, and leave it out"
        );
    };
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let source = &ctx.settings.source;
    let known = Known { database: &source.database, host: &source.host, port: source.port };
    let Some(found) = old_service(&text, &known) else {
        refuse!(
            "no service of {} is known to be the one of {}, or several could be: remove its container yourself, and leave \
             --remove-container out",
            file.display(),
            source.database
        );
    };
    let directory = file.canonicalize().with_context(|| format!("finding {}", file.display()))?;
    let directory = directory.parent().context("a compose file is in no directory")?.display().to_string();
    let labels = [
        ("com.docker.compose.project.working_dir", directory.as_str()),
        ("com.docker.compose.service", found.service.as_str()),
    ];
    match &engine.containers(&labels).await?[..] {
        [container] => Ok(container.clone()),
        containers => refuse!(
            "{} containers of the service {} in {directory} were found, and one is expected: remove it yourself, and \
             leave --remove-container out",
            containers.len(),
            found.service
        ),
    }
}
