//! A command line that is none: which command was meant, and what to type instead.

use crate::session::Document;
use clap::Command;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The command that is named, as far as it can be recognised: `stack status`.
pub fn named(command: &Command, arguments: &[String]) -> Option<String> {
    let path = path(command, arguments);
    (!path.is_empty()).then(|| path.iter().map(|command| command.get_name()).collect::<Vec<_>>().join(" "))
}

fn path<'c>(mut command: &'c Command, arguments: &[String]) -> Vec<&'c Command> {
    let mut path = Vec::new();
    for word in arguments.iter().skip(1).take_while(|word| *word != "--") {
        if let Some(below) = command.find_subcommand(word) {
            path.push(below);
            command = below;
        }
    }
    path
}

/// Says what is wrong, as a document too where one was asked for. Returns the exit code: 0 for `--help`.
pub fn told(mut error: clap::Error, command: &Command, arguments: &[String]) -> u8 {
    if let Some(tip) = tip(&error, command, arguments) {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    // That nobody reads it is no failure.
    let _ = error.print();
    if !error.use_stderr() {
        return 0;
    }
    let json = arguments.iter().skip(1).take_while(|word| *word != "--").any(|word| word == "--json");
    let document = Document::new(json, named(command, arguments).as_deref());
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    match document.end(USAGE, Some(text), None) {
        Ok(()) => USAGE,
        Err(_) => 1,
    }
}

const USAGE: u8 = 2;

/// What is typed instead of an argument that the command does not take.
fn tip(error: &clap::Error, command: &Command, arguments: &[String]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(found)) = error.get(ContextKind::InvalidArg) else { return None };
    let named = *path(command, arguments).first()?;
    let takes =
        |command: &Command, option: &str| command.get_arguments().any(|a| a.get_long() == Some(option));
    let Some(option) = found.strip_prefix("--") else {
        return takes(named, "run").then(|| format!("a run is named by its option: --run {found}"));
    };
    let for_others = command.get_subcommands().any(|other| takes(other, option));
    for_others.then(|| format!("--{option} means nothing for `{}`: leave it out", named.get_name()))
}
