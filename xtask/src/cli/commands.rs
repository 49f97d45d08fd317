//! Every command on a line, with the common options that mean something there, the exit codes that it ends with
//! besides 0, 1, 2, 4 and 6, and a call as an example. A new one is a file in `commands/` and a line here.

use crate::cli::complete;
use crate::cli::shell;
use crate::commands as c;
use crate::effects::cleanup::Cleanup;
use crate::model::refused;
use crate::session::options::{Confirm, Diffs, InStack, Jobs, Options, Rate, Runs, Values, Where};
use crate::session::{
    Command as _, Common, Document, Everywhere, LastWords, OldDatabase, Servers, Session, Whereabouts,
    verdict,
};
use crate::settings::Variables;
use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Splits one PostgreSQL shop database into Firestore and three PostgreSQL databases, proves that every
/// row arrived exactly, and accounts for every row that did not.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    everywhere: Everywhere,
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

/// Exit codes that every command may end with.
const ALWAYS: [u8; 5] = [0, 1, 2, 4, 6];

/// What is told of a command besides its options.
pub struct About {
    pub name: String,
    /// As it is typed after `cargo xtask`.
    pub example: &'static str,
    /// Sorted; those after a second signal are left out.
    pub exits: Vec<u8>,
}

macro_rules! commands {
    ($($(#[$attribute:meta])* $name:ident: $args:ty, [$($group:ident)*], $exits:expr, $example:literal;)*) => {
        $(
            // The command's own options come first: what follows them has a heading of its own.
            #[derive(Debug, clap::Args)]
            #[group(skip)]
            #[allow(non_snake_case, reason = "a group of options is named by its type")]
            struct $name {
                #[command(flatten)]
                args: $args,
                $(#[command(flatten)] $group: $group,)*
            }
        )*

        #[derive(Debug, Subcommand)]
        enum Command {
            $($(#[$attribute])* $name(Box<$name>),)*
        }

        impl Command {
            fn servers(&self) -> Servers {
                match self {
                    $(Command::$name(taken) => taken.args.servers(),)*
                }
            }

            fn old_database(&self) -> OldDatabase {
                match self {
                    $(Command::$name(taken) => taken.args.old_database(),)*
                }
            }

            /// The common options that were said for the command.
            fn put(&self, common: &mut Common) {
                match self {
                    $(Command::$name(_taken) => { $(_taken.$group.put(common);)* })*
                }
            }

            async fn run(self, session: &mut Session<'_>) -> Result<()> {
                match self {
                    $(Command::$name(taken) => Box::pin(taken.args.run(session)).await,)*
                }
            }
        }

        /// In the order of their use.
        const TOLD: &[(&str, &[u8], &str)] = &[$((stringify!($name), &$exits, $example),)*];
    };
}

commands! {
    Rehearse: c::rehearse::Args, [Where Runs Jobs Diffs Values], [3, 5], "rehearse --full";
    Stack: c::stack::Args, [InStack Where Runs], [3, 5], "stack up";
    Config: c::config::Args, [InStack Where Runs Rate], [], "config show --env production";
    Doctor: c::doctor::Args, [InStack Where Runs Jobs], [], "doctor --env production --freeze --rollback";
    Plan: c::plan::Args, [InStack Where Runs Rate Jobs Values], [5], "plan --env production";
    Backup: c::backup::Args, [InStack Where Runs Confirm Jobs], [3], "backup --env production";
    Export: c::export::Args, [InStack Where Runs Confirm Jobs Diffs Values], [3, 5], "export --env production";
    Import: c::import::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3, 5],
        "import --env production --run latest --confirm production/ecommerce_db";
    Migrate: c::migrate::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3, 5],
        "migrate --env production --confirm production/ecommerce_db";
    Status: c::status::Args, [InStack Where Runs], [], "status --env production --run latest --follow";
    Verify: c::verify::Args, [InStack Where Runs Jobs Diffs Values], [3], "verify --env production --run latest";
    Repair: c::repair::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3],
        "repair --env production --run latest --apply --confirm production/ecommerce_db";
    Replay: c::replay::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3],
        "replay --env production --run latest --confirm production/ecommerce_db";
    CatchUp: c::catch_up::Args, [InStack Where Runs Confirm Rate Jobs Values], [3, 5],
        "catch-up --env production --run latest --until-less-than 5s --confirm production/ecommerce_db";
    Freeze: c::freeze::Args, [InStack Where Runs Confirm], [], "freeze --env production --confirm production/ecommerce_db";
    Unfreeze: c::freeze::UndoArgs, [InStack Where Runs Confirm], [], "unfreeze --env production";
    Cutover: c::cutover::Args, [InStack Where Runs Confirm Jobs Diffs Values], [3],
        "cutover --env production --run latest --confirm production/ecommerce_db";
    Smoke: c::smoke::Args, [InStack Where Runs Confirm Values], [3], "smoke --env production --confirm production/ecommerce_db";
    Perf: c::perf::Args, [InStack Where Runs Jobs Values], [3], "perf --env production --run latest";
    Monitor: c::monitor::Args, [InStack Where Runs], [3], "monitor --env production --once --json";
    Rollback: c::rollback::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3],
        "rollback after-start --env production --run latest --dry-run";
    Restore: c::restore::Args, [InStack Where Runs Confirm Rate Jobs Diffs Values], [3],
        "restore --env production --run latest --into ecommerce_check --dry-run";
    Report: c::report::Args, [InStack Where Runs Values], [3], "report --env production --run latest --format html";
    Checklist: c::checklist::Args, [InStack Where Runs], [3], "checklist --env production --list before";
    Troubleshoot: c::troubleshoot::Args, [InStack Where Runs Jobs], [3], "troubleshoot --env production sequences";
    Connectivity: c::connectivity::Args, [InStack Where Runs], [3], "connectivity --env production";
    RestoreDrill: c::restore_drill::Args, [InStack Where Runs Jobs Values], [3], "restore-drill --env production";
    Schedule: c::schedule::Args, [InStack Where Runs], [], "schedule install --env production --what backup --print";
    Harden: c::harden::Args, [InStack Where Runs Confirm], [3], "harden --env production --dry-run";
    Decommission: c::decommission::Args, [InStack Where Runs Confirm], [3],
        "decommission --env production --run latest --dry-run";
    Bench: c::bench::Args, [], [3], "bench --scale 5 --repeat 1";
    Chaos: c::chaos::Args, [], [3], "chaos --cuts 20 --seed 3 --scale 0";
    Completions: shell::Completions, [], [], "completions bash";
    Man: ManArgs, [], [], "man --dir target/man";
    #[command(hide = true)]
    BenchPart: c::bench_part::Args, [InStack Where Runs Jobs], [3, 5], "bench-part rows";
}

/// Man pages: the main one on stdout, or all into a directory
#[derive(Debug, clap::Args)]
struct ManArgs {
    /// Write a page for each command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl crate::session::Command for ManArgs {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let pages = shell::pages(command())?;
        let Some(dir) = &self.dir else {
            let page = pages.into_iter().next().map(|(_, page)| page).unwrap_or_default();
            return session.done(&json!({ "page": page }), page.clone(), None);
        };
        let context = || format!("writing man pages into {}: name a directory with --dir DIR", dir.display());
        fs::create_dir_all(dir).with_context(context).map_err(refused)?;
        for (name, page) in &pages {
            fs::write(dir.join(name), page).with_context(context)?;
        }
        let text =
            format!("{} pages; to read the first: man -l {}\n", pages.len(), dir.join("xtask.1").display());
        let files: Vec<PathBuf> = pages.iter().map(|(name, _)| dir.join(name)).collect();
        session.done(&json!({ "files": files }), text, None)
    }
}

/// The command line as a whole: for completions and man pages, and for documents whose commands have to be ones.
pub fn command() -> clap::Command {
    let mut command = complete::with_values(Cli::command());
    for about in about() {
        let help = format!("Example: cargo xtask {}\nExit codes: {}", about.example, meanings(&about.exits));
        command = command.mut_subcommand(&about.name, |command| command.after_help(help));
    }
    command
}

/// Every command, in the order of their use.
pub fn about() -> Vec<About> {
    let about = |(name, exits, example): &(&str, &[u8], &'static str)| {
        let mut exits = [&ALWAYS[..], exits].concat();
        exits.sort_unstable();
        About { name: kebab(name), example, exits }
    };
    TOLD.iter().map(about).collect()
}

/// `RestoreDrill`: `restore-drill`
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(letter.to_lowercase());
    }
    out
}

/// `0 done, 1 failed`
fn meanings(exits: &[u8]) -> String {
    exits.iter().map(|exit| format!("{exit} {}", verdict(*exit))).collect::<Vec<_>>().join(", ")
}

/// Whether a command has an option, of its own or as all have it.
fn knows(name: &str, option: &str) -> bool {
    static ALL: LazyLock<clap::Command> = LazyLock::new(command);
    let has = |command: &clap::Command| command.get_arguments().any(|a| a.get_long() == Some(option));
    ALL.find_subcommand(name).is_some_and(|command| has(command) || has(&ALL))
}

impl Cli {
    /// The common options, as they were said for its command.
    pub fn common(&self) -> Common {
        let mut common = Common::from(self.everywhere.clone());
        self.command.put(&mut common);
        common
    }

    /// What it was told about where things are.
    pub fn whereabouts(common: &Common) -> Whereabouts {
        Whereabouts::of(common, knows)
    }

    /// Runs the command; its result goes to stdout. What it would have to undo, were it dropped, stands in
    /// `cleanup`.
    pub async fn run(
        self,
        common: Common,
        variables: &Variables,
        last_words: &LastWords,
        (document, whereabouts): (Document, Whereabouts),
        cleanup: &Cleanup,
    ) -> Result<()> {
        let mut session = Session::new(common, variables, last_words, document, cleanup, whereabouts)?;
        session.look_for_containers(self.command.servers()).await?;
        session.has_old_database(self.command.old_database()).await?;
        self.command.run(&mut session).await
    }
}
