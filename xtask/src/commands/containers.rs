//! The compose stack of this checkout, started by this tool or by hand: found, started, looked at, taken
//! down.

use super::local;
use crate::effects::docker::{self, Compose, Container, Engine, MONOLITH, Project, SERVICES, state_of};
use crate::effects::terminal::Terminal;
use crate::effects::{native, postgres};
use crate::model::{Database, Stop};
use crate::settings::{self, Environment, Server, Settings, Tls};
use crate::tables::TABLES;
use crate::{refuse, sql_file};
use anyhow::{Context, Result, bail};
use futures_util::future::try_join_all;
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
pub fn missing_passwords(project: &Project) -> Vec<&'static str> {
    let names = ["SOURCE_PASSWORD", "PRODUCT_PASSWORD", "ORDER_PASSWORD", "GATEWAY_PASSWORD"];
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
pub async fn images(engine: &Engine, project: &Project, terminal: &Terminal) -> Result<()> {
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

/// The stack for a command that works on it: starts the three new databases and the emulator where they
/// do not run, and waits until all are healthy and let sessions in.
pub async fn at_work(
    engine: &Engine,
    workspace: &Path,
    environment: &Environment,
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

/// Names, volumes and ports that `up` would take belong to nobody else.
///
/// # Errors
/// Refuses with all that is taken, and by whom.
async fn unclaimed(engine: &Engine, project: &Project) -> Result<()> {
    let taken = taken(engine, project).await?;
    if !taken.is_empty() {
        refuse!("{}", taken.join("\n  "));
    }
    Ok(())
}

/// What `up` would take and somebody else has: a sentence for each.
pub async fn taken(engine: &Engine, project: &Project) -> Result<Vec<String>> {
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

/// How each container is, as a table.
pub async fn status(engine: &Engine, containers: &[Container], environment: &Environment) -> Result<String> {
    let mut table = comfy_table::Table::new();
    table.load_style(crate::summary::table_style());
    table.set_header(["service", "container", "health", "port", "tables", "size", "volume"]);
    let settings = settings(environment, containers).ok();
    for container in containers {
        let server = settings.as_ref().and_then(|s| server_of(s, &container.service));
        let (tables, size) = match server {
            Some((server, expected)) if container.running => match look(server).await {
                Ok((bytes, tables)) => {
                    (presence(&expected, &tables), format!("{:.1} MB", bytes as f64 / 1e6))
                }
                Err(error) => (format!("{error:#}"), String::new()),
            },
            _ => (String::new(), String::new()),
        };
        let inside = if container.service == "firestore-emulator" { 8080 } else { 5432 };
        let port =
            container.published(inside).map(|(host, port)| format!("{host}:{port}")).unwrap_or_default();
        let volume = container.volumes.join(", ");
        table.add_row([
            &container.service,
            &container.name,
            &container.condition(),
            &port,
            &tables,
            &size,
            &volume,
        ]);
    }
    let project = containers.first().map(|c| c.project.as_str()).unwrap_or_default();
    Ok(format!("compose project {project}, engine {} at {}\n{table}\n", engine.version, engine.host))
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

fn presence(expected: &[&str], found: &[String]) -> String {
    let missing: Vec<&str> = expected.iter().copied().filter(|t| !found.iter().any(|f| f == t)).collect();
    match missing.len() {
        0 => format!("all {}", expected.len()),
        n if n == expected.len() => format!("none of {n}"),
        _ => format!("without {}", missing.join(", ")),
    }
}

/// The size of a database in bytes, and its tables.
async fn look(server: &Server) -> Result<(i64, Vec<String>)> {
    let mut connection = postgres::connect(server, "stack").await?;
    let row = connection.row(sql_file!("phases/stack/tables.sql").text).await?;
    connection.close().await?;
    Ok((sqlx::Row::try_get(&row, 0)?, sqlx::Row::try_get(&row, 1)?))
}

/// The end of the log of each container, or of one service's.
pub async fn logs(
    engine: &Engine,
    containers: &[Container],
    service: Option<&str>,
    lines: usize,
) -> Result<String> {
    let wanted = |c: &&Container| service.is_none_or(|s| c.service == s || c.name == s);
    let chosen: Vec<&Container> = containers.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let there: Vec<&str> = containers.iter().map(|c| c.service.as_str()).collect();
        refuse!(
            "there is no container of the service {}: there are {}",
            service.unwrap_or("asked for"),
            there.join(", ")
        );
    }
    let mut out = String::new();
    for container in chosen {
        for line in engine.log(&container.id, lines).await? {
            out += &format!("{} | {line}\n", container.service);
        }
    }
    Ok(out)
}

/// The commands with which a person connects.
pub fn how_to_connect(containers: &[Container], settings: &Settings) -> String {
    let mut out = String::new();
    for (_, service) in &SERVICES[..4] {
        let server = server_of(settings, service).map(|(server, _)| server);
        let container = containers.iter().find(|c| c.service == *service);
        if let (Some(Server { port, user, database, .. }), Some(container)) = (server, container) {
            out += &format!(
                "docker exec -it {} psql -U {user} {database}   # 127.0.0.1:{port}\n",
                container.name
            );
        }
    }
    if let Some(emulator) = &settings.firestore.emulator {
        out += &format!(
            "export FIRESTORE_EMULATOR_HOST={emulator}   # project {}\n",
            settings.firestore.project
        );
    }
    out
}

/// What has become of containers since they were looked at, for somebody whose work on them failed: a
/// line for each that is not as it was.
pub async fn news(before: &[Container]) -> Vec<String> {
    let now = async {
        let engine = Engine::connect().await?;
        let mut lines = Vec::new();
        for old in before {
            lines.extend(change(&engine, old, settled(&engine, &old.id).await?).await?);
        }
        anyhow::Ok(lines)
    };
    let told = "`cargo xtask stack up --runtime docker` starts the containers again";
    match now.await.context("looking at the containers") {
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
