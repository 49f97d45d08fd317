//! Whatever a DBA has set for roles and databases, sessions of ours are the same: what a statement means, what
//! a value's text is, which rows are seen, when a session ends.

use crate::support::{Shop, assert_words};
use crate::tool::{Tool, targets, within};
use sqlx::Row;
use xtask::effects::postgres::Connection;
use xtask::effects::wait::{self, State};
use xtask::model::Database;
use xtask::tables;

/// Settings that a role may have, with what each did to a run.
const ODD: &[(&str, &str)] = &[
    ("idle_session_timeout", "'300ms'"),
    ("idle_in_transaction_session_timeout", "'300ms'"),
    ("statement_timeout", "'50ms'"),
    ("lock_timeout", "'1ms'"),
    ("client_encoding", "'LATIN1'"),
    ("standard_conforming_strings", "off"),
    ("array_nulls", "off"),
    ("quote_all_identifiers", "on"),
    ("transform_null_equals", "on"),
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_deferrable", "on"),
    ("default_transaction_read_only", "on"),
    ("synchronous_commit", "off"),
    ("datestyle", "'German, DMY'"),
    ("intervalstyle", "'sql_standard'"),
    ("timezone", "'Asia/Kathmandu'"),
    ("bytea_output", "'escape'"),
    ("extra_float_digits", "-15"),
    ("xmlbinary", "'hex'"),
    ("search_path", "'pg_catalog'"),
    ("row_security", "on"),
];

async fn give_odd_settings(shop: &Shop) {
    let source = &shop.settings.source;
    for server in [source].into_iter().chain(Database::ALL.map(|d| shop.settings.target(d))) {
        let mut superuser = shop.superuser(server).await;
        // A target that its service could not write to is refused.
        let odd = ODD.iter().filter(|(name, _)| server.label == source.label || !name.ends_with("read_only"));
        for (name, value) in odd {
            let set = format!("ALTER ROLE {} SET {name} = {value}", server.user);
            superuser.run(&set).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_with_odd_settings_migrates_like_any_other() {
    let shop = Shop::open(0).await;
    shop.source().await.run("UPDATE users SET first_name = 'Łucja \u{1F600} \\' WHERE id = 1").await.unwrap();
    give_odd_settings(&shop).await;
    shop.xtask(&["doctor"]).expect_code(0);
    shop.xtask(&["migrate"]).expect_code(0);
    let dump = std::fs::read_to_string(shop.latest().file("full_backup.sql")).unwrap();
    assert!(dump.contains("Łucja \u{1F600} \\"), "the dump is in another encoding than its database");
    assert!(dump.contains("SET standard_conforming_strings = on"), "{}", &dump[..400]);
    shop.xtask(&["verify"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
}

/// As the service's own migrations make them: there before the data. What builds the tables aside waits for
/// the lock 42.
async fn with_tables(shop: &Shop) -> Connection {
    let mut order = shop.target(Database::Order).await;
    order.run(tables::schema(Database::Order).text).await.unwrap();
    let hold = "
        CREATE FUNCTION public.hold() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands() WHERE schema_name = 'xtask_staging') THEN
                PERFORM pg_advisory_lock_shared(42);
                PERFORM pg_advisory_unlock_shared(42);
            END IF;
        END $$;
        CREATE EVENT TRIGGER hold ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.hold();
        SELECT pg_advisory_lock(42)";
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run(hold).await.unwrap();
    superuser
}

/// Until somebody waits for this kind of lock.
async fn somebody_waits(shop: &Shop, kind: &str) {
    let mut watch = shop.superuser(&shop.settings.order).await;
    let waits = format!("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = '{kind}'");
    let waiting = wait::for_state("the import to wait", within(60, 20), async || {
        let waiting: i64 = watch.row(&waits).await?.try_get(0)?;
        Ok(if waiting > 0 { State::Ready(()) } else { State::NotYet("nobody waits") })
    });
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_comes_while_the_import_waits_is_seen_whatever_the_role_isolates() {
    for isolation in ["repeatable read", "serializable"] {
        let shop = Shop::open(0).await;
        let mut holder = with_tables(&shop).await;
        let role = &shop.settings.order.user;
        let set = format!("ALTER ROLE {role} SET default_transaction_isolation = '{isolation}'");
        holder.run(&set).await.unwrap();
        let migrate = Tool::start(shop.command(&["migrate"]));
        somebody_waits(&shop, "advisory").await;
        let late = "BEGIN; INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('late', 1, now())";
        let mut service = shop.target(Database::Order).await;
        service.run(late).await.unwrap();
        holder.run("SELECT pg_advisory_unlock(42)").await.unwrap();
        somebody_waits(&shop, "relation").await;
        service.run("COMMIT").await.unwrap();
        let said = tokio::task::block_in_place(|| migrate.ends_within(60)).expect_code(4);
        assert_words(&said, &["1 rows have appeared in orders"]);
        let rows = shop.target(Database::Order).await.row("SELECT user_uid FROM orders").await.unwrap();
        assert_eq!(rows.get::<String, _>(0), "late", "{isolation}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_foreign_keys_are_not_checked_are_refused() {
    let shop = Shop::open(0).await;
    let role = shop.settings.order.user.clone();
    let mut superuser = shop.superuser(&shop.settings.order).await;
    superuser.run(&format!("ALTER ROLE {role} SET session_replication_role = replica")).await.unwrap();
    let before = targets(&shop).await;
    let said = shop.xtask(&["migrate"]).expect_code(4);
    assert_eq!(targets(&shop).await, before);
    assert_words(&said, &["session_replication_role = replica", "RESET session_replication_role"]);
}
