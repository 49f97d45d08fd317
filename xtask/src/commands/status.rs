//! How far a run is or how it ended; `--follow` until it ends (`run/status.rs`).

use crate::run::dir;
use crate::run::status::{Status, read};
use crate::session::{self, Session, print};
use anyhow::Result;
use std::time::Duration;

/// How far a run is or how it ended, from its files: needs no database, works while it is under way
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name, or `latest`: the newest of this environment
    #[arg(long, default_value = "latest", value_name = "RUN")]
    pub run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    pub follow: bool,
}

impl session::Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let environment = session.environment_name()?;
        let (path, id) = dir::find(&session.runs(), &self.run, Some(&environment))?;
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
        if let (false, Some(next)) = (session.common.json, &status.next) {
            session.terminal.line(format!("next: {}", session.then_in(&status.environment, next)));
        }
        Ok(())
    }
}

/// All of it, or what is new since `before`; once more all of it at the end. As JSON a line each time
/// where it is followed.
fn show(session: &Session<'_>, status: &Status, before: Option<&Status>, follow: bool) -> Result<()> {
    match (session.common.json, before) {
        (true, None) if !follow => print(&format!("{}\n", serde_json::to_string_pretty(status)?)),
        (true, _) => print(&format!("{}\n", serde_json::to_string(status)?)),
        (false, Some(before)) if status.is_running() => {
            print(&format!("{}{}", status.since(before), status.under_way()))
        }
        (false, _) => {
            print(&session.whereabouts.clone().of_environment(&status.environment).complete(&status.text()))
        }
    }
}
