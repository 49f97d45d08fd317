//! Commands that a person is advised to type are complete: with what this call was told about where things are.
//! Deep down it is known which command helps, and not where this one was pointed; so what is missing is added
//! where text leaves the process, to every command in it.

use super::arguments::Common;
use clap::ValueEnum;
use std::path::Path;

/// What every command of ours begins with.
const TOOL: &str = "cargo xtask ";

/// They work on no environment: what is said about where things are would mean something else there.
const OF_NO_ENVIRONMENT: [&str; 6] = ["rehearse", "stack", "bench", "chaos", "completions", "man"];

/// Whether a command knows an option, as the command line has it.
pub type Knows = fn(command: &str, option: &str) -> bool;

/// What this call was told about where things are.
#[derive(Clone)]
pub struct Whereabouts {
    environment: String,
    options: Vec<(&'static str, String)>,
    knows: Knows,
}

impl Whereabouts {
    pub fn of(common: &Common, knows: Knows) -> Whereabouts {
        let mut options = Vec::new();
        if let Some(runtime) = common.runtime.and_then(|r| r.to_possible_value()) {
            options.push(("runtime", runtime.get_name().to_string()));
        }
        for (name, path) in [("stack", &common.stack), ("backup-dir", &common.backup_dir)] {
            options.extend(path.as_ref().map(|path| (name, word(path))));
        }
        Whereabouts { environment: common.env.clone(), options, knows }
    }

    /// But for this option, which is given again.
    pub fn without(mut self, option: &str) -> Whereabouts {
        self.options.retain(|(name, _)| *name != option);
        self
    }

    /// A command to type, such as `verify --run latest`, complete.
    pub fn command(&self, command: &str) -> String {
        self.completed(&format!("{TOOL}{command}"))
    }

    /// The same in another environment.
    pub fn command_in(&self, environment: &str, command: &str) -> String {
        self.clone().of_environment(environment).command(command)
    }

    pub fn of_environment(self, environment: &str) -> Whereabouts {
        Whereabouts { environment: environment.to_string(), ..self }
    }

    /// A text with every command in it complete: those in backquotes, and those that end with their line, at a
    /// comma, a semicolon, a bracket or a comment.
    pub fn complete(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find(TOOL) {
            let (before, command) = rest.split_at(at);
            let length = match before.ends_with('`') {
                true => command.find('`').unwrap_or(command.len()),
                false => length_of_bare(command),
            };
            out += before;
            out += &self.completed(&command[..length]);
            rest = &command[length..];
        }
        out + rest
    }

    fn completed(&self, command: &str) -> String {
        let mut line = command.to_string();
        let verb = command[TOOL.len()..].split_whitespace().next().unwrap_or_default();
        if OF_NO_ENVIRONMENT.contains(&verb) {
            return line;
        }
        let environment = (self.environment != "local").then(|| ("env", quoted(&self.environment)));
        for (name, value) in environment.iter().chain(&self.options) {
            let there = command.split([' ', '=', '\n']).any(|word| word.strip_prefix("--") == Some(name));
            if !there && (self.knows)(verb, name) {
                line += &format!(" --{name} {value}");
            }
        }
        line
    }
}

/// The command that a refusal names as its remedy: the first one in backquotes, but for one that only shows something.
pub fn remedy(text: &str) -> Option<&str> {
    let of_ours = |quoted: &&str| {
        let verb = quoted.strip_prefix(TOOL).and_then(|command| command.split_whitespace().next());
        verb.is_some_and(|verb| !["status", "doctor", "checklist"].contains(&verb))
    };
    text.split('`').skip(1).step_by(2).find(of_ours)
}

/// A bare command ends where words of the sentence around it go on.
fn length_of_bare(command: &str) -> usize {
    let ends = ["\n", ",", ";", ")", "`", "  #", " # "].iter().filter_map(|end| command.find(end));
    let end = ends.min().unwrap_or(command.len());
    command[..end].trim_end_matches(['.', ':', ' ']).len()
}

fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+=:@%~".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there() -> Whereabouts {
        Whereabouts {
            environment: "staging".into(),
            options: vec![("stack", "/tmp/s".into()), ("backup-dir", "'/a b'".into())],
            knows: |command, option| command != "makes" && (command, option) != ("plan", "stack"),
        }
    }

    #[test]
    fn a_command_is_completed_once_and_only_with_what_it_knows() {
        let all = "--env staging --stack /tmp/s --backup-dir '/a b'";
        assert_eq!(there().command("verify --run 1"), format!("cargo xtask verify --run 1 {all}"));
        assert_eq!(there().command("plan"), "cargo xtask plan --env staging --backup-dir '/a b'");
        assert_eq!(there().command("rehearse"), "cargo xtask rehearse");
        let local = there().command_in("local", "status");
        assert_eq!(local, "cargo xtask status --stack /tmp/s --backup-dir '/a b'");
        let once = there().complete("`cargo xtask verify --env other --stack=/x`: cargo xtask makes sense");
        assert_eq!(
            once,
            "`cargo xtask verify --env other --stack=/x --backup-dir '/a b'`: cargo xtask makes sense"
        );
        assert_eq!(there().complete(&once), once);
    }

    #[test]
    fn commands_in_a_text_end_where_the_text_goes_on() {
        let all = "--env staging --stack /tmp/s --backup-dir '/a b'";
        for (text, wanted) in [
            ("type `cargo xtask status`, then wait", format!("type `cargo xtask status {all}`, then wait")),
            (
                "cargo xtask backup --target all, then more",
                format!("cargo xtask backup --target all {all}, then more"),
            ),
            ("next: cargo xtask verify", format!("next: cargo xtask verify {all}")),
            ("cargo xtask verify   # or not", format!("cargo xtask verify {all}   # or not")),
            ("cargo xtask verify.\ntwo", format!("cargo xtask verify {all}.\ntwo")),
        ] {
            assert_eq!(there().complete(text), wanted);
        }
    }

    #[test]
    fn a_remedy_is_the_first_command_that_changes_something() {
        for (text, wanted) in [
            (
                "`cargo xtask status --run 1` shows it; `cargo xtask repair --run 1`",
                Some("cargo xtask repair --run 1"),
            ),
            ("it gives way to `cargo xtask migrate --replace`, `x`", Some("cargo xtask migrate --replace")),
            ("`SELECT 1` and cargo xtask verify: rerun the command", None),
        ] {
            assert_eq!(remedy(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quoted("/tmp/xtask-stack-1"), "/tmp/xtask-stack-1");
        assert_eq!(quoted("/it's"), "'/it'\\''s'");
        assert_eq!(quoted("$HOME"), "'$HOME'");
    }
}
