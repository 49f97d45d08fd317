//! Between commands: what the stores say of themselves counts, whatever directory, machine or environment a
//! command comes from. Each refusal leaves stores and run as they were.

use crate::places::Places;
use crate::support::{Said, Shop, assert_refused, assert_words};
use crate::tool::{Place, Tool, targets, with_small_files};
use datapath::document::{Document, Value};
use datapath::firestore::{Fields, Unconditional};
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use xtask::identity::ServerName;
use xtask::model::Database;
use xtask::run::manifest::{Cutover, Manifest};
use xtask::stores::marks::{self, MarkState};

const ADA: &str = "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g";

async fn migrated() -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop
}

/// The binary on this shop's servers, with runs from elsewhere.
fn with_runs(shop: &Shop, runs: &Path, arguments: &[&str]) -> Said {
    let mut command = crate::support::binary();
    command
        .args(crate::support::in_full(arguments))
        .arg("--stack")
        .arg(shop.dir())
        .arg("--backup-dir")
        .arg(runs);
    command.output().unwrap().into()
}

/// A copy of all runs, as they are now.
fn copied(shop: &Shop) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    let copying = Command::new("cp").arg("-a").arg(shop.runs.path().join(".")).arg(copy.path()).status();
    assert!(copying.unwrap().success());
    copy
}

/// Everything that the stores hold, marks included.
async fn stores(shop: &Shop) -> (Vec<String>, BTreeMap<String, BTreeMap<String, Option<Fields>>>) {
    let mut documents = BTreeMap::new();
    for collection in ["users", "user_sessions", marks::COLLECTION] {
        documents.insert(collection.to_string(), shop.documents(collection).await);
    }
    (targets(shop).await, documents)
}

fn changed(shop: &Shop, change: impl FnOnce(&mut Manifest)) {
    let run = shop.latest();
    let mut manifest = run.load_manifest().unwrap();
    change(&mut manifest);
    run.save_manifest(&manifest).unwrap();
}

async fn state_of_firestore(shop: &Shop) -> Option<Value> {
    let document = shop.documents(marks::COLLECTION).await.remove(marks::DOCUMENT)??;
    document.get("state").cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_while_it_verifies_is_not_forgotten() {
    let shop = migrated().await;
    let mut holder = shop.superuser(&shop.settings.order).await;
    holder.run("BEGIN; LOCK TABLE orders").await.unwrap();
    let mut verify = Tool::start(shop.command(&["verify"]));
    verify.wait_for_words("Phase 5");
    changed(&shop, |manifest| {
        manifest.cutover = Some(Cutover { at: "2026-01-01T00:00:00Z".into(), ..Cutover::default() })
    });
    holder.run("COMMIT").await.unwrap();
    let said = tokio::task::block_in_place(|| verify.ends_within(60)).expect_code(4);
    assert_words(&said, &["the cut-over of run", "this proof is not kept", "cargo xtask verify --run"]);
    assert!(shop.manifest().cutover.is_some(), "the cut-over is forgotten");

    // Another part of the manifest stays, whoever writes.
    changed(&shop, |manifest| manifest.cutover = None);
    holder.run("BEGIN; LOCK TABLE orders").await.unwrap();
    let mut verify = Tool::start(shop.command(&["verify"]));
    verify.wait_for_words("Phase 5");
    changed(&shop, |manifest| manifest.accepted = vec!["by another".into()]);
    holder.run("COMMIT").await.unwrap();
    tokio::task::block_in_place(|| verify.ends_within(60)).expect_code(0);
    assert_eq!(shop.manifest().accepted, ["by another"]);
}

/// What services do after the cut-over: they change, add and delete.
async fn services_work(shop: &Shop) {
    let mut order = shop.target(Database::Order).await;
    order
        .run("UPDATE orders SET status = 'shipped' WHERE id = 1; DELETE FROM payments WHERE id = 1")
        .await
        .unwrap();
    let firestore = shop.firestore().await;
    firestore.delete("users", &[ADA.to_string()]).await.unwrap();
    let fields = vec![("email", Value::Text("new@example.com".into()))];
    firestore.set("users", &Document { id: "aUserOfTheService".into(), fields }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_a_run_does_not_undo_the_services_work() {
    let shop = migrated().await;
    let run = shop.latest().id().to_string();
    let copy = copied(&shop);
    shop.xtask(&["cutover"]).expect_code(0);
    assert_eq!(state_of_firestore(&shop).await, Some(Value::Text("cut-over".into())));
    services_work(&shop).await;
    let before = stores(&shop).await;
    for (arguments, code, words) in [
        (&["import"][..], 4, &["the services took over from run", "nothing takes its place"][..]),
        (&["migrate"], 4, &["the services took over from run"]),
        (&["migrate", "--replace"], 4, &["the services took over from run"]),
        // The user and the payment that the services have deleted are conflicts, and stay away.
        (&["repair", "--apply", "--show-values"], 3, &["conflict, left alone", "were added by the services"]),
        (&["verify"], 3, &["of the run's rows are missing", "after the cut-over at"]),
        (&["replay"], 0, &["Nothing to do"]),
        (&["migrate", "--resume", &run], 3, &["only verified once more", "of the run's rows are missing"]),
    ] {
        // Each from a copy that knows nothing.
        let copy = {
            let fresh = tempfile::tempdir().unwrap();
            let copying = Command::new("cp").arg("-a").arg(copy.path().join(".")).arg(fresh.path()).status();
            assert!(copying.unwrap().success());
            fresh
        };
        let said = with_runs(&shop, copy.path(), arguments).expect_code(code);
        assert_words(&said, words);
        assert!(stores(&shop).await == before, "{arguments:?} has changed a store");
    }
}

/// A second machine has the runs as they were before the cut-over, a third one as they were after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_taken_back_is_so_for_every_copy() {
    let shop = migrated().await;
    let run = shop.latest().id().to_string();
    let before_cutover = copied(&shop);
    shop.xtask(&["cutover"]).expect_code(0);
    let after_cutover = copied(&shop);
    shop.xtask(&["rollback", "before-start"]).expect_code(0);
    let taken_back = stores(&shop).await;
    for copy in [&before_cutover, &after_cutover] {
        for arguments in [
            &["cutover"][..],
            &["verify"],
            &["repair", "--apply"],
            &["replay"],
            &["import"],
            &["migrate", "--resume", &run],
        ] {
            let said = with_runs(&shop, copy.path(), arguments);
            assert_refused(
                &format!("{arguments:?}"),
                &said,
                &["was taken back already, at", "(before-start)"],
            );
            assert!(stores(&shop).await == taken_back, "{arguments:?} has changed a store");
        }
    }
}

/// The way back from a machine that has heard neither of the cut-over nor of the freeze.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_before_the_cut_over_takes_it_back_all_the_same() {
    let shop = migrated().await;
    let copy = copied(&shop);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.target(Database::Order).await.run("UPDATE orders SET status = 'late' WHERE id = 1").await.unwrap();
    let said = with_runs(&shop, copy.path(), &["rollback", "before-start"]);
    assert_refused("used", &said, &["the new stores have been used: orders 0 new, 1 changed, 0 gone"]);
    let said = with_runs(&shop, copy.path(), &["rollback", "after-start"]).expect_code(0);
    let by_hand = "ALTER DATABASE \"ecommerce_db\" RESET default_transaction_read_only";
    assert_words(&said, &["is taken back (after-start)", "the old database is still read-only", by_hand]);
    let late = shop.source().await.row("SELECT status FROM orders WHERE id = 1").await.unwrap();
    assert_eq!(late.get::<String, _>(0), "late");
    // Where it was frozen it is known, and given back.
    let said = shop.xtask(&["unfreeze", "--run", shop.latest().id()]).expect_code(0);
    assert_words(&said, &["default_transaction_read_only reset"]);
}

/// A replay that another copy has made changed what the stores hold: this one does not know what the run wrote.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_from_before_a_replay_takes_nothing_back() {
    let shop = migrated().await;
    let copy = copied(&shop);
    let fix = "UPDATE orders SET user_id = (SELECT min(id) FROM users WHERE firebase_uid <> '' AND deleted_at IS NULL) \
               WHERE user_id IS NULL";
    shop.source().await.run(fix).await.unwrap();
    shop.xtask(&["replay"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    let before = stores(&shop).await;
    let said = with_runs(&shop, copy.path(), &["rollback", "after-start"]);
    assert_refused("older", &said, &["is not the newest of run", "use that copy"]);
    assert!(stores(&shop).await == before);
    shop.xtask(&["rollback", "before-start"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_store_that_says_so_speaks_for_all() {
    let shop = migrated().await;
    let run = shop.latest().id().to_string();
    // As a cut-over leaves it that was killed after its first mark.
    let mark = xtask::sql::bind(
        xtask::sql_file!("phases/marks/cutover.sql"),
        &[("run", &run), ("environment", "local"), ("state", "cutting-over")],
    );
    shop.target(Database::Product).await.run(&mark).await.unwrap();
    let before = stores(&shop).await;
    for arguments in [&["import"][..], &["migrate"], &["migrate", "--replace"]] {
        let said = shop.xtask(arguments).expect_code(4);
        assert_words(&said, &["the cut-over of run", "began at", "product_database"]);
        assert!(stores(&shop).await == before, "{arguments:?} has changed a store");
    }
    // The source has moved on meanwhile: it has to be migrated again, which the mark does not prevent.
    let (there, back) =
        ("SET login_count = login_count + 1 WHERE id = 1", "SET login_count = login_count - 1 WHERE id = 1");
    shop.source().await.run(&format!("UPDATE users {there}")).await.unwrap();
    assert_words(
        &shop.xtask(&["cutover"]).expect_code(4),
        &["was never recorded, and is taken back", "has changed"],
    );
    shop.xtask(&["migrate", "--replace", "--dry-run"]).expect_code(0);
    shop.source().await.run(&format!("UPDATE users {back}")).await.unwrap();
    shop.target(Database::Product).await.run(&mark).await.unwrap();
    // Once more completes it, in every store.
    shop.xtask(&["cutover"]).expect_code(0);
    for database in Database::ALL {
        let state = shop.target(database).await.row("SELECT state FROM xtask.cutover").await.unwrap();
        assert_eq!(sqlx::Row::get::<String, _>(&state, 0), "cut-over", "{database}");
    }
    assert_eq!(state_of_firestore(&shop).await, Some(Value::Text("cut-over".into())));

    // Recorded in the run, and then cut off before the stores were told.
    for database in Database::ALL {
        shop.target(database).await.run("DROP TABLE xtask.cutover").await.unwrap();
    }
    assert_words(&shop.xtask(&["cutover"]).expect_code(0), &["has been cut over already"]);
    for database in Database::ALL {
        shop.target(database).await.row("SELECT state FROM xtask.cutover").await.unwrap();
    }
    let said = shop.xtask(&["import"]).expect_code(4);
    assert_words(&said, &["the services took over"]);
    assert!(
        said.stderr.contains("\nnext: cargo xtask verify --run "),
        "it would be refused again: {}",
        said.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cutover_that_is_taken_back_stands_in_no_store_any_more() {
    let shop = migrated().await;
    // As one leaves it that was killed when every store had been told that it has begun.
    marks::record_cutover(&shop.ctx_of(shop.latest()), MarkState::CuttingOver).await.unwrap();
    assert_eq!(state_of_firestore(&shop).await, Some(Value::Text("cutting-over".into())));
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(4);
    assert_words(&said, &["the cut-over of run", "began at", "nothing takes its place"]);

    // The source has moved on: the cut-over has no use, and the way to a new run has to be free.
    shop.source().await.run("UPDATE users SET login_count = login_count + 1 WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(&said, &["was never recorded, and is taken back", "users"]);
    for database in Database::ALL {
        let rows = shop.target(database).await.rows("SELECT state FROM xtask.cutover").await.unwrap();
        assert!(rows.is_empty(), "{database} says still that a cut-over has begun");
    }
    assert_eq!(state_of_firestore(&shop).await, Some(Value::Text("published".into())));
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_place_was_taken_is_none_to_go_by() {
    let shop = migrated().await;
    let first = shop.latest().id().to_string();
    // Cut off before it wrote anything: it was to take the first one's place.
    let cut_off = with_small_files(&shop.command(&["migrate", "--replace"])).output().unwrap();
    Said::from(cut_off).expect_code(1);
    let cut_off = shop.latest().id().to_string();
    shop.xtask(&["migrate", "--replace", "--quiet"]).expect_code(0);
    let newest = shop.latest().id().to_string();
    let before = stores(&shop).await;
    for arguments in [&["verify"][..], &["repair"], &["repair", "--apply"], &["replay"], &["cutover"]] {
        let said = shop.xtask(&[arguments, &["--run", &first]].concat()).expect_code(4);
        assert_words(&said, &[&format!("holds run {newest}"), &format!("say --run {newest}")]);
    }
    let said = shop.xtask(&["migrate", "--resume", &cut_off]).expect_code(4);
    assert_words(&said, &[&format!("run {newest} was brought to"), &format!("the place of run {first}")]);
    assert!(stores(&shop).await == before, "a store has changed");
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_older_than_a_replay_is_known() {
    let shop = migrated().await;
    let copy = copied(&shop);
    let fix = "UPDATE orders SET user_id = 1 WHERE id = 930";
    shop.source().await.run(fix).await.unwrap();
    shop.xtask(&["replay"]).expect_code(0);
    shop.xtask(&["verify"]).expect_code(0);
    let before = stores(&shop).await;
    for arguments in [&["verify"][..], &["repair"], &["repair", "--apply"]] {
        let said = with_runs(&shop, copy.path(), arguments).expect_code(4);
        assert_words(&said, &["is not the newest of run", "another copy", "cargo xtask replay --run"]);
        assert!(stores(&shop).await == before, "{arguments:?} has changed a store");
    }
    // What it advises.
    with_runs(&shop, copy.path(), &["replay"]).expect_code(0);
    with_runs(&shop, copy.path(), &["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_belongs_to_its_servers() {
    let (shop, other) = tokio::join!(migrated(), migrated());
    let proof = shop.manifest().proof.unwrap().finished;
    let before = (stores(&shop).await, stores(&other).await);
    let verbs = [&["verify"][..], &["import"], &["repair", "--apply"], &["replay"], &["cutover"]];
    for arguments in verbs {
        let said = with_runs(&other, shop.runs.path(), arguments).expect_code(4);
        assert_words(&said, &["belongs to"]);
        // Another environment of the same servers.
        let name = shop.manifest().environment;
        changed(&shop, |manifest| manifest.environment = "staging".into());
        let run = shop.latest().id().to_string();
        let said = shop.xtask(&[arguments, &["--run", &run]].concat()).expect_code(4);
        assert_words(&said, &["is of environment `staging`", "--env staging"]);
        assert_words(&shop.xtask(arguments).expect_code(4), &["no run in", "is of environment `local`"]);
        changed(&shop, |manifest| manifest.environment = name);
    }
    assert_eq!(shop.manifest().proof.unwrap().finished, proof, "a proof taken elsewhere was kept");
    assert!((stores(&shop).await, stores(&other).await) == before, "a store has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_replaced_on_purpose_is_taken_in_once_it_is_proven() {
    let shop = migrated().await;
    let recorded = |shop: &Shop| shop.manifest().servers.databases[&ServerName::Product].clone();
    let before = recorded(&shop);
    let mut server = shop.settings.product.clone();
    let database = std::mem::replace(&mut server.database, "postgres".into());
    let mut superuser = shop.superuser(&server).await;
    for statement in [
        format!("ALTER DATABASE {database} RENAME TO kept_aside"),
        format!("CREATE DATABASE {database} TEMPLATE kept_aside OWNER {}", server.user),
    ] {
        superuser.run(&statement).await.unwrap();
    }
    for arguments in [&["verify"][..], &["repair"], &["verify", "--adopt", "order"]] {
        let said = shop.xtask(arguments).expect_code(4);
        assert_words(&said, &["product at", "another database of that cluster", "--adopt product"]);
    }
    let mut product = shop.target(Database::Product).await;
    product.run("UPDATE products SET stock = stock + 1 WHERE id = 1").await.unwrap();
    shop.xtask(&["verify", "--adopt", "product"]).expect_code(3);
    assert_eq!(recorded(&shop), before, "taken in without a proof");
    product.run("UPDATE products SET stock = stock - 1 WHERE id = 1").await.unwrap();
    shop.xtask(&["verify", "--adopt", "product"]).expect_code(0);
    assert_ne!(recorded(&shop), before);
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_of_another_environment_is_not_shared() {
    let shop = migrated().await;
    let mut state = shop.documents(marks::COLLECTION).await.remove(marks::DOCUMENT).unwrap().unwrap();
    state.insert("environment".into(), Value::Text("staging".into()));
    let names = ["environment", "run", "state", "at"];
    let fields = names.map(|name| (name, state[name].clone())).to_vec();
    shop.firestore()
        .await
        .set(marks::COLLECTION, &Document { id: marks::DOCUMENT.into(), fields })
        .await
        .unwrap();
    let before = stores(&shop).await;
    for arguments in [&["migrate", "--replace"][..], &["import"], &["verify"], &["repair", "--apply"]] {
        let said = shop.xtask(arguments).expect_code(4);
        assert_words(&said, &["are those of environment `staging`", "a project or database of its own"]);
        assert!(stores(&shop).await == before, "{arguments:?} has changed a store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yesterdays_rules_hold_for_yesterdays_run() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    places.run(&["migrate", "--quiet"]).expect_code(0);
    // The environment file says something else today.
    for arguments in [&["verify"][..], &["repair"]] {
        places.run_with("\n[policy]\n", "\n[policy]\nnull_policy = \"keep\"\n", arguments).expect_code(0);
    }
    changed(&shop, |manifest| {
        manifest.tool.version = "99.0.0".into();
        manifest.proof = None;
    });
    let said = places.run(&["migrate", "--resume", "latest"]).expect_code(4);
    assert_words(&said, &["another version of this tool", "99.0.0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_is_the_newest_whatever_the_clock_says() {
    let shop = migrated().await;
    let first = shop.latest();
    // A clock that was ahead.
    let ahead = shop.runs.path().join("29990101_000000");
    fs::rename(first.path(), &ahead).unwrap();
    changed(&shop, |manifest| manifest.run = "29990101_000000".into());
    shop.xtask(&["export"]).expect_code(0);
    let newest = shop.latest().id().to_string();
    assert_eq!(newest, "29990101_000001");

    fs::remove_file(shop.latest().file("manifest.json")).unwrap();
    for arguments in [&["verify"][..], &["import"], &["status"]] {
        let said = shop.xtask(arguments).expect_code(4);
        assert_words(&said, &["the newest run, 29990101_000001, has lost its manifest", "--run"]);
    }
}

/// Two stacks of one checkout: somebody else's is neither taken nor taken down.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_local_stacks_none_is_taken_in_silence() {
    let place = Place::new();
    let run = |arguments: &[&str]| tokio::task::block_in_place(|| place.start(arguments).ends_within(120));
    run(&["stack", "up", "--scale", "0"]).expect_code(0);
    let first = place.stacks().remove(0).display().to_string();
    let runs = place.path().join("runs").display().to_string();
    run(&["migrate", "--quiet", "--backup-dir", &runs]).expect_code(0);
    run(&["stack", "up", "--scale", "0"]).expect_code(0);
    let stacks: Vec<String> = place.stacks().iter().map(|stack| stack.display().to_string()).collect();
    let second = stacks.iter().find(|stack| **stack != first).unwrap();

    // A run finds the servers that it worked on, whichever were started last.
    run(&["verify", "--backup-dir", &runs]).expect_code(0);
    let other = place.path().join("other").display().to_string();
    for arguments in [&["migrate", "--backup-dir", &other][..], &["doctor"], &["stack", "down"]] {
        let said = run(arguments).expect_code(4);
        assert_words(
            &said,
            &["several local stacks", &format!("--stack {first}"), &format!("--stack {second}")],
        );
    }
    run(&["verify", "--backup-dir", &runs, "--stack", second]).expect_code(4);
    run(&["stack", "down", "--stack", &first]).expect_code(0);
    assert_eq!(place.stacks(), [PathBuf::from(second)]);
    run(&["doctor"]).expect_code(0);
    run(&["stack", "down"]).expect_code(0);
    assert_eq!(place.stacks(), Vec::<PathBuf>::new());
}
