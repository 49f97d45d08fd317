//! What `config show` shows: every value with its origin, secrets masked.

use super::parts::{Server, Settings};
use crate::model::Database;
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    Flag {
        name: String,
    },
    Variable {
        name: String,
    },
    /// The environment file, or a file that it names for a secret.
    File {
        path: PathBuf,
        line: Option<usize>,
    },
    Service {
        path: PathBuf,
        line: usize,
    },
    /// Local servers of `cargo xtask stack up`.
    Stack {
        directory: PathBuf,
    },
    Default,
    /// It is set nowhere.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag { name } => f.write_str(name),
            Origin::Variable { name } => write!(f, "${name}"),
            Origin::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Origin::File { path, line: None } => write!(f, "{}", path.display()),
            Origin::Service { path, line } => write!(f, "service file {}:{line}", path.display()),
            Origin::Stack { directory } => write!(f, "local servers in {}", directory.display()),
            Origin::Default => f.write_str("default"),
            Origin::Nowhere => f.write_str("not set"),
        }
    }
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// `targets.order.host`
    pub key: String,
    /// Never of a secret.
    pub value: Option<String>,
    /// Of a secret: whether it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    pub origin: Origin,
}

/// An environment as it takes effect.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    pub environment: String,
    pub file: PathBuf,
    pub values: Vec<Entry>,
    /// Why it could not be used like this.
    pub problems: Vec<String>,
}

impl Shown {
    /// For a person: a line a value.
    pub fn text(&self) -> String {
        let mut out = format!("{}: {}\n", self.environment, self.file.display());
        let width = |of: fn(&Entry) -> usize| self.values.iter().map(of).max().unwrap_or_default();
        let (keys, values) = (width(|e| e.key.chars().count()), width(|e| e.shown().chars().count()).min(60));
        for entry in &self.values {
            let origin = self.origin(&entry.origin);
            out += &format!("  {:<keys$}  {:<values$}  {origin}\n", entry.key, entry.shown());
        }
        if !self.problems.is_empty() {
            out += "It cannot be used like this:\n";
            self.problems.iter().for_each(|problem| out += &format!("  ✗ {problem}\n"));
        }
        out
    }

    /// The environment's own file by its name alone: its path stands above.
    fn origin(&self, origin: &Origin) -> String {
        match (origin, self.file.file_name()) {
            (Origin::File { path, line: Some(line) }, Some(name)) if *path == self.file => {
                format!("{}:{line}", name.display())
            }
            _ => origin.to_string(),
        }
    }
}

impl Entry {
    fn shown(&self) -> &str {
        match (self.present, &self.value) {
            (Some(true), _) => "(secret, set)",
            (Some(false), _) => "(secret, NOT SET)",
            (None, Some(value)) => value,
            (None, None) => "–",
        }
    }
}

/// Puts a value over the one that stands there.
pub(super) fn set(entries: &mut Vec<Entry>, key: &str, value: String, origin: Origin) {
    let new = Entry { key: key.to_string(), value: Some(value), present: None, origin };
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => *entry = new,
        None => entries.push(new),
    }
}

/// The section of a server in the file.
pub(super) fn section(label: &str) -> String {
    if label == "source" { label.to_string() } else { format!("targets.{label}") }
}

/// Where a key stands among the others: as in the file.
pub(super) fn rank(key: &str) -> usize {
    let order = ["stack", "source", "targets", "firestore", "services", "policy", "monitor", "decommission"];
    let section = key.split('.').next().unwrap_or_default();
    order.iter().position(|s| *s == section).unwrap_or(order.len())
}

/// The values of local servers, in the place of the file's.
pub(super) fn of_stack(settings: &Settings, directory: &Path, file: &[Entry]) -> Vec<Entry> {
    let origin = Origin::Stack { directory: directory.to_path_buf() };
    let targets = Database::ALL.map(|database| settings.target(database));
    let servers = [&settings.source].into_iter().chain(targets);
    let mut entries: Vec<Entry> = servers.flat_map(|server| of_server(server, &origin)).collect();
    entries.extend_from_slice(file);
    let firestore = &settings.firestore;
    let emulator = firestore.emulator.clone().unwrap_or_default();
    set(&mut entries, "firestore.project", firestore.project.clone(), origin.clone());
    set(&mut entries, "firestore.database", firestore.database.clone(), origin.clone());
    set(&mut entries, "firestore.emulator_host", emulator, origin);
    entries.sort_by_key(|entry| rank(&entry.key));
    entries
}

fn of_server(server: &Server, origin: &Origin) -> Vec<Entry> {
    let key = |key: &str| format!("{}.{key}", section(&server.label));
    let value = |name: &str, value: String| Entry {
        key: key(name),
        value: Some(value),
        present: None,
        origin: origin.clone(),
    };
    vec![
        value("host", server.host.clone()),
        value("port", server.port.to_string()),
        value("database", server.database.clone()),
        value("user", server.user.clone()),
        Entry { key: key("password"), value: None, present: Some(true), origin: origin.clone() },
        value("tls", server.tls.mode().to_string()),
    ]
}
