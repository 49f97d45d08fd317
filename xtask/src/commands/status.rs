//! How far a run is or how it ended; `--follow` until it ends (`run/status.rs`).

use crate::run::dir;
use crate::run::status::{Status, read};
use crate::session::{self, Session, print};
use anyhow::Result;
use std::time::Duration;

/// Show how far a run is, or how it ended
///
/// Read from the run's files: needs no server, and works while the run is under way.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name, or `latest`: the newest
    #[arg(long, default_value = "latest", value_name = "RUN")]
    pub run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
}

impl session::Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (path, id) = dir::find(&session.runs(), &self.run, None)?;
        let mut status = read(&path, &id)?;
        show(session, &status, None, self.follow)?;
        while self.follow && status.is_running() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = read(&path, &id)?;
            if now != status {
                show(session, &now, Some(&status), true)?;
                status = now;
            }
        }
        let next = status.next.as_ref().map(|next| session.then_in(&status.environment, next));
        match (session.document.is_wanted(), next) {
            (true, next) => session.document.hold(&status, next)?,
            (false, Some(next)) => session.terminal.line(format!("next: {next}")),
            (false, None) => {}
        }
        Ok(())
    }
}

/// All of it, or what is new since `before`; once more all of it at the end. As JSON a document each time, on
/// a line where it is followed; the one of the end is the command's own.
fn show(session: &Session<'_>, status: &Status, before: Option<&Status>, follow: bool) -> Result<()> {
    let document = &session.document;
    match (document.is_wanted(), before) {
        (true, _) if !follow => Ok(()),
        (true, _) if status.is_running() => document.line(status),
        (true, _) => {
            document.one_line();
            Ok(())
        }
        (false, Some(before)) if status.is_running() => {
            print(&format!("{}{}", status.since(before), status.under_way()))
        }
        (false, _) => print(&status.text()),
    }
}
