//! The measurements in Prometheus' text format: only `xtask_*`, since postgres_exporter has the rest; times as
//! timestamps, never ages, so that a file that nobody writes any more gets old by itself. Pure.

use super::judge::{Line, State};
use super::report::Report;
use super::seen::{CaughtUpSeen, FirestoreSeen, Measured, ServerSeen, Since};
use crate::run::caught_up::CaughtUp;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a metric is.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    /// Labels as they stand in braces, and the value.
    values: Vec<(String, f64)>,
}

/// In the order in which they were first named.
#[derive(Default)]
struct Metrics(Vec<Metric>);

impl Metrics {
    fn gauge(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add((name, "gauge", help), labels, value);
    }

    fn counter(&mut self, name: &'static str, help: &'static str, labels: &[(&str, &str)], value: f64) {
        self.add((name, "counter", help), labels, value);
    }

    fn add(
        &mut self,
        (name, kind, help): (&'static str, &'static str, &'static str),
        labels: &[(&str, &str)],
        value: f64,
    ) {
        let labels = labels.iter().map(|(label, value)| format!("{label}=\"{}\"", quoted(value)));
        let value = (labels.collect::<Vec<_>>().join(","), value);
        match self.0.iter_mut().find(|metric| metric.name == name) {
            Some(metric) => metric.values.push(value),
            None => self.0.push(Metric { name, kind, help, values: vec![value] }),
        }
    }
}

fn quoted(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// The whole file. What never was stands there as the instant 0.
pub fn exposition(report: &Report) -> String {
    let (seen, mut metrics) = (&report.seen, Metrics::default());
    metrics.gauge(
        "xtask_monitor_last_run_timestamp_seconds",
        "When these measurements were taken.",
        &[],
        seen.now,
    );
    for (name, server) in &seen.servers {
        of_server(&mut metrics, &name.to_string(), server);
    }
    of_firestore(&mut metrics, &seen.firestore);
    of_stores(&mut metrics, report);
    for (of, room) in &seen.disks {
        of_disk(&mut metrics, of, room.free, room.size);
    }
    if let Some(run) = &seen.run {
        let cut_over = "When the services took over.";
        metrics.gauge("xtask_cutover_timestamp_seconds", cut_over, &[("run", &run.run)], run.cut_over);
        let verified = run.verified.filter(|(_, green)| *green).map_or(0.0, |(at, _)| at);
        let name = "xtask_verify_last_success_timestamp_seconds";
        let help = "When every store was proven the last time, unless something was found since; 0: never.";
        metrics.gauge(name, help, &[("run", &run.run)], verified);
    }
    if let Some(seen) = &seen.caught_up {
        of_caught_up(&mut metrics, seen);
    }
    states(&mut metrics, &report.lines);
    text(&metrics)
}

fn of_server(metrics: &mut Metrics, server: &str, seen: &ServerSeen) {
    let of = [("server", server)];
    let up = match seen {
        ServerSeen::Up(_) => 1.0,
        ServerSeen::Down { .. } => 0.0,
        ServerSeen::NotLookedAt { .. } => return,
    };
    metrics.gauge("xtask_up", "Whether the server answers.", &of, up);
    let ServerSeen::Up(measured) = seen else { return };
    of_sessions(metrics, server, measured);
    if let Some(database) = &measured.database {
        let hits = "Blocks that were found in the cache.";
        metrics.counter("xtask_cache_hit_blocks_total", hits, &of, database.hits as f64);
        let reads = "Blocks that were not.";
        metrics.counter("xtask_cache_read_blocks_total", reads, &of, database.reads as f64);
        metrics.counter("xtask_deadlocks_total", "Deadlocks.", &of, database.deadlocks as f64);
        metrics.gauge("xtask_database_size_bytes", "Size of the database.", &of, database.bytes as f64);
        let left = "Share of the transaction ids that are left before a wraparound.";
        metrics.gauge("xtask_transaction_ids_remaining_ratio", left, &of, 1.0 - database.used_ids);
    }
    if let Some(hits) = measured.cache_hits() {
        let help = "Share of the blocks that were found in the cache, where enough were asked for.";
        metrics.gauge("xtask_cache_hit_ratio", help, &of, hits);
    }
    for table in &measured.tables {
        let of = [("server", server), ("table", table.table.as_str())];
        metrics.gauge("xtask_dead_rows", "Dead rows of a table.", &of, table.dead as f64);
        if let Some(share) = table.dead_share() {
            let help = "Share of a table's rows that are dead, where there are many.";
            metrics.gauge("xtask_dead_rows_ratio", help, &of, share);
        }
    }
    // Two may give out the numbers of one table.
    let mut left: BTreeMap<&str, f64> = BTreeMap::new();
    for sequence in &measured.sequences {
        let least = left.entry(&sequence.table).or_insert(1.0);
        *least = least.min(sequence.remaining);
    }
    for (table, remaining) in left {
        let of = [("server", server), ("table", table)];
        let help = "Share of the numbers that are left for a table's ids.";
        metrics.gauge("xtask_sequence_remaining_ratio", help, &of, remaining);
    }
    if let Some(triggers) = &measured.disabled_triggers {
        let help = "Triggers that are switched off.";
        metrics.gauge("xtask_disabled_triggers", help, &of, triggers.len() as f64);
    }
    if let Some(lag) = measured.replication.as_ref().and_then(|replication| replication.lag) {
        metrics.gauge("xtask_replication_lag_seconds", "How far replication is behind.", &of, lag);
    }
    if let Some(room) = measured.disk {
        of_disk(metrics, server, room.free, room.size);
    }
}

fn of_sessions(metrics: &mut Metrics, server: &str, measured: &Measured) {
    let Some(activity) = &measured.activity else { return };
    let of = [("server", server)];
    metrics.gauge("xtask_connections", "Sessions.", &of, activity.sessions as f64);
    metrics.gauge("xtask_connections_limit", "How many there may be.", &of, activity.allowed as f64);
    metrics.gauge("xtask_sessions_waiting", "Sessions that wait for a lock.", &of, activity.waiting as f64);
    metrics.gauge("xtask_clock_offset_seconds", "How far the server's clock is ahead.", &of, activity.clock);
    let mut since = |name, help, since: &Option<Since>| {
        if let Some(Since { at, .. }) = since {
            metrics.gauge(name, help, &of, *at);
        }
    };
    let name = "xtask_oldest_transaction_start_timestamp_seconds";
    since(name, "When the oldest open transaction began.", &activity.oldest_transaction);
    let name = "xtask_idle_in_transaction_start_timestamp_seconds";
    since(name, "Since when a transaction is open that does nothing.", &activity.idle_in_transaction);
}

fn of_disk(metrics: &mut Metrics, of: &str, free: u64, size: u64) {
    let of = [("of", of)];
    metrics.gauge("xtask_disk_free_bytes", "What may still be written.", &of, free as f64);
    metrics.gauge("xtask_disk_size_bytes", "Size of the disk.", &of, size as f64);
}

fn of_firestore(metrics: &mut Metrics, firestore: &FirestoreSeen) {
    let up = matches!(firestore, FirestoreSeen::Up { .. });
    metrics.gauge("xtask_firestore_up", "Whether Firestore answers.", &[], f64::from(u8::from(up)));
    if let FirestoreSeen::Up { documents } = firestore {
        for (collection, count) in documents {
            let help = "Documents of a collection.";
            let of = [("collection", collection.as_str())];
            metrics.gauge("xtask_firestore_documents", help, &of, *count as f64);
        }
    }
}

fn of_stores(metrics: &mut Metrics, report: &Report) {
    for store in &report.seen.stores {
        let of = [("target", store.target)];
        let taken = store.newest.as_ref().map_or(0.0, |kept| kept.taken);
        let help = "The instant that a store's newest backup holds; 0: there is none.";
        metrics.gauge("xtask_backup_last_success_timestamp_seconds", help, &of, taken);
        if let Some(kept) = &store.newest {
            metrics.gauge("xtask_backup_size_bytes", "Its size.", &of, kept.bytes as f64);
        }
        let drilled = store.drilled.as_ref().map_or(0.0, |kept| kept.taken);
        let help = "The instant that the newest backup holds which a drill has restored; 0: there is none.";
        metrics.gauge("xtask_restore_drill_last_success_timestamp_seconds", help, &of, drilled);
        let failed = store.newest.as_ref().is_some_and(|kept| kept.drill.is_some_and(|(_, green)| !green));
        let help = "Whether the newest backup did not restore.";
        metrics.gauge("xtask_restore_drill_failed", help, &of, f64::from(u8::from(failed)));
    }
}

fn of_caught_up(metrics: &mut Metrics, seen: &CaughtUpSeen) {
    let of = [("run", seen.run.as_str())];
    let CaughtUp { passes, lag, rows, freeze, .. } = &seen.caught_up;
    let help = "The instant of the source that the stores of a run hold which is not cut over yet.";
    metrics.gauge("xtask_caught_up_timestamp_seconds", help, &of, lag.0);
    metrics.gauge("xtask_catch_up_passes", "Its passes that brought something over.", &of, *passes as f64);
    metrics.gauge("xtask_catch_up_last_rows", "Rows of its newest pass.", &of, *rows as f64);
    if let Some(freeze) = freeze {
        let help = "For how long a cut-over now would make the source read-only, about.";
        metrics.gauge("xtask_expected_freeze_seconds", help, &of, *freeze);
    }
}

/// By the environment's own limits: 0 ok, 1 warn, 2 CRIT; of several lines of one check the worst.
fn states(metrics: &mut Metrics, lines: &[Line]) {
    let mut worst: BTreeMap<(&str, &str), State> = BTreeMap::new();
    for line in lines {
        let known = worst.entry((&line.of, line.check)).or_insert(line.state);
        *known = line.state.max(*known);
    }
    for ((of, check), state) in worst {
        let value = match state {
            State::Ok => 0.0,
            State::Warn => 1.0,
            State::Critical => 2.0,
        };
        let help = "A check against the environment's limits: 0 ok, 1 warn, 2 CRIT.";
        metrics.gauge("xtask_check_state", help, &[("of", of), ("check", check)], value);
    }
}

fn text(metrics: &Metrics) -> String {
    let mut out = String::new();
    for Metric { name, kind, help, values } in &metrics.0 {
        out += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in values {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name}{labels} {value}");
        }
    }
    out
}
