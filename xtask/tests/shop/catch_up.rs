//! `catch-up`: what has changed in the source comes into the stores in passes, each proven; what depends on a
//! changed row comes with it; a pass that is cut off is completed; writes of others stop it.

use crate::support::{Said, Shop, assert_refused, assert_words, binary, says};
use datapath::document::Document;
use datapath::firestore::Unconditional;
use xtask::model::Database;
use xtask::phases::catch_up::{self, Extent, HeldRows};
use xtask::run::command::visibly;
use xtask::steps::CommandName;
use xtask::tables::{TABLES, Table};

/// One kind of change after the other, each with what depends on it.
const CHANGES: &[(&str, &str)] = &[
    ("rows come, change and go", "
        INSERT INTO users (firebase_uid, email, created_at) VALUES ('uidOfPass', 'pass@example.com', now());
        INSERT INTO orders (user_id, total_amount, created_at) SELECT max(id), 12.34, now() FROM users;
        INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at) SELECT max(o.id), 1, 2, 3, now() FROM orders o;
        INSERT INTO payments (order_id, amount, created_at) SELECT max(id), 12.34, now() FROM orders;
        UPDATE users SET login_count = coalesce(login_count, 0) + 1, email = 'new@example.com' WHERE id = 1;
        UPDATE products SET stock = 77, price = 1.23 WHERE id = 1;
        DELETE FROM payments WHERE id = (SELECT min(id) FROM payments);
        DELETE FROM system_logs WHERE id IN (SELECT id FROM system_logs ORDER BY id LIMIT 3)"),
    ("a user's uid is another one", "
        UPDATE users SET firebase_uid = 'anotherUid' WHERE id = 1"),
    ("a uid is handed over", "
        ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key;
        UPDATE users SET firebase_uid = CASE id WHEN 1 THEN (SELECT firebase_uid FROM users WHERE id = 2)
                                                ELSE (SELECT firebase_uid FROM users WHERE id = 1) END
        WHERE id IN (1, 2)"),
    ("a uid is shared, and the tokens of sessions too", "
        ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key;
        UPDATE users SET firebase_uid = (SELECT firebase_uid FROM users WHERE id = 1) WHERE id = 2;
        INSERT INTO user_sessions (user_id, session_token, created_at)
        SELECT 1, session_token, now() FROM user_sessions ORDER BY id DESC LIMIT 1"),
    ("and shared no more", "
        UPDATE users SET firebase_uid = 'ofTwoAgain' WHERE id = 2;
        DELETE FROM user_sessions WHERE id = (SELECT max(id) FROM user_sessions)"),
    ("a user is deleted softly", "UPDATE users SET deleted_at = now() WHERE id = 1"),
    ("and comes back", "UPDATE users SET deleted_at = NULL WHERE id = 1"),
    ("a user without uid", "UPDATE users SET firebase_uid = NULL WHERE id = 1"),
    ("gets one", "UPDATE users SET firebase_uid = 'atLast' WHERE id = 1"),
    ("a document that Firestore cannot hold", "UPDATE users SET last_login_at = '12000-01-01' WHERE id = 1"),
    ("and one that it can", "UPDATE users SET last_login_at = now() WHERE id = 1"),
    ("categories and products are deleted softly", "
        UPDATE categories SET deleted_at = now();
        UPDATE products SET deleted_at = now()"),
    ("a new order item refers to a deleted product", "
        INSERT INTO products (id, name, price, created_at, deleted_at, category_id)
        SELECT 7001, 'gone', 1, now(), now(), min(id) FROM categories;
        INSERT INTO products (id, name, price, created_at, deleted_at) VALUES (7002, 'gone', 1, now(), now())"),
    ("now", "
        INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at)
        SELECT min(id), 7001, 1, 1, now() FROM orders WHERE user_id = 1"),
    ("and a review to another", "
        INSERT INTO product_reviews (product_id, user_id, rating, created_at) VALUES (7002, 1, 5, now())"),
    ("whose review is deleted", "UPDATE product_reviews SET deleted_at = now() WHERE product_id = 7002"),
    ("they come back", "UPDATE categories SET deleted_at = NULL; UPDATE products SET deleted_at = NULL WHERE id < 7000"),
    ("a category loses its name", "
        ALTER TABLE categories ALTER name DROP NOT NULL;
        UPDATE categories SET name = NULL WHERE id = (SELECT min(category_id) FROM products WHERE category_id IS NOT NULL)"),
    ("and gets one", "UPDATE categories SET name = 'named' WHERE name IS NULL"),
    ("an order loses what it needs", "
        ALTER TABLE orders ALTER total_amount DROP NOT NULL;
        UPDATE orders SET total_amount = NULL WHERE id = (SELECT min(order_id) FROM order_items)"),
    ("and gets it", "UPDATE orders SET total_amount = 5 WHERE total_amount IS NULL"),
    ("a product loses what it needs", "
        ALTER TABLE products ALTER price DROP NOT NULL;
        UPDATE products SET price = NULL WHERE id = (SELECT min(product_id) FROM product_reviews WHERE deleted_at IS NULL)"),
    ("and gets it back", "UPDATE products SET price = 5 WHERE price IS NULL"),
    ("parents go, and references are lost", "
        ALTER TABLE order_items DROP CONSTRAINT order_items_product_id_fkey;
        ALTER TABLE product_reviews DROP CONSTRAINT product_reviews_product_id_fkey, DROP CONSTRAINT product_reviews_order_id_fkey;
        ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey;
        ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey;
        ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;
        ALTER TABLE product_reviews DROP CONSTRAINT product_reviews_user_id_fkey;
        ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_user_id_fkey;
        ALTER TABLE products DROP CONSTRAINT products_category_id_fkey;
        UPDATE product_reviews SET order_id = (SELECT max(id) FROM orders) WHERE id = (SELECT min(id) FROM product_reviews);
        CREATE TABLE kept_users AS SELECT * FROM users WHERE id = 1;
        CREATE TABLE kept_products AS SELECT * FROM products WHERE id = 1;
        CREATE TABLE kept_orders AS SELECT * FROM orders WHERE id IN (SELECT order_id FROM product_reviews UNION SELECT min(id) FROM orders);
        CREATE TABLE kept_categories AS SELECT * FROM categories"),
    ("a product is gone", "DELETE FROM products WHERE id = 1"),
    ("and there again", "INSERT INTO products SELECT * FROM kept_products"),
    ("orders are gone", "DELETE FROM orders WHERE id IN (SELECT id FROM kept_orders)"),
    ("and there again", "INSERT INTO orders SELECT * FROM kept_orders"),
    ("a user is gone", "DELETE FROM users WHERE id = 1"),
    ("and there again", "INSERT INTO users SELECT * FROM kept_users"),
    ("keys change", "
        UPDATE orders SET id = id + 100000 WHERE id IN (SELECT id FROM kept_orders);
        UPDATE order_items SET order_id = order_id + 100000 WHERE order_id IN (SELECT id FROM kept_orders)"),
    ("slugs are swapped, children move to other parents", "
        ALTER TABLE products DROP CONSTRAINT products_slug_key;
        UPDATE products SET slug = CASE id WHEN 1 THEN (SELECT slug FROM products WHERE id = 2)
                                           ELSE (SELECT slug FROM products WHERE id = 1) END WHERE id IN (1, 2);
        UPDATE order_items SET product_id = 2 WHERE product_id = 1;
        UPDATE products SET category_id = (SELECT max(id) FROM categories) WHERE id = 2;
        UPDATE categories SET parent_id = NULL"),
    ("what the notes say, and what takes a default", "
        UPDATE order_items SET product_id = 99999 WHERE id IN (SELECT id FROM order_items ORDER BY id DESC LIMIT 2);
        UPDATE order_items SET product_id = NULL WHERE id = (SELECT max(id) FROM order_items);
        UPDATE users SET status = NULL, login_count = NULL WHERE id = 1;
        UPDATE users SET status = NULL WHERE id = 2; UPDATE users SET status = 'active' WHERE id = 2"),
    ("whose reference comes back", "
        UPDATE order_items SET product_id = 2 WHERE product_id = 99999;
        UPDATE order_items SET product_id = 99999 WHERE product_id IS NULL"),
];

async fn migrated() -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop
}

#[tokio::test]
async fn whatever_changes_comes_over_with_what_depends_on_it() {
    let shop = migrated().await;
    for (what, change) in CHANGES {
        shop.source().await.run(change).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        let said = shop.xtask(&["catch-up", "--audit", "--json"]);
        assert_eq!(said.code, Some(0), "{what}: {}{}", said.stdout, said.stderr);
        let verified = shop.xtask(&["verify", "--full"]);
        assert_eq!(verified.code, Some(0), "{what}: {}{}", verified.stdout, verified.stderr);
    }
    // As a new run sees it: the same rows, and the same number of each outcome.
    let caught_up = shop.manifest();
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    let defaults = caught_up.defaults;
    let (caught_up, new) = (caught_up.export.unwrap(), shop.manifest().export.unwrap());
    for (name, record) in &new.tables {
        assert_eq!(caught_up.tables[name].outcomes, record.outcomes, "{name}");
        assert_eq!(caught_up.tables[name].content, record.content, "{name}");
        assert_eq!(caught_up.tables[name].source_rows, record.source_rows, "{name}");
        assert_eq!(caught_up.tables[name].notes, record.notes, "{name}");
    }
    assert!(new.tables["order_items"].notes > 0 && !defaults["users"].is_empty(), "nothing to count");
    assert_eq!(defaults, shop.manifest().defaults);
}

#[tokio::test]
async fn nothing_to_do_changes_nothing_and_writes_of_others_stop_a_pass() {
    let shop = migrated().await;
    let said = shop.xtask(&["catch-up"]).expect_code(0);
    says(&said, &["✓ NOTHING HAS CHANGED"]);
    assert!(said.stderr.contains("next: cargo xtask cutover --run "), "{}", said.stderr);
    assert_eq!(shop.manifest().export.unwrap().replays.len(), 0);

    // What the rows are compared with is what was written.
    let orders = shop.latest().file("orders.csv");
    let whole = std::fs::read(&orders).unwrap();
    std::fs::write(&orders, &whole[..whole.len() - 1]).unwrap();
    let said = shop.xtask(&["catch-up"]).expect_code(3);
    assert!(said.stderr.contains("orders.csv"), "{}", said.stderr);
    std::fs::write(&orders, whole).unwrap();

    shop.source().await.run("UPDATE orders SET status = 'changed' WHERE id = 1").await.unwrap();
    let order = "UPDATE orders SET status = 'theirs' WHERE id = 2";
    shop.target(Database::Order).await.run(order).await.unwrap();
    let said = shop.xtask(&["catch-up"]).expect_code(3);
    assert!(
        said.stderr.contains("others have written to a store: orders is not what the run wrote"),
        "{}",
        said.stderr
    );
    assert_eq!(shop.manifest().export.unwrap().replays.len(), 0, "nothing has been brought over");
    shop.xtask(&["repair", "--apply"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    let said = shop.xtask(&["catch-up"]).expect_code(0);
    says(&said, &["✓ CAUGHT UP 1 rows, proven, as of "]);
    shop.xtask(&["verify"]).expect_code(0);

    // A replay would read what each pass reads.
    assert_refused("replay", &shop.xtask(&["replay"]), &["has been caught up with (pass 1)"]);
    // Emptied by mistake, or on purpose: nobody's pass follows that.
    shop.source().await.run("TRUNCATE payments").await.unwrap();
    assert_refused("truncated", &shop.xtask(&["catch-up"]), &["payments has been emptied"]);
}

#[tokio::test]
async fn the_cut_over_holds_the_source_for_the_last_pass_alone() {
    let shop = migrated().await;
    let change = "UPDATE orders SET status = 'changed' WHERE id = 1";
    shop.source().await.run(change).await.unwrap();
    let refused = shop.xtask(&["cutover"]);
    assert_refused(
        "changed",
        &refused,
        &["public.orders: about 1 row", "Bring it over with `cargo xtask catch-up --run "],
    );

    shop.xtask(&["catch-up"]).expect_code(0);
    shop.source()
        .await
        .run("DELETE FROM payments WHERE id = 1; UPDATE users SET phone_number = '1' WHERE id = 1")
        .await
        .unwrap();
    assert_refused(
        "too short",
        &shop.xtask(&["cutover", "--max-freeze", "0s"]),
        &["Nothing has been frozen"],
    );
    let said = shop.xtask(&["cutover", "--max-freeze", "60s"]).expect_code(0);
    says(&said, &["✓ CUT OVER run ", ", read-only for ", ", every one compared again since"]);
    let manifest = shop.manifest();
    let cutover = manifest.cutover.unwrap();
    assert!(cutover.frozen_for.unwrap() > 0.0);
    assert!(cutover.afterwards.unwrap().is_green());
    assert_eq!(cutover.source.len(), manifest.backup.unwrap().raw.len(), "what the source holds is known");
    shop.xtask(&["verify", "--full"]).expect_code(0);
    assert_refused("afterwards", &shop.xtask(&["catch-up"]), &["the services took over at"]);
    // A full proof that was cut off is none.
    let whole = std::fs::read_to_string(shop.latest().file("manifest.json")).unwrap();
    let mut cut: serde_json::Value = serde_json::from_str(&whole).unwrap();
    cut["cutover"].as_object_mut().unwrap().remove("afterwards").unwrap();
    shop.latest().write("manifest.json", cut.to_string()).unwrap();
    says(&shop.xtask(&["cutover"]).expect_code(0), &["has been cut over already", "; not fully proven yet"]);
    shop.latest().write("manifest.json", whole).unwrap();
    // And the way back knows what the services write from here on.
    let order = "INSERT INTO orders (user_uid, total_amount, created_at) SELECT user_uid, 99, now() FROM orders WHERE id = 1";
    shop.target(Database::Order).await.run(order).await.unwrap();
    let said = shop.xtask(&["rollback", "after-start"]).expect_code(0);
    says(&said, &["taken back"]);
    let back = "SELECT count(*) FROM orders WHERE total_amount = 99";
    let row = shop.source().await.row(back).await.unwrap();
    assert_eq!(sqlx::Row::get::<i64, _>(&row, 0), 1);
}

/// More pages than one session scans, nearly all of dead rows; with one statement at a time on the source.
#[tokio::test]
async fn a_table_of_many_pages_is_scanned_in_pieces() {
    let shop = migrated().await;
    let logs = "INSERT INTO system_logs (level, service_name, message, created_at) \
                SELECT 'info', 'shop', repeat('x', 1500), now() FROM generate_series(1, ";
    let change = format!(
        "{logs}90000) g; DELETE FROM system_logs WHERE message LIKE 'xxx%'; {logs}3) g; \
         UPDATE system_logs SET message = 'changed' WHERE id = (SELECT min(id) FROM system_logs); \
         DELETE FROM system_logs WHERE id = (SELECT min(id) + 1 FROM system_logs)"
    );
    shop.source().await.run(&change).await.unwrap();
    let pages = "SELECT pg_relation_size('system_logs') / current_setting('block_size')::bigint";
    let pages: i64 = sqlx::Row::get(&shop.source().await.row(pages).await.unwrap(), 0);
    assert!(pages > 17_000, "{pages} pages");
    let said = shop.xtask(&["catch-up", "--audit", "--jobs", "1"]).expect_code(0);
    says(&said, &["✓ CAUGHT UP 5 rows, proven, as of ", ", every row compared"]);
}

/// Nothing has changed in the source, so no pass compares the stores: they are looked at before the freeze all the same.
#[tokio::test]
async fn what_others_have_written_to_a_store_is_seen_before_the_freeze() {
    let shop = migrated().await;
    shop.xtask(&["catch-up"]).expect_code(0);
    let write = "UPDATE orders SET total_amount = -total_amount";
    shop.target(Database::Order).await.run(write).await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(3);
    assert_words(&said, &["others have written to a store: orders is not what the run wrote"]);
    assert!(!said.stderr.contains("is frozen"), "{}", said.stderr);
    shop.target(Database::Order).await.run(write).await.unwrap();
    let stranger = Document { id: "stranger".into(), fields: Vec::new() };
    shop.firestore().await.set("users", &stranger).await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(3);
    assert_words(&said, &["others have written to a store: collection users holds "]);
    assert!(!said.stderr.contains("is frozen"), "{}", said.stderr);
}

/// Much has changed in the source, and the pass that brings it over is killed once it is written down.
async fn cut_off_in_a_pass(shop: &Shop) {
    // So much that it takes a while to be written.
    let change = "UPDATE users SET phone_number = '7'; UPDATE orders SET status = 'changed'; \
                  DELETE FROM payments WHERE id % 2 = 0; UPDATE products SET stock = 1; \
                  INSERT INTO system_logs (level, service_name, message, created_at) \
                  SELECT 'info', 'shop', 'many', now() FROM generate_series(1, 20000)";
    shop.source().await.run(change).await.unwrap();
    let mut tool = shop.command(&["catch-up", "--quiet"]).spawn().unwrap();
    let is_written_down = || {
        let export = shop.manifest().export.unwrap();
        export.unfinished_pass().is_some()
    };
    while !is_written_down() {
        assert!(tool.try_wait().unwrap().is_none(), "it ended before it was cut off");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    tool.kill().unwrap();
    tool.wait().unwrap();
    assert!(is_written_down(), "it ended before it was cut off");
}

#[tokio::test]
async fn a_pass_that_is_cut_off_is_completed_from_its_files() {
    let shop = migrated().await;
    cut_off_in_a_pass(&shop).await;
    for verb in [&["verify"][..], &["repair"], &["migrate", "--replace"]] {
        let words = [
            "a catch-up pass of run ",
            " was cut off, and not every store has it: `cargo xtask catch-up --run ",
        ];
        assert_refused(verb[0], &shop.xtask(verb), &words);
    }
    // What has changed meanwhile is another pass.
    shop.source().await.run("UPDATE orders SET status = 'again' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["catch-up", "--audit"]).expect_code(0);
    says(&said, &["pass 1, which had been cut off: ", "pass 2: 1 rows"]);
    shop.xtask(&["verify", "--full"]).expect_code(0);
}

#[tokio::test]
async fn a_pass_that_is_cut_off_is_completed_by_the_cut_over() {
    let shop = migrated().await;
    cut_off_in_a_pass(&shop).await;
    shop.source().await.run("UPDATE orders SET status = 'again' WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(&said, &["a pass was cut off: it is completed from its files"]);
    says(&said, &["✓ CUT OVER run ", ", every one compared again since"]);
    shop.xtask(&["verify", "--full"]).expect_code(0);
}

#[tokio::test]
async fn what_is_told_of_the_source_is_as_of_the_last_pass() {
    let shop = migrated().await;
    let change = |status: &str| format!("UPDATE orders SET status = '{status}' WHERE id = 1");
    shop.source().await.run(&change("first")).await.unwrap();
    shop.source().await.run("DELETE FROM payments WHERE id = 1").await.unwrap();
    shop.xtask(&["catch-up"]).expect_code(0);
    let export = shop.manifest().export.unwrap();
    let of_pass = format!("{} of the last pass; what", xtask::shown::utc(&export.as_of().taken));
    for verb in ["report", "verify"] {
        let said = shop.xtask(&[verb, "-v"]).expect_code(0);
        assert_words(&said, &[&of_pass]);
    }
    // After the cut-over, too, which passes over what has changed since.
    shop.source().await.run(&change("second")).await.unwrap();
    shop.xtask(&["cutover"]).expect_code(0);
    let write = format!("BEGIN READ WRITE; {}; COMMIT", change("third"));
    shop.superuser(&shop.settings.source).await.run(&write).await.unwrap();
    let said = shop.xtask(&["rollback", "before-start"]);
    assert_refused("changed", &said, &["the old database is not what run ", "public.orders: about 1 row"]);
    assert!(!said.stderr.contains("public.payments"), "{}", said.stderr);
    let write = format!("BEGIN READ WRITE; {}; COMMIT", change("second"));
    shop.superuser(&shop.settings.source).await.run(&write).await.unwrap();
    shop.xtask(&["rollback", "before-start"]).expect_code(0);
}

/// What of the description of a table is taken out: `depends` on a table, `shared` or `each_pass`; and a change that
/// is not followed without it.
const MUTANTS: &[(&str, &str, &str)] = &[
    ("user_sessions", "users", "UPDATE users SET firebase_uid = 'ofSessions' WHERE id = 1"),
    (
        "user_sessions",
        "shared",
        "INSERT INTO user_sessions (user_id, session_token, created_at)
        SELECT user_id, session_token, now() FROM user_sessions WHERE user_id = 1 ORDER BY id LIMIT 1",
    ),
    ("orders", "users", "UPDATE users SET firebase_uid = 'ofOrders' WHERE id = 1"),
    ("product_reviews", "users", "UPDATE users SET firebase_uid = 'ofReviews' WHERE id = 1"),
    ("api_logs", "users", "UPDATE users SET firebase_uid = 'ofLogs' WHERE id = 1"),
    ("analytics_events", "users", "UPDATE users SET firebase_uid = 'ofEvents' WHERE id = 1"),
    (
        "users",
        "shared",
        "UPDATE users SET firebase_uid = (SELECT firebase_uid FROM users WHERE id = 1) WHERE id = 2",
    ),
    ("categories", "each_pass", "UPDATE products SET category_id = NULL WHERE id = 7001"),
    ("products", "categories", "UPDATE categories SET name = NULL WHERE id = 7002"),
    (
        "products",
        "each_pass",
        "INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at)
        VALUES (7001, 7003, 1, 1, now())",
    ),
    ("product_reviews", "orders", "DELETE FROM orders WHERE id = 7002"),
    ("product_reviews", "products", "UPDATE products SET price = NULL WHERE id = 7004"),
    ("order_items", "products", "DELETE FROM products WHERE id = 7005"),
    ("order_items", "orders", "UPDATE orders SET total_amount = NULL WHERE id = 7001"),
    ("payments", "orders", "UPDATE orders SET total_amount = NULL WHERE id = 7003"),
];

/// So that every change above touches something.
const GROUND: &str = "
    ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key;
    ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key;
    ALTER TABLE categories ALTER name DROP NOT NULL;
    ALTER TABLE products ALTER price DROP NOT NULL;
    ALTER TABLE orders ALTER total_amount DROP NOT NULL;
    ALTER TABLE order_items DROP CONSTRAINT order_items_product_id_fkey;
    ALTER TABLE product_reviews DROP CONSTRAINT product_reviews_order_id_fkey;
    INSERT INTO user_sessions (user_id, session_token, created_at) VALUES (1, 'ofGround', now());
    INSERT INTO categories (id, name, created_at, deleted_at) VALUES (7001, 'gone', now(), now()), (7002, 'there', now(), NULL);
    INSERT INTO products (id, name, price, created_at, category_id, deleted_at) VALUES
        (7001, 'in a deleted category', 1, now(), 7001, NULL), (7002, 'in another', 1, now(), 7002, NULL),
        (7003, 'deleted', 1, now(), NULL, now()), (7004, 'reviewed', 1, now(), NULL, NULL),
        (7005, 'ordered', 1, now(), NULL, NULL);
    INSERT INTO orders (id, user_id, total_amount, created_at) VALUES (7001, 1, 1, now()), (7002, 1, 1, now()), (7003, 1, 1, now());
    INSERT INTO payments (order_id, amount, created_at) VALUES (7003, 1, now());
    INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at) VALUES (7001, 7005, 1, 1, now());
    INSERT INTO product_reviews (product_id, user_id, order_id, rating, created_at) VALUES (7004, 1, 7002, 5, now());
    INSERT INTO system_logs (level, service_name, message, user_id, created_at) VALUES ('info', 'shop', 'm', 1, now());
    INSERT INTO analytics_events (event_name, user_id, created_at) VALUES ('e', 1, now())";

/// The tables without one line of what they depend on.
fn without(name: &str, line: &str) -> &'static [Table] {
    let mut tables = TABLES.to_vec();
    let table = tables.iter_mut().find(|table| table.name == name).unwrap();
    match line {
        "shared" => table.shared = None,
        "each_pass" => table.each_pass = None,
        parent => {
            let rest: Vec<_> = table.depends.iter().copied().filter(|(_, on)| *on != parent).collect();
            assert!(rest.len() < table.depends.len(), "{name} does not depend on {parent}");
            table.depends = rest.leak();
        }
    }
    tables.leak()
}

#[tokio::test]
async fn every_line_of_what_a_table_depends_on_is_needed() {
    let mut shop = migrated().await;
    shop.source().await.run(GROUND).await.unwrap();
    shop.xtask(&["catch-up", "--audit"]).expect_code(0);
    let lines = TABLES
        .iter()
        .map(|t| t.depends.len() + usize::from(t.shared.is_some()) + usize::from(t.each_pass.is_some()));
    assert_eq!(lines.sum::<usize>(), MUTANTS.len(), "a line without its mutant");
    for (table, line, change) in MUTANTS {
        shop.source().await.run(change).await.unwrap_or_else(|error| panic!("{table} {line}: {error:#}"));
        shop.tables = without(table, line);
        let ctx = shop.ctx_of(shop.latest());
        let mut manifest = ctx.run.load_manifest().unwrap();
        let mut held = HeldRows::read(&ctx, manifest.export.as_ref().unwrap()).await.unwrap();
        let pass = catch_up::pass(&ctx, &mut manifest, &mut held, Extent::Audit);
        let error = visibly(&ctx, CommandName::CatchUp, pass)
            .await
            .expect_err(&format!("{table} without {line}: {change}"));
        assert!(format!("{error:#}").contains("did not find id "), "{table} {line}: {error:#}");
        // With it, nothing is missed; and the pass before has changed nothing.
        shop.xtask(&["catch-up", "--audit"]).expect_code(0);
    }
    shop.xtask(&["verify", "--full"]).expect_code(0);
}

#[tokio::test]
async fn a_shop_that_writes_all_the_while_is_cut_over_within_seconds() {
    let said = binary().args(["rehearse", "--live", "--scale", "0"]).output().unwrap();
    let said = Said::from(said).expect_code(0);
    for words in [
        "live: migrated while ",
        "live: pass of ",
        "live: read-only for ",
        "live: ✓ every store holds what the old database holds, by its own SELECTs: 0 differences",
    ] {
        assert!(said.stderr.contains(words), "no {words:?} in\n{}", said.stderr);
    }
    assert_eq!(said.stderr.matches("live: pass of ").count(), 3, "{}", said.stderr);
}
