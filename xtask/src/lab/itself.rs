//! The tool itself, started by the lab on servers of its own.

use crate::effects::process::Program;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// This program's file.
pub(super) fn own() -> Result<PathBuf> {
    std::env::current_exe().context("finding this program")
}

/// This program with these arguments, on the servers of a stack.
pub(super) fn tool(
    arguments: impl IntoIterator<Item = impl Into<OsString>>,
    stack: &Path,
    runs: &Path,
) -> Result<Program> {
    Ok(at(Program::new(&own()?, arguments), stack, runs))
}

/// A call of this program, on the servers of a stack.
pub(super) fn at(program: Program, stack: &Path, runs: &Path) -> Program {
    program.arg("--stack").arg(stack).arg("--backup-dir").arg(runs)
}

/// What a command has come to, of the document that it prints with `--json`.
pub(super) fn result<T: DeserializeOwned>(document: &str) -> Result<T> {
    #[derive(Deserialize)]
    struct Document<T> {
        result: T,
    }
    let document: Document<T> = serde_json::from_str(document)?;
    Ok(document.result)
}

/// What it said, for a message.
pub(super) fn in_one_line(said: &str) -> String {
    said.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>().join(" / ")
}
