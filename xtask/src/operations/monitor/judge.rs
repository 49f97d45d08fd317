//! Measurements held against the environment's limits: a line a check, each with one word of state. The names are those
//! of check_postgres. Pure.

use super::seen::{Activity, CaughtUpSeen, FirestoreSeen, Measured, RunSeen, Seen, ServerSeen, Since};
use super::stores::{Kept, StoreBackup};
use crate::effects::disk::Room;
use crate::identity::ServerName;
use crate::model::grouped;
use crate::run::caught_up::CaughtUp;
use crate::settings::{Limits, Monitor, Worse, human};
use crate::shown::escaped;
use serde::Serialize;
use std::time::Duration;

/// The worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    #[serde(rename = "ok")]
    Ok,
    #[serde(rename = "warn")]
    Warn,
    #[serde(rename = "CRIT")]
    Critical,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Warn => "warn",
            State::Critical => "CRIT",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    pub state: State,
    /// `product`, `firestore`, `this machine`
    pub of: String,
    pub check: &'static str,
    pub said: String,
}

/// Everything, the worst first, and else in the order of the servers.
pub fn judge(seen: &Seen, limits: &Monitor) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, server) in &seen.servers {
        lines.extend(of_server(*name, server, seen, limits));
    }
    lines.extend(of_firestore(&seen.firestore));
    for store in &seen.stores {
        lines.extend(of_store(store, seen.now, limits));
    }
    for (of, room) in &seen.disks {
        lines.push(disk("this machine", of, *room, limits));
    }
    lines.extend(seen.run.iter().map(|run| of_run(run, seen.now)));
    lines.extend(seen.caught_up.iter().flat_map(|seen_of| of_caught_up(seen_of, seen.now, limits)));
    lines.sort_by_key(|line| std::cmp::Reverse(line.state));
    lines
}

fn state(value: f64, limits: Limits) -> State {
    let Limits { warn, critical, worse } = limits;
    let passed = |limit: f64| match worse {
        Worse::Above => value >= limit,
        Worse::Below => value < limit,
    };
    match (passed(critical), passed(warn)) {
        (true, _) => State::Critical,
        (false, true) => State::Warn,
        (false, false) => State::Ok,
    }
}

fn line(state: State, of: impl ToString, check: &'static str, said: String) -> Line {
    Line { state, of: of.to_string(), check, said: escaped(&said) }
}

fn of_server(name: ServerName, server: &ServerSeen, seen: &Seen, limits: &Monitor) -> Vec<Line> {
    match server {
        ServerSeen::Up(measured) => of_measured(name, measured, seen.now, limits),
        // Nobody needs the old database once the services have taken over.
        ServerSeen::Down { reason } if name == ServerName::Source && seen.run.is_some() => {
            vec![line(State::Warn, name, "connection", reason.clone())]
        }
        ServerSeen::Down { reason } => vec![line(State::Critical, name, "connection", reason.clone())],
        ServerSeen::NotLookedAt { reason } => vec![line(State::Ok, name, "connection", reason.clone())],
    }
}

fn of_measured(name: ServerName, measured: &Measured, now: f64, limits: &Monitor) -> Vec<Line> {
    let mut lines = vec![line(State::Ok, name, "connection", "it answers".to_string())];
    if let Some(activity) = &measured.activity {
        lines.extend(of_sessions(name, activity, now, limits));
    }
    if let Some(hits) = measured.cache_hits() {
        let percent = hits * 100.0;
        let said = format!("{percent:.1} % of the blocks were in the cache");
        lines.push(line(state(percent, limits.cache_hits), name, "hitratio", said));
    }
    for table in &measured.tables {
        let Some(share) = table.dead_share() else { continue };
        let dead = grouped(table.dead.unsigned_abs());
        let said = format!("{}: {dead} dead rows, {:.0} % of all", table.table, share * 100.0);
        lines.push(line(state(share * 100.0, limits.dead_rows), name, "bloat", said));
    }
    // Sorted: the one with the least left is the first.
    if let Some(sequence) = measured.sequences.first() {
        let used = (1.0 - sequence.remaining) * 100.0;
        let said = format!("{} of {} has used {used:.1} % of its numbers", sequence.name, sequence.table);
        lines.push(line(state(used, limits.sequences), name, "sequence", said));
    }
    if let Some(database) = &measured.database {
        let used = database.used_ids * 100.0;
        let said = format!("{used:.1} % of the transaction ids are used: VACUUM FREEZE gives them back");
        lines.push(line(state(used, limits.wraparound), name, "txn_wraparound", said));
    }
    if let Some(triggers) = &measured.disabled_triggers {
        let (state, said) = match &triggers[..] {
            [] => (State::Ok, "no trigger is switched off".to_string()),
            some => (State::Warn, format!("switched off: {}", some.join(", "))),
        };
        lines.push(line(state, name, "disabled_triggers", said));
    }
    if let Some(lag) = measured.replication.as_ref().and_then(|replication| replication.lag) {
        let said = format!("replication is {} behind", time(lag));
        lines.push(line(state(lag, limits.replication_lag), name, "hot_standby_delay", said));
    }
    lines.extend(measured.disk.map(|room| disk(name, "its files", room, limits)));
    lines
}

fn of_sessions(name: ServerName, activity: &Activity, now: f64, limits: &Monitor) -> Vec<Line> {
    let Activity { allowed, sessions, waiting, oldest_transaction, idle_in_transaction, clock } = activity;
    let percent = *sessions as f64 * 100.0 / (*allowed).max(1) as f64;
    let said = format!("{sessions} of {allowed} connections, {percent:.0} %");
    let mut lines = vec![
        line(state(percent, limits.connections), name, "backends", said),
        line(
            state(*waiting as f64, limits.waiting),
            name,
            "locks",
            format!("{waiting} sessions wait for a lock"),
        ),
    ];
    // By the server's own clock.
    let open = |since: &Option<Since>, check, limits, what: &str| match since {
        None => line(State::Ok, name, check, format!("no transaction {what}")),
        Some(Since { at, who }) => {
            let age = (now + clock - at).max(0.0);
            line(state(age, limits), name, check, format!("{who} {what} for {}", time(age)))
        }
    };
    lines.push(open(oldest_transaction, "txn_time", limits.oldest_transaction, "has been open"));
    lines.push(open(idle_in_transaction, "txn_idle", limits.idle_in_transaction, "has done nothing"));
    let said = format!("its clock is {:.1} s from this machine's", clock.abs());
    lines.push(line(state(clock.abs(), limits.clock), name, "timesync", said));
    lines
}

fn of_firestore(firestore: &FirestoreSeen) -> Vec<Line> {
    match firestore {
        FirestoreSeen::Down { reason } => {
            vec![line(State::Critical, "firestore", "connection", reason.clone())]
        }
        FirestoreSeen::Up { documents } => {
            let counts = documents.iter().map(|(name, count)| format!("{name} {}", grouped(*count)));
            vec![
                line(State::Ok, "firestore", "connection", "it answers".to_string()),
                line(State::Ok, "firestore", "documents", counts.collect::<Vec<_>>().join(", ")),
            ]
        }
    }
}

fn of_store(store: &StoreBackup, now: f64, limits: &Monitor) -> Vec<Line> {
    let never = |what: &str, next: &str| format!("{what}: cargo xtask {next} --target {}", store.target);
    let age = |kept: &Kept| (now - kept.taken).max(0.0);
    let backup = match &store.newest {
        None => line(State::Critical, store.target, "backup", never("there is none", "backup")),
        Some(kept) => {
            let (age, bytes) = (age(kept), grouped(kept.bytes));
            let said = format!("{} old, {bytes} bytes", time(age));
            line(state(age, limits.backup), store.target, "backup", said)
        }
    };
    let failed = store.newest.as_ref().is_some_and(|kept| kept.drill.is_some_and(|(_, green)| !green));
    let drill = match &store.drilled {
        _ if failed => {
            let said = "the newest backup does not restore: its drill.json says why";
            line(State::Critical, store.target, "drill", said.to_string())
        }
        None => {
            line(State::Critical, store.target, "drill", never("none has been restored", "restore-drill"))
        }
        Some(kept) => {
            let said = format!("the newest that was restored is {} old", time(age(kept)));
            line(state(age(kept), limits.drill), store.target, "drill", said)
        }
    };
    let mut lines = vec![backup, drill];
    lines.extend(store.unreadable.iter().map(|why| line(State::Warn, store.target, "backup", why.clone())));
    lines
}

fn disk(of: impl ToString, what: &str, room: Room, limits: &Monitor) -> Line {
    let Room { free, size } = room;
    let used = size.saturating_sub(free) as f64 * 100.0 / (size.max(1)) as f64;
    let said = format!("{what}: {used:.0} % of the disk is used, {} bytes are free", grouped(free));
    line(state(used, limits.disk), of, "disk_space", said)
}

fn of_run(run: &RunSeen, now: f64) -> Line {
    let (state, said) = match run.verified {
        None => (State::Warn, format!("run {} has not been verified", run.run)),
        Some((_, false)) => (State::Critical, format!("the newest verify of run {} is red", run.run)),
        Some((at, true)) => {
            (State::Ok, format!("run {} was proven {} ago", run.run, time((now - at).max(0.0))))
        }
    };
    line(state, "run", "verify", said)
}

fn of_caught_up(seen: &CaughtUpSeen, now: f64, limits: &Monitor) -> Vec<Line> {
    let CaughtUp { lag, rows, freeze, .. } = &seen.caught_up;
    let (lag, run) = (lag.at(now), &seen.run);
    let said = format!("run {run}: its stores are {} behind the source", time(lag));
    let mut lines = vec![line(state(lag, limits.catch_up_lag), "run", "catch_up", said)];
    let freeze = freeze.map(|seconds| format!(", freeze about {}", time(seconds))).unwrap_or_default();
    let said = format!("{} behind, last pass {} rows{freeze}", time(lag), grouped(*rows));
    lines.push(line(State::Ok, "run", "freeze", said));
    lines
}

/// Seconds for people.
fn time(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1}s");
    }
    human(Duration::from_secs_f64(seconds))
}
