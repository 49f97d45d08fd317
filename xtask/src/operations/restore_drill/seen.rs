//! What a look at what was restored came to. Data only.

use crate::operations::store_backups::DrillFinding;
use datapath::digest::Digest;
use std::collections::BTreeMap;

#[derive(Default)]
pub struct Seen {
    pub restored_on: Option<String>,
    pub findings: Vec<DrillFinding>,
    /// By table or collection.
    pub content: BTreeMap<String, Digest>,
    /// Rows by query; `None`: there was nothing to ask for.
    pub queries: BTreeMap<String, Option<u64>>,
}
