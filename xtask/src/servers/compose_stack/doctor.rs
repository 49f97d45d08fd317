//! What `doctor` looks at of Docker: engine, socket, Compose, passwords, images, ports, disk. Changes
//! nothing, and pulls nothing.

use crate::effects::disk;
use crate::health::{Line, Lines};
use crate::model::grouped;
use crate::servers::compose_stack::readiness;
use crate::servers::docker::{Compose, Engine, Project};
use anyhow::Result;
use std::path::Path;

const PLACE: &str = "containers";
/// Images, the rehearsal's databases and their log are less.
const WANTED: u64 = 5_000_000_000;

/// A line for each; all are looked at, whatever the others come to.
pub async fn lines(workspace: &Path) -> Vec<Line> {
    let mut lines = Lines::of(PLACE);
    let project = Project::of(workspace);
    match Compose::find().await {
        Ok(compose) => lines.met("compose", format!("{} {}", compose.name(), compose.version)),
        Err(error) => lines.failed("compose", &error, "apt-get install docker-compose"),
    }
    let missing = readiness::missing_passwords(&project);
    if missing.is_empty() {
        lines.met("passwords", format!("set, for the project {}", project.name));
    } else {
        let found = format!("{} not set", missing.join(", "));
        lines.not_met("passwords", found, "cp .env.example .env && chmod 600 .env");
    }
    match Engine::connect().await {
        Ok(engine) => of_engine(&engine, &project, &mut lines).await,
        Err(error) => {
            lines.failed("engine", &error, "systemctl start docker; or do without: --runtime native");
            lines.not_looked_at(&["images", "ports", "disk"], "the engine does not answer");
        }
    }
    lines.lines
}

async fn of_engine(engine: &Engine, project: &Project, lines: &mut Lines) {
    lines.met("engine", format!("{} at {}, and this user may use its socket", engine.version, engine.host));
    for image in project.images() {
        match engine.has_image(&image).await {
            Ok(true) => lines.met("images", image),
            Ok(false) => lines.not_met(
                "images",
                format!("{image} is not here"),
                format!("docker pull {image}; the emulator's is built: see docker/firestore/Dockerfile"),
            ),
            Err(error) => lines.failed("images", &error, "systemctl status docker"),
        }
    }
    match readiness::taken(engine, project).await {
        Ok(taken) if taken.is_empty() => {
            lines.met("ports", "names, volumes and ports are free, or this stack's own")
        }
        Ok(taken) => lines.not_met("ports", taken.join("\n"), "see there"),
        Err(error) => lines.failed("ports", &error, "systemctl status docker"),
    }
    match room(engine).await {
        Ok((place, free)) if free < WANTED => {
            let found = format!("{place} has {} bytes, {} are wanted", grouped(free), grouped(WANTED));
            lines.warn("disk", found, "docker system df; docker system prune removes what nobody uses");
        }
        Ok((place, free)) => lines.met("disk", format!("{place} has {} bytes", grouped(free))),
        Err(error) => lines.failed("disk", &error, "docker system df"),
    }
}

/// Where the engine keeps its things, and what is free there. Only for an engine on this machine.
async fn room(engine: &Engine) -> Result<(String, u64)> {
    let root = engine.root().await?;
    let (there, free) = disk::free(&root)?;
    Ok((there.display().to_string(), free))
}
