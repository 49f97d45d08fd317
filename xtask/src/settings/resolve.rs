//! Fills an environment in with what its file names: service files, secrets, credentials. Nothing stops
//! it: what is missing is collected.

use super::environment::Environment;
use super::file::ServerFile;
use super::libpq::{self, Service};
use super::parts::{Server, Settings, Tls};
use super::reader::At;
use super::secrets::{Who, of_text, readable_by_others};
use super::shown::{self, Entry, Origin, Shown, section};
use super::surroundings::{Resolving, Surroundings};
use super::values::{Place, SecretFrom, TLS_MODES, TlsMode};
use crate::model::Database;
use anyhow::Result;
use secrecy::SecretString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// What an environment comes to.
pub(super) struct Resolved {
    /// `None` only where there are problems.
    pub settings: Option<Settings>,
    pub entries: Vec<Entry>,
    pub problems: Vec<String>,
}

impl Environment {
    /// The settings with the secrets that the file names.
    ///
    /// # Errors
    /// Refuses with everything that is missing or contradicts itself.
    pub fn settings(&self, outside: &impl Surroundings) -> Result<Settings> {
        let resolved = resolve(self, outside);
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
        let resolved = resolve(self, outside);
        self.show(resolved.entries, resolved.problems)
    }

    /// The same where local servers take the place of the file's.
    pub fn shown_on(&self, settings: &Settings, directory: &Path, outside: &impl Surroundings) -> Shown {
        let entries: Vec<Entry> = self.entries.iter().cloned().chain(self.token_entry(outside)).collect();
        self.show(shown::of_stack(settings, directory, &entries), Vec::new())
    }

    fn show(&self, values: Vec<Entry>, problems: Vec<String>) -> Shown {
        Shown { environment: self.name.clone(), file: self.path.clone(), values, problems }
    }
}

pub(super) fn resolve(environment: &Environment, outside: &impl Surroundings) -> Resolved {
    let (entries, problems) = Default::default();
    let mut all = Resolving { environment, outside, entries, problems };
    let source = all.server("source", &environment.file.source);
    let [product, order, gateway] = &environment.file.targets;
    let product = all.server(Database::Product.name(), product);
    let order = all.server(Database::Order.name(), order);
    let gateway = all.server(Database::Gateway.name(), gateway);
    all.entries.extend_from_slice(&environment.entries);
    all.entries.extend(environment.token_entry(outside));
    let firestore = all.firestore();
    let settings = match (source, product, order, gateway) {
        (Some(source), Some(product), Some(order), Some(gateway)) => {
            Some(environment.on(source, [product, order, gateway], firestore))
        }
        _ => None,
    };
    // What was found beside the file goes to its like.
    all.entries.sort_by_key(|entry| shown::rank(&entry.key));
    Resolved { settings, entries: all.entries, problems: all.problems }
}

/// A value and where it comes from.
type Sourced<T> = (T, Origin);

/// A service, and the file in which it was found.
struct Of {
    path: PathBuf,
    name: String,
    values: Service,
}

impl<S: Surroundings> Resolving<'_, S> {
    fn server(&mut self, label: &str, file: &ServerFile) -> Option<Server> {
        let service = self.service(label, file);
        let lost = file.service.is_some() && service.is_none();
        let problems = self.problems.len();
        let server = self.merged(label, file, service.as_ref());
        if lost {
            // What is missing is missing because of it.
            self.problems.truncate(problems);
        }
        server
    }

    fn merged(&mut self, label: &str, file: &ServerFile, service: Option<&Of>) -> Option<Server> {
        let says = |key: &str| service.and_then(|s| s.get(key));
        let problems = self.problems.len();
        let host = self.merge(label, "host", &file.host, says("host"));
        // As in libpq; without a service it is asked for.
        let usual = || service.map(|_| ("5432".to_string(), Origin::Default));
        let port: Option<u16> = self.merge(label, "port", &file.port, says("port").or_else(usual));
        let database = self.merge(label, "database", &file.database, says("dbname"));
        let user = self.merge(label, "user", &file.user, says("user"));
        if let (Some(service), true) = (service, self.problems.len() > problems) {
            self.problems.push(format!(
                "{label}: neither {} nor the service [{}] in {} says all of that: add it to either",
                self.environment.path.display(),
                service.name,
                service.path.display()
            ));
        }
        let who = host.zip(port).zip(database.zip(user));
        let who = who.map(|((host, port), (database, user))| Who { host, port, database, user });
        let password = self.password(label, file, service, who.as_ref());
        let tls = self.tls(label, file, service);
        let (Who { host, port, database, user }, (password, origin), tls) = (who?, password?, tls?);
        let password_from = origin.to_string();
        Some(Server { label: label.to_string(), host, port, database, user, password, password_from, tls })
    }

    /// What the service file says, where the environment file names one.
    fn service(&mut self, label: &str, file: &ServerFile) -> Option<Of> {
        let (name, place) = file.service.as_ref().zip(file.service_file.as_ref())?;
        let name = name.value.clone();
        let found = self.place(&place.value).and_then(|path| {
            let found = self.outside.file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let text =
                String::from_utf8(found.bytes).map_err(|_| format!("{}: not UTF-8", path.display()))?;
            let values = libpq::service(&text, &name).map_err(|e| format!("{}: {e}", path.display()))?;
            // libpq does not look, but a password is a password.
            let open =
                values.contains_key("password").then(|| readable_by_others(&path, found.mode)).flatten();
            open.map_or(Ok(Of { path, name, values }), Err)
        });
        found.map_err(|error| self.problems.push(format!("{label}: service file {error}"))).ok()
    }

    /// What the environment file says, else the service.
    fn merge<T>(
        &mut self,
        label: &str,
        key: &str,
        file: &Option<At<T>>,
        service: Option<Sourced<String>>,
    ) -> Option<T>
    where
        T: Clone + Display + FromStr,
    {
        let full = format!("{}.{key}", section(label));
        let from_service = || {
            let (text, origin) = service?;
            let value = text.parse().ok().filter(|_| !text.is_empty() && !text.contains(','));
            Some((value, origin))
        };
        let found = file.as_ref().map(|at| (Some(at.value.clone()), self.line(at)));
        let (value, origin) = match found.or_else(from_service) {
            Some((Some(value), origin)) => (Some(value), origin),
            Some((None, origin)) => {
                self.problems.push(format!("{full}: {origin} does not hold one {key}"));
                (None, origin)
            }
            None => {
                self.problems.push(format!("{full} is missing"));
                (None, Origin::Nowhere)
            }
        };
        let shown = value.as_ref().map(T::to_string);
        self.entries.push(Entry { key: full, value: shown, present: None, origin });
        value
    }

    /// Of the environment file, of the service, or of the password file that the service names.
    fn password(
        &mut self,
        label: &str,
        file: &ServerFile,
        service: Option<&Of>,
        who: Option<&Who>,
    ) -> Option<Sourced<SecretString>> {
        let said = |key: &str| service.and_then(|s| s.get(key));
        let (origin, found) = match (&file.password, said("password"), said("passfile")) {
            (Some(at), ..) => self.secret(&at.value, self.line(at), who),
            (None, Some((password, origin)), _) => (origin, of_text(password)),
            (None, None, Some((path, origin))) => {
                self.secret(&SecretFrom::Pgpass(Place::Path(path)), origin, who)
            }
            (None, None, None) => (Origin::Nowhere, Err("is nowhere: add `password`".to_string())),
        };
        let key = format!("{}.password", section(label));
        let present = Some(found.is_ok());
        self.entries.push(Entry { key, value: None, present, origin: origin.clone() });
        let problem = |problem: String| {
            let who = who.map(|who| format!(" ({who})")).unwrap_or_default();
            self.problems.push(format!("the password of {label}{who} {problem}"));
        };
        found.map_err(problem).ok().map(|secret| (secret, origin))
    }

    fn tls(&mut self, label: &str, file: &ServerFile, service: Option<&Of>) -> Option<Tls> {
        let says = |key: &str| service.and_then(|s| s.get(key));
        let key = format!("{}.tls", section(label));
        let (mode, origin) = match (&file.tls, says("sslmode")) {
            (Some(at), _) => (Ok(at.value), self.line(at)),
            (None, Some((mode, origin))) => (libpq::tls(&mode), origin),
            (None, None) => {
                (Err("is missing: disable, require, verify-ca or verify-full".into()), Origin::Nowhere)
            }
        };
        let root = match (&file.tls_root, says("sslrootcert")) {
            (Some(at), _) => Some((self.path(&at.value), self.line(at))),
            (None, Some((path, origin))) => Some((self.path(&path), origin)),
            (None, None) => None,
        };
        let shown = mode.as_ref().ok().and_then(|mode| TLS_MODES.iter().find(|(_, m)| m == mode));
        let shown = shown.map(|(name, _)| name.to_string());
        self.entries.push(Entry { key: key.clone(), value: shown, present: None, origin });
        if let Some((path, origin)) = &root {
            let (key, value) = (format!("{key}_root"), Some(path.display().to_string()));
            self.entries.push(Entry { key, value, present: None, origin: origin.clone() });
        }
        let tls = mode.and_then(|mode| self.verified(mode, root.map(|(path, _)| path)));
        tls.map_err(|problem| self.problems.push(format!("{key} {problem}"))).ok()
    }

    /// A mode with what it needs.
    fn verified(&self, mode: TlsMode, root: Option<PathBuf>) -> Result<Tls, String> {
        let full = mode == TlsMode::VerifyFull;
        match (mode, root) {
            (TlsMode::Disable, None) => Ok(Tls::Disable),
            (TlsMode::Require, None) => Ok(Tls::Require),
            (TlsMode::Disable | TlsMode::Require, Some(_)) => {
                Err("looks at no certificate, but tls_root names \
                 one: say verify-full, or take tls_root out"
                    .into())
            }
            (TlsMode::VerifyCa | TlsMode::VerifyFull, None) => {
                Err("wants a certificate to verify the server's \
                 with: tls_root = \"path of the authority's certificate (PEM)\""
                    .into())
            }
            (TlsMode::VerifyCa | TlsMode::VerifyFull, Some(root)) => {
                let shown = root.display();
                match self.outside.file(&root) {
                    Err(error) => {
                        Err(format!("takes its root certificate from {shown}, which cannot be read: {error}"))
                    }
                    Ok(found) if !holds_certificate(&found.bytes) => {
                        Err(format!("takes its root certificate from {shown}, which holds none (PEM)"))
                    }
                    Ok(_) => Ok(Tls::Verify { root, full }),
                }
            }
        }
    }
}

impl Of {
    fn get(&self, key: &str) -> Option<Sourced<String>> {
        let (value, line) = self.values.get(key)?;
        Some((value.clone(), Origin::Service { path: self.path.clone(), line: *line }))
    }
}

fn holds_certificate(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).contains("-----BEGIN CERTIFICATE-----")
}
