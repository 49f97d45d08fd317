//! Whether a query has become worse. Buffers decide, and scans: milliseconds are the machine's mood. Pure.

use super::measure::{LIMIT, Measured, Seen};
use super::plan::{Access, Scan};
use crate::model::grouped;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A query that reads no more buffers than that is none to worry about.
const FEW_BUFFERS: u64 = 50;

/// A table with no more rows than that may as well be read from end to end.
const FEW_ROWS: u64 = 10_000;

/// Why a query is worse on the new side.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Regression {
    Buffers {
        old: u64,
        new: u64,
        factor: f64,
    },
    /// `rows`: of the table; `old`: the indexes of the old side.
    SequentialScan {
        table: String,
        rows: u64,
        old: Vec<String>,
    },
    CutOff {
        seconds: u64,
    },
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Regression::Buffers { old, new, factor } => write!(
                f,
                "reads {} buffers, on the old side {}: more than {factor} times as many",
                grouped(*new),
                grouped(*old)
            ),
            Regression::SequentialScan { table, rows, old } => write!(
                f,
                "reads {table} (about {} rows) from end to end, where the old side goes by {}",
                grouped(*rows),
                old.join(" and ")
            ),
            Regression::CutOff { seconds } => {
                write!(f, "does not end within {seconds} s, as it does on the old side")
            }
        }
    }
}

/// A table of the new side: its name on the old one, and about how many rows it has.
pub struct NewTable {
    pub source: &'static str,
    pub rows: u64,
}

/// `tables`: by their names on the new side.
pub fn regressions(
    old: &Seen,
    new: &Seen,
    factor: f64,
    tables: &BTreeMap<&'static str, NewTable>,
) -> Vec<Regression> {
    match (old, new) {
        (Seen::Measured(old), Seen::Measured(new)) => {
            let scans = new.scans.iter().filter_map(|scan| sequential_now(scan, old, tables));
            more_buffers(old, new, factor).into_iter().chain(scans).collect()
        }
        (Seen::Measured(_), Seen::CutOff) => vec![Regression::CutOff { seconds: LIMIT.as_secs() }],
        (Seen::CutOff, _) => Vec::new(),
    }
}

fn more_buffers(old: &Measured, new: &Measured, factor: f64) -> Option<Regression> {
    let more = new.buffers > FEW_BUFFERS && new.buffers as f64 > factor * old.buffers as f64;
    more.then_some(Regression::Buffers { old: old.buffers, new: new.buffers, factor })
}

fn sequential_now(
    scan: &Scan,
    old: &Measured,
    tables: &BTreeMap<&'static str, NewTable>,
) -> Option<Regression> {
    let table = tables.get(scan.table.as_str())?;
    if scan.by != Access::Sequential || table.rows <= FEW_ROWS {
        return None;
    }
    let indexes = old.scans.iter().find_map(|before| match &before.by {
        Access::Index(indexes) if before.table == table.source => Some(indexes.clone()),
        _ => None,
    })?;
    Some(Regression::SequentialScan { table: scan.table.clone(), rows: table.rows, old: indexes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(table: &str, by: Access, buffers: u64) -> Seen {
        let scans = vec![Scan { table: table.into(), by }];
        Seen::Measured(Measured { ms: 1.0, buffers, rows: 1, scans })
    }

    fn index(name: &str) -> Access {
        Access::Index(vec![name.into()])
    }

    fn found(old: &Seen, new: &Seen, rows: u64) -> Vec<Regression> {
        let tables = [("api_logs", NewTable { source: "system_logs", rows })].into();
        regressions(old, new, 3.0, &tables)
    }

    #[test]
    fn buffers_decide_beyond_factor_and_floor() {
        let by = |buffers| seen("api_logs", index("i"), buffers);
        assert_eq!(found(&by(1), &by(50), 1), []);
        assert_eq!(found(&by(17), &by(51), 1), []);
        let more = Regression::Buffers { old: 16, new: 51, factor: 3.0 };
        assert_eq!(found(&by(16), &by(51), 1), [more]);
        assert_eq!(found(&by(51), &by(3), 1), []);
    }

    #[test]
    fn a_scan_of_many_rows_is_worse_where_the_old_side_had_an_index() {
        let old = seen("system_logs", index("i"), 3);
        let new = seen("api_logs", Access::Sequential, 3);
        assert_eq!(found(&old, &new, 10_000), []);
        let scan =
            Regression::SequentialScan { table: "api_logs".into(), rows: 10_001, old: vec!["i".into()] };
        assert_eq!(found(&old, &new, 10_001), [scan]);
        assert_eq!(found(&seen("system_logs", Access::Sequential, 3), &new, 10_001), []);
        assert_eq!(found(&seen("users", index("i"), 3), &new, 10_001), []);
    }

    #[test]
    fn what_does_not_end_is_worse_than_what_does() {
        let ends = seen("system_logs", index("i"), 3);
        assert_eq!(found(&ends, &Seen::CutOff, 1), [Regression::CutOff { seconds: 30 }]);
        assert_eq!(found(&Seen::CutOff, &ends, 1), []);
        assert_eq!(found(&Seen::CutOff, &Seen::CutOff, 1), []);
    }
}
