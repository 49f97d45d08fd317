//! How a command ends: its result for people and programs, and the command to type next.

use super::call::Session;
use super::output::{Ending, Said, Touches, print};
use crate::effects::terminal::Verbosity;
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

    /// The same with a verdict.
    pub fn done_with(&self, done: &impl serde::Serialize, ending: &Ending) -> Result<()> {
        match self.document.is_wanted() {
            true => self.document.hold(done, ending.next.clone()),
            false => self.ends(ending),
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

    /// Text alone; in a document that is its lines.
    pub fn say(&self, said: Said) -> Result<()> {
        if self.document.is_wanted() {
            let lines: Vec<&str> = said.text.lines().collect();
            return self.document.hold(&serde_json::json!({ "text": lines }), said.next);
        }
        self.terminal.end_phase();
        print(&self.whereabouts.complete(&said.text))?;
        if let Some(next) = said.next.filter(|_| self.terminal.verbosity() > Verbosity::Quiet) {
            self.terminal.next(&next);
        }
        Ok(())
    }

    /// The end of a command for a person: the verdict, what matters, and the command to type next.
    pub fn ends(&self, ending: &Ending) -> Result<()> {
        self.terminal.end_phase();
        print(&self.whereabouts.complete(&ending.text(self.terminal.verbosity(), self.terminal.columns())))?;
        ending.next.iter().for_each(|next| self.terminal.next(next));
        Ok(())
    }

    /// The command that shows all of what a run came to.
    pub fn details(&self, run: &str) -> String {
        self.then(&format!("report --run {run}"))
    }

    /// Where it stands what a command has told that is not in the run's other files.
    pub fn details_file(&self, ctx: &Ctx) -> String {
        ctx.run.file(report::TEXT).display().to_string()
    }

    pub fn report(&self, report: &Report, next: &str) -> Result<()> {
        let details = self.details(&report.run);
        self.report_with(report, details, next)
    }

    /// `details`: where all of it is to be read.
    pub fn report_with(&self, report: &Report, details: String, next: &str) -> Result<()> {
        if self.document.is_wanted() {
            return self.document.hold(report, Some(next.to_string()));
        }
        self.ends(&Ending {
            verdict: report.verdict(),
            brief: report.brief(self.terminal.columns()),
            full: format!("{}run {}: {}\n", report.text(), report.run, report.directory),
            details: Some(details),
            next: Some(next.to_string()),
        })
    }

    /// Writes the report into the run's directory as it is now. The command has come to its end without it.
    pub fn keep_report(&self, ctx: &Ctx) {
        self.keep_report_with(ctx, "");
    }

    /// `told`: what the command tells besides.
    pub fn keep_report_with(&self, ctx: &Ctx, told: &str) {
        let story = RunStory::of(&ctx.run, ctx.values).map(|story| story.with_next(|next| self.then(next)));
        let kept = story.and_then(|story| report::keep(&story, &ctx.run, told));
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
