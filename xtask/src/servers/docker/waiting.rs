//! The wait for a container's health, and what a container that will not be healthy has to say.

use crate::effects::wait::{self, Patience, State};
use crate::servers::docker::container::{Container, Health};
use crate::servers::docker::engine::Engine;
use crate::servers::docker::failures::disk_full;
use anyhow::{Result, bail};
use bollard::models::ContainerStateStatusEnum as Status;
use std::time::Duration;

/// A new database takes seconds; one that replays its log after a crash, longer.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(120), interval: Duration::from_millis(200) };

/// Waits until it runs and its health check passes (where it has one).
///
/// # Errors
/// Where it is unhealthy, has ended, or takes too long: with the last output of the check, the end of its
/// log, and what to do.
pub async fn state_of(engine: &Engine, id: &str) -> Result<Container> {
    let settled = wait::until(PATIENCE, async || {
        let Some(container) = engine.container(id).await? else {
            bail!(
                "the container {id} was removed while it started: start it with `cargo xtask stack up --runtime docker`"
            );
        };
        let state = match (&container.health, container.running) {
            (Health::Healthy | Health::Unknown, true) => Outcome::Healthy,
            (Health::Unhealthy(_), _) => Outcome::Sick,
            (_, false) if matches!(container.state, Status::EXITED | Status::DEAD) => Outcome::Sick,
            _ => return Ok(State::NotYet(container)),
        };
        Ok(State::Ready((container, state)))
    });
    match settled.await? {
        State::Ready((container, Outcome::Healthy)) => Ok(container),
        State::Ready((container, Outcome::Sick)) | State::NotYet(container) => {
            let log = engine.log(id, 8).await?;
            bail!("{}", sick(&container, &log));
        }
    }
}

enum Outcome {
    Healthy,
    Sick,
}

/// A container that will not be healthy.
fn sick(container: &Container, log: &[String]) -> String {
    let Container { name, service, .. } = container;
    let mut text = match &container.health {
        Health::Unhealthy(output) if container.running => {
            format!("the container {name} is unhealthy: its check says {output:?}")
        }
        _ if container.running => format!("the container {name} is not healthy in time"),
        _ => format!("the container {name} has ended with exit code {}", container.exit_code),
    };
    if let Some(advice) = log.iter().find_map(|line| disk_full(line)) {
        text += &format!("\n{advice}");
    }
    if log.is_empty() {
        text += ", and its log is empty";
    } else {
        text += &format!("; the end of its log:\n    {}", log.join("\n    "));
    }
    text + &format!("\nmore of it: `cargo xtask stack logs {service} --runtime docker`")
}
