//! What an environment says of the time after the cut-over: from where on a measurement is a warning, and how long the
//! old database stays.

use std::time::Duration;

/// From where on a measurement is a warning, and from where on critical.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub warn: f64,
    pub critical: f64,
    pub worse: Worse,
}

/// In which direction a measurement gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    Above,
    Below,
}

/// `[monitor]`: shares in percent, times in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Monitor {
    /// Of the connections that a server allows.
    pub connections: Limits,
    /// Sessions that wait for a lock.
    pub waiting: Limits,
    /// How long a transaction has been open.
    pub oldest_transaction: Limits,
    /// How long one has been open that does nothing.
    pub idle_in_transaction: Limits,
    pub replication_lag: Limits,
    /// How far the stores of a run that is not cut over yet are behind the source.
    pub catch_up_lag: Limits,
    /// Of the blocks that were asked for, those found in the cache.
    pub cache_hits: Limits,
    /// Of a table's rows, of tables with more than [`Monitor::MANY_DEAD_ROWS`] dead ones.
    pub dead_rows: Limits,
    /// Of a sequence's numbers, those that are used.
    pub sequences: Limits,
    /// Of the transaction ids, those that are used.
    pub wraparound: Limits,
    /// Of a disk.
    pub disk: Limits,
    /// How far a server's clock is from this machine's.
    pub clock: Limits,
    /// How old the newest backup of a store is.
    pub backup: Limits,
    /// How old the newest backup is that a drill has restored.
    pub drill: Limits,
}

impl Monitor {
    /// With fewer the share of dead rows says nothing.
    pub const MANY_DEAD_ROWS: i64 = 10_000;
    /// Blocks that have to have been asked for before their share in the cache says something.
    pub const MANY_BLOCKS: i64 = 100_000;
}

/// `[decommission]`: how long the old database stays, and what shows that nobody needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decommission {
    /// From the cut-over until it may be retired.
    pub soak: Duration,
    /// How long nobody may have been in it.
    pub quiet: Duration,
    /// In how many different hours of that time it has to have been looked at.
    pub samples: usize,
    /// From its retirement until it may be dropped.
    pub drop_after: Duration,
}
