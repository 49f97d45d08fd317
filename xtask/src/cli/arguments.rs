//! What can be said after each command.

use crate::commands::guard;
use crate::hazards;
use crate::lab::bench::{Reference, part};
use crate::servers::runtime::Runtime;
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Every setting with its origin, secrets masked; needs no server and no secret
    Show,
}

/// Completes the word `xtask`: give it a meaning with `xtask() { cargo xtask "$@"; }`
#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Subcommand)]
pub(super) enum StackCommand {
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

#[derive(Debug, Args)]
pub(super) struct InsideArgs {
    /// What it is to do there
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct DownArgs {
    /// Also remove the volumes of this checkout's containers, with all that is in them
    #[arg(long)]
    pub(super) volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, Args)]
pub(super) struct LogsArgs {
    /// One service, such as postgres-order [default: all]
    pub(super) service: Option<String>,
    /// Lines of each
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(super) tail: usize,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Also what holding the source back needs
    #[arg(long)]
    pub(super) freeze: bool,
    /// Why services cannot reach their databases: every container, from inside and from here
    #[arg(long)]
    pub(super) network: bool,
}

#[derive(Debug, Args)]
pub(super) struct StackArgs {
    /// Size of the monolith: 1 is about 50 thousand rows, 25 about 1.2 million, 0 the hard rows alone
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) scale: u32,
    /// Install what the machine lacks (Debian's packages)
    #[arg(long)]
    pub(super) install: bool,
}

#[derive(Debug, Args)]
pub(super) struct RehearseArgs {
    #[command(flatten)]
    pub(super) stack: StackArgs,
    /// Leave servers and run directory, and say how to connect
    #[arg(long)]
    pub(super) keep: bool,
    /// Time `pg_dump -Fc` and `pg_restore -j4` of the same database beside it
    #[arg(long)]
    pub(super) baseline: bool,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Size of the monolith: the floors are for 25, about 1.2 million rows
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub(super) scale: u32,
    /// Measure against this one only; can be repeated [default: all]
    #[arg(long = "reference", value_name = "R")]
    pub(super) references: Vec<Reference>,
    /// How often everything is measured, in turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(super) repeat: usize,
    /// Where bench.json and bench.html go [default: target/bench]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Exit code 3 where a floor is missed
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct ChaosArgs {
    /// Cuts that meet a run; half of them while somebody writes to the source
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(super) cuts: usize,
    /// The same seed draws the same cuts [default: another one each time]
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,
    /// Size of the monolith: 1 is about 50 thousand rows
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(super) scale: u32,
}

#[derive(Debug, Args)]
pub(super) struct PartArgs {
    pub(super) part: part::Part,
}

#[derive(Debug, Args)]
pub(super) struct UnfreezeArgs {
    /// Only if the source was frozen by this run
    #[arg(long, value_name = "RUN")]
    pub(super) run: Option<String>,
}

#[derive(Debug, Default, Args)]
pub(super) struct SourceArgs {
    /// Hold the source back until the command ends
    #[arg(long)]
    pub(super) freeze: bool,
    /// Read the source at this many MB/s at most
    #[arg(long, value_name = "MB/S", value_parser = rate)]
    pub(super) source_rate: Option<f64>,
    /// Do not look at the end whether the source has changed since the snapshot
    #[arg(long)]
    pub(super) no_source_check: bool,
    /// Rows in quarantine that are allowed; with more, no target is written [env: XTASK_MAX_QUARANTINE]
    #[arg(long, value_name = "N")]
    pub(super) max_quarantine: Option<u64>,
    /// Go on although this was found in the source; can be repeated, and is recorded
    #[arg(long, value_name = "HAZARD", value_parser = PossibleValuesParser::new(hazards::acceptable()), hide_possible_values = true)]
    pub(super) accept: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Go on with a run that was cut off, or `latest`: the newest unfinished one
    #[arg(long, value_name = "RUN", conflicts_with = "replace")]
    pub(super) resume: Option<String>,
    /// Take the place of an earlier run: removes only what one wrote and nobody has changed since
    #[arg(long)]
    pub(super) replace: bool,
    /// Only say what it would come to, as `plan` does
    #[arg(short = 'n', long, conflicts_with = "resume")]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// The run's name, or `latest`: the newest
    #[arg(long, default_value = "latest", value_name = "RUN")]
    pub(super) run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub(super) follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The run's name, or `latest`: the newest with a complete export
    #[arg(long, default_value = "latest", value_name = "RUN")]
    pub(super) run: String,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err(format!("expected MB/s, a number above 0, found {text:?}")),
    }
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Go on though the policy's rehearsal is missing; recorded in the run
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new([guard::NO_REHEARSAL]))]
    pub(super) accept: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct RepairArgs {
    #[command(flatten)]
    pub(super) run: RunArgs,
    /// Make the changes, then verify
    #[arg(long)]
    pub(super) apply: bool,
}

/// Said for every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Which servers: the name of a file in xtask/environments, or, with a /, the path of one
    #[arg(long, global = true, default_value = "local", value_name = "ENV")]
    pub(super) env: String,
    /// Use the local servers in this directory [default: the newest that `stack up` or `--keep` left]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) stack: Option<PathBuf>,
    /// Where local servers run: `rehearse` takes processes if nothing is said, all others what is there
    #[arg(long, global = true, value_name = "RUNTIME", env = "XTASK_RUNTIME", hide_env = true)]
    pub(super) runtime: Option<Runtime>,
    /// Where run directories are
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) backup_dir: Option<PathBuf>,
    /// The name of the source database, where the environment asks for it before anything is changed
    #[arg(long, global = true, value_name = "DATABASE")]
    pub(super) confirm: Option<String>,
    /// Documents/s that are written at most to a real project [env: XTASK_FIRESTORE_RATE]
    #[arg(long, global = true, value_name = "N")]
    pub(super) firestore_rate: Option<f64>,
    /// Statements at once on one host [default: this machine's cores]
    #[arg(long, global = true, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Differing rows shown of each table
    #[arg(long, global = true, default_value_t = 10, value_name = "N")]
    pub(super) max_diffs: usize,
    /// The result as JSON on stdout
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Only warnings and the result
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub(super) verbose: bool,
}
