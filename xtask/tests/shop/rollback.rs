//! The way back after a cut-over: what nobody has written changes nothing in the old database, and what the services
//! have written is there afterwards, in every kind.

use crate::doctor::{ROLE, grant_all, psql, role};
use crate::places::Places;
use crate::source::state;
use crate::support::{Said, Shop, assert_refused, assert_words};
use crate::tool::{Tool, within};
use datapath::document::{Document, Value};
use datapath::firestore::Unconditional;
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use sqlx::Row;
use std::collections::BTreeMap;
use std::process::Command;
use xtask::effects::postgres::Connection;
use xtask::effects::wait::{self, State};
use xtask::model::Database;
use xtask::servers::native;

/// The old database as pg_dump tells it, without this tool's own schema.
pub fn dump(shop: &Shop) -> String {
    let source = &shop.settings.source;
    let dumped = Command::new(native::postgres_bindir().unwrap().join("pg_dump"))
        .args(["--exclude-schema=xtask", "--host", &source.host, "--username", &source.user])
        .args(["--port", &source.port.to_string(), &source.database])
        .env("PGPASSWORD", source.password.expose_secret())
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    let text = String::from_utf8(dumped.stdout).unwrap();
    // A key of its own in each dump.
    text.lines()
        .filter(|l| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict"))
        .collect::<Vec<_>>()
        .join("\n")
}

async fn cut_over(scale: u32) -> Shop {
    let shop = Shop::open(scale).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop
}

async fn values(shop: &Shop, query: &str) -> Vec<Option<String>> {
    let rows = shop.source().await.rows(query).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn value(shop: &Shop, query: &str) -> Option<String> {
    let mut values = values(shop, query).await;
    assert_eq!(values.len(), 1, "{query}: {values:?}");
    values.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_written_changes_nothing() {
    let shop = Shop::open(0).await;
    let before = dump(&shop);
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    let said = shop.xtask(&["rollback", "before-start"]);
    assert_refused("not cut over", &said, &["has not been cut over", "cargo xtask unfreeze"]);
    shop.xtask(&["cutover"]).expect_code(0);
    assert_eq!(dump(&shop), before);
    let said = shop.xtask(&["rollback", "before-start", "--dry-run"]).expect_code(0);
    assert_words(&said, &["Would go back (before-start)", "the new stores have received nothing"]);
    assert_eq!(state(&shop, "postgres").await.0.as_deref(), Some("default_transaction_read_only=on"));
    let said = shop.xtask(&["rollback", "before-start"]).expect_code(0);
    assert_words(&said, &["is taken back (before-start)", "the new stores have received nothing"]);
    assert_eq!(dump(&shop), before, "GetPut");
    assert_eq!(state(&shop, "postgres").await, (None, true), "the old services can write");
    assert!(shop.documents("users").await.is_empty() && shop.documents("user_sessions").await.is_empty());

    let run = shop.latest();
    for verb in ["rollback before-start", "rollback after-start", "verify", "cutover"] {
        let arguments: Vec<&str> = verb.split(' ').chain(["--run", run.id()]).collect();
        assert_refused(verb, &shop.xtask(&arguments), &["was taken back already, at", "(before-start)"]);
    }
    let said = shop.xtask(&["status", "--run", run.id()]).expect_code(0);
    assert_words(
        &said,
        &["taken back: the shop is on its old database", "(before-start)", "migrate --replace"],
    );
    // And forward again.
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    let mut product = shop.target(Database::Product).await;
    let service = "SET default_transaction_read_only TO DEFAULT; UPDATE products SET stock = 1 WHERE id = 1";
    product.run(service).await.unwrap();
}

fn text(value: &str) -> Value {
    Value::Text(value.into())
}

async fn set(shop: &Shop, collection: &str, id: &str, change: impl FnOnce(&mut BTreeMap<String, Value>)) {
    let found = shop.firestore().await.read(collection, &[id.to_string()]).await.unwrap();
    let mut fields = found.into_iter().next().unwrap().1.unwrap_or_default();
    change(&mut fields);
    let leak = |name: String| -> &'static str { name.leak() };
    let fields = fields.into_iter().map(|(name, value)| (leak(name), value)).collect();
    shop.firestore().await.set(collection, &Document { id: id.into(), fields }).await.unwrap();
}

/// A live user with sessions and orders.
async fn a_user(shop: &Shop) -> (i64, String) {
    let row = shop
        .source()
        .await
        .row(
            "SELECT u.id::bigint, u.firebase_uid FROM users u WHERE deleted_at IS NULL AND firebase_uid <> '' \
             AND EXISTS (SELECT FROM user_sessions s WHERE s.user_id = u.id) \
             AND EXISTS (SELECT FROM orders o WHERE o.user_id = u.id) ORDER BY id LIMIT 1",
        )
        .await
        .unwrap();
    (row.get(0), row.get(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_services_wrote_is_in_the_old_database() {
    let shop = cut_over(0).await;
    let (id, uid) = a_user(&shop).await;
    // The catalogue.
    let mut product = shop.target(Database::Product).await;
    product
        .run(
            "INSERT INTO categories (name, slug, created_at) VALUES ('new ones', 'new-ones', '2026-11-01'); \
             INSERT INTO products (name, price, category_id, sku, tags, created_at) \
             SELECT 'lamp', 9.90, c.id, 'LAMP', '{a,\"b \\\"c\",NULL}', '2026-11-01 10:00:00.123456+00' \
             FROM categories c WHERE c.slug = 'new-ones'; \
             UPDATE products SET price = 123.45, description = E'two\\nlines', tags = NULL WHERE id = 1; \
             DELETE FROM product_reviews WHERE id = (SELECT min(id) FROM product_reviews)",
        )
        .await
        .unwrap();
    // Orders, one of a user who is new.
    let mut order = shop.target(Database::Order).await;
    order
        .run(
            "INSERT INTO orders (user_uid, total_amount, status, created_at) VALUES ('uid-new', 19.80, 'paid', '2026-11-02'); \
             INSERT INTO order_items (order_id, product_id, product_name, quantity, unit_price, created_at) \
             SELECT max(id), 1, 'lamp', 2, 9.90, '2026-11-02' FROM orders; \
             INSERT INTO payments (order_id, amount, currency, gateway_response, created_at) \
             SELECT max(id), 19.80, 'EUR', '{\"b\": 1, \"a\": [null, \"x\"]}', '2026-11-02' FROM orders; \
             UPDATE orders SET status = 'shipped', tracking_number = '' WHERE id = 1",
        )
        .await
        .unwrap();
    // An order that no review names, and one that a review does, which the new stores know nothing of.
    let named =
        values(&shop, "SELECT DISTINCT order_id::text FROM product_reviews WHERE order_id IS NOT NULL").await;
    let there = "SELECT id::text FROM orders o WHERE id BETWEEN 2 AND 400 \
                 AND EXISTS (SELECT FROM order_items i WHERE i.order_id = o.id) ORDER BY id";
    let there: Vec<String> = order.rows(there).await.unwrap().iter().map(|row| row.get(0)).collect();
    let is_named = |id: &&String| named.contains(&Some(id.to_string()));
    let gone = there.iter().find(|id| !is_named(id)).unwrap();
    let needed = there.iter().find(is_named).unwrap();
    order.run(&format!("DELETE FROM orders WHERE id IN ({gone}, {needed})")).await.unwrap();
    let mut gateway = shop.target(Database::Gateway).await;
    gateway
        .run(&format!(
            "INSERT INTO api_logs (service_name, path, method, status_code, latency_ms, user_uid, ip_address, created_at) \
             VALUES ('gateway', '/api/orders', 'POST', 201, 12, '{uid}', '10.0.0.7', '2026-11-02'); \
             INSERT INTO analytics_events (event_name, user_uid, properties, created_at) \
             VALUES ('bought', 'uid-new', '{{\"n\": 1}}', '2026-11-02'), ('seen', NULL, NULL, '2026-11-02')"
        ))
        .await
        .unwrap();
    // Users and sessions.
    set(&shop, "users", "uid-new", |fields| {
        fields.insert("firebase_uid".into(), text("uid-new"));
        fields.insert("email".into(), text("new@example.com"));
        fields.insert("login_count".into(), Value::Integer(1));
        fields.insert("created_at".into(), Value::Time(1_700_000_000_123_456));
    })
    .await;
    set(&shop, "users", &uid, |fields| {
        fields.insert("first_name".into(), text("Jos\u{e9} \"x\""));
    })
    .await;
    let gone_user = value(
        &shop,
        &format!(
            "SELECT max(firebase_uid) FROM users u WHERE deleted_at IS NULL AND firebase_uid <> '{uid}' \
                  AND firebase_uid <> '' AND firebase_uid NOT LIKE '%/%' \
                  AND NOT EXISTS (SELECT FROM user_sessions s WHERE s.user_id = u.id)"
        ),
    )
    .await;
    let came_back = value(
        &shop,
        "SELECT firebase_uid FROM users WHERE deleted_at IS NOT NULL AND firebase_uid <> '' LIMIT 1",
    )
    .await
    .unwrap();
    let firestore = shop.firestore().await;
    if let Some(gone) = &gone_user {
        firestore.delete("users", std::slice::from_ref(gone)).await.unwrap();
    }
    set(&shop, "users", &came_back, |fields| {
        fields.insert("firebase_uid".into(), text(&came_back));
        fields.insert("email".into(), text("back@example.com"));
        fields.insert("created_at".into(), Value::Time(1_600_000_000_000_000));
    })
    .await;
    let tokens =
        values(&shop, &format!("SELECT session_token FROM user_sessions WHERE user_id = {id} ORDER BY id"))
            .await;
    firestore.delete("user_sessions", &[tokens[0].clone().unwrap()]).await.unwrap();
    set(&shop, "user_sessions", "token-new", |fields| {
        fields.insert("session_token".into(), text("token-new"));
        fields.insert("user_uid".into(), text("uid-new"));
        fields.insert("is_active".into(), Value::Boolean(true));
        fields.insert("created_at".into(), Value::Time(1_700_000_001_000_000));
    })
    .await;

    let said = shop.xtask(&["rollback", "before-start"]);
    assert_refused(
        "used",
        &said,
        &["the new stores have been used", "orders 1 new, 1 changed, 2 gone", "after-start"],
    );
    let before = dump(&shop);
    let said = shop.xtask(&["rollback", "after-start", "--dry-run"]).expect_code(0);
    assert_words(&said, &["Would go back (after-start)", "method has no place there: 1"]);
    assert_eq!(dump(&shop), before, "a plan changes nothing");
    let said: Said = shop.xtask(&["rollback", "after-start", "--show-values"]).expect_code(0);
    let kept = format!("gone, but needed by: {needed} (product_reviews)");
    assert_words(&said, &["Plan, tried in the old database", "is taken back (after-start)", &kept]);

    let new = value(&shop, "SELECT id::text FROM users WHERE firebase_uid = 'uid-new' AND email = 'new@example.com' \
                            AND login_count = 1 AND created_at = '2023-11-14 22:13:20.123456+00' AND status IS NULL")
        .await
        .unwrap();
    for (query, wanted) in [
        (format!("SELECT first_name FROM users WHERE id = {id}"), Some("Jos\u{e9} \"x\"")),
        (
            "SELECT p.name || ' ' || p.tags::text FROM products p JOIN categories c ON c.id = p.category_id \
          WHERE c.slug = 'new-ones' AND p.created_at = '2026-11-01 10:00:00.123456+00'"
                .into(),
            Some("lamp {a,\"b \\\"c\",NULL}"),
        ),
        (
            "SELECT price || description || coalesce(tags::text, ' none') FROM products WHERE id = 1".into(),
            Some("123.45two\nlines none"),
        ),
        ("SELECT count(*)::text FROM product_reviews WHERE id = 1".into(), Some("0")),
        (
            format!(
                "SELECT o.status || i.quantity || p.gateway_response::text FROM orders o JOIN order_items i ON i.order_id = o.id \
                  JOIN payments p ON p.order_id = o.id WHERE o.user_id = {new}"
            ),
            Some("paid2{\"a\": [null, \"x\"], \"b\": 1}"),
        ),
        ("SELECT status || '<' || tracking_number || '>' FROM orders WHERE id = 1".into(), Some("shipped<>")),
        (format!("SELECT count(*)::text FROM orders WHERE id = {gone}"), Some("0")),
        (format!("SELECT count(*)::text FROM orders WHERE id = {needed}"), Some("1")),
        (format!("SELECT count(*)::text FROM order_items WHERE order_id IN ({gone}, {needed})"), Some("0")),
        (
            format!(
                "SELECT message || host(ip_address) || coalesce(level, ' no level') FROM system_logs \
                  WHERE user_id = {id} AND created_at = '2026-11-02'"
            ),
            Some("/api/orders10.0.0.7 no level"),
        ),
        (
            format!(
                "SELECT string_agg(event_name || coalesce(user_id, 0), ' ' ORDER BY id) FROM analytics_events \
                  WHERE created_at = '2026-11-02' AND coalesce(user_id, {new}) = {new}"
            ),
            None,
        ),
        ("SELECT user_id::text FROM user_sessions WHERE session_token = 'token-new'".into(), Some(&*new)),
        (
            format!(
                "SELECT coalesce(deleted_at::text, 'lives') || email FROM users WHERE firebase_uid = '{came_back}'"
            ),
            Some("livesback@example.com"),
        ),
        (
            format!(
                "SELECT count(*)::text FROM user_sessions WHERE session_token = '{}'",
                tokens[0].as_deref().unwrap()
            ),
            Some("0"),
        ),
    ] {
        let found = value(&shop, &query).await;
        if let Some(wanted) = wanted {
            assert_eq!(found.as_deref(), Some(wanted), "{query}");
        } else {
            assert_eq!(found, Some(format!("bought{new} seen0")), "{query}");
        }
    }
    if let Some(gone) = gone_user {
        let deleted = format!(
            "SELECT (deleted_at > now() - interval '1 hour')::text FROM users WHERE firebase_uid = '{gone}'"
        );
        assert_eq!(value(&shop, &deleted).await.as_deref(), Some("true"));
    }
    assert_eq!(state(&shop, "postgres").await, (None, true), "the old services can write");
    // Their next rows do not take an id that the new services have given out.
    shop.source()
        .await
        .run(
            "INSERT INTO orders (total_amount, created_at) VALUES (1, now()); \
                             INSERT INTO users (email, created_at) VALUES ('later@example.com', now()); \
                             INSERT INTO products (name, price, created_at) VALUES ('later', 1, now())",
        )
        .await
        .unwrap();
    // And forward again, with all of it.
    shop.source().await.run("DELETE FROM orders WHERE user_id IS NULL AND total_amount = 1").await.unwrap();
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
}

/// Killed wherever it is, the same command ends it, and nothing is there twice.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_the_same_command_ends_it() {
    let shop = cut_over(0).await;
    let mut order = shop.target(Database::Order).await;
    let row = "INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('nobody', 5, '2026-11-05')";
    order.run(row).await.unwrap();
    set(&shop, "users", "uid-new", |fields| {
        fields.insert("firebase_uid".into(), text("uid-new"));
        fields.insert("email".into(), text("new@example.com"));
        fields.insert("created_at".into(), Value::Time(0));
    })
    .await;
    let steps = [
        "services held out",
        "gateway database is frozen",
        "Rollback: into the old database",
        "the old database is the shop's again",
        "orders_id_seq gives",
        "the source is not frozen any more",
    ];
    for step in steps {
        let mut tool = Tool::start(shop.command(&["rollback", "after-start", "--json"]));
        tokio::task::block_in_place(|| match tool.says(step) {
            true => {
                tool.signal(Signal::SIGKILL);
                tool.wait_for_its_end();
                let said = shop.xtask(&["status"]);
                let words = ["rollback after-start --run", "taken back: the shop is on its old database"];
                assert!(words.iter().any(|words| said.stderr.contains(words) || said.stdout.contains(words)));
            }
            false => {
                let done = ["was taken back already", "the source is not frozen any more"];
                let said = tool.stderr();
                assert!(done.iter().any(|words| said.contains(words)), "{step}: {said}");
            }
        });
    }
    let said = shop.xtask(&["rollback", "after-start"]);
    assert!([Some(0), Some(4)].contains(&said.code), "{}{}", said.stdout, said.stderr);
    assert_eq!(shop.manifest().rolled_back.len(), 1);
    for (query, wanted) in [
        ("SELECT count(*)::text FROM orders WHERE created_at = '2026-11-05'", "1"),
        ("SELECT count(*)::text FROM users WHERE firebase_uid = 'uid-new'", "1"),
        ("SELECT count(*)::text FROM xtask.rollbacks", "1"),
    ] {
        assert_eq!(value(&shop, query).await.as_deref(), Some(wanted), "{query}");
    }
    assert_eq!(state(&shop, "postgres").await, (None, true), "the old services can write");
    assert!(shop.documents("users").await.is_empty());
}

/// A role that is no superuser; and what the old database does by itself does not happen meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_least_grants_are_enough_and_triggers_do_not_fire() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let places = Places::of(&shop, Some(ROLE));
    let audit = "CREATE ROLE keeper; ALTER TABLE products OWNER TO keeper; CREATE TABLE audit (what text); \
                 CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
                 $$BEGIN INSERT INTO audit VALUES (TG_OP); NEW.updated_at := now(); RETURN NEW; END$$; \
                 CREATE TRIGGER noted BEFORE INSERT OR UPDATE ON products FOR EACH ROW EXECUTE FUNCTION note(); \
                 CREATE TRIGGER quiet BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION note(); \
                 ALTER TABLE products DISABLE TRIGGER quiet";
    shop.superuser(&shop.settings.source).await.run(audit).await.unwrap();
    grant_all(&shop);
    psql(&shop.settings.source, "freeze.sql", &["role=mover", "roles={}"]);
    for database in Database::ALL {
        psql(shop.settings.target(database), "freeze.sql", &["role=mover", "roles={}"]);
    }
    places.run(&["migrate", "--quiet", "--accept", "trigger"]).expect_code(0);
    let said = places.run(&["cutover"]).expect_code(0);
    assert_words(&said, &["`rollback` could not write to the old database", "sql/grants/rollback.sql"]);
    let mut product = shop.superuser(&shop.settings.product).await;
    product.run("UPDATE products SET stock = 4711, updated_at = '2020-01-01' WHERE id = 1").await.unwrap();
    product.close().await.unwrap();
    let said = places.run(&["rollback", "after-start"]);
    let words = [
        "INSERT on users is missing: GRANT INSERT ON public.users TO mover",
        "ownership of products, which has triggers",
    ];
    assert_refused("grants", &said, &words);
    places.run(&["doctor", "--rollback"]).expect_code(4);
    psql(&shop.settings.source, "rollback.sql", &["role=mover"]);
    let said = places.run(&["doctor", "--rollback", "--json"]);
    let met = said.json()["lines"]
        .as_array()
        .unwrap()
        .iter()
        .any(|l| l["what"] == "rollback" && l["verdict"] == "met");
    assert!(met, "{}", said.stdout);
    let said = places.run(&["rollback", "after-start"]).expect_code(0);
    assert_words(&said, &["triggers that do not fire meanwhile: noted on products"]);
    let row = "SELECT stock || ' ' || updated_at FROM products WHERE id = 1";
    assert_eq!(value(&shop, row).await.as_deref(), Some("4711 2020-01-01 00:00:00+00"));
    assert_eq!(value(&shop, "SELECT count(*)::text FROM audit").await.as_deref(), Some("0"));
    let enabled = "SELECT string_agg(tgname::text || tgenabled::text, ' ' ORDER BY tgname) FROM pg_trigger \
                   WHERE NOT tgisinternal AND tgrelid = 'products'::regclass";
    assert_eq!(value(&shop, enabled).await.as_deref(), Some("notedO quietD"));
}

/// A source that somebody has damaged is brought back from the backup first.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_old_database_is_restored_and_then_taken_back() {
    let shop = cut_over(0).await;
    let before = dump(&shop);
    shop.source().await.run("DELETE FROM payments WHERE id = 1; DROP TABLE schema_migrations").await.unwrap();
    let said = shop.xtask(&["rollback", "before-start"]);
    let run = shop.latest();
    let restore = format!("cargo xtask restore --run {} --in-place", run.id());
    assert_refused(
        "damaged",
        &said,
        &["public.payments: about 1 row", "public.schema_migrations", &restore, "after-start"],
    );
    assert!(shop.manifest().rolled_back.is_empty());
    shop.xtask(&["restore", "--run", run.id(), "--in-place"]).expect_code(0);
    let said = shop.xtask(&["rollback", "before-start"]).expect_code(0);
    assert_eq!(dump(&shop), before);
    // The one that was put aside stays as it was.
    let held = "SELECT count(*)::text FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase \
                WHERE d.datname = current_database()";
    assert_eq!(value(&shop, held).await.as_deref(), Some("0"), "the old services can write: {}", said.stderr);
}

/// A way back whose commit is on disk, and waits for a standby that never answers.
async fn commits_that_wait(shop: &Shop, superuser: &mut Connection) -> Tool {
    shop.target(Database::Order).await.run("UPDATE orders SET status = 'late' WHERE id = 1").await.unwrap();
    superuser.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    superuser.run("SELECT pg_reload_conf()").await.unwrap();
    // Once the checkpointer has read it: until then no commit waits.
    let canceled = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    let waits = wait::for_state("commits to wait", within(60, 20), async || {
        let mut commit = shop.superuser(&shop.settings.source).await;
        let committed =
            tokio::spawn(async move { commit.run("SELECT pg_logical_emit_message(true, 'test', '')").await });
        while !committed.is_finished() {
            if superuser.row(canceled).await?.get::<i64, _>(0) > 0 {
                return Ok(State::Ready(()));
            }
        }
        Ok(State::NotYet("one did not".to_string()))
    });
    waits.await.unwrap();
    Tool::start(shop.command(&["rollback", "after-start", "--json"]))
}

/// The session is lost between the commit and its answer: nobody is let in to the new stores again.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_no_failure() {
    let shop = cut_over(0).await;
    let mut superuser = shop.superuser(&shop.settings.source).await;
    let tool = commits_that_wait(&shop, &mut superuser).await;
    let waiting = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE wait_event = 'SyncRep' AND application_name LIKE '%rollback%'";
    let lost = wait::for_state("a commit that waits", within(60, 20), async || {
        let ended: i64 = superuser.row(waiting).await?.get(0);
        Ok(if ended > 0 { State::Ready(()) } else { State::NotYet(tool.stderr()) })
    });
    lost.await.unwrap();
    superuser.run("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    superuser.run("SELECT pg_reload_conf()").await.unwrap();
    let said = tokio::task::block_in_place(|| tool.ends_within(60)).expect_code(0);
    assert_words(&said, &["it was committed all the same"]);
    assert_eq!(value(&shop, "SELECT status FROM orders WHERE id = 1").await.as_deref(), Some("late"));
    assert_eq!(shop.manifest().rolled_back.len(), 1);
    let mut order = shop.target(Database::Order).await;
    let held =
        order.row("SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%read_only=on%'");
    assert_eq!(held.await.unwrap().get::<i64, _>(0), 1, "the new services stay out");
}

/// The same with a person who interrupts it while the commit waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_while_it_is_committed_lets_nobody_in() {
    let shop = cut_over(0).await;
    let mut superuser = shop.superuser(&shop.settings.source).await;
    let tool = commits_that_wait(&shop, &mut superuser).await;
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event = 'SyncRep' AND application_name LIKE '%rollback%'";
    let waits = wait::for_state("a commit that waits", within(60, 20), async || {
        let waits: i64 = superuser.row(waiting).await?.get(0);
        Ok(if waits > 0 { State::Ready(()) } else { State::NotYet(tool.stderr()) })
    });
    waits.await.unwrap();
    tool.signal(Signal::SIGINT);
    tokio::task::block_in_place(|| tool.ends_within(60)).expect_code(6);
    let held = "SELECT count(*) FROM pg_db_role_setting WHERE setconfig::text LIKE '%read_only=on%'";
    let mut order = shop.target(Database::Order).await;
    assert_eq!(order.row(held).await.unwrap().get::<i64, _>(0), 1, "the new services stay out");
    superuser.run("ALTER SYSTEM RESET synchronous_standby_names").await.unwrap();
    superuser.run("SELECT pg_reload_conf()").await.unwrap();
    shop.xtask(&["rollback", "after-start"]).expect_code(0);
    assert_eq!(value(&shop, "SELECT status FROM orders WHERE id = 1").await.as_deref(), Some("late"));
    assert_eq!(shop.manifest().rolled_back.len(), 1);
}

/// Killed while the old services are let in, after everything else: the same command does that, too.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_services_are_let_in_the_same_command_does_it() {
    let shop = cut_over(0).await;
    let mut superuser = shop.superuser(&shop.settings.source).await;
    let lock = format!(
        "SET default_transaction_read_only = off; BEGIN; ALTER DATABASE {} SET default_transaction_read_only = on",
        shop.settings.source.database
    );
    superuser.run(&lock).await.unwrap();
    let mut tool = Tool::start(shop.command(&["rollback", "before-start", "--json"]));
    let waiting = "SELECT count(*) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock' AND query LIKE 'BEGIN; ALTER DATABASE%'";
    // Within a transaction what is seen of others does not change.
    let mut watcher = shop.superuser(&shop.settings.source).await;
    let waits = wait::for_state("it to wait", within(60, 20), async || {
        let waits: i64 = watcher.row(waiting).await?.get(0);
        Ok(if waits > 0 { State::Ready(()) } else { State::NotYet(tool.stderr()) })
    });
    waits.await.unwrap();
    tool.signal(Signal::SIGKILL);
    tokio::task::block_in_place(|| tool.wait_for_its_end());
    superuser.run("ROLLBACK").await.unwrap();
    shop.xtask(&["rollback", "before-start"]).expect_code(0);
    assert_eq!(state(&shop, "postgres").await, (None, true), "the old services can write");
    assert_eq!(shop.manifest().rolled_back.len(), 1);
}

/// What the services wrote stays in the files, and goes nowhere.
#[tokio::test(flavor = "multi_thread")]
async fn deltas_that_are_kept_change_nothing_but_numbers() {
    let shop = cut_over(0).await;
    let mut order = shop.target(Database::Order).await;
    let writes = "UPDATE orders SET status = 'late' WHERE id = 1; \
                  INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('nobody', 5, now())";
    order.run(writes).await.unwrap();
    let rows = "SELECT md5(string_agg(o::text, '' ORDER BY id)) FROM orders o";
    let before = value(&shop, rows).await;
    let said = shop.xtask(&["rollback", "after-start", "--deltas", "keep"]).expect_code(0);
    assert_words(&said, &["without what the services wrote: it is in rollback/delta"]);
    assert_eq!(value(&shop, rows).await, before);
    let delta = std::fs::read_to_string(shop.latest().file("rollback/delta/orders.csv")).unwrap();
    assert!(delta.contains("late") && delta.contains("nobody"), "{delta}");
    let next: i64 = shop.source().await.row("SELECT nextval('orders_id_seq')").await.unwrap().get(0);
    // The session that wrote has been ended.
    let mut order = shop.target(Database::Order).await;
    let given: i64 = order.row("SELECT max(id)::bigint FROM orders").await.unwrap().get(0);
    assert!(next > given, "{next} was given out by the new service: {given}");
}
