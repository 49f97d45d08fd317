//! The containers of this checkout that are there.

use crate::servers::docker::{self, Container, Engine, Project, SERVICES};
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

/// Whether all servers of a stack run.
pub fn all_run(containers: &[Container]) -> bool {
    SERVICES.iter().all(|(_, service)| containers.iter().any(|c| c.service == *service && c.running))
}
