//! What stops a pass of `catch-up`, with nothing changed: what would have kept `migrate` from beginning. And what does
//! not: what DBAs may rightly have added.

use crate::support::{Shop, assert_refused, says};
use xtask::model::{Database, Stop};
use xtask::phases::catch_up::{self, Extent, HeldRows};
use xtask::run::command::visibly;
use xtask::steps::CommandName;

async fn migrated(further: &[&str]) -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&[&["migrate", "--quiet"], further].concat()).expect_code(0);
    shop
}

/// A change of the source's definitions, what a pass says of it, and the change that takes it back.
const STOPS: &[(&str, &[&str], &str)] = &[
    (
        "ALTER TABLE orders ADD COLUMN gift_note text",
        &["column-extra", "orders.gift_note", "migrate --replace --accept column-extra"],
        "ALTER TABLE orders DROP COLUMN gift_note",
    ),
    (
        "ALTER TABLE products ALTER cost_price TYPE double precision",
        &[
            "column-type",
            "products.cost_price: double precision, expected numeric(10,2)",
            "--replace --accept column-type",
        ],
        "ALTER TABLE products ALTER cost_price TYPE numeric(10,2)",
    ),
    (
        "ALTER TABLE payments DROP CONSTRAINT payments_pkey",
        &["key-missing", "payments"],
        "ALTER TABLE payments ADD PRIMARY KEY (id)",
    ),
    (
        "ALTER TABLE users RENAME phone_number TO phone",
        &["column-missing", "phone_number"],
        "ALTER TABLE users RENAME phone TO phone_number",
    ),
    (
        "ALTER TABLE orders ALTER status TYPE varchar(200)",
        &[
            "orders.status has another length or type than at the run's snapshot",
            "cargo xtask migrate --replace",
        ],
        "ALTER TABLE orders ALTER status TYPE varchar(30)",
    ),
];

#[tokio::test]
async fn what_blocks_a_migration_stops_a_pass_by_name() {
    let shop = migrated(&[]).await;
    let write = "UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1";
    for (change, words, back) in STOPS {
        shop.source().await.run(change).await.unwrap();
        shop.source().await.run(write).await.unwrap();
        let before = shop.manifest().export.unwrap();
        let said = shop.xtask(&["catch-up"]);
        assert_refused(change, &said, words);
        let same = "Nothing has been changed: the stores hold the source as of ";
        assert_refused(change, &said, &[same, "cargo xtask catch-up --run "]);
        assert_eq!(shop.manifest().export.unwrap().as_of(), before.as_of(), "{change}");
        shop.xtask(&["verify"]).expect_code(0);
        shop.source().await.run(back).await.unwrap();
        says(&shop.xtask(&["catch-up"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
    }
    // As data, too; and the cut-over makes passes.
    shop.source().await.run(STOPS[0].0).await.unwrap();
    let said = shop.xtask(&["catch-up", "--json"]);
    assert_refused("json", &said, &[]);
    assert_eq!(said.json()["hazards"][0]["name"], "column-extra", "{}", said.stdout);
    assert_refused("cut-over", &shop.xtask(&["cutover"]), &["column-extra", "orders.gift_note"]);
    shop.source().await.run(STOPS[0].2).await.unwrap();
    // What does not keep `migrate` from beginning does not stop a pass either.
    let harmless = "CREATE TABLE coupons (id serial PRIMARY KEY); ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY; \
                    UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1";
    shop.source().await.run(harmless).await.unwrap();
    says(&shop.xtask(&["catch-up", "--audit"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
}

#[tokio::test]
async fn a_column_that_comes_between_two_passes_stops_the_second() {
    let shop = migrated(&[]).await;
    let ctx = shop.ctx_of(shop.latest());
    let mut manifest = ctx.run.load_manifest().unwrap();
    let mut held = HeldRows::read(&ctx, manifest.export.as_ref().unwrap()).await.unwrap();
    for extent in [Extent::Changes, Extent::LastPass] {
        shop.source().await.run(STOPS[0].0).await.unwrap();
        let pass = catch_up::pass(&ctx, &mut manifest, &mut held, extent);
        let error = visibly(&ctx, CommandName::CatchUp, pass).await.expect_err("a new column");
        assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{extent:?}: {error:#}");
        assert!(format!("{error:#}").contains("orders.gift_note"), "{extent:?}: {error:#}");
        shop.source().await.run(STOPS[0].2).await.unwrap();
        visibly(&ctx, CommandName::CatchUp, catch_up::pass(&ctx, &mut manifest, &mut held, extent))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_was_accepted_for_the_run_is_accepted_for_its_passes() {
    let shop = Shop::open(0).await;
    let keyless =
        "ALTER TABLE orders ADD COLUMN gift_note text; ALTER TABLE payments DROP CONSTRAINT payments_pkey";
    shop.source().await.run(keyless).await.unwrap();
    shop.xtask(&["migrate", "--quiet", "--accept", "column-extra", "--accept", "key-missing"]).expect_code(0);
    shop.source().await.run("UPDATE payments SET amount = 1 WHERE id = 1").await.unwrap();
    says(&shop.xtask(&["catch-up"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
    // Of a table without a key the rows are looked at, too.
    let twice = "INSERT INTO payments SELECT * FROM payments WHERE id = 1";
    shop.source().await.run(twice).await.unwrap();
    assert_refused("twice", &shop.xtask(&["catch-up"]), &["id-not-unique", "payments"]);
}

/// With unique indexes of a DBA in the databases: of expressions and conditions, of several columns, of columns that
/// have to have a value.
#[tokio::test]
async fn values_that_change_hands_pass_by_unique_indexes_of_a_dba() {
    let shop = migrated(&[]).await;
    let (mut product, mut order) = (shop.target(Database::Product).await, shop.target(Database::Order).await);
    let add = "CREATE UNIQUE INDEX one_slug ON products (lower(slug)) WHERE deleted_at IS NULL;
        ALTER TABLE products ADD CONSTRAINT one_sku UNIQUE (sku, status);
        CREATE UNIQUE INDEX one_name ON categories (name);
        CREATE UNIQUE INDEX one_review ON product_reviews (user_uid, product_id) WHERE title = 'one'";
    product.run(add).await.unwrap();
    let add = "CREATE UNIQUE INDEX one_tracking ON orders (tracking_number);
        CREATE UNIQUE INDEX one_payment ON payments (order_id) WHERE id > 8000";
    order.run(add).await.unwrap();
    let mut source = shop.source().await;
    for (what, change) in HANDED_OVER {
        source.run(change).await.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        let said = shop.xtask(&["catch-up", "--audit"]);
        assert_eq!(said.code, Some(0), "{what}: {}{}", said.stdout, said.stderr);
        says(&said, &["✓ CAUGHT UP "]);
    }
    // And nothing of what hangs on an order has gone with it.
    product
        .run("ALTER TABLE products DROP CONSTRAINT one_sku; DROP INDEX one_slug, one_name, one_review")
        .await
        .unwrap();
    order.run("DROP INDEX one_tracking, one_payment").await.unwrap();
    shop.xtask(&["verify", "--full"]).expect_code(0);
}

const HANDED_OVER: &[(&str, &str)] = &[
    ("so that the following touches something", "
        ALTER TABLE products DROP CONSTRAINT products_slug_key, DROP CONSTRAINT products_sku_key;
        INSERT INTO categories (id, name, created_at) VALUES (8001, 'one', now()), (8002, 'two', now());
        INSERT INTO products (id, name, slug, sku, status, price, category_id, created_at) VALUES
            (8001, 'one', 'One', 'SKU-1', 'active', 1, 8001, now()), (8002, 'two', 'Two', 'SKU-2', 'active', 1, 8002, now());
        INSERT INTO orders (id, user_id, tracking_number, total_amount, created_at)
        VALUES (8001, 1, 'T1', 1, now()), (8002, 1, 'T2', 1, now());
        INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at)
        VALUES (8001, 8001, 1, 1, now()), (8002, 8002, 1, 1, now());
        INSERT INTO payments (id, order_id, amount, status, created_at) VALUES (8001, 8001, 1, 'one', now());
        INSERT INTO product_reviews (id, product_id, user_id, rating, title, created_at)
        VALUES (8001, 8001, 1, 5, 'one', now()), (8002, 8002, 1, 5, 'one', now())"),
    ("slugs", "
        UPDATE products SET slug = CASE id WHEN 8001 THEN 'TWO' ELSE 'ONE' END WHERE id IN (8001, 8002)"),
    ("one of two columns", "
        UPDATE products SET sku = CASE id WHEN 8001 THEN 'SKU-2' ELSE 'SKU-1' END WHERE id IN (8001, 8002)"),
    ("names, which have to be there", "
        UPDATE categories SET name = CASE id WHEN 8001 THEN 'two' ELSE 'one' END WHERE id IN (8001, 8002)"),
    ("products of two reviews of one user", "
        UPDATE product_reviews SET product_id = 16003 - product_id WHERE id IN (8001, 8002)"),
    ("of orders with items", "
        UPDATE orders SET tracking_number = CASE id WHEN 8001 THEN 'T2' ELSE 'T1' END WHERE id IN (8001, 8002)"),
    ("from a product that leaves the index by its condition to a new one", "
        UPDATE products SET deleted_at = now() WHERE id = 8001;
        INSERT INTO products (id, name, slug, price, created_at) VALUES (8003, 'three', 'TWO', 1, now())"),
    ("from a product that goes to a new one", "
        DELETE FROM products WHERE id = 8003;
        INSERT INTO products (id, name, slug, price, created_at) VALUES (8004, 'four', 'TWO', 1, now())"),
    ("from a payment that goes to a new one", "
        DELETE FROM payments WHERE id = 8001;
        INSERT INTO payments (id, order_id, amount, status, created_at) VALUES (8002, 8001, 1, 'one', now())"),
];
