//! Inputs that people who do this job have reported. A legitimate one arrives exactly, or costs its row, or is
//! refused with its name before any store is written.

use crate::support::{Said, Shop, assert_words};
use crate::tool::targets;
use datapath::document::Value;
use sqlx::Row;
use std::collections::BTreeMap;
use xtask::model::Database;

pub async fn put(shop: &Shop, sql: &str) {
    shop.superuser(&shop.settings.source).await.run(sql).await.unwrap();
}

/// Reason by id.
pub fn quarantined(shop: &Shop, table: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let path = shop.latest().file(&format!("quarantine/{table}.csv"));
    let Ok(mut reader) = csv::Reader::from_path(path) else { return BTreeMap::new() };
    let header = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| -> BTreeMap<String, String> {
        header.iter().map(str::to_string).zip(record.iter().map(str::to_string)).collect()
    };
    reader.records().map(|r| row(r.unwrap())).map(|row| (row["id"].clone(), row)).collect()
}

/// Refused, with these words, and no store is touched.
async fn refused(shop: &Shop, arguments: &[&str], words: &[&str]) -> Said {
    let before = targets(shop).await;
    let said = shop.xtask(arguments).expect_code(4);
    assert_words(&said, words);
    assert_eq!(targets(shop).await, before, "a store was touched");
    said
}

async fn one<T>(shop: &Shop, database: Database, query: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    shop.target(database).await.row(query).await.unwrap().get(0)
}

#[tokio::test]
async fn addresses_as_text_go_where_they_are_addresses() {
    let shop = Shop::open(0).await;
    put(
        &shop,
        "ALTER TABLE system_logs ALTER COLUMN ip_address TYPE varchar(45) USING host(ip_address); \
         UPDATE system_logs SET ip_address = '203.0.113.7, 10.0.0.1' WHERE id = 1; \
         UPDATE system_logs SET ip_address = 'unknown' WHERE id = 2; \
         UPDATE system_logs SET ip_address = '2001:DB8::1' WHERE id = 200; \
         UPDATE system_logs SET ip_address = '010.0.0.1' WHERE id = 201; \
         UPDATE system_logs SET ip_address = '198.51.100.7/32' WHERE id = 202",
    )
    .await;
    refused(&shop, &["migrate"], &["api_logs.ip_address: character varying(45), expected inet"]).await;
    let plan = shop.xtask(&["plan", "--accept", "column-type", "--json"]).expect_code(0).json();
    shop.xtask(&["migrate", "--accept", "column-type"]).expect_code(0);
    let rows = quarantined(&shop, "api_logs");
    for id in ["1", "2", "201"] {
        assert_eq!(rows[id]["quarantine_reason"], "value_does_not_fit", "{rows:#?}");
    }
    assert_eq!(rows["1"]["ip_address"], "203.0.113.7, 10.0.0.1");
    let detail = "ip_address: '203.0.113.7, 10.0.0.1' is no inet, or not exactly";
    assert_eq!(rows["1"]["quarantine_detail"], detail);
    let logs = &plan["tables"].as_array().unwrap().iter().find(|t| t["table"] == "api_logs").unwrap();
    assert_eq!(logs["outcomes"]["rows"]["quarantined:value_does_not_fit"], 3, "{plan:#}");
    for (id, address) in [(200, "2001:db8::1"), (202, "198.51.100.7")] {
        let query = format!("SELECT host(ip_address) FROM api_logs WHERE id = {id}");
        assert_eq!(one::<String>(&shop, Database::Gateway, &query).await, address);
    }
    // Repaired in the source, the row follows.
    put(&shop, "UPDATE system_logs SET ip_address = '203.0.113.7' WHERE id = 1").await;
    shop.xtask(&["replay"]).expect_code(0);
    let query = "SELECT host(ip_address) FROM api_logs WHERE id = 1";
    assert_eq!(one::<String>(&shop, Database::Gateway, query).await, "203.0.113.7");
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn json_goes_where_nothing_of_it_is_lost() {
    let shop = Shop::open(0).await;
    put(
        &shop,
        r#"ALTER TABLE payments ALTER COLUMN gateway_response TYPE json;
           UPDATE payments SET gateway_response = '{"a": "\u0000"}' WHERE id = 1;
           UPDATE payments SET gateway_response = '{"x": [{"a": 1, "a": 2}]}' WHERE id = 2;
           UPDATE payments SET gateway_response = '{"b": 1.50, "a": [1, {"c": null}]}' WHERE id = 3"#,
    )
    .await;
    refused(&shop, &["migrate"], &["payments.gateway_response: json, expected jsonb"]).await;
    shop.xtask(&["migrate", "--accept", "column-type"]).expect_code(0);
    let rows = quarantined(&shop, "payments");
    for id in ["1", "2"] {
        assert_eq!(rows[id]["quarantine_reason"], "value_does_not_fit", "{rows:#?}");
    }
    let kept = "SELECT gateway_response::text FROM payments WHERE id = 3";
    let kept: String = one(&shop, Database::Order, kept).await;
    assert_eq!(kept, r#"{"a": [1, {"c": null}], "b": 1.50}"#);
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn kinds_of_values_that_are_read_as_others() {
    let shop = Shop::open(0).await;
    put(
        &shop,
        "ALTER TABLE products ALTER COLUMN cost_price TYPE double precision; \
         UPDATE products SET cost_price = 0.1::float8 + 0.2::float8 WHERE id = 1; \
         UPDATE products SET cost_price = 7.25 WHERE id = 2; \
         ALTER TABLE users ALTER COLUMN login_count TYPE numeric(14,2); \
         UPDATE users SET login_count = 5.00 WHERE id = 1; UPDATE users SET login_count = 0.50 WHERE id = 200; \
         UPDATE users SET last_login_at = NULL; ALTER TABLE users ALTER COLUMN last_login_at TYPE date; \
         UPDATE users SET last_login_at = '2025-01-01' WHERE id = 201; \
         ALTER TABLE orders ALTER COLUMN status TYPE char(30); \
         ALTER TABLE orders ALTER COLUMN total_amount TYPE numeric(12,4); \
         UPDATE orders SET total_amount = 12.5000 WHERE id = 1; \
         UPDATE orders SET total_amount = 12.5050 WHERE id = 2; \
         ALTER TABLE user_sessions ALTER COLUMN session_token TYPE uuid USING md5(session_token)::uuid",
    )
    .await;
    shop.xtask(&["migrate", "--accept", "column-type"]).expect_code(0);
    assert!(quarantined(&shop, "products").contains_key("1"));
    assert_eq!(
        one::<String>(&shop, Database::Product, "SELECT cost_price::text FROM products WHERE id = 2").await,
        "7.25"
    );
    let users = quarantined(&shop, "users");
    assert!(users.contains_key("200") && users.contains_key("201"), "{users:#?}");
    let ada = shop.documents("users").await.remove("q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g").flatten().unwrap();
    assert_eq!(ada.get("login_count"), Some(&Value::Integer(5)));
    assert!(quarantined(&shop, "orders").contains_key("2"));
    assert_eq!(
        one::<String>(&shop, Database::Order, "SELECT total_amount::text FROM orders WHERE id = 1").await,
        "12.50"
    );
    let sessions = shop.documents("user_sessions").await;
    assert!(sessions.keys().all(|id| id.len() == 36) && sessions.len() > 20, "{:?}", sessions.keys());
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn a_tag_that_no_index_takes_costs_its_product() {
    let shop = Shop::open(0).await;
    put(&shop, include_str!("../../../fixtures/cases/03-tag-too-long-for-the-index.sql")).await;
    put(&shop, "UPDATE products SET tags = ARRAY[(SELECT left(string_agg(md5('t' || i), ''), 2600) FROM generate_series(1, 90) i)] WHERE id = 2").await;
    shop.xtask(&["plan"]).expect_code(0);
    shop.xtask(&["migrate"]).expect_code(0);
    let rows = quarantined(&shop, "products");
    let lost: Vec<&str> = rows
        .iter()
        .filter(|(_, row)| row["quarantine_reason"] == "value_does_not_fit")
        .map(|(id, _)| id.as_str())
        .collect();
    assert_eq!(lost, ["1"]);
    let detail = "tags: an element of 4000 bytes, the index takes 2600";
    assert_eq!(rows["1"]["quarantine_detail"], detail);
    assert_eq!(
        one::<i32>(&shop, Database::Product, "SELECT length(tags[1]) FROM products WHERE id = 2").await,
        2600
    );
}

#[tokio::test]
async fn ids_go_on_from_the_sequence_that_the_default_names() {
    let shop = Shop::open(0).await;
    put(&shop, include_str!("../../../fixtures/cases/04-sequence-that-nobody-owns.sql")).await;
    put(
        &shop,
        "ALTER SEQUENCE payments_id_seq OWNED BY NONE; SELECT setval('payments_id_seq', 7000); \
         ALTER TABLE payments ALTER COLUMN id SET DEFAULT nextval('payments_id_seq'::text); \
         CREATE SEQUENCE elsewhere START 9000; \
         ALTER TABLE order_items ALTER COLUMN id SET DEFAULT nextval('elsewhere')",
    )
    .await;
    shop.xtask(&["migrate"]).expect_code(0);
    for (table, next) in [("orders", 5001), ("payments", 7001), ("order_items", 9000)] {
        let query = format!("SELECT nextval(pg_get_serial_sequence('{table}', 'id'))");
        assert_eq!(one::<i64>(&shop, Database::Order, &query).await, next, "{table}");
    }
}

#[tokio::test]
async fn a_hundred_columns_more_stay_behind_where_that_is_accepted() {
    let shop = Shop::open(0).await;
    put(&shop, include_str!("../../../fixtures/cases/05-more-than-100-text-columns.sql")).await;
    refused(&shop, &["migrate"], &["column-extra", "100", "products.attribute_1"]).await;
    shop.xtask(&["migrate", "--accept", "column-extra"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn casts_and_collations_of_the_source_mean_nothing_to_us() {
    let shop = Shop::open(0).await;
    put(&shop, include_str!("../../../fixtures/cases/06c-email-that-ignores-case.sql")).await;
    put(&shop, include_str!("../../../fixtures/cases/29-implicit-casts-to-text.sql")).await;
    put(
        &shop,
        "ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key; \
         ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key; \
         ALTER TABLE users ALTER COLUMN firebase_uid TYPE varchar(255) COLLATE ignore_case; \
         ALTER TABLE user_sessions ALTER COLUMN session_token TYPE varchar(255) COLLATE ignore_case; \
         ALTER TABLE products ALTER COLUMN slug TYPE varchar(255) COLLATE ignore_case; \
         ALTER TABLE products ALTER COLUMN name TYPE varchar(255) COLLATE ignore_case; \
         UPDATE orders SET status = repeat('x', 31) WHERE id = 1",
    )
    .await;
    shop.xtask(&["doctor"]).expect_code(0);
    shop.xtask(&["plan"]).expect_code(0);
    shop.xtask(&["migrate"]).expect_code(0);
    assert_eq!(quarantined(&shop, "orders")["1"]["quarantine_reason"], "value_does_not_fit");
    shop.xtask(&["verify"]).expect_code(0);
    put(&shop, "UPDATE users SET email = upper(email) WHERE id = 1").await;
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(&said, &["public.users: about 1 row"]);
}

#[tokio::test]
async fn an_empty_uid_is_none() {
    let shop = Shop::open(0).await;
    put(
        &shop,
        "UPDATE users SET firebase_uid = NULL WHERE firebase_uid = ''; \
         INSERT INTO users (id, firebase_uid, email, created_at) VALUES (7000, '', 'ada@x', now()); \
         INSERT INTO orders (id, user_id, total_amount, created_at) VALUES (7000, 7000, 1, now()); \
         INSERT INTO product_reviews (id, product_id, user_id, rating, created_at) VALUES (7000, 1, 7000, 5, now()); \
         INSERT INTO system_logs (id, message, user_id, created_at) VALUES (7000, 'x', 7000, now()); \
         INSERT INTO analytics_events (id, event_name, user_id, created_at) VALUES (7000, 'x', 7000, now()); \
         INSERT INTO user_sessions (id, user_id, session_token, created_at) VALUES (7000, 7000, 'ofNobody', now())",
    )
    .await;
    shop.xtask(&["migrate"]).expect_code(0);
    for (table, id, reason) in [
        ("users", "7000", "uid_missing"),
        ("user_sessions", "7000", "user_quarantined"),
        ("orders", "7000", "user_without_uid"),
        ("product_reviews", "7000", "user_without_uid"),
    ] {
        assert_eq!(quarantined(&shop, table)[id]["quarantine_reason"], reason, "{table}");
    }
    for table in ["api_logs", "analytics_events"] {
        let query = format!("SELECT user_uid IS NULL FROM {table} WHERE id = 7000");
        assert!(one::<bool>(&shop, Database::Gateway, &query).await, "{table}");
        let notes = std::fs::read_to_string(shop.latest().file(&format!("notes/{table}.csv"))).unwrap();
        assert!(notes.contains("7000,user_id 7000: the user has no firebase_uid"), "{notes}");
    }
    // Given an uid in the source, they all follow.
    put(&shop, "UPDATE users SET firebase_uid = 'ada' WHERE id = 7000").await;
    shop.xtask(&["replay"]).expect_code(0);
    let query = "SELECT user_uid FROM orders WHERE id = 7000";
    assert_eq!(one::<String>(&shop, Database::Order, query).await, "ada");
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn a_source_with_exactly_the_columns_of_the_guide_goes() {
    let shop = Shop::open(0).await;
    put(&shop, "ALTER TABLE system_logs DROP COLUMN level").await;
    shop.xtask(&["plan"]).expect_code(0);
    shop.xtask(&["migrate"]).expect_code(0);
    let file = std::fs::read_to_string(shop.latest().file("api_logs.csv")).unwrap();
    assert!(file.lines().next().unwrap().ends_with(",level"), "{file}");
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn quarantine_says_which_column_and_what_it_holds_whatever_the_source_calls_its_columns() {
    let shop = Shop::open(0).await;
    put(
        &shop,
        "ALTER TABLE orders ADD COLUMN quarantine_reason text, ADD COLUMN outcome text, ADD COLUMN note text; \
         UPDATE orders SET quarantine_reason = 'theirs', outcome = 'theirs', note = 'theirs'; \
         ALTER TABLE orders ALTER COLUMN status TYPE text; UPDATE orders SET status = repeat('x', 31) WHERE id = 1; \
         ALTER TABLE orders ALTER COLUMN total_amount DROP NOT NULL, ALTER COLUMN created_at DROP NOT NULL; \
         UPDATE orders SET total_amount = NULL, created_at = NULL WHERE id = 2",
    )
    .await;
    refused(&shop, &["migrate"], &["orders.note", "orders.outcome", "orders.quarantine_reason"]).await;
    shop.xtask(&["migrate", "--accept", "column-extra"]).expect_code(0);
    let orders = quarantined(&shop, "orders");
    for (id, reason, detail) in [
        ("1", "value_does_not_fit", "status: 31 characters, the target takes 30"),
        ("2", "value_missing", "created_at: NULL; total_amount: NULL"),
        ("930", "user_missing", "user_id: NULL"),
    ] {
        let row = &orders[id];
        let of_ours = (row["xtask_quarantine_reason"].as_str(), row["quarantine_detail"].as_str());
        assert_eq!(of_ours, (reason, detail), "{id}");
        assert_eq!(row["quarantine_reason"], "theirs");
    }
    let users = quarantined(&shop, "users");
    let of = |reason: &str| {
        let row = users.values().find(|row| row["quarantine_reason"] == reason).unwrap();
        row["quarantine_detail"].clone()
    };
    assert!(of("uid_not_an_id").starts_with("firebase_uid: "), "{users:#?}");
    assert!(
        of("time_out_of_range").contains(": infinity") || of("time_out_of_range").contains("BC"),
        "{users:#?}"
    );
    assert!(of("document_too_large").ends_with(" bytes"), "{users:#?}");
    let sessions = quarantined(&shop, "user_sessions");
    let token = sessions.values().find(|row| row["quarantine_reason"] == "token_not_an_id").unwrap();
    assert!(token["quarantine_detail"].starts_with("session_token: "), "{sessions:#?}");
    assert!(token["quarantine_detail"].ends_with(" bytes"), "{sessions:#?}");
    shop.xtask(&["verify"]).expect_code(0);
}

/// The service's own tables, made before the data comes.
async fn with_tables(shop: &Shop, database: Database) {
    shop.target(database).await.run(xtask::tables::schema(database).text).await.unwrap();
}

#[tokio::test]
async fn ids_beyond_integer_go_where_there_is_room_for_them() {
    let shop = Shop::open(0).await;
    put(&shop, include_str!("../../../fixtures/cases/34-sequence-beyond-integer.sql")).await;
    put(
        &shop,
        "ALTER TABLE orders ALTER COLUMN id TYPE bigint; ALTER TABLE order_items ALTER COLUMN order_id TYPE bigint; \
         ALTER TABLE payments ALTER COLUMN order_id TYPE bigint; ALTER TABLE product_reviews ALTER COLUMN order_id TYPE bigint; \
         ALTER SEQUENCE orders_id_seq AS bigint; SELECT setval('orders_id_seq', 4000000000); \
         INSERT INTO orders (id, user_id, total_amount, created_at) VALUES (3999999999, 1, 1, now()); \
         INSERT INTO order_items (id, order_id, product_id, quantity, unit_price, created_at) \
             VALUES (7000, 3999999999, 1, 1, 1, now()); \
         INSERT INTO payments (id, order_id, amount, created_at) VALUES (7000, 3999999999, 1, now()); \
         INSERT INTO product_reviews (id, product_id, user_id, order_id, rating, created_at) VALUES (7000, 1, 1, 3999999999, 5, now())",
    )
    .await;
    // Tables that are there and too narrow, and what makes them wide.
    with_tables(&shop, Database::Order).await;
    let words = [
        "orders.id in order",
        "is integer, and the source's ids have come to 4,000,000,000",
        "ALTER TABLE orders ALTER COLUMN id TYPE bigint; ALTER SEQUENCE public.orders_id_seq AS bigint;",
        "ALTER TABLE order_items ALTER COLUMN order_id TYPE bigint;",
        "ALTER TABLE payments ALTER COLUMN order_id TYPE bigint;",
    ];
    refused(&shop, &["migrate"], &words).await;
    refused(&shop, &["plan"], &words).await;
    let wide = "ALTER TABLE orders ALTER COLUMN id TYPE bigint; ALTER SEQUENCE public.orders_id_seq AS bigint; \
                ALTER TABLE order_items ALTER COLUMN order_id TYPE bigint; \
                ALTER TABLE payments ALTER COLUMN order_id TYPE bigint;";
    shop.target(Database::Order).await.run(wide).await.unwrap();
    shop.xtask(&["migrate"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    for (database, query, expected) in [
        (Database::Order, "SELECT nextval('orders_id_seq')", 4_000_000_001_i64),
        (Database::Order, "SELECT order_id FROM payments WHERE id = 7000", 3_999_999_999),
        (Database::Order, "SELECT order_id FROM order_items WHERE id = 7000", 3_999_999_999),
        (Database::Product, "SELECT order_id FROM product_reviews WHERE id = 7000", 3_999_999_999),
        // Made by the tool, as wide as in the source.
        (Database::Gateway, "SELECT nextval('api_logs_id_seq')", 3_000_000_001),
    ] {
        assert_eq!(one::<i64>(&shop, database, query).await, expected, "{query}");
    }
    // What is damaged is repaired as wide as it was.
    shop.target(Database::Order).await.run("DELETE FROM payments WHERE id = 7000").await.unwrap();
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
}
