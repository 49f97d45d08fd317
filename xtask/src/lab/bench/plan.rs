//! What is to be measured, and whether floors count for it.

use clap::ValueEnum;
use std::path::PathBuf;

/// What we are measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Reference {
    /// The guide's phases 1 to 4 as repaired shell
    Guide,
    /// Parallel psql pipes into bare tables: the practical limit
    Pipes,
    /// Plain count(*) of the tables, in the heap: what looking at every row costs at least
    Count,
}

/// What to measure, and where to put it.
pub struct Plan {
    pub scale: u32,
    pub references: Vec<Reference>,
    pub repeat: usize,
    pub out: PathBuf,
}

/// Floors are for so much at least.
const SCALE: u32 = 25;
const REPEAT: usize = 5;

impl Plan {
    /// Why the figures are not judged; `None`: they are.
    pub fn not_judged(&self) -> Option<String> {
        let mut why = Vec::new();
        if self.scale < SCALE {
            why.push(format!("the scale is {}, floors are for {SCALE}", self.scale));
        }
        if self.repeat < REPEAT {
            why.push(format!("{} repetitions, {REPEAT} are needed", self.repeat));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }
}
