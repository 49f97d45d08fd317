//! `repair` shows every difference with what would repair it and changes nothing; with `--apply` it writes
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
    says(&said, &["-- ✓ NOTHING TO REPAIR\n-- ✓ 0 rows and documents to be changed"]);
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
    let said = shop.xtask(&["repair", "--show-values", "--max-diffs", "1"]).expect_code(3);
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

    assert_eq!(json.json()["summary"]["tables"].as_array().unwrap().len(), 9, "{}", json.stdout);
    let said = shop.xtask(&["repair", "--apply"]).expect_code(0);
    says(&said, &["WHERE id = 3;\n", "rows and documents changed"]);
    assert!(targets(&shop).await == before, "not as it was");
    shop.xtask(&["verify"]).expect_code(0);
    let said = shop.xtask(&["repair", "--apply", "--json"]).expect_code(0);
    assert!(actions(&said).is_empty() && said.json()["report"]["proven"] == true, "{}", said.stdout);
}

#[tokio::test]
async fn structure_comes_first_and_what_needs_right_rows_after_them() {
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
    let place = |line: &str| {
        said.stdout.find(line).unwrap_or_else(|| panic!("not a word of {line:?} in\n{}", said.stdout))
    };
    let places = [
        "-- order     orders            1 parts of its structure; 1 of its sequences\n",
        "-- order     order_items       rows: 48 different; 1 parts of its structure\n",
        "-- order     payments          rows: 1 different, 1 not of this run or doubled; 1 parts of its structure\n",
        "DELETE FROM \"public\".\"payments\" WHERE ctid = ANY (ARRAY['(",
        "ALTER TABLE \"public\".\"order_items\" ADD COLUMN IF NOT EXISTS \"product_name\" character varying(255);\n",
        "UPDATE \"public\".\"order_items\" SET \"product_name\" = 'Cast Iron Pan' WHERE id = 1;\n",
        "UPDATE \"public\".\"payments\" SET \"amount\" = '100.00' WHERE id = 2;\n",
        "ALTER TABLE \"public\".\"payments\" ADD CONSTRAINT \"payments_pkey\" PRIMARY KEY (id);\n",
        "CREATE INDEX idx_orders_status ON orders USING btree (status);\n",
        "SELECT setval(pg_get_serial_sequence('\"public\".\"orders\"', 'id'), 937, false);\n",
    ]
    .map(place);
    assert!(places.is_sorted(), "{places:?} in\n{}", said.stdout);
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    shop.xtask(&["repair"]).expect_code(0);
}

/// The listing is SQL: what it prints, typed into psql, does what `--apply` does.
#[tokio::test]
async fn the_statements_that_are_shown_do_the_same() {
    let shop = migrated().await;
    let mut order = shop.target(Database::Order).await;
    let damage = "ALTER TABLE orders ALTER status TYPE text; UPDATE orders SET status = 'x' WHERE id > 200; \
                  DELETE FROM order_items WHERE id > 5; ALTER TABLE payments ADD CHECK (id > 0); \
                  DROP INDEX idx_payments_status";
    order.run(damage).await.unwrap();
    let said = shop.xtask(&["repair", "--show-values"]).expect_code(3);
    let listing: Vec<&str> = said.stdout.lines().filter(|line| !line.starts_with("--")).collect();
    assert!(listing.iter().any(|line| line.contains("\\n")), "{}", said.stdout);
    order.run(&listing.join("\n")).await.unwrap();
    let said = shop.xtask(&["repair"]).expect_code(0);
    says(&said, &["-- ✓ NOTHING TO REPAIR\n"]);
    shop.xtask(&["verify"]).expect_code(0);
}

/// Under the column's own collation the two values are the same.
#[tokio::test]
async fn a_change_of_case_is_seen_whatever_the_columns_collation() {
    let shop = migrated().await;
    let before = targets(&shop).await;
    let mut order = shop.superuser(&shop.settings.order).await;
    order
        .run(
            "CREATE COLLATION public.nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
             ALTER TABLE orders ALTER status TYPE varchar(30) COLLATE public.nocase; \
             UPDATE orders SET status = 'DELIVERED' WHERE id = 1",
        )
        .await
        .unwrap();
    let said = shop.xtask(&["repair"]).expect_code(3);
    says(
        &said,
        &[
            "column status is \"character varying(30) COLLATE public.nocase\", expected \"character varying(30)\"",
            "UPDATE \"public\".\"orders\" SET \"status\" = 'delivered' WHERE id = 1;\n",
        ],
    );
    let said = shop.xtask(&["verify"]).expect_code(3);
    says(&said, &["orders id 1: status: expected \"delivered\", found \"DELIVERED\""]);
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    let said = shop.xtask(&["repair"]).expect_code(0);
    says(&said, &["-- ✓ NOTHING TO REPAIR\n"]);
    order.run("DROP COLLATION public.nocase").await.unwrap();
    assert!(targets(&shop).await == before, "not as it was");
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
    for arguments in [&["repair", "--show-values"][..], &["repair", "--show-values", "--apply"]] {
        let said = shop.xtask(arguments).expect_code(3);
        says(
            &said,
            &[
                "-- order orders id 1: conflict, left alone: status is 'shipped', we wrote 'delivered'\n",
                "-- order payments id 2: conflict, left alone: it is not there any more\n",
                "-- firestore users/q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g: conflict, left alone: last_name: expected",
                "-- firestore user_sessions/plainSession1-9f86d081884c7d659a2feaa0: conflict, left alone",
                "-- ✗ 0 rows and documents",
                "-- 4 are not as this run last wrote them: left alone\n",
                "-- 2 were added by the services since the cut-over at 2026-01-01 00:00:00 UTC: left alone\n",
            ],
        );
        assert!(said.stderr.contains("others have written there"), "{}", said.stderr);
        assert!(targets(&shop).await == before, "{arguments:?} has touched what others wrote");
    }
}

/// Of the run's structure only what is missing is made; what the services have altered or added is theirs.
#[tokio::test]
async fn after_the_cut_over_only_missing_structure_is_made() {
    let shop = migrated().await;
    let run = shop.latest();
    let mut manifest = run.load_manifest().unwrap();
    manifest.cutover = Some(Cutover { at: "2026-01-01T00:00:00.000Z".into(), ..Cutover::default() });
    run.save_manifest(&manifest).unwrap();
    let mut order = shop.target(Database::Order).await;
    order
        .run(
            "DROP INDEX idx_orders_status; ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey; \
             SELECT setval('payments_id_seq', 5); CREATE INDEX theirs ON orders (id, status); \
             ALTER TABLE orders ADD COLUMN theirs text; ALTER TABLE orders ADD CHECK (id > 0)",
        )
        .await
        .unwrap();
    let said = shop.xtask(&["repair", "--apply"]).expect_code(0);
    says(
        &said,
        &[
            "CREATE INDEX idx_orders_status",
            "ADD CONSTRAINT \"payments_order_id_fkey\"",
            "setval(pg_get_serial_sequence('\"public\".\"payments\"', 'id')",
        ],
    );
    assert!(!said.stdout.contains("theirs\"") && !said.stdout.contains("DROP"), "{}", said.stdout);
    let theirs = "SELECT count(*) FROM pg_class WHERE relname = 'theirs'";
    let theirs: i64 = sqlx::Row::get(&order.row(theirs).await.unwrap(), 0);
    assert_eq!(theirs, 1, "what is theirs was taken away");

    order
        .run("ALTER TABLE orders ALTER status TYPE text; ALTER TABLE order_items DROP COLUMN quantity")
        .await
        .unwrap();
    let before = targets(&shop).await;
    let said = shop.xtask(&["repair", "--apply"]).expect_code(3);
    says(
        &said,
        &[
            "-- order orders: not by this command: order.orders: column status is",
            "the services took over, and may have altered it",
            "-- order order_items: not by this command: column quantity is not there: the services took over",
        ],
    );
    assert!(targets(&shop).await == before, "what the services altered was touched");

    // A table that is gone held their rows, too.
    order.run("DROP TABLE payments").await.unwrap();
    let said = shop.xtask(&["repair", "--apply"]).expect_code(3);
    says(
        &said,
        &["-- order payments: not by this command: the table is not there: the services took over at"],
    );
    let said = shop.xtask(&["import"]).expect_code(4);
    for word in
        ["the services took over at 2026-01-01 00:00:00 UTC", "comes back from a backup of its database"]
    {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
}

/// Repair names the command that brings a table back, and that does: beside tables that are this run's.
#[tokio::test]
async fn an_import_brings_a_dropped_table_back() {
    let shop = migrated().await;
    // All but when it was brought there.
    let rows = async || {
        let same = "UPDATE xtask.runs SET published = '2026-01-01'";
        shop.target(Database::Product).await.run(same).await.unwrap();
        targets(&shop).await
    };
    let before = rows().await;
    let run = shop.latest().id().to_string();
    let mut product = shop.target(Database::Product).await;
    product.run("GRANT SELECT ON product_reviews TO public").await.unwrap();
    product.run("DROP TABLE products CASCADE").await.unwrap();
    let damaged = targets(&shop).await;
    for arguments in [&["repair"][..], &["repair", "--apply"]] {
        let said = shop.xtask(arguments).expect_code(3);
        let way = format!("`cargo xtask import --run {run}` brings the table back");
        says(
            &said,
            &[
                &format!("-- product products: not by this command: the table is not there: {way}\n"),
                "constraint product_reviews_product_id_fkey is missing (expected: FOREIGN KEY (product_id) REFERENCES \
                 products(id)): it comes back with products\n",
            ],
        );
        assert!(targets(&shop).await == damaged, "{arguments:?}");
    }

    // Not over what somebody has changed: neither a row nor a table.
    for (damage, undo, word) in [
        (
            "UPDATE categories SET status = 'lost' WHERE id = 1",
            "UPDATE categories SET status = 'active' WHERE id = 1",
            "categories in",
        ),
        (
            "DROP INDEX idx_categories_slug",
            "CREATE INDEX idx_categories_slug ON categories (slug)",
            "idx_categories_slug is missing",
        ),
    ] {
        product.run(damage).await.unwrap();
        let said = shop.xtask(&["import", "--run", &run]).expect_code(4);
        for word in [word, &format!("`cargo xtask repair --run {run} "), "` shows how, and repairs it"] {
            assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
        }
        let next = said.stderr.lines().rfind(|line| line.starts_with("next: ")).unwrap_or_default();
        assert!(
            next.starts_with(&format!("next: cargo xtask repair --run {run} --stack ")),
            "{}",
            said.stderr
        );
        product.run(undo).await.unwrap();
    }
    shop.xtask(&["import", "--run", &run]).expect_code(0);
    let granted = "SELECT has_table_privilege('public', 'product_reviews', 'SELECT')";
    assert!(sqlx::Row::get::<bool, _>(&product.row(granted).await.unwrap(), 0), "the grants are gone");
    shop.xtask(&["verify"]).expect_code(0);
    assert_eq!(rows().await, before, "not as it was");
    says(&shop.xtask(&["repair"]).expect_code(0), &["-- ✓ NOTHING TO REPAIR\n"]);

    // As many rows as the run has brought are not yet its rows.
    product.run("UPDATE categories SET status = 'lost' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["import", "--run", &run]).expect_code(4);
    assert!(said.stderr.contains("categories in"), "{}", said.stderr);
}
