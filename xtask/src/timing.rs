//! What a run takes and was expected to take. Pure.

use crate::steps::StepName;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// Seconds of the parts of a migration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    pub export: f64,
    pub import: f64,
    pub verify: f64,
}

impl Seconds {
    pub fn total(&self) -> f64 {
        self.export + self.import + self.verify
    }

    pub fn by_part(&self) -> BTreeMap<Part, f64> {
        let parts = [
            (Part::BackupAndExport, self.export),
            (Part::Import, self.import),
            (Part::Verify, self.verify),
            (Part::Phases, self.total()),
        ];
        parts.into()
    }
}

/// A part of a command whose time is measured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    BackupAndExport,
    /// Firestore and PostgreSQL.
    Import,
    Verify,
    /// The three together.
    Phases,
    /// All of a rehearsal's migration, with what comes before its phases.
    Pipeline,
    /// Until a rehearsal's servers answer.
    Servers,
    /// A plain dump and restore of the same database.
    Baseline,
    /// One step alone, as bench measures it.
    Step(StepName),
}

impl Part {
    /// For programs.
    pub fn key(&self) -> String {
        match self {
            Part::BackupAndExport => "backup_and_export",
            Part::Import => "import",
            Part::Verify => "verify",
            Part::Phases => "all_phases",
            Part::Pipeline => "pipeline",
            Part::Servers => "servers",
            Part::Baseline => "baseline",
            Part::Step(step) => return format!("step_{}", step.to_string().replace([' ', '-'], "_")),
        }
        .to_string()
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.key())
    }
}

/// As it stands in a report.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Part::BackupAndExport => "1+2 backup, export",
            Part::Import => "3+4 import",
            Part::Verify => "5 verify",
            Part::Phases => "all phases",
            Part::Pipeline => "whole pipeline",
            Part::Servers => "servers",
            Part::Baseline => "baseline: dump and restore",
            Part::Step(step) => return step.fmt(f),
        })
    }
}

/// What a run was expected to take, and what it took: side by side in its manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Where the servers are: runs elsewhere say nothing about this one.
    pub hosts: String,
    /// Of all tables, by the sample: a small run says little about a large one.
    pub rows: u64,
    /// From the sample alone.
    pub sampled: Seconds,
    /// Between the sample, corrected by how far it was off in earlier runs, and what those took.
    pub predicted: Seconds,
    /// How many earlier runs that were.
    pub earlier_runs: usize,
    /// `None`: it has not come to its end.
    pub real: Option<Seconds>,
}

impl Timing {
    /// `earlier`: of any run, the newest first.
    ///
    /// What was learnt: on a busy machine a moment's sample scatters by half, whole runs by a tenth; but
    /// what the machine does today only the sample knows. The geometric mean of both is nearer than either.
    pub fn new(hosts: String, rows: u64, sampled: Seconds, earlier: &[Timing]) -> Timing {
        let alike = |t: &&Timing| t.hosts == hosts && t.rows / ALIKE <= rows && rows / ALIKE <= t.rows;
        let earlier: Vec<(&Timing, Seconds)> =
            earlier.iter().filter(alike).filter_map(|t| Some((t, t.real?))).take(EARLIER).collect();
        let predict = |part: &dyn Fn(&Seconds) -> f64| {
            let ratios = earlier.iter().map(|(t, real)| part(real) / part(&t.sampled));
            let usual = earlier.iter().map(|(t, real)| part(real) * rows as f64 / t.rows as f64);
            match (positive_median(ratios), positive_median(usual)) {
                (Some(ratio), Some(usual)) => (part(&sampled) * ratio * usual).sqrt(),
                _ => part(&sampled),
            }
        };
        let predicted = Seconds {
            export: predict(&|s| s.export),
            import: predict(&|s| s.import),
            verify: predict(&|s| s.verify),
        };
        Timing { hosts, rows, sampled, predicted, earlier_runs: earlier.len(), real: None }
    }
}

/// Seconds of a catch-up pass: of what the last pass of a cut-over does as well, and of nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PassSeconds {
    /// Every table of the source is looked at for changes.
    pub look: f64,
    /// The changed rows are read, and what depends on them.
    pub read: f64,
    /// They are compared with the stores, which were looked at before.
    pub compare: f64,
    /// They are written and proven.
    pub write: f64,
}

/// What a freeze consists of, besides its pass.
mod freeze {
    /// After the pass the source is looked at once more where a transaction has ended on its server, be it another
    /// database's; nothing is read for the next pass: in looks.
    pub const LOOK_AGAIN: f64 = 0.3;
    /// Sessions are ended, sequences raised, every store is told: in seconds.
    pub const FIXED: f64 = 0.6;
}

impl PassSeconds {
    /// For how long the source would be read-only, with a pass like this one as the last.
    pub fn freeze(&self) -> f64 {
        let PassSeconds { look, read, compare, write } = self;
        freeze::FIXED + look * (1.0 + freeze::LOOK_AGAIN) + read + compare + write
    }

    /// The same with so many times the rows in each table, and as many changes: all looks at whole tables take longer.
    pub fn with_rows(&self, times: f64) -> PassSeconds {
        let PassSeconds { look, read, compare, write } = *self;
        PassSeconds { look: look * times, read: read * times, compare: compare * times, write }
    }
}

/// So many earlier runs at most correct a prediction.
pub const EARLIER: usize = 5;

/// An earlier run with so many times more or fewer rows is not of the same kind.
pub const ALIKE: u64 = 3;

/// A part that took no time says nothing.
pub fn positive_median(values: impl Iterator<Item = f64>) -> Option<f64> {
    median(values.filter(|v| v.is_finite() && *v > 0.0).collect())
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n.is_multiple_of(2) => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}
