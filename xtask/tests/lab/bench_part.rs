//! The parts that look again at a proven run do look: at every row, and they say so where a row is not what it
//! was. What they are compared with reads the tables themselves.

use crate::support::Shop;
use serde_json::Value;
use std::collections::BTreeMap;
use xtask::effects::postgres::Connection;
use xtask::model::Database;

fn part(shop: &Shop, name: &str) -> Value {
    shop.xtask(&["bench-part", name, "--json"]).expect_code(0).json()
}

fn counts(said: &Value) -> BTreeMap<String, u64> {
    let counts = said["counts"].as_object().unwrap();
    counts.iter().map(|(name, rows)| (name.clone(), rows.as_u64().unwrap())).collect()
}

async fn number(connection: &mut Connection, query: &str) -> u64 {
    let row = connection.row(query).await.unwrap();
    u64::try_from(sqlx::Row::get::<i64, _>(&row, 0)).unwrap()
}

#[tokio::test]
async fn every_row_is_looked_at_and_what_has_changed_is_named() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let content = part(&shop, "content");
    let passes = &content["passes"];
    assert!((1..=5).contains(&passes["times"].as_u64().unwrap()), "{content}");
    assert!(passes["seconds"].as_f64().unwrap() > 0.0 && passes["cpu"].is_f64(), "{content}");
    assert_eq!(counts(&content), counts(&part(&shop, "target-counts")));
    assert_eq!(counts(&content).len(), 8);
    let mut order = shop.target(Database::Order).await;
    assert_eq!(counts(&content)["orders"], number(&mut order, "SELECT count(*) FROM orders").await);
    let source = counts(&part(&shop, "source-check"));
    assert_eq!(source, counts(&part(&shop, "source-counts")));
    let mut monolith = shop.source().await;
    assert_eq!(source["public.orders"], number(&mut monolith, "SELECT count(*) FROM orders").await);
    part(&shop, "structure");
    part(&shop, "references");

    order.run("UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["bench-part", "content", "--json"]).expect_code(1);
    assert!(said.stderr.contains("proved: orders"), "{}", said.stderr);
    order.run("DROP INDEX idx_orders_status").await.unwrap();
    let said = shop.xtask(&["bench-part", "structure", "--json"]).expect_code(1);
    assert!(said.stderr.contains("not green: structure"), "{}", said.stderr);
    order.run("UPDATE orders SET user_uid = 'nobody' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["bench-part", "references", "--json"]).expect_code(1);
    assert!(said.stderr.contains("not green: orders.user_uid"), "{}", said.stderr);
    monolith.run("UPDATE categories SET name = name || '!' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["bench-part", "source-check", "--json"]).expect_code(4);
    assert!(said.stderr.contains("public.categories"), "{}", said.stderr);
}

/// A count of an index says nothing of the rows' versions, and costs a fraction.
#[tokio::test]
async fn counts_read_the_heap_where_an_index_would_do() {
    let shop = Shop::open(1).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut source = shop.source().await;
    source.run("VACUUM ANALYZE").await.unwrap();
    // As on servers whose disks have no heads.
    source.run("ALTER DATABASE ecommerce_db SET random_page_cost = 1").await.unwrap();
    let mut source = shop.source().await;
    let plan = source.rows("EXPLAIN SELECT count(*) FROM orders").await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert!(plan.iter().any(|line| line.contains("Index Only Scan")), "{plan:?}");
    let scans =
        "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_indexes WHERE relname = 'orders'";
    let (before, rows) = (number(&mut source, scans).await, counts(&part(&shop, "source-counts")));
    assert_eq!(rows["public.orders"], shop.manifest().backup.unwrap().raw["public.orders"].rows);
    assert_eq!(number(&mut source, scans).await, before);
}
