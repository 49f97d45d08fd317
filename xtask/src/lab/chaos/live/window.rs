//! One window: what is planned for it, and what it has come to.

use crate::lab::chaos::fault::Cut;
use std::fmt;

/// The cuts of a window.
pub(in super::super) struct Cuts {
    pub catch_up: Vec<Cut>,
    pub cutover: Vec<Cut>,
    /// A source that is left frozen is given back with `unfreeze` first; else the cut-over is called again.
    pub by_hand: bool,
}

impl Cuts {
    pub fn none() -> Cuts {
        Cuts { catch_up: Vec::new(), cutover: Vec::new(), by_hand: false }
    }

    pub fn all(&self) -> usize {
        self.catch_up.len() + self.cutover.len()
    }
}

impl fmt::Display for Cuts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |verb: &str, cuts: &[Cut]| {
            let cuts: Vec<String> = cuts.iter().map(Cut::to_string).collect();
            format!("{verb}: {}", cuts.join(", then "))
        };
        write!(f, "{}; {}", of("catch-up", &self.catch_up), of("cutover", &self.cutover))
    }
}

/// What a window has come to.
#[derive(Default)]
pub(in super::super) struct Window {
    /// The cuts that met a command.
    pub met: Vec<Cut>,
    /// Those of them that met it while the source was frozen.
    pub frozen: usize,
    /// How each call ended.
    pub how: Vec<String>,
    pub again: usize,
    pub left_frozen: usize,
    /// Documents were lost with the emulator, and the tool says so.
    pub lost: bool,
    pub transactions: u64,
    /// What a store does not hold, or what was not said: a line each.
    pub failures: Vec<String>,
}
