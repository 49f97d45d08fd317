//! The containers of this checkout that are there.

use crate::servers::compose_stack::removed::Removed;
use crate::servers::docker::{self, Container, Engine, MONOLITH, Project, SERVICES};
use anyhow::Result;
use std::path::Path;

/// The containers of this checkout's compose stack, running or not; none where there is none. Neither
/// rehearsals nor projects of another name are among them.
pub async fn of(engine: &Engine, workspace: &Path) -> Result<Vec<Container>> {
    let name = Project::of(workspace).name;
    let mut found = of_directory(engine, workspace).await?;
    found.retain(|c| c.project == name);
    Ok(found)
}

/// Those of every compose project of this checkout.
pub(super) async fn of_directory(engine: &Engine, workspace: &Path) -> Result<Vec<Container>> {
    let directory = workspace.display().to_string();
    let mut found = engine.containers(&[("com.docker.compose.project.working_dir", &directory)]).await?;
    found.retain(|c| !c.labels.contains_key(docker::HOME_LABEL));
    Ok(found)
}

/// The services that a stack is made of, but for the one that was taken out of it for good.
pub(super) fn services(stack: &[Container], removed: Option<&Removed>) -> Vec<&'static str> {
    let without = removed.is_some_and(|removed| removed.is_of(stack));
    SERVICES.iter().map(|(_, service)| *service).filter(|service| !without || *service != MONOLITH).collect()
}

/// Whether all servers of a stack run.
pub fn all_run(containers: &[Container], removed: Option<&Removed>) -> bool {
    let runs = |service: &&str| containers.iter().any(|c| c.service == *service && c.running);
    services(containers, removed).iter().all(runs)
}
