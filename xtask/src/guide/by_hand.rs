//! `checklist.jsonl` beside the run directories, 0600: what people have said is done, and taken back. A line each, the
//! newest last.

use crate::effects::clock::now;
use crate::run::lines;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The book of a directory of runs.
pub struct ByHand {
    path: PathBuf,
    environment: String,
}

/// Somebody's word that an item is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticked {
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that the list was about; `None`: there was none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    at: String,
    environment: String,
    item: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Done(Ticked),
    Undone,
}

impl ByHand {
    /// `runs`: where the run directories are.
    pub fn at(runs: &Path, environment: &str) -> ByHand {
        ByHand { path: runs.join("checklist.jsonl"), environment: environment.to_string() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// When it was ticked, and by whom; `None`: it was not, or that was taken back.
    ///
    /// # Errors
    /// Where a line is damaged. The last one may be cut off: then nothing was confirmed.
    pub fn of(&self, item: &str) -> Result<Option<(String, Ticked)>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        let mut found = None;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let line: Line = match serde_json::from_str(line) {
                Ok(line) => line,
                Err(error) if error.is_eof() => continue,
                Err(error) => {
                    let place = || format!("{} line {} is damaged", self.path.display(), number + 1);
                    return Err(error).with_context(place);
                }
            };
            if line.environment == self.environment && line.item == item {
                found = match line.event {
                    Event::Done(ticked) => Some((line.at, ticked)),
                    Event::Undone => None,
                };
            }
        }
        Ok(found)
    }

    pub fn tick(&self, item: &str, ticked: Ticked) -> Result<()> {
        self.append(item, Event::Done(ticked))
    }

    pub fn untick(&self, item: &str) -> Result<()> {
        self.append(item, Event::Undone)
    }

    fn append(&self, item: &str, event: Event) -> Result<()> {
        let (environment, item) = (self.environment.clone(), item.to_string());
        lines::append(&self.path, &serde_json::to_string(&Line { at: now(), environment, item, event })?)
    }
}
