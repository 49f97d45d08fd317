//! The stack started, made ready for a command, and taken down.

use crate::effects::terminal::Terminal;
use crate::refuse;
use crate::servers::compose_stack::display::{how_to_connect, look};
use crate::servers::compose_stack::found::{of, of_directory, services};
use crate::servers::compose_stack::readiness::{images, unclaimed};
use crate::servers::compose_stack::removed::Removed;
use crate::servers::compose_stack::servers::{answering, settings};
use crate::servers::docker::{self, Compose, Container, Engine, MONOLITH, Project, SERVICES, state_of};
use crate::servers::local;
use crate::settings::Environment;
use anyhow::Result;
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use std::path::Path;

/// What `migrate` fills, and what it writes documents to (the guide's 4.1).
const TARGETS: [&str; 4] = ["postgres-product", "postgres-order", "postgres-gateway", "firestore-emulator"];

/// The stack for a command that works on it, once all are healthy and let sessions in. `start`: the three
/// new databases and the emulator are started where they do not run; else that is refused. `removed`: the old
/// database's container is gone for good, and not waited for.
pub async fn at_work(
    engine: &Engine,
    workspace: &Path,
    environment: &Environment,
    (start, removed): (bool, Option<&Removed>),
    terminal: &Terminal,
) -> Result<Vec<Container>> {
    let found = of(engine, workspace).await?;
    let without = removed.is_some_and(|removed| removed.is_of(&found));
    if !without && !found.iter().any(|c| c.service == MONOLITH && c.running) {
        let name = Project::of(workspace).name;
        let all = of_directory(engine, workspace).await?;
        let others: BTreeSet<&str> = all.iter().map(|c| c.project.as_str()).filter(|p| *p != name).collect();
        let others =
            others.into_iter().map(|other| format!("; or COMPOSE_PROJECT_NAME={other}, which is there"));
        refuse!(
            "no container of the service {MONOLITH} of the compose project {name} is running: `cargo xtask stack up \
             --runtime docker`, or `docker-compose up -d`{}",
            others.collect::<String>()
        );
    }
    let runs = |service: &&str| found.iter().any(|c| c.service == *service && c.running);
    let stopped: Vec<&str> = TARGETS.into_iter().filter(|service| !runs(service)).collect();
    if !stopped.is_empty() && !start {
        refuse!("{} do not run: `cargo xtask stack up --runtime docker` starts them", stopped.join(", "));
    }
    if !stopped.is_empty() {
        terminal.line(format!("starting {}", stopped.join(", ")));
        let project = Project::of(workspace);
        images(engine, &project, terminal).await?;
        unclaimed(engine, &project).await?;
        let compose = Compose::that_made(Some(&found[0].compose)).await?;
        compose.up(engine, &project, &stopped).await?;
    }
    let healthy = healthy(engine, &of(engine, workspace).await?).await?;
    answering(&settings(environment, &healthy, removed)?, &healthy).await?;
    Ok(healthy)
}

/// The same containers once each is healthy.
async fn healthy(engine: &Engine, containers: &[Container]) -> Result<Vec<Container>> {
    let ours = containers.iter().filter(|c| SERVICES.iter().any(|(_, service)| c.service == *service));
    try_join_all(ours.map(|c| state_of(engine, &c.id))).await
}

/// Starts the stack of this checkout, waits until it is healthy, and fills the monolith where it has no
/// table; one that was removed for good is not made again as long as the stack's other containers are there.
pub async fn up(
    engine: &Engine,
    (workspace, scale): (&Path, u32),
    removed: Option<&Removed>,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<String> {
    let project = Project::of(workspace);
    let found = of(engine, workspace).await?;
    unclaimed(engine, &project).await?;
    terminal.phase("Containers: 4 × PostgreSQL, Firestore emulator");
    let compose = Compose::that_made(found.first().map(|c| c.compose.as_str())).await?;
    compose.up(engine, &project, &services(&found, removed)).await?;
    let containers = healthy(engine, &of(engine, workspace).await?).await?;
    let settings = settings(environment, &containers, removed)?;
    answering(&settings, &containers).await?;
    let there = containers.iter().any(|container| container.service == MONOLITH);
    if there && look(&settings.source).await?.1.is_empty() {
        local::fill(&settings.source, scale, terminal).await?;
    }
    Ok(how_to_connect(&containers, &settings))
}

/// Stops and removes the containers of this checkout's stack.
pub async fn down(engine: &Engine, workspace: &Path) -> Result<String> {
    let found = of(engine, workspace).await?;
    let Some(first) = found.first() else { return Ok(String::new()) };
    Compose::that_made(Some(&first.compose)).await?.down(engine, &Project::of(workspace)).await?;
    let names: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
    Ok(format!("stopped and removed {}\n", names.join(", ")))
}

/// The volumes of this checkout's stack.
pub async fn volumes(engine: &Engine, workspace: &Path) -> Result<Vec<String>> {
    let found = of(engine, workspace).await?;
    let volumes = engine.volumes(("com.docker.compose.project", &Project::of(workspace).name)).await?;
    for volume in &volumes {
        let ours = |user: &String| found.iter().any(|c| c.name == *user);
        let foreign: Vec<String> =
            engine.users_of_volume(volume).await?.into_iter().filter(|u| !ours(u)).collect();
        if !foreign.is_empty() {
            refuse!("{}", docker::volume_in_use(volume, &foreign));
        }
    }
    Ok(volumes)
}
