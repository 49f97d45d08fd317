//! The backups that are there: for who asks how old they are, and which of them count. A backup counts once a
//! drill has restored it.

use super::drill::Drill;
use super::manifest::{StoreManifest, load};
use super::target::Target;
use crate::run::dir;
use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Where the backups of the stores are, below the directory of the runs.
pub fn directory(runs: &Path) -> PathBuf {
    runs.join("stores")
}

/// What there is of one store.
#[derive(Clone, Debug, Serialize)]
pub struct TargetBackups {
    pub target: Target,
    pub directory: PathBuf,
    /// The newest that is finished: dumped, read back whole, and compared with the store's counts.
    pub newest: Option<Kept>,
    /// The newest that a drill has restored and found equal. Only this one counts.
    pub newest_drilled: Option<Kept>,
    /// How many are finished, and their bytes.
    pub backups: usize,
    pub bytes: u64,
    /// Directories whose manifest or evidence cannot be read, each with why.
    pub unreadable: Vec<String>,
}

/// A finished backup.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// The name of its directory: when it was begun, in UTC.
    pub id: String,
    pub path: PathBuf,
    /// The instant that it holds, ISO 8601 in UTC.
    pub taken: String,
    pub ended: String,
    pub seconds: f64,
    pub bytes: u64,
    /// Rows or documents.
    pub rows: u64,
    /// Its last drill.
    pub drill: Option<Drilled>,
}

/// What the last drill of a backup came to.
#[derive(Clone, Debug, Serialize)]
pub struct Drilled {
    /// When it ended, UTC.
    pub at: String,
    pub who: String,
    pub green: bool,
    pub findings: usize,
    pub seconds: f64,
}

/// Of each store, in the order of [`Target::ALL`]: what there is of this environment. Reads manifests and
/// evidence alone, no store and no dump.
///
/// # Errors
/// Where a directory cannot be listed; what is damaged in it is in `unreadable`.
pub fn of_environment(stores: &Path, environment: &str) -> Result<Vec<TargetBackups>> {
    Target::ALL.into_iter().map(|target| of_target(stores, target, environment)).collect()
}

fn of_target(stores: &Path, target: Target, environment: &str) -> Result<TargetBackups> {
    let (kept, unreadable) = finished(stores, target, environment)?;
    let green = |kept: &&Kept| kept.drill.as_ref().is_some_and(|drill| drill.green);
    Ok(TargetBackups {
        target,
        directory: stores.join(target.name()),
        newest: kept.first().cloned(),
        newest_drilled: kept.iter().find(green).cloned(),
        backups: kept.len(),
        bytes: kept.iter().map(|kept| kept.bytes).sum(),
        unreadable,
    })
}

/// The finished backups of a store in this environment, the newest first; and those that cannot be read.
///
/// # Errors
/// Where the directory cannot be listed.
pub fn finished(stores: &Path, target: Target, environment: &str) -> Result<(Vec<Kept>, Vec<String>)> {
    let folder = stores.join(target.name());
    let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
    for id in dir::ids(&folder)?.into_iter().rev() {
        let path = folder.join(&id);
        let read = load(&path).and_then(|manifest| Ok((manifest, Drill::of(&path)?)));
        match read {
            Ok((manifest, _)) if manifest.environment != environment || manifest.target != target => {}
            Ok((manifest, drill)) => kept.push(Kept::new(id, path, &manifest, drill)),
            Err(error) => unreadable.push(format!("{}: {error:#}", path.display())),
        }
    }
    Ok((kept, unreadable))
}

impl Kept {
    fn new(id: String, path: PathBuf, manifest: &StoreManifest, drill: Option<Drill>) -> Kept {
        Kept {
            id,
            path,
            taken: manifest.taken().to_string(),
            ended: manifest.ended.clone(),
            seconds: manifest.seconds,
            bytes: manifest.bytes(),
            rows: manifest.rows(),
            drill: drill.map(|drill| Drilled {
                at: drill.ended,
                who: drill.who,
                green: drill.green,
                findings: drill.findings.len(),
                seconds: drill.seconds,
            }),
        }
    }
}
