//! One window: what is planned for it, and what it has come to.

use crate::lab::chaos::fault::{Cut, Fault, Moment};
use crate::lab::chaos::point::Point;
use fastrand::Rng;
use std::fmt;
use std::time::Duration;

/// The two commands of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    CatchUp,
    Cutover,
}

impl Verb {
    pub fn word(self) -> &'static str {
        match self {
            Verb::CatchUp => "catch-up",
            Verb::Cutover => "cutover",
        }
    }
}

/// What the cuts are drawn from.
pub(super) struct Choice {
    /// How long each command takes that nobody cuts, and the steps that its journal tells.
    pub catch_up: (Duration, Vec<Point>),
    pub cutover: (Duration, Vec<Point>),
    /// For how long the source is frozen.
    pub frozen: Duration,
    /// Whether the disk can be filled on this machine.
    pub disk: bool,
}

impl Choice {
    pub fn draw(&self, rng: &mut Rng) -> Cuts {
        let some = |rng: &mut Rng, verb: Verb| (0..rng.usize(1..3)).map(|_| self.one(rng, verb)).collect();
        Cuts { catch_up: some(rng, Verb::CatchUp), cutover: some(rng, Verb::Cutover), by_hand: rng.bool() }
    }

    fn one(&self, rng: &mut Rng, verb: Verb) -> Cut {
        let (length, steps) = match verb {
            Verb::CatchUp => &self.catch_up,
            Verb::Cutover => &self.cutover,
        };
        let moment = match (verb, rng.u8(..4), rng.choice(steps)) {
            (Verb::Cutover, 0 | 1, _) => Moment::Frozen(self.frozen.mul_f64(rng.f64())),
            (_, 2, Some(step)) => Moment::Begun(step.clone()),
            _ => Moment::After(length.mul_f64(rng.f64())),
        };
        Cut { moment, fault: Fault::any(rng, self.disk) }
    }
}

/// The cuts of a window.
pub(super) struct Cuts {
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
pub(super) struct Window {
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
