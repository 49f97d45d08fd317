//! How far a run is or how it ended; `--follow` until it ends (`run/status.rs`).

use crate::effects::terminal::{EVERY, can_be_redrawn, redraw};
use crate::run::dir;
use crate::run::status::{Status, read};
use crate::session::{self, Session, print};
use crate::shown::wrapped;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// Show how far a run is, or how it ended
///
/// Read from the run's files: needs no server, and works while the run is under way.
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
        let next = status.next.as_ref().map(|next| session.then_in(&status.environment, next));
        match (session.document.is_wanted(), next) {
            (true, next) => session.document.hold(&status, next)?,
            (false, Some(next)) => session.terminal.line(format!("next: {next}")),
            (false, None) => {}
        }
        Ok(())
    }
}

/// All of it; as JSON a document each time, on a line where it is followed; the one of the end is the command's own.
fn show(session: &Session<'_>, status: &Status, follow: bool) -> Result<()> {
    let document = &session.document;
    match document.is_wanted() {
        true if !follow => Ok(()),
        true if status.is_running() => document.line(status),
        true => {
            document.one_line();
            Ok(())
        }
        false => {
            let there = session.whereabouts.clone().of_environment(&status.environment);
            let text = wrapped(&there.complete(&status.text()), session.terminal.columns());
            match follow && can_be_redrawn() {
                true => redraw(&text).context("writing to stdout"),
                false => print(&text),
            }
        }
    }
}

/// On a terminal all of it in its place; elsewhere what has begun and ended since, every ten seconds what is under
/// way, and all of it once more at the end.
fn follow(session: &Session<'_>, now: &Status, before: &Status, told: &mut Instant) -> Result<()> {
    let columns = session.terminal.columns();
    if session.document.is_wanted() || !now.is_running() || can_be_redrawn() {
        return show(session, now, true);
    }
    let mut text = now.since(before);
    if told.elapsed() >= EVERY {
        text += &now.now(columns);
        *told = Instant::now();
    }
    print(&wrapped(&text, columns))
}
