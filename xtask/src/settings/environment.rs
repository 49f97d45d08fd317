//! An environment file that has been read, with flags and variables over it.

use super::file::{self, File};
use super::parts::{Firestore, Server, Services, Settings};
use super::shown::{self, Entry, Origin};
use anyhow::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The variables of the process, taken once at its start.
pub type Variables = BTreeMap<String, String>;

/// What the command line says of settings that have a flag; it stands over the variable
/// (`XTASK_FIRESTORE_RATE`), and that over the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    pub firestore_rate: Option<f64>,
}

/// An environment file that has been read, but not yet filled in with secrets.
#[derive(Debug)]
pub struct Environment {
    pub(super) name: String,
    /// Of the file, for messages; paths in the file are relative to its directory.
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// What the file says, but for the servers: those may be completed by a service file.
    pub(super) entries: Vec<Entry>,
}

impl Environment {
    /// An environment of `xtask/environments`.
    pub fn parse(name: &str, text: &str) -> Result<Environment> {
        Environment::read(name, &Path::new("xtask/environments").join(format!("{name}.toml")), text)
    }

    /// # Errors
    /// Refuses, with file and lines, what is not TOML, unknown keys, missing ones and wrong types: all
    /// of them at once, and without a value, because any may be a secret in the wrong place.
    pub fn read(name: &str, path: &Path, text: &str) -> Result<Environment> {
        let (file, entries) = file::read(path, text)?;
        Ok(Environment { name: name.to_string(), path: path.to_path_buf(), file, entries })
    }

    /// With flags and variables over what the file says.
    ///
    /// # Errors
    /// Refuses a variable that is not a number.
    pub fn with(mut self, flags: &Flags, variables: &Variables) -> Result<Environment> {
        let rate = over(flags.firestore_rate, "--firestore-rate", "XTASK_FIRESTORE_RATE", variables)?;
        if let Some((rate, origin)) = rate {
            if !(rate > 0.0 && rate.is_finite()) {
                crate::refuse!("{origin}: the rate has to be a number of writes/s above 0");
            }
            self.file.firestore.rate = rate;
            shown::set(&mut self.entries, "firestore.rate", rate.to_string(), origin);
        }
        let max = over(None::<u64>, "--max-quarantine", "XTASK_MAX_QUARANTINE", variables)?;
        if let Some((max, origin)) = max {
            self.file.policy.max_quarantine = Some(max);
            shown::set(&mut self.entries, "policy.max_quarantine", max.to_string(), origin);
        }
        Ok(self)
    }

    /// Whether servers started by `stack up` take the place of those in the file.
    pub fn uses_stack(&self) -> bool {
        self.file.stack
    }

    /// Paths are relative to the file's directory.
    fn services(&self) -> Services {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let mut services = self.file.services.clone();
        services.logs.values_mut().for_each(|log| *log = directory.join(&*log).components().collect());
        services
    }

    /// The settings for servers that this tool started itself: their addresses, all else as in the file.
    pub fn on(&self, source: Server, targets: [Server; 3], firestore: Firestore) -> Settings {
        let [product, order, gateway] = targets;
        let said = &self.file.firestore;
        Settings {
            environment: self.name.clone(),
            source,
            product,
            order,
            gateway,
            firestore: Firestore { prices: said.prices.clone(), max_cost: said.max_cost, ..firestore },
            services: self.services(),
            policy: self.file.policy.clone(),
            monitor: self.file.monitor.clone(),
            decommission: self.file.decommission.clone(),
        }
    }
}

/// A value of a flag, else of its variable. `None`: neither is given.
fn over<T: FromStr>(
    flag: Option<T>,
    name: &str,
    variable: &str,
    variables: &Variables,
) -> Result<Option<(T, Origin)>> {
    if let Some(value) = flag {
        return Ok(Some((value, Origin::Flag { name: name.to_string() })));
    }
    let Some(text) = variables.get(variable) else { return Ok(None) };
    match text.trim().parse() {
        Ok(value) => Ok(Some((value, Origin::Variable { name: variable.to_string() }))),
        Err(_) => crate::refuse!("${variable} is not a number that {name} takes: correct it, or unset it"),
    }
}
