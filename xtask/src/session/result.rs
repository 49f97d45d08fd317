//! How a command ends: its result for people and programs, and the command to type next.

use super::call::Session;
use super::output::{Said, print};
use crate::hazards::Blocked;
use crate::operations::report::{self, RunStory};
use crate::run::ctx::Ctx;
use crate::run::report::Report;
use crate::servers::compose_stack;
use anyhow::Result;
use clap::ValueEnum;

impl Session<'_> {
    /// Does the work; whatever cuts it off, `again` is said after it.
    pub async fn or_say<T>(
        &self,
        ctx: &Ctx,
        again: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.last_words.set(Some((ctx.run.path().to_path_buf(), again)));
        let result = work.await;
        if result.is_err() {
            let news = compose_stack::post_mortem(&self.containers, &ctx.settings).await;
            news.iter().for_each(|line| self.terminal.always(line));
        }
        let result = result?;
        self.last_words.set(None);
        Ok(result)
    }

    /// What blocks a run is data, too.
    pub fn unblocked<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && let Some(Blocked(hazards)) = error.downcast_ref::<Blocked>()
        {
            self.document.hold(&serde_json::json!({ "hazards": hazards }), None)?;
        }
        result
    }

    /// What a command has done: `done` for programs, `text` for people, and for both what to type next.
    pub fn done(
        &self,
        done: &impl serde::Serialize,
        text: String,
        next: impl Into<Option<String>>,
    ) -> Result<()> {
        match self.document.is_wanted() {
            true => self.document.hold(done, next.into()),
            false => self.say(Said { text, next: next.into() }),
        }
    }

    /// After a green proof.
    pub fn after(&self, report: &Report) -> String {
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
    pub fn then(&self, command: &str) -> String {
        self.then_in(&self.common.env, command)
    }

    pub fn then_in(&self, environment: &str, command: &str) -> String {
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

    /// Text alone; in a document that is its lines.
    pub fn say(&self, said: Said) -> Result<()> {
        if self.document.is_wanted() {
            let lines: Vec<&str> = said.text.lines().collect();
            return self.document.hold(&serde_json::json!({ "text": lines }), said.next);
        }
        print(&said.text)?;
        if let Some(next) = said.next {
            self.terminal.line(format!("next: {next}"));
        }
        Ok(())
    }

    pub fn report(&self, report: &Report, next: &str) -> Result<()> {
        let text = format!("{}run {}: {}\n", report.text(), report.run, report.directory);
        self.done(report, text, next.to_string())
    }

    /// Writes the report into the run's directory as it is now. The command has come to its end without it.
    pub fn keep_report(&self, ctx: &Ctx) {
        let kept = RunStory::of(&ctx.run, ctx.values).and_then(|story| report::keep(&story, &ctx.run));
        if let Err(error) = kept {
            self.terminal.warn(format!("the report of run {} is not written: {error:#}", ctx.run.id()));
        }
    }

    /// The report, and exit code 3 where it is red.
    pub fn judged(&self, report: &Report, next: &str) -> Result<()> {
        let red = report.proven == Some(false);
        let next = if red { "find out why; then repair, or start over with empty targets" } else { next };
        self.report(report, next)?;
        report.judge()
    }
}
