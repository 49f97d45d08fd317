//! One part of the migration alone, in a process of its own: see `lab/bench/part`.

use crate::lab::bench::part::{self, Part};
use crate::model::Existing;
use crate::run::command::visibly;
use crate::session::{Command, RunArgs, Servers, Session, SourceArgs};
use crate::steps::CommandName;
use anyhow::Result;

/// One part of the migration alone, for bench to measure
#[derive(Debug, clap::Args)]
pub struct Args {
    pub part: Part,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let ctx = match self.part.begins_a_run() {
            true => session.new_run(&SourceArgs::default(), Existing::Refuse)?,
            false => session.existing_run(&RunArgs { run: "latest".into() })?,
        };
        let done = visibly(&ctx, CommandName::BenchPart, part::run(&ctx, self.part)).await?;
        session.done(&done, format!("{}\n", serde_json::to_string(&done)?), None)
    }
}
