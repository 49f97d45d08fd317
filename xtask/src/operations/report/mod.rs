//! The report of a run: its verdict, its course, the way of every table's rows, what was proven and how, what was
//! found and accepted. Made of the run's files alone: no server is asked.

mod compare;
mod page;
pub mod parts;
mod sound;
mod story;

pub use compare::compare;
pub use page::page;
pub use sound::{Sound, sound};
pub use story::{JSON, RunState, RunStory};

use crate::run::dir::{self, RunDir};
use anyhow::Result;
use std::path::Path;

pub const HTML: &str = "report.html";
const TEXT: &str = "report.txt";
/// What the reports of a run are called in its directory.
pub const FILES: [&str; 3] = [TEXT, JSON, HTML];

/// Writes all three into the run's directory.
pub fn keep(story: &RunStory, run: &RunDir) -> Result<()> {
    for (name, text) in [(TEXT, story.text()), (JSON, story.json()?), (HTML, page(story))] {
        run.write(name, text)?;
    }
    Ok(())
}

/// The run of that name.
pub fn open(parent: &Path, run: &str, environment: Option<&str>) -> Result<RunDir> {
    let (_, id) = dir::find(parent, run, environment)?;
    RunDir::open(parent, &id)
}
