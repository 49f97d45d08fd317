//! As of when a run is proven, and when the services take over: a source that has changed is named table
//! by table and keeps the cut-over from being done; before it a foreign row is damage, after it the
//! services' work, and what is lost is found in both.

use crate::source::{log_in, run, state};
use crate::support::{Shop, assert_words};
use crate::tool::Tool;
use datapath::document::{Document, Value};
use datapath::firestore::Unconditional;
use nix::sys::signal::Signal;
use serde_json::json;
use std::fs;
use xtask::model::Database;
use xtask::run::manifest::Cutover;

const OPEN: (Option<String>, bool) = (None, true);

fn read_only() -> (Option<String>, bool) {
    (Some("default_transaction_read_only=on".to_string()), true)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changed_is_said_and_keeps_the_cutover_from_being_done() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    source.run("CREATE TABLE old (id integer); CREATE SEQUENCE tickets").await.unwrap();
    let mut migrate = Tool::start(shop.command(&["migrate", "--json"]));
    migrate.wait_for_words("Phases 3 and 4");
    // What is written now comes after the snapshot, and before the second look.
    migrate.signal(Signal::SIGSTOP);
    let writes = "UPDATE users SET login_count = login_count + 1 WHERE id IN (1, 2); \
                  INSERT INTO categories (name, created_at) SELECT 'new', now() FROM generate_series(1, 3); \
                  DROP TABLE old; CREATE TABLE fresh AS SELECT 1 AS id; SELECT nextval('tickets')";
    source.run(writes).await.unwrap();
    migrate.signal(Signal::SIGCONT);
    let said = tokio::task::block_in_place(|| migrate.ends_within(60)).expect_code(0);
    let report = said.json();
    assert_eq!(report["proven"], true);
    let changed = report["source"]["changed"].as_object().unwrap();
    let names: Vec<&String> = changed.keys().collect();
    assert_eq!(names, ["public.categories", "public.fresh", "public.old", "public.users"]);
    assert_eq!(changed["public.fresh"], json!({ "new": { "rows": 1 } }));
    assert_eq!(changed["public.old"], "dropped");
    assert_eq!(changed["public.categories"]["rows"]["about"], 3);
    assert!(changed["public.users"]["rows"].is_object());
    // A table's own sequence goes with it; one that moved alone is said apart.
    assert_eq!(report["source"]["sequences"], json!(["public.tickets: 1, was not used"]));

    let said = shop.xtask(&["verify"]).expect_code(0);
    assert_words(&said, &["proven as of the snapshot", "changed until", "in 4 tables", "freeze"]);
    assert_words(&said, &["! public.categories: about 3 rows", "public.old: the table is gone"]);
    assert_words(&said, &["before the cut-over: whatever is not this run's is damage"]);
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(
        &said,
        &["the source has changed since the snapshot", "public.users: about", "public.old", "freeze"],
    );
    assert_eq!(state(&shop, "postgres").await, OPEN);
    assert!(shop.manifest().cutover.is_none());

    // The same rows again: only numbers have been given out in vain.
    let back = "UPDATE users SET login_count = login_count - 1 WHERE id IN (1, 2); \
                DELETE FROM categories WHERE name = 'new'; DROP TABLE fresh; CREATE TABLE old (id integer)";
    source.run(back).await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(
        &said,
        &["✓ CUT OVER run ", "the source is read-only", "order-service", "http://localhost:8080/api/orders"],
    );
    assert_words(
        &said,
        &["next: start the services (the source stays read-only), then cargo xtask smoke --run"],
    );
    let manifest = shop.manifest();
    let check = manifest.source.unwrap();
    assert!(check.unchanged());
    assert_eq!(check.sequences.len(), 2, "{:?}", check.sequences);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_cutover_it_is_damage_and_after_it_the_services_work() {
    let shop = Shop::open(0).await;
    let said = shop.xtask(&["migrate"]).expect_code(0);
    assert_words(&said, &["unchanged until", "next: cargo xtask cutover --run"]);
    let mut product = shop.target(Database::Product).await;
    let add = "INSERT INTO categories (name, created_at) VALUES ('theirs', now())";
    product.run(add).await.unwrap();

    let said = shop.xtask(&["verify"]).expect_code(3);
    assert_words(&said, &["before the cut-over", "is not of this run"]);
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(&said, &["the last proof of run", "findings"]);
    product.run("DELETE FROM categories WHERE name = 'theirs'").await.unwrap();
    shop.xtask(&["verify"]).expect_code(0);
    // Damaged after the proof: found by the cut-over's own look, and nobody is left behind frozen.
    product.run(add).await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(3);
    assert_words(
        &said,
        &["is not of this run", "nothing has been cut over", "the source is not frozen any more"],
    );
    assert_eq!(state(&shop, "postgres").await, OPEN);
    assert!(shop.manifest().cutover.is_none());
    product.run("DELETE FROM categories WHERE name = 'theirs'").await.unwrap();
    // Interrupted midway: as if nothing had been.
    let mut interrupted = Tool::start(shop.command(&["cutover"]));
    interrupted.wait_for_words("the source is frozen");
    interrupted.signal(Signal::SIGTERM);
    tokio::task::block_in_place(|| interrupted.ends_within(30)).expect_code(6);
    assert_eq!(state(&shop, "postgres").await, OPEN);

    let done = shop.xtask(&["cutover", "--json"]).expect_code(0).json();
    assert_eq!(done["before"], false);
    assert_eq!(state(&shop, "postgres").await, read_only());
    let mut late = log_in(&shop.settings.source, "postgres").await.unwrap();
    let error = run(&mut late, "DELETE FROM orders").await.unwrap_err().to_string();
    assert!(error.contains("read-only"), "{error}");
    drop(late);
    let manifest = shop.manifest();
    let cutover: Cutover = manifest.cutover.unwrap();
    assert_eq!(cutover.source, manifest.backup.unwrap().raw);
    let export = manifest.export.unwrap();
    for (name, table) in &export.tables {
        let store = &cutover.stores[name];
        assert_eq!(store.content.rows, table.content.total().rows, "{name}");
        if let Some(sequence) = store.sequence {
            assert_eq!(store.content, table.content.total(), "{name}");
            assert!(sequence.next() >= table.sequence.next(), "{name}");
        }
    }
    assert!(cutover.stores["users"].content.sum != 0);
    let journal = fs::read_to_string(shop.latest().file("journal.jsonl")).unwrap();
    assert!(journal.contains("\\\"source_sequences\\\""), "{journal}");
    let at = cutover.at.as_str();
    let told = xtask::shown::utc(at);
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(&said, &["has been cut over already, at", &told]);

    // The services at work.
    let work = format!(
        "{add}; UPDATE categories SET name = name || '!' WHERE id = (SELECT min(id) FROM categories); \
                ALTER TABLE products ADD COLUMN colour text"
    );
    product.run(&work).await.unwrap();
    let mut order = shop.target(Database::Order).await;
    let theirs = "INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('new-user', 1, now())";
    order.run(theirs).await.unwrap();
    let firestore = shop.firestore().await;
    let new = Document { id: "new-user".into(), fields: vec![("email", Value::Text("n@x".into()))] };
    firestore.set("users", &new).await.unwrap();
    let mut ids = Vec::new();
    firestore
        .ids("users", |page| {
            ids.extend(page);
            Ok(())
        })
        .await
        .unwrap();
    let ours = ids.iter().find(|id| *id != "new-user").unwrap().clone();
    let changed = Document { id: ours.clone(), fields: vec![("email", Value::Text("c@x".into()))] };
    firestore.set("users", &changed).await.unwrap();
    let said = shop.xtask(&["verify"]).expect_code(0);
    assert_words(
        &said,
        &["after the cut-over at", &told, "the services' work", "to what the services made since: 1"],
    );
    for line in [
        "categories        1 rows added, 1 changed",
        "users             1 rows added, 1 changed",
        "orders            1 rows added, 0 changed",
    ] {
        assert_words(&said, &[line]);
    }
    let report = shop.xtask(&["verify", "--json"]).expect_code(0).json();
    assert_eq!(report["cutover"], json!(at));
    assert_eq!(
        report["tables"].as_array().unwrap().iter().find(|t| t["table"] == "categories").unwrap()["services"],
        json!({ "added": 1, "changed": 1 })
    );

    // What of ours is not there any more is found as before.
    let row = order
        .row("DELETE FROM payments WHERE id = (SELECT min(id) FROM payments) RETURNING id::text")
        .await
        .unwrap();
    let id: String = sqlx::Row::get(&row, 0);
    firestore.delete("users", std::slice::from_ref(&ours)).await.unwrap();
    let said = shop.xtask(&["verify"]).expect_code(3);
    assert_words(
        &said,
        &["payments: 1 of the run's rows are missing", &format!("payments id {id}: is missing")],
    );
    assert_words(
        &said,
        &["users: 1 of the run's documents are missing", &format!("users/{ours}: is missing")],
    );

    // The source stays as it is, unless somebody says which run they mean.
    let run_id = shop.latest().id().to_string();
    let said = shop.xtask(&["unfreeze"]).expect_code(4);
    assert_words(&said, &["was cut over at", &told, &format!("unfreeze --run {run_id}")]);
    assert_eq!(state(&shop, "postgres").await, read_only());
    shop.xtask(&["unfreeze", "--run", &run_id]).expect_code(0);
    assert_eq!(state(&shop, "postgres").await, OPEN);
}

/// Interrupted after the instant of the cut-over and before the last store knows of it, the source stays held back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_is_not_undone_by_an_interrupt() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    // The second word about it has to wait there.
    let slow = "CREATE SCHEMA IF NOT EXISTS xtask; \
                CREATE TABLE xtask.cutover (only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one), run text NOT NULL, \
                    environment text NOT NULL, state text NOT NULL, at timestamptz NOT NULL DEFAULT now()); \
                CREATE FUNCTION xtask.slow() RETURNS trigger LANGUAGE plpgsql AS \
                $$BEGIN PERFORM pg_sleep(600); RETURN NEW; END$$; \
                CREATE TRIGGER slow BEFORE UPDATE ON xtask.cutover FOR EACH ROW EXECUTE FUNCTION xtask.slow()";
    let mut gateway = shop.target(Database::Gateway).await;
    gateway.run(slow).await.unwrap();
    let mut cutover = Tool::start(shop.command(&["cutover"]));
    let book = shop.runs.path().join("freezes.jsonl");
    let recorded = || fs::read_to_string(&book).is_ok_and(|text| text.contains("\"event\":\"cutover\""));
    tokio::task::block_in_place(|| cutover.wait_for("the record of the cut-over", recorded));
    cutover.signal(Signal::SIGINT);
    let said = tokio::task::block_in_place(|| cutover.ends_within(60));
    assert_ne!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    assert_words(&said, &["has been cut over: the source stays frozen"]);
    assert_eq!(state(&shop, "postgres").await, read_only());
    gateway.run("DROP FUNCTION xtask.slow() CASCADE").await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(0);
    assert_words(&said, &["has been cut over already"]);
    assert_eq!(state(&shop, "postgres").await, read_only());
}
