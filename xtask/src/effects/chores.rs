//! Short programs that are waited for: what version is there, what a machine has, an installation. What
//! runs long, is piped or needs a secret: `process`.

use anyhow::Result;
use std::path::Path;
use xshell::{Shell, cmd};

/// What a program prints on stdout, lossily as text; `None` where it is not there or fails.
pub fn output(program: impl AsRef<Path>, arguments: &[&str]) -> Option<String> {
    let shell = Shell::new().ok()?;
    let program = program.as_ref();
    let output = cmd!(shell, "{program} {arguments...}").quiet().ignore_stderr().output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a line of shell with our own input and output.
///
/// # Errors
/// Where it cannot be started or ends with another status than 0.
pub fn shell_line(line: &str) -> Result<()> {
    let shell = Shell::new()?;
    Ok(cmd!(shell, "sh -c {line}").quiet().run()?)
}
