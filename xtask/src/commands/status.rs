//! How far a run is or how it ended; `--follow` until it ends (`run/status.rs`).

use crate::effects::terminal::{EVERY, can_be_redrawn, redraw};
use crate::run::dir;
use crate::run::status::{Status, read};
use crate::session::{self, Session, print};
use crate::shown::wrapped;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// How far a run is or how it ended, from its files: needs no database, works while it is under way
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
        show(session, &status, self.follow)?;
        let mut told = Instant::now();
        while self.follow && status.is_running() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = read(&path, &id)?;
            if now != status {
                follow(session, &now, &status, &mut told)?;
                status = now;
            }
        }
        if let (false, Some(next)) = (session.common.json, &status.next) {
            session.terminal.line(format!("next: {}", session.then_in(&status.environment, next)));
        }
        Ok(())
    }
}

/// All of it; as JSON in one line where it is followed.
fn show(session: &Session<'_>, status: &Status, follow: bool) -> Result<()> {
    match session.common.json {
        true if follow => print(&format!("{}\n", serde_json::to_string(status)?)),
        true => print(&format!("{}\n", serde_json::to_string_pretty(status)?)),
        false if follow && can_be_redrawn() => redrawn(session, status),
        false => print(&wrapped(&status.text(), session.terminal.columns())),
    }
}

/// On a terminal all of it in its place; elsewhere what has begun and ended since, every ten seconds what is under
/// way, and all of it once more at the end.
fn follow(session: &Session<'_>, now: &Status, before: &Status, told: &mut Instant) -> Result<()> {
    let columns = session.terminal.columns();
    if session.common.json || !now.is_running() || can_be_redrawn() {
        return show(session, now, true);
    }
    let mut text = now.since(before);
    if told.elapsed() >= EVERY {
        text += &now.now(columns);
        *told = Instant::now();
    }
    print(&wrapped(&text, columns))
}

fn redrawn(session: &Session<'_>, status: &Status) -> Result<()> {
    redraw(&wrapped(&status.text(), session.terminal.columns())).context("writing to stdout")
}
