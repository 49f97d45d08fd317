//! Backups of the new stores and their drills, as their files say: `<backup dir>/stores/<target>/<time>/` with
//! `manifest.json`, which is written last, and `drill.json`, which a drill leaves.

use crate::run::dir::{self, MANIFEST};
use anyhow::{Context, Result, ensure};
use datapath::files::FileInfo;
use datapath::sha256::Sha256;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What there are backups of.
pub const TARGETS: [&str; 4] = ["product", "order", "gateway", "firestore"];

const DRILL: &str = "drill.json";

/// What there is of one store. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StoreBackup {
    pub target: &'static str,
    /// The instant that the newest backup holds, and its bytes.
    pub newest: Option<Kept>,
    /// The newest that a drill has restored and found equal: only this one counts.
    pub drilled: Option<Kept>,
    /// Directories that cannot be read, each with why.
    pub unreadable: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Kept {
    pub id: String,
    pub taken: f64,
    pub bytes: u64,
    /// When its last drill ended, and whether it was green.
    pub drill: Option<(f64, bool)>,
}

/// Of each store in the order of [`TARGETS`] what there is of this environment. Reads manifests and evidence alone.
///
/// # Errors
/// Where a directory cannot be listed.
pub fn read(runs: &Path, environment: &str) -> Result<Vec<StoreBackup>> {
    let stores = runs.join("stores");
    TARGETS.into_iter().map(|target| of_target(&stores.join(target), target, environment)).collect()
}

fn of_target(folder: &Path, target: &'static str, environment: &str) -> Result<StoreBackup> {
    let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
    for id in dir::ids(folder)?.into_iter().rev() {
        match one(folder, &id, target, environment) {
            Ok(one) => kept.extend(one),
            Err(error) => unreadable.push(format!("{}: {error:#}", folder.join(&id).display())),
        }
    }
    let green = |kept: &&Kept| kept.drill.is_some_and(|(_, green)| green);
    let drilled = kept.iter().find(green).cloned();
    Ok(StoreBackup { target, newest: kept.into_iter().next(), drilled, unreadable })
}

/// What is read of a backup's manifest.
#[derive(Deserialize)]
struct StoreManifest {
    target: String,
    environment: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Content {
    Database { backup: Backup },
    Documents { read_time: String, files: BTreeMap<String, FileInfo> },
}

#[derive(Deserialize)]
struct Backup {
    snapshot: Snapshot,
    files: BTreeMap<String, FileInfo>,
}

#[derive(Deserialize)]
struct Snapshot {
    taken: String,
}

/// What is read of a drill's evidence.
#[derive(Deserialize)]
struct Drill {
    manifest_sha256: String,
    ended: String,
    green: bool,
}

/// `None`: it is of another environment.
fn one(folder: &Path, id: &str, target: &str, environment: &str) -> Result<Option<Kept>> {
    let path = folder.join(id).join(MANIFEST);
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let damaged = || format!("{} is damaged", path.display());
    let manifest: StoreManifest = serde_json::from_slice(&bytes).with_context(damaged)?;
    if manifest.environment != environment {
        return Ok(None);
    }
    ensure!(manifest.target == target, "{} is of {}, not of {target}", path.display(), manifest.target);
    let (taken, files) = match manifest.content {
        Content::Database { backup } => (backup.snapshot.taken, backup.files),
        Content::Documents { read_time, files } => (read_time, files),
    };
    let drill = drill(&folder.join(id), &bytes)?;
    let bytes = files.values().map(|file| file.bytes).sum();
    Ok(Some(Kept { id: id.to_string(), taken: seconds(&taken)?, bytes, drill }))
}

/// The last drill; `None`: it has had none, or the manifest is another one since.
fn drill(backup: &Path, manifest: &[u8]) -> Result<Option<(f64, bool)>> {
    let path = backup.join(DRILL);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("reading {}", path.display()))?,
    };
    let drill: Drill =
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    let mut hash = Sha256::new();
    hash.update(manifest);
    match hash.hex() == drill.manifest_sha256 {
        true => Ok(Some((seconds(&drill.ended)?, drill.green))),
        false => Ok(None),
    }
}

/// An instant of a file, in seconds since 1970.
pub fn seconds(instant: &str) -> Result<f64> {
    let instant: Timestamp = instant.parse().with_context(|| format!("{instant:?} is no instant"))?;
    Ok(instant.as_microsecond() as f64 / 1e6)
}
