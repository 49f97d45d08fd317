//! The process: takes its variables, waits for the command or for Ctrl-C, and turns the result into an
//! exit code.
//!
//! In the library and not in `main.rs`, because a future is compiled where it is polled: this way the
//! whole tool is compiled once, and programs that link it (the tests) have nothing left to compile.

use super::commands::{self, Cli};
use super::panics::{self, Panicked};
use super::shell::COMPLETE;
use super::usage;
use crate::effects::cleanup::Cleanup;
use crate::effects::process::is_ambient;
use crate::effects::raw_words;
use crate::effects::terminal::say;
use crate::model::Stop;
use crate::session::{Document, LastWords, Whereabouts};
use crate::settings::Variables;
use crate::shown::without_codes;
use clap::FromArgMatches;
use clap_complete::CompleteEnv;
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// How long undoing one thing may take.
const UNDO_LIMIT: Duration = Duration::from_secs(60);

/// Two signals of one kind this close to each other are one: `timeout` sends its own to the process and to
/// its group, and nobody has read what the first was answered with.
const ONE_SIGNAL: Duration = Duration::from_millis(500);

pub fn main() -> ExitCode {
    let variables = take_variables();
    CompleteEnv::with_factory(commands::command).var(COMPLETE).bin("xtask").complete();
    let arguments: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let tree = commands::command();
    let matches = tree.clone().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match matches {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage::told(error, &tree, &arguments)),
    };
    let common = cli.common();
    panics::watch(common.verbose || std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0"));
    let document = Document::new(common.json, usage::named(&tree, &arguments).as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: starting: {error}"));
            return ExitCode::from(1);
        }
    };
    let (last_words, cleanup) = (LastWords::default(), Cleanup::default());
    let parting = Parting {
        last_words: last_words.clone(),
        cleanup: cleanup.clone(),
        whereabouts: Cli::whereabouts(&common),
        verbose: common.verbose,
        document,
    };
    let told = (parting.document.clone(), parting.whereabouts.clone());
    let command = cli.run(common, &variables, &last_words, told, &cleanup);
    let result = runtime.block_on(cleaned_up(&parting, command));
    // Ended tasks note in the journal that they ended; threads that still wait for something are not
    // waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Err(error) if !(cleanup.may_be_interrupted() && is_interrupt(&error)) => parting.ended(&error),
        _ => ended(&parting.document, 0, None, None),
    }
}

/// With what `--json` prints.
fn ended(document: &Document, exit: u8, error: Option<&str>, next: Option<String>) -> ExitCode {
    match document.end(exit, error, next) {
        Ok(()) => ExitCode::from(exit),
        Err(lost) => {
            say(&format!("error: {lost:#}"));
            ExitCode::from(if exit == 0 { 1 } else { exit })
        }
    }
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Stop::Interrupted))
}

/// What is told where there is no result.
#[derive(Clone)]
struct Parting {
    last_words: LastWords,
    cleanup: Cleanup,
    whereabouts: Whereabouts,
    verbose: bool,
    document: Document,
}

impl Parting {
    /// Why, once, in sentences; with `-v` also word for word what servers said. And, the last line of all, what the
    /// next person has to know before anything else.
    fn ended(&self, error: &anyhow::Error) -> ExitCode {
        let text = panics::told(error).unwrap_or_else(|| format!("{error:#}"));
        let text = self.whereabouts.complete(&text);
        let text = if self.verbose { text } else { without_codes(&text) };
        say(&format!("error: {text}"));
        if self.verbose {
            raw_words::last().iter().for_each(|words| say(&format!("  word for word: {words}")));
        }
        let stop = error.chain().find_map(|e| e.downcast_ref::<Stop>());
        let words = match stop {
            Some(Stop::Refused(_)) => self.last_words.of_refusal(&text, &self.whereabouts),
            _ => self.last_words.of(is_interrupt(error), is_of_a_full_disk(error), &self.whereabouts),
        };
        self.end(stop.map_or(1, Stop::exit_code), text, words)
    }

    /// The same for who does not wait for anything to be undone.
    fn at_once(&self, exit: u8) {
        let text = "stopped at once: nothing that was under way has been undone";
        say(text);
        self.end(exit, text.to_string(), self.last_words.of(true, false, &self.whereabouts));
    }

    fn end(&self, exit: u8, text: String, words: Option<String>) -> ExitCode {
        words.iter().for_each(|words| say(words));
        let left = self.what_is_left();
        left.iter().for_each(|line| say(line));
        let text = [vec![text], left].concat().join("\n");
        ended(&self.document, exit, Some(&text), words.as_deref().and_then(to_type))
    }

    /// What could not be undone, and how it is undone by hand.
    fn what_is_left(&self) -> Vec<String> {
        let line = |(what, by_hand): (String, String)| {
            let by_hand = self.whereabouts.complete(&format!("`{by_hand}`"));
            format!("stopped before this was undone: {what}; undo it with {by_hand}")
        };
        self.cleanup.left().into_iter().map(line).collect()
    }
}

/// The command to type, of what is told at the end.
fn to_type(words: &str) -> Option<String> {
    words.lines().find_map(|line| line.strip_prefix("next: ")).map(str::to_string)
}

/// Programs of PostgreSQL's say so in words, in English since that is what they are told to speak.
fn is_of_a_full_disk(error: &anyhow::Error) -> bool {
    let full = |e: &std::io::Error| e.kind() == std::io::ErrorKind::StorageFull;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(full))
        || format!("{error:#}").contains("No space left on device")
}

/// The variables as they were, with those gone from the process by which libpq, sqlx or a Firestore
/// client would choose a server on their own (DESIGN rule 17).
fn take_variables() -> Variables {
    let variables: Variables = std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    for key in variables.keys().filter(|key| is_ambient(key)) {
        // SAFETY: the first thing that main does; there is no other thread yet.
        #[allow(unsafe_code)]
        unsafe {
            std::env::remove_var(key);
        }
    }
    variables
}

/// Runs the command, and then undoes what it could not: it failed, panicked or was dropped.
async fn cleaned_up(
    parting: &Parting,
    command: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let command = AssertUnwindSafe(until_interrupted(command, parting.clone())).catch_unwind();
    let result = command.await;
    let errors = parting.cleanup.all(UNDO_LIMIT).await;
    errors.iter().for_each(|error| say(&parting.whereabouts.complete(&format!("error: {error:#}"))));
    match result {
        Ok(result) => result,
        // Its hook has kept what it said.
        Err(_) => Err(Panicked.into()),
    }
}

/// Does this, but does not wait for it: stdout may be a pipe that nobody reads.
fn at_once(work: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        work();
        let _ = done.send(());
    });
    let _ = wait.recv_timeout(Duration::from_secs(1));
}

/// The first Ctrl-C, SIGTERM or lost terminal drops the command, which stops its servers, children and
/// sessions on the way; the second one ends the process at once, also while they are being stopped.
async fn until_interrupted(
    command: impl Future<Output = anyhow::Result<()>>,
    parting: Parting,
) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (told, first) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hangup.recv() => 129,
            }
        };
        let first = next().await;
        let at = Instant::now();
        if !parting.cleanup.may_be_interrupted() {
            say("interrupted: stopping (again to stop at once)");
        }
        let _ = told.send(());
        let mut code = next().await;
        while code == first && at.elapsed() < ONE_SIGNAL {
            code = next().await;
        }
        at_once(move || parting.at_once(u8::try_from(code).unwrap_or(1)));
        std::process::exit(code);
    });
    tokio::select! {
        result = command => result,
        _ = first => Err(Stop::Interrupted.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use clap::Parser;

    /// The process has one hook, so it is one test.
    #[tokio::test]
    async fn a_panic_is_an_error_that_is_told_in_one_sentence() {
        panics::watch(false);
        let common = Cli::try_parse_from(["xtask", "status"]).unwrap().common();
        let parting = Parting {
            last_words: LastWords::default(),
            cleanup: Cleanup::default(),
            whereabouts: Cli::whereabouts(&common),
            verbose: false,
            document: Document::new(false, Some("status")),
        };
        let error = cleaned_up(&parting, async { panic!("no such\ntable: {}", 7) }).await.unwrap_err();
        let said = panics::told(&error).unwrap();
        assert!(said.contains("a fault of its own: no such table: 7 (process.rs, line "), "{said}");
        assert_eq!(format!("{:?}", parting.ended(&error)), format!("{:?}", ExitCode::from(1)));

        let task = tokio::spawn(async { panic!("another, of a task") }).await;
        let error = task.context("a task ended unexpectedly").unwrap_err();
        assert_eq!(panics::told(&error), Some(said), "the first is the cause");
        assert_eq!(panics::told(&anyhow::anyhow!("the server is away")), None);
        drop(std::panic::take_hook());
    }
}
