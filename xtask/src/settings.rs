//! An environment's settings: `xtask/environments/<env>.toml`, filled in from what the file names:
//! variables, files with secrets, libpq's password and service files. Pure: the world is asked through
//! [`Surroundings`].
//!
//! A key is added in two places: its field here, and the line in `settings/file.rs` that reads it.

mod file;
mod google;
mod libpq;
mod nearest;
mod reader;
mod resolve;
mod secrets;
mod shown;
#[cfg(test)]
mod tests;
mod values;

pub use nearest::nearest;
pub use resolve::{Found, Surroundings};
pub use shown::{Entry, Origin, Shown};
pub use values::human;

use crate::model::Database;
use anyhow::Result;
use datapath::document::NullPolicy;
use datapath::firestore::Address;
use file::File;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that a phase needs to know of the environment; never its name.
#[derive(Clone, Debug)]
pub struct Settings {
    pub environment: String,
    pub source: Server,
    pub product: Server,
    pub order: Server,
    pub gateway: Server,
    pub firestore: Firestore,
    pub services: Services,
    pub policy: Policy,
}

impl Settings {
    pub fn target(&self, database: Database) -> &Server {
        match database {
            Database::Product => &self.product,
            Database::Order => &self.order,
            Database::Gateway => &self.gateway,
        }
    }
}

/// One database on one server, with all that it takes to connect.
#[derive(Clone, Debug)]
pub struct Server {
    /// `source`, `product`, `order`, `gateway`.
    pub label: String,
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    pub password: SecretString,
    /// Where the password came from, for messages.
    pub password_from: String,
    pub tls: Tls,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Server { label, host, port, database, user, .. } = self;
        write!(f, "{label} ({user}@{host}:{port}/{database})")
    }
}

/// How a connection is protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    Disable,
    /// Encrypted, to whoever answers.
    Require,
    /// The server's certificate comes from `root`; `full`: and is for this host.
    Verify {
        root: PathBuf,
        full: bool,
    },
}

impl Tls {
    /// The word that libpq uses for it.
    pub fn mode(&self) -> &'static str {
        match self {
            Tls::Disable => "disable",
            Tls::Require => "require",
            Tls::Verify { full: false, .. } => "verify-ca",
            Tls::Verify { full: true, .. } => "verify-full",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Firestore {
    pub project: String,
    pub database: String,
    /// `host:port` of an emulator; `None` for Google's service.
    pub emulator: Option<String>,
    /// A service account's key; `None`: application default credentials.
    pub credentials: Option<PathBuf>,
    /// Writes/s at most on a real project.
    pub rate: f64,
    pub prices: Option<Prices>,
    /// What a run may cost at most, in the currency of `prices`.
    pub max_cost: Option<f64>,
}

/// What Google charges, per 100,000 documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    pub reads: f64,
    pub writes: f64,
    pub deletes: f64,
    /// `USD`
    pub currency: String,
}

/// Where the services answer: a URL, or `container:NAME`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    pub product: Option<String>,
    pub order: Option<String>,
    pub user: Option<String>,
    pub gateway: Option<String>,
}

impl Services {
    /// Each with where it answers, in the order in which they are started: who is asked before who asks.
    pub fn in_order(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("user-service", self.user.as_deref()),
            ("product-service", self.product.as_deref()),
            ("order-service", self.order.as_deref()),
            ("api-gateway", self.gateway.as_deref()),
        ]
    }
}

/// What an environment allows and asks for.
#[derive(Clone, Debug)]
pub struct Policy {
    /// A command that writes to a target or holds the source back wants `--confirm <source database>`.
    pub confirm: bool,
    /// Rows in quarantine that a run may have; none given: any number.
    pub max_quarantine: Option<u64>,
    /// Whether Firestore may be an emulator.
    pub emulator: bool,
    /// How old the last green rehearsal may be for `migrate`; none given: none is wanted.
    pub rehearsal_max_age: Option<Duration>,
    /// MB/s that are read from the source at most.
    pub source_rate: Option<f64>,
    /// Sessions other than ours that may be active on the source before the exports wait.
    pub max_active_sessions: Option<u64>,
    /// How far the source's replicas may be behind before the exports wait.
    pub max_replication_lag: Option<Duration>,
    /// The services' login roles on the source, which a freeze sets NOLOGIN.
    pub freeze_roles: Vec<String>,
    /// The true encoding of a SQL_ASCII source.
    pub source_encoding: Option<String>,
    /// What NULL becomes in a document.
    pub null_policy: NullPolicy,
    /// The zone of source time stamps that have none.
    pub source_zone: String,
    /// What the person accepted by `--accept`; never from a file.
    pub accepted: Vec<String>,
}

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
    name: String,
    /// Of the file, for messages; paths in the file are relative to its directory.
    path: PathBuf,
    file: File,
    /// What the file says, but for the servers: those may be completed by a service file.
    entries: Vec<Entry>,
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
        let rate =
            resolve::over(flags.firestore_rate, "--firestore-rate", "XTASK_FIRESTORE_RATE", variables)?;
        if let Some((rate, origin)) = rate {
            if !(rate > 0.0 && rate.is_finite()) {
                crate::refuse!("{origin}: the rate has to be a number of writes/s above 0");
            }
            self.file.firestore.rate = rate;
            shown::set(&mut self.entries, "firestore.rate", rate.to_string(), origin);
        }
        let max = resolve::over(None::<u64>, "--max-quarantine", "XTASK_MAX_QUARANTINE", variables)?;
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
            services: self.file.services.clone(),
            policy: self.file.policy.clone(),
        }
    }

    /// The settings with the secrets that the file names.
    ///
    /// # Errors
    /// Refuses with everything that is missing or contradicts itself.
    pub fn settings(&self, outside: &impl Surroundings) -> Result<Settings> {
        let resolved = resolve::resolve(self, outside);
        match resolved.settings {
            Some(settings) if resolved.problems.is_empty() => Ok(settings),
            _ => {
                let or =
                    if self.file.stack { "\nOr start local servers: `cargo xtask stack up`" } else { "" };
                let problems = resolved.problems.join("\n  ");
                crate::refuse!("{} cannot be used:\n  {problems}{or}", self.path.display())
            }
        }
    }

    /// Every value with its origin; what is missing is said, not refused.
    pub fn shown(&self, outside: &impl Surroundings) -> Shown {
        let resolved = resolve::resolve(self, outside);
        self.show(resolved.entries, resolved.problems)
    }

    /// The same where local servers take the place of the file's.
    pub fn shown_on(&self, settings: &Settings, directory: &Path) -> Shown {
        self.show(shown::of_stack(settings, directory, &self.entries), Vec::new())
    }

    fn show(&self, values: Vec<Entry>, problems: Vec<String>) -> Shown {
        Shown { environment: self.name.clone(), file: self.path.clone(), values, problems }
    }
}

impl From<&Firestore> for Address {
    fn from(settings: &Firestore) -> Address {
        Address {
            project: settings.project.clone(),
            database: settings.database.clone(),
            emulator: settings.emulator.clone(),
            credentials: settings.credentials.clone(),
        }
    }
}
