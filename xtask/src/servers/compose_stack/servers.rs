//! Containers as the servers of an environment.

use crate::effects::postgres;
use crate::effects::wait::{self, Patience, State};
use crate::model::Database;
use crate::refuse;
use crate::servers::compose_stack::removed::Removed;
use crate::servers::docker::{Container, MONOLITH};
use crate::settings::{self, Environment, Server, Settings, Tls};
use crate::tables::TABLES;
use anyhow::Result;
use futures_util::future::try_join_all;
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// How long a healthy server may take to let a session in.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(200) };

/// Says where a service's password comes from.
const PASSWORD: &str = "POSTGRES_PASSWORD";

/// The containers as an environment: the policy of `environment`, their published ports, and the
/// passwords that they were given. `removed`: what may stand in for the old database's.
pub fn settings(
    environment: &Environment,
    containers: &[Container],
    removed: Option<&Removed>,
) -> Result<Settings> {
    let firestore = settings::Firestore {
        project: "demo-ecommerce".to_string(),
        database: "(default)".to_string(),
        emulator: Some(emulator(containers)?),
        credentials: None,
        rate: f64::INFINITY,
        prices: None,
        max_cost: None,
    };
    let targets = [
        server(containers, "product", "postgres-product")?,
        server(containers, "order", "postgres-order")?,
        server(containers, "gateway", "postgres-gateway")?,
    ];
    let source = match removed.filter(|removed| removed.is_of(containers)) {
        Some(removed) => removed.server.clone(),
        None => server(containers, "source", MONOLITH)?,
    };
    Ok(environment.on(source, targets, firestore))
}

/// The server of a service, as the role that made it.
pub fn server(containers: &[Container], label: &str, service: &str) -> Result<Server> {
    let container = service_of(containers, service)?;
    let Some((host, port)) = container.published(5432) else {
        refuse!("the container {} publishes no port: the tool has to run in its network", container.name);
    };
    let variable = |name: &str| -> Result<SecretString> {
        let Some(value) = container.variable(name) else {
            refuse!(
                "the container {} has no variable {name}: describe its server in an environment file, and take \
                 --env ./FILE.toml",
                container.name
            );
        };
        Ok(value.clone())
    };
    let plain = |name: &str| variable(name).map(|value| value.expose_secret().to_string());
    Ok(Server {
        label: label.to_string(),
        host: host.to_string(),
        port,
        database: plain("POSTGRES_DB")?,
        user: plain("POSTGRES_USER")?,
        password: variable(PASSWORD)?,
        password_from: format!("{PASSWORD} of the container {}", container.name),
        tls: Tls::Disable,
    })
}

/// Its address: `127.0.0.1:8080`.
pub fn emulator(containers: &[Container]) -> Result<String> {
    let emulator = service_of(containers, "firestore-emulator")?;
    let Some((host, port)) = emulator.published(8080) else {
        refuse!("the container {} publishes no port", emulator.name);
    };
    Ok(format!("{host}:{port}"))
}

fn service_of<'a>(containers: &'a [Container], service: &str) -> Result<&'a Container> {
    let Some(container) = containers.iter().find(|c| c.service == service) else {
        refuse!("the service {service} has no container: `cargo xtask stack up --runtime docker` makes it");
    };
    Ok(container)
}

/// The server of a service, with the tables that it should have.
pub fn server_of<'a>(settings: &'a Settings, service: &str) -> Option<(&'a Server, Vec<&'static str>)> {
    if service == MONOLITH {
        return Some((&settings.source, TABLES.iter().map(|t| t.source).collect()));
    }
    let database = Database::ALL.into_iter().find(|d| service == format!("postgres-{d}"))?;
    let tables = TABLES.iter().filter(|t| t.database() == Some(database)).map(|t| t.name).collect();
    Some((settings.target(database), tables))
}

/// Every server of these containers lets a session in: health alone does not say that over the published port.
pub async fn answering(settings: &Settings, containers: &[Container]) -> Result<()> {
    let servers = containers.iter().filter_map(|container| server_of(settings, &container.service));
    try_join_all(servers.map(|(server, _)| answers(server))).await.map(drop)
}

/// It lets a session in: into the database that every server has, because a session in the old one would begin the
/// day again for which nobody must have been there, and once it is retired there is none of its name.
pub async fn answers(server: &Server) -> Result<()> {
    let server = &Server { database: "postgres".to_string(), ..server.clone() };
    let lets_in = async || match postgres::connect(server, "stack").await {
        Ok(mut connection) => {
            connection.row("SELECT 1").await?;
            connection.close().await.map(State::Ready)
        }
        // A password that is wrong stays so.
        Err(error) if postgres::code(&error).is_some_and(|code| code != "57P03") => Err(error),
        Err(error) => Ok(State::NotYet(format!("{error:#}"))),
    };
    wait::for_state(format!("{server} to let a session in"), PATIENCE, lets_in).await
}
