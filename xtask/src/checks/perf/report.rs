//! What `perf` has found: for programs as it is, for people the verdict first and a line a query. Pure.

use super::compare::Regression;
use super::measure::{LIMIT, Measured, Seen};
use crate::model::{Database, Service, Stop, grouped};
use crate::run::statements::Statement;
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

#[derive(Clone, Debug, Serialize)]
pub struct Performance {
    pub regressed: bool,
    pub factor: f64,
    pub repeat: u32,
    pub queries: Vec<Line>,
    /// What a DBA may look at: no findings.
    pub remarks: Vec<Remark>,
    /// Whether the services have taken over.
    pub cut_over: bool,
    pub seconds: f64,
}

/// A query on both sides.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub query: &'static str,
    pub service: Service,
    pub purpose: &'static str,
    /// What was asked for; what a customer is stands there masked, unless it was asked for.
    pub parameters: BTreeMap<String, String>,
    /// `None`: the old side has no row to ask for.
    pub sides: Option<Sides>,
    pub findings: Vec<Regression>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Sides {
    pub old: Seen,
    pub new: Seen,
}

impl Line {
    /// Both sides have answered.
    fn is_compared(&self) -> bool {
        matches!(&self.sides, Some(Sides { old: Seen::Measured(_), .. }))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Remark {
    /// Indexes that nobody has used since then, by name, with their table and bytes.
    UnusedIndexes { database: Database, since: Option<String>, indexes: BTreeMap<String, Index> },
    /// A table that is often read from end to end.
    SequentialScans { database: Database, since: Option<String>, table: String, scans: u64, rows: u64 },
    /// A query that finds rows on the old side and none on the new one.
    NoRows { query: &'static str, old: u64 },
    /// A statement that was slow in the old database, and the same one in the new ones.
    SlowBefore { statement: Statement, now: BTreeMap<Database, Statement> },
    /// A statement that is slow in a new database.
    SlowNow { database: Database, statement: Statement },
    /// Why nothing can be said of the statements of the old database, or of a new one.
    NoStatements { of: String, why: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Index {
    pub table: String,
    pub bytes: u64,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = |since: &Option<String>| match since {
            Some(since) => format!("since {since}"),
            None => "since it was made".to_string(),
        };
        let took = |s: &Statement| format!("{:.1} ms, {} calls", s.mean_ms, grouped(s.calls));
        match self {
            Remark::UnusedIndexes { database, since, indexes } => {
                let name = |(name, index): (&String, &Index)| format!("{name} on {}", index.table);
                let names = indexes.iter().map(name).collect::<Vec<_>>().join(", ");
                write!(f, "{database}: {} indexes not used {}: {names}", indexes.len(), when(since))
            }
            Remark::SequentialScans { database, since, table, scans, rows } => write!(
                f,
                "{database}: {table} was read from end to end {} times, {} rows in all, {}: is there an index missing?",
                grouped(*scans),
                grouped(*rows),
                when(since)
            ),
            Remark::NoRows { query, old } => {
                write!(f, "{query}: {} rows on the old side, none on the new one", grouped(*old))
            }
            Remark::SlowBefore { statement, now } => {
                write!(f, "slow in the old database ({}", took(statement))?;
                now.iter().try_for_each(|(database, now)| write!(f, "; {database} now: {}", took(now)))?;
                let unseen = if now.is_empty() { "; not seen in the new ones in these words" } else { "" };
                write!(f, "{unseen}): {}", statement.line())
            }
            Remark::SlowNow { database, statement } => {
                write!(f, "slow in {database} ({}): {}", took(statement), statement.line())
            }
            Remark::NoStatements { of, why } => write!(f, "no statements of {of}: {why}"),
        }
    }
}

impl Performance {
    fn regressed_queries(&self) -> Vec<&'static str> {
        self.queries.iter().filter(|line| !line.findings.is_empty()).map(|line| line.query).collect()
    }

    /// How many queries both sides have answered.
    pub fn compared(&self) -> usize {
        self.queries.iter().filter(|line| line.is_compared()).count()
    }

    fn verdict(&self) -> String {
        let mark = if self.regressed { "✗ REGRESSED" } else { "✓ NO REGRESSION" };
        format!("{mark} {} · {:.1} s", self.summary(), self.seconds)
    }

    /// What it came to, for the run's journal.
    pub fn summary(&self) -> String {
        let (all, factor) = (self.compared(), self.factor);
        match self.regressed_queries()[..] {
            [] => format!("{all} queries read at most {factor} times the buffers of the old side"),
            ref worse => format!("{} of {all} queries: {}", worse.len(), worse.join(", ")),
        }
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.verdict());
        for line in &self.queries {
            out += &format!("  {:<21} {:<16} {}\n", line.query, line.service.name(), line.sides());
        }
        for line in &self.queries {
            for finding in &line.findings {
                out += &format!("✗ {} ({}): {finding}\n", line.query, line.service.name());
            }
        }
        self.remarks.iter().for_each(|remark| out += &format!("remark: {remark}\n"));
        out
    }

    /// What is worse as the error that gives exit code 3; it has been shown.
    pub fn judge(&self) -> Result<()> {
        match self.regressed_queries()[..] {
            [] => Ok(()),
            ref worse => {
                Err(Stop::Differs(format!("worse than on the old side: {}; see above", worse.join(", ")))
                    .into())
            }
        }
    }
}

impl Line {
    fn sides(&self) -> String {
        match &self.sides {
            None => "not compared: the old side has no row to ask for".to_string(),
            Some(Sides { old: Seen::Measured(old), new: Seen::Measured(new) }) => format!(
                "{:.2} → {:.2} ms · {} → {} buffers · {} → {} rows · {}",
                old.ms,
                new.ms,
                grouped(old.buffers),
                grouped(new.buffers),
                grouped(old.rows),
                grouped(new.rows),
                plans(old, new)
            ),
            Some(Sides { old, new }) => {
                let ended = |seen: &Seen| match seen {
                    Seen::Measured(measured) => format!("{:.2} ms, {}", measured.ms, plan(measured)),
                    Seen::CutOff => format!("cut off after {} s", LIMIT.as_secs()),
                };
                format!("{} → {}", ended(old), ended(new))
            }
        }
    }
}

fn plan(measured: &Measured) -> String {
    measured.scans.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn plans(old: &Measured, new: &Measured) -> String {
    match (plan(old), plan(new)) {
        (old, new) if old == new => old,
        (old, new) => format!("{old} → {new}"),
    }
}
