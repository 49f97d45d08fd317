//! The faults of the guide (DESIGN §3) that belong to phases 1 to 5, and the rules that answer them.
//!
//! | Fault | Shown by |
//! |---|---|
//! | 1 passwords | `without_its_password_nothing_starts` |
//! | 2 relative directories | `every_rule_on_a_source_that_keeps_none`: the run is made from another directory |
//! | 3, 4, 8, 12, 28 | `a_run_beside_a_writer_in_odd_time_zones` |
//! | 6 failed COPYs, a check on nothing | damage.rs (a database is empty), ledger.rs (files) |
//! | 7 a second run | `a_run_beside_a_writer_in_odd_time_zones`, at its end |
//! | 5, 9–11, 13–21 | `every_rule_on_a_source_that_keeps_none` |
//! | 12 without zone | the same: two of its columns have none |
//! | 22–27 | are about hardening and rollback |

use crate::support::{Said, Shop, environment};
use datapath::document::Value;
use datapath::firestore::Fields;
use secrecy::ExposeSecret;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use xtask::commands::export;
use xtask::effects::postgres::Connection;
use xtask::model::{Database, Stop};
use xtask::source::Handling;
use xtask::tables::TABLES;

const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";

/// The one value that a query returns, as text.
async fn value(connection: &mut Connection, query: &str) -> Option<String> {
    let row = connection.row(&format!("SELECT ({query})::text")).await.unwrap();
    sqlx::Row::get(&row, 0)
}

async fn number(connection: &mut Connection, query: &str) -> u64 {
    value(connection, query).await.unwrap().parse().unwrap()
}

async fn document(shop: &Shop, collection: &str, id: &str) -> Option<Fields> {
    shop.firestore().await.read(collection, &[id.to_string()]).await.unwrap().remove(0).1
}

fn text(text: &str) -> Value {
    Value::Text(text.to_string())
}

/// A table's line of the report.
#[track_caller]
fn line<'a>(report: &'a Json, table: &str) -> &'a Json {
    report["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).unwrap()
}

/// A CSV file of the newest run, its records by the first column.
fn records(shop: &Shop, file: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(shop.latest().file(file)).unwrap();
    let header = reader.headers().unwrap().clone();
    let named = |record: csv::StringRecord| {
        let fields = header.iter().zip(&record).map(|(n, v)| (n.to_string(), v.to_string()));
        (record[0].to_string(), fields.collect())
    };
    reader.records().map(|record| named(record.unwrap())).collect()
}

#[test]
fn without_its_password_nothing_starts() {
    let error = environment().settings(&BTreeMap::new()).unwrap_err();
    let stop = error.downcast_ref::<Stop>().map(Stop::exit_code);
    assert_eq!(stop, Some(4), "{error:#}");
    assert!(error.to_string().contains("$SOURCE_PASSWORD"), "{error:#}");
}

/// Command lines of all processes, while a flag is up: how many named a pg_dump, and those that
/// held the secret.
fn watch(secret: &str, on: &AtomicBool) -> (u64, Vec<String>) {
    let (mut dumps, mut leaks) = (0, Vec::new());
    while on.load(Ordering::Relaxed) {
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let Ok(line) = std::fs::read(process.path().join("cmdline")) else { continue };
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            dumps += u64::from(line.contains("pg_dump"));
            if line.contains(secret) {
                leaks.push(line);
            }
        }
    }
    (dumps, leaks)
}

/// Writes orders of new users, with items and payments, until the flag goes down.
async fn write_orders(mut source: Connection, on: &AtomicBool, written: &AtomicU64) {
    while on.load(Ordering::Relaxed) {
        let n = written.load(Ordering::Relaxed);
        let order = format!(
            "WITH u AS (INSERT INTO users (firebase_uid, email, created_at) \
                        VALUES ('writer{n}', 'writer{n}@example.com', now()) RETURNING id), \
                  s AS (INSERT INTO user_sessions (user_id, session_token, created_at) \
                        SELECT id, 'writerSession{n}', now() FROM u), \
                  o AS (INSERT INTO orders (user_id, total_amount, created_at) SELECT id, 1, now() FROM u RETURNING id), \
                  i AS (INSERT INTO order_items (order_id, product_id, quantity, unit_price, created_at) \
                        SELECT id, 1, 1, 1, now() FROM o, generate_series(1, 3)) \
             INSERT INTO payments (order_id, amount, created_at) SELECT id, 1, now() FROM o"
        );
        source.run(&order).await.unwrap();
        written.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_beside_a_writer_in_odd_time_zones() {
    let shop = Shop::open(1).await;
    for server in
        [&shop.settings.source, &shop.settings.product, &shop.settings.order, &shop.settings.gateway]
    {
        let mut connection = shop.superuser(server).await;
        let name = xtask::sql_text::ident(&server.database);
        connection.run(&format!("ALTER DATABASE {name} SET timezone = 'Pacific/Chatham'")).await.unwrap();
        connection.run(&format!("ALTER DATABASE {name} SET datestyle = 'German'")).await.unwrap();
    }
    let secret = shop.settings.source.password.expose_secret().to_string();
    let (on, written) = (AtomicBool::new(true), AtomicU64::new(0));
    let handle = tokio::runtime::Handle::current();
    let (said, dumps, leaks): (Said, u64, Vec<String>) = std::thread::scope(|scope| {
        scope.spawn(|| handle.block_on(async { write_orders(shop.source().await, &on, &written).await }));
        let watcher = scope.spawn(|| watch(&secret, &on));
        while written.load(Ordering::Relaxed) < 5 {
            std::thread::yield_now();
        }
        let mut migrate = shop.command(&["migrate", "--json", "--verbose"]);
        let said = migrate.env("TZ", "America/St_Johns").env("PGTZ", "Asia/Kathmandu").output().unwrap();
        on.store(false, Ordering::Relaxed);
        let (dumps, leaks) = watcher.join().unwrap();
        (said.into(), dumps, leaks)
    });
    let said = said.expect_code(0);
    let report = said.json();
    assert_eq!(report["proven"], true, "{report:#}");

    // 8: the writer went on, and the run holds one instant of it.
    let mut source = shop.source().await;
    let exported = line(&report, "orders")["source_rows"].as_u64().unwrap();
    assert!(
        number(&mut source, "SELECT count(*) FROM orders").await > exported,
        "the writer stopped too soon"
    );
    let mut order = shop.target(Database::Order).await;
    let of_writer = "SELECT count(*) FROM orders WHERE user_uid LIKE 'writer%'";
    let orders = number(&mut order, of_writer).await;
    assert!(orders >= 5, "{orders}");
    let items =
        "SELECT count(*) FROM order_items i JOIN orders o ON o.id = i.order_id WHERE user_uid LIKE 'writer%'";
    assert_eq!(number(&mut order, items).await, 3 * orders);
    assert!(document(&shop, "user_sessions", "writerSession0").await.is_some());

    // 3: more than one batch; 4: sessions with the uid of their user.
    let firestore = shop.firestore().await;
    let users = line(&report, "users")["sums"]["migrated"].as_u64().unwrap();
    assert!(users > 2000);
    assert_eq!(firestore.count("users").await.unwrap(), users);
    let sessions = line(&report, "user_sessions")["sums"]["migrated"].as_u64().unwrap();
    assert!(sessions > 3000);
    assert_eq!(firestore.count("user_sessions").await.unwrap(), sessions);
    let session = document(&shop, "user_sessions", "plainSession1-9f86d081884c7d659a2feaa0").await.unwrap();
    assert_eq!(session["user_uid"], text(ADA));

    // 12: microseconds and instants, whatever the zone of machine, process and server.
    let micros = |text: &str| Value::Time(text.parse::<jiff::Timestamp>().unwrap().as_microsecond());
    let user = document(&shop, "users", "timeUser500").await.unwrap();
    assert_eq!(user["created_at"], micros("2025-11-03T09:15:27.123456Z"));
    assert_eq!(user["last_login_at"], micros("2025-11-03T09:15:27.000001Z"));
    let created = "SELECT created_at FROM orders WHERE id = 500";
    assert_eq!(value(&mut order, created).await.unwrap(), "2025-11-03 09:15:27.123456+00");

    // 28: statistics, no password in any command line, file or message; the numeric ids are kept.
    for database in Database::ALL {
        let mut connection = shop.target(database).await;
        for table in xtask::tables::of_database(TABLES, database) {
            let name = table.name;
            let known =
                format!("SELECT reltuples::bigint FROM pg_class WHERE oid = 'public.{name}'::regclass");
            let rows = format!("SELECT count(*) FROM {name}");
            assert_eq!(number(&mut connection, &known).await, number(&mut connection, &rows).await, "{name}");
            let columns =
                format!("SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND tablename = '{name}'");
            assert!(number(&mut connection, &columns).await > 0, "{name}");
        }
    }
    assert!(dumps > 0, "no pg_dump was seen: the watch shows nothing");
    assert!(leaks.is_empty(), "{leaks:#?}");
    let run = shop.latest();
    let mut files: Vec<String> = ["manifest.json", "journal.jsonl"].map(String::from).into();
    let manifest = shop.manifest();
    files
        .extend(manifest.backup.unwrap().files.into_keys().chain(manifest.export.unwrap().files.into_keys()));
    for file in files {
        let bytes = std::fs::read(run.file(&file)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|w| w == secret.as_bytes()), "the password is in {file}");
    }
    assert!(!said.stdout.contains(&secret) && !said.stderr.contains(&secret));
    assert_eq!(records(&shop, "user_id_mapping.csv")["1"]["firebase_uid"], ADA);

    // 7: a second run is refused; the same run's import changes nothing, and the proof still holds.
    let again = shop.xtask(&["migrate"]).expect_code(4);
    assert!(again.stderr.contains("holds"), "{}", again.stderr);
    let id = run.id().to_string();
    let import = shop.xtask(&["import", "--run", &id]).expect_code(0);
    for database in Database::ALL {
        let skipped = format!("{database} holds exactly this run's rows already: skipped");
        assert!(import.stderr.contains(&skipped), "{}", import.stderr);
    }
    shop.xtask(&["verify", "--run", &id]).expect_code(0);
}

/// What a source may hold whose constraints are gone, ids from 2001. → says what becomes of it.
const MISTREATED: &str = "
ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key;
ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key;
ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_user_id_fkey;
ALTER TABLE categories DROP CONSTRAINT categories_parent_id_fkey;
ALTER TABLE products DROP CONSTRAINT products_category_id_fkey;
ALTER TABLE product_reviews DROP CONSTRAINT product_reviews_product_id_fkey;
ALTER TABLE orders DROP CONSTRAINT orders_user_id_fkey;
ALTER TABLE order_items DROP CONSTRAINT order_items_order_id_fkey;
ALTER TABLE order_items DROP CONSTRAINT order_items_product_id_fkey;
ALTER TABLE payments DROP CONSTRAINT payments_order_id_fkey;
ALTER TABLE users ALTER created_at DROP NOT NULL;
ALTER TABLE users    ALTER last_login_at TYPE timestamp USING last_login_at AT TIME ZONE 'UTC';
ALTER TABLE products ALTER updated_at    TYPE timestamp USING updated_at    AT TIME ZONE 'UTC';

INSERT INTO users (id, firebase_uid, email, created_at, deleted_at) VALUES
    (2001, 'twiceUid',   'a2001@example.com', now(), NULL),     -- → uid_not_unique, both
    (2002, 'twiceUid',   'a2002@example.com', now(), NULL),
    (2003, 'reusedUid',  'a2003@example.com', now(), now()),    -- → user_deleted: it has no document
    (2004, 'reusedUid',  'a2004@example.com', now(), NULL),     -- → migrated
    (2005, 'noTimeUid',  'a2005@example.com', NULL,  NULL);     -- → migrated (fault 20)
INSERT INTO user_sessions (id, user_id, session_token, created_at) VALUES
    (2001, 2001,   'sessionOfTwice2001', now()),                -- → user_quarantined
    (2002, 2002,   'sessionOfTwice2002', now()),                -- → user_quarantined
    (2003, 1,      'twiceToken',         now()),                -- → token_not_unique, both
    (2004, 2,      'twiceToken',         now()),
    (2005, 888888, 'sessionOfNobody',    now());                -- → user_missing
INSERT INTO categories (id, parent_id, name, created_at) VALUES
    (2001, 779,  'Its parent never was', now()),                -- → parent_missing
    (2002, 2001, 'Its parent stays',     now());                -- → parent_quarantined
INSERT INTO products (id, category_id, name, price, created_at) VALUES
    (2001, 777,  'Its category never was', 1, now()),           -- → category_missing
    (2002, 2002, 'Its category stays',     1, now());           -- → category_quarantined
INSERT INTO orders (id, user_id, total_amount, created_at) VALUES
    (2001, 2001,   1, now()),                                   -- keeps the uid
    (2002, 2002,   1, now()),                                   -- keeps the uid
    (2003, 2004,   1, now()),
    (2004, 888888, 1, now());                                   -- → user_missing
INSERT INTO order_items (id, order_id, product_id, quantity, unit_price, created_at) VALUES
    (2001, 2001,   2001, 1, 1, now()),                          -- its product stays: dangling, as is known
    (2002, 2004,   1,    1, 1, now()),                          -- → order_quarantined
    (2003, 999999, 1,    1, 1, now());                          -- → order_missing
INSERT INTO payments (id, order_id, amount, created_at) VALUES
    (2001, 999999, 1, now());                                   -- → order_missing
INSERT INTO product_reviews (id, product_id, user_id, created_at) VALUES
    (2001, 2001, 1,    now()),                                  -- → product_quarantined
    (2002, 778,  1,    now()),                                  -- → product_missing
    (2003, 1,    2001, now());                                  -- keeps the uid
";

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_on_a_source_that_keeps_none() {
    let mut shop = Shop::open(0).await;
    let mut source = shop.source().await;
    source.run(MISTREATED).await.unwrap();

    row_security_hides_nothing(&mut shop).await;

    // 2: from another directory, with a relative one for the run.
    let elsewhere = tempfile::tempdir().unwrap();
    let mut away = crate::support::binary();
    away.args(["export", "--json", "--backup-dir", "runs", "--stack"]).arg(shop.dir());
    let away = Said::from(away.current_dir(elsewhere.path()).output().unwrap()).expect_code(0).json();
    let directory = std::path::PathBuf::from(away["directory"].as_str().unwrap());
    assert!(directory.is_absolute() && directory.starts_with(elsewhere.path().canonicalize().unwrap()));
    assert!(directory.join("orders.csv").is_file());

    let report = shop.xtask(&["migrate", "--json"]).expect_code(0).json();
    assert_eq!(report["proven"], true);
    the_ledger_adds_up(&shop, &report, &mut source).await;
    outcomes_are_those_of_the_rules(&shop, &report);
    documents_are_those_of_the_rules(&shop, &report, &mut source).await;
    rows_are_those_of_the_rules(&shop, &report, &mut source).await;
    what_is_lost_is_kept_in_files(&shop, &mut source).await;
}

/// Rule 1: who may not read past a policy is told so; nobody is shown a part as if it were all.
async fn row_security_hides_nothing(shop: &mut Shop) {
    let mut superuser = shop.superuser(&shop.settings.source).await;
    let password = xtask::sql_text::literal(shop.settings.source.password.expose_secret());
    let role = format!(
        "CREATE ROLE reader LOGIN PASSWORD {password}; \
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; \
         GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader; \
         ALTER TABLE orders ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY own ON orders USING (user_id = 1)"
    );
    superuser.run(&role).await.unwrap();
    let owner = std::mem::replace(&mut shop.settings.source.user, "reader".into());
    let Err(error) = export::run(&shop.ctx(), &Handling::default()).await else {
        panic!("a policy hid rows")
    };
    assert!(format!("{error:#}").contains("past the policies of public.orders"), "{error:#}");
    superuser.run("ALTER ROLE reader BYPASSRLS").await.unwrap();
    let report = export::run(&shop.ctx(), &Handling::default()).await.unwrap();
    let orders = number(&mut superuser, "SELECT count(*) FROM orders").await;
    assert_eq!(report.tables.iter().find(|t| t.table == "orders").unwrap().source_rows, orders);
    shop.settings.source.user = owner;
}

/// 15: each table's own count, by a statement that has nothing to do with the tool's.
async fn the_ledger_adds_up(_: &Shop, report: &Json, source: &mut Connection) {
    for table in TABLES {
        let line = line(report, table.name);
        let rows = number(source, &format!("SELECT count(*) FROM {}", table.source)).await;
        let sums = ["migrated", "excluded", "quarantined"].map(|k| line["sums"][k].as_u64().unwrap());
        assert_eq!((line["source_rows"].as_u64(), sums.iter().sum()), (Some(rows), rows), "{}", table.name);
        let outcomes = line["outcomes"].as_object().unwrap().values().map(|n| n.as_u64().unwrap());
        assert_eq!(outcomes.sum::<u64>(), rows, "{}", table.name);
    }
}

fn outcomes_are_those_of_the_rules(shop: &Shop, report: &Json) {
    // 14, 17 and the rules: how many of each, with what MISTREATED adds to the fixture's rows.
    for (table, outcome, rows) in [
        ("users", "excluded:user_deleted", 6),
        ("users", "quarantined:uid_missing", 3),
        ("users", "quarantined:uid_not_an_id", 6),
        ("users", "quarantined:uid_not_unique", 2),
        ("users", "quarantined:time_out_of_range", 5),
        ("users", "quarantined:document_too_large", 1),
        ("user_sessions", "excluded:session_of_deleted_user", 4),
        ("user_sessions", "quarantined:token_not_unique", 2),
        ("user_sessions", "quarantined:user_missing", 1),
        ("categories", "quarantined:parent_missing", 1),
        ("categories", "quarantined:parent_quarantined", 1),
        ("products", "quarantined:category_missing", 1),
        ("products", "quarantined:category_quarantined", 1),
        ("product_reviews", "quarantined:product_missing", 1),
        ("product_reviews", "quarantined:product_quarantined", 1),
        ("orders", "quarantined:user_missing", 2),
        ("orders", "quarantined:user_without_uid", 3),
        ("order_items", "quarantined:order_missing", 1),
        ("order_items", "quarantined:order_quarantined", 7),
        ("payments", "quarantined:order_missing", 1),
        ("payments", "quarantined:order_quarantined", 5),
    ] {
        assert_eq!(line(report, table)["outcomes"][outcome], rows, "{table} {outcome}");
    }
    // Which ones: the reason stands with the row (17–20: one bad row costs itself and what hangs on it).
    for (table, id, reason) in [
        ("users", 2001, "uid_not_unique"),
        ("users", 2002, "uid_not_unique"),
        ("users", 920, "uid_missing"),
        ("user_sessions", 2001, "user_quarantined"),
        ("user_sessions", 2002, "user_quarantined"),
        ("user_sessions", 2003, "token_not_unique"),
        ("user_sessions", 2004, "token_not_unique"),
        ("user_sessions", 2005, "user_missing"),
        ("user_sessions", 903, "token_not_an_id"),
        ("categories", 2001, "parent_missing"),
        ("categories", 2002, "parent_quarantined"),
        ("products", 2001, "category_missing"),
        ("products", 2002, "category_quarantined"),
        ("product_reviews", 2001, "product_quarantined"),
        ("product_reviews", 2002, "product_missing"),
        ("orders", 930, "user_missing"),
        ("orders", 2004, "user_missing"),
        ("order_items", 930, "order_quarantined"),
        ("order_items", 931, "order_quarantined"),
        ("order_items", 2003, "order_missing"),
        ("payments", 930, "order_quarantined"),
        ("payments", 2001, "order_missing"),
    ] {
        let quarantine = records(shop, &format!("quarantine/{table}.csv"));
        assert_eq!(quarantine[&id.to_string()]["quarantine_reason"], reason, "{table} {id}");
    }
}

async fn documents_are_those_of_the_rules(shop: &Shop, report: &Json, source: &mut Connection) {
    // 8: none of those with a doubled id; 20: one NULL time stamp costs nothing.
    assert_eq!(document(shop, "users", "twiceUid").await, None);
    assert_eq!(document(shop, "user_sessions", "twiceToken").await, None);
    assert_eq!(document(shop, "users", "reusedUid").await.unwrap()["email"], text("a2004@example.com"));
    assert_eq!(document(shop, "users", "noTimeUid").await.unwrap()["created_at"], Value::Null);

    // 11: a host without its mask, a network with it.
    for (id, address) in [
        (400, "203.0.113.7"),
        (401, "1.2.3.4"),
        (402, "10.0.0.0/8"),
        (403, "192.168.1.5/24"),
        (404, "0.0.0.0/0"),
        (405, "2001:db8::1"),
        (406, "2001:db8::/32"),
        (408, "2001:db8::1"),
    ] {
        let user = document(shop, "users", &format!("addressUser{id}")).await.unwrap();
        assert_eq!(user["ip_address"], text(address), "{id}");
        let session = document(shop, "user_sessions", &format!("addressSession{id}")).await.unwrap();
        assert_eq!(session["ip_address"], text(address), "{id}");
    }

    // 12: a time stamp without zone is one in UTC.
    let user = document(shop, "users", ADA).await.unwrap();
    let login = "2025-12-31T22:10:05.123456Z".parse::<jiff::Timestamp>().unwrap();
    assert_eq!(user["last_login_at"], Value::Time(login.as_microsecond()));

    // 13: NULL takes the default, '' does not, and the report says how often.
    let (nulls, empty) = (
        document(shop, "users", "textUser200").await.unwrap(),
        document(shop, "users", "textUser201").await.unwrap(),
    );
    for (field, default) in
        [("status", "active"), ("timezone", "UTC"), ("language", "en"), ("source", "web"), ("first_name", "")]
    {
        assert_eq!((&nulls[field], &empty[field]), (&text(default), &text("")), "{field}");
    }
    assert_eq!(nulls["login_count"], Value::Integer(0));
    assert_eq!(nulls["email_verified"], Value::Boolean(false));
    assert_eq!(nulls["last_login_at"], Value::Null);
    let session = document(shop, "user_sessions", "textSession200").await.unwrap();
    assert_eq!(session["device_type"], text("desktop"));
    let mapping = records(shop, "user_id_mapping.csv");
    let migrated = mapping.iter().filter(|(_, u)| u["outcome"] == "migrated").map(|(id, _)| id.as_str());
    let migrated = migrated.collect::<Vec<_>>().join(", ");
    for field in ["status", "timezone", "login_count", "email_verified", "user_agent"] {
        let nulls = format!("SELECT count(*) FROM users WHERE {field} IS NULL AND id IN ({migrated})");
        assert_eq!(report["defaults"]["users"][field], number(source, &nulls).await, "{field}");
    }
    assert_eq!(report["defaults"]["users"]["last_login_at"], Json::Null, "a time stamp has no default");
}

async fn rows_are_those_of_the_rules(shop: &Shop, report: &Json, source: &mut Connection) {
    let mut product = shop.target(Database::Product).await;
    let mut order = shop.target(Database::Order).await;
    let mut gateway = shop.target(Database::Gateway).await;

    // 5: soft-deleted parents are carried, soft-deleted; those that nobody needs are not.
    let carried = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM categories WHERE deleted_at IS NOT NULL";
    assert_eq!(value(&mut product, carried).await.unwrap(), "100 101 103 104 107 108 115 116 117");
    let carried = "SELECT string_agg(id::text, ' ' ORDER BY id) FROM products WHERE deleted_at IS NOT NULL";
    assert_eq!(value(&mut product, carried).await.unwrap(), "110 111 116 118 119");

    // 9: uids, never numbers; of deleted and of quarantined users too (rules 3, 5, 8).
    let numbers = "SELECT count(*) FROM api_logs WHERE user_uid ~ '^[0-9]+$'";
    assert_eq!(number(&mut gateway, numbers).await, 0);
    for (id, uid) in [(1, ADA), (110, "deletedWithChildren110"), (903, "folder/key")] {
        let query = format!("SELECT user_uid FROM api_logs WHERE id = {id}");
        assert_eq!(value(&mut gateway, &query).await.unwrap(), uid, "{id}");
    }
    for (id, uid) in
        [(110, "deletedWithChildren110"), (923, "hugeUser923"), (2001, "twiceUid"), (2002, "twiceUid")]
    {
        let query = format!("SELECT user_uid FROM orders WHERE id = {id}");
        assert_eq!(value(&mut order, &query).await.unwrap(), uid, "{id}");
    }
    let query = "SELECT user_uid FROM product_reviews WHERE id = 2003";
    assert_eq!(value(&mut product, query).await.unwrap(), "twiceUid");

    // Dangling as the rules have it is not damage, and is told apart by its reason.
    let checks = report["checks"].as_array().unwrap();
    let looked_at = |name: &str| checks.iter().find(|c| c["name"] == name).unwrap()["looked_at"].to_string();
    let of_orders = looked_at("orders.user_uid");
    for state in
        ["2 (excluded:user_deleted)", "2 (quarantined:uid_not_unique)", "1 (quarantined:document_too_large)"]
    {
        assert!(of_orders.contains(state), "{state}: {of_orders}");
    }
    assert!(looked_at("order_items.product_id").contains("expected to dangle: 1 (quarantined)"));
    assert!(looked_at("product_reviews.order_id").contains("expected to dangle: 1 (quarantined)"));

    // 10: assumed, and said so; the level stays in the file.
    let constants =
        "SELECT string_agg(DISTINCT concat_ws('/', method, status_code, latency_ms), ' ') FROM api_logs";
    assert_eq!(value(&mut gateway, constants).await.unwrap(), "GET/200/0");
    let assumed = serde_json::json!({"method": "GET", "status_code": "200", "latency_ms": "0"});
    assert_eq!(line(report, "api_logs")["assumed"], assumed);
    let level = &records(shop, "api_logs.csv")["510"]["level"];
    assert_eq!(level, "ERROR");

    // 12: a time stamp without zone is one in UTC.
    let updated = "SELECT updated_at FROM products WHERE id = 1";
    assert_eq!(value(&mut product, updated).await.unwrap(), "2025-06-01 00:00:00.000001+00");

    // 16: the next id is the source's next id; of a table that never held a row 1, not called.
    for (table, database) in TABLES.iter().filter_map(|t| Some((t, t.database()?))) {
        let state = |name: &str| format!("SELECT (last_value, is_called) FROM {name}_id_seq");
        let expected = match table.name {
            "analytics_events" => "(1,f)".to_string(),
            _ => value(source, &state(table.source)).await.unwrap(),
        };
        let mut connection = shop.target(database).await;
        let found = value(&mut connection, &state(table.name)).await.unwrap();
        // Ids given by hand in MISTREATED are past the source's sequence: the larger of both counts.
        let largest = number(source, &format!("SELECT coalesce(max(id), 0) FROM {}", table.source)).await;
        let past = format!("({largest},t)");
        assert_eq!(found, if largest > 2000 { past } else { expected }, "{}", table.name);
    }

    // 21: the review that ends psql's COPY.
    let comment = "SELECT comment FROM product_reviews WHERE id = 206";
    assert_eq!(value(&mut product, comment).await.unwrap(), "first line\n\\.\nlast line");
    assert_eq!(value(&mut product, comment).await, value(source, comment).await);
}

async fn what_is_lost_is_kept_in_files(shop: &Shop, source: &mut Connection) {
    // The quarantined row as it is in the source, whole.
    for (table, id) in [("orders", 920), ("products", 2001), ("users", 921), ("user_sessions", 925)] {
        let record = &records(shop, &format!("quarantine/{table}.csv"))[&id.to_string()];
        let columns = format!(
            "SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute \
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
        );
        let columns = value(source, &columns).await.unwrap();
        let kept: Vec<&str> =
            record.keys().map(String::as_str).filter(|c| !c.starts_with("quarantine_")).collect();
        assert_eq!(kept.join(" "), columns, "{table}");
        for column in kept {
            let query = format!("SELECT {column}::text FROM {table} WHERE id = {id}");
            let found = value(source, &query).await.unwrap_or_default();
            // CSV writes a boolean as t, the cast as true; none of these rows has one.
            assert_eq!(record[column], found, "{table} {id} {column}");
        }
    }

    // The numeric ids that no uid stands for.
    let notes = records(shop, "notes/api_logs.csv");
    for (id, note) in [
        (113, "user_id 113: the user has no firebase_uid"),
        (900, "user_id 900: the user has no firebase_uid"),
        (920, "user_id 920: the user has no firebase_uid"),
        (940, "user_id 777: no such user"),
        (941, "user_id 2147483647: no such user"),
        (942, "user_id 0: no such user"),
        (943, "user_id -1: no such user"),
    ] {
        assert_eq!(notes[&id.to_string()]["note"], note, "{id}");
    }
    assert_eq!(notes.len(), 7, "{notes:#?}");

    // user_id → uid of every user, with what became of the document.
    let mapping = records(shop, "user_id_mapping.csv");
    let users = source.rows("SELECT id::text, coalesce(firebase_uid, '') FROM users").await.unwrap();
    assert_eq!(mapping.len(), users.len());
    for user in users {
        let (id, uid): (String, String) = (sqlx::Row::get(&user, 0), sqlx::Row::get(&user, 1));
        assert_eq!(mapping[&id]["firebase_uid"], uid, "{id}");
    }
    assert_eq!(mapping["110"]["outcome"], "excluded:user_deleted");
}
