//! The statements that were slow in the old database, as the run's backup saved them, beside what the new
//! databases have counted since.

use super::report::Remark;
use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::statements::{self, Asked, Statement, Statements};
use anyhow::Result;
use std::collections::BTreeMap;

/// So many are shown of each side.
const SHOWN: usize = 10;

/// `saved`: those of the source; `None`: the run has none.
pub async fn look(
    connections: &mut BTreeMap<Database, Connection>,
    saved: Option<&Statements>,
) -> Result<Vec<Remark>> {
    let mut remarks = Vec::new();
    let mut now = BTreeMap::new();
    for (database, connection) in connections {
        match statements::ask(connection).await? {
            Asked::Counted(counted) => drop(now.insert(*database, counted)),
            Asked::NotThere(why) => remarks.push(Remark::NoStatements { of: database.to_string(), why }),
        }
    }
    match saved {
        Some(saved) => remarks.extend(of_source(saved, &now)),
        None => remarks.push(Remark::NoStatements {
            of: "the old database".into(),
            why: format!("the run's backup found none to save, it has no {}", statements::FILE),
        }),
    }
    for (database, counted) in &now {
        let slow = slowest(counted).into_iter().cloned();
        remarks.extend(slow.map(|statement| Remark::SlowNow { database: *database, statement }));
        remarks.extend(hidden(&database.to_string(), counted));
    }
    Ok(remarks)
}

fn of_source(saved: &Statements, now: &BTreeMap<Database, Statements>) -> Vec<Remark> {
    let remark = |statement: &Statement| {
        let same = |counted: &Statements| {
            counted.statements.iter().find(|other| other.line() == statement.line()).cloned()
        };
        let now = now.iter().filter_map(|(database, counted)| Some((*database, same(counted)?)));
        Remark::SlowBefore { statement: statement.clone(), now: now.collect() }
    };
    let slow = slowest(saved).into_iter().map(remark);
    slow.chain(hidden("the old database", saved)).collect()
}

/// By their mean time, the slowest first.
fn slowest(counted: &Statements) -> Vec<&Statement> {
    let mut slow: Vec<&Statement> = counted.statements.iter().filter(|s| s.is_slow()).collect();
    slow.sort_by(|a, b| b.mean_ms.total_cmp(&a.mean_ms).then(b.calls.cmp(&a.calls)));
    slow.truncate(SHOWN);
    slow
}

fn hidden(of: &str, counted: &Statements) -> Option<Remark> {
    (counted.hidden > 0).then(|| Remark::NoStatements {
        of: format!("{of} under other roles"),
        why: format!("{} are hidden from this role; GRANT pg_read_all_stats shows them", counted.hidden),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statements(of: &[(&str, f64, u64)]) -> Statements {
        let statement = |(query, mean_ms, calls): &(&str, f64, u64)| Statement {
            query: query.to_string(),
            calls: *calls,
            mean_ms: *mean_ms,
            total_ms: mean_ms * *calls as f64,
            rows: 1,
            buffers: 1,
        };
        let statements = of.iter().map(statement).collect();
        Statements { at: String::new(), since: None, hidden: 0, statements }
    }

    #[test]
    fn slow_is_what_takes_long_and_is_called_often() {
        let saved = statements(&[
            ("SELECT a", 20.0, 100),
            ("SELECT b", 19.9, 9000),
            ("SELECT c", 500.0, 99),
            ("SELECT\n  d", 30.0, 100),
        ]);
        let now = [(Database::Order, statements(&[("SELECT d", 1.0, 7), ("SELECT e", 99.0, 200)]))].into();
        let said: Vec<String> = of_source(&saved, &now).iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "slow in the old database (30.0 ms, 100 calls; order now: 1.0 ms, 7 calls): SELECT d",
                "slow in the old database (20.0 ms, 100 calls; not seen in the new ones in these words): SELECT a",
            ]
        );
        assert_eq!(slowest(&now[&Database::Order]).len(), 1);
    }

    #[test]
    fn what_the_role_may_not_see_is_said() {
        let saved = Statements { hidden: 3, ..statements(&[]) };
        let said: Vec<String> = of_source(&saved, &BTreeMap::new()).iter().map(ToString::to_string).collect();
        assert!(said.len() == 1 && said[0].contains("3 are hidden from this role"), "{said:?}");
    }
}
