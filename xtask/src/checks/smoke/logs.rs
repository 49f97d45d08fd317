//! What services have written into their logs: of containers the engine's, else the file that the environment names.

use super::masking;
use super::world::World;
use crate::findings::Words;
use crate::model::Service;
use crate::servers::docker::Engine;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};

/// Lines shown of a service's log.
const SHOWN: usize = 5;
/// Lines of a container's log that are read.
const READ: usize = 100_000;

/// A service's log; `None`: nobody says where it is.
pub(super) async fn lines(world: &World<'_>, service: Service) -> Result<Option<Vec<String>>> {
    let services = &world.plan.services;
    if let Some(path) = services.logs.get(&service) {
        let context = || format!("reading the log of {service}, {}", path.display());
        let file = std::fs::File::open(path).with_context(context)?;
        let lines = BufReader::new(file).split(b'\n');
        let lines = lines
            .map(|line| Ok(String::from_utf8_lossy(&line.with_context(context)?).trim_end().to_string()));
        return lines.collect::<Result<Vec<_>>>().map(Some);
    }
    match services.endpoints.get(&service).and_then(|endpoint| endpoint.strip_prefix("container:")) {
        Some(name) => Ok(Some(Engine::connect().await?.log(name, READ).await?)),
        None => Ok(None),
    }
}

/// What a person needs who asks why: the last lines of the service itself, and those of the others that name the
/// request.
pub(super) async fn last(world: &World<'_>, service: Service, request_id: Option<&str>) -> Vec<Words> {
    let mut all = Vec::new();
    let others = Service::ALL.into_iter().filter(|other| *other != service);
    for one in [service].into_iter().chain(others) {
        let lines = match lines(world, one).await {
            Ok(lines) => lines.unwrap_or_default(),
            Err(error) => vec![format!("({error:#})")],
        };
        let names = |line: &&String| one == service || request_id.is_some_and(|id| line.contains(id));
        let mut chosen: Vec<&String> = lines.iter().filter(names).rev().take(SHOWN).collect();
        chosen.reverse();
        let shown = chosen.into_iter().map(|line| masking::line(line, world.plan.token.as_ref()));
        all.extend(shown.map(|words| words.behind(&format!("{one}: "))));
    }
    all
}
