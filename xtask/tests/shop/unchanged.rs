//! What was proven and has not changed is not read again: at the end of a run, by verify, at the cut-over. What
//! has changed is, and only that; with `--full` everything is.

use crate::support::{Said, Shop, says};
use serde_json::Value;
use xtask::model::Database;

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
