//! Every command on a line. A new one is a file in `commands/` and a line here.

use crate::commands as c;
use crate::effects::cleanup::Cleanup;
use crate::session::{Command as _, Common, LastWords, Servers, Session, Whereabouts, print};
use crate::settings::Variables;
use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

/// Splits one PostgreSQL shop database into Firestore and three PostgreSQL databases, proves that every
/// row arrived exactly, and accounts for every row that did not.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  usage
  3  verification differs
  4  refused before anything was changed
  5  more rows in quarantine than allowed; no target was written
  6  interrupted (Ctrl-C, SIGTERM, a lost terminal)
  129, 130, 143  interrupted a second time, at once";

/// The commands, in the order of their use: what each is for and its options stand in its file.
macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident: $args:ty,)*) => {
        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name($args),)*
        }

        impl Command {
            fn servers(&self) -> Servers {
                match self {
                    $(Command::$name(args) => args.servers(),)*
                }
            }

            async fn run(self, session: &mut Session<'_>) -> Result<()> {
                match self {
                    $(Command::$name(args) => Box::pin(args.run(session)).await,)*
                }
            }
        }
    };
}

commands! {
    Rehearse: c::rehearse::Args,
    Stack: c::stack::Args,
    Config: c::config::Args,
    Doctor: c::doctor::Args,
    Plan: c::plan::Args,
    Backup: c::backup::Args,
    Export: c::export::Args,
    Import: c::import::Args,
    Migrate: c::migrate::Args,
    Status: c::status::Args,
    Verify: c::verify::Args,
    Freeze: c::freeze::Args,
    Unfreeze: c::freeze::UndoArgs,
    Cutover: c::cutover::Args,
    Smoke: c::smoke::Args,
    Perf: c::perf::Args,
    Monitor: c::monitor::Args,
    Repair: c::repair::Args,
    Replay: c::replay::Args,
    Rollback: c::rollback::Args,
    Restore: c::restore::Args,
    Report: c::report::Args,
    RestoreDrill: c::restore_drill::Args,
    Schedule: c::schedule::Args,
    Harden: c::harden::Args,
    Decommission: c::decommission::Args,
    Bench: c::bench::Args,
    Chaos: c::chaos::Args,
    Completions: Completions,
    #[command(hide = true)]
    BenchPart: c::bench_part::Args,
}

/// The command line as a whole: for completions, and for documents whose commands have to be ones.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Whether a command has an option, of its own or as all have it.
fn knows(name: &str, option: &str) -> bool {
    let all = command();
    let has = |command: &clap::Command| command.get_arguments().any(|a| a.get_long() == Some(option));
    all.find_subcommand(name).is_some_and(|command| has(command) || has(&all))
}

impl Cli {
    /// What it was told about where things are.
    pub fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.common, knows)
    }

    pub fn is_verbose(&self) -> bool {
        self.common.verbose
    }

    /// Runs the command; its result goes to stdout. What it would have to undo, were it dropped, stands in
    /// `cleanup`.
    pub async fn run(self, variables: &Variables, last_words: &LastWords, cleanup: &Cleanup) -> Result<()> {
        let whereabouts = self.whereabouts();
        let mut session = Session::new(self.common, variables, last_words, cleanup, whereabouts)?;
        session.look_for_containers(self.command.servers()).await?;
        self.command.run(&mut session).await
    }
}

/// Completions for a shell: `source <(cargo xtask completions bash)`
///
/// Completes the word `xtask`: give it a meaning with `xtask() { cargo xtask "$@"; }`
#[derive(Debug, clap::Args)]
struct Completions {
    shell: clap_complete::Shell,
}

impl crate::session::Command for Completions {
    async fn run(self, _session: &mut Session<'_>) -> Result<()> {
        let mut out = Vec::new();
        // Without the space that its name has otherwise: no shell completes two words.
        clap_complete::generate(self.shell, &mut command().name("xtask"), "xtask", &mut out);
        print(&String::from_utf8(out).context("completions are text")?)
    }
}
