//! What is run and measured.

use serde::Serialize;
use std::fmt;

/// A run of one repetition, in the order in which people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Measured {
    Documents,
    Rows,
    Migrate,
    Move,
    Verify,
    /// With a monolith of a fifth of the size.
    SmallerMigrate,
    Guide(GuideStep),
    Pipes,
    Count,
}

/// The steps of `bench/guide.sh`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GuideStep {
    Backup,
    Export,
    /// Google's Node client.
    Firestore,
    Import,
}

impl GuideStep {
    /// In the order in which they have to run.
    pub const ALL: [GuideStep; 4] =
        [GuideStep::Backup, GuideStep::Export, GuideStep::Firestore, GuideStep::Import];
}

/// As the script takes it.
impl fmt::Display for GuideStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            GuideStep::Backup => "backup",
            GuideStep::Export => "export",
            GuideStep::Firestore => "firestore",
            GuideStep::Import => "import",
        })
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Measured::Documents => "ours: Firestore import",
            Measured::Rows => "ours: export + PostgreSQL import",
            Measured::Migrate => "ours: migrate",
            Measured::Move => "ours: moving the data",
            Measured::Verify => "ours: verify",
            Measured::SmallerMigrate => "ours, smaller: migrate",
            Measured::Guide(step) => return f.pad(&format!("guide: {step}")),
            Measured::Pipes => "pipes: export + PostgreSQL import",
            Measured::Count => "count: count(*) of everything",
        })
    }
}

impl From<Measured> for String {
    fn from(measured: Measured) -> String {
        measured.to_string()
    }
}
