//! An emulator of its own for each run: clearing one frees none of its memory.

use crate::servers::native::{self, EmulatorChoice, Stack};
use anyhow::{Context, Result};
use std::path::Path;

/// An emulator that no run has written to.
pub async fn fresh_emulator(workspace: &Path) -> Result<Stack> {
    let options = native::Options { emulator: EmulatorChoice::Start, ..native::Options::default() };
    Stack::start(workspace, options).await
}

/// Where it answers: `host:port`.
pub fn host(emulator: &Stack) -> Result<String> {
    let server = emulator.connections().emulator.as_ref().context("the emulator has no address")?;
    Ok(server.host_port.clone())
}
