//! What a look has to find, and whether it has found that and nothing else. Pure.

use crate::findings::{Counts, FindingKind, SaidFinding, Store, Values};
use crate::run::manifest::{Proof, TableProof};
use std::collections::BTreeMap;
use std::fmt;

/// A side of a finding: as it is shown, or how it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    Is(String),
    Starts(String),
}

impl Side {
    fn is(&self, said: Option<&str>) -> bool {
        match self {
            Side::Is(text) => said == Some(text),
            Side::Starts(start) => said.is_some_and(|said| said.starts_with(start)),
        }
    }
}

/// A finding that has to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub kind: FindingKind,
    pub store: Store,
    pub table: String,
    pub key: Option<String>,
    pub column: Option<String>,
    pub expected: Option<Side>,
    pub found: Option<Side>,
}

impl Expectation {
    pub fn new(kind: FindingKind, store: Store, table: impl Into<String>) -> Expectation {
        Expectation { kind, store, table: table.into(), key: None, column: None, expected: None, found: None }
    }

    pub fn key(self, key: impl Into<String>) -> Expectation {
        Expectation { key: Some(key.into()), ..self }
    }

    pub fn column(self, column: impl Into<String>) -> Expectation {
        Expectation { column: Some(column.into()), ..self }
    }

    pub fn sides(self, expected: Side, found: Side) -> Expectation {
        Expectation { expected: Some(expected), found: Some(found), ..self }
    }

    pub fn found(self, found: impl Into<String>) -> Expectation {
        Expectation { found: Some(Side::Is(found.into())), ..self }
    }

    fn is(&self, said: &SaidFinding) -> bool {
        let side = |side: &Option<Side>, said: &Option<String>| {
            side.as_ref().is_none_or(|side| side.is(said.as_deref()))
        };
        self.kind == said.kind
            && self.store == said.store
            && self.table == said.table
            && self.key == said.key
            && self.column == said.column
            && side(&self.expected, &said.expected)
            && side(&self.found, &said.found)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in {:?}: {}", self.kind, self.store, self.table)?;
        let parts = [("key", &self.key), ("column", &self.column)];
        for (name, part) in parts.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?))) {
            write!(f, ", {name} {part}")?;
        }
        for (name, side) in [("expected", &self.expected), ("found", &self.found)] {
            if let Some(Side::Is(text) | Side::Starts(text)) = side {
                write!(f, ", {name} {text}")?;
            }
        }
        Ok(())
    }
}

/// All that one look has to say.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// How many rows or documents, and how they compare.
    pub tables: BTreeMap<&'static str, (u64, Counts)>,
    /// How much is wrong, by check; of those that are not here, nothing.
    pub checks: BTreeMap<String, u64>,
    /// Exactly these.
    pub findings: Vec<Expectation>,
    /// So many of these, any: more than are shown.
    pub some: Vec<(usize, Vec<Expectation>)>,
}

impl Expected {
    /// A finding of a check.
    pub fn add(&mut self, check: &str, finding: Expectation) {
        *self.checks.entry(check.to_string()).or_default() += 1;
        self.findings.push(finding);
    }

    /// Whether nothing is to be found.
    pub fn is_nothing(&self) -> bool {
        let clean = |(_, counts): &(u64, Counts)| {
            let Counts { different, missing, extra, other, .. } = *counts;
            different + missing + extra + other == 0
        };
        self.checks.is_empty() && self.findings.is_empty() && self.tables.values().all(clean)
    }

    /// What is wrong with a proof, a line each.
    pub fn complaints(&self, proof: &Proof) -> Vec<String> {
        let mut lines = Vec::new();
        if proof.is_green() != self.is_nothing() {
            lines.push(if proof.is_green() { "NOT SEEN: it is green" } else { "it is red" }.to_string());
        }
        for (name, found) in &proof.tables {
            lines.extend(self.table(name, found));
        }
        for check in &proof.checks {
            let expected = self.checks.get(&check.name).copied().unwrap_or_default();
            if check.wrong != expected {
                lines.push(format!("{}: {} wrong, expected {expected}", check.name, check.wrong));
            }
        }
        lines.extend(self.of_findings(proof.findings().map(|f| f.said(Values::Shown)).collect()));
        lines
    }

    fn table(&self, name: &str, found: &TableProof) -> Option<String> {
        let Some((rows, counts)) = self.tables.get(name) else {
            return Some(format!("{name}: nobody expects this table"));
        };
        let Counts { equal, different, extra, .. } = found.counts;
        let same = found.counts == *counts
            && found.expected_rows == *rows
            && (counts.other > 0 || found.found_rows == equal + different + extra);
        let TableProof { expected_rows, found_rows, counts: seen, .. } = found;
        (!same).then(|| {
            format!(
                "{name}: counts {seen:?} of {expected_rows}, {found_rows} found; expected {counts:?} of {rows}"
            )
        })
    }

    fn of_findings(&self, mut found: Vec<SaidFinding>) -> Vec<String> {
        let mut take = |wanted: &Expectation| {
            let at = found.iter().position(|said| wanted.is(said))?;
            Some(found.swap_remove(at))
        };
        let mut lines = Vec::new();
        for wanted in &self.findings {
            if take(wanted).is_none() {
                lines.push(format!("not found: {wanted}"));
            }
        }
        for (number, pool) in &self.some {
            let met = pool.iter().filter_map(&mut take).count();
            if met != *number {
                let first = pool.first().map(Expectation::to_string).unwrap_or_default();
                lines.push(format!("{met} found of {number} such as {first}"));
            }
        }
        lines.extend(found.into_iter().map(|said| format!("FALSE: {said}")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::Finding;
    use crate::run::manifest::Check;
    use crate::tables::TABLES;

    fn proof(counts: Counts, findings: Vec<Finding>) -> Proof {
        let expected_rows = counts.equal + counts.different + counts.missing;
        let found_rows = counts.equal + counts.different + counts.extra;
        let table = TableProof { expected_rows, found_rows, counts, findings, ..TableProof::default() };
        let checks = vec![Check::new("sequences", "8", crate::findings::Findings::default())];
        Proof { tables: [("orders".to_string(), table)].into(), checks, ..Proof::default() }
    }

    /// One row of ten with another status.
    fn expected() -> Expected {
        let counts = Counts { equal: 9, different: 1, ..Counts::default() };
        let finding = Expectation::new(FindingKind::Different, Store::Order, "orders")
            .key("7")
            .column("status")
            .sides(Side::Is("\"a\"".into()), Side::Is("NULL".into()));
        Expected { tables: [("orders", (10, counts))].into(), findings: vec![finding], ..Expected::default() }
    }

    fn finding(id: &str, column: &str) -> Finding {
        let orders = TABLES.iter().find(|t| t.name == "orders").unwrap();
        Finding::value(orders, id, column, Some("a"), None)
    }

    #[test]
    fn what_is_found_has_to_be_all_and_nothing_else() {
        let counts = Counts { equal: 9, different: 1, ..Counts::default() };
        let right = proof(counts, vec![finding("7", "status")]);
        assert_eq!(expected().complaints(&right), Vec::<String>::new());
        for (why, proof) in [
            ("NOT SEEN", proof(Counts { equal: 10, ..Counts::default() }, vec![])),
            ("not found", proof(counts, vec![])),
            ("not found", proof(counts, vec![finding("8", "status")])),
            ("FALSE", proof(counts, vec![finding("7", "payment_status")])),
            ("FALSE", proof(counts, vec![finding("7", "status"), finding("8", "status")])),
            (
                "counts",
                proof(Counts { equal: 8, different: 2, ..Counts::default() }, vec![finding("7", "status")]),
            ),
        ] {
            let lines = expected().complaints(&proof).join("\n");
            assert!(lines.contains(why), "{why}: {lines}");
        }
        let mut nothing = expected();
        nothing.findings.clear();
        nothing.tables.insert("orders", (10, Counts { equal: 10, ..Counts::default() }));
        assert!(nothing.is_nothing() && !expected().is_nothing());
        assert!(nothing.complaints(&right).join("\n").contains("it is red"));
        nothing.checks.insert("sequences".into(), 1);
        assert!(nothing.complaints(&right).join("\n").contains("sequences: 0 wrong, expected 1"));
    }

    #[test]
    fn of_more_than_are_shown_any_will_do() {
        let one = |id: &str| Expectation { key: Some(id.into()), ..expected().findings[0].clone() };
        let some = vec![(1, vec![one("7"), one("8")])];
        let expected = Expected { findings: vec![], some, ..expected() };
        let counts = Counts { equal: 9, different: 1, ..Counts::default() };
        let of = |ids: &[&str]| {
            expected.complaints(&proof(counts, ids.iter().map(|id| finding(id, "status")).collect())).len()
        };
        assert_eq!((of(&["8"]), of(&["7"])), (0, 0));
        assert!(of(&["7", "8"]) > 0 && of(&["9"]) > 0 && of(&[]) > 0);
    }
}
