//! The tool itself, started by the lab on servers of its own.

use crate::effects::dump::Tools;
use crate::effects::process::Program;
use crate::effects::terminal::{Terminal, Verbosity};
use crate::findings::Values;
use crate::lab::live::SHOP;
use crate::run::ctx::{Ctx, Options};
use crate::run::dir::RunDir;
use crate::servers::native;
use crate::settings::{Environment, Settings};
use crate::tables::TABLES;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// The text of an environment whose old database has this role of a service, which a freeze keeps out.
pub(super) fn environment_with_role(local: &str, role: &str) -> Result<String> {
    const POLICY: &str = "\n[policy]\n";
    ensure!(local.contains(POLICY), "the environment has no [policy] to put freeze_roles under");
    Ok(local.replacen(POLICY, &format!("{POLICY}freeze_roles = [\"{role}\"]\n"), 1))
}

/// The environment of a shop whose clients write, and its text. `local`: the text that it is made of.
pub(super) fn environment_of_shop(local: &str) -> Result<(Environment, String)> {
    let text = environment_with_role(local, SHOP)?;
    Ok((Environment::read("shop", Path::new("shop.toml"), &text)?, text))
}

/// Keeps it in a private file, which `--env` can name.
pub(super) fn write_environment(path: &Path, text: &str) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

/// A run as a command of this program sees it.
pub(super) fn context(
    workspace: &Path,
    settings: &Settings,
    run: RunDir,
    max_diffs: usize,
) -> Result<Arc<Ctx>> {
    let options = Options {
        terminal: Terminal::new(Verbosity::Quiet, true),
        tools: Tools { bindir: native::postgres_bindir()? },
        workspace: workspace.to_path_buf(),
        jobs: std::thread::available_parallelism().map_or(2, usize::from),
        max_diffs,
        values: Values::Shown,
    };
    Ok(Arc::new(Ctx::new(settings.clone(), TABLES, run, options)))
}
