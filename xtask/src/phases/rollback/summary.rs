//! What went back and what did not, as it is shown and as the old database remembers it. Pure.

use crate::model::Service;
use crate::run::sequence::Sequence;
use datapath::firestore::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time;

/// What goes back, and what has happened since the cut-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Everything; the new services have not been started.
    BeforeStart,
    /// Everything; they have been started.
    AfterStart,
    /// One service alone: the others stay with the new stores.
    Service(Service),
}

impl Scenario {
    /// The service that goes back alone.
    pub fn alone(self) -> Option<Service> {
        match self {
            Scenario::Service(service) => Some(service),
            Scenario::BeforeStart | Scenario::AfterStart => None,
        }
    }

    /// Whether a service goes back; `before`: those that have gone already.
    pub fn takes(self, service: Service, before: &[Service]) -> bool {
        self.alone().is_none_or(|alone| alone == service) && !before.contains(&service)
    }
}

/// `before-start`, `after-start`, `service user` …: as it is typed, and as the stores remember it.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scenario::BeforeStart => f.write_str("before-start"),
            Scenario::AfterStart => f.write_str("after-start"),
            Scenario::Service(service) => write!(f, "service {}", service.key()),
        }
    }
}

/// `service:user` is taken for `service user`.
impl FromStr for Scenario {
    type Err = String;

    fn from_str(text: &str) -> Result<Scenario, String> {
        let all = Service::ALL.map(Scenario::Service);
        let all = [Scenario::BeforeStart, Scenario::AfterStart].into_iter().chain(all);
        let mut named = all.map(|scenario| (scenario.to_string().replace(' ', ":"), scenario));
        let text = text.replace(' ', ":");
        let found = named.find(|(name, _)| *name == text);
        found.map(|(_, scenario)| scenario).ok_or_else(|| {
            "before-start, after-start, or service: and user, product, order or gateway".to_string()
        })
    }
}

/// What is wanted of the way back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub scenario: Scenario,
    pub deltas: Deltas,
    pub compared: Compared,
    pub triggers: Triggers,
    /// Tables whose new rows get other ids where theirs are taken.
    pub rekey: Vec<String>,
}

impl Wanted {
    pub fn of(scenario: Scenario) -> Wanted {
        let (deltas, compared) = (Deltas::default(), Compared::default());
        Wanted { scenario, deltas, compared, triggers: Triggers::default(), rekey: Vec::new() }
    }
}

/// What becomes of the triggers of the old tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Triggers {
    /// They do not fire: what they would add is not what the stores hold.
    #[default]
    Quiet,
    /// They fire, and what they have changed is listed.
    Fire,
}

/// Tables whose ids nobody outside knows, and no other table: their rows may get other ones.
pub const REKEYED: [&str; 4] = ["analytics_events", "api_logs", "order_items", "product_reviews"];

/// What becomes of what the services have written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Deltas {
    /// It goes into the old database
    #[default]
    Apply,
    /// It is kept in the run's directory, and goes nowhere
    Keep,
    /// It is lost
    Discard,
}

/// Which rows of the old database are compared with the stores before it is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// Those that were written, by value; that the others are what they were is told by row versions and update times.
    #[default]
    Written,
    /// The others by value, too.
    All,
}

/// What went back, or would; also what the old database itself remembers of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Back {
    pub scope: String,
    /// By table of the run.
    pub tables: BTreeMap<String, TableBack>,
    /// Where the sequences of the old database have to stand, by table of the run.
    pub sequences: BTreeMap<String, Sequence>,
    /// How long its parts took.
    #[serde(default)]
    pub seconds: Seconds,
    /// Triggers of the old database that did not fire.
    pub triggers: Vec<String>,
    /// By collection, an instant before it was captured.
    #[serde(default)]
    pub captured: BTreeMap<String, Instant>,
    /// Documents that were written after that: left where they are.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written_later: BTreeMap<String, u64>,
}

/// A part of the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackPart {
    /// Looking at what the databases have received.
    Databases,
    /// Looking at what the collections have received.
    Collections,
    /// The transaction in the old database.
    #[serde(alias = "old-database")]
    OldDatabase,
    /// Afterwards: sequences, and what the databases say of themselves.
    Marks,
    /// Deleting the documents that came back.
    Documents,
}

/// Wall time by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub BTreeMap<BackPart, f64>);

impl Seconds {
    /// Adds how long it takes to what the part has taken before.
    pub async fn of<T>(&mut self, part: BackPart, work: impl Future<Output = T>) -> T {
        let started = time::Instant::now();
        let done = work.await;
        *self.0.entry(part).or_default() += started.elapsed().as_secs_f64();
        done
    }
}

/// The outcome of the rows of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableBack {
    pub counts: DeltaCounts,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Users whose documents are gone: `deleted_at` is set.
    pub marked: u64,
    /// Changed only in what the old table has no place for.
    pub untouched: u64,
    /// The old row has been changed too, since the run read it: nothing was written.
    pub conflicts: Vec<Left>,
    /// What the old table cannot hold.
    pub quarantined: Vec<Left>,
    /// Gone in the store, and needed by a row that never went there.
    pub kept: Vec<Left>,
    /// Came back without a reference, with another id or other values; or is told otherwise though nobody has written it.
    pub noted: Vec<Left>,
}

/// A row that did not come back, or not as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    pub key: String,
    pub why: String,
}

impl Back {
    /// Rows and documents that did not come back.
    pub fn left_behind(&self) -> usize {
        let of = |table: &TableBack| table.conflicts.len() + table.quarantined.len();
        self.tables.values().map(of).sum::<usize>() + self.written_later.values().sum::<u64>() as usize
    }

    pub fn received(&self) -> u64 {
        self.tables.values().map(|t| t.counts.added + t.counts.changed + t.counts.deleted).sum()
    }
}

/// How many rows or documents are not what the run wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaCounts {
    pub added: u64,
    pub changed: u64,
    pub deleted: u64,
    /// Values that the old table has no place for, by column or field.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub without_a_place: BTreeMap<String, u64>,
}

impl DeltaCounts {
    pub fn is_empty(&self) -> bool {
        self.added + self.changed + self.deleted == 0
    }
}
