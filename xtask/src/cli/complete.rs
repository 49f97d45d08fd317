//! What a shell can complete beside words of the command line: environments and runs.

use crate::run::dir;
use crate::session::known_places;
use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use std::path::PathBuf;

/// Arguments with these names for their values get candidates.
pub fn with_values(command: Command) -> Command {
    command.mut_args(with_candidates).mut_subcommands(with_values)
}

fn with_candidates(argument: Arg) -> Arg {
    let name = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    match name.as_deref() {
        Some("ENV") => argument.add(ArgValueCandidates::new(|| candidates(environments()))),
        Some("RUN") => argument.add(ArgValueCandidates::new(|| candidates(runs()))),
        _ => argument,
    }
}

fn environments() -> Vec<String> {
    known_places().map(|(environments, _)| environments).unwrap_or_default()
}

/// Where something cannot be read, there is nothing to complete.
fn candidates(names: Vec<String>) -> Vec<CompletionCandidate> {
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Those that `--backup-dir` names in the line that is being completed, newest first.
fn runs() -> Vec<String> {
    let words: Vec<String> = std::env::args().collect();
    let named = words.windows(2).find(|pair| pair[0] == "--backup-dir").map(|pair| PathBuf::from(&pair[1]));
    let Some(place) = named.or_else(|| known_places().ok().map(|(_, runs)| runs)) else { return Vec::new() };
    let ids = dir::ids(&place).unwrap_or_default();
    ["latest".to_string()].into_iter().chain(ids.into_iter().rev()).collect()
}
