//! What is run and measured.

use serde::Serialize;
use std::fmt;

/// A run of one repetition, in the order in which people read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Measured {
    /// Asked right before the migration of the same size.
    Plan(Size),
    Migrate(Size),
    Rows,
    Documents,
    Verify,
    Content,
    TargetCounts,
    Structure,
    References,
    SourceCheck,
    SourceCounts,
    Guide(GuideStep),
    Pipes,
}

/// How large the monolith is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    Whole,
    Fifth,
    TwentyFifth,
}

impl Size {
    pub const ALL: [Size; 3] = [Size::Whole, Size::Fifth, Size::TwentyFifth];

    /// Its scale, where the whole has this one; `None`: there is nothing so small.
    pub fn scale(self, whole: u32) -> Option<u32> {
        match self {
            Size::Whole => Some(whole),
            Size::Fifth => Some(whole / 5).filter(|scale| *scale > 0),
            Size::TwentyFifth => Some(whole / 25).filter(|scale| *scale > 0),
        }
    }
}

/// Of the whole.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Size::Whole => "the whole",
            Size::Fifth => "a fifth",
            Size::TwentyFifth => "a twenty-fifth",
        })
    }
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
            Measured::Plan(Size::Whole) => "ours: plan",
            Measured::Migrate(Size::Whole) => "ours: migrate",
            Measured::Plan(size) => return f.pad(&format!("ours, {size}: plan")),
            Measured::Migrate(size) => return f.pad(&format!("ours, {size}: migrate")),
            Measured::Rows => "ours: export + PostgreSQL import",
            Measured::Documents => "ours: Firestore import",
            Measured::Verify => "ours: verify",
            Measured::Content => "ours: verify, PostgreSQL content alone",
            Measured::TargetCounts => "count: heap count(*) of the targets",
            Measured::Structure => "ours: verify, structure alone",
            Measured::References => "ours: verify, references alone",
            Measured::SourceCheck => "ours: source check of the cut-over",
            Measured::SourceCounts => "count: heap count(*) of the source",
            Measured::Guide(step) => return f.pad(&format!("guide: {step}")),
            Measured::Pipes => "pipes: export + PostgreSQL import",
        })
    }
}

impl From<Measured> for String {
    fn from(measured: Measured) -> String {
        measured.to_string()
    }
}
