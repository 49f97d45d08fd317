//! Which files of the services still mention the old database: its address, its name, its volume; and where they read the
//! variables that tell a service its database. Only reads; secrets on the lines that are shown are masked.

use super::masked::masked;
use crate::refuse;
use crate::settings::{Server, Settings};
use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use serde::Serialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Folders of others' work.
const LEFT_OUT: [&str; 3] = [".git", "node_modules", "target"];
/// Bytes of a file that is still read.
const LARGEST: u64 = 5 << 20;
/// Characters of a line that are shown.
const WIDEST: usize = 160;
/// The volume of the old database, as the guide calls it.
const VOLUME: &str = "postgres-data";
/// Addresses of this machine: as hosts they say nothing without the port.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
/// By which a service is told its database: those of `docker-compose.services.yml`, of libpq, and usual ones.
const VARIABLES: [&str; 18] = [
    "DATABASE_URL",
    "SPRING_DATASOURCE_URL",
    "SPRING_DATASOURCE_USERNAME",
    "SPRING_DATASOURCE_PASSWORD",
    "DB_HOST",
    "DB_PORT",
    "DB_NAME",
    "DB_USER",
    "DB_PASSWORD",
    "PGHOST",
    "PGPORT",
    "PGDATABASE",
    "PGUSER",
    "PGPASSWORD",
    "POSTGRES_HOST",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
];

/// What of the old database a line mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Database,
    Host,
    Port,
    Volume,
    /// A variable by which a service is told some database: not the old one by itself.
    Variable,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Database => "database",
            Kind::Host => "host",
            Kind::Port => "port",
            Kind::Volume => "volume",
            Kind::Variable => "variable",
        }
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mention {
    /// Below the directory.
    pub file: String,
    pub line: usize,
    pub kind: Kind,
    /// With its secrets masked.
    pub text: String,
}

/// All that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Mentions {
    pub directory: PathBuf,
    /// How many files were read.
    pub files: usize,
    pub mentions: Vec<Mention>,
    pub variables: Vec<Mention>,
    /// Files that were not read, each with why.
    pub not_read: Vec<String>,
}

/// Reads the files below `directory`.
///
/// # Errors
/// Refuses where it is no directory.
pub fn search(directory: &Path, settings: &Settings) -> Result<Mentions> {
    if !directory.is_dir() {
        refuse!("{} is no directory: --dir names the one with the services' files", directory.display());
    }
    let mut found = Mentions {
        directory: directory.to_path_buf(),
        files: 0,
        mentions: Vec::new(),
        variables: Vec::new(),
        not_read: Vec::new(),
    };
    let old = OldDatabase::of(settings);
    folder(directory, &old, &mut found)?;
    Ok(found)
}

fn folder(path: &Path, old: &OldDatabase<'_>, found: &mut Mentions) -> Result<()> {
    let entries = fs::read_dir(path).with_context(|| format!("reading {}", path.display()));
    let entries: Vec<_> = match entries {
        Ok(entries) => {
            entries.collect::<Result<_, _>>().with_context(|| format!("reading {}", path.display()))?
        }
        Err(error) if path != found.directory => {
            found.not_read.push(format!("{error:#}"));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let mut entries = entries;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (kind, path) = (entry.file_type()?, entry.path());
        if kind.is_dir() && !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            folder(&path, old, found)?;
        } else if kind.is_file() {
            let name = path.strip_prefix(&found.directory).unwrap_or(&path).display().to_string();
            match text(&path) {
                Ok(Some(text)) => {
                    found.files += 1;
                    old.look(&name, &text, found);
                }
                // Binary.
                Ok(None) => {}
                Err(why) => found.not_read.push(format!("{name}: {why:#}")),
            }
        }
    }
    Ok(())
}

/// `None`: it is no text.
fn text(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.contains(&0) {
        return Ok(None);
    }
    anyhow::ensure!(bytes.len() as u64 <= LARGEST, "larger than {} MiB", LARGEST >> 20);
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// What is looked for.
struct OldDatabase<'a> {
    source: &'a Server,
    /// Words by which a line is about one of the new stores.
    new: Vec<&'a str>,
    secrets: Vec<&'a str>,
}

impl<'a> OldDatabase<'a> {
    fn of(settings: &'a Settings) -> OldDatabase<'a> {
        let targets = [&settings.product, &settings.order, &settings.gateway];
        let hosts = targets.iter().map(|server| server.host.as_str());
        let hosts = hosts.filter(|host| *host != settings.source.host && !HERE.contains(host));
        let databases = targets.iter().map(|server| server.database.as_str());
        let new = hosts.chain(databases).chain(["postgres-product", "postgres-order", "postgres-gateway"]);
        let all = targets.into_iter().chain([&settings.source]);
        OldDatabase {
            source: &settings.source,
            new: new.collect(),
            secrets: all.map(|server| server.password.expose_secret()).collect(),
        }
    }

    fn look(&self, file: &str, text: &str, found: &mut Mentions) {
        for (number, line) in text.lines().enumerate() {
            let mention = |kind: Kind| Mention {
                file: file.to_string(),
                line: number + 1,
                kind,
                text: masked(line.trim(), &self.secrets).chars().take(WIDEST).collect(),
            };
            match self.kind(line) {
                Some(kind) => found.mentions.push(mention(kind)),
                None if VARIABLES.iter().any(|name| has_word(line, name)) => {
                    found.variables.push(mention(Kind::Variable));
                }
                None => {}
            }
        }
    }

    fn kind(&self, line: &str) -> Option<Kind> {
        let Server { host, port, database, .. } = self.source;
        let is_here = HERE.contains(&host.as_str());
        let hosts: &[&str] = if is_here { &HERE } else { &[host.as_str()] };
        let at = |host: &&str| has_word(line, &format!("{host}:{port}"));
        if has_word(line, database) {
            Some(Kind::Database)
        } else if hosts.iter().any(at) || !is_here && has_word(line, host) {
            Some(Kind::Host)
        } else if has_word(line, VOLUME) {
            Some(Kind::Volume)
        } else if has_word(line, &port.to_string()) && !self.new.iter().any(|new| has_word(line, new)) {
            Some(Kind::Port)
        } else {
            None
        }
    }
}

/// Whether it stands there as a whole word: `ecommerce_db` is not in `ecommerce_db2`.
fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(joins);
        let after = line[at + word.len()..].chars().next().is_some_and(joins);
        !before && !after
    })
}

impl Mentions {
    /// Nothing mentions the old database, and all could be read.
    pub fn is_clean(&self) -> bool {
        self.mentions.is_empty() && self.not_read.is_empty() && self.files > 0
    }

    pub fn count(&self) -> String {
        let mut files: Vec<&str> = self.mentions.iter().map(|mention| mention.file.as_str()).collect();
        files.dedup();
        let not_read = match self.not_read.len() {
            0 => String::new(),
            n => format!(", {n} not read"),
        };
        let (lines, files, read) = (self.mentions.len(), files.len(), self.files);
        format!("{lines} lines in {files} of {read} files mention the old database{not_read}")
    }

    pub fn text(&self) -> String {
        let mark = if self.is_clean() { "✓" } else { "✗" };
        let mut out = format!("{mark} {}\n", self.count());
        let lines = |mentions: &[Mention]| {
            let line = |Mention { file, line, kind, text }: &Mention| {
                format!("  {file}:{line}: {}: {text}\n", kind.name())
            };
            mentions.iter().map(line).collect::<String>()
        };
        out += &lines(&self.mentions);
        self.not_read.iter().for_each(|why| out += &format!("  not read: {why}\n"));
        if !self.variables.is_empty() {
            out += "Where services are told a database; see that it is the new one\n";
            out += &lines(&self.variables);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_mentions() {
        assert!(has_word("url = postgres://x/ecommerce_db?a", "ecommerce_db"));
        assert!(has_word("\"ecommerce_db\".public", "ecommerce_db"));
        for line in ["ecommerce_db2", "my_ecommerce_db", "ecommerce_db-old", ""] {
            assert!(!has_word(line, "ecommerce_db"), "{line}");
        }
        // A second one is a word, too.
        assert!(has_word("ecommerce_db2 ecommerce_db", "ecommerce_db"));
        assert!(!has_word("postgres-data-2", VOLUME) && !has_word("15432", "5432"));
    }
}
