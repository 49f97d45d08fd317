//! What was proven and has not changed is not read again: at the end of a run, by verify, at the cut-over. What
//! has changed is, and only that; with `--full` everything is.

use crate::source::Elsewhere;
use crate::support::{Said, Shop, assert_words, says};
use datapath::digest::Digest;
use serde_json::Value;
use std::collections::BTreeMap;
use xtask::changes;
use xtask::model::Database;
use xtask::stores::remembering;

/// By table: since when it stands unchanged, or null where its rows were read.
fn unread(said: &Said) -> Vec<String> {
    let report = said.json();
    let tables = report["tables"].as_array().unwrap().iter();
    let unread = tables.filter(|t| t["unchanged_since"].is_string());
    unread.map(|t| t["table"].as_str().unwrap().to_string()).collect()
}

const ALL: [&str; 8] = [
    "categories",
    "products",
    "product_reviews",
    "orders",
    "order_items",
    "payments",
    "api_logs",
    "analytics_events",
];

fn without(names: &[&str]) -> Vec<String> {
    ALL.iter().filter(|name| !names.contains(name)).map(ToString::to_string).collect()
}

/// The report of `verify` at once.
fn verified(shop: &Shop, code: i32, more: &[&str]) -> Said {
    let arguments: Vec<&str> = ["verify", "--json"].iter().chain(more).copied().collect();
    shop.xtask(&arguments).expect_code(code)
}

#[tokio::test]
async fn only_what_has_changed_is_read_again() {
    let shop = Shop::open(0).await;
    let migrated = shop.xtask(&["migrate", "--json"]).expect_code(0);
    assert_eq!(unread(&migrated), without(&[]), "phase 4 has proven them a moment before");
    let source = &migrated.json()["source"];
    assert_eq!((&source["by_versions"], &source["by_digest"]), (&Value::from(11), &Value::from(0)));

    assert_eq!(unread(&verified(&shop, 0, &[])), without(&[]));
    // A server that lost the row which was left there was put back.
    let mut orders = shop.target(Database::Order).await;
    orders.run("DELETE FROM xtask.instants").await.unwrap();
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&["orders", "order_items", "payments"]));
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&[]));
    assert_eq!(unread(&verified(&shop, 0, &["--full"])), Vec::<String>::new());
    says(&shop.xtask(&["verify"]).expect_code(0), &["rows: 8 tables of PostgreSQL", "verify --full"]);

    orders
        .run("UPDATE orders SET total_amount = total_amount + 1 WHERE id = (SELECT min(id) FROM orders)")
        .await
        .unwrap();
    let red = verified(&shop, 3, &[]);
    assert_eq!(unread(&red), without(&["orders"]));
    assert!(red.stdout.contains("total_amount"), "{}", red.stdout);
    // As it was, by value: read again, once.
    orders
        .run("UPDATE orders SET total_amount = total_amount - 1 WHERE id = (SELECT min(id) FROM orders)")
        .await
        .unwrap();
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&["orders"]));
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&[]));
}

#[tokio::test]
async fn what_a_crash_could_undo_is_not_remembered() {
    let shop = Shop::open(0).await;
    // Who may not do this cannot make sure of anything.
    let forbid = "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC";
    let mut source = shop.source().await;
    let password = secrecy::ExposeSecret::expose_secret(&shop.settings.source.password).to_string();
    let role = format!("CREATE ROLE mover LOGIN PASSWORD '{password}'; GRANT pg_read_all_data TO mover");
    source.run(&format!("{forbid}; {role}")).await.unwrap();
    let said = Elsewhere::new(&shop, "mover", "").xtask(&shop, &["backup", "--verbose"]).expect_code(0);
    assert_words(&said, &["public.users will have to be digested again: it cannot be made sure"]);
    assert_eq!(shop.manifest().backup.unwrap().remembered, BTreeMap::new());

    shop.xtask(&["migrate"]).expect_code(0);
    let mut orders = shop.superuser(&shop.settings.order).await;
    orders.run(&format!("{forbid}; DELETE FROM xtask.instants")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(unread(&verified(&shop, 0, &[])), without(&["orders", "order_items", "payments"]));
    }
}

#[tokio::test]
async fn what_was_proven_to_be_something_else_is_read_again() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let other = |manifest: &mut xtask::run::manifest::Manifest| {
        // As many rows.
        manifest.remembered.get_mut("orders").unwrap().content.add(Digest::new(0, Some("1")).unwrap());
        Ok(())
    };
    shop.latest().change_manifest(other).unwrap();
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&["orders"]));
    assert_eq!(unread(&verified(&shop, 0, &[])), without(&[]));
}

#[tokio::test]
async fn a_table_that_somebody_wrote_to_since_it_was_loaded_is_not_remembered() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let (ctx, export) = (shop.ctx_of(shop.latest()), shop.manifest().export.unwrap());
    let mut orders = shop.target(Database::Order).await;
    let writers = orders.rows("SELECT DISTINCT xmin::text FROM orders").await.unwrap();
    let writers = writers.iter().map(|row| sqlx::Row::get::<String, _>(row, 0).parse().unwrap()).collect();
    let place = remembering::place("orders");
    changes::begin(&mut orders, place).await.unwrap();
    let written = changes::written(&mut orders, place, writers).await.unwrap().unwrap();
    orders.run("COMMIT").await.unwrap();
    let proven = BTreeMap::from([("orders", written)]);
    let remembered = remembering::loaded(&ctx, &mut orders, &export, &proven).await.unwrap();
    assert_eq!(remembered.keys().collect::<Vec<_>>(), ["orders"]);
    orders.run("UPDATE orders SET id = id WHERE id = (SELECT min(id) FROM orders)").await.unwrap();
    let remembered = remembering::loaded(&ctx, &mut orders, &export, &proven).await.unwrap();
    assert_eq!(remembered, BTreeMap::new());
}

#[tokio::test]
async fn a_run_that_is_resumed_believes_what_has_not_changed() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    // Everything is there, but nothing says that it was proven.
    shop.latest()
        .change_manifest(|manifest| {
            manifest.proof = None;
            Ok(())
        })
        .unwrap();
    let mut products = shop.target(Database::Product).await;
    products
        .run("DELETE FROM product_reviews WHERE id = (SELECT min(id) FROM product_reviews)")
        .await
        .unwrap();
    let said = shop.xtask(&["migrate", "--resume", "latest"]).expect_code(4);
    assert!(said.stderr.contains("product_reviews"), "{}", said.stderr);
}

#[tokio::test]
async fn the_source_at_the_cut_over_is_told_by_versions_and_what_changed_by_digest() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut source = shop.superuser(&shop.settings.source).await;
    // A row written again with the values that it had is no change; it costs one digest.
    source.run("UPDATE products SET name = name WHERE id = 1").await.unwrap();
    shop.xtask(&["cutover"]).expect_code(0);
    let check = shop.manifest().source.unwrap();
    assert_eq!((check.by_versions, check.by_digest), (10, 1));
    let cutover = shop.manifest().cutover.unwrap();
    let export = shop.manifest().export.unwrap();
    for (table, state) in cutover.stores {
        assert_eq!(state.content, export.tables[&table].content.total(), "{table}");
    }
}

#[tokio::test]
async fn a_changed_source_is_refused_at_the_cut_over() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run("UPDATE products SET name = name || '!' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert!(said.stderr.contains("public.products: about 1 row"), "{}", said.stderr);
}
