//! `replay`: rows in quarantine, fixed in the source, come in with what hangs on them, proven, and the
//! ledger adds up; a second time there is nothing to do; what others wrote is left alone.

use crate::support::{Said, Shop, says};
use crate::tool::targets;
use datapath::document::{Document, Value};
use datapath::firestore::Unconditional;
use std::collections::BTreeMap;
use xtask::effects::postgres::Connection;
use xtask::ledger::Sums;
use xtask::model::{Database, MIGRATED};
use xtask::run::manifest::Manifest;

/// A shop in which two users share a uid, one of them with an order, migrated.
async fn migrated() -> Shop {
    let shop = Shop::open(0).await;
    shop.source()
        .await
        .run(
            "ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key; \
             UPDATE users SET firebase_uid = (SELECT firebase_uid FROM users WHERE id = 2) WHERE id = 3; \
             INSERT INTO orders (id, user_id, total_amount, created_at) VALUES (800, 3, 8, now()); \
             INSERT INTO user_sessions (id, user_id, session_token, created_at) VALUES (800, 2, 'ofBen', now())",
        )
        .await
        .unwrap();
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop
}

fn sums(manifest: &Manifest, table: &str) -> Sums {
    let record = &manifest.export.as_ref().unwrap().tables[table];
    let sums = record.outcomes.sums();
    assert_eq!(sums.total(), record.source_rows, "{table}: the ledger does not add up");
    assert_eq!(sums.migrated, record.content.total().rows, "{table}: the ledger is not what must be there");
    sums
}

/// Rows migrated and in quarantine, of all tables; each ledger adds up.
fn ledger(manifest: &Manifest) -> BTreeMap<String, (u64, u64, u64)> {
    let tables = manifest.export.as_ref().unwrap().tables.keys();
    let line = |table: &String| {
        let sums = sums(manifest, table);
        (table.clone(), (sums.migrated, sums.excluded, sums.quarantined))
    };
    tables.map(line).collect()
}

fn ids(said: &Said, table: &str, list: &str) -> Vec<i64> {
    let json = said.json();
    let ids = &json["tables"][table][list];
    let keys = || ids.as_object().unwrap().keys().map(|id| id.parse().unwrap()).collect();
    ids.as_array().map_or_else(keys, |ids| ids.iter().map(|id| id.as_i64().unwrap()).collect())
}

async fn one(shop: &Shop, database: Database, query: &str) -> Option<String> {
    sqlx::Row::get(&shop.target(database).await.row(query).await.unwrap(), 0)
}

const FIXED: &str = "\
    UPDATE users SET firebase_uid = 'noraAtLast' WHERE id = 920; \
    UPDATE users SET firebase_uid = 'cleoAgain' WHERE id = 3; \
    UPDATE users SET firebase_uid = 'denisAtLast' WHERE id = 113; \
    UPDATE users SET firebase_uid = 'huge/923' WHERE id = 923; \
    UPDATE users SET deleted_at = now() WHERE id = 922; \
    DELETE FROM users WHERE id = 921; \
    UPDATE orders SET user_id = 1 WHERE id = 930; \
    UPDATE user_sessions SET session_token = 'slashNoMore' WHERE id = 903; \
    UPDATE user_sessions SET expires_at = '2027-01-01 00:00:00.000001+00' WHERE id = 924";

#[tokio::test]
async fn mended_rows_come_in_with_what_hangs_on_them() {
    let shop = migrated().await;
    let before = targets(&shop).await;
    let said = shop.xtask(&["replay"]).expect_code(0);
    says(&said, &["still in quarantine (several users carry this firebase_uid", "Nothing to do"]);
    assert!(targets(&shop).await == before, "nothing was fixed");
    let first = shop.manifest();
    assert!(first.export.as_ref().unwrap().replays.is_empty());
    let was = ledger(&first);

    // What user 920 ordered and reviewed is of products that were excluded: not in half.
    shop.source().await.run(FIXED).await.unwrap();
    let said = shop.xtask(&["replay"]).expect_code(4);
    for word in [
        "product_reviews id 114: product_id 114 is not in products: it was excluded",
        "order_items id 921: product_id 115 is not in products: it was excluded",
        "Nothing has been changed",
    ] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(targets(&shop).await == before, "refused, and something has changed");
    let other = "UPDATE product_reviews SET product_id = 1 WHERE id = 114; \
                 UPDATE order_items SET product_id = NULL WHERE id = 921";
    shop.source().await.run(other).await.unwrap();

    let old = std::fs::read(shop.latest().file("manifest.json")).unwrap();
    let said = shop.xtask(&["replay", "--json"]).expect_code(0);
    for (table, brought_in) in [
        ("users", &[2, 3, 920][..]),
        ("user_sessions", &[800, 903, 920, 924]),
        ("orders", &[113, 920, 930]),
        ("order_items", &[113, 920, 921, 930, 931]),
        ("payments", &[113, 920, 921, 930]),
        ("product_reviews", &[114, 115, 920]),
    ] {
        assert_eq!(ids(&said, table, "brought_in"), brought_in, "{table}: {}", said.stdout);
    }
    // Who had the shared uid, or none, or has another one now.
    assert_eq!(ids(&said, "orders", "changed"), [800, 923], "{}", said.stdout);
    assert_eq!(ids(&said, "api_logs", "changed"), [113, 920]);
    assert_eq!(ids(&said, "users", "excluded"), [922]);
    assert_eq!(ids(&said, "user_sessions", "excluded"), [922]);
    assert_eq!(ids(&said, "users", "vanished"), [921]);
    assert_eq!(said.json()["tables"]["users"]["still"]["923"]["from"], "quarantined:document_too_large");
    assert_eq!(said.json()["tables"]["users"]["still"]["923"]["to"], "quarantined:uid_not_an_id");
    assert_eq!(ids(&said, "product_reviews", "still"), [900, 930]);

    let order = async |id: i64| {
        one(&shop, Database::Order, &format!("SELECT user_uid FROM orders WHERE id = {id}")).await.unwrap()
    };
    assert_eq!(order(800).await, "cleoAgain");
    assert_eq!(order(920).await, "noraAtLast");
    let log = "SELECT user_uid FROM api_logs WHERE id = 920";
    assert_eq!(one(&shop, Database::Gateway, log).await.as_deref(), Some("noraAtLast"));
    let users = ["noraAtLast", "cleoAgain", "r9AuW4cZx2MnY8dSo1LeQg6ItK3h"].map(String::from);
    let found = shop.firestore().await.read("users", &users).await.unwrap();
    let emails: Vec<Value> = found.into_iter().map(|(_, fields)| fields.unwrap()["email"].clone()).collect();
    let expected = ["nouid920@example.com", "cleo@example.com", "ben@example.com"];
    assert_eq!(emails, expected.map(|e| Value::Text(e.into())));
    let sequence = "SELECT last_value::text FROM orders_id_seq";
    assert_eq!(one(&shop, Database::Order, sequence).await.as_deref(), Some("936"));

    // The ledger, and what it is proven by.
    let manifest = shop.manifest();
    let now = ledger(&manifest);
    for (table, migrated, excluded) in [
        ("users", 3, 1),
        ("user_sessions", 4, 1),
        ("orders", 3, 0),
        ("order_items", 5, 0),
        ("payments", 4, 0),
        ("product_reviews", 3, 0),
        ("api_logs", 0, 0),
    ] {
        let (m, e, q) = was[table];
        assert_eq!(now[table], (m + migrated, e + excluded, q - migrated - excluded), "{table}");
    }
    let said = shop.xtask(&["verify"]).expect_code(0);
    says(
        &said,
        &[
            "✓ replay 1: brought in as of ",
            "orders id 113, 920, 930; orders id 800, 923 changed with them",
            "; users id 2, 3, 920",
        ],
    );
    let record = one(&shop, Database::Order, "SELECT tables->'orders'->>'rows' FROM xtask.runs").await;
    assert_eq!(record.unwrap(), now["orders"].0.to_string());

    // Again: nothing. Nor after a crash just before the manifest was written: it is all there already.
    let after = targets(&shop).await;
    let whole = std::fs::read_to_string(shop.latest().file("manifest.json")).unwrap();
    says(&shop.xtask(&["replay"]).expect_code(0), &["Nothing to do"]);
    assert_eq!(std::fs::read_to_string(shop.latest().file("manifest.json")).unwrap(), whole);
    assert!(targets(&shop).await == after, "the second replay has changed something");
    std::fs::write(shop.latest().file("manifest.json"), old).unwrap();
    let said = shop.xtask(&["replay", "--json"]).expect_code(0);
    assert_eq!(ids(&said, "orders", "brought_in"), [113, 920, 930]);
    assert_eq!(ids(&said, "orders", "changed"), [800, 923]);
    assert_eq!(ledger(&shop.manifest()), now);
    shop.xtask(&["verify"]).expect_code(0);

    damage_after_a_replay(&shop).await;
    cutover_after_a_replay(&shop).await;
}

/// What was fixed and replayed is no change of the source; what was done to it since is one.
async fn cutover_after_a_replay(shop: &Shop) {
    let mut source = shop.source().await;
    for (there, back, table) in [
        // Brought in, then changed again; never in quarantine.
        (
            "orders SET total_amount = 77 WHERE id = 930",
            "orders SET total_amount = 9.3 WHERE id = 930",
            "orders",
        ),
        (
            "categories SET name = name || '!' WHERE id = 1",
            "categories SET name = rtrim(name, '!') WHERE id = 1",
            "categories",
        ),
    ] {
        let was = one_of(&mut source, "SELECT total_amount::text FROM orders WHERE id = 930").await;
        let back = back.replace("9.3", &was);
        source.run(&format!("UPDATE {there}")).await.unwrap();
        let said = shop.xtask(&["cutover"]).expect_code(4);
        let word = format!("public.{table}: ");
        assert!(said.stderr.contains(&word), "{word}: {}", said.stderr);
        assert_eq!(said.stderr.matches("public.").count(), 1, "{}", said.stderr);
        source.run(&format!("UPDATE {back}")).await.unwrap();
    }
    // Fixed, and not replayed yet; a row that left the source is one that replay has to hear of, too.
    source.run("DELETE FROM product_reviews WHERE id = 930").await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert!(said.stderr.contains("public.product_reviews: "), "{}", said.stderr);
    says(&shop.xtask(&["replay"]).expect_code(0), &["not in the source any more: id 930", "Nothing to do"]);
    shop.xtask(&["cutover"]).expect_code(0);
}

async fn one_of(connection: &mut Connection, query: &str) -> String {
    sqlx::Row::get(&connection.row(query).await.unwrap(), 0)
}

/// Verification and repair know what replays brought in and changed.
async fn damage_after_a_replay(shop: &Shop) {
    let before = targets(shop).await;
    let mut target = shop.target(Database::Order).await;
    target
        .run("DELETE FROM orders WHERE id = 930; UPDATE orders SET user_uid = 'x' WHERE id = 800")
        .await
        .unwrap();
    shop.firestore().await.delete("users", &["noraAtLast".to_string()]).await.unwrap();
    let said = shop.xtask(&["verify", "--show-values"]).expect_code(3);
    says(
        &said,
        &[
            "✗ orders id 930: is missing",
            "✗ orders id 800: user_uid: expected \"cleoAgain\", found \"x\"",
            "✗ users/noraAtLast: is missing",
            // It is not expected to dangle any more.
            "✗ product_reviews.order_id: 1 rows refer to what no store holds, for example id 931 to \"930\"",
        ],
    );
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    assert!(targets(shop).await == before, "not as it was");
    let file = shop.latest().file("replay/1/orders.csv");
    let whole = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, whole.replacen("cleoAgain", "cleoagain", 1)).unwrap();
    for command in ["verify", "repair", "replay"] {
        let said = shop.xtask(&[command]).expect_code(3);
        let all = format!("{}{}", said.stdout, said.stderr);
        assert!(all.contains("replay/1/orders.csv is not the file that was written"), "{command}: {all}");
    }
    std::fs::write(&file, whole).unwrap();
    shop.xtask(&["verify"]).expect_code(0);
    let said = shop.xtask(&["import"]).expect_code(4);
    assert!(said.stderr.contains("was completed by a replay"), "{}", said.stderr);
    assert!(said.stderr.contains("\nnext: cargo xtask repair --run "), "{}", said.stderr);
}

#[tokio::test]
async fn what_others_wrote_is_left_alone_and_what_hangs_on_it_waits() {
    let shop = migrated().await;
    let source = "UPDATE product_reviews SET product_id = 1 WHERE id = 114; \
                  UPDATE order_items SET product_id = NULL WHERE id = 921";
    shop.source().await.run(&format!("{FIXED}; {source}")).await.unwrap();
    // Order 930, the log of user 920, and the document of a user are others' now.
    let mut order = shop.target(Database::Order).await;
    order
        .run("INSERT INTO orders (id, user_uid, total_amount, created_at) VALUES (930, 'other', 1, now())")
        .await
        .unwrap();
    shop.target(Database::Gateway)
        .await
        .run("UPDATE api_logs SET path = 'other' WHERE id = 113")
        .await
        .unwrap();
    let firestore = shop.firestore().await;
    let document = Document {
        id: "noraAtLast".into(),
        fields: vec![("email", Value::Text("other@example.com".into()))],
    };
    firestore.set("users", &document).await.unwrap();

    let said = shop.xtask(&["replay", "--json"]).expect_code(3);
    assert!(said.stderr.contains("3 rows were left alone: others have written there"), "{}", said.stderr);
    assert_eq!(ids(&said, "orders", "conflicts"), [930], "{}", said.stdout);
    assert_eq!(ids(&said, "users", "conflicts"), [920]);
    assert_eq!(ids(&said, "api_logs", "conflicts"), [113]);
    for (table, held_back, brought_in) in [
        ("user_sessions", &[920][..], &[800, 903, 924][..]),
        ("orders", &[920], &[113]),
        ("order_items", &[920, 921, 930, 931], &[113]),
        ("payments", &[920, 921, 930], &[113]),
        ("product_reviews", &[114, 920], &[115]),
    ] {
        assert_eq!(ids(&said, table, "held_back"), held_back, "{table}: {}", said.stdout);
        assert_eq!(ids(&said, table, "brought_in"), brought_in, "{table}: {}", said.stdout);
    }
    let uid = "SELECT user_uid || total_amount FROM orders WHERE id = 930";
    assert_eq!(one(&shop, Database::Order, uid).await.as_deref(), Some("other1.00"));
    let path = "SELECT path FROM api_logs WHERE id = 113";
    assert_eq!(one(&shop, Database::Gateway, path).await.as_deref(), Some("other"));
    let nora = firestore.read("users", &["noraAtLast".to_string()]).await.unwrap().remove(0).1.unwrap();
    assert_eq!(nora.len(), 1, "the document has been touched");
    ledger(&shop.manifest());

    // Once the others' are gone, what waited comes in.
    order.run("DELETE FROM orders WHERE id = 930").await.unwrap();
    firestore.delete("users", &["noraAtLast".to_string()]).await.unwrap();
    shop.target(Database::Gateway)
        .await
        .run("UPDATE api_logs SET path = '/api/orders/113?include=items,payments' WHERE id = 113")
        .await
        .unwrap();
    let said = shop.xtask(&["replay", "--json"]).expect_code(0);
    assert_eq!(ids(&said, "orders", "brought_in"), [920, 930]);
    assert_eq!(ids(&said, "api_logs", "changed"), [113, 920]);
    assert_eq!(shop.manifest().export.unwrap().replays.len(), 2);
    says(&shop.xtask(&["verify"]).expect_code(0), &["✓ replay 1: ", "✓ replay 2: "]);
    says(&shop.xtask(&["replay"]).expect_code(0), &["Nothing to do"]);
}

#[tokio::test]
async fn a_row_that_needs_a_user_newer_than_the_run_is_refused_and_so_are_other_rules() {
    let shop = migrated().await;
    let before = targets(&shop).await;
    let mut source = shop.source().await;
    source
        .run(
            "INSERT INTO users (id, firebase_uid, email, created_at) VALUES (950, 'newcomer', 'n@example.com', now()); \
             UPDATE orders SET user_id = 950 WHERE id = 930; \
             UPDATE users SET deleted_at = NULL WHERE id = 110; \
             UPDATE user_sessions SET session_token = 'a', user_id = 110 WHERE id = 903",
        )
        .await
        .unwrap();
    let said = shop.xtask(&["replay", "--show-values"]).expect_code(4);
    for word in [
        "orders id 930: user_uid \"newcomer\": user 950 is newer than the run's snapshot",
        "user_sessions id 903: user 110 is not in Firestore: excluded:user_deleted",
    ] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    let run = shop.latest();
    let mut manifest = run.load_manifest().unwrap();
    assert!(manifest.export.as_ref().unwrap().tables["orders"].outcomes.rows[MIGRATED] > 0);
    manifest.tool.sql = "0".repeat(64);
    run.save_manifest(&manifest).unwrap();
    let said = shop.xtask(&["replay"]).expect_code(4);
    assert!(said.stderr.contains("was made by other SQL than this tool has"), "{}", said.stderr);
    assert!(targets(&shop).await == before, "refused, and something has changed");
}
