//! What a command leaves for the person: results on stdout, the next command on stderr.

use crate::effects::terminal::say;
use crate::run::dir;
use crate::shown::for_terminal;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// What a command leaves for the person: text and the command to type next.
pub struct Said {
    pub text: String,
    pub next: Option<String>,
}

/// Data for stdout, without signs that a terminal obeys: values of customers come from strangers. That its
/// reader has gone is no failure of the command.
pub fn print(text: &str) -> Result<()> {
    let text = for_terminal(text);
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// The command to type next where this one does not come to its end: said last, by whoever learns of it.
#[derive(Default)]
pub struct LastWords(Mutex<Option<(PathBuf, String)>>);

impl LastWords {
    /// `run`: the words hold once it has begun.
    pub fn set(&self, words: Option<(PathBuf, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    pub fn words(&self) -> Option<String> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        words.as_ref().filter(|(run, _)| dir::has_begun(run)).map(|(_, words)| words.clone())
    }

    pub fn say(&self) {
        if let Some(words) = self.words() {
            say(&format!("next: {words}"));
        }
    }
}
