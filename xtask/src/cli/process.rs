//! The process: takes its variables, waits for the command or for Ctrl-C, and turns the result into an
//! exit code.
//!
//! In the library and not in `main.rs`, because a future is compiled where it is polled: this way the
//! whole tool is compiled once, and programs that link it (the tests) have nothing left to compile.

use super::commands::Cli;
use crate::effects::cleanup::Cleanup;
use crate::effects::process::is_ambient;
use crate::effects::raw_words;
use crate::effects::terminal::say;
use crate::model::Stop;
use crate::run::dir;
use crate::session::{LastWords, Whereabouts};
use crate::settings::Variables;
use crate::shown::without_codes;
use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
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
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: starting: {error}"));
            return ExitCode::from(1);
        }
    };
    let (last_words, cleanup) = (LastWords::default(), Cleanup::default());
    let (whereabouts, verbose) = (cli.whereabouts(), cli.is_verbose());
    let parting = Parting { last_words: last_words.clone(), cleanup: cleanup.clone(), whereabouts, verbose };
    let command = cli.run(&variables, &last_words, &cleanup);
    let result = runtime.block_on(cleaned_up(&parting, command));
    // Ended tasks note in the journal that they ended; threads that still wait for something are not
    // waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if cleanup.may_be_interrupted() && is_interrupt(&error) => ExitCode::SUCCESS,
        Err(error) => {
            parting.say(&error);
            let stop = error.chain().find_map(|e| e.downcast_ref::<Stop>());
            ExitCode::from(stop.map_or(1, Stop::exit_code))
        }
    }
}

/// What was typed is no command, or asks for help.
fn usage(error: &clap::Error) -> ExitCode {
    // Where its reader has gone, there is nobody to tell.
    let _ = error.print();
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg)
        && error.kind() == ErrorKind::UnknownArgument
        && (word == "latest" || dir::time_of(word).is_some())
    {
        say(&format!("  tip: a run is named with --run {word}"));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn is_interrupt(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Stop::Interrupted))
}

/// What a person is told who is left without a result.
#[derive(Clone)]
struct Parting {
    last_words: LastWords,
    cleanup: Cleanup,
    whereabouts: Whereabouts,
    verbose: bool,
}

impl Parting {
    /// Why, once, in sentences; with `-v` also word for word what servers said.
    fn say(&self, error: &anyhow::Error) {
        let text = self.whereabouts.complete(&format!("error: {error:#}"));
        match self.verbose {
            false => say(&without_codes(&text)),
            true => {
                say(&text);
                raw_words::last().iter().for_each(|words| say(&format!("  word for word: {words}")));
            }
        }
        let full = is_of_a_full_disk(error);
        if let Some(words) = self.last_words.of(is_interrupt(error), full, &self.whereabouts) {
            say(&words);
        }
        // The last line of all: what the next person has to know before anything else.
        self.say_what_is_left();
    }

    /// What could not be undone, and how it is undone by hand.
    fn say_what_is_left(&self) {
        for by_hand in self.cleanup.by_hand() {
            let by_hand = self.whereabouts.complete(&format!("`{by_hand}`"));
            say(&format!("stopped before this was undone; undo it with {by_hand}"));
        }
    }

    /// The same for who does not wait for anything to be undone.
    fn say_at_once(&self) {
        say("stopped at once: nothing that was under way has been undone");
        if let Some(words) = self.last_words.of(true, false, &self.whereabouts) {
            say(&words);
        }
        self.say_what_is_left();
    }
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
        Err(panic) => std::panic::resume_unwind(panic),
    }
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
        parting.say_at_once();
        std::process::exit(code);
    });
    tokio::select! {
        result = command => result,
        _ = first => Err(Stop::Interrupted.into()),
    }
}
