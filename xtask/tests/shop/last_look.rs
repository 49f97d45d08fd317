//! The last look before a cut-over is recorded: whatever has come since the source was frozen keeps it from
//! being recorded, and is named; what could write without being a session is not frozen around.

use crate::restarted::Restarted;
use crate::source::{Elsewhere, log_in, shop_with_a_service, state};
use crate::support::{Said, Shop, assert_words};
use crate::tool::Tool;
use secrecy::ExposeSecret;
use sqlx::Row;
use xtask::effects::postgres::{self, Connection};
use xtask::model::Database;
use xtask::run::freeze_log::FreezeLog;

const POLICY: &str = "freeze_roles = [\"shop_app\"]";
const FREE: (Option<String>, bool) = (None, true);

/// A cut-over that has seen the source and looks at the stores; it goes on with [`Midway::ends`].
struct Midway {
    cutover: Tool,
    busy: Connection,
}

impl Midway {
    async fn of(shop: &Shop, there: &Elsewhere) -> Midway {
        let mut busy = shop.target(Database::Order).await;
        busy.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let mut cutover = Tool::start(there.command(shop, &["cutover"]));
        cutover.wait_for_words("Cut-over: every store");
        Midway { cutover, busy }
    }

    async fn ends(mut self, code: i32) -> Said {
        self.busy.run("ROLLBACK").await.unwrap();
        tokio::task::block_in_place(|| self.cutover.ends_within(60)).expect_code(code)
    }
}

async fn on_the_source(shop: &Shop, text: &str) {
    let mut source = shop.source().await;
    source.run(text).await.unwrap();
    source.close().await.unwrap();
}

/// Meddles while a cut-over looks at the stores: it refuses with these words, and the source is free again.
async fn refused(shop: &Shop, there: &Elsewhere, meddling: &str, words: &[&str], fixing: &str) {
    let midway = Midway::of(shop, there).await;
    on_the_source(shop, meddling).await;
    let said = midway.ends(4).await;
    assert_words(&said, words);
    assert_eq!(state(shop, "shop_app").await, FREE, "{meddling}");
    assert!(shop.manifest().cutover.is_none(), "{meddling}");
    on_the_source(shop, fixing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_the_stores_are_looked_at_keeps_the_cutover_from_being_recorded() {
    let shop = shop_with_a_service().await;
    let _restarted = Restarted::source(&shop, "max_prepared_transactions = 5");
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    there.xtask(&shop, &["migrate"]).expect_code(0);

    let write = "UPDATE users SET login_count = login_count + 1 WHERE id = 1";
    let back = "UPDATE users SET login_count = login_count - 1 WHERE id = 1";
    refused(&shop, &there, write, &["the source has changed since", "public.users"], back).await;
    let reset = "ALTER DATABASE ecommerce_db RESET default_transaction_read_only";
    refused(&shop, &there, reset, &["default_transaction_read_only is not on any more"], "SELECT 1").await;
    let login = "ALTER ROLE shop_app LOGIN";
    refused(&shop, &there, login, &["shop_app can log in again"], "SELECT 1").await;
    let sly = "ALTER ROLE report SET default_transaction_read_only = off";
    let words = ["role report has default_transaction_read_only = off of its own"];
    refused(&shop, &there, sly, &words, "ALTER ROLE report RESET ALL").await;
    let prepare = format!("BEGIN; {write}; PREPARE TRANSACTION 'late'");
    let words = ["prepared transaction 'late'", "ROLLBACK PREPARED 'late'"];
    refused(&shop, &there, &prepare, &words, "ROLLBACK PREPARED 'late'").await;
    let subscribe = "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=9' PUBLICATION feed \
                     WITH (connect = false, slot_name = NONE)";
    on_the_source(&shop, subscribe).await;
    let enable = "ALTER SUBSCRIPTION feed SET (slot_name = 'feed'); ALTER SUBSCRIPTION feed ENABLE";
    let fix = "ALTER SUBSCRIPTION feed DISABLE; ALTER SUBSCRIPTION feed SET (slot_name = NONE); \
                DROP SUBSCRIPTION feed";
    refused(&shop, &there, enable, &["subscription feed is enabled", "DISABLE"], fix).await;

    // A session that stays.
    let midway = Midway::of(&shop, &there).await;
    let stranger = log_in(&shop.settings.source, "report").await.unwrap();
    let said = midway.ends(4).await;
    assert_words(&said, &["of report (shop) has come in since", "freeze_roles"]);
    drop(stranger);
    // The book.
    let source = &shop.settings.source;
    let source = format!("{}:{}/{}", source.host, source.port, source.database);
    let midway = Midway::of(&shop, &there).await;
    FreezeLog::at(shop.runs.path()).unfreeze(&source).unwrap();
    let said = midway.ends(4).await;
    assert_words(&said, &["the book of freezes says that it was undone"]);
    assert_eq!(state(&shop, "shop_app").await, FREE);

    // A role that is named only now.
    there.xtask(&shop, &["freeze"]).expect_code(0);
    there.set_policy("freeze_roles = [\"shop_app\", \"report\"]");
    let said = there.xtask(&shop, &["cutover"]).expect_code(4);
    assert_words(&said, &["freeze_roles names report, which this freeze has not kept out"]);
    there.set_policy(POLICY);
    there.xtask(&shop, &["cutover"]).expect_code(0);
}

/// Sessions of others at work on the book of runs in a database; waiting ones.
async fn waiting_for_the_book(order: &mut Connection, waiting: i64) {
    let query = format!(
        "SELECT count(*) = {waiting} FROM pg_locks WHERE relation = 'xtask.runs'::regclass AND NOT granted"
    );
    is_true(order, "who waits for the book of runs", &query).await;
}

/// Each pass waits to publish what it has written until the shop has sold once more: the last sale comes after the
/// instant of the last pass.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_last_pass_keeps_the_cutover_from_being_recorded() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    there.xtask(&shop, &["migrate"]).expect_code(0);
    there.xtask(&shop, &["catch-up"]).expect_code(0);
    there.xtask(&shop, &["freeze"]).expect_code(0);
    let sale = "SET default_transaction_read_only = off; UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1";
    on_the_source(&shop, sale).await;

    const HOLD: &str = "BEGIN; LOCK TABLE xtask.runs IN SHARE MODE";
    let mut looking = shop.target(Database::Order).await;
    let mut holding = shop.target(Database::Order).await;
    holding.run(HOLD).await.unwrap();
    let mut cutover = Tool::start(there.command(&shop, &["cutover"]));
    for pass in 1..=3 {
        waiting_for_the_book(&mut looking, 1).await;
        on_the_source(&shop, sale).await;
        if pass == 3 {
            cutover.wait_for_words("Cut-over: the last pass");
            break;
        }
        let mut next = shop.target(Database::Order).await;
        let held = tokio::spawn(async move {
            next.run(HOLD).await.unwrap();
            next
        });
        waiting_for_the_book(&mut looking, 2).await;
        holding.run("ROLLBACK").await.unwrap();
        holding = held.await.unwrap();
    }
    holding.run("ROLLBACK").await.unwrap();
    let said = tokio::task::block_in_place(|| cutover.ends_within(60)).expect_code(4);
    assert_words(&said, &["the source is not what the last pass saw", "public.orders: about 1 rows"]);
    assert!(shop.manifest().cutover.is_none());
    // Quiet at last.
    there.xtask(&shop, &["cutover"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_the_source_gave_out_are_not_given_out_again() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let given = "SELECT max(nextval('orders_id_seq')) FROM generate_series(1, 7)";
    let mut source = shop.source().await;
    let last: i64 = source.row(given).await.unwrap().get(0);
    source.close().await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(&said, &[&format!("orders_id_seq gives {} next", last + 1)]);
    let manifest = shop.manifest();
    let recorded = manifest.cutover.unwrap().stores["orders"].sequence.unwrap();
    assert_eq!(recorded.next(), last + 1);
    assert_eq!(manifest.export.unwrap().tables["orders"].sequence.next(), last + 1);
    let mut order = shop.target(Database::Order).await;
    let next: i64 = order.row("SELECT nextval('orders_id_seq')").await.unwrap().get(0);
    assert_eq!(next, last + 1);
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_writes_without_a_session_is_not_frozen_around() {
    let shop = shop_with_a_service().await;
    let _restarted = Restarted::source(&shop, "wal_level = logical\nmax_prepared_transactions = 5");
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let source = &shop.settings.source;
    let mut publisher = source.clone();
    publisher.database = "feed".into();
    on_the_source(&shop, "CREATE DATABASE feed").await;
    let mut feed = postgres::connect(&publisher, "test").await.unwrap();
    let publish = "CREATE TABLE categories (id integer, name text, created_at timestamptz); \
                   CREATE PUBLICATION feed FOR TABLE categories";
    feed.run(publish).await.unwrap();
    feed.run("SELECT pg_create_logical_replication_slot('feed', 'pgoutput')").await.unwrap();
    let subscribe = format!(
        "CREATE SUBSCRIPTION feed CONNECTION 'host={} port={} dbname=feed user=postgres password={}' \
         PUBLICATION feed WITH (create_slot = false, slot_name = 'feed', copy_data = false)",
        source.host,
        source.port,
        source.password.expose_secret()
    );
    on_the_source(&shop, &subscribe).await;
    // What is published there is written here.
    feed.run("INSERT INTO categories VALUES (777, 'fed', now())").await.unwrap();
    let mut here = shop.source().await;
    arrives(&mut here).await;
    here.run("DELETE FROM categories WHERE id = 777; BEGIN; DELETE FROM payments; PREPARE TRANSACTION 'old'")
        .await
        .unwrap();
    let said = there.xtask(&shop, &["freeze"]).expect_code(4);
    let words = [
        "subscription feed is enabled",
        "ALTER SUBSCRIPTION feed DISABLE",
        "a background worker is at work here, logical replication worker",
        "prepared transaction 'old' of postgres",
        "Nothing has been changed",
    ];
    assert_words(&said, &words);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    here.run("ROLLBACK PREPARED 'old'").await.unwrap();
    here.run("ALTER SUBSCRIPTION feed DISABLE").await.unwrap();
    // Its worker takes a moment to end.
    is_true(
        &mut here,
        "the end of the feed's worker",
        "SELECT NOT EXISTS (SELECT FROM pg_stat_subscription WHERE pid IS NOT NULL)",
    )
    .await;
    there.xtask(&shop, &["freeze"]).expect_code(0);
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
}

async fn arrives(here: &mut Connection) {
    is_true(here, "the row of the feed", "SELECT EXISTS (SELECT FROM categories WHERE id = 777)").await;
}

async fn is_true(here: &mut Connection, what: &str, query: &str) {
    use xtask::effects::wait::{State, for_state};
    let state = for_state(what, crate::tool::within(60, 50), async || {
        Ok(match here.row(query).await?.try_get(0)? {
            true => State::Ready(()),
            false => State::NotYet("not yet"),
        })
    });
    state.await.unwrap();
}
