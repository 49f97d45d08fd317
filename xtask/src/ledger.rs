//! The ledger: every source row ends in exactly one outcome, and counts that were taken apart from
//! each other agree (DESIGN rule 2). Pure.

use crate::model::{MIGRATED, explain, grouped};
pub use datapath::sorting::{OutcomeKind, kind_of};

use datapath::digest::Digest;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Rows by outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub rows: BTreeMap<String, u64>,
}

/// The three sums that a person reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub migrated: u64,
    pub excluded: u64,
    pub quarantined: u64,
}

impl Outcomes {
    pub fn sums(&self) -> Sums {
        let of =
            |kind: OutcomeKind| self.rows.iter().filter(|(o, _)| kind_of(o) == kind).map(|(_, n)| n).sum();
        Sums {
            migrated: of(OutcomeKind::Migrated),
            excluded: of(OutcomeKind::Excluded),
            quarantined: of(OutcomeKind::Quarantined),
        }
    }

    /// Rows that are not migrated, whatever the rule.
    pub fn left_behind(&self) -> u64 {
        self.rows.iter().filter(|(outcome, _)| *outcome != MIGRATED).map(|(_, rows)| rows).sum()
    }

    /// A row has another outcome than it had; `None`: it was not there, or is not any more.
    pub fn turn(&mut self, from: Option<&str>, to: Option<&str>) {
        if let Some(rows) = from.and_then(|from| self.rows.get_mut(from)) {
            *rows = rows.saturating_sub(1);
        }
        if let Some(to) = to {
            *self.rows.entry(to.to_string()).or_default() += 1;
        }
        self.rows.retain(|outcome, rows| *rows > 0 || outcome == MIGRATED);
    }
}

impl Sums {
    pub fn total(self) -> u64 {
        self.migrated + self.excluded + self.quarantined
    }
}

/// The outcomes of a table's rows that are not migrated, for a person: each kind with its reason.
pub fn left_behind(table: &str, outcomes: &BTreeMap<String, u64>) -> String {
    let line = |(outcome, rows): (&String, &u64)| {
        let (meaning, (kind, name)) = (explain(outcome)?, outcome.split_once(':')?);
        Some(format!("  {table:<17}{:>9}  {kind:<12} {name:<24} {meaning}\n", grouped(*rows)))
    };
    outcomes.iter().filter_map(line).collect()
}

/// Everything that was counted for one table, each figure on its own way.
#[derive(Clone, Debug)]
pub struct Counted<'a> {
    pub table: &'a str,
    /// The bare table: `count(*)`.
    pub bare: u64,
    /// The bare table's keys.
    pub keys: Digest,
    /// The classifying SELECT: keys by outcome.
    pub classified: &'a BTreeMap<String, Digest>,
    /// The rules told a second time: keys by kind.
    pub audited: &'a BTreeMap<String, Digest>,
    /// Rows in the export's file and in the quarantine's.
    pub in_file: u64,
    pub in_quarantine: u64,
}

impl Counted<'_> {
    /// What does not agree, a line each. None: the table's ledger adds up.
    pub fn disagreements(&self) -> Vec<String> {
        let mut found = Vec::new();
        let table = self.table;
        let mut classified: BTreeMap<OutcomeKind, Digest> = BTreeMap::new();
        let audited: BTreeMap<OutcomeKind, Digest> =
            self.audited.iter().map(|(kind, keys)| (kind_of(kind), *keys)).collect();
        let mut all = Digest::default();
        for (outcome, keys) in self.classified {
            if outcome != MIGRATED && explain(outcome).is_none() {
                found.push(format!(
                    "{table}: {} rows have an outcome that nobody knows: {outcome:?}",
                    keys.rows
                ));
            }
            classified.entry(kind_of(outcome)).or_default().add(*keys);
            all.add(*keys);
        }
        if self.bare != self.keys.rows {
            found.push(format!(
                "{table}: count(*) says {} rows, reading them all {}",
                self.bare, self.keys.rows
            ));
        }
        if all.rows != self.keys.rows {
            found.push(format!(
                "{table}: the source has {} rows, the SELECT classifies {}",
                self.keys.rows, all.rows
            ));
        } else if all != self.keys {
            found.push(format!(
                "{table}: the SELECT classifies {} rows, but not the table's: some are lost, some doubled",
                all.rows
            ));
        }
        for kind in [OutcomeKind::Migrated, OutcomeKind::Excluded, OutcomeKind::Quarantined] {
            let by_select = classified.get(&kind).copied().unwrap_or_default();
            let by_audit = audited.get(&kind).copied().unwrap_or_default();
            if by_select.rows != by_audit.rows {
                found.push(format!(
                    "{table}: {} rows {kind} by the SELECT, {} by the audit",
                    by_select.rows, by_audit.rows
                ));
            } else if by_select != by_audit {
                found.push(format!(
                    "{table}: {} rows {kind} by the SELECT and by the audit, but not the same ones",
                    by_select.rows
                ));
            }
        }
        for (kind, rows, place) in [
            (OutcomeKind::Migrated, self.in_file, "the export's file"),
            (OutcomeKind::Quarantined, self.in_quarantine, "the quarantine's file"),
        ] {
            let by_select = classified.get(&kind).copied().unwrap_or_default();
            if by_select.rows != rows {
                found.push(format!("{table}: {} rows {kind}, but {rows} in {place}", by_select.rows));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(rows: u64, sum: i128) -> Digest {
        Digest { rows, sum }
    }

    fn disagreements(change: impl Fn(&mut BTreeMap<String, Digest>, &mut u64, &mut u64)) -> Vec<String> {
        let mut classified: BTreeMap<String, Digest> = [
            (MIGRATED.to_string(), digest(8, 80)),
            ("excluded:user_deleted".to_string(), digest(1, 9)),
            ("quarantined:uid_missing".to_string(), digest(1, 11)),
        ]
        .into();
        let audited =
            [("migrated", digest(8, 80)), ("excluded", digest(1, 9)), ("quarantined", digest(1, 11))];
        let audited = audited.map(|(k, d)| (k.to_string(), d)).into();
        let (mut in_file, mut in_quarantine) = (8, 1);
        change(&mut classified, &mut in_file, &mut in_quarantine);
        Counted {
            table: "users",
            bare: 10,
            keys: digest(10, 100),
            classified: &classified,
            audited: &audited,
            in_file,
            in_quarantine,
        }
        .disagreements()
    }

    #[test]
    fn a_ledger_that_adds_up_has_no_disagreement() {
        assert_eq!(disagreements(|_, _, _| ()), [""; 0]);
    }

    #[test]
    fn every_kind_of_mutant_is_found() {
        let dropped = disagreements(|c, _, _| *c.get_mut(MIGRATED).unwrap() = digest(7, 70));
        assert!(dropped.iter().any(|d| d.contains("the SELECT classifies 9")), "{dropped:?}");
        let swapped = disagreements(|c, _, _| *c.get_mut(MIGRATED).unwrap() = digest(8, 81));
        assert!(swapped.iter().any(|d| d.contains("some are lost, some doubled")), "{swapped:?}");
        let misclassified = disagreements(|c, _, _| {
            *c.get_mut(MIGRATED).unwrap() = digest(7, 70);
            *c.get_mut("excluded:user_deleted").unwrap() = digest(2, 19);
        });
        assert!(misclassified.iter().any(|d| d.contains("2 rows excluded by the SELECT, 1 by the audit")));
        let unknown = disagreements(|c, _, _| {
            let d = c.remove("excluded:user_deleted").unwrap();
            c.insert("excluded:because".into(), d);
        });
        assert!(unknown.iter().any(|d| d.contains("nobody knows")), "{unknown:?}");
        let file = disagreements(|_, in_file, _| *in_file = 7);
        assert!(file.iter().any(|d| d.contains("7 in the export's file")), "{file:?}");
        let quarantine = disagreements(|_, _, in_quarantine| *in_quarantine = 0);
        assert!(quarantine.iter().any(|d| d.contains("0 in the quarantine's file")), "{quarantine:?}");
    }
}
