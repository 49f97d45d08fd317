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
use crate::shown::wrapped;
use anyhow::Result;
use std::path::Path;

pub const HTML: &str = "report.html";
pub const TEXT: &str = "report.txt";
/// What the reports of a run are called in its directory.
pub const FILES: [&str; 3] = [TEXT, JSON, HTML];

/// How wide a file of text may be that is read everywhere.
const COLUMNS: usize = 80;

/// Writes all three into the run's directory. `told`: what the command that ends tells besides.
pub fn keep(story: &RunStory, run: &RunDir, told: &str) -> Result<()> {
    let between = if told.is_empty() { "" } else { "\n" };
    let text = wrapped(&format!("{}{between}{told}", story.text()), COLUMNS);
    for (name, text) in [(TEXT, text), (JSON, story.json()?), (HTML, page(story))] {
        run.write(name, text)?;
    }
    Ok(())
}

/// The run of that name.
pub fn open(parent: &Path, run: &str, environment: Option<&str>) -> Result<RunDir> {
    let (_, id) = dir::find(parent, run, environment)?;
    RunDir::open(parent, &id)
}
