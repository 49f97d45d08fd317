//! Files of lines beside the run directories: private, and on disk before the caller goes on.

use anyhow::{Context, Result};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Adds a line, in one write: on disk when it returns. Behind one that was cut off it begins a line of its own.
pub fn append(path: &Path, line: &str) -> Result<()> {
    let context = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(context)?;
    }
    let whole = fs::read(path).map_or(true, |bytes| bytes.last().is_none_or(|b| *b == b'\n'));
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    let mut file = file.with_context(context)?;
    let line = if whole { format!("{line}\n") } else { format!("\n{line}\n") };
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).with_context(context)
}
