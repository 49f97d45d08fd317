//! What a command leaves for the person: results on stdout, the next command on stderr.

use crate::effects::terminal::{Verbosity, end_phase, say};
use crate::run::brief::labelled;
use crate::run::dir;
use crate::shown::{for_terminal, wrapped};
use anyhow::{Context, Result};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

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
