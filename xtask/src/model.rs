//! The words of the migration: what stands where, and how each row ends. No logic, no I/O.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One of the three new PostgreSQL databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Database {
    Product,
    Order,
    Gateway,
}

impl Database {
    /// In the order in which people name them.
    pub const ALL: [Database; 3] = [Database::Product, Database::Order, Database::Gateway];

    /// `product`, `order`, `gateway`: the key in environment files and in names of steps.
    pub fn name(self) -> &'static str {
        match self {
            Database::Product => "product",
            Database::Order => "order",
            Database::Gateway => "gateway",
        }
    }

    /// The service whose it is.
    pub fn service(self) -> Service {
        match self {
            Database::Product => Service::Product,
            Database::Order => Service::Order,
            Database::Gateway => Service::Gateway,
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One of the shop's services. Each has a store of its own: the users' is Firestore.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// user-service: users and their sessions, in Firestore
    User,
    /// product-service
    Product,
    /// order-service
    Order,
    /// api-gateway
    Gateway,
}

impl Service {
    /// In the order in which they are started: who is asked before who asks.
    pub const ALL: [Service; 4] = [Service::User, Service::Product, Service::Order, Service::Gateway];

    /// `user`, `product`, `order`, `gateway`: the key in environment files.
    pub fn key(self) -> &'static str {
        match self {
            Service::User => "user",
            Service::Product => "product",
            Service::Order => "order",
            Service::Gateway => "gateway",
        }
    }

    /// As the guide calls it.
    pub fn name(self) -> &'static str {
        match self {
            Service::User => "user-service",
            Service::Product => "product-service",
            Service::Order => "order-service",
            Service::Gateway => "api-gateway",
        }
    }

    /// Its database; `None`: Firestore.
    pub fn database(self) -> Option<Database> {
        match self {
            Service::User => None,
            Service::Product => Some(Database::Product),
            Service::Order => Some(Database::Order),
            Service::Gateway => Some(Database::Gateway),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What becomes of an earlier run's rows and documents in the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// A target has to be empty.
    #[default]
    Refuse,
    /// What still is exactly what an earlier run wrote gives way (`--replace`).
    Replace,
}

/// A column as the server's catalogue describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// The type without its length: `int4`, `timestamptz`, `text[]`.
    pub kind: String,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// 15 for 15.18.
    pub major: u32,
    pub version: String,
    pub encoding: String,
    /// `pg_database_size`, in bytes.
    pub bytes: u64,
}

/// Every name that a classifying SELECT may give as an outcome beside `migrated`, with what it
/// means to a person. A name that is not here fails the run: it could not be explained.
pub const OUTCOMES: &[(&str, &str)] = &[
    ("excluded:user_deleted", "the user is soft-deleted"),
    ("excluded:session_of_deleted_user", "the session's user is soft-deleted"),
    ("excluded:category_deleted", "soft-deleted, and nothing migrated needs it"),
    ("excluded:product_deleted", "soft-deleted, and no review or order item needs it"),
    ("excluded:review_deleted", "the review is soft-deleted"),
    ("quarantined:uid_missing", "the user has no firebase_uid: there is no id for a document"),
    ("quarantined:uid_not_an_id", "Firestore cannot hold this firebase_uid as a document id"),
    ("quarantined:uid_not_unique", "several users carry this firebase_uid: one document cannot hold two"),
    ("quarantined:time_out_of_range", "a time stamp outside the years 1 to 9999: Firestore cannot hold it"),
    ("quarantined:document_too_large", "the document would be larger than 1 MiB"),
    ("quarantined:token_not_an_id", "Firestore cannot hold this session_token as a document id"),
    ("quarantined:token_not_unique", "several sessions carry this session_token"),
    ("quarantined:user_missing", "it refers to no user, or to one that does not exist"),
    ("quarantined:user_without_uid", "its user has no firebase_uid"),
    ("quarantined:user_quarantined", "its user's document is quarantined"),
    ("quarantined:parent_missing", "its parent category does not exist"),
    ("quarantined:parent_quarantined", "its parent category is quarantined"),
    ("quarantined:category_missing", "its category does not exist"),
    ("quarantined:category_quarantined", "its category is quarantined"),
    ("quarantined:product_missing", "its product does not exist"),
    ("quarantined:product_quarantined", "its product is quarantined"),
    ("quarantined:order_missing", "its order does not exist"),
    ("quarantined:order_quarantined", "its order is quarantined"),
    ("quarantined:text_undecodable", "bytes that are no text in the source's encoding"),
    ("quarantined:value_missing", "NULL in a column that the target declares NOT NULL"),
    ("quarantined:value_does_not_fit", "a text or number that is too large for the target's column"),
    ("quarantined:rating_out_of_range", "the target takes ratings from 1 to 5"),
];

pub use datapath::sorting::MIGRATED;

/// What an outcome's name means, for the report. `None`: the name is not known.
pub fn explain(outcome: &str) -> Option<&'static str> {
    OUTCOMES.iter().find(|(name, _)| *name == outcome).map(|(_, meaning)| *meaning)
}

/// Why a command ended without success, where that is not simply an error. Decides the exit code.
#[derive(Debug)]
pub enum Stop {
    /// Verification found differences; they have been reported. Exit 3.
    Differs(String),
    /// Refused before anything was changed. Exit 4.
    Refused(String),
    /// More rows in quarantine than the policy allows; nothing was written to a target. Exit 5.
    Quarantine(String),
    /// Ctrl-C, SIGTERM or a lost terminal. Exit 6.
    Interrupted,
}

impl Stop {
    pub fn exit_code(&self) -> u8 {
        match self {
            Stop::Differs(_) => 3,
            Stop::Refused(_) => 4,
            Stop::Quarantine(_) => 5,
            Stop::Interrupted => 6,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Differs(what) => write!(f, "verification differs: {what}"),
            Stop::Refused(what) => write!(f, "refused: {what}"),
            Stop::Quarantine(what) => write!(f, "too many rows in quarantine: {what}"),
            Stop::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Stop {}

/// Refuses: nothing has been changed, and the message says what to do.
#[macro_export]
macro_rules! refuse {
    ($($message:tt)*) => { return Err($crate::model::Stop::Refused(format!($($message)*)).into()) };
}

/// Numbers as people read them: 1,234,567.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// What ends every refusal of a preflight.
pub const AGAIN: &str = "Nothing has been changed: fix this and rerun the command";

/// Before anything has been changed, what could not be looked at is a refusal.
pub fn refused(error: anyhow::Error) -> anyhow::Error {
    match error.chain().any(|cause| cause.is::<Stop>()) {
        true => error,
        false => Stop::Refused(format!("{error:#}\n{AGAIN}")).into(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_grouped() {
        assert_eq!(super::grouped(0), "0");
        assert_eq!(super::grouped(999), "999");
        assert_eq!(super::grouped(1_234_567), "1,234,567");
    }
}
