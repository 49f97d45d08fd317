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
    /// Hold the source back until the command ends
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

fn time(text: &str) -> Result<Duration, String> {
    settings::span(text)
        .ok_or_else(|| format!("expected a number with its unit, such as 90s or 10m, found {text:?}"))
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err(format!("expected MB/s, a number above 0, found {text:?}")),
    }
}

/// Said for every command.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// Which servers: the name of a file in xtask/environments, or, with a /, the path of one
    #[arg(long, global = true, default_value = "local", value_name = "ENV")]
    pub env: String,
    /// Use the local servers in this directory [default: the newest that `stack up` or `--keep` left]
    #[arg(long, global = true, value_name = "DIR")]
    pub stack: Option<PathBuf>,
    /// Where local servers run: `rehearse` takes processes if nothing is said, all others what is there
    #[arg(long, global = true, value_name = "RUNTIME", env = "XTASK_RUNTIME", hide_env = true)]
    pub runtime: Option<Runtime>,
    /// Where run directories are
    #[arg(long, global = true, value_name = "DIR")]
    pub backup_dir: Option<PathBuf>,
    /// `staging/ecommerce_db`: environment and source database, where the environment asks for it before anything
    /// is changed
    #[arg(long, global = true, value_name = "ENV/DATABASE")]
    pub confirm: Option<String>,
    /// Documents/s that are written at most to a real project [env: XTASK_FIRESTORE_RATE]
    #[arg(long, global = true, value_name = "N")]
    pub firestore_rate: Option<f64>,
    /// Statements at once on one host [default: this machine's cores]
    #[arg(long, global = true, value_name = "N")]
    pub jobs: Option<usize>,
    /// Differing rows shown of each table
    #[arg(long, global = true, default_value_t = 10, value_name = "N")]
    pub max_diffs: usize,
    /// Show customers' values, which are masked otherwise
    #[arg(long, global = true)]
    pub show_values: bool,
    /// The result as JSON on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Only warnings and the result
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
}
