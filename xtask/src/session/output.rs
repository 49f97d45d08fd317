//! What a command leaves for the person: results on stdout, the next command on stderr.

use super::next::{Whereabouts, remedy};
use crate::effects::terminal::{Verbosity, end_phase};
use crate::run::brief::labelled;
use crate::run::dir;
use crate::shown::{for_terminal, wrapped};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a command leaves for the person: text and the command to type next.
pub struct Said {
    pub text: String,
    pub next: Option<String>,
}

/// Lines between the verdict and its repetition, at most.
const BRIEF: usize = 10;

/// How a command has ended: the verdict first and last, and between them what matters, or with `-v` all of it.
pub struct Ending {
    pub verdict: String,
    /// What matters, in ten lines at most.
    pub brief: Vec<String>,
    /// All of it.
    pub full: String,
    /// Where all of it can be read later, which has a line of its own.
    pub details: Option<String>,
    pub next: Option<String>,
}

impl Ending {
    /// Of a text whose first lines are those that matter.
    pub fn of_text(verdict: String, full: String) -> Ending {
        let room = BRIEF - 1;
        let lines: Vec<&str> = full.lines().collect();
        let mut brief: Vec<String> = lines.iter().take(room).map(|line| (*line).to_string()).collect();
        if lines.len() > room {
            brief.truncate(room - 1);
            brief.push(format!("  and {} more lines: -v", lines.len() - brief.len()));
        }
        Ending { verdict, brief, full, details: None, next: None }
    }

    pub fn next(self, next: Option<String>) -> Ending {
        Ending { next, ..self }
    }

    pub fn details(self, details: String) -> Ending {
        Ending { details: Some(details), ..self }
    }

    /// In lines of so many columns; a command is not broken, so that it can be copied.
    pub fn text(&self, verbosity: Verbosity, columns: usize) -> String {
        let verdict = format!("{}\n", wrapped(&self.verdict, columns));
        let between = match verbosity {
            Verbosity::Quiet => String::new(),
            Verbosity::Normal => {
                let details =
                    self.details.iter().map(|details| format!("{}\n", labelled("details", details)));
                let brief = self.brief.iter().map(|line| format!("{}\n", wrapped(line, columns)));
                brief.chain(details).collect()
            }
            Verbosity::Verbose => format!("\n{}\n", wrapped(self.full.trim_end(), columns)) + "\n",
        };
        match between.trim().is_empty() {
            true => verdict,
            false => format!("{verdict}{between}{verdict}"),
        }
    }
}

/// Data for stdout, without signs that a terminal obeys: values of customers come from strangers. That its
/// reader has gone is no failure of the command.
pub fn print(text: &str) -> Result<()> {
    end_phase();
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

    /// What to type after a refusal: the remedy, where its text names one, for the same command would be refused once
    /// more.
    pub fn of_refusal(&self, text: &str, whereabouts: &Whereabouts) -> Option<String> {
        let again = self.of(false, false, whereabouts)?;
        Some(remedy(text).map_or(again, |command| format!("next: {command}")))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(lines: usize) -> Ending {
        let full: String = (0..lines).map(|n| format!("  orders {n}\n")).collect();
        Ending::of_text("✓ PROVEN 9 rows".into(), full).details("cargo xtask report --run R".into())
    }

    #[test]
    fn the_verdict_is_first_and_last_and_ten_lines_are_between() {
        for lines in [1, 9, 10, 99] {
            let text = ending(lines).text(Verbosity::Normal, 80);
            let told: Vec<&str> = text.lines().collect();
            assert_eq!((told[0], told[told.len() - 1]), ("✓ PROVEN 9 rows", "✓ PROVEN 9 rows"));
            assert!(told.len() <= 2 + BRIEF, "{text}");
            assert_eq!(told[told.len() - 2], "  details      cargo xtask report --run R");
            assert_eq!(text.contains("more lines: -v"), lines > 9, "{text}");
            let full = ending(lines).text(Verbosity::Verbose, 80);
            assert_eq!(full.lines().filter(|line| line.starts_with("  orders ")).count(), lines);
            assert_eq!(ending(lines).text(Verbosity::Quiet, 80), "✓ PROVEN 9 rows\n");
        }
        assert!(ending(99).text(Verbosity::Normal, 80).contains("  and 91 more lines: -v\n"));
        let alone = Ending::of_text("✓ DONE".into(), String::new());
        assert_eq!(
            alone.text(Verbosity::Normal, 80),
            "✓ DONE\n",
            "nothing stands between: it is not repeated"
        );
    }
}
