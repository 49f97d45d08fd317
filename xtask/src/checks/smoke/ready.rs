//! Waits until the services answer: each at the address that the environment names.

use super::logs;
use super::result::{Checked, Verdict};
use super::world::World;
use crate::effects::http::Call;
use crate::effects::wait::{self, Patience, State};
use crate::model::Service;
use crate::servers::docker::Engine;
use anyhow::Result;
use futures_util::future::try_join_all;
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(100);

/// A look at a service that has not answered well: the status, if any, and the words.
#[derive(Clone)]
struct Seen {
    status: Option<u16>,
    words: String,
}

/// A line for each service, and why nothing is asked of those that are silent.
pub(super) async fn wait(world: &World<'_>) -> Result<(Vec<Checked>, BTreeMap<Service, String>)> {
    let looked = try_join_all(Service::ALL.map(|service| one(world, service))).await?;
    let mut silent = BTreeMap::new();
    for (service, checked) in Service::ALL.into_iter().zip(&looked) {
        if checked.verdict != Verdict::Pass {
            silent.insert(service, format!("{service} does not answer"));
        }
    }
    Ok((looked, silent))
}

async fn one(world: &World<'_>, service: Service) -> Result<Checked> {
    let checked = Checked::new("ready", &format!("{service} answers"));
    let Some(endpoint) = world.plan.services.endpoints.get(&service) else {
        return Ok(checked.not_looked_at(format!("[services] does not say where: {} = \"…\"", service.key())));
    };
    let (patience, began) = (Patience { deadline: world.plan.wait, interval: INTERVAL }, Instant::now());
    let state = match endpoint.strip_prefix("container:") {
        Some(name) => wait::until(patience, async || container(name).await).await?,
        None => wait::until(patience, async || Ok(answers(world, endpoint).await)).await?,
    };
    let checked = checked.took(began.elapsed());
    Ok(match state {
        State::Ready(status) => checked.status(status),
        State::NotYet(seen) => checked
            .status(seen.status)
            .fails(format!(
                "waited {} s for {endpoint}; the last that was seen: {}",
                patience.deadline.as_secs_f64(),
                seen.words
            ))
            .log(logs::last(world, service, None).await),
    })
}

async fn answers(world: &World<'_>, endpoint: &str) -> State<Option<u16>, Seen> {
    let Ok(url) = Url::parse(endpoint) else {
        return State::NotYet(Seen { status: None, words: "it is no address".to_string() });
    };
    let request_id = format!("{}-ready", world.id);
    let call = Call { method: Method::GET, url, request_id, token: None, body: None };
    match world.http.send(&call).await {
        Ok(answered) if (200..300).contains(&answered.status) => State::Ready(Some(answered.status)),
        Ok(answered) => State::NotYet(Seen {
            status: Some(answered.status),
            words: format!("status {}", answered.status),
        }),
        Err(why) => State::NotYet(Seen { status: None, words: why }),
    }
}

/// What has no address has to run, at least.
async fn container(name: &str) -> Result<State<Option<u16>, Seen>> {
    let not_yet = |words| State::NotYet(Seen { status: None, words });
    let engine = match Engine::connect().await {
        Ok(engine) => engine,
        Err(error) => return Ok(not_yet(format!("{error:#}"))),
    };
    Ok(match engine.container(name).await? {
        Some(found) if found.running => State::Ready(None),
        Some(found) => not_yet(format!("the container is {}", found.condition())),
        None => not_yet("there is no such container".to_string()),
    })
}
