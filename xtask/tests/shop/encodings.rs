//! Sources whose text is not UTF-8: one in LATIN1, one that knows no encoding, and one that lies about it.
//! What can be decoded arrives as UTF-8, proven by digests; what cannot costs its rows only, and its bytes
//! are kept.

use crate::support::Shop;
use datapath::document::Value;
use datapath::firestore::Unconditional;
use sqlx::Row;
use std::collections::BTreeMap;
use xtask::commands::{migrate, verify};
use xtask::model::Database;
use xtask::phases::p5_verify::Depth;
use xtask::source::Handling;
use xtask::sql::HashFn;

/// Rows in ASCII with letters of the encoding put in as bytes: `é` stands for what `e_acute` gives.
fn rows(text: impl Fn(&str) -> String) -> String {
    let t = |s: &str| text(s);
    format!(
        "INSERT INTO users (id, firebase_uid, email, first_name, user_agent, created_at) VALUES
             (1, 'uid1', 'a@x', {josé}, {nel}, '2025-01-01'), (2, {uid}, 'b@x', {umlauts}, '', '2025-01-01');
         INSERT INTO user_sessions (id, user_id, session_token, browser, created_at) VALUES
             (1, 1, 'token1', {josé}, '2025-01-01'), (2, 2, 'token2', NULL, '2025-01-01');
         INSERT INTO categories (id, name, created_at) VALUES (1, {umlauts}, '2025-01-01');
         INSERT INTO products (id, name, price, category_id, tags, created_at) VALUES
             (1, {josé}, 1.00, 1, ARRAY[{josé}, NULL, {umlauts}]::text[], '2025-01-01');
         INSERT INTO orders (id, user_id, total_amount, status, created_at) VALUES
             (1, 1, 1.00, {josé}, '2025-01-01'), (2, 2, 2.00, 'plain', '2025-01-01');
         INSERT INTO order_items (id, order_id, product_id, product_name, quantity, unit_price, created_at) VALUES
             (1, 1, 1, {umlauts}, 1, 1.00, '2025-01-01'), (2, 2, 1, 'plain', 1, 1.00, '2025-01-01');
         INSERT INTO payments (id, order_id, amount, gateway_response, created_at) VALUES
             (1, 1, 1.00, ('{{\"name\": \"' || {josé} || '\"}}')::jsonb, '2025-01-01');
         INSERT INTO product_reviews (id, product_id, user_id, order_id, comment, created_at) VALUES
             (1, 1, 2, 2, {umlauts}, '2025-01-01');
         INSERT INTO system_logs (id, message, user_id, created_at) VALUES (1, {josé}, 2, '2025-01-01');
         INSERT INTO analytics_events (id, event_name, user_id, created_at) VALUES (1, {umlauts}, 1, '2025-01-01');",
        josé = t("Jos\u{e9} \\ \"x\""),
        umlauts = t("\u{c4}\u{d6}\u{dc} \u{df}\u{a0}\u{ff}"),
        nel = t("\u{85}"),
        uid = t("uid\u{e9}"),
    )
}

/// A text as a constant, whose bytes are put together in the server.
fn bytes_of(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("convert_from('\\x{hex}'::bytea, 'SQL_ASCII')")
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

async fn text(shop: &Shop, database: Database, query: &str) -> String {
    shop.target(database).await.row(query).await.unwrap().get(0)
}

/// Every store holds the letters.
async fn arrived(shop: &Shop) {
    let (josé, umlauts) = ("Jos\u{e9} \\ \"x\"", "\u{c4}\u{d6}\u{dc} \u{df}\u{a0}\u{ff}");
    for (database, query, expected) in [
        (Database::Product, "SELECT name FROM products WHERE id = 1", josé),
        (Database::Product, "SELECT tags[3] FROM products WHERE id = 1", umlauts),
        (Database::Product, "SELECT name FROM categories WHERE id = 1", umlauts),
        (
            Database::Product,
            "SELECT user_uid || comment FROM product_reviews WHERE id = 1",
            &format!("uid\u{e9}{umlauts}"),
        ),
        (Database::Order, "SELECT status FROM orders WHERE id = 1", josé),
        (Database::Order, "SELECT user_uid FROM orders WHERE id = 2", "uid\u{e9}"),
        (Database::Order, "SELECT product_name FROM order_items WHERE id = 1", umlauts),
        (Database::Gateway, "SELECT path FROM api_logs WHERE id = 1", josé),
        (Database::Gateway, "SELECT event_name FROM analytics_events WHERE id = 1", umlauts),
    ] {
        assert_eq!(text(shop, database, query).await, expected, "{query}");
    }
    let users = shop.firestore().await.read("users", &["uid1".into(), "uid\u{e9}".into()]).await.unwrap();
    let field = |id: usize, name: &str| users[id].1.as_ref().unwrap().get(name).cloned();
    assert_eq!(field(0, "first_name"), Some(Value::Text(josé.into())));
    assert_eq!(field(0, "user_agent"), Some(Value::Text("\u{85}".into())));
    assert_eq!(field(1, "first_name"), Some(Value::Text(umlauts.into())));
}

#[tokio::test]
async fn a_latin1_source_arrives_as_utf8() {
    let shop = Shop::open(0).await;
    shop.new_source("LATIN1").await;
    let plain = |s: &str| format!("E'{}'", s.replace('\\', "\\\\"));
    let sql = rows(plain).replace(
        &format!("('{{\"name\": \"' || {} || '\"}}')::jsonb", plain("Jos\u{e9} \\ \"x\"")),
        "'{\"name\": \"Jos\u{e9}\"}'",
    );
    shop.source().await.run(&sql).await.unwrap();
    // Just beyond what Firestore takes as an id, in UTF-8 alone.
    shop.source()
        .await
        .run("ALTER TABLE users ALTER COLUMN firebase_uid TYPE text; \
              INSERT INTO users (id, firebase_uid, email, created_at) VALUES (3, repeat('\u{e9}', 751), 'c@x', '2025-01-01')")
        .await
        .unwrap();
    shop.xtask(&["migrate"]).expect_code(0);
    let manifest = shop.manifest();
    let export = manifest.export.unwrap();
    assert_eq!(export.snapshot.hash, HashFn::Md5Utf8);
    assert_eq!(export.snapshot.server.encoding, "LATIN1");
    assert_eq!(export.snapshot.reading.decoding, None);
    assert_eq!(export.tables["users"].outcomes.rows.get("quarantined:uid_not_an_id"), Some(&1));
    arrived(&shop).await;
    // It is the digests that prove it: what the guide's advice makes of a name is found.
    shop.target(Database::Product)
        .await
        .run("UPDATE products SET name = convert_from(convert_to(name, 'UTF8'), 'LATIN1') WHERE id = 1")
        .await
        .unwrap();
    let said = shop.xtask(&["verify"]).expect_code(3);
    assert!(said.stdout.contains("products id 1: name: expected"), "{}", said.stdout);
}

/// Reason and the row, by id.
fn quarantine(shop: &Shop, table: &str) -> BTreeMap<i64, BTreeMap<String, String>> {
    let Ok(mut reader) = csv::Reader::from_path(shop.latest().file(&format!("quarantine/{table}.csv")))
    else {
        return BTreeMap::new();
    };
    let header = reader.headers().unwrap().clone();
    let row = |record: csv::StringRecord| -> BTreeMap<String, String> {
        header.iter().map(str::to_string).zip(record.iter().map(str::to_string)).collect()
    };
    reader.records().map(|r| row(r.unwrap())).map(|r| (r["id"].parse().unwrap(), r)).collect()
}

async fn migrated_green(shop: &Shop) {
    let ctx = shop.ctx();
    let report = migrate::run(&ctx, &Handling::default()).await.unwrap();
    assert_eq!(report.proven, Some(true), "{}", report.text());
    for line in &report.tables {
        assert_eq!(line.source_rows, line.sums.total(), "{}", line.table);
    }
    drop(ctx);
    assert_eq!(verify::run(&shop.ctx_of(shop.latest()), &[], Depth::Full).await.unwrap().proven, Some(true));
}

#[tokio::test]
async fn a_source_that_knows_no_encoding_needs_one() {
    let mut shop = Shop::open(0).await;
    shop.new_source("SQL_ASCII").await;
    let sql = rows(|s| bytes_of(&latin1(s))).replace("Jos\u{e9}", "Jos");
    let sql = sql.replace(
        &format!("('{{\"name\": \"' || {} || '\"}}')::jsonb", bytes_of(&latin1("Jos\u{e9} \\ \"x\""))),
        &format!("('{{\"name\": \"' || {} || '\"}}')::jsonb", bytes_of(&latin1("Jos\u{e9}"))),
    );
    shop.source().await.run(&sql).await.unwrap();
    let said = shop.xtask(&["migrate"]).expect_code(4);
    for word in
        ["does not know its encoding (SQL_ASCII)", "source_encoding = \"LATIN1\"", "environment `local`"]
    {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    for (name, word) in
        [("LATEIN", "knows no such encoding"), ("EUC_JP", "one byte a character"), ("SQL_ASCII", "of no use")]
    {
        shop.settings.policy.source_encoding = Some(name.into());
        let error = migrate::run(&shop.ctx(), &Handling::default()).await.unwrap_err();
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
    shop.settings.policy.source_encoding = Some("latin1".into());
    migrated_green(&shop).await;
    arrived(&shop).await;
    let gateway =
        text(&shop, Database::Order, "SELECT gateway_response->>'name' FROM payments WHERE id = 1").await;
    assert_eq!(gateway, "Jos\u{e9}");
    assert_eq!(quarantine(&shop, "users").len(), 0);
}

/// With UTF8 as the true encoding, and in a database that calls itself so.
async fn undecodable(shop: &Shop) {
    for (table, id, reason, bytes) in [
        ("users", 1, "text_undecodable", Some(("first_name", "\\x4af8"))),
        ("user_sessions", 1, "user_quarantined", None),
        ("categories", 2, "text_undecodable", Some(("name", "\\xc3"))),
        ("products", 2, "category_quarantined", None),
        ("products", 3, "text_undecodable", Some(("tags", "\\x7b612cff7d"))),
        ("orders", 3, "text_undecodable", Some(("status", "\\xeda080"))),
        ("order_items", 3, "order_quarantined", None),
        ("payments", 2, "text_undecodable", Some(("transaction_id", "\\xf4908080"))),
        ("api_logs", 2, "text_undecodable", Some(("message", "\\xc0af"))),
    ] {
        let rows = quarantine(shop, table);
        let row = rows.get(&id).unwrap_or_else(|| panic!("{table} {id} is not in {rows:#?}"));
        assert_eq!(row["quarantine_reason"], reason, "{table} {id}");
        match bytes {
            None => assert_eq!(row["quarantine_bytes"], "", "{table} {id}"),
            Some((column, bytes)) => {
                assert_eq!(row["quarantine_bytes"], column, "{table} {id}");
                assert_eq!(row[column], bytes, "{table} {id}");
            }
        }
    }
    // Its other columns are text, and whoever only refers to the user goes.
    assert_eq!(quarantine(shop, "users")[&1]["email"], "a@x");
    assert_eq!(quarantine(shop, "orders").len(), 1);
    let (uid, umlauts) = ("uid\u{e9}", "\u{c4}\u{d6}\u{dc} \u{df}\u{a0}\u{ff}");
    assert_eq!(text(shop, Database::Order, "SELECT user_uid FROM orders WHERE id = 1").await, "uid1");
    assert_eq!(text(shop, Database::Order, "SELECT user_uid FROM orders WHERE id = 2").await, uid);
    assert_eq!(text(shop, Database::Product, "SELECT name FROM categories WHERE id = 1").await, umlauts);
    let sums = |table: &str| shop.manifest().export.unwrap().tables[table].outcomes.sums();
    assert_eq!(
        [sums("users").quarantined, sums("products").quarantined, sums("payments").quarantined],
        [1, 2, 1]
    );
    let hazards = shop.manifest().hazards;
    let found = hazards.iter().find(|h| h.name == "text-undecodable").unwrap();
    assert_eq!(found.count, 6, "{found:?}");
    assert!(found.keys.contains(&"users 1".to_string()), "{found:?}");
}

#[tokio::test]
async fn bytes_that_are_no_text_cost_their_rows_only() {
    let mut shop = Shop::open(0).await;
    shop.new_source("SQL_ASCII").await;
    let plain = |s: &str| bytes_of(s.as_bytes());
    let sql = rows(plain).replace(
        &format!("('{{\"name\": \"' || {} || '\"}}')::jsonb", plain("Jos\u{e9} \\ \"x\"")),
        &format!("('{{\"name\": \"' || {} || '\"}}')::jsonb", plain("Jos\u{e9}")),
    );
    let mut source = shop.source().await;
    source.run(&sql).await.unwrap();
    let bad = |bytes: &[u8]| bytes_of(bytes);
    source
        .run(&format!(
            "UPDATE users SET first_name = {} WHERE id = 1;
             INSERT INTO categories (id, name, created_at) VALUES (2, {}, '2025-01-01');
             INSERT INTO products (id, name, price, category_id, created_at) VALUES (2, 'of 2', 1.00, 2, '2025-01-01');
             INSERT INTO products (id, name, price, tags, created_at) VALUES (3, 'tags', 1.00, ARRAY['a', {}], '2025-01-01');
             INSERT INTO orders (id, user_id, total_amount, status, created_at) VALUES (3, 2, 1.00, {}, '2025-01-01');
             INSERT INTO order_items (id, order_id, quantity, unit_price, created_at) VALUES (3, 3, 1, 1.00, '2025-01-01');
             INSERT INTO payments (id, order_id, amount, transaction_id, created_at) VALUES (2, 2, 1.00, {}, '2025-01-01');
             INSERT INTO system_logs (id, message, created_at) VALUES (2, {}, '2025-01-01')",
            bad(&[0x4a, 0xf8]),             // LATIN1
            bad(&[0xc3]),                   // cut off
            bad(&[0xff]),                   // never
            bad(&[0xed, 0xa0, 0x80]),       // half of a surrogate pair
            bad(&[0xf4, 0x90, 0x80, 0x80]), // beyond the last
            bad(&[0xc0, 0xaf]),             // longer than it has to be
        ))
        .await
        .unwrap();
    drop(source);
    shop.settings.policy.source_encoding = Some("UTF8".into());
    migrated_green(&shop).await;
    undecodable(&shop).await;

    // The same bytes in a database that says UTF8: nobody has to name anything, and new targets.
    let mut postgres = shop.settings.source.clone();
    postgres.database = "postgres".into();
    shop.superuser(&postgres)
        .await
        .run("UPDATE pg_database SET encoding = pg_char_to_encoding('UTF8') WHERE datname = 'ecommerce_db'")
        .await
        .unwrap();
    shop.settings.policy.source_encoding = None;
    for database in Database::ALL {
        shop.target(database)
            .await
            .run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
            .await
            .unwrap_or_else(|e| panic!("{e:#}"));
    }
    let firestore = shop.firestore().await;
    for (collection, id) in [("users", "uid\u{e9}"), ("user_sessions", "token2")] {
        firestore.delete(collection, &[id.to_owned()]).await.unwrap();
    }
    migrated_green(&shop).await;
    undecodable(&shop).await;
}

#[tokio::test]
async fn a_byte_that_an_encoding_does_not_have() {
    let mut shop = Shop::open(0).await;
    shop.new_source("SQL_ASCII").await;
    shop.source()
        .await
        .run(&format!(
            "INSERT INTO categories (id, name, created_at) VALUES (1, {}, '2025-01-01'), (2, {}, '2025-01-01')",
            bytes_of(&[0x80, b'9']),
            bytes_of(&[0x81, b'9'])
        ))
        .await
        .unwrap();
    shop.settings.policy.source_encoding = Some("WIN1252".into());
    migrated_green(&shop).await;
    assert_eq!(text(&shop, Database::Product, "SELECT name FROM categories WHERE id = 1").await, "\u{20ac}9");
    let rows = quarantine(&shop, "categories");
    assert_eq!(rows[&2]["name"], "\\x8139");
    assert_eq!(rows.len(), 1);
}
