//! What a shell and `man` know of the tool.

use crate::session::{Command, Session};
use anyhow::{Context, Result};
use clap_complete::env::Shells;

/// The variable by which a shell asks this program for completions.
pub const COMPLETE: &str = "XTASK_COMPLETE";

/// Completions: source <(cargo xtask completions bash)
///
/// Completes the word `xtask`, with environments and runs: give it a meaning with `xtask() { cargo xtask "$@"; }`
#[derive(Debug, clap::Args)]
pub struct Completions {
    shell: clap_complete::Shell,
}

impl Command for Completions {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let name = self.shell.to_string();
        let shells = Shells::builtins();
        let shell = shells.completer(&name).with_context(|| format!("{name} cannot be completed"))?;
        let program = std::env::current_exe().context("finding this program")?;
        let mut out = Vec::new();
        // The word without `cargo`: no shell completes two words.
        shell.write_registration(COMPLETE, "xtask", "xtask", &program.display().to_string(), &mut out)?;
        let script = String::from_utf8(out).context("completions are text")?;
        session.done(&serde_json::json!({ "script": script }), script.clone(), None)
    }
}

/// The man pages of a command and of those below it, by the names of their files; its own is the first.
pub fn pages(command: clap::Command) -> Result<Vec<(String, String)>> {
    let mut command = command.disable_help_subcommand(true);
    // Now each knows its whole name.
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    Ok(pages)
}

fn add_pages(command: &clap::Command, pages: &mut Vec<(String, String)>) -> Result<()> {
    let page = clap_mangen::Man::new(command.clone());
    let mut out = Vec::new();
    page.render(&mut out)?;
    pages.push((page.get_filename(), String::from_utf8(out).context("a page is text")?));
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        add_pages(below, pages)?;
    }
    Ok(())
}
