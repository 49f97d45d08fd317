//! The process: takes its variables, waits for the command or for Ctrl-C, and turns the result into an
//! exit code.
//!
//! In the library and not in `main.rs`, because a future is compiled where it is polled: this way the
//! whole tool is compiled once, and programs that link it (the tests) have nothing left to compile.

use super::commands::{self, Cli};
use super::shell::COMPLETE;
use super::usage;
use crate::effects::cleanup::Cleanup;
use crate::effects::process::is_ambient;
use crate::effects::terminal::say;
use crate::model::Stop;
use crate::session::{Document, LastWords};
use crate::settings::Variables;
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
    let document = Document::new(cli.is_json(), usage::named(&tree, &arguments).as_deref());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("error: starting: {error}"));
            return ExitCode::from(1);
        }
    };
    let (last_words, cleanup) = (LastWords::default(), Cleanup::default());
    let command = cli.run(&variables, &last_words, document.clone(), &cleanup);
    let result = runtime.block_on(cleaned_up(&cleanup, &document, command));
    // Ended tasks note in the journal that they ended; threads that still wait for something are not
    // waited for.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Err(error) if !(cleanup.may_be_interrupted() && is_interrupt(&error)) => {
            let text = format!("{error:#}");
            say(&format!("error: {text}"));
            last_words.say();
            // The last line of all: what the next person has to know before anything else.
            let left = what_is_left(&cleanup);
            left.iter().for_each(|line| say(line));
            let stop = error.chain().find_map(|e| e.downcast_ref::<Stop>());
            let text = [vec![text], left].concat().join("\n");
            ended(&document, stop.map_or(1, Stop::exit_code), Some(&text), last_words.words())
        }
        _ => ended(&document, 0, None, None),
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

/// What could not be undone, and how it is undone by hand.
fn what_is_left(cleanup: &Cleanup) -> Vec<String> {
    let line = |by_hand| format!("stopped before this was undone; undo it with `{by_hand}`");
    cleanup.by_hand().into_iter().map(line).collect()
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
    cleanup: &Cleanup,
    document: &Document,
    command: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let command =
        AssertUnwindSafe(until_interrupted(command, cleanup.clone(), document.clone())).catch_unwind();
    let result = command.await;
    let errors = cleanup.all(UNDO_LIMIT).await;
    errors.iter().for_each(|error| say(&format!("error: {error:#}")));
    match result {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
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
    cleanup: Cleanup,
    document: Document,
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
        if !cleanup.may_be_interrupted() {
            say("interrupted: stopping (again to stop at once)");
        }
        let _ = told.send(());
        let mut code = next().await;
        while code == first && at.elapsed() < ONE_SIGNAL {
            code = next().await;
        }
        let left = what_is_left(&cleanup);
        left.iter().for_each(|line| say(line));
        let text = [vec!["interrupted a second time".to_string()], left].concat().join("\n");
        at_once(move || drop(document.end(u8::try_from(code).unwrap_or(1), Some(&text), None)));
        std::process::exit(code);
    });
    tokio::select! {
        result = command => result,
        _ = first => Err(Stop::Interrupted.into()),
    }
}
