//! The guide's troubleshooting on the environment at hand (`guide/troubleshoot`).

use crate::commands::{connectivity, verify};
use crate::guide::checklist;
use crate::guide::troubleshoot::{Patient, Topic};
use crate::model::Existing;
use crate::phases::p5_verify::Depth;
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::session::{Command, RunArgs, Servers, Session, SourceArgs};
use anyhow::Result;
use std::sync::Arc;

/// Diagnose the guide's problems here, with the command for each
///
/// Without a topic everything that takes a few seconds; of rows then what the newest proof says. Exit code 3 where
/// something was found.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these; `mismatch` reads the stores again, as `verify` does
    #[arg(value_name = "TOPIC")]
    topics: Vec<Topic>,
    /// The run that it is about [default: the newest that is cut over, else the newest with an export]
    #[arg(long, default_value = "latest", hide_default_value = true, value_name = "RUN")]
    run: String,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let run = match self.run.as_str() {
            "latest" => checklist::newest(&session.runs(), &session.environment_file()?.0)?,
            run => Some(dir::find(&session.runs(), run, Some(&session.environment_file()?.0))?.1),
        };
        if let (Some(run), true) = (&run, self.topics.contains(&Topic::Mismatch)) {
            let ctx = session.existing_run(&RunArgs { run: run.clone() })?;
            verify::run(&ctx, &[], Depth::Changes).await?;
        }
        let ctx: Arc<Ctx> = match &run {
            Some(run) => session.read_run(run)?,
            None => session.looking(&SourceArgs::default(), Existing::Refuse)?,
        };
        let manifest = run.is_some().then(|| ctx.run.load_manifest()).transpose()?;
        let mut topics = if self.topics.is_empty() { Topic::ALL.to_vec() } else { self.topics.clone() };
        topics.dedup();
        let complete = |command: &str| session.then(command);
        let old = connectivity::old_side(session)?;
        let patient = Patient { ctx: &ctx, manifest: manifest.as_ref(), old, complete: &complete };
        let found = Box::pin(patient.diagnose(&topics)).await?;
        if let ([only], false) = (&found.topics[..], self.topics.is_empty())
            && let Some(why) = &only.not_looked_at
        {
            refuse!("{why}: `{}` makes one", session.then("migrate"));
        }
        session.done(&found, found.text(), found.next().map(str::to_string))?;
        found.judge()
    }
}
