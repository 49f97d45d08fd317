//! What has to be there before containers start, and what must not belong to others.

use crate::effects::terminal::Terminal;
use crate::refuse;
use crate::servers::compose_stack::found::of;
use crate::servers::docker::{self, Compose, Container, Engine, Project, SERVICES};
use crate::servers::native;
use anyhow::Result;
use std::path::Path;

/// An engine that answers, with Compose and the images; they are pulled where that is possible.
///
/// # Errors
/// Refuses with what is missing, and the command that brings it.
pub async fn ready(workspace: &Path, dotenv: bool, terminal: &Terminal) -> Result<Engine> {
    let engine = Engine::connect().await?;
    Compose::find().await?;
    let project = Project::of(workspace);
    if dotenv {
        passwords(&project)?;
    }
    images(&engine, &project, terminal).await?;
    Ok(engine)
}

/// The variables of passwords that are not set.
pub(super) fn missing_passwords(project: &Project) -> Vec<&'static str> {
    let names = [
        "SOURCE_PASSWORD",
        "PRODUCT_ADMIN_PASSWORD",
        "PRODUCT_PASSWORD",
        "ORDER_ADMIN_PASSWORD",
        "ORDER_PASSWORD",
        "GATEWAY_ADMIN_PASSWORD",
        "GATEWAY_PASSWORD",
    ];
    names.into_iter().filter(|name| project.variable(name).is_none()).collect()
}

fn passwords(project: &Project) -> Result<()> {
    let missing = missing_passwords(project);
    if !missing.is_empty() {
        refuse!(
            "the containers have no passwords: {} set neither in {} nor outside: `cp .env.example .env && chmod \
             600 .env`",
            missing.join(", "),
            project.directory.join(docker::DOTENV).display()
        );
    }
    Ok(())
}

/// The images are here, or are pulled, or it is said how to make them.
pub(super) async fn images(engine: &Engine, project: &Project, terminal: &Terminal) -> Result<()> {
    let [postgres, emulator] = project.images();
    let jar =
        native::emulator_jar().ok().map(|(_, jar)| jar).unwrap_or_else(|| "DIRECTORY-OF-THE-JAR/x".into());
    for (image, jar) in [(postgres, None), (emulator, Some(jar.as_path()))] {
        if engine.has_image(&image).await? {
            continue;
        }
        terminal.line(format!("pulling {image}"));
        if let Err(why) = engine.pull(&image).await {
            refuse!("{}", docker::no_image(&image, &why, jar));
        }
    }
    Ok(())
}

/// Names, volumes and ports that `up` would take belong to nothing else.
///
/// # Errors
/// Refuses with all that is taken, and by whom.
pub(super) async fn unclaimed(engine: &Engine, project: &Project) -> Result<()> {
    let taken = taken(engine, project).await?;
    if !taken.is_empty() {
        refuse!("{}", taken.join("\n  "));
    }
    Ok(())
}

/// What `up` would take and others have: a sentence for each.
pub(super) async fn taken(engine: &Engine, project: &Project) -> Result<Vec<String>> {
    let found = of(engine, &project.directory).await?;
    let mut taken = Vec::new();
    let directory = project.directory.display().to_string();
    for (_, service) in SERVICES {
        let name = format!("{}{service}", project.prefix());
        let other = engine.container(&name).await?;
        let foreign = |c: &Container| c.project != project.name || c.directory != directory;
        if let Some(other) = other.filter(foreign) {
            let whose = if other.project.is_empty() {
                "made without Compose".to_string()
            } else {
                format!("of the compose project {} in {}", other.project, other.directory)
            };
            taken.push(format!("the name {name} is in use by a container {whose}: remove that one (`docker rm -f {name}`), or set STACK_PREFIX in .env"));
        }
        let volume = format!("{}{service}-data", project.prefix());
        let owner =
            engine.volume(&volume).await?.and_then(|v| v.labels.get("com.docker.compose.project").cloned());
        if let Some(owner) = owner.filter(|owner| *owner != project.name) {
            taken.push(format!(
                "the volume {volume} holds the data of the compose project {owner}: set STACK_PREFIX in .env"
            ));
        }
    }
    for (service, port) in project.ports() {
        let runs = found.iter().any(|c| c.service == service && c.running);
        let Ok(number) = port.parse() else {
            taken.push(format!("the port of {service} is no number: {port}"));
            continue;
        };
        if !runs && !docker::is_free(number) {
            taken.push(format!(
                "the port {port} of {service} is taken by {}: stop that, or give another port in .env",
                holder(engine, number).await?
            ));
        }
    }
    Ok(taken)
}

/// Who has a port.
async fn holder(engine: &Engine, port: u16) -> Result<String> {
    if let Some(container) = engine.publisher(port).await? {
        return Ok(format!("the container {container}"));
    }
    Ok(docker::holder(port).unwrap_or_else(|| "a process of another user".to_string()))
}
