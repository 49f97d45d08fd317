//! What a run remembers of the cut-over, and of the way back. Data only.

use crate::model::Service;
use crate::remembered::Remembered;
use crate::run::sequence::Sequence;
use datapath::digest::Digest;
use datapath::firestore::Instant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The instant at which the services took over, and what every store was then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cutover {
    pub at: String,
    /// Every table of the source.
    #[serde(default)]
    pub source: BTreeMap<String, Digest>,
    /// Every sequence of the source; `None`: it has never given out a number.
    #[serde(default)]
    pub source_sequences: BTreeMap<String, Option<i64>>,
    /// Every table of the targets, every collection.
    #[serde(default)]
    pub stores: BTreeMap<String, StoreState>,
    /// The targets' tables as they were then, where row versions tell what has changed since.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remembered: Remembered,
    /// By collection, an instant before it was proven: what has been written since is told by it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub firestore: BTreeMap<String, Instant>,
    /// For how many seconds the source had been read-only then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen_for: Option<f64>,
    /// It rests on a last pass, whose full proof follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_pass: bool,
    /// After a last pass: what every row and document was then, compared while the services worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub afterwards: Option<FullProof>,
}

/// Every row and document as of the cut-over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullProof {
    pub at: String,
    /// What was not as the run says, a line each.
    pub differences: Vec<String>,
    /// Why it could not be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_proven: Option<String>,
}

impl FullProof {
    pub fn is_green(&self) -> bool {
        self.differences.is_empty() && self.not_proven.is_none()
    }
}

/// The way back to the old database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolledBack {
    pub at: String,
    /// `before-start`, `after-start`; `service …`: it was the last one.
    pub scope: String,
    /// What the stores were when the services took over.
    pub cutover: Option<Cutover>,
}

/// A service that has gone back alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBack {
    pub service: Service,
    pub at: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreState {
    pub content: Digest,
    /// Of a table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sequence: Option<Sequence>,
}
