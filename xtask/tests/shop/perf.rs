//! `perf` asks the services' queries of both sides: what is worse on the new one is a finding, all else is
//! said, and nothing is written.

use crate::restarted::Restarted;
use crate::support::{Shop, assert_refused, assert_words, says};
use crate::tool::targets;
use serde_json::Value;
use xtask::model::Database;
use xtask::run::statements::FILE;

/// More orders and items than the smallest shop has: none of their tables is read from end to end for one order.
async fn with_many_items(shop: &Shop) {
    let rows = "
        WITH made AS (
            INSERT INTO orders (user_id, total_amount, status, created_at)
            SELECT 1, 10, 'paid', now() - g * interval '1 minute' FROM generate_series(1, 2000) g RETURNING id
        )
        INSERT INTO order_items (order_id, product_id, product_name, quantity, unit_price, created_at)
        SELECT id, 1, 'a thing', 1, 10, now() FROM made, generate_series(1, 6);
        ANALYZE orders, order_items";
    shop.source().await.run(rows).await.unwrap();
}

/// A statement that is slow, and often called; and one with a password, which the extension keeps as it is.
async fn with_slow_statements(shop: &Shop) {
    let mut source = shop.source().await;
    source.run("CREATE ROLE reader PASSWORD 'canary-of-perf'").await.unwrap();
    for asked in 1..=100 {
        source.run(&format!("SELECT pg_sleep(0.021), {asked} AS asked")).await.unwrap();
    }
}

#[track_caller]
fn query<'a>(json: &'a Value, name: &str) -> &'a Value {
    let queries = json["queries"].as_array().unwrap();
    queries.iter().find(|q| q["query"] == name).unwrap_or_else(|| panic!("no {name} in {json}"))
}

fn kinds(findings: &Value) -> Vec<&str> {
    findings.as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_services_queries_are_compared_on_both_sides() {
    let shop = Shop::open(0).await;
    with_many_items(&shop).await;
    let before = ["not everything has been migrated", "there is no table products", "cargo xtask migrate"];
    assert_refused("before the migration", &shop.xtask(&["perf"]), &before);
    nothing_is_kept(&shop, "the extension pg_stat_statements is not installed there");
    shop.source().await.run("CREATE EXTENSION pg_stat_statements").await.unwrap();
    nothing_is_kept(&shop, "pg_stat_statements must be loaded via");

    let restarted = Restarted::source(&shop, "shared_preload_libraries = 'pg_stat_statements'");
    with_slow_statements(&shop).await;
    shop.xtask(&["migrate"]).expect_code(0);
    green(&shop).await;
    what_was_slow_is_told(&shop);
    tables_that_nobody_analyzed_are_refused(&shop).await;
    a_locked_table_is_refused(&shop).await;
    a_dropped_index_is_found(&shop).await;

    drop(restarted);
    let gone = ["source (", "nothing listens there", "cargo xtask doctor"];
    assert_refused("the old database is gone", &shop.xtask(&["perf"]), &gone);
    assert_refused(
        "and a run is read",
        &shop.xtask(&["perf", "--run", "latest"]),
        &["nothing listens there"],
    );
}

/// Where nobody counts statements.
#[track_caller]
fn nothing_is_kept(shop: &Shop, why: &str) {
    let said = shop.xtask(&["backup"]).expect_code(0);
    assert_words(&said, &["no statements.json is kept", why]);
    assert!(!shop.latest().file(FILE).exists());
    assert!(!shop.manifest().backup.unwrap().files.contains_key(FILE));
}

async fn green(shop: &Shop) {
    let before = targets(shop).await;
    let directories = shop.directories();
    let said = shop.xtask(&["perf", "--repeat", "2"]).expect_code(0);
    assert!(said.stdout.starts_with("✓ NO REGRESSION 9 queries"), "{}", said.stdout);
    let items = "order_items by order_items_order_id_idx → order_items by idx_order_items_order_id";
    // The smallest shop has no events.
    let events = "events_of_user        api-gateway      not compared: the old side has no row";
    says(
        &said,
        &[items, events, "remark: order: ", " indexes not used since 20", "idx_payments_transaction_id"],
    );
    assert_words(&said, &["next: cargo xtask cutover"]);
    assert_eq!((targets(shop).await, shop.directories()), (before, directories));

    let json = shop.xtask(&["perf", "--json"]).expect_code(0).json();
    assert_eq!((&json["regressed"], json["queries"].as_array().unwrap().len()), (&Value::Bool(false), 10));
    let orders = query(&json, "orders_of_user");
    assert_eq!(orders["service"], "order");
    let uid =
        |json: &Value| query(json, "orders_of_user")["parameters"]["user_uid"].as_str().unwrap().to_string();
    assert!(uid(&json).starts_with("*** ("), "{orders}");
    for line in json["queries"].as_array().unwrap().iter().filter(|line| !line["sides"].is_null()) {
        let side = |name: &str| &line["sides"][name]["measured"];
        for side in [side("old"), side("new")] {
            assert!(side["buffers"].as_u64().unwrap() > 0 && !side["scans"][0]["table"].is_null(), "{line}");
        }
        assert_eq!(side("old")["rows"], side("new")["rows"], "{line}");
        assert!(side("new")["rows"].as_u64().unwrap() > 0, "{line}");
    }
    let shown = shop.xtask(&["perf", "--json", "--show-values"]).expect_code(0).json();
    let row = shop.source().await.row("SELECT firebase_uid::text FROM users WHERE id = 1").await.unwrap();
    assert_eq!(uid(&shown), sqlx::Row::get::<String, _>(&row, 0));
}

fn what_was_slow_is_told(shop: &Shop) {
    let run = shop.latest();
    let saved = std::fs::read_to_string(run.file(FILE)).unwrap();
    assert!(saved.contains("pg_sleep($1)") && !saved.contains("canary"), "{saved}");
    let said = shop.xtask(&["perf", "--run", "latest"]).expect_code(0);
    let slow = [
        "slow in the old database (2",
        " ms, 100 calls; not seen in the new ones",
        "SELECT pg_sleep($1), $2 AS asked",
    ];
    says(&said, &slow);
    says(&said, &["no statements of order: the extension pg_stat_statements is not installed there"]);
    let json = shop.xtask(&["perf", "--run", run.id(), "--json"]).expect_code(0).json();
    let remarks = kinds(&json["remarks"]);
    assert_eq!(remarks.iter().filter(|kind| **kind == "slow_before").count(), 1, "{remarks:?}");

    // Of a run that has none it is said; of one whose file was changed nothing is believed.
    let first = xtask::run::dir::ids(shop.runs.path()).unwrap().remove(0);
    let said = shop.xtask(&["perf", "--run", &first]).expect_code(0);
    says(&said, &["no statements of the old database: the run's backup found none to save"]);
    std::fs::write(run.file(FILE), saved.replace("pg_sleep", "pg_slept")).unwrap();
    let said = shop.xtask(&["perf", "--run", "latest"]);
    assert_refused("a changed file", &said, &["statements.json is not the file that was written", "SHA-256"]);
    std::fs::write(run.file(FILE), saved).unwrap();
}

async fn tables_that_nobody_analyzed_are_refused(shop: &Shop) {
    let mut order = shop.superuser(&shop.settings.order).await;
    let forget = "
        DELETE FROM pg_statistic WHERE starelid = 'payments'::regclass;
        SELECT pg_stat_reset_single_table_counters('payments'::regclass)";
    order.run(forget).await.unwrap();
    let said = shop.xtask(&["perf"]);
    assert_refused("without statistics", &said, &["order (", "ANALYZE public.payments;", "only reads"]);
    assert!(!said.stderr.contains("ANALYZE public.orders"), "{}", said.stderr);
    order.run("ANALYZE payments").await.unwrap();
    shop.xtask(&["perf", "--repeat", "1"]).expect_code(0);
}

/// It is not taken for a slow query, and nobody waits for it for ever.
async fn a_locked_table_is_refused(shop: &Shop) {
    let mut holder = shop.target(Database::Gateway).await;
    holder.run("BEGIN; LOCK TABLE api_logs").await.unwrap();
    let said = shop.xtask(&["perf"]);
    assert_refused(
        "a locked table",
        &said,
        &["a table is locked, by", "gateway (", "api_logs", "pg_terminate_backend"],
    );
    holder.run("ROLLBACK").await.unwrap();
}

async fn a_dropped_index_is_found(shop: &Shop) {
    shop.target(Database::Order).await.run("DROP INDEX idx_order_items_order_id").await.unwrap();
    let said = shop.xtask(&["perf"]).expect_code(3);
    assert!(said.stdout.starts_with("✗ REGRESSED 1 of 9 queries: items_of_order"), "{}", said.stdout);
    let finding = "✗ items_of_order (order-service): reads ";
    let scan = " rows) from end to end, where the old side goes by order_items_order_id_idx";
    says(&said, &[finding, "more than 3 times as many", "reads order_items (about 12,", scan]);
    assert_words(
        &said,
        &["verification differs: worse than on the old side: items_of_order", "next: cargo xtask verify"],
    );
    let json = shop.xtask(&["perf", "--json", "--factor", "100000"]).expect_code(3).json();
    assert_eq!(kinds(&query(&json, "items_of_order")["findings"]), ["sequential_scan"]);
    assert_eq!(json["regressed"], true);
    let again = "CREATE INDEX idx_order_items_order_id ON order_items (order_id)";
    shop.target(Database::Order).await.run(again).await.unwrap();
    shop.xtask(&["perf", "--repeat", "1"]).expect_code(0);
}
