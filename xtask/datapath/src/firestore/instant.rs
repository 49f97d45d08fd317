//! The server's time: of a reading, and of a document's last change.

use crate::document::format_time;
use gcloud_sdk::prost_types::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An instant of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant {
    seconds: i64,
    nanos: i32,
}

impl From<Timestamp> for Instant {
    fn from(Timestamp { seconds, nanos }: Timestamp) -> Instant {
        Instant { seconds, nanos }
    }
}

impl Instant {
    /// To the microsecond, as Firestore takes it to read at.
    pub(super) fn timestamp(self) -> Timestamp {
        Timestamp { seconds: self.seconds, nanos: self.nanos / 1000 * 1000 }
    }
}

impl fmt::Display for Instant {
    /// RFC 3339, to the microsecond.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_time(self.seconds * 1_000_000 + i64::from(self.nanos) / 1000))
    }
}
