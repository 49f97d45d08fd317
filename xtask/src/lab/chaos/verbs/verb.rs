//! What operators type.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Verb {
    Verify,
    Repair,
    RepairApply,
    Replay,
    Freeze,
    Unfreeze,
    Cutover,
    Import,
    Replace,
    Resume,
}

impl Verb {
    pub const ALL: [Verb; 10] = [
        Verb::Verify,
        Verb::Repair,
        Verb::RepairApply,
        Verb::Replay,
        Verb::Freeze,
        Verb::Unfreeze,
        Verb::Cutover,
        Verb::Import,
        Verb::Replace,
        Verb::Resume,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Verb::Verify => "verify",
            Verb::Repair => "repair",
            Verb::RepairApply => "repair --apply",
            Verb::Replay => "replay",
            Verb::Freeze => "freeze",
            Verb::Unfreeze => "unfreeze",
            Verb::Cutover => "cutover",
            Verb::Import => "import",
            Verb::Replace => "migrate --replace",
            Verb::Resume => "migrate --resume",
        }
    }

    /// Whether the run can be named, and need not be.
    pub fn takes_a_run(self) -> bool {
        !matches!(self, Verb::Freeze | Verb::Replace | Verb::Resume)
    }

    /// `named`: says the run where it could be left out.
    pub fn arguments(self, run: &str, named: bool) -> Vec<String> {
        let mut words: Vec<String> = self.name().split(' ').map(String::from).collect();
        match self {
            Verb::Resume => words.push(run.into()),
            _ if named && self.takes_a_run() => words.extend(["--run".into(), run.into()]),
            _ => {}
        }
        words
    }

    /// About how long it takes on the smallest shop, undisturbed.
    pub fn length(self) -> Duration {
        Duration::from_millis(match self {
            Verb::Unfreeze => 100,
            Verb::Freeze => 330,
            Verb::Repair | Verb::Verify | Verb::Import | Verb::Resume => 600,
            Verb::RepairApply | Verb::Replay | Verb::Cutover => 1_000,
            Verb::Replace => 3_600,
        })
    }

    /// Whether it has nothing to do, or is refused, once the services have taken over.
    pub fn ends_at_once(self) -> bool {
        matches!(self, Verb::Freeze | Verb::Unfreeze | Verb::Cutover | Verb::Import | Verb::Replace)
    }

    pub fn writes(self) -> bool {
        matches!(self, Verb::RepairApply | Verb::Replay | Verb::Import | Verb::Replace | Verb::Resume)
    }

    pub fn freezes(self) -> bool {
        matches!(self, Verb::Freeze | Verb::Cutover)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
