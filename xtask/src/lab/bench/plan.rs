//! What is to be measured, and whether floors count for it.

use crate::lab::usage::Machine;
use clap::ValueEnum;
use std::path::PathBuf;

/// What we are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// The guide's phases 1 to 4 as repaired shell
    Guide,
    /// Parallel psql pipes into bare tables: the practical limit
    Pipes,
    /// Plain count(*) of everything
    Count,
}

/// What to measure, and where to put it.
pub struct Plan {
    pub scale: u32,
    pub references: Vec<Reference>,
    pub repeat: usize,
    pub out: PathBuf,
}

/// Floors are for a machine of this many cores.
const CORES: usize = 4;
const SCALE: u32 = 25;
const REPEAT: usize = 5;

/// Why the figures are not judged; `None`: they are.
pub(super) fn not_judged(plan: &Plan, machine: &Machine) -> Option<String> {
    let mut why = Vec::new();
    if machine.cores < CORES {
        why.push(format!("this machine has {} cores, {CORES} are needed", machine.cores));
    }
    if plan.scale < SCALE {
        why.push(format!("the scale is {}, floors are for {SCALE}", plan.scale));
    }
    if plan.repeat < REPEAT {
        why.push(format!("{} repetitions, {REPEAT} are needed", plan.repeat));
    }
    (!why.is_empty()).then(|| why.join("; "))
}
