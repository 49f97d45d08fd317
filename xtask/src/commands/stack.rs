//! The local servers by themselves: in containers, or as processes of this machine.

use crate::effects::terminal::ask;
use crate::refuse;
use crate::servers::compose_stack;
use crate::servers::local::Wanted;
use crate::servers::native::EmulatorChoice;
use crate::servers::runtime::{self, Runtime};
use crate::servers::stacks::{Meant, down, logs, status, up, volumes};
use crate::session::{Command, Session, print};
use anyhow::{Context, Result};
use serde_json::json;

/// Local servers: start, stop, status, logs
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Start four PostgreSQL servers and a Firestore emulator, fill the monolith, leave them running
    Up(StackArgs),
    /// Stop what `up` or `--keep` left running; processes go with their data, of containers the volumes stay
    Down(DownArgs),
    /// What runs, how it is, and how to connect
    Status,
    /// The end of the servers' logs
    Logs(LogsArgs),
    /// This tool inside the network of docker-compose.hardened.yml: `stack run -- verify --run latest`
    Run(InsideArgs),
}

#[derive(Debug, clap::Args)]
pub struct InsideArgs {
    /// What it is to do there
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub struct DownArgs {
    /// Also remove the volumes of this checkout's containers, with all that is in them
    #[arg(long)]
    pub volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// One service, such as postgres-order [default: all]
    pub service: Option<String>,
    /// Lines of each
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub tail: usize,
}

#[derive(Debug, clap::Args)]
pub struct StackArgs {
    /// Size of the monolith: 1 is about 50 thousand rows, 25 about 1.2 million, 0 the hard rows alone
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub scale: u32,
    /// Install what the machine lacks (Debian's packages)
    #[arg(long)]
    pub install: bool,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let asked = session.common.runtime.unwrap_or(Runtime::Auto);
        let (workspace, only) = (session.workspace.as_path(), session.common.stack.as_deref());
        let meant = Meant { runtime: asked, workspace, only };
        match self.what {
            What::Up(args) => {
                let taken = runtime::choose(asked, &session.workspace, true, &session.terminal).await?;
                let removed = session.removed()?;
                let (environment, wanted) = (session.environment()?, wanted(session, &args));
                let (text, seen) =
                    up(taken, wanted, removed.as_ref(), &environment, &session.terminal).await?;
                let next = format!("{}; at the end: {}", session.then("migrate"), session.then("stack down"));
                session.done(&seen, text, next)
            }
            What::Down(args) => {
                let volumes = consented(session, &meant, &args).await?;
                let text = down(&meant, &volumes, &session.terminal).await?;
                session.done(&json!({ "did": text.lines().collect::<Vec<_>>() }), text, None)
            }
            What::Status => {
                let (environment, removed) = (session.environment()?, session.removed()?);
                let (text, seen) = status(&meant, &environment, removed.as_ref(), &session.terminal).await?;
                session.done(&json!({ "stacks": seen }), text, None)
            }
            What::Run(args) => inside(session, args.command).await,
            What::Logs(args) => {
                let service = args.service.as_deref();
                let text = logs(&meant, service, args.tail, &session.terminal).await?;
                let lines = text.lines().filter_map(|line| line.split_once(" | "));
                let lines: Vec<_> =
                    lines.map(|(server, line)| json!({ "server": server, "line": line })).collect();
                session.done(&json!({ "lines": lines }), text, None)
            }
        }
    }
}

/// With --json, the document is the one of the command inside.
async fn inside(session: &Session<'_>, mut command: Vec<String>) -> Result<()> {
    if session.document.is_wanted() && !command.iter().any(|word| word == "--json") {
        command.push("--json".into());
    }
    let program = compose_stack::inside(&session.workspace, &command).await?;
    if !session.document.is_wanted() {
        return compose_stack::ended_inside(program.foreground().await?);
    }
    let (code, printed) = program.foreground_read().await?;
    // Where the engine could not start it, nothing is printed, and this call has to tell.
    if !printed.trim().is_empty() {
        print(&printed)?;
        session.document.is_printed();
    }
    compose_stack::ended_inside(code)
}

pub fn wanted<'s>(session: &'s Session<'_>, args: &StackArgs) -> Wanted<'s> {
    let emulator = match session.variables.get("FIRESTORE_EMULATOR_HOST") {
        Some(host) => EmulatorChoice::Running(host.clone()),
        None => EmulatorChoice::Start,
    };
    Wanted { workspace: &session.workspace, scale: args.scale, emulator, install: args.install }
}

/// The volumes that go, once the person has agreed to that.
async fn consented(session: &Session<'_>, meant: &Meant<'_>, args: &DownArgs) -> Result<Vec<String>> {
    if !args.volumes {
        return Ok(Vec::new());
    }
    let volumes = volumes(meant, &session.terminal).await?.unwrap_or_default();
    if args.yes || volumes.is_empty() {
        return Ok(volumes);
    }
    let question = format!("Remove the volumes {}, with all that is in them?", volumes.join(", "));
    match ask(&question).context("asking")? {
        Some(true) => Ok(volumes),
        Some(false) => refuse!("nothing was changed"),
        None => {
            refuse!("it would remove the volumes {}: if that is meant, add --yes", volumes.join(", "))
        }
    }
}
