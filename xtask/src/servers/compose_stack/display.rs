//! Containers as a person sees them: a table, the end of their logs, how to connect.

use crate::effects::postgres;
use crate::servers::compose_stack::servers::server_of;
use crate::servers::docker::{Container, Engine, SERVICES};
use crate::settings::{Server, Settings};
use crate::{refuse, sql_file};
use anyhow::Result;

/// How each container is, as a table.
pub async fn status(
    engine: &Engine,
    containers: &[Container],
    settings: Option<&Settings>,
) -> Result<String> {
    let mut table = comfy_table::Table::new();
    table.load_style(crate::run::report::table_style());
    table.set_header(["service", "container", "health", "port", "tables", "size", "volume"]);
    for container in containers {
        let server = settings.and_then(|s| server_of(s, &container.service));
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

fn presence(expected: &[&str], found: &[String]) -> String {
    let missing: Vec<&str> = expected.iter().copied().filter(|t| !found.iter().any(|f| f == t)).collect();
    match missing.len() {
        0 => format!("all {}", expected.len()),
        n if n == expected.len() => format!("none of {n}"),
        _ => format!("without {}", missing.join(", ")),
    }
}

/// The size of a database in bytes, and its tables.
pub(super) async fn look(server: &Server) -> Result<(i64, Vec<String>)> {
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
