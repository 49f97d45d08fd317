//! What a command leaves for the person: results on stdout, the next command on stderr.

use super::session::Session;
use crate::commands::{migrate, repair};
use crate::effects::terminal::say;
use crate::hazards::Blocked;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::report::Report;
use crate::servers::compose_stack;
use crate::stores::reconcile::Change;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What a command leaves for the person: text and the command to type next.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) next: Option<String>,
}

/// Data for stdout. That nobody wants to read it (any more) is no failure of the command.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// Changes on stdout as they come: there may be more than memory holds.
pub(super) struct Listing {
    pub(super) json: bool,
    pub(super) told: u64,
}

impl Listing {
    pub(super) fn tell(&mut self, change: &Change) -> Result<()> {
        self.told += 1;
        if !self.json {
            return print(&repair::shown(change));
        }
        let before = if self.told == 1 { "{\"changes\": [\n" } else { ",\n" };
        print(&format!("{before}{}", serde_json::to_string(change)?))
    }

    /// The rest of the object: the members of this one.
    pub(super) fn end(&self, rest: serde_json::Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let before = if self.told == 0 { "{\"changes\": [" } else { "" };
        let rest = serde_json::to_string(&rest)?;
        print(&format!("{before}],\n{}\n", rest.strip_prefix('{').unwrap_or(&rest)))
    }
}

/// The command to type next where this one does not come to its end: said last, by whoever learns of it.
#[derive(Default)]
pub struct LastWords(Mutex<Option<(PathBuf, String)>>);

impl LastWords {
    /// `run`: the words hold once it has begun.
    pub(super) fn set(&self, words: Option<(PathBuf, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    pub fn say(&self) {
        if let Some((run, words)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && dir::has_begun(run)
        {
            say(&format!("next: {words}"));
        }
    }
}

impl Session<'_> {
    /// Does the work; whatever cuts it off, `again` is said after it.
    pub(super) async fn or_say<T>(
        &self,
        ctx: &Ctx,
        again: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.last_words.set(Some((ctx.run.path().to_path_buf(), again)));
        let result = work.await;
        if result.is_err() {
            let news = compose_stack::news(&self.containers, &ctx.settings).await;
            news.iter().for_each(|line| self.terminal.always(line));
        }
        let result = result?;
        self.last_words.set(None);
        Ok(result)
    }

    /// What blocks a run is data, too.
    pub(super) fn unblocked<T>(&self, result: Result<T>) -> Result<T> {
        if let (true, Err(error)) = (self.common.json, &result)
            && let Some(Blocked(hazards)) = error.downcast_ref::<Blocked>()
        {
            let json = serde_json::json!({ "refused": true, "hazards": hazards });
            print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
        }
        result
    }

    pub(super) fn done(&self, done: &impl serde::Serialize, text: String, next: String) -> Result<()> {
        match self.common.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(done)?)),
            false => self.say(Said { text, next: Some(next) }),
        }
    }

    /// After a green proof.
    pub(super) fn after(&self, report: &Report) -> String {
        match &report.source {
            _ if report.cutover.is_some() => "look after the services".to_string(),
            Some(source) if !source.changed.is_empty() => format!(
                "{}, then empty the targets and migrate again: this run does not have what changed",
                self.then("freeze")
            ),
            _ => self.then(&format!("cutover --run {}", report.run)),
        }
    }

    /// A command to type next, with what this one was told about where things are.
    pub(super) fn then(&self, command: &str) -> String {
        self.then_in(&self.common.env, command)
    }

    pub(super) fn then_in(&self, environment: &str, command: &str) -> String {
        let mut line = format!("cargo xtask {command}");
        if environment != "local" {
            line += &format!(" --env {environment}");
        }
        if let Some(runtime) = self.common.runtime.and_then(|r| r.to_possible_value()) {
            line += &format!(" --runtime {}", runtime.get_name());
        }
        for (flag, dir) in [("--stack", &self.common.stack), ("--backup-dir", &self.common.backup_dir)] {
            line += &dir.as_ref().map(|dir| format!(" {flag} {}", dir.display())).unwrap_or_default();
        }
        line
    }

    pub(super) fn say(&self, said: Said) -> Result<()> {
        print(&said.text)?;
        if let Some(next) = said.next {
            self.terminal.line(format!("next: {next}"));
        }
        Ok(())
    }

    pub(super) fn report(&self, report: &Report, next: &str) -> Result<()> {
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(report)?));
        }
        let text = format!("{}run {}: {}\n", report.text(), report.run, report.directory);
        self.say(Said { text, next: Some(next.to_string()) })
    }

    /// The report, and exit code 3 where it is red.
    pub(super) fn judged(&self, report: &Report, next: &str) -> Result<()> {
        let red = report.proven == Some(false);
        let next = if red { "find out why; then repair, or start over with empty targets" } else { next };
        self.report(report, next)?;
        migrate::judge(report)
    }
}
