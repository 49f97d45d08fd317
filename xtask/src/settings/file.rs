//! The environment file as it is written.

use super::afterwards::{Decommission, Limits, Monitor, Worse};
use super::parts::{Policy, Services};
use super::reader::{Asked, At, Notes, Section};
use super::shown::Entry;
use super::values::{self, Parsed, Place, SecretFrom, TlsMode};
use crate::forecast::Prices;
use crate::model::{Database, Service};
use anyhow::{Context, Result};
use datapath::document::NullPolicy;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use toml::de::{DeTable, DeValue};

#[derive(Debug)]
pub(super) struct File {
    /// Whether servers that `cargo xtask stack up` started take the place of those named here.
    pub stack: bool,
    pub source: ServerFile,
    /// In the order of `Database::ALL`.
    pub targets: [ServerFile; 3],
    pub firestore: FirestoreFile,
    pub services: Services,
    /// The token of whoever tests the services.
    pub token: Option<At<SecretFrom>>,
    pub policy: Policy,
    pub monitor: Monitor,
    pub decommission: Decommission,
}

/// How to connect to a database; a service file may say what is not here.
#[derive(Debug)]
pub(super) struct ServerFile {
    pub host: Option<At<String>>,
    pub port: Option<At<u16>>,
    pub database: Option<At<String>>,
    pub user: Option<At<String>>,
    pub password: Option<At<SecretFrom>>,
    pub tls: Option<At<TlsMode>>,
    pub tls_root: Option<At<String>>,
    pub service: Option<At<String>>,
    pub service_file: Option<At<Place>>,
}

#[derive(Debug)]
pub(super) struct FirestoreFile {
    pub project: String,
    pub database: String,
    /// Only an environment that says so talks to an emulator (DESIGN rule 17).
    pub emulator: bool,
    /// The emulator's address, where `FIRESTORE_EMULATOR_HOST` does not say another.
    pub emulator_host: Option<At<String>>,
    pub credentials: Option<At<String>>,
    pub rate: f64,
    pub prices: Option<Prices>,
    pub max_cost: Option<f64>,
}

/// Reads the whole file. All that is wrong is refused at once.
pub(super) fn read(path: &Path, text: &str) -> Result<(File, Vec<Entry>)> {
    let notes = Notes::new(text, path);
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            // Not the error as a whole: it shows the line, which may hold what should not be there.
            let line = error.span().map(|span| format!("line {}: ", notes.line(span.start)));
            crate::refuse!("{}: {}{}", path.display(), line.unwrap_or_default(), error.message());
        }
    };
    let file = all(&notes, document.get_ref());
    match notes.finish() {
        Ok(entries) => Ok((file, entries)),
        Err(problems) => match &problems[..] {
            [one] => crate::refuse!("{}: {one}", path.display()),
            several => crate::refuse!("{}:\n  {}", path.display(), several.join("\n  ")),
        },
    }
}

/// The full name of every key that the reader knows: `targets.order.host`. It is asked with an empty file first.
/// Some tables are read only where they are there, so the next file has those that it asked for, until it asks for
/// no others.
pub fn keys() -> Result<BTreeSet<String>> {
    let mut known = Asked::default();
    loop {
        let text: String = known.tables.iter().map(|table| format!("[{table}]\n")).collect();
        let document = DeTable::parse(&text).context("a file of empty tables")?;
        let notes = Notes::new(&text, Path::new(""));
        all(&notes, document.get_ref());
        let asked = notes.asked();
        if asked.tables == known.tables {
            return Ok(asked.keys);
        }
        known = asked;
    }
}

fn all<'a>(notes: &'a Notes<'a>, document: &'a DeTable<'a>) -> File {
    let mut top = Section::top(notes, document);
    let stack = top.or("stack", values::yes_or_no, false);
    let source = server(top.needed_table("source"));
    let mut targets = top.needed_table("targets");
    let of_targets = Database::ALL.map(|database| server(targets.needed_table(database.name())));
    targets.finish();
    let firestore = firestore(top.needed_table("firestore"));
    let (services, token) = services(top.table("services"), notes.directory());
    let policy = policy(top.needed_table("policy"));
    let monitor = monitor(top.table("monitor"));
    let decommission = decommission(top.table("decommission"));
    top.finish();
    File { stack, source, targets: of_targets, firestore, services, token, policy, monitor, decommission }
}

fn server(mut section: Section<'_>) -> ServerFile {
    let server = ServerFile {
        host: section.take("host", values::text),
        port: section.take("port", values::port),
        database: section.take("database", values::text),
        user: section.take("user", values::text),
        password: section.take("password", values::secret),
        tls: section.take("tls", values::tls_mode),
        tls_root: section.take("tls_root", values::text),
        service: section.take("service", values::text),
        service_file: section.take("service_file", values::place),
    };
    match (&server.service, &server.service_file) {
        // What it does not say either is found when both are put together.
        (Some(_), _) => section.require("service_file"),
        (None, Some(_)) => section.require("service"),
        (None, None) => ["host", "port", "database", "user", "password", "tls"]
            .into_iter()
            .for_each(|key| section.require(key)),
    }
    section.finish();
    server
}

fn firestore(mut section: Section<'_>) -> FirestoreFile {
    let file = FirestoreFile {
        project: section.need("project", values::text),
        database: section.or("database", values::text, "(default)".to_string()),
        emulator: section.or("emulator", values::yes_or_no, false),
        emulator_host: section.take("emulator_host", values::text),
        credentials: section.take("credentials", values::text),
        rate: section.or("rate", values::rate, 10_000.0),
        prices: prices(section.table("prices")),
        max_cost: section.get("max_cost", values::rate),
    };
    if file.max_cost.is_some() {
        // It could not be said when it is reached.
        section.require("prices");
    }
    section.finish();
    file
}

fn prices(mut section: Section<'_>) -> Option<Prices> {
    if !section.is_there() {
        return None;
    }
    let prices = Prices {
        reads: section.need("reads", values::amount),
        writes: section.need("writes", values::amount),
        deletes: section.need("deletes", values::amount),
        currency: section.or("currency", values::text, "USD".to_string()),
    };
    section.finish();
    Some(prices)
}

/// `directory`: of the file, to which its paths are relative.
fn services(mut section: Section<'_>, directory: &Path) -> (Services, Option<At<SecretFrom>>) {
    let endpoints = of_services(&mut section, values::endpoint);
    let mut roles = section.table("roles");
    let mut of = |key: &'static str| {
        let mut table = section.table(key);
        let values = if table.is_there() { of_services(&mut table, values::text) } else { BTreeMap::new() };
        table.finish();
        values
    };
    let (stop, start, logs) = (of("stop"), of("start"), of("logs"));
    let mut files = section.table("files");
    let named = if files.is_there() { of_services(&mut files, values::names) } else { BTreeMap::new() };
    files.finish();
    let compose = section.get("compose", values::text);
    let services = Services {
        endpoints,
        roles: of_services(&mut roles, values::text),
        // Without a `.` in the middle, which reads badly.
        compose: compose.map(|path| directory.join(path).components().collect()),
        stop,
        start,
        directory: directory.to_path_buf(),
        files: named,
        logs: logs.into_iter().map(|(service, path)| (service, path.into())).collect(),
    };
    let token = section.take("token", values::token);
    roles.finish();
    section.finish();
    (services, token)
}

/// A value for each service that has one.
fn of_services<T>(section: &mut Section<'_>, parse: fn(&DeValue<'_>) -> Parsed<T>) -> BTreeMap<Service, T> {
    let values = Service::ALL.map(|service| (service, section.get(service.key(), parse)));
    values.into_iter().filter_map(|(service, value)| Some((service, value?))).collect()
}

fn policy(mut section: Section<'_>) -> Policy {
    let policy = Policy {
        confirm: section.or("confirm", values::yes_or_no, false),
        max_quarantine: section.get("max_quarantine", values::count),
        emulator: section.or("emulator", values::yes_or_no, true),
        rehearsal_max_age: section.get("rehearsal_max_age", values::duration),
        source_rate: section.get("source_rate", values::rate),
        max_active_sessions: section.get("max_active_sessions", values::count),
        max_replication_lag: section.get("max_replication_lag", values::duration),
        freeze_roles: section.or_shown("freeze_roles", values::names, "none".to_string(), Vec::new()),
        source_encoding: section.get("source_encoding", values::text),
        null_policy: section.or_shown(
            "null_policy",
            values::null_policy,
            "default".to_string(),
            NullPolicy::Default,
        ),
        source_zone: section.or("source_zone", values::text, "UTC".to_string()),
        accepted: Vec::new(),
    };
    section.finish();
    policy
}

const DAY: u64 = 86_400;

fn monitor(section: Section<'_>) -> Monitor {
    let mut said = Said(section);
    let monitor = Monitor {
        connections: said.numbers("connections", (80.0, 95.0)),
        waiting: said.numbers("waiting", (5.0, 20.0)),
        oldest_transaction: said.times("oldest_transaction", (300, 3_600)),
        idle_in_transaction: said.times("idle_in_transaction", (300, 3_600)),
        replication_lag: said.times("replication_lag", (60, 600)),
        catch_up_lag: said.times("catch_up_lag", (3_600, DAY)),
        cache_hits: said.falling("cache_hits", (98.0, 90.0)),
        dead_rows: said.numbers("dead_rows", (10.0, 30.0)),
        sequences: said.numbers("sequences", (80.0, 95.0)),
        wraparound: said.numbers("wraparound", (50.0, 80.0)),
        disk: said.numbers("disk", (80.0, 95.0)),
        clock: said.times("clock", (2, 60)),
        backup: said.times("backup", (26 * 3_600, 50 * 3_600)),
        drill: said.times("drill", (8 * DAY, 15 * DAY)),
    };
    said.0.finish();
    monitor
}

fn decommission(mut section: Section<'_>) -> Decommission {
    let mut days =
        |key, usual: u64| Duration::from_secs(section.or(key, values::count, usual).saturating_mul(DAY));
    let (soak, quiet, drop_after) = (days("soak_days", 7), days("quiet_days", 1), days("drop_after_days", 7));
    let samples = section.or("samples", values::count, 12);
    section.finish();
    Decommission { soak, quiet, samples: usize::try_from(samples).unwrap_or(usize::MAX), drop_after }
}

/// A table of the file in which each key is a pair.
struct Said<'a>(Section<'a>);

impl Said<'_> {
    fn numbers(&mut self, key: &'static str, usual: (f64, f64)) -> Limits {
        let shown = format!("{}, {}", usual.0, usual.1);
        let (warn, critical) = self.0.or_shown(key, values::rising, shown, usual);
        Limits { warn, critical, worse: Worse::Above }
    }

    fn falling(&mut self, key: &'static str, usual: (f64, f64)) -> Limits {
        let shown = format!("{}, {}", usual.0, usual.1);
        let (warn, critical) = self.0.or_shown(key, values::falling, shown, usual);
        Limits { warn, critical, worse: Worse::Below }
    }

    fn times(&mut self, key: &'static str, usual: (u64, u64)) -> Limits {
        let usual = (Duration::from_secs(usual.0), Duration::from_secs(usual.1));
        let shown = format!("{}, {}", values::human(usual.0), values::human(usual.1));
        let (warn, critical) = self.0.or_shown(key, values::rising_times, shown, usual);
        Limits { warn: warn.as_secs_f64(), critical: critical.as_secs_f64(), worse: Worse::Above }
    }
}
