//! How much room there is where files are to go.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The nearest directory that is there already, and the bytes that we may still write in it.
pub fn free(path: &Path) -> Result<(PathBuf, u64)> {
    let absolute = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
    let there = absolute.ancestors().find(|p| p.is_dir());
    let there = there.with_context(|| format!("nothing above {} is there", path.display()))?;
    let stat =
        nix::sys::statvfs::statvfs(there).with_context(|| format!("looking at {}", there.display()))?;
    // Their widths differ by platform.
    #[allow(clippy::useless_conversion)]
    let bytes = u64::from(stat.blocks_available()).saturating_mul(u64::from(stat.fragment_size()));
    Ok((there.to_path_buf(), bytes))
}

/// Whether we may make files there.
pub fn writable(directory: &Path) -> bool {
    nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}
