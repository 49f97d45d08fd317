//! What the migration costs: see `lab/bench`.

use crate::lab::bench::{self, Reference, back, live};
use crate::refuse;
use crate::servers::local::{self, Wanted};
use crate::servers::native::EmulatorChoice;
use crate::session::{Command, Session};
use anyhow::Result;
use std::path::PathBuf;

/// For developers: measure the migration against references
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of the monolith: the floors are for 25 and more; that is about 1.2 million rows
    #[arg(long, default_value_t = 25, value_name = "N")]
    pub scale: u32,
    /// Measure against this one only; can be repeated [default: all]
    #[arg(long = "reference", value_name = "R")]
    pub references: Vec<Reference>,
    /// How often everything is measured, in turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub repeat: usize,
    /// Where bench.json and bench.html go [default: target/bench]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Only the way back: against restoring the dump, and against a bare listing of the documents' names
    #[arg(long, conflicts_with_all = ["references", "repeat", "out"])]
    pub back: bool,
    /// Only the window: passes, the freeze, and what a client sees of both, at a twenty-fifth, a fifth and the whole of
    /// the scale
    #[arg(long, conflicts_with_all = ["references", "repeat", "out", "back", "check"])]
    pub live: bool,
    /// Exit code 3 where a floor is missed, or was not measured
    #[arg(long, conflicts_with = "references")]
    pub check: bool,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        if self.back {
            let environment = session.environment()?;
            let results = back::run(self.scale, &session.workspace, &environment, &session.terminal).await?;
            session.done(&results, results.text(), None)?;
            return if self.check { results.check() } else { Ok(()) };
        }
        if self.live {
            let local = session.environment_text()?;
            let results = live::run(self.scale, &session.workspace, &local, &session.terminal).await?;
            return session.done(&results, results.text(), None);
        }
        let all = [Reference::Guide, Reference::Pipes, Reference::Count];
        let plan = bench::Plan {
            scale: self.scale,
            references: if self.references.is_empty() { all.to_vec() } else { self.references },
            repeat: self.repeat,
            out: self.out.unwrap_or_else(|| session.workspace.join("target/bench")),
        };
        if let (true, Some(why)) = (self.check, plan.not_judged()) {
            refuse!("--check would judge nothing: {why}");
        }
        let emulator = EmulatorChoice::Start;
        let wanted = Wanted { workspace: &session.workspace, scale: self.scale, emulator, install: false };
        local::require(&wanted, &session.terminal)?;
        let results =
            bench::run(&plan, &session.workspace, &|| session.environment(), &session.terminal).await?;
        let page = plan.out.join("bench.html").display().to_string();
        session.done(&results, results.text(), format!("open {page}"))?;
        if self.check { results.check() } else { Ok(()) }
    }
}
