//! Options that several commands share.

use crate::hazards;
use crate::servers::runtime::Runtime;
use crate::settings;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Default, Args)]
pub struct SourceArgs {
    /// Freeze the source (read-only) until the command ends
    #[arg(long)]
    pub freeze: bool,
    /// Read the source at this many MB/s at most
    #[arg(long, value_name = "MB/S", value_parser = rate)]
    pub source_rate: Option<f64>,
    /// Do not look at the end whether the source has changed since the snapshot
    #[arg(long)]
    pub no_source_check: bool,
    /// Rows in quarantine that are allowed; with more, no target is written [env: XTASK_MAX_QUARANTINE]
    #[arg(long, value_name = "N")]
    pub max_quarantine: Option<u64>,
    /// Go on although this was found in the source; can be repeated, and is recorded
    #[arg(long, value_name = "HAZARD", value_parser = PossibleValuesParser::new(hazards::acceptable()), hide_possible_values = true)]
    pub accept: Vec<String>,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's name, or `latest`: the newest with a complete export
    #[arg(long, default_value = "latest", value_name = "RUN")]
    pub run: String,
}

#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WaitArgs {
    /// How long the shop's services may take to stop, or to start, such as 90s [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub wait: Option<Duration>,
}

pub fn time(text: &str) -> Result<Duration, String> {
    settings::span(text)
        .ok_or_else(|| format!("expected a number with its unit, such as 90s or 10m, found {text:?}"))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err(format!("expected MB/s, a number above 0, found {text:?}")),
    }
}

/// Differing rows that are shown of each table, where nothing else is said.
const MAX_DIFFS: usize = 10;

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Everywhere {
    /// Which servers: a name in xtask/environments, or, with a /, the path of a file
    #[arg(long, global = true, default_value = "local", value_name = "ENV")]
    pub env: String,
    /// The result as one JSON document on stdout (docs/json.md)
    #[arg(long, global = true)]
    pub json: bool,
    /// Only warnings and the result
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}

/// Options of some commands, by what they mean. Which command takes which: `cli/commands.rs`.
pub mod options {
    use super::{Args, Common, MAX_DIFFS, PathBuf, Runtime};

    /// A group of options.
    pub trait Options: Args {
        fn put(&self, common: &mut Common);
    }

    macro_rules! options {
        ($($(#[$argument:meta])* $group:ident { $field:ident: $kind:ty })*) => {$(
            #[derive(Debug, Args)]
            #[command(next_help_heading = "Common options")]
            #[group(skip)]
            pub struct $group {
                $(#[$argument])*
                pub $field: $kind,
            }

            impl Options for $group {
                fn put(&self, common: &mut Common) {
                    common.$field.clone_from(&self.$field);
                }
            }
        )*};
    }

    options! {
        /// Use the local servers in this directory [default: the newest that `stack up` or `--keep` left]
        #[arg(long, global = true, value_name = "DIR")]
        InStack { stack: Option<PathBuf> }

        /// Where local servers run: `rehearse` takes processes if nothing is said, all others what is there
        #[arg(long, global = true, value_name = "RUNTIME", env = "XTASK_RUNTIME", hide_env = true)]
        Where { runtime: Option<Runtime> }

        /// Where run directories are [default: database-backups in the checkout]
        #[arg(long, global = true, value_name = "DIR")]
        Runs { backup_dir: Option<PathBuf> }

        /// The name of the source database, where the environment asks for it before anything is changed
        #[arg(long, global = true, value_name = "DATABASE")]
        Confirm { confirm: Option<String> }

        /// Documents/s that are written at most to a real project [env: XTASK_FIRESTORE_RATE]
        #[arg(long, global = true, value_name = "N")]
        Rate { firestore_rate: Option<f64> }

        /// Statements at once on one host [default: this machine's cores]
        #[arg(long, global = true, value_name = "N")]
        Jobs { jobs: Option<usize> }

        /// Differing rows shown of each table
        #[arg(long, global = true, default_value_t = MAX_DIFFS, value_name = "N")]
        Diffs { max_diffs: usize }

        /// Show customers' values, which are masked otherwise
        #[arg(long, global = true)]
        Values { show_values: bool }
    }
}

/// What was said for a command: where it does not take an option, that one's default.
#[derive(Debug)]
pub struct Common {
    pub env: String,
    pub stack: Option<PathBuf>,
    pub runtime: Option<Runtime>,
    pub backup_dir: Option<PathBuf>,
    pub confirm: Option<String>,
    pub firestore_rate: Option<f64>,
    pub jobs: Option<usize>,
    pub max_diffs: usize,
    pub show_values: bool,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
}

impl From<Everywhere> for Common {
    fn from(Everywhere { env, json, quiet, verbose }: Everywhere) -> Common {
        Common {
            env,
            stack: None,
            runtime: None,
            backup_dir: None,
            confirm: None,
            firestore_rate: None,
            jobs: None,
            max_diffs: MAX_DIFFS,
            show_values: false,
            json,
            quiet,
            verbose,
        }
    }
}
