//! What a command leaves for the person: results on stdout, the next command on stderr.

use super::next::Whereabouts;
use crate::run::dir;
use crate::shown::for_terminal;
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

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

/// Whether the run in this directory has written to no target yet: all exports are on disk before that.
fn no_target_is_written(run: &Path) -> bool {
    !dir::has_begun(run) || dir::load_manifest(run).is_ok_and(|manifest| manifest.export.is_none())
}

/// The command to type next where this one does not come to its end: said last, by whoever learns of it. Clones
/// share it.
#[derive(Clone, Default)]
pub struct LastWords(Arc<Mutex<Option<Words>>>);

/// What a command changes beside its run's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// Targets, once the run's exports are complete.
    TargetsOnceExported,
    Others,
}

#[derive(Clone)]
struct Words {
    /// `None`: they hold in any case.
    run: Option<PathBuf>,
    again: String,
    touches: Touches,
}

impl LastWords {
    /// `run`: the words hold once it has begun.
    pub fn set(&self, run: &Path, again: String, touches: Touches) {
        self.put(Some(Words { run: Some(run.to_path_buf()), again, touches }));
    }

    /// Whatever has begun.
    pub fn set_anyway(&self, command: String) {
        self.put(Some(Words { run: None, again: command, touches: Touches::Others }));
    }

    pub fn clear(&self) {
        self.put(None);
    }

    fn put(&self, words: Option<Words>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    /// What to type, for a command that failed or was `interrupted`. Where the disk is `full`, to go on in the same
    /// place would be of no use.
    pub fn of(&self, interrupted: bool, full: bool, whereabouts: &Whereabouts) -> Option<String> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Words { run, again, touches } = words?;
        let Some(run) = run else { return Some(format!("next: {again}")) };
        let begun = dir::has_begun(&run);
        let untouched = interrupted && touches == Touches::TargetsOnceExported && no_target_is_written(&run);
        let untouched = if untouched { "no target was touched\n" } else { "" };
        match (begun, full) {
            (false, _) if untouched.is_empty() => None,
            (false, _) => Some(untouched.trim_end().to_string()),
            (true, false) => Some(format!("{untouched}next: {again}")),
            (true, true) => {
                let elsewhere = whereabouts.clone().without("backup-dir").command("migrate --backup-dir DIR");
                let disk = run.parent().unwrap_or(&run).display();
                Some(format!(
                    "the disk of {disk} is full: begin again in another directory, `{elsewhere}`; or make room there, \
                     then `{again}`"
                ))
            }
        }
    }
}
