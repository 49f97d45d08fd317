//! What a run knows and has proven, as it stands in `manifest.json`. Data only.

use crate::findings::{Counts, Finding, Findings};
use crate::hazards::Found;
use crate::identity::Identity;
use crate::ledger::Outcomes;
use crate::model::{Column, ServerInfo};
use crate::remembered::Remembered;
use crate::run::properties::Properties;
use crate::shown::escaped;
use crate::sql::{HashFn, Reading};
use crate::steps::CommandName;
use crate::timing::Timing;
use datapath::digest::{Content, Digest};
use datapath::document::NullPolicy;
use datapath::files::{FileInfo, Piece};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub use super::pass::{Pass, TurnedRows};
pub use super::sequence::Sequence;
pub use super::source_check::{Change, SourceCheck};
pub use super::taken_over::{Cutover, FullProof, RolledBack, ServiceBack, StoreState};

/// The configuration of the containers as it was.
pub const COMPOSE_BEFORE: &str = "docker-compose-before.yml";

/// Raised when a reader of an older manifest could not understand a newer one.
pub const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub run: String,
    pub environment: String,
    pub tool: ToolVersion,
    pub started: String,
    /// Which command began it: `migrate`, `export`, `backup`.
    #[serde(default)]
    pub command: CommandName,
    /// What the policy said of rows: a run that is resumed keeps it.
    #[serde(default)]
    pub policy: Option<RowPolicy>,
    /// Whether it takes the place of an earlier run's rows and documents.
    #[serde(default)]
    pub replace: bool,
    /// With it, whose place it takes, by store: the run that each held when this one began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<BTreeMap<String, String>>,
    /// The servers that it belongs to (DESIGN rule 19), as far as it has worked on them.
    #[serde(default)]
    pub servers: Identity,
    /// What was found in the source before anything was changed, and what of it was accepted.
    #[serde(default)]
    pub hazards: Vec<Found>,
    /// What the person accepted by `--accept`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepted: Vec<String>,
    /// Filled in when phase 1 has ended.
    pub backup: Option<Backup>,
    /// Filled in when phase 2 has ended: from here on targets may be written.
    pub export: Option<Export>,
    /// The tables of the source as the last pass saw them: the next one asks what has changed since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub caught_up: Remembered,
    /// The targets' tables as they were proven by digests, the last time.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remembered: Remembered,
    /// Filled in by every verification, the last one stands.
    pub proof: Option<Proof>,
    /// The source looked at again, the last time.
    #[serde(default)]
    pub source: Option<SourceCheck>,
    /// Filled in by the cut-over: from then on what is foreign in a target is the services' work.
    #[serde(default)]
    pub cutover: Option<Cutover>,
    /// Each time that it was taken back: it is nobody's any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rolled_back: Vec<RolledBack>,
    /// Services that have gone back alone since the cut-over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services_back: Vec<ServiceBack>,
    /// What `migrate` was expected to take, and what it took.
    #[serde(default)]
    pub time: Option<Timing>,
    /// How often a field of a document took its default for NULL, by collection.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub defaults: BTreeMap<String, BTreeMap<String, u64>>,
    /// Of the process that migrated, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
}

/// Which tool and which SQL made the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolVersion {
    pub version: String,
    /// SHA-256 of all SQL files that were compiled in.
    pub sql: String,
}

/// The part of the policy that decides what a row becomes, and whether the run may go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPolicy {
    pub max_quarantine: Option<u64>,
    pub null_policy: NullPolicy,
    pub source_zone: String,
}

/// What a run has written down of a table in the database that holds it, as it made it visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    #[serde(flatten)]
    pub content: Digest,
    /// Of what and how the digest was taken.
    pub columns: Vec<Column>,
    pub hash: HashFn,
}

/// The instant of the source that the whole run sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// PostgreSQL's name of it; not valid any more once the run has let it go.
    pub id: String,
    pub taken: String,
    pub server: ServerInfo,
    pub hash: HashFn,
    /// How the source's tables are read.
    #[serde(default)]
    pub reading: Reading,
}

/// Phase 1: what the source was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Backup {
    pub snapshot: SnapshotInfo,
    pub pg_dump: u32,
    /// By path in the run directory.
    pub files: BTreeMap<String, FileInfo>,
    /// Every table of the source, migrated or not, by `schema.table`.
    pub raw: BTreeMap<String, Digest>,
    /// Those of them of which row versions tell whether they have changed since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remembered: Remembered,
    /// What the dump does not hold, by name (`schema.table`), each with why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// Rows written to each table by the source's statistics, at the snapshot.
    #[serde(default)]
    pub writes: BTreeMap<String, i64>,
    /// Where every sequence of the source stood after the last reading.
    #[serde(default)]
    pub sequences: BTreeMap<String, Option<i64>>,
    /// What of the database no dump holds; `None`: the run is of a version that did not record it.
    #[serde(default)]
    pub properties: Option<Properties>,
    /// The shop's compose file that docker-compose-before.yml was made of; `None`: it is this checkout's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shop_compose: Option<PathBuf>,
    pub seconds: f64,
}

/// What a dump does not hold for people: a line each.
pub fn left_out_lines(left_out: &BTreeMap<String, String>) -> Vec<String> {
    left_out.iter().map(|(name, why)| format!("{}: {}", escaped(name), escaped(why))).collect()
}

/// Phase 2: what every target must hold. Each replay changes what the tables must hold, and adds its
/// files; the files of the export stay as they are.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Export {
    pub snapshot: SnapshotInfo,
    pub files: BTreeMap<String, FileInfo>,
    /// By table.
    pub tables: BTreeMap<String, TableExport>,
    pub seconds: f64,
    /// What was brought in later, oldest first: rows that were fixed in the source, by replays, and what has
    /// changed there since, by passes. The files of the first are in `replay/1/` or `pass/1/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<Replay>,
}

impl Export {
    /// The files in which replays and passes say what happened to a file's rows, oldest first.
    pub fn replays_of(&self, file: &str) -> Vec<String> {
        let names = (1..).zip(&self.replays).map(|(n, replay)| replay.file(n, file));
        names.filter(|name| self.files.contains_key(name)).collect()
    }

    /// The passes, each with its number among all that was brought in later.
    pub fn passes(&self) -> impl Iterator<Item = (usize, &Replay, &Pass)> {
        (1..).zip(&self.replays).filter_map(|(n, replay)| Some((n, replay, replay.pass.as_ref()?)))
    }

    /// The pass that not every store has yet.
    pub fn unfinished_pass(&self) -> Option<usize> {
        self.passes().find(|(_, _, pass)| !pass.done).map(|(number, _, _)| number)
    }

    /// The instant of the source that the stores hold.
    pub fn as_of(&self) -> &SnapshotInfo {
        self.passes().last().map_or(&self.snapshot, |(_, replay, _)| &replay.snapshot)
    }
}

/// Rows brought in after the export.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Replay {
    pub at: String,
    /// The instant of the source at which they were read.
    pub snapshot: SnapshotInfo,
    /// By table.
    pub tables: BTreeMap<String, TableReplay>,
    /// What the run knows of the source's tables from then on, by `schema.table`; those in which rows
    /// were fixed.
    #[serde(default)]
    pub source: BTreeMap<String, Known>,
    /// Of a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
}

/// A table of the source as far as the run has read it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub content: Digest,
    /// The rows in it that may still be fixed.
    pub open: Digest,
}

impl Replay {
    /// Where it keeps its rows of a file, as the `number`th.
    pub fn file(&self, number: usize, file: &str) -> String {
        let kind = if self.pass.is_some() { "pass" } else { "replay" };
        format!("{kind}/{number}/{file}")
    }
}

/// What a replay did to a table, and to what it must hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TableReplay {
    /// Rows that left the quarantine, by id.
    pub moved: BTreeMap<i64, Moved>,
    /// Rows that had been migrated, and refer to another key now.
    pub changed: Vec<i64>,
    /// What the table must not hold any more, and what it must hold instead.
    pub gone: Content,
    pub come: Content,
}

/// A row's outcome at the run's snapshot, and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    pub from: String,
    pub to: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableExport {
    /// Of the file, in its order; `null_fields` not counted.
    pub columns: Vec<Column>,
    /// Those of them that the target has.
    pub target_columns: Vec<Column>,
    /// `count(*)` of the bare table.
    pub source_rows: u64,
    pub outcomes: Outcomes,
    /// As whole rows of the source, those that may be fixed there and replayed: all that are in
    /// quarantine, and users without a uid.
    #[serde(default)]
    pub open: Digest,
    /// Rows about which something is said in `notes/<table>.csv`.
    pub notes: u64,
    /// What the target must hold.
    pub content: Content,
    /// The id that the next new row gets, never lower than one that the source has given out.
    pub sequence: Sequence,
    /// The file in pieces that end with a row, the header in the first.
    pub pieces: Vec<Piece>,
    pub seconds: f64,
}

/// The result of a verification.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Proof {
    pub finished: String,
    pub tables: BTreeMap<String, TableProof>,
    pub checks: Vec<Check>,
    /// What a DBA may rightly have decided, beside `sql/schema`: no differences.
    #[serde(default, deserialize_with = "of_this_version", skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Finding>,
    pub seconds: f64,
}

impl Proof {
    pub fn is_green(&self) -> bool {
        // A check on nothing is not a pass.
        !self.tables.is_empty()
            && !self.checks.is_empty()
            && self.tables.values().all(TableProof::is_green)
            && self.checks.iter().all(Check::is_green)
    }

    /// The findings that were kept, in the order of tables and checks.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let tables = self.tables.values().flat_map(|t| &t.findings);
        tables.chain(self.checks.iter().flat_map(|c| &c.findings))
    }

    /// How much is wrong, whether it was kept or not.
    pub fn wrong(&self) -> u64 {
        let tables: u64 = self.tables.values().map(TableProof::wrong).sum();
        tables + self.checks.iter().map(|c| c.wrong).sum::<u64>()
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TableProof {
    pub expected_rows: u64,
    pub found_rows: u64,
    /// The verdict rests on these.
    #[serde(default)]
    pub counts: Counts,
    /// Some of what differs, with keys and values.
    #[serde(default, deserialize_with = "of_this_version")]
    pub findings: Vec<Finding>,
    /// Its rows were not read: by their versions they are what was proven by digest then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// After the cut-over: what the services have done since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Services>,
    pub seconds: f64,
}

/// The services' work on a table or collection (DESIGN rule 18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    pub added: u64,
    pub changed: u64,
}

impl TableProof {
    /// Nothing of ours is lost, and before the cut-over nothing has been changed and nothing else is there.
    pub fn is_green(&self) -> bool {
        let Counts { equal, different, missing, extra, other } = self.counts;
        missing == 0
            && other == 0
            && equal + different == self.expected_rows
            && equal + different + extra == self.found_rows
            && (self.services.is_some() || (different == 0 && extra == 0))
    }

    /// Rows or documents that are not as they must be, and what else is wrong; at least 1 if it is red.
    pub fn wrong(&self) -> u64 {
        let Counts { different, missing, extra, other, .. } = self.counts;
        let theirs = if self.services.is_some() { 0 } else { different + extra };
        (missing + other + theirs).max(u64::from(!self.is_green()))
    }
}

/// A check across tables or stores.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// What was looked at, and what was expected to be there.
    pub looked_at: String,
    /// How many things are wrong; 0: it has passed.
    #[serde(default = "unknown")]
    pub wrong: u64,
    /// Some of them.
    #[serde(default, deserialize_with = "of_this_version")]
    pub findings: Vec<Finding>,
}

impl Check {
    pub fn new(name: impl Into<String>, looked_at: impl Into<String>, findings: Findings) -> Check {
        let Findings { count, kept } = findings;
        Check { name: name.into(), looked_at: looked_at.into(), wrong: count, findings: kept }
    }

    pub fn is_green(&self) -> bool {
        self.wrong == 0
    }
}

/// A proof of an earlier version has no counts: it is none.
fn unknown() -> u64 {
    1
}

/// Findings of earlier versions were lines of text: they are not read.
fn of_this_version<'de, D: serde::Deserializer<'de>>(findings: D) -> Result<Vec<Finding>, D::Error> {
    let findings = Vec::<serde_json::Value>::deserialize(findings)?;
    Ok(findings.into_iter().filter_map(|finding| serde_json::from_value(finding).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(counts: Counts, services: Option<Services>) -> TableProof {
        let found_rows = counts.equal + counts.different + counts.extra;
        let expected_rows = counts.equal + counts.different + counts.missing;
        TableProof { expected_rows, found_rows, counts, services, ..TableProof::default() }
    }

    #[test]
    fn each_count_decides_by_itself() {
        let equal = Counts { equal: 9, ..Counts::default() };
        let one = |change: fn(&mut Counts)| {
            let mut counts = equal;
            change(&mut counts);
            [None, Some(Services::default())].map(|services| {
                let proof = table(counts, services);
                (proof.is_green(), proof.wrong())
            })
        };
        assert_eq!(one(|_| {}), [(true, 0), (true, 0)]);
        // After the cut-over what is changed or added is the services' work.
        assert_eq!(one(|counts| counts.different = 1), [(false, 1), (true, 0)]);
        assert_eq!(one(|counts| counts.extra = 1), [(false, 1), (true, 0)]);
        assert_eq!(one(|counts| counts.missing = 1), [(false, 1), (false, 1)]);
        assert_eq!(one(|counts| counts.other = 1), [(false, 1), (false, 1)]);
        let uncounted = TableProof { expected_rows: 9, found_rows: 9, ..TableProof::default() };
        assert_eq!((uncounted.is_green(), uncounted.wrong()), (false, 1));
    }

    #[test]
    fn a_proof_needs_tables_and_checks() {
        let tables = || BTreeMap::from([("orders".to_string(), TableProof::default())]);
        let checks = || vec![Check::new("files", "1 file", Findings::default())];
        let proof = |tables, checks| Proof { tables, checks, ..Proof::default() }.is_green();
        assert!(proof(tables(), checks()));
        assert!(!proof(BTreeMap::new(), checks()), "nothing was looked at");
        assert!(!proof(tables(), Vec::new()), "nothing was checked");
    }
}
