//! Which containers stopped or restarted while a command was at work.

use crate::effects::postgres;
use crate::effects::wait::{self, Patience, State};
use crate::model::Database;
use crate::servers::docker::{Container, Engine};
use crate::servers::native::private::answers;
use crate::settings::{Server, Settings};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Whoever worked on a container notices that its server is gone before the engine does, and it may be on
/// its way back: as long as that takes on a busy machine.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(10), interval: Duration::from_millis(200) };

/// What a container is, once that will not change any more by itself, or once patience is at its end.
enum Now {
    Removed,
    Stopped(Box<Container>),
    StartedAgain(Box<Container>),
    Silent,
    AsBefore,
}

/// What has become of containers since they were looked at, for a command that failed on them: a
/// line for each that is not as it was. `settings`: how their servers are asked whether they answer.
pub async fn post_mortem(before: &[Container], settings: &Settings) -> Vec<String> {
    if before.is_empty() {
        return Vec::new();
    }
    let deadline = Instant::now() + PATIENCE.deadline;
    let now = async {
        let engine = Engine::connect().await?;
        let looks = before.iter().map(|old| async {
            let now = settled(&engine, old, settings, deadline).await?;
            told(&engine, old, now).await
        });
        anyhow::Ok(try_join_all(looks).await?.into_iter().flatten().collect::<Vec<_>>())
    };
    let fix = "`cargo xtask stack up --runtime docker` starts the containers again";
    match now.await.context("the Docker engine that ran the containers does not answer any more") {
        Ok(lines) if lines.is_empty() => lines,
        Ok(mut lines) => {
            lines.push(fix.to_string());
            lines
        }
        Err(error) => vec![format!("{error:#}"), fix.to_string()],
    }
}

/// Waits while a container is stopped, or runs as before but is silent: both may be the middle of a restart.
async fn settled(engine: &Engine, old: &Container, settings: &Settings, deadline: Instant) -> Result<Now> {
    let settled = wait::until(PATIENCE, async || {
        Ok(match engine.container(&old.id).await? {
            None => State::Ready(Now::Removed),
            Some(now) if now.running && now.started_at != old.started_at => {
                State::Ready(Now::StartedAgain(Box::new(now)))
            }
            Some(now) if now.running => match timeout_at(deadline, lets_in(old, settings)).await {
                Ok(true) => State::Ready(Now::AsBefore),
                Ok(false) | Err(_) => State::NotYet(Now::Silent),
            },
            Some(now) => State::NotYet(Now::Stopped(Box::new(now))),
        })
    });
    let (State::Ready(now) | State::NotYet(now)) = settled.await?;
    Ok(now)
}

/// Whether the server inside lets a session in; one whose port the command does not work with is not asked.
async fn lets_in(container: &Container, settings: &Settings) -> bool {
    let emulator = container.published(8080).map(|(host, port)| format!("{host}:{port}"));
    if let Some(emulator) = emulator.filter(|e| settings.firestore.emulator.as_ref() == Some(e)) {
        return answers(emulator).await;
    }
    let Some(server) = server_of(container, settings) else { return true };
    match postgres::connect(server, "post-mortem").await {
        Ok(connection) => connection.close().await.is_ok(),
        // Whatever it says, it answers: unless it says that it is starting or shutting down.
        Err(error) => postgres::code(&error).is_some_and(|code| !code.starts_with("57P")),
    }
}

fn server_of<'a>(container: &Container, settings: &'a Settings) -> Option<&'a Server> {
    let published = container.published(5432)?;
    let targets = Database::ALL.map(|database| settings.target(database));
    [&settings.source].into_iter().chain(targets).find(|s| (s.host.as_str(), s.port) == published)
}

async fn told(engine: &Engine, old: &Container, now: Now) -> Result<Option<String>> {
    let name = &old.name;
    Ok(match now {
        Now::AsBefore => None,
        Now::Removed => Some(format!("the container {name} has been removed meanwhile")),
        Now::Silent => Some(format!("the container {name} runs, but the server in it does not answer")),
        Now::StartedAgain(now) => Some(format!(
            "the container {name} was started again at {}: whoever was connected has lost it",
            now.started_at
        )),
        Now::Stopped(now) => {
            let log = engine.log(&now.id, 4).await?.join("\n    ");
            let condition = now.condition();
            Some(format!(
                "the container {name} is not running any more: {condition}; its log ends\n    {log}"
            ))
        }
    })
}
