//! The local stack: disposable servers with the databases, roles and data of a shop.

use crate::effects::chores;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::identity::Identity;
use crate::model::Database;
use crate::servers::native::{self, Connections, EmulatorChoice, Stack};
use crate::settings::{self, Environment, Server, Settings, Tls};
use crate::{refuse, sql};
use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use secrecy::SecretString;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What a local stack is made of.
pub struct Wanted<'a> {
    pub workspace: &'a Path,
    /// Of the monolith's data: 1 is about 50 thousand rows.
    pub scale: u32,
    pub emulator: EmulatorChoice,
    /// Install what is missing, where Debian's packages have it.
    pub install: bool,
}

/// Starts the servers, creates databases and roles, fills the monolith.
pub async fn start(
    wanted: Wanted<'_>,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(Stack, Settings)> {
    require(&wanted, terminal)?;
    terminal.phase("Local servers: 4 × PostgreSQL, Firestore emulator");
    let emulator = wanted.emulator.clone();
    let options = native::Options { postgres: true, emulator, ..native::Options::default() };
    let stack = Stack::start(wanted.workspace, options).await?;
    stack.leftovers().iter().for_each(|line| terminal.line(format!("  {line}")));
    write_pgpass(stack.connections())?;
    let settings = settings(environment, stack.connections())?;
    tokio::try_join!(
        monolith(&settings, stack.connections(), wanted.scale, terminal),
        target(&settings, stack.connections(), Database::Product),
        target(&settings, stack.connections(), Database::Order),
        target(&settings, stack.connections(), Database::Gateway),
    )?;
    Ok((stack, settings))
}

/// Everything that the servers need is there, or is installed, or is asked for in one message.
pub fn require(wanted: &Wanted<'_>, terminal: &Terminal) -> Result<()> {
    let mut missing = native::missing(&wanted.emulator);
    if wanted.install && missing.iter().any(|m| !m.apt_packages.is_empty()) {
        for missing in missing.iter().filter(|m| !m.apt_packages.is_empty()) {
            terminal.line(format!("{}: {}", missing.what, missing.install));
            if let Err(error) = chores::shell_line(&missing.install) {
                refuse!("`{}` failed: {error:#} (run `apt-get update` first?)", missing.install);
            }
        }
        missing = native::missing(&wanted.emulator);
    }
    if !missing.is_empty() {
        refuse!("{}", native::describe(&missing));
    }
    Ok(())
}

/// The stack as an environment: the policy of `environment`, the addresses of the stack.
pub fn settings(environment: &Environment, stack: &Connections) -> Result<Settings> {
    let server = |label: &str, database: &str, user: &str| server(stack, label, database, user);
    let emulator = stack.emulator.as_ref().context("the local stack has no Firestore emulator")?;
    let firestore = settings::Firestore {
        project: project(&stack.dir),
        database: "(default)".to_string(),
        emulator: Some(emulator.host_port.clone()),
        credentials: None,
        rate: f64::INFINITY,
        prices: None,
        max_cost: None,
    };
    let targets = [
        server("product", "product_database", "product_user")?,
        server("order", "order_database", "order_user")?,
        server("gateway", "gateway_database", "gateway_user")?,
    ];
    Ok(environment.on(server("source", "ecommerce_db", "postgres")?, targets, firestore))
}

/// The way to a database of the stack; every user has the superuser's password.
pub fn server(stack: &Connections, label: &str, database: &str, user: &str) -> Result<Server> {
    Ok(Server {
        label: label.to_string(),
        host: "127.0.0.1".to_string(),
        port: stack.server(label)?.port,
        database: database.to_string(),
        user: user.to_string(),
        password: SecretString::from(stack.superuser_password.clone()),
        password_from: stack.dir.join("stack.json").display().to_string(),
        tls: Tls::Disable,
    })
}

/// Each stack has a project of its own, since an emulator takes any: `xtask-stack-1a2b3c4d` has
/// `demo-ecommerce-1a2b3c4d`.
fn project(stack: &Path) -> String {
    let name = stack.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let own = name.rsplit('-').next().unwrap_or_default();
    format!("demo-ecommerce-{own}")
}

/// The stack of this workspace that `stack up` or `--keep` left running, with all its servers; of several the one
/// that a run worked on.
///
/// # Errors
/// Refuses where there are several, and none of them is the run's.
pub fn running(workspace: &Path, run: Option<&Identity>) -> Result<Option<Connections>> {
    let alive = |k: &native::KeptStack| k.servers.iter().all(|s| s.running);
    let mut stacks: Vec<Connections> =
        native::kept(workspace)?.into_iter().filter(alive).map(|k| k.connections).collect();
    let recorded = run.and_then(|run| run.databases.values().next().map(|server| server.port));
    let own = stacks.iter().position(|s| s.postgres.iter().any(|server| Some(server.port) == recorded));
    match (own, stacks.len()) {
        (Some(own), _) => Ok(Some(stacks.swap_remove(own))),
        (None, 0 | 1) => Ok(stacks.pop()),
        (None, _) => {
            let places = stacks.iter().map(|stack| format!("--stack {}", stack.dir.display()));
            refuse!(
                "several local stacks of this checkout are running: say which one is meant, {}",
                places.collect::<Vec<_>>().join(" or ")
            )
        }
    }
}

/// The superuser's way to a database of the stack.
async fn superuser(stack: &Connections, settings: &Server, database: &str) -> Result<Connection> {
    let mut server = settings.clone();
    server.user = "postgres".into();
    server.database = database.into();
    server.port = stack.server(&settings.label)?.port;
    postgres::connect(&server, "stack").await
}

async fn monolith(settings: &Settings, stack: &Connections, scale: u32, terminal: &Terminal) -> Result<()> {
    let source = &settings.source;
    let mut connection = superuser(stack, source, "postgres").await?;
    connection.run(&sql::create_database(&source.database, "postgres")).await?;
    connection.close().await?;
    fill(source, scale, terminal).await
}

/// Tables and made-up rows, into an empty database; as its superuser.
pub async fn fill(source: &Server, scale: u32, terminal: &Terminal) -> Result<()> {
    let task = terminal.task("fill", "the monolith", 0);
    let mut connection = postgres::connect(source, "stack").await?;
    connection.run(include_str!("../../../fixtures/monolith/schema.sql")).await?;
    connection.run(&format!("SET seed.scale = '{scale}'")).await?;
    connection
        .run(include_str!("../../../fixtures/monolith/seed.sql"))
        .await
        .context("filling the monolith")?;
    let rows = connection.row("SELECT sum(n_live_tup)::bigint FROM pg_stat_user_tables").await?;
    let rows: Option<i64> = sqlx::Row::try_get(&rows, 0)?;
    connection.close().await?;
    task.done(u64::try_from(rows.unwrap_or_default())?);
    Ok(())
}

async fn target(settings: &Settings, stack: &Connections, database: Database) -> Result<()> {
    let server = settings.target(database);
    let mut connection = superuser(stack, server, "postgres").await?;
    let create = sql::create_role(&server.user, &stack.superuser_password);
    connection.run_secret(&format!("creating the role {}", server.user), &create).await?;
    connection.run(&sql::create_database(&server.database, &server.user)).await?;
    connection.close().await
}

/// The targets' databases as they were before any run, whatever stands in them.
pub async fn renew(settings: &Settings, stack: &Connections) -> Result<()> {
    try_join_all(Database::ALL.map(|database| renew_one(stack, settings.target(database)))).await.map(drop)
}

pub async fn renew_one(stack: &Connections, server: &Server) -> Result<()> {
    let mut connection = superuser(stack, server, "postgres").await?;
    connection.run(&sql::drop_database(&server.database)).await?;
    connection.run(&sql::create_database(&server.database, &server.user)).await?;
    connection.close().await
}

fn pgpass(stack: &Connections) -> PathBuf {
    stack.dir.join("pgpass")
}

/// So that a person can connect without a password on the command line.
fn write_pgpass(stack: &Connections) -> Result<()> {
    let path = pgpass(stack);
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let text = format!("127.0.0.1:*:*:*:{}\n", stack.superuser_password);
    file.and_then(|mut f| f.write_all(text.as_bytes())).with_context(|| format!("writing {}", path.display()))
}

/// The commands with which a person connects.
pub fn how_to_connect(settings: &Settings, stack: &Connections) -> String {
    let mut out = format!("export PGPASSFILE={}\n", pgpass(stack).display());
    for server in [&settings.source, &settings.product, &settings.order, &settings.gateway] {
        let Server { host, port, user, database, .. } = server;
        out += &format!("psql -h {host} -p {port} -U {user} {database}\n");
    }
    if let Some(emulator) = &settings.firestore.emulator {
        out += &format!(
            "export FIRESTORE_EMULATOR_HOST={emulator}   # project {}\n",
            settings.firestore.project
        );
    }
    out
}
