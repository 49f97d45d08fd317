//! What the old database takes of what comes back, and what it does not: stricter constraints, keys that were
//! exchanged, uids that several users have, documents that are no rows, rows that both sides have changed.

use crate::support::{Shop, assert_words};
use crate::tool::Tool;
use datapath::document::{Document, Value};
use datapath::firestore::Unconditional;
use sqlx::Row;
use xtask::model::Database;

async fn value(shop: &Shop, query: &str) -> String {
    let row = shop.source().await.row(query).await.unwrap_or_else(|error| panic!("{query}: {error:#}"));
    row.get::<Option<String>, _>(0).unwrap_or("NULL".into())
}

/// The services have taken over; `before`: done to the old database before the run.
async fn cut_over(before: &str) -> Shop {
    let shop = Shop::open(0).await;
    shop.source().await.run(before).await.unwrap();
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop
}

async fn document(shop: &Shop, collection: &str, id: &str, fields: Vec<(&'static str, Value)>) {
    shop.firestore().await.set(collection, &Document { id: id.into(), fields }).await.unwrap();
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

fn read(shop: &Shop, file: &str) -> String {
    std::fs::read_to_string(shop.latest().file(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_exchanged_or_given_to_another_row_come_back() {
    let shop = cut_over("SELECT 1").await;
    let slug = async |id: i64| value(&shop, &format!("SELECT slug FROM categories WHERE id = {id}")).await;
    let (one, two) = (slug(1).await, slug(2).await);
    let mut product = shop.target(Database::Product).await;
    let sku = value(&shop, "SELECT sku FROM products WHERE id = 1").await;
    product
        .run(&format!(
            "UPDATE categories SET slug = CASE id WHEN 1 THEN '{two}' ELSE '{one}' END WHERE id IN (1, 2); \
             UPDATE products SET sku = NULL WHERE id = 1; \
             INSERT INTO products (name, price, sku, created_at) VALUES ('heir', 1, '{sku}', now())"
        ))
        .await
        .unwrap();
    // A row takes the key of one that is gone.
    let gone = "SELECT id::text || ' ' || slug FROM categories c WHERE slug IS NOT NULL AND NOT EXISTS (SELECT FROM products p WHERE p.category_id = c.id) \
                AND NOT EXISTS (SELECT FROM categories k WHERE k.parent_id = c.id) ORDER BY c.id LIMIT 1";
    product
        .run("INSERT INTO categories (name, slug, created_at) VALUES ('leaf', 'leaf', now())")
        .await
        .unwrap();
    let leaf = product.row(gone).await.ok().map(|row| row.get::<String, _>(0)).unwrap();
    let (leaf, leaf_slug) = leaf.split_once(' ').unwrap();
    product
        .run(&format!(
            "DELETE FROM categories WHERE id = {leaf}; \
             INSERT INTO categories (name, slug, parent_id, created_at) VALUES ('child', '{leaf_slug}', NULL, now())"
        ))
        .await
        .unwrap();
    shop.xtask(&["rollback", "after-start"]).expect_code(0);
    assert_eq!((slug(1).await, slug(2).await), (two, one));
    assert_eq!(value(&shop, &format!("SELECT name FROM products WHERE sku = '{sku}'")).await, "heir");
    assert_eq!(
        value(&shop, &format!("SELECT name FROM categories WHERE slug = '{leaf_slug}'")).await,
        "child"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_database_does_not_take_is_listed_and_the_rest_comes_back() {
    let shop = cut_over(
        "INSERT INTO users (firebase_uid, email, created_at, deleted_at) VALUES ('gone-1', 'taken@example.com', now(), now()); \
         ALTER TABLE products ADD CHECK (price <> 1000.01); \
         UPDATE payments SET currency = 'EUR' WHERE currency IS NULL; \
         ALTER TABLE payments ALTER currency SET NOT NULL",
    )
    .await;
    let taken =
        value(&shop, "SELECT slug FROM categories WHERE deleted_at IS NULL ORDER BY id LIMIT 1").await;
    let mut product = shop.target(Database::Product).await;
    product
        .run(&format!(
            "INSERT INTO categories (name, slug, created_at) VALUES ('again', '{taken}', now()); \
             INSERT INTO products (name, price, category_id, created_at) SELECT 'child of it', 5, max(id), now() FROM categories; \
             UPDATE products SET price = 1000.01, stock = 77 WHERE id = 1; \
             UPDATE products SET stock = 78 WHERE id = 2"
        ))
        .await
        .unwrap();
    let mut order = shop.target(Database::Order).await;
    order
        .run(
            "INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('uid-taken', 5, '2026-11-03'); \
             INSERT INTO payments (order_id, amount, created_at) SELECT max(id), 5, now() FROM orders; \
             INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at) SELECT max(id), 99999, 1, 5, '2026-11-03' FROM orders",
        )
        .await
        .unwrap();
    let created = ("created_at", Value::Time(1_700_000_000_000_000));
    let user = |uid: &str, email: Value| vec![("firebase_uid", text(uid)), ("email", email), created.clone()];
    document(&shop, "users", "uid-taken", user("uid-taken", text("taken@example.com"))).await;
    document(&shop, "users", "uid-number", user("uid-number", Value::Integer(5))).await;
    document(&shop, "users", "uid-other", user("another-uid", text("x@example.com"))).await;
    document(&shop, "users", "uid-none", vec![("firebase_uid", text("uid-none")), created.clone()]).await;
    let mut long = user("uid-long", text("l@example.com"));
    long.push(("language", text("a language of more than ten letters")));
    document(&shop, "users", "uid-long", long).await;
    document(&shop, "users", "uid-good", user("uid-good", text("good@example.com"))).await;
    let session = |token: &str, uid: &str| {
        vec![
            ("session_token", text(token)),
            ("user_uid", text(uid)),
            ("ip_address", text("no address")),
            created.clone(),
        ]
    };
    document(&shop, "user_sessions", "token-bad", session("token-bad", "uid-good")).await;

    let said = shop.xtask(&["rollback", "after-start"]).expect_code(3);
    assert_words(&said, &["is taken back (after-start)", "the old table does not take", "did not come back"]);
    let left = |table: &str| read(&shop, &format!("rollback/conflicts/{table}.csv"));
    for (table, words) in [
        (
            "users",
            &[
                "users_email_key",
                "email is of another type",
                "firebase_uid is not its id",
                "23502 email",
                "22001",
            ][..],
        ),
        ("user_sessions", &["ip_address is no inet"]),
        ("categories", &["categories_slug_key"]),
        ("products", &["products_category_id_fkey", "products_price_check"]),
        ("payments", &["23502 currency"]),
        ("orders", &["no such user: user_uid uid-taken"]),
        ("order_items", &["no such row: product_id 99999"]),
    ] {
        let found = left(table);
        words.iter().for_each(|word| assert!(found.contains(word), "{table}: {word}\n{found}"));
    }
    for (query, wanted) in [
        ("SELECT stock::text FROM products WHERE id = 2", "78"),
        ("SELECT count(*)::text FROM products WHERE stock = 77", "0"),
        (
            "SELECT coalesce(user_id::text, 'nobody') || total_amount FROM orders WHERE created_at = '2026-11-03'",
            "nobody5.00",
        ),
        (
            "SELECT coalesce(product_id::text, 'none') FROM order_items WHERE created_at = '2026-11-03'",
            "none",
        ),
        (
            "SELECT string_agg(firebase_uid, ' ') FROM users WHERE firebase_uid LIKE 'uid-%' AND created_at = '2023-11-14 22:13:20+00'",
            "uid-good",
        ),
    ] {
        assert_eq!(value(&shop, query).await, wanted, "{query}");
    }
    assert!(!said.stderr.contains("taken@example.com") && !said.stdout.contains("token-bad"), "masked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_both_sides_have_changed_is_a_conflict_and_a_field_is_none() {
    let shop = cut_over("SELECT 1").await;
    let mut product = shop.target(Database::Product).await;
    let ids = product.rows("SELECT id::text FROM products ORDER BY id LIMIT 3").await.unwrap();
    let [a, b, c] = [0, 1, 2].map(|n: usize| ids[n].get::<String, _>(0));
    product
        .run(&format!("UPDATE products SET stock = 5, price = 7 WHERE id IN ({a}, {b}, {c})"))
        .await
        .unwrap();
    let mut gateway = shop.target(Database::Gateway).await;
    gateway.run("DELETE FROM api_logs WHERE id = 1").await.unwrap();
    // Somebody has unfrozen the old database, and works there.
    let mut source = shop.source().await;
    source
        .run(&format!(
            "UPDATE products SET stock = 6 WHERE id = {a}; \
             UPDATE products SET description = 'theirs' WHERE id = {b}; \
             UPDATE products SET stock = 5, description = '' WHERE id = {c}; \
             UPDATE system_logs SET message = 'changed' WHERE id = 1"
        ))
        .await
        .unwrap();
    let said = shop.xtask(&["rollback", "after-start"]).expect_code(3);
    assert_words(&said, &[&format!("conflicts, both sides have changed: {a}")]);
    let row = |id: &str| {
        format!(
            "SELECT stock || ' ' || price || ' ' || (description = 'theirs') FROM products WHERE id = {id}"
        )
    };
    assert!(value(&shop, &row(&a)).await.starts_with("6 "), "nothing of a conflict is written");
    assert_eq!(value(&shop, &row(&b)).await, "5 7.00 true", "other fields");
    assert_eq!(value(&shop, &row(&c)).await, "5 7.00 false", "the same on both sides");
    assert_eq!(value(&shop, "SELECT message FROM system_logs WHERE id = 1").await, "changed");
    let conflict = read(&shop, "rollback/conflicts/products.csv");
    for side in ["\"\"stock\"\": 6", "\"\"stock\"\": 5"] {
        assert!(conflict.contains(side), "{side}: {conflict}");
    }
    assert!(read(&shop, "rollback/conflicts/api_logs.csv").contains("changed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_uid_that_several_users_bear_names_none_of_them() {
    let shop = cut_over(
        "ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key; \
         UPDATE users SET firebase_uid = 'shared' WHERE id IN (SELECT user_id FROM orders WHERE user_id IS NOT NULL ORDER BY id LIMIT 2); \
         INSERT INTO users (firebase_uid, email, created_at) VALUES ('shared', 'second@example.com', now())",
    )
    .await;
    let owners = "SELECT string_agg(id || ':' || user_id, ' ' ORDER BY id) FROM orders \
                  WHERE user_id IN (SELECT id FROM users WHERE firebase_uid = 'shared')";
    // One of theirs goes to nobody: it names none of them any more.
    let moved = "SELECT max(id)::text FROM orders WHERE user_id IN (SELECT id FROM users WHERE firebase_uid = 'shared')";
    let moved = value(&shop, moved).await;
    let before = value(&shop, &owners.replacen("WHERE", &format!("WHERE id <> {moved} AND"), 1)).await;
    let mut order = shop.target(Database::Order).await;
    order.run(&format!("UPDATE orders SET user_uid = 'nobody' WHERE id = {moved}")).await.unwrap();
    let changed = "UPDATE orders SET status = 'touched' WHERE user_uid = 'shared'; \
                   INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('shared', 1, '2026-11-04')";
    order.run(changed).await.unwrap();
    let said = shop.xtask(&["rollback", "after-start"]).expect_code(3);
    assert_words(&said, &["uid_not_unique"]);
    assert_eq!(value(&shop, owners).await, before, "those that were there keep their users");
    assert_eq!(value(&shop, &format!("SELECT user_id::text FROM orders WHERE id = {moved}")).await, "NULL");
    let touched = "SELECT bool_and(status = 'touched')::text FROM orders \
                   WHERE user_id IN (SELECT id FROM users WHERE firebase_uid = 'shared')";
    assert_eq!(value(&shop, touched).await, "true");
    assert_eq!(value(&shop, "SELECT count(*)::text FROM orders WHERE created_at = '2026-11-04'").await, "0");
}

/// What would be rounded, padded or written in another way is no row that came back exactly.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_table_would_hold_otherwise_is_listed() {
    let shop = cut_over("ALTER TABLE orders ALTER tax_amount TYPE numeric(10,1)").await;
    let mut order = shop.target(Database::Order).await;
    let rows = "INSERT INTO orders (user_uid, total_amount, created_at, tax_amount) \
                SELECT user_uid, 1, '2026-11-06', tax FROM orders, (VALUES (7.7), (7.77)) v (tax) WHERE id = 1; \
                INSERT INTO orders (user_uid, total_amount, created_at, tax_amount) \
                VALUES ('nobody', 1, '2026-11-07', 9.9), ('nobody', 1, '2026-11-07', 9.99); \
                UPDATE orders SET tax_amount = 8.88 WHERE id = 1; \
                UPDATE orders SET status = 'other' WHERE id = 2";
    order.run(rows).await.unwrap();
    let created = ("created_at", Value::Time(0));
    for (uid, address) in [("uid-short", "2001:db8::1"), ("uid-long", "2001:0DB8::0001")] {
        let email = text(&format!("{uid}@example.com"));
        let fields = vec![
            ("firebase_uid", text(uid)),
            ("email", email),
            ("ip_address", text(address)),
            created.clone(),
        ];
        document(&shop, "users", uid, fields).await;
    }
    let said = shop.xtask(&["rollback", "after-start", "--show-values"]).expect_code(3);
    assert_words(
        &said,
        &[
            "uid-long (the old table would hold it otherwise",
            "1 (the old table would hold tax_amount otherwise",
            "4 rows or documents did not come back",
        ],
    );
    for day in ["2026-11-06", "2026-11-07"] {
        let counts = format!("SELECT count(*)::text FROM orders WHERE created_at = '{day}'");
        assert_eq!(value(&shop, &counts).await, "1", "the other of the two");
    }
    assert_eq!(value(&shop, "SELECT status FROM orders WHERE id = 2").await, "other");
    assert_eq!(value(&shop, "SELECT count(*)::text FROM users WHERE firebase_uid LIKE 'uid-%'").await, "1");
    assert!(read(&shop, "rollback/delta/orders.csv").contains("8.88"), "all of it is in the files");
}

/// A rule of the old database writes to a row of its own accord, a trigger sets a column, and an id is taken.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_old_database_does_by_itself_is_found() {
    let shop = cut_over("SELECT 1").await;
    let by_itself = "CREATE RULE also AS ON UPDATE TO orders DO ALSO UPDATE payments SET currency = 'XXX' WHERE id = 1; \
                     CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS \
                     $$BEGIN NEW.updated_at := '2030-01-01 00:00:00+00'; RETURN NEW; END$$; \
                     CREATE TRIGGER stamped BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION stamp(); \
                     INSERT INTO product_reviews (product_id, rating, created_at) VALUES (1, 1, '2026-11-08')";
    shop.source().await.run(by_itself).await.unwrap();
    let currency = value(&shop, "SELECT currency FROM payments WHERE id = 1").await;
    let row = "UPDATE orders SET status = 'shipped' WHERE id = 1";
    shop.target(Database::Order).await.run(row).await.unwrap();
    let mut product = shop.target(Database::Product).await;
    let rows = "UPDATE products SET stock = 4711 WHERE id = 1; \
                INSERT INTO product_reviews (product_id, user_uid, rating, created_at) \
                SELECT n, user_uid, 5, '2026-11-09' FROM product_reviews, generate_series(1, 2) n WHERE id = 2";
    product.run(rows).await.unwrap();
    let ids =
        "SELECT string_agg(id::text, ' ' ORDER BY id) FROM product_reviews WHERE created_at = '2026-11-09'";
    let ids: String = product.row(ids).await.unwrap().get(0);
    let taken = ids.split(' ').next().unwrap();
    assert_eq!(
        value(&shop, "SELECT max(id)::text FROM product_reviews WHERE created_at = '2026-11-08'").await,
        taken
    );

    let said = shop.xtask(&["rollback", "after-start", "--full"]).expect_code(3);
    assert_words(
        &said,
        &["rows that no service has written", "payments 1 (1 in all)", "nothing has been changed"],
    );
    assert_eq!(value(&shop, "SELECT count(*)::text FROM products WHERE stock = 4711").await, "0");
    shop.source().await.run("DROP RULE also ON orders").await.unwrap();
    shop.xtask(&["rollback", "after-start", "--rekey", "orders"]).expect_code(2);
    let said = shop.xtask(&["rollback", "after-start", "--dry-run"]).expect_code(0);
    assert_words(&said, &[&format!("conflicts, both sides have changed: {taken}")]);

    let wish = ["rollback", "after-start", "--full", "--fire-triggers", "--rekey", "product_reviews"];
    let said = shop.xtask(&wish).expect_code(0);
    let words =
        [&*format!("its id in the store was {taken}"), "1 (the old database itself has set updated_at)"];
    assert_words(&said, &words);
    assert_eq!(value(&shop, "SELECT currency FROM payments WHERE id = 1").await, currency);
    let stamped = "SELECT stock || ' ' || (updated_at = '2030-01-01 00:00:00+00') FROM products WHERE id = 1";
    assert_eq!(value(&shop, stamped).await, "4711 true");
    let new = "SELECT string_agg(rating || ' ' || created_at::date, ', ' ORDER BY id) FROM product_reviews \
               WHERE created_at BETWEEN '2026-11-08' AND '2026-11-10'";
    assert_eq!(value(&shop, new).await, "1 2026-11-08, 5 2026-11-09, 5 2026-11-09");
    let given = value(&shop, "SELECT max(id)::text FROM product_reviews").await;
    let ids = read(&shop, "rollback/user_ids.csv").replace('"', "");
    assert!(
        ids.contains(&format!(
            "product_reviews,{given},{taken}
"
        )),
        "{ids}"
    );
    let next = "SELECT (nextval('product_reviews_id_seq') > max(id))::text FROM product_reviews";
    assert_eq!(value(&shop, next).await, "true");
}

/// Nothing keeps clients out of Firestore: what they write while the rest goes back is theirs, and stays.
#[tokio::test(flavor = "multi_thread")]
async fn documents_that_are_written_meanwhile_are_left_and_counted() {
    let shop = cut_over("SELECT 1").await;
    let users = shop.documents("users").await;
    let mut known = users.keys();
    let (changed, gone) = (known.next().unwrap().clone(), known.next().unwrap().clone());
    let name = value(&shop, &format!("SELECT first_name FROM users WHERE firebase_uid = '{changed}'")).await;
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET status = 'shipped' WHERE id = 1").await.unwrap();
    // The way back has captured everything, and waits for the old tables.
    let mut locker = shop.source().await;
    locker
        .run("BEGIN; LOCK TABLE orders IN ACCESS SHARE MODE; LOCK TABLE payments IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let mut tool = Tool::start(shop.command(&["rollback", "after-start", "--json"]));
    let waits = tokio::task::block_in_place(|| tool.says("Rollback: into the old database"));
    assert!(waits, "{}", tool.stderr());
    let later = vec![("firebase_uid", text("uid-later")), ("email", text("later@example.com"))];
    document(&shop, "users", "uid-later", later).await;
    document(&shop, "users", &changed, vec![("firebase_uid", text(&changed)), ("first_name", text("later"))])
        .await;
    shop.firestore().await.delete("users", std::slice::from_ref(&gone)).await.unwrap();
    locker.run("COMMIT").await.unwrap();
    let said = tokio::task::block_in_place(|| tool.ends_within(60)).expect_code(3);
    assert_eq!(said.json()["written_later"], serde_json::json!({ "users": 2 }));
    assert_words(&said, &["2 rows or documents did not come back"]);
    let left: Vec<String> = shop.documents("users").await.into_keys().collect();
    let mut wanted = vec![changed.clone(), "uid-later".to_string()];
    wanted.sort();
    assert_eq!(left, wanted);
    assert_eq!(
        value(&shop, &format!("SELECT first_name FROM users WHERE firebase_uid = '{changed}'")).await,
        name
    );
    assert_eq!(value(&shop, "SELECT status FROM orders WHERE id = 1").await, "shipped");
}
