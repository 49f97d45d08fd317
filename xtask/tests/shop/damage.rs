//! `verify` finds every kind of damage to a store or to the run's own files, names the row with both
//! values, ends with exit code 3, and is green again once the damage is undone.

use crate::support::Shop;
use datapath::document::{Document, Value};
use datapath::firestore::{Fields, Firestore, Unconditional};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use xtask::effects::postgres::Connection;
use xtask::model::Database;

/// A migrated shop at scale 0, its run, and what verify says of it.
struct Migrated {
    shop: Shop,
    run: String,
}

impl Migrated {
    async fn open() -> Migrated {
        let shop = Shop::open(0).await;
        shop.xtask(&["migrate", "--quiet"]).expect_code(0);
        let run = shop.latest().id().to_string();
        Migrated { shop, run }
    }

    /// Everything that verify finds, sorted; red is exit code 3, green 0.
    #[track_caller]
    fn findings(&self, arguments: &[&str]) -> Vec<String> {
        let said = self
            .shop
            .xtask(&[&["verify", "--json", "--show-values", "--run", &self.run], arguments].concat());
        let report: serde_json::Value = match said.code {
            Some(0 | 3) => said.json(),
            code => panic!("exit {code:?}: {}", said.stderr),
        };
        let tables = report["tables"].as_array().unwrap().iter();
        let checks = report["checks"].as_array().unwrap().iter();
        let findings = tables.chain(checks).flat_map(|part| part["findings"].as_array().unwrap());
        let mut findings: Vec<String> = findings.map(|f| f["text"].as_str().unwrap().to_string()).collect();
        findings.sort();
        assert_eq!(report["proven"], findings.is_empty(), "{findings:#?}");
        assert_eq!(said.code, Some(if findings.is_empty() { 0 } else { 3 }), "{findings:#?}");
        findings
    }

    #[track_caller]
    fn finds(&self, case: &str, expected: &[&str]) {
        let found = self.findings(&[]);
        let mut expected: Vec<&str> = expected.to_vec();
        expected.sort_unstable();
        let same = found.len() == expected.len() && found.iter().all(|f| expected.iter().any(|e| like(f, e)));
        assert!(same, "{case}: found {found:#?}, expected {expected:#?}");
    }

    #[track_caller]
    fn is_green(&self) {
        self.finds("everything undone", &[]);
    }
}

/// Whether a finding is the expected one; `*` stands for anything.
fn like(found: &str, expected: &str) -> bool {
    let Some((start, rest)) = expected.split_once('*') else { return found == expected };
    let Some(found) = found.strip_prefix(start) else { return false };
    rest.is_empty() || found.char_indices().any(|(at, _)| like(&found[at..], rest))
}

/// Damage to one database, as SQL. Rows come back from a copy, everything else by `undo`.
pub struct Damage {
    pub case: &'static str,
    pub damage: &'static str,
    pub undo: &'static str,
    finds: &'static [&'static str],
}

const fn rows(case: &'static str, damage: &'static str, finds: &'static [&'static str]) -> Damage {
    Damage { case, damage, undo: "", finds }
}

pub const fn shape(
    case: &'static str,
    damage: &'static str,
    undo: &'static str,
    finds: &'static [&'static str],
) -> Damage {
    Damage { case, damage, undo, finds }
}

pub const PRODUCT: &[Damage] = &[
    rows(
        "one character",
        "UPDATE product_reviews SET title = 'Worth every Penny' WHERE id = 1",
        &["product_reviews id 1: title: expected \"Worth every penny\", found \"Worth every Penny\""],
    ),
    rows(
        "an array element",
        "UPDATE products SET tags = '{a,NULL,c}' WHERE id = 445",
        &["products id 445: tags: expected \"{a,NULL,b}\", found \"{a,NULL,c}\""],
    ),
    rows(
        "an array's order",
        "UPDATE products SET tags = '{b,NULL,a}' WHERE id = 445",
        &["products id 445: tags: expected \"{a,NULL,b}\", found \"{b,NULL,a}\""],
    ),
    rows(
        "NULL for an element NULL",
        "UPDATE products SET tags = '{\"NULL\"}' WHERE id = 442",
        &["products id 442: tags: expected \"{NULL}\", found \"{\\\"NULL\\\"}\""],
    ),
    rows(
        "NULL for an empty array",
        "UPDATE products SET tags = NULL WHERE id = 441",
        &["products id 441: tags: expected \"{}\", found NULL"],
    ),
    rows(
        "an array's bounds",
        "UPDATE products SET tags = '{a,b}' WHERE id = 452",
        &["products id 452: tags: expected \"[0:1]={a,b}\", found \"{a,b}\""],
    ),
    rows(
        "a review of an order that is nowhere",
        "UPDATE product_reviews SET order_id = 424242 WHERE id = 3",
        &[
            "product_reviews id 3: order_id: expected NULL, found \"424242\"",
            "product_reviews.order_id: 1 rows refer to what no store holds, for example id 3 to \"424242\"",
        ],
    ),
    rows(
        "a category's parent",
        "UPDATE categories SET parent_id = NULL WHERE id = 2",
        &["categories id 2: parent_id: expected \"1\", found NULL"],
    ),
    shape(
        "a number's scale",
        "ALTER TABLE products ALTER price TYPE numeric; UPDATE products SET price = 49.900 WHERE id = 1",
        "ALTER TABLE products ALTER price TYPE numeric(10, 2)",
        &[
            "product.products: column price is \"numeric NOT NULL\", expected \"numeric(10,2) NOT NULL\"",
            "products id 1: price: expected \"49.90\", found \"49.900\"",
        ],
    ),
    shape(
        "an index is gone",
        "DROP INDEX idx_products_tags",
        "CREATE INDEX idx_products_tags ON products USING gin (tags)",
        &["product.products: index idx_products_tags is missing*"],
    ),
    shape(
        "an index is of another kind",
        "DROP INDEX idx_products_sku; CREATE INDEX idx_products_sku ON products (sku DESC)",
        "DROP INDEX idx_products_sku; CREATE INDEX idx_products_sku ON products (sku)",
        &[
            "product.products: index idx_products_sku is \"CREATE INDEX idx_products_sku ON products USING btree (sku DESC)\", expected*",
        ],
    ),
    shape(
        "an index is not valid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'idx_products_sku'::regclass",
        "UPDATE pg_index SET indisvalid = true WHERE indexrelid = 'idx_products_sku'::regclass",
        &[
            "product.products: index idx_products_sku is \"CREATE INDEX idx_products_sku ON products USING btree (sku) (not valid)\", expected*",
        ],
    ),
    shape(
        "a check is gone, and a row uses that",
        "ALTER TABLE product_reviews DROP CONSTRAINT product_reviews_rating_check; \
         UPDATE product_reviews SET rating = 6 WHERE id = 1",
        "ALTER TABLE product_reviews ADD CONSTRAINT product_reviews_rating_check CHECK (rating BETWEEN 1 AND 5)",
        &[
            "product.product_reviews: constraint product_reviews_rating_check is missing*",
            "product_reviews id 1: rating: expected \"5\", found \"6\"",
        ],
    ),
    shape(
        "a reference is not valid",
        "ALTER TABLE products DROP CONSTRAINT products_category_id_fkey; \
         ALTER TABLE products ADD CONSTRAINT products_category_id_fkey FOREIGN KEY (category_id) REFERENCES categories (id) NOT VALID",
        "ALTER TABLE products VALIDATE CONSTRAINT products_category_id_fkey",
        &[
            "product.products: constraint products_category_id_fkey is \"FOREIGN KEY (category_id) REFERENCES categories(id) NOT VALID (not valid)\"*",
        ],
    ),
    shape(
        "NOT NULL is gone",
        "ALTER TABLE products ALTER name DROP NOT NULL",
        "ALTER TABLE products ALTER name SET NOT NULL",
        &[
            "product.products: column name is \"character varying(255)\", expected \"character varying(255) NOT NULL\"",
        ],
    ),
    shape(
        "another collation",
        "ALTER TABLE products ALTER name TYPE varchar(255) COLLATE \"C\"",
        "ALTER TABLE products ALTER name TYPE varchar(255) COLLATE \"default\"",
        &[
            "product.products: column name is \"character varying(255) COLLATE pg_catalog.\\\"C\\\" NOT NULL\", expected \"character varying(255) NOT NULL\"",
        ],
    ),
    shape(
        "references that nothing holds",
        "ALTER TABLE products DISABLE TRIGGER ALL",
        "ALTER TABLE products ENABLE TRIGGER ALL",
        &[
            "product.products: constraint products_category_id_fkey is \"FOREIGN KEY (category_id) REFERENCES categories(id) (not enforced)\"*",
            "product.product_reviews: constraint product_reviews_product_id_fkey is*",
        ],
    ),
    shape(
        "a table that others refer to is gone",
        "ALTER TABLE products SET SCHEMA aside",
        "ALTER TABLE aside.products SET SCHEMA public",
        &[
            "products: the table is not there",
            "products: the sequence of its id cannot be looked at",
            "products.category_id: cannot be looked up in categories.id",
            "product_reviews.product_id: cannot be looked up in products.id",
            "order_items.product_id: cannot be looked up: products or its id is not there, or its rows are hidden",
            "product.product_reviews: constraint product_reviews_product_id_fkey is*",
        ],
    ),
    shape(
        "the key's column is gone",
        "ALTER TABLE products RENAME COLUMN id TO number",
        "ALTER TABLE products RENAME COLUMN number TO id",
        &[
            "products: columns are not there: id",
            "products: the sequence of its id cannot be looked at",
            "products.category_id: cannot be looked up in categories.id",
            "product_reviews.product_id: cannot be looked up in products.id",
            "order_items.product_id: cannot be looked up: products or its id is not there, or its rows are hidden",
            "product.products: column id is missing*",
            "product.products: column number is not in sql/schema*",
            "product.products: sequence id is missing*",
            "product.products: sequence number is not in sql/schema*",
            "product.products: constraint products_pkey is*",
            "product.product_reviews: constraint product_reviews_product_id_fkey is*",
        ],
    ),
];

pub const ORDER: &[Damage] = &[
    rows(
        "a row is missing",
        "DELETE FROM order_items WHERE id = 2",
        &["order_items id 2: is missing", "order_items: 49 rows expected, 48 found"],
    ),
    rows(
        "a row is there beside",
        "INSERT INTO orders (id, user_uid, total_amount, created_at) \
          VALUES (6, 'q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g', 1, now())",
        &["orders id 6: is not of this run", "orders: 60 rows expected, 61 found"],
    ),
    rows(
        "'' for NULL",
        "UPDATE orders SET payment_method = '' WHERE id = 3",
        &["orders id 3: payment_method: expected NULL, found \"\""],
    ),
    rows(
        "NULL for ''",
        "UPDATE orders SET status = NULL WHERE id = 201",
        &["orders id 201: status: expected \"\", found NULL"],
    ),
    rows(
        "NULL for the word",
        "UPDATE orders SET status = NULL WHERE id = 207",
        &["orders id 207: status: expected \"NULL\", found NULL"],
    ),
    rows(
        "a microsecond",
        "UPDATE orders SET created_at = created_at + interval '1 microsecond' WHERE id = 1",
        &[
            "orders id 1: created_at: expected \"2025-05-01 12:00:00.123456+00\", found \"2025-05-01 12:00:00.123457+00\"",
        ],
    ),
    rows(
        "infinity",
        "UPDATE orders SET updated_at = '-infinity' WHERE id = 507",
        &["orders id 507: updated_at: expected \"infinity\", found \"-infinity\""],
    ),
    rows(
        "a number in jsonb",
        "UPDATE payments SET gateway_response = '{\"amount\": 1.00}' WHERE id = 428",
        &[
            "payments id 428: gateway_response: expected \"{\\\"amount\\\": 1.0}\", found \"{\\\"amount\\\": 1.00}\"",
        ],
    ),
    rows(
        "jsonb's null for NULL",
        "UPDATE payments SET gateway_response = 'null' WHERE id = 420",
        &["payments id 420: gateway_response: expected NULL, found \"null\""],
    ),
    rows(
        "the numeric user id (fault 9)",
        "UPDATE orders SET user_uid = '1' WHERE id = 1",
        &[
            "orders id 1: user_uid: expected \"q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g\", found \"1\"",
            "orders.user_uid: 1 rows refer to what no store holds, for example id 1 to \"1\"",
        ],
    ),
    rows(
        "a user that nobody knows",
        "UPDATE orders SET user_uid = 'nobody' WHERE id = 2",
        &[
            "orders id 2: user_uid: expected \"r9AuW4cZx2MnY8dSo1LeQg6ItK3h\", found \"nobody\"",
            "orders.user_uid: 1 rows refer to what no store holds, for example id 2 to \"nobody\"",
        ],
    ),
    rows(
        "a product that nobody knows",
        "UPDATE order_items SET product_id = 424242 WHERE id = 4",
        &[
            "order_items id 4: product_id: expected NULL, found \"424242\"",
            "order_items.product_id: 1 rows refer to what no store holds, for example id 4 to \"424242\"",
        ],
    ),
    rows(
        "two rows' values are swapped",
        "UPDATE orders a SET total_amount = b.total_amount FROM orders b \
         WHERE (a.id, b.id) IN ((1, 2), (2, 1))",
        &[
            "orders id 1: total_amount: expected \"230.05\", found \"105.91\"",
            "orders id 2: total_amount: expected \"105.91\", found \"230.05\"",
        ],
    ),
    rows(
        "one missing, one beside",
        "UPDATE payments SET id = 9 WHERE id = 1",
        &["payments id 1: is missing", "payments id 9: is not of this run"],
    ),
    shape(
        "a row stands there twice",
        "ALTER TABLE payments DROP CONSTRAINT payments_pkey; INSERT INTO payments SELECT * FROM payments WHERE id = 1",
        "ALTER TABLE payments ADD PRIMARY KEY (id)",
        &[
            "order.payments: constraint payments_pkey is missing*",
            "payments: 60 rows expected, 61 found",
            "payments id 1: is there 2 times",
        ],
    ),
    shape(
        "an orphan",
        "ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey; \
         UPDATE order_items SET order_id = 424242 WHERE id = 1",
        "ALTER TABLE order_items ADD CONSTRAINT order_items_order_id_fkey \
         FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE",
        &[
            "order.order_items: constraint order_items_order_id_fkey is missing*",
            "order_items id 1: order_id 424242 is not in orders",
            "order_items id 1: order_id: expected \"1\", found \"424242\"",
        ],
    ),
    rows(
        "an orphan behind a constraint's back",
        "DELETE FROM orders WHERE id = 3; UPDATE payments SET order_id = 3 WHERE id = 1",
        &[
            "orders id 3: is missing",
            "orders: 60 rows expected, 59 found",
            "payments id 1: order_id 3 is not in orders",
            "payments id 1: order_id: expected \"1\", found \"3\"",
        ],
    ),
    shape(
        "a sequence is behind",
        "SELECT setval('orders_id_seq', 5)",
        "SELECT setval('orders_id_seq', 2000)",
        &["orders: the next new row gets id 6; ids below 937 have been given out (public.orders_id_seq)"],
    ),
    shape(
        "a sequence counts down",
        "ALTER SEQUENCE orders_id_seq INCREMENT BY -1",
        "ALTER SEQUENCE orders_id_seq INCREMENT BY 1",
        &[
            "order.orders: sequence id is \"AS integer INCREMENT BY -1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1 NO CYCLE\", \
             expected \"AS integer INCREMENT BY 1 MINVALUE 1 MAXVALUE 2147483647 START WITH 1 CACHE 1 NO CYCLE\"",
        ],
    ),
    shape(
        "a sequence that begins again, before the others' end",
        "ALTER SEQUENCE orders_id_seq MAXVALUE 100000 CYCLE",
        "ALTER SEQUENCE orders_id_seq MAXVALUE 2147483647 NO CYCLE",
        &[
            "order.orders: sequence id is \"AS integer INCREMENT BY 1 MINVALUE 1 MAXVALUE 100000 START WITH 1 CACHE 1 CYCLE\", expected*",
        ],
    ),
    shape(
        "a sequence at its end",
        "SELECT setval('orders_id_seq', 2147483647)",
        "SELECT setval('orders_id_seq', 2000)",
        &["orders: no new row gets an id: public.orders_id_seq has come to its end, 2147483647"],
    ),
    shape(
        "a second sequence",
        "SET ROLE order_user; CREATE SEQUENCE aaa OWNED BY orders.id; RESET ROLE",
        "DROP SEQUENCE aaa",
        &["order.orders: sequence id (aaa) is not in sql/schema*"],
    ),
    shape(
        "a sequence is gone",
        "ALTER SEQUENCE payments_id_seq OWNED BY NONE",
        "ALTER SEQUENCE payments_id_seq OWNED BY payments.id",
        &["payments: its id has no sequence", "order.payments: sequence id is missing*"],
    ),
    shape(
        "a table is gone",
        "ALTER TABLE orders SET SCHEMA aside",
        "ALTER TABLE aside.orders SET SCHEMA public",
        &[
            "orders: the table is not there",
            "orders: the sequence of its id cannot be looked at",
            "orders.user_uid: cannot be looked up: the table or the column is not there, or its rows are hidden",
            "order_items.order_id: cannot be looked up in orders.id",
            "payments.order_id: cannot be looked up in orders.id",
            "product_reviews.order_id: cannot be looked up: orders or its id is not there, or its rows are hidden",
            "order.order_items: constraint order_items_order_id_fkey is*",
            "order.payments: constraint payments_order_id_fkey is*",
        ],
    ),
    shape(
        "a column is gone",
        "ALTER TABLE orders DROP COLUMN tracking_number",
        "ALTER TABLE orders ADD COLUMN tracking_number varchar(100)",
        &[
            "orders: columns are not there: tracking_number",
            "order.orders: column tracking_number is missing*",
        ],
    ),
    shape(
        "the column of a reference is gone",
        "ALTER TABLE payments RENAME COLUMN order_id TO number",
        "ALTER TABLE payments RENAME COLUMN number TO order_id",
        &[
            "payments: columns are not there: order_id",
            "payments.order_id: cannot be looked up in orders.id",
            "order.payments: column order_id is missing*",
            "order.payments: column number is not in sql/schema*",
            "order.payments: constraint payments_order_id_fkey is*",
            "order.payments: index idx_payments_order_id is*",
        ],
    ),
    shape(
        "a column is too narrow",
        "ALTER TABLE orders ALTER status TYPE varchar(9) USING left(status, 9)",
        "ALTER TABLE orders ALTER status TYPE varchar(30)",
        &[
            r#"order.orders: column status is "character varying(9)", expected "character varying(30)""#,
            r#"orders id 202: status: expected "say \"hi\", *"#,
            r#"orders id 203: status: expected "one\ntwo\r\nthree*"#,
            r#"orders id 206: status: expected "first line\n*"#,
            r#"orders id 208: status: *"#,
            r#"orders id 209: status: *"#,
            r#"orders id 211: status: *"#,
            r#"orders id 212: status: *"#,
            r#"orders id 213: status: *"#,
            r#"orders id 214: status: *"#,
            r#"orders id 215: status: *"#,
        ],
    ),
];

pub const GATEWAY: &[Damage] = &[
    rows(
        "a network's mask",
        "UPDATE api_logs SET ip_address = '203.0.113.7/24' WHERE id = 400",
        &["api_logs id 400: ip_address: expected \"203.0.113.7/32\", found \"203.0.113.7/24\""],
    ),
    rows(
        "a host for a network",
        "UPDATE api_logs SET ip_address = host(ip_address)::inet WHERE id = 403",
        &["api_logs id 403: ip_address: expected \"192.168.1.5/24\", found \"192.168.1.5/32\""],
    ),
    rows(
        "a column that is assumed",
        "UPDATE api_logs SET status_code = 500 WHERE id = 1",
        &["api_logs id 1: status_code: expected \"200\", found \"500\""],
    ),
    rows(
        "the numeric user ids everywhere (fault 9)",
        "UPDATE api_logs SET user_uid = '1' WHERE user_uid = 'q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g' AND id < 200",
        &[
            "api_logs id 1: user_uid: expected \"q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g\", found \"1\"",
            "api_logs.user_uid: 1 rows refer to what no store holds, for example id 1 to \"1\"",
        ],
    ),
    rows(
        "a row in an empty table",
        "INSERT INTO analytics_events (event_name, created_at) VALUES ('test', now())",
        &["analytics_events id 1: is not of this run", "analytics_events: 0 rows expected, 1 found"],
    ),
    shape(
        "a column of a cross-store reference is gone",
        "ALTER TABLE api_logs RENAME COLUMN user_uid TO uid",
        "ALTER TABLE api_logs RENAME COLUMN uid TO user_uid",
        &[
            "api_logs: columns are not there: user_uid",
            "api_logs.user_uid: cannot be looked up: the table or the column is not there, or its rows are hidden",
            "gateway.api_logs: column user_uid is missing*",
            "gateway.api_logs: column uid is not in sql/schema*",
            "gateway.api_logs: index idx_api_logs_user_uid is*",
        ],
    ),
    shape(
        "a table with a cross-store reference is gone",
        "ALTER TABLE analytics_events SET SCHEMA aside",
        "ALTER TABLE aside.analytics_events SET SCHEMA public",
        &[
            "analytics_events: the table is not there",
            "analytics_events: the sequence of its id cannot be looked at",
            "analytics_events.user_uid: cannot be looked up: the table or the column is not there, or its rows are hidden",
        ],
    ),
    shape(
        "a trigger",
        "CREATE FUNCTION aside.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
         CREATE TRIGGER t BEFORE INSERT ON api_logs FOR EACH ROW EXECUTE FUNCTION aside.f()",
        "DROP TRIGGER t ON api_logs; DROP FUNCTION aside.f()",
        &["gateway.api_logs: trigger t is not in sql/schema*"],
    ),
    shape(
        "a rule",
        "CREATE RULE r AS ON INSERT TO api_logs DO INSTEAD NOTHING",
        "DROP RULE r ON api_logs",
        &["gateway.api_logs: rule r is not in sql/schema (CREATE RULE r AS*"],
    ),
    shape(
        "a table that no crash spares",
        "ALTER TABLE api_logs SET UNLOGGED",
        "ALTER TABLE api_logs SET LOGGED",
        &["gateway.api_logs: persistence unlogged is not in sql/schema*"],
    ),
    shape(
        "row security that its owner does not notice yet",
        "ALTER TABLE api_logs FORCE ROW LEVEL SECURITY",
        "ALTER TABLE api_logs NO FORCE ROW LEVEL SECURITY",
        &["gateway.api_logs: row security forced is not in sql/schema*"],
    ),
    shape(
        "row security that hides the rows from their owner",
        "ALTER TABLE api_logs ENABLE ROW LEVEL SECURITY; ALTER TABLE api_logs FORCE ROW LEVEL SECURITY",
        "ALTER TABLE api_logs DISABLE ROW LEVEL SECURITY; ALTER TABLE api_logs NO FORCE ROW LEVEL SECURITY",
        &[
            "api_logs: row security hides the table's rows",
            "api_logs: the sequence of its id cannot be looked at",
            "api_logs.user_uid: cannot be looked up: the table or the column is not there, or its rows are hidden",
            "gateway.api_logs: row security enabled is not in sql/schema*",
            "gateway.api_logs: row security forced is not in sql/schema*",
        ],
    ),
    shape(
        "row security",
        "ALTER TABLE api_logs ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE api_logs DISABLE ROW LEVEL SECURITY",
        &["gateway.api_logs: row security enabled is not in sql/schema*"],
    ),
];

/// What is not repaired: it is undone by who did it.
const WHOLE: &[Damage] = &[
    shape(
        "rows of a child",
        "CREATE TABLE aside.child () INHERITS (api_logs); \
         INSERT INTO aside.child (id, created_at, path, method, status_code, latency_ms) VALUES (1000, now(), '/', 'GET', 200, 0)",
        "DROP TABLE aside.child",
        &[
            "gateway.api_logs: inheritance aside.child is not in sql/schema (a child, whose rows appear here)",
            "api_logs id 1000: is not of this run",
            "api_logs: * rows expected, * found",
        ],
    ),
    shape(
        "rows that appear in another table",
        "CREATE TABLE aside.base (id integer NOT NULL); ALTER TABLE api_logs INHERIT aside.base",
        "ALTER TABLE api_logs NO INHERIT aside.base; DROP TABLE aside.base",
        &["gateway.api_logs: inheritance aside.base is not in sql/schema (its rows appear there, too)"],
    ),
    shape(
        "a database that new sessions cannot write",
        "ALTER DATABASE gateway_database SET default_transaction_read_only = yes",
        "ALTER DATABASE gateway_database RESET default_transaction_read_only",
        &[
            "gateway: new sessions are read-only (default_transaction_read_only), so its service could not write: \
             ALTER DATABASE gateway_database RESET default_transaction_read_only;",
        ],
    ),
    shape(
        "a role that cannot write",
        "ALTER ROLE gateway_user SET default_transaction_read_only = on",
        "ALTER ROLE gateway_user RESET default_transaction_read_only",
        &["gateway: new sessions are read-only*"],
    ),
    shape(
        "nothing says whose the rows are",
        "CREATE TABLE aside.runs AS TABLE xtask.runs; DELETE FROM xtask.runs",
        "INSERT INTO xtask.runs TABLE aside.runs; DROP TABLE aside.runs",
        &[
            "gateway: xtask.runs names no run, so nobody can tell whose its rows are: `cargo xtask import --run *",
        ],
    ),
    shape(
        "an owner who keeps the rows to himself, and an index that is gone beside",
        "ALTER TABLE api_logs OWNER TO postgres; DROP INDEX idx_analytics_events_user_uid",
        "ALTER TABLE api_logs OWNER TO gateway_user; CREATE INDEX idx_analytics_events_user_uid ON analytics_events (user_uid)",
        &[
            "api_logs: gateway_user may not read the table's rows: GRANT SELECT ON \"public\".\"api_logs\" TO \"gateway_user\";",
            "api_logs: the sequence of its id cannot be looked at",
            "api_logs.user_uid: cannot be looked up: the table or the column is not there, or its rows are hidden",
            "gateway.analytics_events: index idx_analytics_events_user_uid is missing*",
        ],
    ),
    shape(
        "a sequence that may not be read",
        "REVOKE ALL ON SEQUENCE api_logs_id_seq FROM gateway_user",
        "GRANT ALL ON SEQUENCE api_logs_id_seq TO gateway_user",
        &["api_logs: gateway_user may not read the sequence of its id (public.api_logs_id_seq)"],
    ),
];

/// A copy of a database's tables, and the way back to it.
struct Kept {
    connection: Connection,
    /// Each table with its columns.
    tables: BTreeMap<String, String>,
}

impl Kept {
    async fn of(shop: &Shop, database: Database) -> Kept {
        let mut connection = shop.superuser(shop.settings.target(database)).await;
        connection.run("CREATE SCHEMA kept; CREATE SCHEMA aside").await.unwrap();
        let query = "SELECT relname::text, string_agg(quote_ident(attname), ', ' ORDER BY attnum) \
                     FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 \
                     WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' GROUP BY 1";
        let mut tables = BTreeMap::new();
        for row in connection.rows(query).await.unwrap() {
            let (table, columns): (String, String) = (sqlx::Row::get(&row, 0), sqlx::Row::get(&row, 1));
            connection.run(&format!("CREATE TABLE kept.{table} AS TABLE public.{table}")).await.unwrap();
            tables.insert(table, columns);
        }
        // Without triggers: what cannot happen under constraints is damage all the same.
        connection.run("SET session_replication_role = replica").await.unwrap();
        Kept { connection, tables }
    }

    /// Names and types first, then the rows, then the constraints that the rows have to meet.
    async fn undo(&mut self, damage: &Damage) {
        let before =
            ["RENAME", "SET SCHEMA", "COLUMN", "TYPE varchar"].iter().any(|w| damage.undo.contains(w));
        if before {
            self.connection.run(damage.undo).await.unwrap();
        }
        for (table, columns) in &self.tables {
            let back = format!("INSERT INTO {table} ({columns}) SELECT {columns} FROM kept.{table}");
            self.connection.run(&format!("DELETE FROM {table}; {back}")).await.unwrap();
        }
        if !before {
            self.connection.run(damage.undo).await.unwrap();
        }
    }
}

/// What each case finds is compared whole, so that each also shows that the one before it was undone.
async fn each_is_found(database: Database, cases: &[Damage]) {
    let migrated = Migrated::open().await;
    let mut kept = Kept::of(&migrated.shop, database).await;
    migrated.is_green();
    for case in cases {
        kept.connection.run(case.damage).await.unwrap();
        migrated.finds(case.case, case.finds);
        kept.undo(case).await;
    }
    migrated.is_green();
}

#[tokio::test]
async fn damage_to_the_product_database_is_found() {
    each_is_found(Database::Product, PRODUCT).await;
}

#[tokio::test]
async fn damage_to_the_order_database_is_found() {
    each_is_found(Database::Order, ORDER).await;
}

#[tokio::test]
async fn damage_to_the_gateway_database_is_found() {
    each_is_found(Database::Gateway, GATEWAY).await;
}

#[tokio::test]
async fn damage_to_a_database_beside_its_rows_is_found() {
    each_is_found(Database::Gateway, WHOLE).await;
}

/// What names no run is written down again by an import, which brings nothing else.
#[tokio::test]
async fn a_run_that_its_databases_do_not_name_is_written_down_again() {
    let migrated = Migrated::open().await;
    let mut gateway = migrated.shop.target(Database::Gateway).await;
    let runs = "SELECT run || tables::text FROM xtask.runs";
    let before: String = sqlx::Row::get(&gateway.row(runs).await.unwrap(), 0);
    gateway.run("DELETE FROM xtask.runs").await.unwrap();
    migrated.finds("emptied", &["gateway: xtask.runs names no run*"]);
    let contents = crate::tool::targets(&migrated.shop).await;
    migrated.shop.xtask(&["import", "--run", &migrated.run]).expect_code(0);
    assert_eq!(sqlx::Row::get::<String, _>(&gateway.row(runs).await.unwrap(), 0), before);
    migrated.is_green();
    gateway.run("DELETE FROM xtask.runs").await.unwrap();
    assert!(crate::tool::targets(&migrated.shop).await == contents, "something else was written");
}

#[tokio::test]
async fn a_journal_that_tells_of_nothing_is_found() {
    let migrated = Migrated::open().await;
    let journal = migrated.shop.latest().file("journal.jsonl");
    let whole = std::fs::read(&journal).unwrap();
    std::fs::write(&journal, "").unwrap();
    migrated.finds("emptied", &["journal.jsonl does not tell of the run's export any more: bring it back*"]);
    std::fs::write(&journal, whole).unwrap();
    migrated.is_green();
}

/// Firestore documents as they are, to change and to bring back.
struct Documents {
    firestore: Firestore,
    /// `http://host:port` of the emulator, and the path of the documents there.
    host: String,
    project: String,
}

impl Documents {
    async fn get(&self, collection: &str, id: &str) -> Fields {
        self.firestore.read(collection, &[id.to_string()]).await.unwrap().remove(0).1.unwrap()
    }

    async fn set(&self, collection: &str, id: &str, fields: &Fields) {
        // A field's name is known at compile time everywhere but here.
        let fields = fields.iter().map(|(n, v)| (&*n.clone().leak(), v.clone())).collect();
        self.firestore.set(collection, &Document { id: id.to_string(), fields }).await.unwrap();
    }

    /// Sets one field to a value that the tool itself never writes, over Firestore's REST interface.
    fn set_raw(&self, path: &str, field: &str, value: &str) {
        let body = format!("{{\"fields\": {{\"{field}\": {value}}}}}");
        let mut stream = TcpStream::connect(&self.host).unwrap();
        write!(
            stream,
            "PATCH /v1/projects/{}/databases/(default)/documents/{path}?updateMask.fieldPaths={field} \
             HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer owner\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.project,
            self.host,
            body.len()
        )
        .unwrap();
        // The connection stays open: the first line says all that is wanted.
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

#[tokio::test]
async fn damage_to_documents_is_found() {
    let migrated = Migrated::open().await;
    let shop = &migrated.shop;
    let host = shop.settings.firestore.emulator.clone().unwrap();
    let project = shop.settings.firestore.project.clone();
    let documents = Documents { firestore: shop.firestore().await, host, project };
    const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";
    const SESSION: &str = "plainSession1-9f86d081884c7d659a2feaa0";
    let (ada, session) = (documents.get("users", ADA).await, documents.get("user_sessions", SESSION).await);
    let text = |text: &str| Value::Text(text.to_string());
    let Value::Time(created) = ada["created_at"] else { panic!("{ada:?}") };

    type Change<'a> = (&'a str, &'a str, Option<Value>, &'a str);
    let changes: &[Change] = &[
        (
            "one character",
            "last_name",
            Some(text("LoveIace")),
            "expected string \"Lovelace\", found string \"LoveIace\"",
        ),
        ("an empty string", "last_name", Some(text("")), "expected string \"Lovelace\", found string \"\""),
        ("null", "last_name", Some(Value::Null), "expected string \"Lovelace\", found null"),
        ("a number", "login_count", Some(Value::Integer(43)), "expected integer 42, found integer 43"),
        ("a number as text", "login_count", Some(text("42")), "expected integer 42, found string \"42\""),
        (
            "a boolean as text",
            "email_verified",
            Some(text("true")),
            "expected boolean true, found string \"true\"",
        ),
        (
            "a time as text",
            "created_at",
            Some(text("2023-05-01T08:30:00.000001Z")),
            "expected time 2023-05-01T08:30:00.000001Z, found string \"2023-05-01T08:30:00.000001Z\"",
        ),
        (
            "a microsecond",
            "created_at",
            Some(Value::Time(created + 1)),
            "expected time 2023-05-01T08:30:00.000001Z, found time 2023-05-01T08:30:00.000002Z",
        ),
        (
            "milliseconds (fault 12)",
            "created_at",
            Some(Value::Time(created - 1)),
            "expected time 2023-05-01T08:30:00.000001Z, found time 2023-05-01T08:30:00Z",
        ),
        (
            "a mask (fault 11)",
            "ip_address",
            Some(text("203.0.113.10/32")),
            "expected string \"203.0.113.10\", found string \"203.0.113.10/32\"",
        ),
        ("a field beside", "password", Some(text("x")), "expected no such field, found string \"x\""),
        ("a field less", "timezone", None, "expected string \"Europe/London\", found no such field"),
    ];
    for (case, field, value, finding) in changes {
        let mut changed = ada.clone();
        match value {
            Some(value) => changed.insert((*field).to_string(), value.clone()),
            None => changed.remove(*field),
        };
        documents.set("users", ADA, &changed).await;
        migrated.finds(case, &[&format!("users/{ADA}: {field}: {finding}")]);
        documents.set("users", ADA, &ada).await;
    }

    // Types that no document of ours has.
    for (case, field, value, finding) in [
        (
            "a number as double",
            "login_count",
            r#"{"doubleValue": 42}"#,
            "expected integer 42, found double 42*",
        ),
        ("a map", "last_name", r#"{"mapValue": {}}"#, "expected string \"Lovelace\", found *"),
    ] {
        documents.set_raw(&format!("users/{ADA}"), field, value);
        migrated.finds(case, &[&format!("users/{ADA}: {field}: {finding}")]);
        documents.set("users", ADA, &ada).await;
    }

    let id = |id: &str| vec![id.to_string()];
    documents.firestore.delete("user_sessions", &id(SESSION)).await.unwrap();
    let missing = format!("user_sessions/{SESSION}: is missing");
    migrated.finds("a document is missing", &[&missing, "user_sessions: 49 documents expected, 48 found"]);
    documents.set("user_sessions", "stranger", &session).await;
    let beside = "user_sessions/stranger: is not of this run";
    migrated.finds("one missing, one beside", &[&missing, beside]);
    documents.set("user_sessions", SESSION, &session).await;
    migrated.finds("a document beside", &[beside, "user_sessions: 49 documents expected, 50 found"]);
    documents.firestore.delete("user_sessions", &id("stranger")).await.unwrap();

    let mut other = session.clone();
    other.insert("user_uid".into(), text("1"));
    documents.set("user_sessions", SESSION, &other).await;
    migrated.finds(
        "another user's session",
        &[&format!("user_sessions/{SESSION}: user_uid: expected string \"{ADA}\", found string \"1\"")],
    );
    documents.set("user_sessions", SESSION, &session).await;
    migrated.is_green();
}

#[tokio::test]
async fn damage_to_the_files_of_a_run_is_found() {
    let migrated = Migrated::open().await;
    let run = migrated.shop.latest();
    let export = migrated.shop.manifest().export.unwrap();
    let backup = migrated.shop.manifest().backup.unwrap();
    let names: Vec<&String> = export.files.keys().chain(backup.files.keys()).collect();
    for wanted in
        ["full_backup.dump", "users.csv", "orders.csv", "user_id_mapping.csv", "quarantine/orders.csv"]
    {
        assert!(names.iter().any(|n| *n == wanted), "{wanted} is not in {names:?}");
    }
    // One after the other would take a minute: every file at once, each in one way.
    let whole: Vec<Vec<u8>> = names.iter().map(|n| std::fs::read(run.file(n)).unwrap()).collect();
    let changed = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let last = bytes.iter().rposition(u8::is_ascii_alphanumeric).unwrap();
        bytes[last] ^= 1;
        bytes
    };
    type Way<'a> = (&'a str, &'a dyn Fn(&[u8]) -> Vec<u8>);
    let ways: [Way; 3] = [
        ("one bit is another", &changed),
        ("the end is gone", &|bytes| bytes[..bytes.len() - bytes.len().min(7)].to_vec()),
        ("empty", &|_| Vec::new()),
    ];
    for (case, way) in ways {
        for (name, bytes) in names.iter().zip(&whole) {
            std::fs::write(run.file(name), way(bytes)).unwrap();
        }
        let found = migrated.findings(&[]);
        for name in &names {
            let line = format!("{name} is not the file that was written");
            assert!(found.iter().any(|f| f.starts_with(&line)), "{case}: nothing about {name} in {found:#?}");
        }
        for (name, bytes) in names.iter().zip(&whole) {
            std::fs::write(run.file(name), bytes).unwrap();
        }
    }
    migrated.is_green();

    // What a damaged file says is not believed: no row is accused because of it.
    for (file, checks) in [
        (
            "user_id_mapping.csv",
            &[
                "product_reviews.user_uid",
                "orders.user_uid",
                "api_logs.user_uid",
                "analytics_events.user_uid",
            ][..],
        ),
        ("quarantine/orders.csv", &["product_reviews.order_id"]),
    ] {
        let bytes = std::fs::read(run.file(file)).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        let without_last: Vec<&str> = text.split_inclusive('\n').collect();
        std::fs::write(run.file(file), without_last[..without_last.len() - 1].concat()).unwrap();
        let mut expected = vec![format!("{file} is not the file that was written*")];
        let of_check = |check: &&str| format!("{check}: cannot be looked up: {file} is not the file*");
        expected.extend(checks.iter().map(of_check));
        migrated.finds(file, &expected.iter().map(String::as_str).collect::<Vec<_>>());
        std::fs::write(run.file(file), bytes).unwrap();
    }

    // What differs in a store is found all the same, only not by its rows.
    let mut order = migrated.shop.target(Database::Order).await;
    order.run("UPDATE orders SET status = 'lost' WHERE id = 1").await.unwrap();
    std::fs::remove_file(run.file("orders.csv")).unwrap();
    migrated.finds("a file is gone", &["orders.csv: *", "orders: cannot be compared: orders.csv: *"]);
}

#[tokio::test]
async fn max_diffs_limits_the_rows_that_are_shown_and_a_run_that_cannot_be_verified_is_refused() {
    let migrated = Migrated::open().await;
    let shop = &migrated.shop;
    let mut order = shop.target(Database::Order).await;
    order.run("DELETE FROM orders").await.unwrap(); // its items and payments go with it
    for limit in [0, 1, 3] {
        let found = migrated.findings(&["--max-diffs", &limit.to_string()]);
        for (table, rows) in [("orders", 60), ("order_items", 49), ("payments", 60)] {
            let (rows, of) = (format!("{table}: {rows} rows expected, 0 found"), format!("{table} id "));
            assert!(found.contains(&rows), "{found:#?}");
            assert_eq!(found.iter().filter(|f| f.starts_with(&of)).count(), limit, "{found:#?}");
        }
    }
    let said = shop.xtask(&["verify", "--run", &migrated.run]).expect_code(3);
    assert!(said.stdout.contains("✗ orders id 1: is missing"), "{}", said.stdout);

    let said = shop.xtask(&["verify", "--run", "20000101_000000"]).expect_code(4);
    assert!(
        said.stderr.contains("no run 20000101_000000") && said.stderr.contains(&migrated.run),
        "{}",
        said.stderr
    );
    shop.xtask(&["backup"]).expect_code(0);
    let newest = xtask::run::dir::ids(shop.runs.path()).unwrap().pop().unwrap();
    let said = shop.xtask(&["verify", "--run", &newest]).expect_code(4);
    assert!(said.stderr.contains("no complete export"), "{}", said.stderr);
}
