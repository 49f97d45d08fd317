//! A panic is a fault of the tool itself: told in one sentence like every other error, and in the document of `--json`.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use tokio::task::JoinError;

/// The first one: others follow from it.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Keeps what a panic says, instead of printing it at once; `loud`: prints it as well, with what RUST_BACKTRACE asks for.
pub fn watch(loud: bool) {
    let printed = take_hook();
    set_hook(Box::new(move |panic| {
        FIRST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| sentence(panic));
        if loud {
            printed(panic);
        }
    }));
}

/// Where a task or the command itself has panicked: the sentence for a person.
pub fn told(error: &anyhow::Error) -> Option<String> {
    let panicked = |cause: &(dyn std::error::Error + 'static)| {
        cause.is::<Panicked>() || cause.downcast_ref().is_some_and(JoinError::is_panic)
    };
    let first = || FIRST.lock().unwrap_or_else(PoisonError::into_inner).clone();
    error.chain().any(panicked).then(first).flatten()
}

/// The command itself has panicked.
#[derive(Debug)]
pub struct Panicked;

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the tool itself has failed")
    }
}

impl std::error::Error for Panicked {}

fn sentence(panic: &PanicHookInfo<'_>) -> String {
    let what = panic.payload_as_str().unwrap_or("without a word").trim().replace('\n', " ");
    let place = panic.location().map_or(String::new(), |place| {
        let file = Path::new(place.file()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        format!(" ({file}, line {})", place.line())
    });
    format!(
        "the tool itself has failed, which is a fault of its own: {what}{place}. Please report it with what -v prints"
    )
}
