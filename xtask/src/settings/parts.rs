//! What an environment comes to: servers, Firestore, services, policy.

use super::afterwards::{Decommission, Monitor};
use crate::forecast::Prices;
use crate::model::{Database, Service};
use datapath::document::NullPolicy;
use datapath::firestore::Address;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
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
    pub monitor: Monitor,
    pub decommission: Decommission,
}

impl Settings {
    pub fn target_mut(&mut self, database: Database) -> &mut Server {
        match database {
            Database::Product => &mut self.product,
            Database::Order => &mut self.order,
            Database::Gateway => &mut self.gateway,
        }
    }

    pub fn target(&self, database: Database) -> &Server {
        match database {
            Database::Product => &self.product,
            Database::Order => &self.order,
            Database::Gateway => &self.gateway,
        }
    }

    /// What a command is typed with that changes something; nothing, where the policy asks for nothing.
    pub fn confirmation(&self) -> String {
        match self.policy.confirm {
            true => format!(" --confirm {}", self.source.database),
            false => String::new(),
        }
    }

    /// The roles of the source that a freeze keeps from logging in, by name.
    pub fn frozen_roles(&self) -> Vec<String> {
        let mut roles = self.policy.freeze_roles.clone();
        roles.extend(self.services.roles.values().cloned());
        roles.sort();
        roles.dedup();
        roles
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

/// The shop's services, as far as the environment knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Where each answers: a URL, or `container:NAME`.
    pub endpoints: BTreeMap<Service, String>,
    /// The role by which each logs in to the old database.
    pub roles: BTreeMap<Service, String>,
    /// The shop's compose file, which stops and starts those of them that it has.
    pub compose: Option<PathBuf>,
    /// The shell command that stops each, and the one that starts it.
    pub stop: BTreeMap<Service, String>,
    pub start: BTreeMap<Service, String>,
    /// Where these run.
    pub directory: PathBuf,
    /// The files in which each is told its database, as far as they are named: for people to revert.
    pub files: BTreeMap<Service, Vec<String>>,
    /// The files that they log to.
    pub logs: BTreeMap<Service, PathBuf>,
}

impl Services {
    /// The same for servers that are not those of the environment: the shop's services do not work on them, and are
    /// left alone.
    pub fn left_alone(self) -> Services {
        Services { compose: None, stop: BTreeMap::new(), start: BTreeMap::new(), ..self }
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
    /// Login roles on the source which a freeze sets NOLOGIN, beside those of the services.
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
