//! docs/commands.md, made of the command line's own tree.

use clap::{Arg, Command};
use std::fmt::Write;

pub fn page() -> String {
    let mut tree = xtask::cli::command().disable_help_subcommand(true);
    tree.build();
    let mut out = String::from("## Common options\n\nOf every command:\n\n");
    out += &options(tree.get_arguments().filter(|a| is_common(a)));
    out += "\nOf the commands that name them below:\n\n";
    let mut seen: Vec<&Arg> = Vec::new();
    for argument in tree.get_subcommands().filter(|c| !c.is_hide_set()).flat_map(Command::get_arguments) {
        let is_known = |other: &&&Arg| other.get_id() == argument.get_id();
        let everywhere = tree.get_arguments().any(|other| other.get_id() == argument.get_id());
        if is_common(argument) && !everywhere && seen.iter().find(is_known).is_none() {
            seen.push(argument);
        }
    }
    out += &options(seen.into_iter());
    for about in xtask::cli::about() {
        let command = tree.find_subcommand(&about.name).unwrap();
        if !command.is_hide_set() {
            out += &section(&tree, command, about.example, &about.exits);
        }
    }
    out
}

fn is_common(argument: &Arg) -> bool {
    argument.get_help_heading() == Some("Common options")
}

fn section(tree: &Command, command: &Command, example: &str, exits: &[u8]) -> String {
    let mut out = format!("\n## {}\n\n{}\n\n", command.get_name(), text(command));
    out += &format!("`{}`\n", usage(command));
    out += &listed(command);
    for below in command.get_subcommands() {
        let name = format!("{} {}", command.get_name(), below.get_name());
        let _ = write!(out, "\n**{name}**: {}\n\n`{}`\n", text(below), usage(below));
        out += &listed(below);
    }
    let of_every = |a: &&Arg| tree.get_arguments().any(|other| other.get_id() == a.get_id());
    let common: Vec<String> = command
        .get_arguments()
        .filter(|a| is_common(a) && !of_every(a))
        .map(|a| format!("`--{}`", a.get_long().unwrap()))
        .collect();
    if !common.is_empty() {
        let _ = write!(out, "\nCommon options: {}\n", common.join(", "));
    }
    let exits: Vec<String> = exits.iter().map(|e| format!("{e} {}", xtask::session::verdict(*e))).collect();
    let _ = write!(out, "\nEnds with: {}\n\n```sh\ncargo xtask {example}\n```\n", exits.join(" · "));
    out
}

/// The options of its own.
fn listed(command: &Command) -> String {
    let own = |a: &&Arg| !is_common(a) && !["help", "version"].contains(&a.get_id().as_str());
    let table = options(command.get_arguments().filter(own));
    if table.is_empty() { table } else { format!("\n{table}") }
}

fn options<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: String = arguments
        .filter(|a| !a.is_hide_set())
        .map(|a| format!("| `{}` | {} |\n", name(a), cell(&meaning(a))))
        .collect();
    if rows.is_empty() { rows } else { format!("| Option | What it does |\n|---|---|\n{rows}") }
}

/// `-n, --dry-run`, `--env <ENV>`, `<SHELL>`
fn name(argument: &Arg) -> String {
    let mut out = argument.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    out += &argument.get_long().map(|long| format!("--{long}")).unwrap_or_default();
    if argument.get_action().takes_values() {
        let named = argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
        let mut values: Vec<String> = named.map(|value| format!("<{value}>")).collect();
        if values.is_empty() {
            values.push(format!("<{}>", argument.get_id().as_str().to_uppercase()));
        }
        out += &format!("{}{}", if out.is_empty() { "" } else { " " }, values.join(" "));
    }
    out.replace('|', "\\|")
}

/// With its values and its default.
fn meaning(argument: &Arg) -> String {
    let mut out = argument.get_help().map(ToString::to_string).unwrap_or_default();
    let values = argument.get_possible_values();
    if argument.get_action().takes_values() && !values.is_empty() && !argument.is_hide_possible_values_set() {
        let values: Vec<String> = values.iter().map(|value| format!("`{}`", value.get_name())).collect();
        let _ = write!(out, ": {}", values.join(", "));
    }
    let defaults = argument.get_default_values();
    if argument.get_action().takes_values() && !defaults.is_empty() && !argument.is_hide_default_value_set() {
        let defaults: Vec<String> = defaults.iter().map(|d| d.to_string_lossy().into_owned()).collect();
        let _ = write!(out, " [default: {}]", defaults.join(", "));
    }
    out
}

/// In a cell of a table, and no tag of HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ")
}

fn text(command: &Command) -> String {
    let text = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let paragraphs: Vec<String> =
        text.split("\n\n").map(|p| format!("{}.", p.trim_end_matches('.'))).collect();
    paragraphs.join(" ")
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    usage.lines().next().unwrap().trim_start_matches("Usage: ").to_string()
}
