//! The local servers by themselves.

use super::local::{self, Wanted};
use crate::effects::native;
use crate::effects::terminal::Terminal;
use crate::refuse;
use crate::settings::Environment;
use anyhow::Result;
use std::path::Path;

/// Starts servers, fills the monolith, leaves both running, and says how to connect.
pub async fn up(wanted: Wanted<'_>, environment: &Environment, terminal: &Terminal) -> Result<String> {
    let (stack, settings) = local::start(wanted, environment, terminal).await?;
    let connections = stack.keep()?;
    Ok(local::how_to_connect(&settings, &connections))
}

/// The kept stacks of this workspace, or the one in that directory.
fn kept(workspace: &Path, only: Option<&Path>) -> Result<Vec<native::KeptStack>> {
    let kept = native::kept(workspace)?;
    let Some(dir) = only else { return Ok(kept) };
    let Some(one) = kept.into_iter().find(|k| dir.canonicalize().is_ok_and(|dir| dir == k.connections.dir))
    else {
        refuse!(
            "no servers of this checkout have been left running in {}: `cargo xtask stack status` lists them",
            dir.display()
        );
    };
    Ok(vec![one])
}

/// Stops every kept stack of this workspace, or only the one in that directory.
pub fn down(workspace: &Path, only: Option<&Path>) -> Result<String> {
    let kept = kept(workspace, only)?;
    let mut out = String::new();
    for stack in &kept {
        native::take_down(&stack.connections)?;
        out += &format!("stopped and removed {}\n", stack.connections.dir.display());
    }
    if kept.is_empty() {
        out += "no local servers of this checkout are running\n";
    }
    Ok(out)
}

/// What runs, and how to connect.
pub fn status(workspace: &Path, only: Option<&Path>, environment: &Environment) -> Result<String> {
    let kept = kept(workspace, only)?;
    let mut out = String::new();
    for stack in &kept {
        out += &format!("{} since {}\n", stack.connections.dir.display(), stack.connections.started);
        for server in &stack.servers {
            let state = if server.running { "running" } else { "stopped" };
            out += &format!("  {:<10} {state:<8} pid {}\n", server.name, server.pid);
        }
        if let Ok(settings) = local::settings(environment, &stack.connections) {
            out += &local::how_to_connect(&settings, &stack.connections);
        }
    }
    if kept.is_empty() {
        out += "no local servers of this checkout are running: `cargo xtask stack up` starts them\n";
    }
    Ok(out)
}
