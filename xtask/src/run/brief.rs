//! What a run came to, in a line and in the few that matter at night. All of it is `Report::text`. Pure.

use crate::findings::SaidFinding;
use crate::ledger::{OutcomeKind, kind_of};
use crate::model::grouped;
use crate::run::manifest::{Backup, Services, SourceCheck, left_out_lines};
use crate::run::report::{Line, Report, Stage};
use crate::shown::{duration, hanging, some_of, utc};
use crate::timing::Part;
use std::collections::BTreeMap;

/// Of a red proof: lines for tables and checks, and for single findings.
const GROUPS: usize = 3;
const FINDINGS: usize = 3;

/// A line with its name before it.
pub fn labelled(label: &str, words: &str) -> String {
    format!("  {label:<12} {words}")
}

/// What is left of a line beside its name.
fn room(columns: usize) -> usize {
    columns.saturating_sub(labelled("", "").len())
}

impl Report {
    /// What it came to, with the sums: `50,702 rows = 50,299 migrated + 349 excluded + 54 quarantined`.
    pub fn headline(&self) -> String {
        let sums = self.sums();
        match (self.proven, self.stage) {
            (Some(true), _) => format!("✓ PROVEN {sums}"),
            (Some(false), _) => format!("✗ NOT PROVEN: {} differ · {sums}", grouped(self.wrong)),
            (None, Stage::Exported) => format!("✓ EXPORTED {sums}"),
            (None, Stage::Imported) => format!("✓ IMPORTED, not verified yet: {sums}"),
        }
    }

    /// The same, and how long it took.
    pub fn verdict(&self) -> String {
        let took = self.took().map(|seconds| format!(" · {}", duration(seconds)));
        self.headline() + &took.unwrap_or_default()
    }

    pub fn sums(&self) -> String {
        let sum = |of: fn(&Line) -> u64| grouped(self.tables.iter().map(of).sum());
        format!(
            "{} rows = {} migrated + {} excluded + {} quarantined",
            sum(|line| line.source_rows),
            sum(|line| line.sums.migrated),
            sum(|line| line.sums.excluded),
            sum(|line| line.sums.quarantined)
        )
    }

    fn took(&self) -> Option<f64> {
        let of = |part: Part| self.seconds.get(&part).copied();
        let whole = of(Part::Pipeline).or(of(Part::Phases));
        whole.or_else(|| (!self.seconds.is_empty()).then(|| self.seconds.values().sum()))
    }

    /// What matters most, in ten lines at most; each is cut to so many columns where it can be.
    pub fn brief(&self, columns: usize) -> Vec<String> {
        let mut lines = self.differences_in_brief(columns);
        let of_rows = [
            ("excluded", self.left_behind_in_brief(OutcomeKind::Excluded, columns)),
            ("quarantined", self.left_behind_in_brief(OutcomeKind::Quarantined, columns)),
            ("hazards", self.hazards_in_brief(columns)),
            ("proof", self.proof_in_brief()),
        ];
        let always = [
            ("accepted", (!self.accepted.is_empty()).then(|| some_of(&self.accepted, room(columns)))),
            ("remarks", self.remarks_in_brief(columns)),
            ("source", self.source_in_brief(columns)),
            ("cut-over", self.services_in_brief()),
            ("time", self.times_in_brief()),
        ];
        // What differs comes alone: how many rows were left out is of no use beside it.
        let of_rows = of_rows.into_iter().filter(|_| self.proven != Some(false));
        let words = of_rows.chain(always).filter_map(|(label, words)| {
            let further_in = labelled("", "").len();
            Some(hanging(&labelled(label, &words?), columns, further_in))
        });
        lines.extend(words);
        lines
    }

    /// What differs, by table and check, and the first few findings.
    fn differences_in_brief(&self, columns: usize) -> Vec<String> {
        let red = self.tables.iter().filter(|line| line.verified == Some(false));
        let of_tables = red.map(|line| {
            let words = line.counts.map(|counts| counts.in_words(line.services.is_some()));
            let words = words.filter(|words| !words.is_empty());
            (line.table.as_str(), words.unwrap_or_else(|| "differs".into()), &line.findings)
        });
        let red = self.checks.iter().filter(|check| check.wrong > 0);
        let of_checks = red
            .map(|check| (check.name.as_str(), format!("{} differ", grouped(check.wrong)), &check.findings));
        let groups: Vec<_> = of_tables.chain(of_checks).collect();
        let mut lines: Vec<String> =
            groups.iter().take(GROUPS).map(|(name, words, _)| format!("  ✗ {name}: {words}")).collect();
        if groups.len() > GROUPS {
            let names: Vec<String> = groups[GROUPS..].iter().map(|(name, ..)| (*name).to_string()).collect();
            lines.push(format!("  ✗ also: {}", some_of(&names, columns.saturating_sub(10))));
        }
        // One of each, then others; first those that say which row it is.
        let all: Vec<Vec<&SaidFinding>> = groups
            .iter()
            .map(|(.., findings)| {
                let mut all: Vec<&SaidFinding> = findings.iter().collect();
                all.sort_by_key(|finding| finding.key.is_none());
                all
            })
            .collect();
        let firsts = all.iter().filter_map(|findings| findings.first());
        let others = all.iter().flat_map(|findings| findings.iter().skip(1));
        lines.extend(firsts.chain(others).take(FINDINGS).map(|finding| {
            // Two lines of it tell which it is; the whole of it is in the report.
            format!("    {}", cut(&finding.text, 2 * columns.saturating_sub(6)))
        }));
        lines
    }

    fn left_behind_in_brief(&self, kind: OutcomeKind, columns: usize) -> Option<String> {
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for (outcome, rows) in self.tables.iter().flat_map(|line| &line.outcomes) {
            if kind_of(outcome) == kind {
                *reasons
                    .entry(outcome.split_once(':').map_or(outcome.as_str(), |(_, name)| name))
                    .or_default() += rows;
            }
        }
        let all = most_first(reasons.into_iter().filter(|(_, rows)| *rows > 0).collect());
        (!all.is_empty()).then(|| some_of(&all, room(columns)))
    }

    /// Those that were told to block, before the others; only where the source has been looked at.
    fn hazards_in_brief(&self, columns: usize) -> Option<String> {
        if self.hazards.is_empty() || self.era.is_some() || self.stage == Stage::Imported {
            return None;
        }
        let of = |blocks: bool| {
            let found = self.hazards.iter().filter(|hazard| hazard.blocks == blocks);
            most_first(found.map(|hazard| (hazard.name.as_str(), hazard.count)).collect())
        };
        let kinds = match self.hazards.len() {
            1 => "1 kind: ".to_string(),
            n => format!("{n} kinds: "),
        };
        Some(format!(
            "{kinds}{}",
            some_of(&[of(true), of(false)].concat(), room(columns).saturating_sub(kinds.len()))
        ))
    }

    fn proof_in_brief(&self) -> Option<String> {
        let tables = self.tables.iter().filter(|line| line.verified == Some(true)).count();
        let checks = self.checks.len();
        let unchanged = self.tables.iter().filter(|line| line.unchanged_since.is_some()).count();
        let unchanged = match unchanged {
            0 => String::new(),
            n => format!(" ({n} unchanged since proven)"),
        };
        self.proven.is_some().then(|| format!("every row of {tables} tables{unchanged}, {checks} checks ok"))
    }

    fn remarks_in_brief(&self, columns: usize) -> Option<String> {
        let first = self.remarks.first()?;
        let words = match self.remarks.len() {
            1 => first.text.clone(),
            n => format!("{n}, the first: {first}"),
        };
        Some(cut(&words, room(columns)))
    }

    fn source_in_brief(&self, columns: usize) -> Option<String> {
        let SourceCheck { at, snapshot, changed, unknown, by_versions, by_digest, .. } =
            self.source.as_ref()?;
        let (at, snapshot) = (utc(at), utc(snapshot));
        let tables = by_versions + by_digest;
        Some(match (unknown, changed.len()) {
            (Some(why), _) => format!("whether it has changed is not known: {why}"),
            (None, 0) if tables == 0 => format!("unchanged until {at}"),
            (None, 0) => format!("unchanged until {at} ({tables} tables)"),
            (None, n) => {
                let names: Vec<String> =
                    changed.iter().map(|(name, change)| format!("{name} ({change})")).collect();
                let words = format!("✗ {n} tables changed since {snapshot}: ");
                format!("{words}{}", some_of(&names, (2 * room(columns)).saturating_sub(words.len())))
            }
        })
    }

    fn services_in_brief(&self) -> Option<String> {
        let at = utc(self.cutover.as_ref()?);
        let sum = |of: fn(Services) -> u64| {
            self.tables.iter().filter_map(|line| line.services).map(of).sum::<u64>()
        };
        let (added, changed) = (sum(|services| services.added), sum(|services| services.changed));
        Some(match added + changed {
            0 => format!("at {at}; nothing written by the services since"),
            _ => format!("at {at}; since then {} rows added, {} changed", grouped(added), grouped(changed)),
        })
    }

    /// Of each phase; the whole is in the verdict.
    fn times_in_brief(&self) -> Option<String> {
        let of = |(name, part): (&str, Part)| {
            let seconds = self.seconds.get(&part)?;
            Some(format!("{name} {}", duration(*seconds)))
        };
        let parts = [("export", Part::BackupAndExport), ("import", Part::Import), ("verify", Part::Verify)];
        let parts: Vec<String> = parts.into_iter().filter_map(of).collect();
        let predicted = self.predicted.get(&Part::Phases);
        let predicted = predicted.map(|seconds| format!("; predicted {}", duration(*seconds)));
        (parts.len() > 1).then(|| format!("{}{}", parts.join(" · "), predicted.unwrap_or_default()))
    }
}

impl Backup {
    pub fn verdict(&self) -> String {
        let rows = grouped(self.raw.values().map(|table| table.rows).sum());
        let (tables, took) = (self.raw.len(), duration(self.seconds));
        format!("✓ BACKED UP {rows} rows of {tables} tables, read back, counted and digested · {took}")
    }

    /// What the dump does not hold, and its files.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for line in left_out_lines(&self.left_out) {
            out += &format!("  not in the dump: {line}\n");
        }
        for (name, info) in &self.files {
            out += &format!("{:>14} bytes  {}  {name}\n", grouped(info.bytes), &info.sha256[..16]);
        }
        out
    }
}

fn most_first(mut named: Vec<(&str, u64)>) -> Vec<String> {
    named.sort_by_key(|(name, n)| (std::cmp::Reverse(*n), *name));
    named.into_iter().map(|(name, n)| format!("{name} {}", grouped(n))).collect()
}

fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some(_) => text.chars().take(length.saturating_sub(1)).chain(['…']).collect(),
        None => text.to_string(),
    }
}
