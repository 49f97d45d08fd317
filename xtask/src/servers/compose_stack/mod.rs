//! The compose stack of this checkout, started by this tool or by hand: found, started, taken down.

mod display;
pub mod doctor;
pub mod network;
mod post_mortem;
mod readiness;

pub use display::{how_to_connect, logs, status};
pub use post_mortem::news;
pub use readiness::ready;

use crate::effects::postgres;
use crate::effects::terminal::Terminal;
use crate::model::{Database, Stop};
use crate::refuse;
use crate::servers::docker::{self, Compose, Container, Engine, MONOLITH, Project, SERVICES, state_of};
use crate::servers::local;
use crate::settings::{self, Environment, Server, Settings, Tls};
use crate::tables::TABLES;
use anyhow::{Context, Result, bail};
use display::look;
use futures_util::future::try_join_all;
use readiness::{images, unclaimed};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// What `migrate` fills, and what it writes documents to (the guide's 4.1).
const TARGETS: [&str; 4] = ["postgres-product", "postgres-order", "postgres-gateway", "firestore-emulator"];

/// The stack that publishes no port.
const HARDENED: &str = "docker-compose.hardened.yml";

/// How long a healthy server may take to let a session in.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says where a service's password comes from.
const PASSWORD: &str = "POSTGRES_PASSWORD";

/// The containers of this checkout's compose stack, running or not; none where there is none. Neither
/// rehearsals nor projects of another name are among them.
pub async fn of(engine: &Engine, workspace: &Path) -> Result<Vec<Container>> {
    let name = Project::of(workspace).name;
    let mut found = of_directory(engine, workspace).await?;
    found.retain(|c| c.project == name);
    Ok(found)
}

/// Those of every compose project of this checkout.
async fn of_directory(engine: &Engine, workspace: &Path) -> Result<Vec<Container>> {
    let directory = workspace.display().to_string();
    let mut found = engine.containers(&[("com.docker.compose.project.working_dir", &directory)]).await?;
    found.retain(|c| !c.labels.contains_key(docker::HOME_LABEL));
    Ok(found)
}

/// Whether all servers of a stack run.
pub fn all_run(containers: &[Container]) -> bool {
    SERVICES.iter().all(|(_, service)| containers.iter().any(|c| c.service == *service && c.running))
}

/// The stack for a command that works on it, once all are healthy and let sessions in. `start`: the three
/// new databases and the emulator are started where they do not run; else that is refused.
pub async fn at_work(
    engine: &Engine,
    workspace: &Path,
    environment: &Environment,
    start: bool,
    terminal: &Terminal,
) -> Result<Vec<Container>> {
    let found = of(engine, workspace).await?;
    if !found.iter().any(|c| c.service == MONOLITH && c.running) {
        let name = Project::of(workspace).name;
        let all = of_directory(engine, workspace).await?;
        let others: BTreeSet<&str> = all.iter().map(|c| c.project.as_str()).filter(|p| *p != name).collect();
        let others =
            others.into_iter().map(|other| format!("; or COMPOSE_PROJECT_NAME={other}, which is there"));
        refuse!(
            "no container of the service {MONOLITH} of the compose project {name} is running: `cargo xtask stack up \
             --runtime docker`, or `docker-compose up -d`{}",
            others.collect::<String>()
        );
    }
    let runs = |service: &&str| found.iter().any(|c| c.service == *service && c.running);
    let stopped: Vec<&str> = TARGETS.into_iter().filter(|service| !runs(service)).collect();
    if !stopped.is_empty() && !start {
        refuse!("{} do not run: `cargo xtask stack up --runtime docker` starts them", stopped.join(", "));
    }
    if !stopped.is_empty() {
        terminal.line(format!("starting {}", stopped.join(", ")));
        let project = Project::of(workspace);
        images(engine, &project, terminal).await?;
        unclaimed(engine, &project).await?;
        let compose = Compose::that_made(Some(&found[0].compose)).await?;
        compose.up(engine, &project, &stopped).await?;
    }
    let healthy = healthy(engine, &of(engine, workspace).await?).await?;
    answering(&settings(environment, &healthy)?).await?;
    Ok(healthy)
}

/// The same containers once each is healthy.
async fn healthy(engine: &Engine, containers: &[Container]) -> Result<Vec<Container>> {
    let ours = containers.iter().filter(|c| SERVICES.iter().any(|(_, service)| c.service == *service));
    try_join_all(ours.map(|c| state_of(engine, &c.id))).await
}

/// Every server lets a session in: health alone does not say that over the published port.
pub async fn answering(settings: &Settings) -> Result<()> {
    let targets = Database::ALL.map(|database| settings.target(database));
    let waiting = [&settings.source].into_iter().chain(targets).map(|server| async move {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match postgres::connect(server, "stack").await {
                Ok(mut connection) => {
                    connection.row("SELECT 1").await?;
                    return connection.close().await;
                }
                // A password that is wrong stays so.
                Err(error) if postgres::code(&error).is_some_and(|code| code != "57P03") => {
                    return Err(error);
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    });
    try_join_all(waiting).await.map(drop)
}

/// The containers as an environment: the policy of `environment`, their published ports, and the
/// passwords that they were given.
pub fn settings(environment: &Environment, containers: &[Container]) -> Result<Settings> {
    let server = |label: &str, service: &str| -> Result<Server> {
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
    };
    let emulator = service_of(containers, "firestore-emulator")?;
    let Some((host, port)) = emulator.published(8080) else {
        refuse!("the container {} publishes no port", emulator.name);
    };
    let firestore = settings::Firestore {
        project: "demo-ecommerce".to_string(),
        database: "(default)".to_string(),
        emulator: Some(format!("{host}:{port}")),
        credentials: None,
        rate: f64::INFINITY,
        prices: None,
        max_cost: None,
    };
    let targets = [
        server("product", "postgres-product")?,
        server("order", "postgres-order")?,
        server("gateway", "postgres-gateway")?,
    ];
    Ok(environment.on(server("source", MONOLITH)?, targets, firestore))
}

fn service_of<'a>(containers: &'a [Container], service: &str) -> Result<&'a Container> {
    let Some(container) = containers.iter().find(|c| c.service == service) else {
        refuse!("the service {service} has no container: `cargo xtask stack up --runtime docker` makes it");
    };
    Ok(container)
}

/// Starts the stack of this checkout, waits until it is healthy, and fills the monolith where it has no
/// table.
pub async fn up(
    engine: &Engine,
    workspace: &Path,
    scale: u32,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<String> {
    let project = Project::of(workspace);
    let found = of(engine, workspace).await?;
    unclaimed(engine, &project).await?;
    terminal.phase("Containers: 4 × PostgreSQL, Firestore emulator");
    let compose = Compose::that_made(found.first().map(|c| c.compose.as_str())).await?;
    compose.up(engine, &project, &SERVICES.map(|(_, service)| service)).await?;
    let containers = healthy(engine, &of(engine, workspace).await?).await?;
    let settings = settings(environment, &containers)?;
    answering(&settings).await?;
    if look(&settings.source).await?.1.is_empty() {
        local::fill(&settings.source, scale, terminal).await?;
    }
    Ok(how_to_connect(&containers, &settings))
}

/// Stops and removes the containers of this checkout's stack.
pub async fn down(engine: &Engine, workspace: &Path) -> Result<String> {
    let found = of(engine, workspace).await?;
    let Some(first) = found.first() else { return Ok(String::new()) };
    Compose::that_made(Some(&first.compose)).await?.down(engine, &Project::of(workspace)).await?;
    let names: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
    Ok(format!("stopped and removed {}\n", names.join(", ")))
}

/// The volumes of this checkout's stack.
pub async fn volumes(engine: &Engine, workspace: &Path) -> Result<Vec<String>> {
    let found = of(engine, workspace).await?;
    let volumes = engine.volumes(("com.docker.compose.project", &Project::of(workspace).name)).await?;
    for volume in &volumes {
        let ours = |user: &String| found.iter().any(|c| c.name == *user);
        let foreign: Vec<String> =
            engine.users_of_volume(volume).await?.into_iter().filter(|u| !ours(u)).collect();
        if !foreign.is_empty() {
            refuse!("{}", docker::volume_in_use(volume, &foreign));
        }
    }
    Ok(volumes)
}

/// Runs this tool inside the network of the hardened stack, in a container that goes with it.
///
/// # Errors
/// As the tool inside ended.
pub async fn run_inside(workspace: &Path, arguments: &[String]) -> Result<()> {
    let engine = Engine::connect().await?;
    let binary = std::env::current_exe().context("finding this program")?;
    let mut project = Project::of(workspace);
    project.files = vec![HARDENED];
    project.variables = vec![
        ("XTASK_BINARY".to_string(), binary.display().to_string()),
        ("XTASK_WORKSPACE".to_string(), workspace.display().to_string()),
    ];
    let compose = Compose::find().await?;
    let inside = "the tool inside says so: see above".to_string();
    match compose.run(&engine, &project, "xtask", arguments).await? {
        0 => Ok(()),
        3 => Err(Stop::Differs(inside).into()),
        4 => Err(Stop::Refused(inside).into()),
        5 => Err(Stop::Quarantine(inside).into()),
        6 => Err(Stop::Interrupted.into()),
        code => bail!("the tool inside ended with exit code {code}: see above"),
    }
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
