//! What servers say of themselves, by which a run knows its own (DESIGN rule 19): addresses have many
//! spellings. Pure.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One of the PostgreSQL servers of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum ServerName {
    Source,
    Product,
    Order,
    Gateway,
}

impl ServerName {
    pub const ALL: [ServerName; 4] =
        [ServerName::Source, ServerName::Product, ServerName::Order, ServerName::Gateway];
    pub const TARGETS: [ServerName; 3] = [ServerName::Product, ServerName::Order, ServerName::Gateway];
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ServerName::Source => "source",
            ServerName::Product => "product",
            ServerName::Order => "order",
            ServerName::Gateway => "gateway",
        })
    }
}

/// What a server says of itself and of one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// Where it was found; for people, and to find a local stack again.
    pub host: String,
    pub port: u16,
    pub database: String,
    pub oid: i64,
    /// `system_identifier` of the cluster.
    pub system: String,
    /// In the hexadecimal digits of a WAL file's name; `None`: it is a standby.
    pub timeline: Option<String>,
}

impl DatabaseIdentity {
    /// How it is another database than the recorded one; `None`: it is the same.
    pub fn differs_from(&self, recorded: &DatabaseIdentity) -> Option<&'static str> {
        if self.system != recorded.system {
            Some("another cluster")
        } else if self.timeline != recorded.timeline {
            Some(match (&recorded.timeline, &self.timeline) {
                (Some(_), None) => "another server of the same cluster (a standby)",
                (None, _) => "another server of the same cluster (its primary, or a standby that took over)",
                _ => {
                    "the same cluster on another timeline (restored to a point in time, or a standby took over)"
                }
            })
        } else if self.oid != recorded.oid {
            Some("another database of that cluster (restored, or made again)")
        } else {
            None
        }
    }
}

/// The Firestore database of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirestoreIdentity {
    pub project: String,
    pub database: String,
}

impl fmt::Display for FirestoreIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.database)
    }
}

/// The servers that a run has worked on so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    #[serde(default)]
    pub databases: BTreeMap<ServerName, DatabaseIdentity>,
    #[serde(default)]
    pub firestore: Option<FirestoreIdentity>,
}

impl Identity {
    /// With what was not known before.
    pub fn and(mut self, more: Identity) -> Identity {
        for (name, identity) in more.databases {
            self.databases.entry(name).or_insert(identity);
        }
        self.firestore = self.firestore.or(more.firestore);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_counts_and_not_where_it_was_found() {
        let recorded = DatabaseIdentity {
            host: "localhost".into(),
            port: 5433,
            database: "product_database".into(),
            oid: 16_384,
            system: "7000000000000000001".into(),
            timeline: Some("00000001".into()),
        };
        let found = DatabaseIdentity { host: "127.0.0.1".into(), port: 1, ..recorded.clone() };
        assert_eq!(found.differs_from(&recorded), None);
        for other in [
            DatabaseIdentity { system: "7000000000000000002".into(), ..found.clone() },
            DatabaseIdentity { timeline: Some("00000002".into()), ..found.clone() },
            DatabaseIdentity { timeline: None, ..found.clone() },
            DatabaseIdentity { oid: 16_385, ..found.clone() },
        ] {
            assert!(other.differs_from(&recorded).is_some(), "{other:?}");
        }
    }
}
