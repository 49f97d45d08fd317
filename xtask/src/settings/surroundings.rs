//! The world that an environment file refers to, and an environment that is being filled in from it.

use super::environment::Environment;
use super::reader::At;
use super::shown::{Entry, Origin};
use super::values::Place;
use std::io;
use std::path::{Path, PathBuf};

/// The world that an environment file refers to.
pub trait Surroundings {
    fn variable(&self, name: &str) -> Option<&str>;
    /// # Errors
    /// Not there, may not be read, no plain file.
    fn file(&self, path: &Path) -> io::Result<Found>;
}

/// A file as it was found.
pub struct Found {
    pub bytes: Vec<u8>,
    /// Its permissions: 0o600.
    pub mode: u32,
}

pub(super) struct Resolving<'a, S> {
    pub environment: &'a Environment,
    pub outside: &'a S,
    pub entries: Vec<Entry>,
    pub problems: Vec<String>,
}

impl<S: Surroundings> Resolving<'_, S> {
    /// A path of the environment file: `~/` is the home directory, else it is relative to the file's own.
    pub fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.outside.variable("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            // Without a `.` in the middle, which reads badly.
            _ => {
                let directory = self.environment.path.parent().unwrap_or(Path::new(""));
                directory.join(text).components().collect()
            }
        }
    }

    pub fn place(&self, place: &Place) -> Result<PathBuf, String> {
        match place {
            Place::Path(path) => Ok(self.path(path)),
            Place::Variable(name) => match self.outside.variable(name).filter(|path| !path.is_empty()) {
                Some(path) => Ok(PathBuf::from(path)),
                None => Err(format!("${name} is not set: `export {name}=/its/path`")),
            },
        }
    }

    pub fn line<T>(&self, at: &At<T>) -> Origin {
        Origin::File { path: self.environment.path.clone(), line: Some(at.line) }
    }

    pub fn origin_of(&self, key: &str) -> String {
        let entry = self.environment.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| entry.origin.to_string()).unwrap_or_default()
    }
}
