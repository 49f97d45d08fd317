//! The source held back: a writer meets an error, whatever it sets for itself; every way out brings back
//! what was; and who may not do all of it is told so before any of it is done. And politeness: the source
//! is read no faster than told, and not at all while it is busy.

use crate::source::{Elsewhere, log_in, run, shop_with_a_service, state};
use crate::standby::Standby;
use crate::support::{Said, Shop, assert_words};
use crate::tool::{ANOTHER_SIGNAL, Tool, everything, with_small_files};
use nix::sys::signal::Signal;
use sqlx::Row;
use std::fs;
use std::time::{Duration, Instant};
use xtask::run::manifest::Manifest;

const WRITE: &str = "UPDATE users SET login_count = login_count + 1 WHERE id = 1";
const POLICY: &str = "freeze_roles = [\"shop_app\"]";

const FREE: (Option<String>, bool) = (None, true);

fn frozen() -> (Option<String>, bool) {
    (Some("default_transaction_read_only=on".to_string()), false)
}

#[tokio::test]
async fn a_writer_is_held_back_whatever_it_sets() {
    let shop = shop_with_a_service().await;
    let source = &shop.settings.source;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let mut app = log_in(source, "shop_app").await.unwrap();
    run(&mut app, WRITE).await.unwrap();

    let said = there.xtask(&shop, &["freeze"]).expect_code(0);
    assert_words(&said, &["is frozen", "shop_app cannot log in", "1 sessions ended", "unfreeze", "next: "]);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    // Its session has been ended, and it gets no other.
    run(&mut app, WRITE).await.unwrap_err();
    let error = log_in(source, "shop_app").await.unwrap_err().to_string();
    assert!(error.contains("not permitted to log in"), "{error}");
    // A role that is not named can log in, and read. That it can set itself back is why roles are named.
    let mut report = log_in(source, "report").await.unwrap();
    run(&mut report, "SELECT * FROM users").await.unwrap();
    let error = run(&mut report, WRITE).await.unwrap_err().to_string();
    assert!(error.contains("cannot execute UPDATE in a read-only transaction"), "{error}");
    run(&mut report, "SET default_transaction_read_only = off").await.unwrap();
    run(&mut report, WRITE).await.unwrap();

    let said = there.xtask(&shop, &["freeze", "--json"]).expect_code(0);
    assert_eq!(said.json()["frozen"], true);
    assert_words(&said, &["it has been since"]);
    let said = there.xtask(&shop, &["unfreeze", "--run", "20200101_000000"]).expect_code(4);
    assert_words(&said, &["was not frozen by run 20200101_000000, but by `cargo xtask freeze"]);

    let said = there.xtask(&shop, &["unfreeze"]).expect_code(0);
    let ended = "1 sessions ended that had begun read-only";
    assert_words(
        &said,
        &["is not frozen", "default_transaction_read_only reset", "shop_app can log in", ended],
    );
    assert_eq!(state(&shop, "shop_app").await, FREE);
    run(&mut log_in(source, "shop_app").await.unwrap(), WRITE).await.unwrap();
    let said = there.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_words(&said, &["there was nothing to undo"]);

    // What was before is what comes back: a setting of its own, a role that could not log in.
    let before = "ALTER DATABASE ecommerce_db SET default_transaction_read_only = 'false'; \
                  ALTER ROLE shop_app NOLOGIN";
    shop.source().await.run(before).await.unwrap();
    there.xtask(&shop, &["freeze"]).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
    let as_before = (Some("default_transaction_read_only=false".to_string()), false);
    assert_eq!(state(&shop, "shop_app").await, as_before);

    // What somebody else has changed in between is left as it is, and said.
    shop.source().await.run("ALTER ROLE shop_app LOGIN").await.unwrap();
    there.xtask(&shop, &["freeze"]).expect_code(0);
    let meanwhile =
        "ALTER DATABASE ecommerce_db RESET default_transaction_read_only; ALTER ROLE shop_app LOGIN";
    shop.source().await.run(meanwhile).await.unwrap();
    let said = there.xtask(&shop, &["freeze"]).expect_code(4);
    assert_words(&said, &["has been changed by hand since", "cargo xtask unfreeze"]);
    let said = there.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_words(&said, &["had been changed already", "shop_app could log in already"]);
    assert_eq!(state(&shop, "shop_app").await, FREE);

    // A freeze that the book does not know of is none of ours.
    shop.source()
        .await
        .run("ALTER DATABASE ecommerce_db SET default_transaction_read_only = on")
        .await
        .unwrap();
    let said = there.xtask(&shop, &["unfreeze"]).expect_code(4);
    assert_words(
        &said,
        &["freezes.jsonl knows of no freeze", "--backup-dir", "RESET default_transaction_read_only"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_out_undoes_it() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let gone = "the source is not frozen any more: default_transaction_read_only reset; shop_app can log in";

    // A failure.
    let fails = with_small_files(&there.command(&shop, &["migrate", "--freeze"])).output().unwrap();
    let said = Said::from(fails).expect_code(1);
    assert_words(&said, &["the source is frozen", gone]);
    assert_eq!(state(&shop, "shop_app").await, FREE);

    // Interruptions.
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut migrate = Tool::start(there.command(&shop, &["migrate", "--freeze"]));
        migrate.wait_for_words("the source is frozen");
        migrate.signal(signal);
        let said = tokio::task::block_in_place(|| migrate.ends_within(30)).expect_code(6);
        assert_words(&said, &["interrupted: stopping", gone]);
        assert_eq!(state(&shop, "shop_app").await, FREE, "{signal}");
    }

    // `timeout` sends two at once: they are one.
    let mut twice = Tool::start(there.command(&shop, &["migrate", "--freeze"]));
    twice.wait_for_words("the source is frozen");
    twice.signal(Signal::SIGTERM);
    twice.wait_for_words("interrupted: stopping");
    twice.signal(Signal::SIGTERM);
    let said = tokio::task::block_in_place(|| twice.ends_within(30)).expect_code(6);
    assert_words(&said, &[gone]);
    assert_eq!(state(&shop, "shop_app").await, FREE);

    // Killed: from another process.
    let mut killed = Tool::start(there.command(&shop, &["migrate", "--freeze"]));
    killed.wait_for_words("the source is frozen");
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.ends_within(5).code, None);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    let run_id = shop.latest().id().to_string();
    // Whoever looks, or is about to go on, is told.
    let frozen_since = format!(" UTC, by run {run_id} of ");
    for arguments in [&["status"][..], &["migrate", "--resume", "latest", "--confirm", "wrong"]] {
        let said = there.xtask(&shop, arguments);
        let unfreeze = "To undo it: `cargo xtask unfreeze --env /";
        assert_words(&said, &["the source is frozen since 2", &frozen_since, unfreeze]);
    }
    let said = there.xtask(&shop, &["unfreeze", "--run", &run_id]).expect_code(0);
    assert_words(&said, &["is not frozen", "default_transaction_read_only reset", "shop_app can log in"]);
    assert_eq!(state(&shop, "shop_app").await, FREE);

    // One who is not patient is told what he leaves.
    let mut stopped = Tool::start(there.command(&shop, &["migrate", "--freeze"]));
    stopped.wait_for_words("the source is frozen");
    let server = xtask::servers::native::Connections::read(shop.dir()).unwrap().server("source").unwrap().pid;
    crate::tool::send(server, Signal::SIGSTOP);
    stopped.signal(Signal::SIGINT);
    stopped.wait_for_words("interrupted: stopping");
    tokio::time::sleep(ANOTHER_SIGNAL).await;
    stopped.signal(Signal::SIGINT);
    let said = stopped.ends_within(10);
    crate::tool::send(server, Signal::SIGCONT);
    let said = said.expect_code(130);
    let again = format!("next: cargo xtask migrate --resume {} --env ", shop.latest().id());
    assert_words(&said, &["stopped at once", &again]);
    let last = said.stderr.lines().last().unwrap();
    assert!(
        last.starts_with(
            "stopped before this was undone: the source is frozen; undo it with `cargo xtask unfreeze"
        ),
        "{last}"
    );
    assert_eq!(state(&shop, "shop_app").await, frozen());

    // The next run finds it frozen, and leaves it so; after that, success.
    let said = there.xtask(&shop, &["export", "--freeze"]).expect_code(0);
    assert_words(&said, &["the source has been frozen since", "stays so"]);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
    let said = there.xtask(&shop, &["migrate", "--freeze", "--json"]).expect_code(0);
    assert_words(&said, &["the source is frozen", gone]);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    assert_eq!(said.json()["source"]["changed"], serde_json::json!({}), "nobody wrote");
}

#[tokio::test]
async fn who_may_not_is_told_before_anything_is_changed() {
    let shop = shop_with_a_service().await;
    let source = &shop.settings.source;
    let password = secrecy::ExposeSecret::expose_secret(&source.password).to_string();
    let roles = format!(
        "CREATE ROLE shop_owner; ALTER DATABASE ecommerce_db OWNER TO shop_owner; \
         CREATE ROLE mover LOGIN PASSWORD '{password}'; GRANT pg_read_all_data TO mover; \
         CREATE ROLE sly LOGIN; ALTER ROLE sly SET default_transaction_read_only = off"
    );
    shop.source().await.run(&roles).await.unwrap();
    let wrong = Elsewhere::new(&shop, "mover", "freeze_roles = [\"shop_app\", \"nobody\", \"mover\"]");
    let boss = log_in(source, "postgres").await.unwrap();
    let said = wrong.xtask(&shop, &["migrate", "--freeze"]).expect_code(4);
    let grants = ["GRANT shop_owner TO mover", "GRANT pg_signal_backend TO mover", "CREATEROLE"];
    assert_words(&said, &grants);
    let others = [
        "names nobody, which is no role",
        "names mover, as which this tool itself logs in",
        "role sly has default_transaction_read_only = off of its own",
        "of postgres (shop) is a superuser's",
        "Nothing has been changed",
    ];
    assert_words(&said, &others);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    assert_eq!(fs::read_dir(shop.runs.path()).unwrap().count(), 0, "no run, no book");
    drop(boss);

    // With each of these but one it is that one which is missing; with all of them it works.
    let there = Elsewhere::new(&shop, "mover", POLICY);
    shop.source().await.run("DROP ROLE sly").await.unwrap();
    let grants = [
        (
            "GRANT shop_owner TO mover",
            "REVOKE shop_owner FROM mover",
            "ownership of database ecommerce_db is missing",
        ),
        (
            "GRANT pg_signal_backend TO mover",
            "REVOKE pg_signal_backend FROM mover",
            "membership in pg_signal_backend is missing",
        ),
        (
            "ALTER ROLE mover CREATEROLE",
            "ALTER ROLE mover NOCREATEROLE",
            "may not take the LOGIN of shop_app away",
        ),
    ];
    for (grant, ..) in grants {
        shop.source().await.run(grant).await.unwrap();
    }
    for (grant, revoke, words) in grants {
        shop.source().await.run(revoke).await.unwrap();
        let said = there.xtask(&shop, &["freeze"]).expect_code(4);
        assert_words(&said, &[words]);
        assert_eq!(state(&shop, "shop_app").await, FREE);
        shop.source().await.run(grant).await.unwrap();
    }
    let mut app = log_in(source, "shop_app").await.unwrap();
    there.xtask(&shop, &["freeze"]).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    run(&mut app, WRITE).await.unwrap_err();
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, FREE);
}

/// A database that a superuser owns changes hands: nobody is told to become a superuser.
/// A statement that waits on the server goes on there when the tool has gone: it must not freeze the source after the
/// tool has said that nothing is frozen.
#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_that_was_under_way_does_not_come_after_its_undoing() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let mut other = shop.superuser(&shop.settings.source).await;
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        other.run("BEGIN; ALTER ROLE shop_app CONNECTION LIMIT 7").await.unwrap();
        let freezing = Tool::start(there.command(&shop, &["freeze"]));
        let mut looking = shop.superuser(&shop.settings.source).await;
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE application_name = 'xtask freeze' AND wait_event_type = 'Lock'";
        while looking.row(waits).await.unwrap().try_get::<i64, _>(0).unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        freezing.signal(signal);
        freezing.ends_within(30);
        if signal == Signal::SIGKILL {
            there.xtask(&shop, &["unfreeze"]).expect_code(0);
        }
        other.run("ROLLBACK").await.unwrap();
        let there = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'xtask freeze'";
        while looking.row(there).await.unwrap().try_get::<i64, _>(0).unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(state(&shop, "shop_app").await, FREE, "{signal}");
    }
}

#[tokio::test]
async fn nobody_is_asked_to_become_a_superuser() {
    let shop = shop_with_a_service().await;
    let password = secrecy::ExposeSecret::expose_secret(&shop.settings.source.password).to_string();
    let role = format!(
        "CREATE ROLE mover LOGIN CREATEROLE PASSWORD '{password}'; GRANT pg_read_all_data TO mover; \
         GRANT pg_signal_backend TO mover"
    );
    shop.source().await.run(&role).await.unwrap();
    let there = Elsewhere::new(&shop, "mover", POLICY);
    let before = everything(&shop).await;
    for arguments in [&["freeze"][..], &["migrate", "--freeze"]] {
        let said = there.xtask(&shop, arguments).expect_code(4);
        let owner = "ALTER DATABASE ecommerce_db OWNER TO mover";
        assert_words(&said, &["ownership of database ecommerce_db is missing: ", owner]);
        assert!(!said.stderr.contains("GRANT"), "{}", said.stderr);
        assert_eq!(state(&shop, "shop_app").await, FREE);
    }
    assert!(everything(&shop).await == before, "something has changed");
    shop.source().await.run("ALTER DATABASE ecommerce_db OWNER TO mover").await.unwrap();
    there.xtask(&shop, &["freeze"]).expect_code(0);
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
}

#[tokio::test]
async fn the_source_is_read_no_faster_than_told() {
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let fast = shop.manifest().export.unwrap();
    let rate = 0.4;
    let started = Instant::now();
    let said = shop.xtask(&["export", "--source-rate", &rate.to_string()]).expect_code(0);
    let seconds = started.elapsed().as_secs_f64();
    assert_words(&said, &["the source is read at 0.4 MB/s at most"]);
    let slow = shop.manifest().export.unwrap();
    let bytes: u64 = slow.files.iter().filter(|(name, _)| name.ends_with(".csv")).map(|(_, f)| f.bytes).sum();
    let least = bytes as f64 / (rate * 1e6);
    assert!(least > 0.1 && seconds > least, "{bytes} bytes in {seconds} s");
    let told = |e: &xtask::run::manifest::Export| {
        let table = |t: &xtask::run::manifest::TableExport| (t.content.clone(), t.outcomes.rows.clone());
        e.tables.iter().map(|(name, t)| (name.clone(), table(t))).collect::<Vec<_>>()
    };
    assert_eq!(told(&slow), told(&fast));
    for wrong in ["0", "-1", "fast", "inf"] {
        let argument = format!("--source-rate={wrong}");
        assert_words(&shop.xtask(&["export", &argument]).expect_code(2), &["a number above 0"]);
    }
    let there = Elsewhere::new(&shop, "postgres", "source_rate = 0");
    assert_words(&there.xtask(&shop, &["export"]).expect_code(4), &["a number above 0", "line"]);
    let there = Elsewhere::new(&shop, "postgres", "max_replication_lag = \"soon\"");
    assert_words(
        &there.xtask(&shop, &["export"]).expect_code(4),
        &["max_replication_lag", "\"10s\"", "line"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_while_the_source_is_busy() {
    let shop = Shop::open(0).await;
    let source = &shop.settings.source;
    let there = Elsewhere::new(&shop, "postgres", "max_active_sessions = 0\nmax_replication_lag = \"10s\"");
    let mut busy = log_in(source, "postgres").await.unwrap();
    let sleeping = tokio::spawn(async move { run(&mut busy, "SELECT pg_sleep(3600)").await });
    let mut export = Tool::start(there.command(&shop, &["export"]));
    export.wait_for_words("the source is busy, reading waits: 1 active sessions (allowed: 0)");
    export.wait_for_words("Phases 1 and 2");
    // It would be done long since: what it has of the tables is nothing, and no file is complete.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let run_dir = shop.latest();
    let csv = fs::read_dir(run_dir.path())
        .unwrap()
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|x| x == "csv") && e.metadata().unwrap().len() > 0);
    assert_eq!(csv.count(), 0);
    assert_eq!(fs::metadata(run_dir.file("full_backup.dump")).unwrap().len(), 0);
    let journal = fs::read_to_string(run_dir.file("journal.jsonl")).unwrap();
    assert!(!journal.contains("done"), "{journal}");

    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    shop.source().await.run(end).await.unwrap();
    let said = tokio::task::block_in_place(|| export.ends_within(60)).expect_code(0);
    assert_words(&said, &["the source has room again, reading goes on"]);
    sleeping.await.unwrap().unwrap_err();
    let manifest: Manifest = shop.manifest();
    assert!(manifest.export.is_some());

    let password = secrecy::ExposeSecret::expose_secret(&source.password).to_string();
    let role = format!("CREATE ROLE mover LOGIN PASSWORD '{password}'; GRANT pg_read_all_data TO mover");
    shop.source().await.run(&role).await.unwrap();
    let blind = Elsewhere::new(&shop, "mover", "max_active_sessions = 5");
    let said = blind.xtask(&shop, &["backup"]).expect_code(4);
    assert_words(&said, &["GRANT pg_read_all_stats TO mover"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pass_reads_the_source_while_it_is_busy() {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, "postgres", "max_active_sessions = 0");
    there.xtask(&shop, &["migrate"]).expect_code(0);
    shop.source().await.run("UPDATE orders SET status = 'changed' WHERE id = 1").await.unwrap();
    let mut busy = log_in(&shop.settings.source, "postgres").await.unwrap();
    let sleeping = tokio::spawn(async move { run(&mut busy, "SELECT pg_sleep(3600)").await });
    let mut pass = Tool::start(there.command(&shop, &["catch-up"]));
    pass.wait_for_words("the source is busy, reading waits: 1 active sessions (allowed: 0)");
    // It would be done long since.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(shop.manifest().export.unwrap().replays.is_empty());
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    shop.source().await.run(end).await.unwrap();
    let said = tokio::task::block_in_place(|| pass.ends_within(60)).expect_code(0);
    assert_words(&said, &["the source has room again, reading goes on", "CAUGHT UP 1 rows"]);
    sleeping.await.unwrap().unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_while_a_standby_is_behind() {
    let shop = Shop::open(0).await;
    let standby = Standby::follow(&shop).await;
    standby.wait(&shop, "max(replay_lag) IS NOT NULL").await;
    let there = Elsewhere::new(&shop, "postgres", "max_replication_lag = \"1s\"");
    standby.session().await.run("SELECT pg_wal_replay_pause()").await.unwrap();
    standby.wait(&shop, "max(replay_lag) > '2 s'").await;
    let mut export = Tool::start(there.command(&shop, &["export"]));
    export.wait_for_words("the source is busy, reading waits: a standby is ");
    export.wait_for_words("(allowed: 1 s)");
    export.wait_for_words("Phases 1 and 2");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(shop.manifest().export.is_none());
    standby.session().await.run("SELECT pg_wal_replay_resume()").await.unwrap();
    standby.wait(&shop, "max(replay_lag) < '0.5 s'").await;
    let said = tokio::task::block_in_place(|| export.ends_within(60)).expect_code(0);
    assert_words(&said, &["the source has room again, reading goes on"]);
}
