//! What became of containers in the middle of somebody's work.

use crate::servers::docker::{Container, Engine};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// What has become of containers since they were looked at, for somebody whose work on them failed: a
/// line for each that is not as it was.
pub async fn news(before: &[Container]) -> Vec<String> {
    if before.is_empty() {
        return Vec::new();
    }
    let now = async {
        let engine = Engine::connect().await?;
        let mut lines = Vec::new();
        for old in before {
            lines.extend(change(&engine, old, settled(&engine, &old.id).await?).await?);
        }
        anyhow::Ok(lines)
    };
    let told = "`cargo xtask stack up --runtime docker` starts the containers again";
    match now.await.context("the Docker engine that ran the containers does not answer any more") {
        Ok(lines) if lines.is_empty() => lines,
        Ok(mut lines) => {
            lines.push(told.to_string());
            lines
        }
        Err(error) => vec![format!("{error:#}"), told.to_string()],
    }
}

/// A container as it is, or as it is once it has come back.
async fn settled(engine: &Engine, id: &str) -> Result<Option<Container>> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let container = engine.container(id).await?;
        if container.as_ref().is_none_or(|c| c.running) || Instant::now() > deadline {
            return Ok(container);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn change(engine: &Engine, old: &Container, now: Option<Container>) -> Result<Option<String>> {
    let Some(now) = now else {
        return Ok(Some(format!("the container {} has been removed meanwhile", old.name)));
    };
    if !now.running {
        let log = engine.log(&now.id, 4).await?.join("\n    ");
        let condition = now.condition();
        return Ok(Some(format!(
            "the container {} is not running any more: {condition}; its log ends\n    {log}",
            old.name
        )));
    }
    if now.started_at != old.started_at {
        let at = &now.started_at;
        return Ok(Some(format!(
            "the container {} was started again at {at}: whoever was connected has lost it",
            old.name
        )));
    }
    Ok(None)
}
