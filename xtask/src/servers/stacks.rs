//! The local stacks of this checkout, processes and containers alike: started, shown, taken down.

use crate::effects::terminal::Terminal;
use crate::refuse;
use crate::servers::compose_stack::Removed;
use crate::servers::docker::{self, Container, Engine};
use crate::servers::local::{self, Wanted};
use crate::servers::runtime::{Runtime, Taken};
use crate::servers::{compose_stack, native};
use crate::settings::Environment;
use crate::shown::utc;
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Which servers are meant.
pub struct Meant<'a> {
    pub runtime: Runtime,
    pub workspace: &'a Path,
    /// Those in this directory only.
    pub only: Option<&'a Path>,
}

impl Meant<'_> {
    /// The kept stacks of this workspace, or the one in that directory.
    fn processes(&self) -> Result<Vec<native::KeptStack>> {
        if self.runtime == Runtime::Docker || self.only.is_some_and(docker::is_of_containers) {
            return Ok(Vec::new());
        }
        let kept = native::kept(self.workspace)?;
        let Some(dir) = self.only else { return Ok(kept) };
        let one = kept.into_iter().find(|k| dir.canonicalize().is_ok_and(|dir| dir == k.connections.dir));
        let Some(one) = one else {
            refuse!(
                "no servers of this checkout have been left running in {}: `cargo xtask stack status` lists them",
                dir.display()
            );
        };
        Ok(vec![one])
    }

    /// The engine whose containers are meant as well; where it was not asked for, it need not answer.
    async fn engine(&self, terminal: &Terminal) -> Result<Option<Engine>> {
        match (self.runtime, self.only) {
            (Runtime::Native, _) => Ok(None),
            (Runtime::Auto, Some(dir)) if !docker::is_of_containers(dir) => Ok(None),
            (Runtime::Auto, None) => match Engine::connect().await {
                Ok(engine) => Ok(Some(engine)),
                Err(why) => {
                    terminal.detail(format!("containers are not looked at: {why:#}"));
                    Ok(None)
                }
            },
            _ => Engine::connect().await.map(Some),
        }
    }

    /// Rehearsals that were kept, each with its directory.
    async fn rehearsals(&self, engine: &Engine) -> Result<Vec<(PathBuf, Vec<Container>)>> {
        let kept = docker::kept(engine, self.workspace).await?;
        Ok(kept.into_iter().filter(|(home, _)| self.only.is_none_or(|only| only == home)).collect())
    }

    /// All that are meant and there, processes first.
    async fn stacks(&self, terminal: &Terminal) -> Result<Vec<LocalStack>> {
        let mut stacks: Vec<LocalStack> = self.processes()?.into_iter().map(LocalStack::Processes).collect();
        if let Some(engine) = self.engine(terminal).await? {
            let of_compose = match self.only {
                Some(_) => Vec::new(),
                None => compose_stack::of(&engine, self.workspace).await?,
            };
            let kept = self.rehearsals(&engine).await?.into_iter().map(|(home, all)| (Some(home), all));
            let all = [(None, of_compose)].into_iter().chain(kept).filter(|(_, all)| !all.is_empty());
            let stack =
                |(home, containers)| LocalStack::Containers { engine: engine.clone(), containers, home };
            stacks.extend(all.map(stack));
        }
        Ok(stacks)
    }
}

/// The servers of a local shop, in one of two bodies.
enum LocalStack {
    Processes(native::KeptStack),
    /// `home`: of a rehearsal that was kept; `None`: of the checkout's compose file.
    Containers {
        engine: Engine,
        containers: Vec<Container>,
        home: Option<PathBuf>,
    },
}

impl LocalStack {
    /// What is typed to mean it alone.
    fn place(&self) -> String {
        let home = match self {
            LocalStack::Processes(stack) => Some(&stack.connections.dir),
            LocalStack::Containers { home, .. } => home.as_ref(),
        };
        home.map_or("--runtime docker".to_string(), |home| format!("--stack {}", home.display()))
    }

    /// What runs, and how to connect.
    async fn status(
        &self,
        environment: &Environment,
        removed: Option<&Removed>,
    ) -> Result<(String, StackSeen)> {
        match self {
            LocalStack::Processes(stack) => {
                let (directory, started) = (&stack.connections.dir, &stack.connections.started);
                let mut out = format!("{} since {}\n", directory.display(), utc(started));
                let state = |running| if running { "running" } else { "stopped" };
                for server in &stack.servers {
                    let state = state(server.running);
                    out += &format!("  {:<10} {state:<8} pid {}\n", server.name, server.pid);
                }
                let seen = |server: &native::ServerState| ServerSeen {
                    name: server.name.clone(),
                    state: state(server.running).to_string(),
                    pid: Some(server.pid),
                    container: None,
                };
                let connect = local::settings(environment, &stack.connections)
                    .map(|settings| local::how_to_connect(&settings, &stack.connections))
                    .unwrap_or_default();
                let seen = StackSeen {
                    directory: Some(directory.clone()),
                    started: Some(started.clone()),
                    servers: stack.servers.iter().map(seen).collect(),
                    ..StackSeen::new("native", &connect)
                };
                Ok((out + &connect, seen))
            }
            LocalStack::Containers { engine, containers, home } => {
                let settings = compose_stack::settings(environment, containers, removed).ok();
                let out = compose_stack::status(engine, containers, settings.as_ref()).await?;
                let seen = |container: &Container| ServerSeen {
                    name: container.service.clone(),
                    state: container.condition(),
                    pid: None,
                    container: Some(container.name.clone()),
                };
                let connect = settings
                    .map(|settings| compose_stack::how_to_connect(containers, &settings))
                    .unwrap_or_default();
                let seen = StackSeen {
                    directory: home.clone(),
                    servers: containers.iter().map(seen).collect(),
                    ..StackSeen::new("docker", &connect)
                };
                Ok((out + &connect, seen))
            }
        }
    }

    /// The last lines of each server's log, or of one's; empty where it has no such server.
    async fn logs(&self, service: Option<&str>, lines: usize) -> Result<String> {
        let stack = match self {
            LocalStack::Processes(stack) => &stack.connections,
            LocalStack::Containers { engine, containers, .. } => {
                return compose_stack::logs(engine, containers, service, lines).await;
            }
        };
        let mut out = String::new();
        let servers = stack.postgres.iter().map(|s| (s.name.as_str(), Some(&s.log)));
        let emulator = stack.emulator.iter().map(|e| ("emulator", e.log.as_ref()));
        for (name, log) in servers.chain(emulator).filter(|(name, _)| service.is_none_or(|s| s == *name)) {
            let Some(log) = log else { continue };
            let text = std::fs::read(log).with_context(|| format!("reading {}", log.display()))?;
            let text = String::from_utf8_lossy(&text);
            let all: Vec<&str> = text.lines().collect();
            all[all.len().saturating_sub(lines)..].iter().for_each(|l| out += &format!("{name} | {l}\n"));
        }
        Ok(out)
    }
}

/// A local stack for programs.
#[derive(Debug, Default, Serialize)]
pub struct StackSeen {
    /// `native`, `docker`
    pub runtime: &'static str,
    /// What `--stack` takes; `None`: the checkout's own containers.
    pub directory: Option<PathBuf>,
    pub started: Option<String>,
    pub servers: Vec<ServerSeen>,
    /// Commands to type; no password is in them.
    pub connect: Vec<String>,
}

impl StackSeen {
    fn new(runtime: &'static str, connect: &str) -> StackSeen {
        StackSeen { runtime, connect: connect.lines().map(str::to_string).collect(), ..StackSeen::default() }
    }
}

#[derive(Debug, Serialize)]
pub struct ServerSeen {
    pub name: String,
    pub state: String,
    pub pid: Option<u32>,
    pub container: Option<String>,
}

/// Starts servers, fills the monolith, leaves both running, and says how to connect. `removed`: an old database that
/// was taken out of this stack for good.
pub async fn up(
    taken: Taken,
    wanted: Wanted<'_>,
    removed: Option<&Removed>,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<(String, StackSeen)> {
    if let Taken::Docker(engine) = taken {
        let connect =
            compose_stack::up(&engine, (wanted.workspace, wanted.scale), removed, environment, terminal)
                .await?;
        let seen = StackSeen::new("docker", &connect);
        return Ok((connect, seen));
    }
    let (stack, settings) = local::start(wanted, environment, terminal).await?;
    let connections = stack.keep()?;
    let connect = local::how_to_connect(&settings, &connections);
    let seen = StackSeen { directory: Some(connections.dir.clone()), ..StackSeen::new("native", &connect) };
    Ok((connect, seen))
}

/// The volumes that `down --volumes` would remove; `None`: no engine is meant.
pub async fn volumes(meant: &Meant<'_>, terminal: &Terminal) -> Result<Option<Vec<String>>> {
    match (meant.engine(terminal).await?, meant.only) {
        (Some(engine), None) => compose_stack::volumes(&engine, meant.workspace).await.map(Some),
        _ => Ok(None),
    }
}

/// Stops every stack that is meant. Processes and rehearsals go with their data; of the compose stack's
/// volumes, these are removed.
///
/// # Errors
/// Refuses where several are meant: each is somebody's work.
pub async fn down(meant: &Meant<'_>, volumes: &[String], terminal: &Terminal) -> Result<String> {
    let stacks = meant.stacks(terminal).await?;
    if stacks.len() > 1 && meant.only.is_none() {
        let places: Vec<String> = stacks.iter().map(LocalStack::place).collect();
        refuse!(
            "several local stacks of this checkout are there: say which one goes, with its data:\n  {}",
            places.join("\n  ")
        );
    }
    let mut out = String::new();
    for stack in meant.processes()? {
        native::take_down(&stack.connections)?;
        out += &format!("stopped and removed {}\n", stack.connections.dir.display());
    }
    if let Some(engine) = meant.engine(terminal).await? {
        // By its directory, so that also what is left of one goes.
        let homes = match meant.only.filter(|dir| docker::is_of_containers(dir)) {
            Some(home) => vec![home.to_path_buf()],
            None => meant.rehearsals(&engine).await?.into_iter().map(|(home, _)| home).collect(),
        };
        for home in homes {
            docker::take_down(&engine, &home).await?;
            out += &format!("removed the containers of {}\n", home.display());
        }
        if meant.only.is_none() {
            out += &compose_stack::down(&engine, meant.workspace).await?;
        }
        for volume in volumes {
            engine.remove_volume(volume).await?;
            out += &format!("removed the volume {volume}\n");
        }
    }
    if out.is_empty() {
        out += "no local servers of this checkout are running\n";
    }
    Ok(out)
}

/// What runs, and how to connect.
pub async fn status(
    meant: &Meant<'_>,
    environment: &Environment,
    removed: Option<&Removed>,
    terminal: &Terminal,
) -> Result<(String, Vec<StackSeen>)> {
    let (mut out, mut seen) = (String::new(), Vec::new());
    for stack in meant.stacks(terminal).await? {
        let (text, stack) = stack.status(environment, removed).await?;
        out += &text;
        seen.push(stack);
    }
    if out.is_empty() {
        out += "no local servers of this checkout are running: `cargo xtask stack up` starts them\n";
    }
    Ok((out, seen))
}

/// The last lines of each server's log, or of one's.
pub async fn logs(
    meant: &Meant<'_>,
    service: Option<&str>,
    lines: usize,
    terminal: &Terminal,
) -> Result<String> {
    let mut out = String::new();
    for stack in meant.stacks(terminal).await? {
        out += &stack.logs(service, lines).await?;
    }
    if out.is_empty() {
        refuse!(
            "no local servers of this checkout have a log to show: `cargo xtask stack status` lists them"
        );
    }
    Ok(out)
}
