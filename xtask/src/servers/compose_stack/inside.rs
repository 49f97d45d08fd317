//! This tool inside the network of the hardened stack.

use crate::effects::process::Program;
use crate::model::Stop;
use crate::servers::docker::{Compose, Engine, Project};
use anyhow::{Context, Result, bail};
use std::path::Path;

/// The stack that publishes no port.
const HARDENED: &str = "docker-compose.hardened.yml";

/// What runs this tool inside the network of the hardened stack, in a container that goes with it.
pub async fn inside(workspace: &Path, arguments: &[String]) -> Result<Program> {
    let engine = Engine::connect().await?;
    let binary = std::env::current_exe().context("finding this program")?;
    let mut project = Project::of(workspace);
    project.files = vec![HARDENED];
    project.variables = vec![
        ("XTASK_BINARY".to_string(), binary.display().to_string()),
        ("XTASK_WORKSPACE".to_string(), workspace.display().to_string()),
    ];
    let compose = Compose::find().await?;
    Ok(compose.once(&engine, &project, "xtask", arguments))
}

/// Its exit code is this one's.
///
/// # Errors
/// As the tool inside ended.
pub fn ended_inside(code: i32) -> Result<()> {
    let inside = "the tool inside says so: see above".to_string();
    match code {
        0 => Ok(()),
        3 => Err(Stop::Differs(inside).into()),
        4 => Err(Stop::Refused(inside).into()),
        5 => Err(Stop::Quarantine(inside).into()),
        6 => Err(Stop::Interrupted.into()),
        code => bail!("the tool inside ended with exit code {code}: see above"),
    }
}
