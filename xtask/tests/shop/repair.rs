//! `repair` shows every difference with what would mend it and changes nothing; with `--apply` it writes
//! exactly that, and verification is green again. After the cut-over it touches nothing that others have
//! written.

use crate::support::{Said, Shop, says};
use crate::tool::targets;
use datapath::document::{Document, Value};
use datapath::firestore::{Fields, Unconditional};
use std::collections::BTreeMap;
use xtask::model::Database;
use xtask::run::manifest::Cutover;

const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";
const SESSION: &str = "plainSession1-9f86d081884c7d659a2feaa0";

async fn migrated() -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop
}

async fn set(shop: &Shop, collection: &str, id: &str, change: impl Fn(&mut Fields)) {
    let firestore = shop.firestore().await;
    let mut fields =
        firestore.read(collection, &[id.to_string()]).await.unwrap().remove(0).1.unwrap_or_default();
    change(&mut fields);
    let fields = fields.into_iter().map(|(n, v)| (&*n.leak(), v)).collect();
    firestore.set(collection, &Document { id: id.to_string(), fields }).await.unwrap();
}

fn text(text: &str) -> Value {
    Value::Text(text.to_string())
}

/// How often each action was told, by table.
fn actions(said: &Said) -> BTreeMap<(String, String), usize> {
    let mut actions = BTreeMap::new();
    for change in said.json()["changes"].as_array().unwrap() {
        let word = |name: &str| change[name].as_str().unwrap().to_string();
        let ids = change["ids"].as_array().unwrap().len();
        *actions.entry((word("table"), word("action"))).or_default() += ids;
    }
    actions
}

#[tokio::test]
async fn every_kind_of_damage_is_shown_and_mended() {
    let shop = migrated().await;
    let before = targets(&shop).await;
    let said = shop.xtask(&["repair"]).expect_code(0);
    says(&said, &["-- 0 rows and documents to be changed"]);
    assert!(targets(&shop).await == before, "nothing was wrong, and something has changed");

    let mut product = shop.superuser(&shop.settings.product).await;
    let mut order = shop.superuser(&shop.settings.order).await;
    // Everything, with parents that have the larger id, parents that are each other's, and odd values.
    product.run("TRUNCATE categories CASCADE").await.unwrap();
    product
        .run("INSERT INTO categories (id, name, created_at) VALUES (901, 'foreign', now())")
        .await
        .unwrap();
    product
        .run("INSERT INTO categories (id, parent_id, name, created_at) VALUES (902, 901, 'child', now())")
        .await
        .unwrap();
    order
        .run("UPDATE orders SET status = E'it''s \\\\ lost', tracking_number = '' WHERE id = 3")
        .await
        .unwrap();
    order.run("DELETE FROM payments WHERE id IN (1, 201, 202, 208, 430)").await.unwrap();
    order
        .run("INSERT INTO orders (id, user_uid, total_amount, created_at) VALUES (6, 'x', 1, now())")
        .await
        .unwrap();
    // A row of ours under a foreign one: it must not go with it.
    order.run("UPDATE order_items SET order_id = 6 WHERE id = 2").await.unwrap();
    order
        .run("INSERT INTO order_items (id, order_id, quantity, unit_price, created_at) VALUES (9, 6, 1, 1, now())")
        .await
        .unwrap();
    let mut gateway = shop.target(Database::Gateway).await;
    gateway.run("UPDATE api_logs SET ip_address = '::1', user_uid = NULL WHERE id = 1").await.unwrap();
    set(&shop, "users", ADA, |fields| drop(fields.insert("last_name".into(), text("LoveIace")))).await;
    set(&shop, "user_sessions", "stranger", |fields| drop(fields.insert("a".into(), text("b")))).await;
    shop.firestore().await.delete("user_sessions", &[SESSION.to_string()]).await.unwrap();

    let damaged = targets(&shop).await;
    let said = shop.xtask(&["repair", "--max-diffs", "1"]).expect_code(3);
    assert!(targets(&shop).await == damaged, "it only shows");
    assert!(said.stderr.contains("repair --run") && said.stderr.contains("--apply"), "{}", said.stderr);
    says(
        &said,
        &[
            "UPDATE \"public\".\"orders\" SET \"status\" = 'cancelled', \"tracking_number\" = NULL WHERE id = 3;\n",
            "UPDATE \"public\".\"order_items\" SET \"order_id\" = '1' WHERE id = 2;\n",
            "DELETE FROM \"public\".\"orders\" WHERE id IN (6);\n",
            "DELETE FROM \"public\".\"categories\" WHERE id IN (901, 902);\n",
            "('430', '1', '0.00', 'refunded', NULL, NULL, NULL, NULL, '{\"huge\": 1",
            "UPDATE \"public\".\"api_logs\" SET \"user_uid\" = 'q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g', \"ip_address\" = '203.0.113.10/32' WHERE id = 1;\n",
            "last_name: expected string \"Lovelace\", found string \"LoveIace\"\n{\"fields\":{",
            "\"name\":\"users/q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g\"",
            "{\"name\":\"user_sessions/stranger\"}",
            "\"session_token\":{\"stringValue\":\"plainSession1-9f86d081884c7d659a2feaa0\"}",
        ],
    );
    let json = shop.xtask(&["repair", "--json"]).expect_code(3);
    let count = |table: &str, action: &str| {
        *actions(&json).get(&(table.to_string(), action.to_string())).unwrap_or(&0)
    };
    let rows = |table: &str| {
        let tables = shop.manifest().export.unwrap().tables;
        usize::try_from(tables[table].content.total().rows).unwrap()
    };
    for table in ["categories", "products", "product_reviews"] {
        assert_eq!(count(table, "insert"), rows(table), "{table}");
    }
    for (table, action, n) in [
        ("categories", "delete", 2),
        ("orders", "update", 1),
        ("orders", "delete", 1),
        ("order_items", "update", 1),
        ("order_items", "delete", 1),
        ("payments", "insert", 5),
        ("api_logs", "update", 1),
        ("users", "update", 1),
        ("user_sessions", "insert", 1),
        ("user_sessions", "delete", 1),
    ] {
        assert_eq!(count(table, action), n, "{table} {action}");
    }

    let said = shop.xtask(&["repair", "--apply"]).expect_code(0);
    says(&said, &["WHERE id = 3;\n", "rows and documents changed"]);
    assert!(targets(&shop).await == before, "not as it was");
    shop.xtask(&["verify"]).expect_code(0);
    let said = shop.xtask(&["repair", "--apply", "--json"]).expect_code(0);
    assert!(actions(&said).is_empty() && said.json()["report"]["proven"] == true, "{}", said.stdout);
}

#[tokio::test]
async fn what_rows_cannot_mend_is_listed_with_its_statement() {
    let shop = migrated().await;
    let mut order = shop.target(Database::Order).await;
    order
        .run(
            "DROP INDEX idx_orders_status; ALTER TABLE payments DROP CONSTRAINT payments_pkey; \
             INSERT INTO payments SELECT * FROM payments WHERE id = 1; \
             UPDATE payments SET amount = 0 WHERE id = 2; \
             SELECT setval('orders_id_seq', 5); \
             ALTER TABLE order_items DROP COLUMN product_name",
        )
        .await
        .unwrap();
    let before = targets(&shop).await;
    let said = shop.xtask(&["repair"]).expect_code(3);
    assert!(targets(&shop).await == before, "it only shows");
    says(
        &said,
        &[
            "CREATE INDEX idx_orders_status ON orders USING btree (status);\n",
            "ALTER TABLE \"public\".\"payments\" ADD CONSTRAINT \"payments_pkey\" PRIMARY KEY (id);\n",
            "ALTER TABLE \"public\".\"order_items\" ADD COLUMN IF NOT EXISTS \"product_name\" character varying(255);\n",
            "SELECT setval(pg_get_serial_sequence('\"public\".\"orders\"', 'id'), 937, false);\n",
            "-- order payments id 1: not by rows: is there 2 times",
            "UPDATE \"public\".\"payments\" SET \"amount\" = '100.00' WHERE id = 2;\n",
            "order_items: columns are not there: product_name",
        ],
    );
    // Rows are fixed beside it; the statements that it showed mend the rest.
    shop.xtask(&["repair", "--apply"]).expect_code(3);
    let amount = order.row("SELECT amount::text FROM payments WHERE id = 2").await.unwrap();
    assert_eq!(sqlx::Row::get::<String, _>(&amount, 0), "100.00");
    order
        .run("DELETE FROM payments WHERE ctid = (SELECT max(ctid) FROM payments WHERE id = 1)")
        .await
        .unwrap();
    for line in said.stdout.lines().filter(|l| ["CREATE", "ALTER", "SELECT"].iter().any(|w| l.starts_with(w)))
    {
        order.run(line).await.unwrap();
    }
    // A column that comes back stands last: what it held comes back by rows.
    let said = shop.xtask(&["repair", "--apply"]).expect_code(0);
    says(&said, &["SET \"product_name\" = 'Cast Iron Pan' WHERE id = 1;\n"]);
    shop.xtask(&["repair"]).expect_code(0);
}

#[tokio::test]
async fn what_a_trigger_changes_again_is_not_kept() {
    let shop = migrated().await;
    let mut order = shop.superuser(&shop.settings.order).await;
    order
        .run(
            "UPDATE orders SET status = 'lost' WHERE id = 1; UPDATE payments SET status = 'lost' WHERE id = 1; \
             CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.status = 'mine'; RETURN NEW; END$$; \
             CREATE TRIGGER t BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION f()",
        )
        .await
        .unwrap();
    let before = targets(&shop).await;
    let said = shop.xtask(&["repair", "--apply"]).expect_code(3);
    for word in
        ["payments id 1: what was written is not what is there now", "nothing in order has been changed"]
    {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    assert!(targets(&shop).await == before, "one transaction: all or nothing");
}

#[tokio::test]
async fn a_damaged_file_is_no_source_of_repairs() {
    let shop = migrated().await;
    let run = shop.latest();
    let whole = std::fs::read_to_string(run.file("orders.csv")).unwrap();
    std::fs::write(run.file("orders.csv"), whole.replacen("delivered", "delivereD", 1)).unwrap();
    shop.target(Database::Order).await.run("DELETE FROM orders WHERE id = 3").await.unwrap();
    let before = targets(&shop).await;
    let said = shop.xtask(&["repair", "--apply"]).expect_code(3);
    assert!(said.stderr.contains("orders.csv is not the file that was written"), "{}", said.stderr);
    assert!(targets(&shop).await == before, "written from a damaged file");
}

#[tokio::test]
async fn after_the_cut_over_nothing_is_touched_that_others_have_written() {
    let shop = migrated().await;
    let run = shop.latest();
    let mut manifest = run.load_manifest().unwrap();
    manifest.cutover = Some(Cutover { at: "2026-01-01T00:00:00.000Z".into(), ..Cutover::default() });
    run.save_manifest(&manifest).unwrap();
    shop.xtask(&["repair"]).expect_code(0);

    let mut order = shop.target(Database::Order).await;
    order
        .run(
            "UPDATE orders SET status = 'shipped' WHERE id = 1; DELETE FROM payments WHERE id = 2; \
             INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('new', 1, now())",
        )
        .await
        .unwrap();
    set(&shop, "users", ADA, |fields| drop(fields.insert("last_name".into(), text("King")))).await;
    set(&shop, "users", "new", |fields| drop(fields.insert("email".into(), text("new@example.com")))).await;
    shop.firestore().await.delete("user_sessions", &[SESSION.to_string()]).await.unwrap();
    let before = targets(&shop).await;
    for arguments in [&["repair"][..], &["repair", "--apply"]] {
        let said = shop.xtask(arguments).expect_code(3);
        says(
            &said,
            &[
                "-- order orders id 1: conflict, left alone: status is 'shipped', we wrote 'delivered'\n",
                "-- order payments id 2: conflict, left alone: it is not there any more\n",
                "-- firestore users/q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g: conflict, left alone: last_name: expected",
                "-- firestore user_sessions/plainSession1-9f86d081884c7d659a2feaa0: conflict, left alone",
                "-- 0 rows and documents",
                "-- 4 are not as this run last wrote them: left alone\n",
                "-- 2 were added by the services since the cut-over at 2026-01-01T00:00:00.000Z: left alone\n",
            ],
        );
        assert!(said.stderr.contains("others have written there"), "{}", said.stderr);
        assert!(targets(&shop).await == before, "{arguments:?} has touched what others wrote");
    }
}
