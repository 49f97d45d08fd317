//! The services' queries on both sides, and what the new databases say of their indexes.

use crate::checks::perf::{self, Compared, Performance, Wanted};
use crate::identity::ServerName;
use crate::model::{Existing, refused};
use crate::run::command::visibly;
use crate::run::ctx::Ctx;
use crate::run::servers;
use crate::run::statements;
use crate::session::{Command, OldDatabase, Servers, Session, SourceArgs};
use crate::steps::{CommandName, StepName};
use anyhow::Result;
use std::sync::Arc;

/// Compare the services' queries on old and new databases
///
/// Plans, buffers, indexes; nothing is written.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also what was slow in the old database, as this run's backup saved it: its name, or `latest`
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// How often each query is measured: the median counts, and one more beforehand does not
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// More than so many times the buffers of the old side are a finding
    #[arg(long, default_value_t = 3.0, value_name = "F", value_parser = factor)]
    factor: f64,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (ctx, statements) = match &self.run {
            None => (session.looking(&SourceArgs::default(), Existing::Refuse)?, Compared::No),
            Some(run) => {
                let ctx = session.read_run(run)?;
                let manifest = ctx.run.load_manifest()?;
                servers::belongs(&ctx, &manifest, &[ServerName::Source], &[]).await.map_err(refused)?;
                let saved = statements::of_run(&ctx.run, &manifest)?;
                (ctx, Compared::WithSource(saved))
            }
        };
        let wanted = Wanted { repeat: self.repeat, factor: self.factor, statements };
        ctx.terminal.phase("Perf: the services' queries, old and new; nothing is written");
        let performance = match self.run {
            Some(_) => noted(&ctx, &wanted).await?,
            None => Box::pin(perf::run(&ctx, &wanted)).await?,
        };
        session.done(&performance, performance.text(), next(session, &performance))?;
        performance.judge()
    }
}

/// In the journal of the run, which `checklist` reads.
async fn noted(ctx: &Arc<Ctx>, wanted: &Wanted) -> Result<Performance> {
    let work = async {
        let step = ctx.run.step(StepName::Perf)?;
        let performance = perf::run(ctx, wanted).await?;
        match performance.regressed {
            true => step.failed(&performance.summary())?,
            false => step.done(&performance.summary())?,
        }
        Ok(performance)
    };
    visibly(ctx, CommandName::Perf, Box::pin(work)).await
}

/// Whether an index of `sql/schema` is missing says `verify`; `repair` makes it.
fn next(session: &Session<'_>, performance: &Performance) -> String {
    match (performance.regressed, performance.cut_over) {
        (true, _) => session.then("verify"),
        (false, false) => session.then("cutover"),
        (false, true) => "look after the services".to_string(),
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if factor >= 1.0 && f64::is_finite(factor) => Ok(factor),
        _ => Err(format!("expected a number, 1 or more, found {text:?}")),
    }
}
