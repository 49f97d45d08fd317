//! `doctor --network`: why a service cannot reach its database. Of every container of the stack: state,
//! health, what its log says of failures, its networks; TCP and a login tried from here, from inside the
//! database's own container, and from its neighbours. With a verdict in one sentence.

use crate::effects::postgres;
use crate::health::{Health, Lines};
use crate::refuse;
use crate::servers::compose_stack::removed::Removed;
use crate::servers::compose_stack::{found, servers};
use crate::servers::docker::{Container, Engine, Health as Check, SERVICES};
use crate::settings::{Environment, Server, Settings};
use crate::shown::utc;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// For one attempt to connect.
const PATIENCE: Duration = Duration::from_secs(5);
/// Words by which a server's log tells of trouble.
const TROUBLE: [&str; 5] = ["FATAL", "PANIC", "ERROR", "could not", "No space left"];

/// What was found, and what it comes to.
#[derive(Debug, Serialize)]
pub struct Network {
    #[serde(flatten)]
    pub health: Health,
    pub verdict: String,
}

impl Network {
    pub fn text(&self) -> String {
        format!("{}verdict: {}\n", self.health.text(), self.verdict)
    }
}

/// One database as it was seen.
struct SeenDatabase {
    service: String,
    container: String,
    /// Why it does not run, or is not healthy.
    sick: Option<String>,
    networks: Vec<String>,
    inside: Option<String>,
    neighbour: Option<String>,
    here: Option<String>,
}

pub async fn run(
    engine: &Engine,
    workspace: &Path,
    environment: &Environment,
    removed: Option<&Removed>,
) -> Result<Network> {
    let found = found::of(engine, workspace).await?;
    if found.is_empty() {
        refuse!("this checkout's compose stack has no container: `cargo xtask stack up --runtime docker`");
    }
    let settings = servers::settings(environment, &found, removed).ok();
    let (mut lines, mut seen) = (Vec::new(), Vec::new());
    for container in &found {
        let mut of = Lines::of(&container.name);
        state(engine, container, &mut of).await?;
        let server = settings.as_ref().and_then(|s| server(s, &container.service));
        if let Some(server) = server.filter(|_| container.running) {
            seen.push(reached(engine, container, &found, server, &mut of).await?);
        } else if SERVICES.iter().any(|(_, service)| *service == container.service) && !container.running {
            seen.push(SeenDatabase::not_running(container));
        }
        lines.extend(of.lines);
    }
    Ok(Network { health: Health::new(lines), verdict: verdict(&seen, settings.is_some()) })
}

fn server<'a>(settings: &'a Settings, service: &str) -> Option<&'a Server> {
    servers::server_of(settings, service).map(|(server, _)| server)
}

async fn state(engine: &Engine, container: &Container, lines: &mut Lines) -> Result<()> {
    let Container { service, started_at, .. } = container;
    let condition = format!("{}, since {}", container.condition(), utc(started_at));
    let logs = format!("cargo xtask stack logs {service} --runtime docker");
    match (&container.health, container.running) {
        (_, false) => lines.not_met("state", condition, "cargo xtask stack up --runtime docker"),
        (Check::Unhealthy(output), true) => {
            lines.not_met("state", format!("{condition}: {output}"), logs.clone())
        }
        _ => lines.met("state", condition),
    }
    let log = engine.log(&container.id, 200).await?;
    let trouble: Vec<&String> = log.iter().filter(|l| TROUBLE.iter().any(|word| l.contains(word))).collect();
    if !trouble.is_empty() {
        let last = &trouble[trouble.len().saturating_sub(3)..];
        let last: Vec<&str> = last.iter().map(|line| line.as_str()).collect();
        lines.warn("log", last.join("\n"), logs);
    }
    let networks: Vec<String> =
        container.networks.iter().map(|(name, at)| format!("{name} ({at})")).collect();
    match networks.is_empty() {
        true => lines.not_met("networks", "on none", "cargo xtask stack up --runtime docker"),
        false => lines.met("networks", networks.join(", ")),
    }
    Ok(())
}

/// A database that runs: from inside, from a neighbour, from here.
async fn reached(
    engine: &Engine,
    container: &Container,
    all: &[Container],
    server: &Server,
    lines: &mut Lines,
) -> Result<SeenDatabase> {
    let fix = format!("cargo xtask stack logs {} --runtime docker", container.service);
    let mut note = |what: &'static str, tried: Result<String, String>| match tried {
        Ok(found) => {
            lines.met(what, found);
            None
        }
        Err(why) => {
            lines.not_met(what, why.clone(), fix.clone());
            Some(why)
        }
    };
    // By its own address: over 127.0.0.1 the image lets everybody in without a password.
    let own = container.networks.values().find(|address| !address.is_empty());
    let own = own.map_or("127.0.0.1", String::as_str);
    let inside = note("from inside", login(engine, container, own, server).await?);
    let shares = |other: &&Container| {
        other.id != container.id
            && other.running
            && other.networks.keys().any(|n| container.networks.contains_key(n))
    };
    let other = all.iter().filter(|c| c.service.starts_with("postgres-")).find(shares);
    let neighbour = match other {
        Some(other) => {
            let tried = login(engine, other, &container.service, server).await?;
            let from = |text: String| format!("{} to {}:5432: {text}", other.name, container.service);
            note("from a neighbour", tried.map(from).map_err(from))
        }
        None => note("from a neighbour", Err("no running container shares a network with it".to_string())),
    };
    let here = note("from here", outside(server).await);
    Ok(SeenDatabase {
        service: container.service.clone(),
        container: container.name.clone(),
        sick: match &container.health {
            Check::Unhealthy(output) => Some(format!("is unhealthy ({output})")),
            _ => None,
        },
        networks: container.networks.keys().cloned().collect(),
        inside,
        neighbour,
        here,
    })
}

/// TCP and a login with the password, by psql inside `from`.
async fn login(
    engine: &Engine,
    from: &Container,
    host: &str,
    server: &Server,
) -> Result<Result<String, String>> {
    let Server { user, database, password, .. } = server;
    let command =
        ["psql", "-XAtq", "-w", "-h", host, "-p", "5432", "-U", user, "-d", database, "-c", "SELECT 1"];
    let secrets = [("PGPASSWORD", password)];
    let ran = engine.run(&from.id, &command, &secrets, tokio::io::empty()).await?;
    Ok(if ran.code == 0 { Ok("TCP and login work".to_string()) } else { Err(ran.said()) })
}

async fn outside(server: &Server) -> Result<String, String> {
    let at = format!("{}:{}", server.host, server.port);
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&at)).await {
        Err(_) => return Err(format!("{at} does not answer within {} s", PATIENCE.as_secs())),
        Ok(Err(error)) => return Err(format!("{at}: {error}")),
        Ok(Ok(_)) => {}
    }
    let connected = async { postgres::connect(server, "doctor").await?.close().await };
    connected
        .await
        .map_err(|error: anyhow::Error| format!("{at} takes connections, but no login: {error:#}"))?;
    Ok(format!("{at}: TCP and login work"))
}

impl SeenDatabase {
    fn not_running(container: &Container) -> SeenDatabase {
        SeenDatabase {
            service: container.service.clone(),
            container: container.name.clone(),
            sick: Some(format!("does not run: {}", container.condition())),
            networks: Vec::new(),
            inside: None,
            neighbour: None,
            here: None,
        }
    }
}

/// The first cause: what fails further in explains what fails further out.
fn verdict(seen: &[SeenDatabase], complete: bool) -> String {
    let first = |of: fn(&SeenDatabase) -> Option<&String>| seen.iter().find_map(|s| Some((s, of(s)?)));
    if let Some((s, why)) = first(|s| s.sick.as_ref()) {
        return format!("{} {why}: whoever needs it has to wait until it runs", s.container);
    }
    if !complete {
        return "a service of docker-compose.yml has no container: `cargo xtask stack up --runtime docker`"
            .into();
    }
    if let Some((s, why)) = first(|s| s.inside.as_ref()) {
        return format!(
            "{} refuses even a login from inside: the password or the database is not what was configured when its volume was made ({why})",
            s.container
        );
    }
    if let Some((s, why)) = first(|s| s.neighbour.as_ref()) {
        let on = s.networks.join(", ");
        return format!(
            "{} works by itself, but its neighbours do not reach it under the name {}: it is on {on} ({why})",
            s.container, s.service
        );
    }
    if let Some((s, why)) = first(|s| s.here.as_ref()) {
        return format!(
            "{} can be reached within its network, but not from this machine: its published port is in the way ({why})",
            s.container
        );
    }
    "every database can be reached from inside, from its neighbours and from here: a service that cannot has \
     another host, port, password or network in its own configuration"
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> SeenDatabase {
        SeenDatabase {
            service: "postgres-order".into(),
            container: "x-postgres-order".into(),
            sick: None,
            networks: vec!["x_default".into()],
            inside: None,
            neighbour: None,
            here: None,
        }
    }

    #[test]
    fn the_innermost_cause_is_the_verdict() {
        let why = || Some("no answer".to_string());
        let healthy = verdict(&[seen()], true);
        assert!(healthy.starts_with("every database can be reached"), "{healthy}");
        for (one, words) in [
            (SeenDatabase { sick: why(), inside: why(), ..seen() }, "has to wait until it runs"),
            (SeenDatabase { inside: why(), neighbour: why(), ..seen() }, "refuses even a login from inside"),
            (
                SeenDatabase { neighbour: why(), here: why(), ..seen() },
                "under the name postgres-order: it is on x_default",
            ),
            (SeenDatabase { here: why(), ..seen() }, "but not from this machine"),
        ] {
            let said = verdict(&[seen(), one], true);
            assert!(said.contains(words), "{said}");
        }
        assert!(verdict(&[seen()], false).contains("has no container"));
    }
}
