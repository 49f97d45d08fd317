//! What `monitor` has seen: measurements as they are, without a word of whether they are good. Times are seconds since
//! 1970, and RFC 3339 as JSON. Pure.

use super::stores::StoreBackup;
use super::told;
use crate::effects::disk::Room;
use crate::identity::ServerName;
use crate::run::caught_up::CaughtUp;
use crate::run::statements::Statement;
use serde::Serialize;
use std::collections::BTreeMap;

/// One look at everything.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    pub environment: String,
    pub at: String,
    /// The same in seconds since 1970, by this machine's clock.
    #[serde(skip)]
    pub now: f64,
    pub servers: BTreeMap<ServerName, ServerSeen>,
    pub firestore: FirestoreSeen,
    /// Backups and drills of the new stores, by target.
    pub stores: Vec<StoreBackup>,
    /// Disks of this machine, by what they are for.
    #[serde(serialize_with = "told::places")]
    pub disks: BTreeMap<String, Room>,
    /// The run whose stores the services work on.
    pub run: Option<RunSeen>,
    /// The run that is being caught up with, until it is cut over.
    pub caught_up: Option<CaughtUpSeen>,
}

/// A server that does not answer is a measurement, too.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ServerSeen {
    Up(Box<Measured>),
    Down {
        reason: String,
    },
    /// On purpose.
    NotLookedAt {
        reason: String,
    },
}

/// What one database and its server say of themselves; `None`: `not_seen` says why.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    pub activity: Option<Activity>,
    pub database: Option<Database>,
    pub replication: Option<Replication>,
    /// Those with the most dead rows.
    pub tables: Vec<Table>,
    pub sequences: Vec<Sequence>,
    pub disabled_triggers: Option<Vec<String>>,
    /// Those that take longest on average.
    pub slowest: Vec<Statement>,
    /// Where its files are, if that is on this machine.
    pub disk: Option<Room>,
    /// What this role was not shown, and what gives it: a line each.
    pub not_seen: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Activity {
    /// How many sessions there may be.
    pub allowed: i64,
    pub sessions: i64,
    /// Those that wait for a lock.
    pub waiting: i64,
    pub oldest_transaction: Option<Since>,
    pub idle_in_transaction: Option<Since>,
    /// How far the server's clock is ahead of this machine's, in seconds.
    pub clock: f64,
}

/// Since when something is as it is, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Since {
    #[serde(serialize_with = "told::instant")]
    pub at: f64,
    pub who: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Database {
    /// Blocks that were found in the cache, and those that were not.
    pub hits: i64,
    pub reads: i64,
    pub deadlocks: i64,
    /// Since when these are counted; `None`: since they began.
    #[serde(serialize_with = "told::instant_if_any")]
    pub since: Option<f64>,
    pub bytes: i64,
    /// Share of the transaction ids that are used, 0 to 1.
    pub used_ids: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Replication {
    pub standby: bool,
    /// In seconds; `None`: nobody replicates.
    pub lag: Option<f64>,
    /// Bytes of WAL that a slot keeps which nobody reads.
    pub held: Option<i64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Table {
    pub table: String,
    pub live: i64,
    pub dead: i64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Sequence {
    pub name: String,
    /// Whose numbers it gives out; without one its own name.
    pub table: String,
    /// Share of its numbers that are left, 0 to 1.
    pub remaining: f64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum FirestoreSeen {
    Up {
        /// Documents by collection.
        documents: BTreeMap<String, u64>,
    },
    Down {
        reason: String,
    },
}

#[derive(Clone, Debug, Serialize)]
pub struct RunSeen {
    pub run: String,
    #[serde(serialize_with = "told::instant")]
    pub cut_over: f64,
    /// The newest proof, and whether everything was as it has to be.
    #[serde(serialize_with = "told::ended")]
    pub verified: Option<(f64, bool)>,
}

#[derive(Clone, Debug, Serialize)]
pub struct CaughtUpSeen {
    pub run: String,
    #[serde(flatten)]
    pub caught_up: CaughtUp,
}

impl Measured {
    /// Share of the blocks that were found in the cache, 0 to 1; `None` where too few were asked for.
    pub fn cache_hits(&self) -> Option<f64> {
        let Database { hits, reads, .. } = self.database.as_ref()?;
        let all = hits + reads;
        (all >= crate::settings::Monitor::MANY_BLOCKS).then(|| *hits as f64 / all as f64)
    }
}

impl Table {
    /// Share of its rows that are dead, 0 to 1; `None` where there are too few of them.
    pub fn dead_share(&self) -> Option<f64> {
        let all = self.dead + self.live;
        (self.dead > crate::settings::Monitor::MANY_DEAD_ROWS).then(|| self.dead as f64 / all as f64)
    }
}
