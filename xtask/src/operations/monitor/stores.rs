//! The backups of the new stores and their drills, in seconds since 1970.

use super::told;
use crate::operations::store_backups::{self, TargetBackups};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use std::path::Path;

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
    #[serde(serialize_with = "told::instant")]
    pub taken: f64,
    pub bytes: u64,
    /// When its last drill ended, and whether it was green.
    #[serde(serialize_with = "told::ended")]
    pub drill: Option<(f64, bool)>,
}

/// Of each store what there is of this environment. Reads manifests and evidence alone.
///
/// # Errors
/// Where a directory cannot be listed.
pub fn read(runs: &Path, environment: &str) -> Result<Vec<StoreBackup>> {
    let all = store_backups::of_environment(&store_backups::directory(runs), environment)?;
    all.into_iter().map(of_target).collect()
}

fn of_target(backups: TargetBackups) -> Result<StoreBackup> {
    let kept = |kept: Option<store_backups::Kept>| kept.map(Kept::of).transpose();
    Ok(StoreBackup {
        target: backups.target.name(),
        newest: kept(backups.newest)?,
        drilled: kept(backups.newest_drilled)?,
        unreadable: backups.unreadable,
    })
}

impl Kept {
    fn of(kept: store_backups::Kept) -> Result<Kept> {
        let drill = kept.drill.map(|drill| Ok::<_, anyhow::Error>((seconds(&drill.at)?, drill.green)));
        Ok(Kept { id: kept.id, taken: seconds(&kept.taken)?, bytes: kept.bytes, drill: drill.transpose()? })
    }
}

/// An instant of a file, in seconds since 1970.
pub fn seconds(instant: &str) -> Result<f64> {
    let instant: Timestamp = instant.parse().with_context(|| format!("{instant:?} is no instant"))?;
    Ok(instant.as_microsecond() as f64 / 1e6)
}
