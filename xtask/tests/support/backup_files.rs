//! Backups of the new stores as their files say them, without the stores.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use datapath::sha256::Sha256;
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use std::fs;
use std::path::Path;

pub const TARGETS: [&str; 4] = ["product", "order", "gateway", "firestore"];

/// What a drill came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    Green,
    Red,
    None,
}

pub fn hours_ago(hours: i64) -> Timestamp {
    Timestamp::now() - hours.hours()
}

/// The backups of a store are this one, of this instant. `environment`: as runs name it.
pub fn write(runs: &Path, environment: &str, target: &str, taken: Timestamp, drill: Drill) {
    let folder = runs.join("stores").join(target);
    let _ = fs::remove_dir_all(&folder);
    add(runs, environment, target, taken, drill);
}

/// One more of them.
pub fn add(runs: &Path, environment: &str, target: &str, taken: Timestamp, drill: Drill) {
    let id = taken.strftime("%Y%m%d_%H%M%S").to_string();
    let directory = runs.join("stores").join(target).join(&id);
    fs::create_dir_all(&directory).unwrap();
    let (at, tool) = (taken.to_string(), json!({ "version": "0", "sql": "" }));
    let file = json!({ "bytes": 4711, "sha256": "" });
    let manifest = json!({
        "format": 1, "target": target, "environment": environment, "tool": tool, "who": "test@test",
        "started": at, "ended": at, "seconds": 1.0,
        "content": { "documents": {
            "firestore": { "project": "p", "database": "d" }, "read_time": at, "collections": {},
            "files": { "users.ndjson.gz": file }
        } }
    })
    .to_string();
    fs::write(directory.join("manifest.json"), &manifest).unwrap();
    if drill == Drill::None {
        return;
    }
    let mut hash = Sha256::new();
    hash.update(manifest.as_bytes());
    let evidence = json!({
        "target": target, "environment": environment, "backup": id, "manifest_sha256": hash.hex(), "tool": tool,
        "who": "test@test", "started": at, "ended": at, "seconds": 1.0, "restored_on": "PostgreSQL",
        "green": drill == Drill::Green, "findings": [], "content": {}, "queries": {}
    });
    fs::write(directory.join("drill.json"), evidence.to_string()).unwrap();
}

/// All of them, of this instant, restored by a drill.
pub fn write_all(runs: &Path, environment: &str, taken: Timestamp) {
    TARGETS.into_iter().for_each(|target| write(runs, environment, target, taken, Drill::Green));
}
