//! The alert rules of `ops/alerts`: each of ours fires in the state that it is for, provoked on real servers where that
//! can be, and none of them in a healthy one. `promtool` checks the files where it is at hand; else this file's own
//! reading of the rules does, which knows no more of PromQL than ours use.

use crate::backup_files::{self, Drill, hours_ago};
use crate::monitor::shop_in_service;
use crate::restarted::Restarted;
use crate::source::{Elsewhere, log_in, run};
use crate::support::{Shop, workspace};
use crate::tool::within;
use jiff::{Timestamp, ToSpan};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use xtask::effects::wait::{self, State};
use xtask::model::Database;

// ---- The files

#[derive(Debug, Default)]
struct Rule {
    alert: String,
    expr: String,
    lines: Vec<String>,
}

fn text(file: &str) -> String {
    fs::read_to_string(workspace().join("ops/alerts").join(file)).unwrap()
}

/// The rules of a file, in the one form in which these are written.
fn rules(file: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    for line in text(file).lines() {
        if let Some(alert) = line.trim().strip_prefix("- alert: ") {
            rules.push(Rule { alert: alert.into(), ..Rule::default() });
        } else if let Some(rule) = rules.last_mut() {
            if let Some(expr) = line.trim().strip_prefix("expr: ") {
                rule.expr = expr.into();
            }
            rule.lines.push(line.into());
        }
    }
    rules
}

#[test]
fn the_files_are_rules() {
    let mut names = BTreeSet::new();
    for file in ["xtask.yml", "postgres.yml"] {
        let path = workspace().join("ops/alerts").join(file);
        match Command::new("promtool").args(["check", "rules"]).arg(&path).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(_) => eprintln!("promtool is not here: {file} is read by this test alone"),
        }
        let rules = rules(file);
        assert!(rules.len() >= 8, "{file}");
        assert!(!text(file).contains('\t'));
        for Rule { alert, expr, lines } in rules {
            assert!(names.insert(alert.clone()), "{alert} twice");
            assert!(!expr.is_empty() && expr.matches('(').count() == expr.matches(')').count(), "{alert}");
            for wanted in [
                "        labels: {severity: ",
                "        annotations:",
                "          summary: \"",
                "          next: \"",
            ] {
                assert!(lines.iter().any(|line| line.starts_with(wanted)), "{alert} has no {wanted}");
            }
        }
    }
}

/// As postgres_exporter has them.
#[test]
fn the_exporters_metrics_have_their_names() {
    let known = [
        "pg_up",
        "pg_stat_activity_count",
        "pg_settings_max_connections",
        "pg_stat_database_blks_hit",
        "pg_stat_database_blks_read",
        "pg_stat_database_deadlocks",
        "pg_long_running_transactions",
        "pg_replication_lag_seconds",
        "pg_stat_user_tables_n_dead_tup",
        "pg_stat_user_tables_n_live_tup",
        "pg_database_size_bytes",
    ];
    let mut used = BTreeSet::new();
    for rule in rules("postgres.yml") {
        let words = rule.expr.split(|c: char| !c.is_alphanumeric() && c != '_');
        used.extend(words.filter(|word| word.starts_with("pg_")).map(String::from));
    }
    assert_eq!(used, known.into_iter().map(String::from).collect());
}

// ---- What our rules say of our own metrics

/// By labels as they are written.
type Values = BTreeMap<String, f64>;

struct Measurements(BTreeMap<String, Values>);

impl Measurements {
    fn read(text: &str) -> Measurements {
        let mut all: BTreeMap<String, Values> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (metric, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = metric.split_once('{').unwrap_or((metric, ""));
            all.entry(name.into()).or_default().insert(labels.into(), value.parse().unwrap());
        }
        Measurements(all)
    }

    /// `time() - metric`, `metric / metric` or `metric`. What is not there has no value.
    fn value(&self, text: &str, now: f64) -> Values {
        let metric = |name: &str| {
            assert!(name.starts_with("xtask_") && !name.contains(' '), "{text} is more than this test reads");
            self.0.get(name).cloned().unwrap_or_default()
        };
        if let Some(name) = text.strip_prefix("time() - ") {
            return metric(name).into_iter().map(|(labels, at)| (labels, now - at)).collect();
        }
        match text.split_once(" / ") {
            None => metric(text),
            Some((above, below)) => {
                let below = metric(below);
                let ratio = |(labels, above): (String, f64)| below.get(&labels).map(|b| (labels, above / b));
                metric(above).into_iter().filter_map(ratio).collect()
            }
        }
    }

    /// The labels for which it holds.
    fn holds(&self, expr: &str, now: f64) -> BTreeSet<String> {
        if let Some((one, other)) = expr.split_once(" or ") {
            return &self.holds(one, now) | &self.holds(other, now);
        }
        if let Some((one, other)) = expr.split_once(" and ") {
            return &self.holds(one, now) & &self.holds(other, now);
        }
        let mut words = expr.rsplitn(3, ' ');
        let (number, op, value) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let limit: f64 = number.parse().unwrap();
        let passed = |value: f64| match op {
            "==" => value == limit,
            ">" => value > limit,
            ">=" => value >= limit,
            "<" => value < limit,
            "<=" => value <= limit,
            _ => panic!("{expr} is more than this test reads"),
        };
        self.value(value, now).into_iter().filter(|(_, v)| passed(*v)).map(|(labels, _)| labels).collect()
    }

    /// The alerts at this instant, each with its labels.
    fn alerts(&self, rules: &[Rule], now: f64) -> BTreeSet<String> {
        let fires = |rule: &Rule| {
            let labels = self.holds(&rule.expr, now).into_iter();
            labels
                .map(|labels| format!("{} {labels}", rule.alert).trim_end_matches(['}', ' ']).to_string())
                .collect::<Vec<_>>()
        };
        rules.iter().flat_map(fires).collect()
    }
}

#[test]
fn a_rule_that_this_test_cannot_read_would_be_seen() {
    let measured = Measurements::read(
        "# TYPE xtask_up gauge\nxtask_up{server=\"a\"} 0\nxtask_up{server=\"b\"} 1\nxtask_x 7",
    );
    let holds = |expr: &str| measured.holds(expr, 10.0).into_iter().collect::<Vec<_>>();
    assert_eq!(holds("xtask_up == 0"), ["server=\"a\"}"]);
    assert_eq!(holds("time() - xtask_x > 2"), [""]);
    assert!(holds("time() - xtask_x > 3").is_empty() && holds("xtask_gone > 0").is_empty());
    assert_eq!(holds("xtask_x / xtask_x >= 1 and xtask_x < 8"), [""]);
    let unread = std::panic::catch_unwind(|| Measurements::read("").holds("rate(xtask_x[5m]) > 1", 0.0));
    assert!(unread.is_err());
}

/// A shop that is measured.
struct Watched {
    shop: Shop,
    there: Elsewhere,
    rules: Vec<Rule>,
    folder: tempfile::TempDir,
    /// Alerts that have been seen.
    fired: BTreeSet<String>,
}

impl Watched {
    fn measure_by(&self, there: &Elsewhere) -> String {
        let file = self.folder.path().join("xtask.prom");
        let said = there.xtask(&self.shop, &["monitor", "--once", "--prometheus", file.to_str().unwrap()]);
        assert!(matches!(said.code, Some(0 | 3)), "{}{}", said.stdout, said.stderr);
        fs::read_to_string(file).unwrap()
    }

    fn measure(&self) -> String {
        self.measure_by(&self.there)
    }

    /// Of these measurements just these alerts come, so many seconds later.
    #[track_caller]
    fn fire(&mut self, text: &str, later: i64, expected: &[&str]) {
        let now = (Timestamp::now() + later.seconds()).as_microsecond() as f64 / 1e6;
        let alerts = Measurements::read(text).alerts(&self.rules, now);
        let expected: BTreeSet<String> = expected.iter().map(|alert| alert.to_string()).collect();
        assert_eq!(alerts, expected, "{text}");
        self.fired.extend(alerts.iter().map(|alert| alert.split(' ').next().unwrap().to_string()));
    }
}

/// A value in the place of the one that stands there.
fn with(text: &str, metric: &str, value: f64) -> String {
    let begins = format!("{metric} ");
    let mut found = 0;
    let changed = text.lines().map(|line| match line.strip_prefix(&begins) {
        Some(_) => {
            found += 1;
            format!("{metric} {value}\n")
        }
        None => format!("{line}\n"),
    });
    let changed: String = changed.collect();
    assert_eq!(found, 1, "{metric} in {text}");
    changed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_fires_in_its_state_and_in_no_other() {
    let (shop, there) = shop_in_service().await;
    let (rules, folder) = (rules("xtask.yml"), tempfile::tempdir().unwrap());
    let mut watched = Watched { shop, there, rules, folder, fired: BTreeSet::new() };
    // What has just ended may be in the middle of a last statement.
    let healthy = wait::for_state("nobody to be at work", within(30, 100), async || {
        let text = watched.state();
        let at_work = text.contains("_transaction_start_timestamp_seconds{");
        Ok(if at_work { State::NotYet(text) } else { State::Ready(text) })
    })
    .await
    .unwrap();
    watched.fire(&healthy, 0, &[]);

    of_what_cannot_be_provoked(&mut watched, &healthy);
    of_backups(&mut watched);
    of_sessions(&mut watched).await;
    of_tables(&mut watched).await;
    of_connections(&mut watched).await;
    of_what_is_down(&mut watched).await;
    let all: BTreeSet<String> = watched.rules.iter().map(|rule| rule.alert.clone()).collect();
    assert_eq!(watched.fired, all, "each has been seen");
}

impl Watched {
    /// As it is now, without what depends on the machine.
    fn state(&self) -> String {
        let text = self.measure();
        text.lines()
            .filter(|line| !line.starts_with("xtask_disk_") && !line.starts_with("xtask_cache_hit_ratio"))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

fn of_what_cannot_be_provoked(watched: &mut Watched, healthy: &str) {
    let more = |line: &str| format!("{healthy}{line}\n");
    let text = more("xtask_cache_hit_ratio{server=\"order\"} 0.97");
    watched.fire(&text, 0, &["XtaskCacheHitsLow server=\"order\""]);
    watched.fire(&more("xtask_cache_hit_ratio{server=\"order\"} 0.98"), 0, &[]);
    let text = with(healthy, "xtask_transaction_ids_remaining_ratio{server=\"order\"}", 0.49);
    watched.fire(&text, 0, &["XtaskTransactionIdsNearlyUsedUp server=\"order\""]);
    let text = more("xtask_replication_lag_seconds{server=\"order\"} 60");
    watched.fire(&text, 0, &["XtaskReplicationBehind server=\"order\""]);
    let caught_up = |hours| {
        more(&format!("xtask_caught_up_timestamp_seconds{{run=\"r\"}} {}", hours_ago(hours).as_second()))
    };
    watched.fire(&caught_up(0), 0, &[]);
    watched.fire(&caught_up(2), 0, &["XtaskCatchUpBehind run=\"r\""]);
    for offset in [-2.5, 2.5] {
        let text = with(healthy, "xtask_clock_offset_seconds{server=\"order\"}", offset);
        watched.fire(&text, 0, &["XtaskClocksDiffer server=\"order\""]);
    }
    let disk = |free: u8| {
        more(&format!(
            "xtask_disk_free_bytes{{of=\"order\"}} {free}\nxtask_disk_size_bytes{{of=\"order\"}} 10"
        ))
    };
    watched.fire(&disk(3), 0, &[]);
    let text = disk(2);
    watched.fire(&text, 0, &["XtaskDiskNearlyFull of=\"order\""]);
    // The file gets old by itself.
    watched.fire(healthy, 3_700, &["XtaskMonitorSilent"]);
}

fn of_backups(watched: &mut Watched) {
    let environment = watched.shop.manifest().environment;
    let runs = watched.shop.runs.path().to_path_buf();
    let write = |hours, drill| backup_files::write(&runs, &environment, "product", hours_ago(hours), drill);
    write(27, Drill::Green);
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskBackupTooOld target=\"product\""]);
    // The newest is not drilled yet, and the one before it is old.
    write(9 * 24, Drill::Green);
    backup_files::add(&runs, &environment, "product", hours_ago(1), Drill::None);
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskDrillTooOld target=\"product\""]);
    write(1, Drill::Green);
    backup_files::add(&runs, &environment, "product", hours_ago(0), Drill::Red);
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskDrillFailed target=\"product\""]);
    fs::remove_dir_all(runs.join("stores/product")).unwrap();
    let never = ["XtaskBackupTooOld target=\"product\"", "XtaskDrillTooOld target=\"product\""];
    let text = watched.state();
    watched.fire(&text, 0, &never);
    write(1, Drill::Green);

    let run = watched.shop.latest();
    let finished = watched.shop.manifest().proof.unwrap().finished;
    let proven = |at: &str| {
        run.change_manifest(|manifest| {
            manifest.proof.as_mut().unwrap().finished = at.to_string();
            Ok(())
        })
        .unwrap();
    };
    proven(&hours_ago(31 * 24).to_string());
    let text = watched.state();
    watched.fire(&text, 0, &[&format!("XtaskNotProven run=\"{}\"", run.id())]);
    proven(&finished);
}

async fn of_sessions(watched: &mut Watched) {
    let order = watched.shop.settings.order.clone();
    let mut holder = log_in(&order, &order.user).await.unwrap();
    run(&mut holder, "BEGIN; LOCK TABLE payments").await.unwrap();
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let order = order.clone();
            tokio::spawn(async move {
                let mut session = log_in(&order, &order.user).await.unwrap();
                run(&mut session, "BEGIN; LOCK TABLE payments; ROLLBACK").await
            })
        })
        .collect();
    let mut looking = watched.shop.superuser(&order).await;
    let wait = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    wait::for_state("five to wait", within(30, 20), async || {
        let count: i64 = sqlx::Row::get(&looking.row(wait).await?, 0);
        Ok(if count == 5 { State::Ready(()) } else { State::NotYet(count) })
    })
    .await
    .unwrap();
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskSessionsWait server=\"order\""]);
    run(&mut holder, "ROLLBACK").await.unwrap();
    for session in waiting {
        session.await.unwrap().unwrap();
    }
    run(&mut holder, "BEGIN; SELECT 1").await.unwrap();
    let text = watched.state();
    watched.fire(&text, 310, &["XtaskIdleInTransaction server=\"order\""]);
    let old = [
        "XtaskIdleInTransaction server=\"order\"",
        "XtaskMonitorSilent",
        "XtaskTransactionOpen server=\"order\"",
    ];
    watched.fire(&text, 3_610, &old);
}

async fn of_tables(watched: &mut Watched) {
    let mut order = watched.shop.superuser(&watched.shop.settings.order).await;
    order.run("SELECT setval('order_items_id_seq', 1900000000)").await.unwrap();
    let text = watched.state();
    let sequence = "XtaskSequenceNearlyUsedUp server=\"order\",table=\"public.order_items\"";
    watched.fire(&text, 0, &[sequence]);
    order
        .run("SELECT setval('order_items_id_seq', 1000); ALTER TABLE payments DISABLE TRIGGER ALL")
        .await
        .unwrap();
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskTriggersSwitchedOff server=\"order\""]);
    order.run("ALTER TABLE payments ENABLE TRIGGER ALL").await.unwrap();

    let mut gateway = watched.shop.target(Database::Gateway).await;
    let junk = "CREATE TABLE junk WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 20000) AS id; \
                DELETE FROM junk WHERE id <= 11000";
    gateway.run(junk).await.unwrap();
    gateway.close().await.unwrap();
    let dead = "XtaskDeadRows server=\"gateway\",table=\"public.junk\"";
    let rules = &watched.rules;
    let text = wait::for_state("the statistics", within(30, 200), async || {
        let text = watched.state();
        let alerts = Measurements::read(&text).alerts(rules, 0.0);
        Ok(if alerts.contains(dead) { State::Ready(text) } else { State::NotYet(format!("{alerts:?}")) })
    })
    .await
    .unwrap();
    watched.fire(&text, 0, &[dead]);
    watched.shop.target(Database::Gateway).await.run("DROP TABLE junk").await.unwrap();
    let text = watched.state();
    watched.fire(&text, 0, &[]);
}

async fn of_connections(watched: &mut Watched) {
    let few = "max_connections = 12\nmax_wal_senders = 0\nsuperuser_reserved_connections = 3";
    let restarted = Restarted::server(&watched.shop, "gateway", few);
    let gateway = watched.shop.settings.gateway.clone();
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(log_in(&gateway, &gateway.user).await.unwrap());
    }
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskConnectionsNearlyUsedUp server=\"gateway\""]);
    drop(held);
    drop(restarted);
    let text = watched.state();
    watched.fire(&text, 0, &["XtaskServerDown server=\"gateway\""]);
}

async fn of_what_is_down(watched: &mut Watched) {
    let real = watched.shop.settings.firestore.emulator.replace("127.0.0.1:1".to_string());
    let user = watched.shop.settings.source.user.clone();
    let elsewhere = Elsewhere::new(&watched.shop, &user, "");
    watched.shop.settings.firestore.emulator = real;
    let text = watched.measure_by(&elsewhere);
    let text: String = text
        .lines()
        .filter(|line| line.starts_with("xtask_firestore") || line.starts_with("xtask_up{server=\"order"))
        .map(|line| format!("{line}\n"))
        .collect();
    watched.fire(&text, 0, &["XtaskFirestoreDown"]);
    assert!(!text.contains("xtask_firestore_documents"), "{text}");
}
