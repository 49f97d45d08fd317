//! What `--json` prints: one document for each call, however it ends (docs/json.md, docs/json.schema.json).

use super::output::print;
use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};

/// Rises when a key goes or changes its meaning; new keys may come at any time.
const FORMAT: u32 = 1;

/// How a call has ended, by its exit code.
pub fn verdict(exit: u8) -> &'static str {
    match exit {
        0 => "done",
        2 => "usage",
        3 => "differs",
        4 => "refused",
        5 => "quarantine",
        6 | 129 | 130 | 143 => "interrupted",
        _ => "failed",
    }
}

/// Collects what a command has to tell, and prints it once, at the end. Cheap to clone.
#[derive(Clone)]
pub struct Document {
    wanted: bool,
    /// `stack status`; `None`: none could be recognised.
    command: Option<Arc<str>>,
    content: Arc<Mutex<Content>>,
}

#[derive(Default)]
struct Content {
    result: Value,
    next: Option<String>,
    /// The result is being printed as it comes; what is missing at its end.
    open: Option<&'static str>,
    one_line: bool,
    /// Printed, by this process or by one that it has started.
    ended: bool,
}

impl Document {
    /// `wanted`: JSON was asked for; else nothing is printed.
    pub fn new(wanted: bool, command: Option<&str>) -> Document {
        Document { wanted, command: command.map(Arc::from), content: Arc::default() }
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> T {
        work(&mut self.content.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The command's result, and what to type next.
    pub fn hold(&self, result: &impl Serialize, next: Option<String>) -> Result<()> {
        let result = serde_json::to_value(result).context("writing the result as JSON")?;
        self.with(|content| (content.result, content.next) = (result, next));
        Ok(())
    }

    pub fn next(&self, next: Option<String>) {
        self.with(|content| content.next = next);
    }

    /// Begins to print a result that may be larger than memory. `end`: closes it where the command does not
    /// come to do so.
    pub fn begin(&self, text: &str, end: &'static str) -> Result<()> {
        self.with(|content| content.open = Some(end));
        let command = Value::from(self.command.as_deref());
        print(&format!("{{\"format\":{FORMAT},\"command\":{command},\"result\":{text}"))
    }

    pub fn go_on(&self, text: &str) -> Result<()> {
        print(text)
    }

    /// `end`: closes the result; nothing is missing any more.
    pub fn close(&self, end: &str, next: Option<String>) -> Result<()> {
        self.with(|content| (content.open, content.next) = (Some(""), next));
        print(end)
    }

    /// One of several documents, each on a line, while the command goes on; its last one is the call's end.
    pub fn line(&self, result: &impl Serialize) -> Result<()> {
        self.with(|content| content.one_line = true);
        let result = serde_json::to_value(result).context("writing the result as JSON")?;
        let envelope = Envelope { result: Some(&result), ..self.envelope(Ending::RUNNING) };
        print(&format!("{}\n", serde_json::to_string(&envelope)?))
    }

    /// All that it prints is to be one line.
    pub fn one_line(&self) {
        self.with(|content| content.one_line = true);
    }

    /// Another process prints it.
    pub fn is_printed(&self) {
        self.with(|content| content.ended = true);
    }

    /// Prints it, once. `error`: what stderr says of it, without its mark; `next`: where the command has not
    /// said it.
    ///
    /// # Errors
    /// Where stdout cannot be written.
    pub fn end(&self, exit: u8, error: Option<&str>, next: Option<String>) -> Result<()> {
        if !self.is_wanted() {
            return Ok(());
        }
        // Held until it is printed: a second signal must not print another one into it.
        self.with(|content| {
            if std::mem::replace(&mut content.ended, true) {
                return Ok(());
            }
            let next = content.next.take().or(next);
            let ending = Ending { verdict: verdict(exit), exit: Some(exit), error: error.map(cause), next };
            if let Some(end) = content.open {
                let rest = serde_json::to_string(&ending)?;
                return print(&format!("{end},{}\n", rest.trim_start_matches('{')));
            }
            let result = content.result.take();
            let envelope = Envelope { result: Some(&result), ..self.envelope(ending) };
            let text = match content.one_line {
                true => serde_json::to_string(&envelope)?,
                false => serde_json::to_string_pretty(&envelope)?,
            };
            print(&format!("{text}\n"))
        })
    }

    fn envelope(&self, ending: Ending) -> Envelope<'_> {
        Envelope { format: FORMAT, command: self.command.as_deref(), result: None, ending }
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    format: u32,
    /// `None`: none could be recognised.
    command: Option<&'a str>,
    #[serde(flatten)]
    ending: Ending,
    result: Option<&'a Value>,
}

#[derive(Serialize)]
struct Ending {
    verdict: &'static str,
    exit: Option<u8>,
    error: Option<Cause>,
    next: Option<String>,
}

impl Ending {
    const RUNNING: Ending = Ending { verdict: "running", exit: None, error: None, next: None };
}

#[derive(Serialize)]
struct Cause {
    cause: String,
    details: Vec<String>,
}

/// The first line is the cause; what follows it are details.
fn cause(error: &str) -> Cause {
    let mut lines = error.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_string);
    Cause { cause: lines.next().unwrap_or_default(), details: lines.collect() }
}
