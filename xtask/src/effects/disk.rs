//! How much room there is where files are to go.

use anyhow::{Context, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The disk under a directory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    /// That we may still write.
    pub free: u64,
    pub size: u64,
}

/// The nearest directory that is there already, and the bytes that we may still write in it.
pub fn free(path: &Path) -> Result<(PathBuf, u64)> {
    let (there, room) = room_near(path)?;
    Ok((there, room.free))
}

/// The disk on which this path is, or would be.
pub fn room(path: &Path) -> Result<Room> {
    Ok(room_near(path)?.1)
}

fn room_near(path: &Path) -> Result<(PathBuf, Room)> {
    let absolute = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
    let there = absolute.ancestors().find(|p| p.is_dir());
    let there = there.with_context(|| format!("nothing above {} is there", path.display()))?;
    let stat =
        nix::sys::statvfs::statvfs(there).with_context(|| format!("looking at {}", there.display()))?;
    // Their widths differ by platform.
    #[allow(clippy::useless_conversion)]
    let (available, free, blocks, size) = (
        u64::from(stat.blocks_available()),
        u64::from(stat.blocks_free()),
        u64::from(stat.blocks()),
        u64::from(stat.fragment_size()),
    );
    // As `df` counts it: what is kept for root is nobody's.
    let whole = blocks.saturating_sub(free).saturating_add(available);
    let room = Room { free: available.saturating_mul(size), size: whole.saturating_mul(size) };
    Ok((there.to_path_buf(), room))
}

/// Whether a server's data directory is one of this machine: its file says when the server was started, in seconds
/// since 1970.
pub fn is_of_a_server_here(directory: &Path, started: i64) -> bool {
    let Ok(text) = std::fs::read_to_string(directory.join("postmaster.pid")) else { return false };
    let here = text.lines().nth(2).and_then(|line| line.trim().parse::<i64>().ok());
    here.is_some_and(|here| (here - started).abs() <= 2)
}

/// Whether we may make files there.
pub fn writable(directory: &Path) -> bool {
    nix::unistd::access(directory, nix::unistd::AccessFlags::W_OK | nix::unistd::AccessFlags::X_OK).is_ok()
}
