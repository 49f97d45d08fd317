//! `monitor` measures what is there, says what it may not see, holds it against the environment's limits, and changes
//! nothing; what is down is a measurement. One shop for all of it: its servers go one by one.

use crate::backup_files::{self, Drill, hours_ago};
use crate::restarted::Restarted;
use crate::source::{Elsewhere, log_in, run};
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Tool, command_lines, everything, within};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use xtask::effects::wait::{self, State};
use xtask::model::Database;

/// The machine that the tests run on may have little room, and a slow moment; that is not what is looked at.
pub const ON_ANY_MACHINE: &str =
    "[monitor]\ndisk = [101, 101]\ncache_hits = [0, 0]\nclock = [\"1m\", \"1m\"]\n";

/// Everything is in order: cut over, backed up and drilled.
pub async fn shop_in_service() -> (Shop, Elsewhere) {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, &shop.settings.source.user, ON_ANY_MACHINE);
    there.xtask(&shop, &["migrate"]).expect_code(0);
    there.xtask(&shop, &["cutover"]).expect_code(0);
    backup_files::write_all(shop.runs.path(), &shop.manifest().environment, hours_ago(1));
    (shop, there)
}

fn once(shop: &Shop, there: &Elsewhere) -> Said {
    there.xtask(shop, &["monitor", "--once"])
}

/// The line of a check, with its state.
#[track_caller]
fn line<'a>(json: &'a Value, of: &str, check: &str) -> (&'a str, &'a str) {
    let lines = json["lines"].as_array().unwrap();
    let found = lines.iter().find(|line| line["of"] == of && line["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check} of {of} in {json}"));
    (found["state"].as_str().unwrap(), found["said"].as_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_measured_and_what_is_down_is_a_measurement() {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, &shop.settings.source.user, ON_ANY_MACHINE);
    // Before any run there are servers to look at, and no backups to miss.
    let said = once(&shop, &there).expect_code(0);
    assert!(said.stdout.starts_with("✓ ok: "), "{}", said.stdout);
    says(&said, &["ok   source ", "ok   gateway ", "ok   firestore ", "user_sessions 0, users 0"]);
    assert!(!said.stdout.contains("backup "), "{}", said.stdout);
    drop((there, shop));

    let (shop, there) = shop_in_service().await;
    let before = everything(&shop).await;
    nobody_is_there(&shop).await;
    let held = shop.superuser(&shop.settings.order).await;
    let said = once(&shop, &there).expect_code(0);
    says(&said, &["✓ ok: ", " connections, ", " bytes", "proven ", "the newest that was restored is 1h"]);
    // What the owner of a database may not see is said with what gives it.
    says(
        &said,
        &[
            "not seen: what 1 sessions of others do: GRANT pg_monitor TO its role (order)",
            "where its files are: GRANT pg_monitor TO its role (product, order, gateway)",
            "pg_stat_statements is not installed there",
        ],
    );
    held.close().await.unwrap();
    assert_eq!(everything(&shop).await, before);

    let json = there.xtask(&shop, &["monitor", "--json"]).expect_code(0).json();
    assert_eq!(json["state"], "ok");
    let measured = &json["servers"]["order"];
    assert_eq!(measured["state"], "up");
    let sessions = measured["activity"]["sessions"].as_i64().unwrap();
    assert!(sessions >= 1 && measured["activity"]["allowed"].as_i64().unwrap() > sessions, "{measured}");
    let sequences = measured["sequences"].as_array().unwrap();
    assert!(sequences.iter().any(|s| s["table"] == "public.orders" && s["remaining"].as_f64() > Some(0.99)));
    let documents = shop.documents("users").await.len();
    assert_eq!(json["firestore"]["documents"]["users"], documents);
    assert!(documents > 0);

    statements_are_shown(&shop, &there).await;
    limits_are_the_environments(&shop, &there).await;
    backups_and_drills_have_an_age(&shop, &there);
    what_is_down_is_a_measurement(&shop, &there);
}

/// What a command that has ended held is gone.
async fn nobody_is_there(shop: &Shop) {
    for database in Database::ALL {
        let mut looking = shop.superuser(shop.settings.target(database)).await;
        let others =
            "SELECT count(*) FROM pg_stat_activity WHERE datid IS NOT NULL AND pid <> pg_backend_pid()";
        wait::for_state("all others to go", within(30, 50), async || {
            let count: i64 = sqlx::Row::get(&looking.row(others).await?, 0);
            Ok(if count == 0 { State::Ready(()) } else { State::NotYet(count) })
        })
        .await
        .unwrap();
        looking.close().await.unwrap();
    }
}

async fn statements_are_shown(shop: &Shop, there: &Elsewhere) {
    shop.superuser(&shop.settings.gateway).await.run("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let restarted = Restarted::server(shop, "gateway", "shared_preload_libraries = 'pg_stat_statements'");
    shop.target(Database::Gateway).await.run("SELECT pg_sleep(0.2), 'canary'").await.unwrap();
    let said = once(shop, there).expect_code(0);
    let slowest =
        said.stdout.lines().skip_while(|line| !line.starts_with("slowest statements")).nth(1).unwrap();
    assert!(slowest.contains("gateway") && slowest.contains("SELECT pg_sleep($1), $2"), "{}", said.stdout);
    // It runs on, with a shop that ends it.
    std::mem::forget(restarted);
}

async fn limits_are_the_environments(shop: &Shop, there: &Elsewhere) {
    let strict = format!("{ON_ANY_MACHINE}connections = [0, 100]\noldest_transaction = [\"0s\", \"1h\"]\n");
    let mut holder = log_in(&shop.settings.order, &shop.settings.order.user).await.unwrap();
    run(&mut holder, "BEGIN; SELECT * FROM orders LIMIT 1").await.unwrap();
    once(shop, there).expect_code(0);
    there.set_policy(&strict);
    let said = once(shop, there).expect_code(3);
    assert!(said.stdout.starts_with("✗ 0 CRIT, "), "{}", said.stdout);
    says(&said, &["warn order        backends ", "warn order        txn_time          process "]);
    says(&said, &["(shop) has been open for ", "of order_user"]);
    assert_words(&said, &["verification differs: beyond its limit: ", "order txn_time"]);
    there.set_policy(&format!("{ON_ANY_MACHINE}oldest_transaction = [\"0s\", \"0s\"]\n"));
    let said = once(shop, there).expect_code(3);
    // The worst first.
    let second = said.stdout.lines().nth(1).unwrap();
    assert!(
        said.stdout.starts_with("✗ 1 CRIT, 0 warn of ") && second.starts_with("CRIT order "),
        "{}",
        said.stdout
    );
    there.set_policy(&format!("{ON_ANY_MACHINE}oldest_transaction = [\"1h\", \"5m\"]\nfoo = 1\n"));
    let said = once(shop, there);
    let wrong = [
        "`monitor.oldest_transaction` has to be two times, the longer one last",
        "unknown key `monitor.foo`",
    ];
    assert_refused("wrong limits", &said, &wrong);
    there.set_policy(ON_ANY_MACHINE);
}

fn backups_and_drills_have_an_age(shop: &Shop, there: &Elsewhere) {
    let environment = shop.manifest().environment;
    let write = |hours, drill| {
        backup_files::write(shop.runs.path(), &environment, "product", hours_ago(hours), drill);
        there.xtask(shop, &["monitor", "--once", "--json"])
    };
    let json = write(27, Drill::Green).expect_code(3).json();
    assert_eq!(line(&json, "product", "backup").0, "warn");
    assert_eq!(line(&json, "product", "drill").0, "ok");
    let json = write(51, Drill::None).expect_code(3).json();
    assert_eq!(line(&json, "product", "backup").0, "CRIT");
    let none = "none has been restored: cargo xtask restore-drill --target product";
    assert_eq!(line(&json, "product", "drill"), ("CRIT", none));
    let json = write(1, Drill::Red).expect_code(3).json();
    assert!(line(&json, "product", "drill").1.contains("does not restore"), "{json}");
    // A drill says nothing of another manifest, nor a backup of another environment.
    let json = write(1, Drill::Green).expect_code(0).json();
    let id = json["stores"][0]["newest"]["id"].as_str().unwrap();
    let manifest = shop.runs.path().join("stores/product").join(id).join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, format!("{text} ")).unwrap();
    let json = there.xtask(shop, &["monitor", "--json"]).expect_code(3).json();
    assert_eq!(line(&json, "product", "drill").0, "CRIT");
    fs::write(&manifest, text.replace(&environment, "elsewhere")).unwrap();
    let json = there.xtask(shop, &["monitor", "--json"]).expect_code(3).json();
    let none = "there is none: cargo xtask backup --target product";
    assert_eq!(line(&json, "product", "backup"), ("CRIT", none));
    fs::write(&manifest, "{").unwrap();
    let json = there.xtask(shop, &["monitor", "--json"]).expect_code(3).json();
    assert!(json["lines"].to_string().contains("manifest.json is damaged"), "{json}");
    write(1, Drill::Green).expect_code(0);
}

fn what_is_down_is_a_measurement(shop: &Shop, there: &Elsewhere) {
    Restarted::stop(shop, "order");
    Restarted::stop(shop, "source");
    let said = once(shop, there).expect_code(3);
    assert!(said.stdout.starts_with("✗ 1 CRIT, 1 warn of "), "{}", said.stdout);
    // Nobody needs the source any more.
    says(&said, &["CRIT order        connection ", "nothing listens there", "warn source       connection "]);
    says(&said, &["ok   product ", "ok   firestore "]);
    let json = there.xtask(shop, &["monitor", "--json"]).expect_code(3).json();
    assert_eq!(json["servers"]["order"]["state"], "down");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_for_prometheus_is_whole_at_any_moment() {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, &shop.settings.source.user, ON_ANY_MACHINE);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("xtask.prom");
    let path = file.to_str().unwrap();
    let nowhere = format!("{}/nowhere/xtask.prom", folder.path().display());
    let said = there.xtask(&shop, &["monitor", "--once", "--prometheus", &nowhere]);
    assert_refused("no such directory", &said, &["no file can be written there", &nowhere]);
    fs::write(&file, "what was there before").unwrap();
    there.xtask(&shop, &["monitor", "--once", "--prometheus", path]).expect_code(0);
    let text = fs::read_to_string(&file).unwrap();
    let metrics = text.lines().filter(|line| !line.starts_with('#'));
    assert!(metrics.clone().count() > 40, "{text}");
    for metric in metrics {
        let name = metric.split(['{', ' ']).next().unwrap();
        assert!(name.starts_with("xtask_") && !name.ends_with("_age_seconds"), "{metric}");
        for head in [format!("# HELP {name} "), format!("# TYPE {name} ")] {
            assert_eq!(text.matches(&head).count(), 1, "{head}");
        }
        metric.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
    }
    for metric in ["xtask_up{server=\"order\"} 1\n", "xtask_firestore_documents{collection=\"users\"} 0\n"] {
        assert!(text.contains(metric), "{metric} in {text}");
    }
    // By whoever collects it, and nothing else is left.
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    where_no_file_can_be(&shop, &there, folder.path());
}

/// What is there stays what it is: a device, a link, and the file where the disk is full.
fn where_no_file_can_be(shop: &Shop, there: &Elsewhere, folder: &Path) {
    let monitor =
        |path: &Path| there.command(shop, &["monitor", "--once", "--prometheus", path.to_str().unwrap()]);
    let said = |path: &Path| Said::from(monitor(path).output().unwrap());
    let socket = folder.join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert_refused("no file", &said(&socket), &["no file can be written there"]);
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_refused("/proc", &said(Path::new("/proc/xtask.prom")), &["its directory takes no file"]);

    let (real, link) = (folder.join("real.prom"), folder.join("link.prom"));
    fs::write(&real, "before").unwrap();
    symlink(&real, &link).unwrap();
    said(&link).expect_code(0);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let whole = fs::read_to_string(&real).unwrap();
    assert!(whole.contains("xtask_up"), "{whole}");

    let before = fs::read_dir(folder).unwrap().count();
    let inner = monitor(&real);
    let mut full = Command::new("sh");
    full.args(["-c", "trap '' XFSZ; ulimit -f 4; exec \"$@\"", "sh"]).arg(inner.get_program());
    full.args(inner.get_args()).envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = Said::from(full.output().unwrap()).expect_code(1);
    assert_words(&said, &["writing ", "real.prom"]);
    assert_eq!(fs::read_to_string(&real).unwrap(), whole);
    assert_eq!(fs::read_dir(folder).unwrap().count(), before, "nothing is left beside it");
}

/// On a terminal it goes on, and ends well with Ctrl-C.
#[tokio::test(flavor = "multi_thread")]
async fn a_screen_refreshes_until_somebody_ends_it() {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, &shop.settings.source.user, ON_ANY_MACHINE);
    let folder = tempfile::tempdir().unwrap();
    let (screen, prom) = (folder.path().join("screen"), folder.path().join("xtask.prom"));
    let arguments = ["monitor", "--every", "1s", "--prometheus", prom.to_str().unwrap()];
    let command = there.command(&shop, &arguments);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // A terminal of its own.
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" ")]).arg(&screen);
    script.stdin(std::process::Stdio::null());
    for (name, value) in command.get_envs() {
        value.map(|value| script.env(name, value));
    }
    let mut tool = Tool::start(script);
    let seen = || String::from_utf8_lossy(&fs::read(&screen).unwrap_or_default()).into_owned();
    tool.wait_for("two screens", || seen().matches("\u{1b}[H").count() >= 2);
    let newest = seen().rsplit("\u{1b}[H").nth(1).unwrap().to_string();
    let text = newest.replace("\u{1b}[K", "").replace("\u{1b}[J", "");
    assert!(text.contains("✓ ok: ") && text.contains("ok   gateway "), "{text}");
    assert!(text.lines().all(|line| line.trim_end().chars().count() <= 80), "{text}");
    assert!(prom.is_file());
    let path = prom.to_str().unwrap();
    let ours = || {
        let lines = command_lines().into_iter();
        lines.filter(|(_, line)| line.contains(path) && !line.contains("script ") && !line.contains("sh -c"))
    };
    let (pid, _) = ours().next().unwrap();
    crate::tool::send(pid, Signal::SIGINT);
    let said = tokio::task::block_in_place(|| tool.ends_within(20));
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert!(!seen().contains("interrupted"), "{}", seen());
    let gone = wait::for_state_blocking("its end", within(10, 10), || {
        Ok(if ours().count() == 0 { State::Ready(()) } else { State::NotYet("it is there") })
    });
    gone.unwrap();
}
