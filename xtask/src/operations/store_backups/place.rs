//! Where a store's backups are kept: one command at a time is at work there, and what a killed one has left goes.

use super::target::Target;
use crate::effects::host;
use crate::journal::Process;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir::{MANIFEST, RunDir, time_of};
use anyhow::{Context, Result};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const LOCK: &str = "lock";

/// One store's directory, held until this is dropped, however the process ends.
pub struct Held {
    folder: PathBuf,
    target: Target,
    _lock: File,
}

impl Held {
    /// Makes the directory where it is missing.
    ///
    /// # Errors
    /// Refuses where another command is at work there, and says which process.
    pub fn take(stores: &Path, target: Target) -> Result<Held> {
        let folder = stores.join(target.name());
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        if let Err(error) = made {
            refuse!(
                "no backups can be kept in {}: {error}; name a directory with --store-backups DIR",
                folder.display()
            );
        }
        let path = folder.join(LOCK);
        let context = || format!("locking {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).with_context(context)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => refuse!(
                "another command is at work on the backups of {target} in {}: {}. Nothing has been changed; wait for \
                 its end; then rerun the command",
                folder.display(),
                holder(&mut file)
            ),
            Err(TryLockError::Error(error)) => return Err(error).with_context(context),
        }
        let holder = serde_json::to_string(&host::this_process())?;
        file.set_len(0).and_then(|()| file.write_all(holder.as_bytes())).with_context(context)?;
        Ok(Held { folder, target, _lock: file })
    }

    pub fn target(&self) -> Target {
        self.target
    }

    /// Removes what unfinished backups have left, which nobody is at any more. Returns their paths.
    pub fn remove_unfinished(&self) -> Result<Vec<PathBuf>> {
        let context = || format!("reading {}", self.folder.display());
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.folder).with_context(context)? {
            let path = entry.with_context(context)?.path();
            let named = path.file_name().and_then(|name| name.to_str()).and_then(time_of).is_some();
            if named && path.is_dir() && !path.join(MANIFEST).exists() {
                self.remove(&path)?;
                removed.push(path);
            }
        }
        removed.sort();
        Ok(removed)
    }

    /// Removes a backup, its manifest first: one that is half gone is no backup.
    pub fn remove(&self, backup: &Path) -> Result<()> {
        match fs::remove_file(backup.join(MANIFEST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_dir_all(backup),
        }
        .with_context(|| format!("removing {}", backup.display()))
    }

    /// A directory for a new backup.
    pub fn create(&self) -> Result<RunDir> {
        RunDir::create(&self.folder)
    }

    /// The directory of a finished one.
    pub fn open(&self, id: &str) -> Result<RunDir> {
        RunDir::open(&self.folder, id)
    }
}

fn holder(file: &mut File) -> String {
    let mut text = String::new();
    let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
    match read.ok().and_then(|_| serde_json::from_str::<Process>(&text).ok()) {
        Some(Process { pid, host, user, .. }) => format!("process {pid} of {user}@{host}"),
        None => "one that has begun just now".to_string(),
    }
}

/// The context in which a store is looked at like a source: its database in the source's place, the backup's
/// directory in that of the run.
pub fn context(ctx: &Ctx, target: Target, backup: RunDir) -> Arc<Ctx> {
    let mut of_store = ctx.of_run(backup, ctx.settings.policy.null_policy);
    if let Some(database) = target.database() {
        of_store.settings.source = ctx.settings.target(database).clone();
    }
    Arc::new(of_store)
}
