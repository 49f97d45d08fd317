//! The stores that are backed up, each by itself.

use crate::model::Database;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    Product,
    Order,
    Gateway,
    Firestore,
}

impl Target {
    /// In the order in which people name them.
    pub const ALL: [Target; 4] = [Target::Product, Target::Order, Target::Gateway, Target::Firestore];

    /// As it is typed, and the name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            Target::Product => "product",
            Target::Order => "order",
            Target::Gateway => "gateway",
            Target::Firestore => "firestore",
        }
    }

    /// `None`: Firestore.
    pub fn database(self) -> Option<Database> {
        match self {
            Target::Product => Some(Database::Product),
            Target::Order => Some(Database::Order),
            Target::Gateway => Some(Database::Gateway),
            Target::Firestore => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
