//! An environment's settings: `xtask/environments/<env>.toml`, filled in from the process's
//! environment where the file says by which name. Pure: text and variables in, settings out.

use crate::model::{Database, NullPolicy};
use anyhow::{Result, bail};
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Everything that a phase needs to know of the environment; never its name.
#[derive(Clone, Debug)]
pub struct Settings {
    pub environment: String,
    pub source: Server,
    pub product: Server,
    pub order: Server,
    pub gateway: Server,
    pub firestore: Firestore,
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
    Require,
    Verify { root: Option<PathBuf>, full: bool },
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
    /// What a run may cost at most, in the currency of the prices.
    pub max_cost: Option<f64>,
}

/// What Firestore charges for 100,000 of each, which differs by region.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    pub writes: f64,
    pub reads: f64,
    pub deletes: f64,
    pub currency: String,
}

/// What an environment allows and asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Rows in quarantine that a run may have; none given: any number.
    pub max_quarantine: Option<u64>,
    /// What NULL becomes in a document.
    #[serde(default)]
    pub null_policy: NullPolicy,
    /// The zone of source time stamps that have none.
    #[serde(default = "utc")]
    pub source_zone: String,
    /// The services' login roles, shut out while the source is held back.
    #[serde(default)]
    pub freeze_roles: Vec<String>,
}

fn utc() -> String {
    "UTC".into()
}

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    source: ServerFile,
    targets: BTreeMap<Database, ServerFile>,
    firestore: FirestoreFile,
    policy: Policy,
    /// Whether servers that `cargo xtask stack up` started take the place of those named here.
    #[serde(default)]
    stack: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerFile {
    host: String,
    port: u16,
    database: String,
    user: String,
    password: SecretFrom,
    tls: TlsMode,
    tls_root: Option<PathBuf>,
}

/// Where a secret is found: never the secret itself.
#[derive(Debug, Deserialize)]
#[serde(try_from = "toml::Value")]
enum SecretFrom {
    Env(String),
}

impl TryFrom<toml::Value> for SecretFrom {
    type Error = &'static str;

    /// By hand, because serde's own errors repeat what they did not expect: it may be a password.
    fn try_from(value: toml::Value) -> Result<SecretFrom, &'static str> {
        match value.as_table().map(|t| (t.len(), t.get("env"))) {
            Some((1, Some(toml::Value::String(name)))) => Ok(SecretFrom::Env(name.clone())),
            _ => Err("a password is named, never written down: { env = \"NAME_OF_A_VARIABLE\" }"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum TlsMode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirestoreFile {
    project: String,
    #[serde(default = "default_database")]
    database: String,
    /// Only an environment that says so talks to an emulator (DESIGN rule 17).
    #[serde(default)]
    emulator: bool,
    /// The emulator's address, where `FIRESTORE_EMULATOR_HOST` does not say another.
    emulator_host: Option<String>,
    credentials: Option<PathBuf>,
    #[serde(default = "default_rate")]
    rate: f64,
    prices: Option<Prices>,
    max_cost: Option<f64>,
}

fn default_database() -> String {
    "(default)".into()
}

fn default_rate() -> f64 {
    10_000.0
}

/// The variables of the process, taken once at its start.
pub type Variables = BTreeMap<String, String>;

/// An environment file that has been read, but not yet filled in with secrets.
#[derive(Debug)]
pub struct Environment {
    name: String,
    file: File,
}

impl Environment {
    /// # Errors
    /// With the file's line, for what is not TOML, an unknown key, a missing one or a wrong type.
    pub fn parse(name: &str, text: &str) -> Result<Environment> {
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                // Not the error as a whole: it shows the line, which may hold what should not be there.
                let line =
                    error.span().and_then(|s| text.get(..s.start)).map(|t| t.matches('\n').count() + 1);
                let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                crate::refuse!("environment `{name}`: {line}{}", error.message());
            }
        };
        for database in Database::ALL {
            if !file.targets.contains_key(&database) {
                crate::refuse!("environment `{name}`: [targets.{database}] is missing");
            }
        }
        Ok(Environment { name: name.to_string(), file })
    }

    /// Whether servers started by `stack up` take the place of those in the file.
    pub fn uses_stack(&self) -> bool {
        self.file.stack
    }

    /// The settings for servers that this tool started itself: the file's policy, their addresses.
    pub fn on(&self, source: Server, targets: [Server; 3], firestore: Firestore) -> Settings {
        let [product, order, gateway] = targets;
        Settings {
            environment: self.name.clone(),
            source,
            product,
            order,
            gateway,
            firestore,
            policy: self.file.policy.clone(),
        }
    }

    /// The settings with the secrets that the file names.
    pub fn settings(&self, variables: &Variables) -> Result<Settings> {
        let server = |label: &str, file: &ServerFile| self.server(label, file, variables);
        let target = |database: Database| match self.file.targets.get(&database) {
            Some(file) => server(database.name(), file),
            None => bail!("environment `{}`: [targets.{database}] is missing", self.name),
        };
        Ok(Settings {
            environment: self.name.clone(),
            source: server("source", &self.file.source)?,
            product: target(Database::Product)?,
            order: target(Database::Order)?,
            gateway: target(Database::Gateway)?,
            firestore: self.firestore(variables)?,
            policy: self.file.policy.clone(),
        })
    }

    fn server(&self, label: &str, file: &ServerFile, variables: &Variables) -> Result<Server> {
        let SecretFrom::Env(name) = &file.password;
        let Some(password) = variables.get(name) else {
            let or = if self.file.stack { ", or start local servers: `cargo xtask stack up`" } else { "" };
            crate::refuse!(
                "environment `{}` takes the password of {label} ({}@{}:{}) from ${name}, which is not set: \
                 `read -rs {name} && export {name}`{or}",
                self.name,
                file.user,
                file.host,
                file.port
            );
        };
        let root = file.tls_root.clone();
        Ok(Server {
            label: label.to_string(),
            host: file.host.clone(),
            port: file.port,
            database: file.database.clone(),
            user: file.user.clone(),
            password: SecretString::from(password.clone()),
            password_from: format!("${name}"),
            tls: match file.tls {
                TlsMode::Disable => Tls::Disable,
                TlsMode::Require => Tls::Require,
                TlsMode::VerifyCa => Tls::Verify { root, full: false },
                TlsMode::VerifyFull => Tls::Verify { root, full: true },
            },
        })
    }

    fn firestore(&self, variables: &Variables) -> Result<Firestore> {
        let file = &self.file.firestore;
        let ambient = variables.get("FIRESTORE_EMULATOR_HOST");
        let emulator = match (file.emulator, ambient, &file.emulator_host) {
            (false, Some(host), _) => crate::refuse!(
                "FIRESTORE_EMULATOR_HOST={host} is set, but environment `{}` is not for an emulator: unset it",
                self.name
            ),
            (false, None, _) => None,
            (true, Some(host), _) => Some(host.clone()),
            (true, None, Some(host)) => Some(host.clone()),
            (true, None, None) => crate::refuse!(
                "environment `{}` wants an emulator: set FIRESTORE_EMULATOR_HOST=host:port or \
                 firestore.emulator_host",
                self.name
            ),
        };
        Ok(Firestore {
            project: file.project.clone(),
            database: file.database.clone(),
            emulator,
            credentials: file.credentials.clone(),
            rate: file.rate,
            prices: file.prices.clone(),
            max_cost: file.max_cost,
        })
    }
}
