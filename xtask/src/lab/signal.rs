//! A signal to a process that may have ended by itself.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// False where it had ended by itself a moment ago.
pub(super) fn signal(pid: u32, signal: Signal) -> Result<bool> {
    match kill(Pid::from_raw(pid.try_into()?), signal) {
        Ok(()) => Ok(true),
        Err(Errno::ESRCH) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("sending {signal} to {pid}")),
    }
}
