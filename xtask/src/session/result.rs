//! How a command ends: its result for people and programs, and the command to type next.

use super::call::Session;
use super::output::{Said, Touches, print};
use crate::hazards::Blocked;
use crate::model::{Existing, Stop};
use crate::operations::report::{self, RunStory};
use crate::run::ctx::Ctx;
use crate::run::report::Report;
use crate::servers::compose_stack;
use anyhow::Result;

impl Session<'_> {
    /// Does the work; whatever cuts it off, `again` is said after it.
    pub async fn or_say<T>(
        &self,
        ctx: &Ctx,
        again: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.last_words.set(ctx.run.path(), again, Touches::TargetsOnceExported);
        let result = work.await;
        if result.is_err() {
            let news = compose_stack::post_mortem(&self.containers, &ctx.settings).await;
            news.iter().for_each(|line| self.terminal.always(line));
        }
        if let (Err(error), Some(limit)) = (&result, ctx.settings.policy.max_quarantine)
            && matches!(error.downcast_ref(), Some(Stop::Quarantine(_)))
        {
            // It names the rows; the two ways out are in the error.
            let plan = match ctx.existing {
                Existing::Refuse => "plan",
                Existing::Replace => "migrate --replace --dry-run",
            };
            self.last_words.set_anyway(self.then(&format!("{plan} --max-quarantine {limit}")));
        }
        let result = result?;
        self.last_words.clear();
        Ok(result)
    }

    /// What blocks a run is data, too.
    pub fn unblocked<T>(&self, result: Result<T>) -> Result<T> {
        if let (true, Err(error)) = (self.common.json, &result)
            && let Some(Blocked(hazards)) = error.downcast_ref::<Blocked>()
        {
            let json = serde_json::json!({ "refused": true, "hazards": hazards });
            print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
        }
        result
    }

    pub fn done(&self, done: &impl serde::Serialize, text: String, next: String) -> Result<()> {
        match self.common.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(done)?)),
            false => self.say(Said { text, next: Some(next) }),
        }
    }

    /// After a green proof.
    pub fn after(&self, report: &Report) -> String {
        match &report.source {
            _ if report.cutover.is_some() => self.then(&format!("monitor --once --run {}", report.run)),
            Some(source) if !source.changed.is_empty() => format!(
                "{}, then empty the targets and migrate again: this run does not have what changed",
                self.then("freeze")
            ),
            _ => self.then(&format!("cutover --run {}", report.run)),
        }
    }

    /// A command to type next, with what this one was told about where things are.
    pub fn then(&self, command: &str) -> String {
        self.whereabouts.command(command)
    }

    pub fn then_in(&self, environment: &str, command: &str) -> String {
        self.whereabouts.command_in(environment, command)
    }

    pub fn say(&self, said: Said) -> Result<()> {
        print(&self.whereabouts.complete(&said.text))?;
        if let Some(next) = said.next {
            self.terminal.line(format!("next: {next}"));
        }
        Ok(())
    }

    pub fn report(&self, report: &Report, next: &str) -> Result<()> {
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(report)?));
        }
        let text = format!("{}run {}: {}\n", report.text(), report.run, report.directory);
        self.say(Said { text, next: Some(next.to_string()) })
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
        let repair = self.then(&format!("repair --run {}", report.run));
        self.report(report, if red { &repair } else { next })?;
        report.judge()
    }
}
