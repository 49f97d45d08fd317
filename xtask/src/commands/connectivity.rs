//! Whether each server can be reached from here, and where it fails (`checks/doctor/connectivity`).

use crate::checks::doctor::connectivity::{self, OldSide};
use crate::model::Existing;
use crate::session::{Command, Servers, Session, SourceArgs};
use anyhow::Result;

/// Reach each server: name, TCP, TLS, login, pooler, read-write
#[derive(Debug, clap::Args)]
pub struct Args {}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        run(session).await
    }
}

/// Whether the old database is still to be reached.
pub fn old_side(session: &Session<'_>) -> Result<OldSide> {
    Ok(if session.gone()?.is_some_and(|gone| gone.is_dropped()) { OldSide::Gone } else { OldSide::Asked })
}

pub async fn run(session: &Session<'_>) -> Result<()> {
    let ctx = session.looking(&SourceArgs::default(), Existing::Refuse)?;
    let found = connectivity::look(&ctx, old_side(session)?).await;
    let next = if found.ready { "doctor" } else { "connectivity" };
    session.done(&found, found.text(session.terminal.columns()), session.then(next))?;
    found.judge()
}
