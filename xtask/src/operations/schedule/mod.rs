//! Backups and drills at a time of the day: as units of systemd, or as lines of a crontab with a script. What is
//! written has a mark, and only what has it is replaced or removed. No secret is written: the file that holds
//! them is named.

pub mod crontab;
mod script;
pub mod systemd;

use crate::refuse;
use anyhow::{Context, Result};
use clap::ValueEnum;
use datapath::sha256::Sha256;
use serde::Serialize;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// In every file and block of ours.
pub const MARK: &str =
    "Written by `cargo xtask schedule install`; `cargo xtask schedule remove` takes it away again.";

/// Up to so many seconds later than said, by chance: of many machines not all begin at once.
pub const DELAY_SECONDS: u32 = 900;

/// What is done every day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// backup --target all
    Backup,
    /// restore-drill
    Drill,
}

impl What {
    pub const ALL: [What; 2] = [What::Backup, What::Drill];

    pub fn name(self) -> &'static str {
        match self {
            What::Backup => "backup",
            What::Drill => "drill",
        }
    }

    /// As the guide has it for backups; drills when they are made.
    pub fn usual_time(self) -> Time {
        match self {
            What::Backup => Time { hour: 2, minute: 0 },
            What::Drill => Time { hour: 4, minute: 0 },
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A time of the day, of the machine's own zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub hour: u8,
    pub minute: u8,
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        let wrong = || format!("expected a time of the day such as 02:00, found {text:?}");
        let two = |part: &str| match part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()) {
            true => part.parse::<u8>().ok(),
            false => None,
        };
        let parts = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
        match parts {
            Some((hour, minute)) if hour < 24 && minute < 60 => Ok(Time { hour, minute }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.hour, self.minute)
    }
}

/// One thing that is done every day.
#[derive(Clone, Debug)]
pub struct Job {
    pub what: What,
    pub environment: String,
    pub at: Time,
    /// Absolute, with its arguments.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Where it runs.
    pub directory: PathBuf,
    /// Variables with the secrets that the environment names, `NAME=value` on each line; it may be missing.
    pub variables: PathBuf,
    /// systemd: the unit that is started where it fails.
    pub on_failure: Option<String>,
}

impl Job {
    /// `xtask-backup-production`
    pub fn name(&self) -> String {
        name(self.what, &self.environment)
    }
}

/// An environment that is a file's path is known by the file's name, and by the path's hash: there may be two.
pub fn name(what: What, environment: &str) -> String {
    let plain = |text: &str| {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect::<String>()
    };
    let label = match environment.rsplit_once('/') {
        None => plain(environment),
        Some((_, file)) => {
            let mut hash = Sha256::new();
            hash.update(environment.as_bytes());
            format!("{}_{}", plain(file.strip_suffix(".toml").unwrap_or(file)), &hash.hex()[..8])
        }
    };
    format!("xtask-{what}-{label}")
}

/// What is installed, and how its last run ended.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    pub name: String,
    pub what: What,
    /// The unit's file, or the script that a crontab calls.
    pub file: PathBuf,
    /// When it is due next, in the words of who does it.
    pub next: String,
    /// When it ended last, and with which code; `None`: it has not, or nobody here knows.
    pub last: Option<String>,
    pub exit_code: Option<i32>,
}

/// A file of ours: replaced where it has the mark.
///
/// # Errors
/// Refuses to replace another's.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let context = || format!("writing {}", path.display());
    if is_ours(path)? == Some(false) {
        refuse!(
            "{} is none of this tool's files: it is left alone, and nothing was installed",
            path.display()
        );
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder).with_context(context)?;
    }
    let new = path.with_extension("xtask-new");
    // One that an earlier call was killed over keeps its mode otherwise.
    remove_if_there(&new)?;
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(&new);
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).with_context(context)?;
    fs::rename(&new, path).with_context(context)
}

/// Whether it has the mark; `None`: there is no such file.
fn is_ours(path: &Path) -> Result<Option<bool>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.contains(MARK))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Removes a file of ours. Whether it was there.
fn remove(path: &Path) -> Result<bool> {
    match is_ours(path)? {
        None => Ok(false),
        Some(false) => refuse!("{} is none of this tool's files: it is left alone", path.display()),
        Some(true) => {
            remove_if_there(path)?;
            Ok(true)
        }
    }
}

fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_whole() {
        assert_eq!("02:00".parse(), Ok(Time { hour: 2, minute: 0 }));
        assert_eq!("23:59".parse::<Time>().unwrap().to_string(), "23:59");
        for wrong in ["2:00", "24:00", "02:60", "02:00:00", "0200", "+2:00", ""] {
            assert!(wrong.parse::<Time>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_files_of_one_name_have_two_names() {
        assert_eq!(name(What::Backup, "production"), "xtask-backup-production");
        let (a, b) = (name(What::Drill, "/a/mine.toml"), name(What::Drill, "/b/mine.toml"));
        assert!(a.starts_with("xtask-drill-mine_") && a != b, "{a} {b}");
    }

    #[test]
    fn what_others_wrote_is_neither_replaced_nor_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("xtask-backup-x.timer");
        fs::write(&path, "[Timer]\n").unwrap();
        assert!(write(&path, MARK, 0o600).is_err() && remove(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[Timer]\n");
        fs::remove_file(&path).unwrap();
        write(&path, MARK, 0o600).unwrap();
        write(&path, &format!("{MARK}\nagain"), 0o600).unwrap();
        assert!(remove(&path).unwrap() && !remove(&path).unwrap());
    }
}
