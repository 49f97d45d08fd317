//! A short campaign: runs that are cut, resumed and compared with one that nobody disturbed; and what the
//! comparison sees.

use crate::support::Shop;
use crate::tool::Place;
use datapath::firestore::Unconditional;
use std::fs;
use std::time::Duration;
use xtask::effects::postgres;
use xtask::lab::chaos::oracle::{self, Undisturbed};
use xtask::lab::chaos::point::Point;
use xtask::model::Database;
use xtask::steps::{CommandName, StepName};

/// Every step of the journal, and some faults drawn at random, the second half with a busy source.
#[test]
fn every_cut_run_comes_to_the_same_end() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--cuts", "36", "--seed", "20", "--scale", "0", "--json"]);
    let said = campaign.ends_within(1_200).expect_code(0);
    assert!(!said.stderr.contains("the disk is never filled"), "needs the right to mount: {}", said.stderr);
    let found = said.json();
    assert_eq!(found["differences"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["gaps"], serde_json::json!([]), "{}", said.stderr);
    assert_eq!(found["steps_left"], serde_json::json!([]), "{}", said.stderr);
    assert!(found["steps_cut"].as_array().unwrap().len() > 20, "{}", said.stderr);
    assert!(found["resumes"].as_u64().unwrap() > 20, "{}", said.stderr);
    assert!(found["busy"].as_u64().unwrap() >= 18, "{}", said.stderr);
    place.assert_empty();
}

/// Passes and cut-overs of a shop that goes on writing.
#[test]
fn every_cut_window_ends_with_the_stores_as_the_old_database() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--live", "--cuts", "12", "--seed", "8", "--json"]);
    let said = campaign.ends_within(1_200).expect_code(0);
    let found = said.json();
    assert_eq!(found["failures"], serde_json::json!([]), "{}", said.stderr);
    assert!(found["cuts"].as_u64().unwrap() >= 12, "{}", said.stderr);
    assert!(found["frozen"].as_u64().unwrap() >= 2, "{}", said.stderr);
    assert!(found["transactions"].as_u64().unwrap() > 5_000, "{}", said.stderr);
    place.assert_empty();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_comparison_sees_every_other_end() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let (id, run) = (shop.latest().id().to_string(), shop.latest().path().to_path_buf());
    let mut undisturbed = Undisturbed::read(&shop.settings, &run, Duration::ZERO).await.unwrap();
    let (step, whole) = (StepName::ExportTable("orders".into()), CommandName::Migrate);
    let points = [Point::Step(step), Point::Command(whole)];
    assert!(points.iter().all(|point| undisturbed.steps.contains(point)), "{:?}", undisturbed.steps);
    let nothing: [&str; 0] = [];
    assert_eq!(seen(&shop, &undisturbed).await, nothing);

    // A document, which a run that is proven already writes again.
    let lost = undisturbed.documents.keys().next().unwrap().clone();
    let (collection, document) = lost.split_once('/').unwrap();
    shop.firestore().await.delete(collection, &[document.to_string()]).await.unwrap();
    assert_eq!(seen(&shop, &undisturbed).await, [format!("document {lost} differs")]);
    shop.xtask(&["migrate", "--resume", &id]).expect_code(3);
    assert_eq!(seen(&shop, &undisturbed).await.len(), 2, "it says itself that it is not proven");
    shop.xtask(&["migrate", "--resume", &id]).expect_code(0);
    assert_eq!(seen(&shop, &undisturbed).await, nothing);

    // A row, a sequence, a schema, a session, a file, the end of the journal.
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1").await.unwrap();
    order.run("SELECT nextval('payments_id_seq')").await.unwrap();
    order.run("CREATE SCHEMA xtask_staging").await.unwrap();
    let session = postgres::connect(&shop.settings.source, &format!("{id} load a@b")).await.unwrap();
    fs::write(run.join("notes/of-before.csv"), "").unwrap();
    drop(shop.latest().command(&CommandName::Resume).unwrap());
    let found = seen(&shop, &undisturbed).await.join("\n");
    for words in [
        "orders: ",
        "payments: the next id is ",
        "order: xtask_staging is left over",
        &format!("source: the session `xtask {id} load a@b` is left over"),
        "notes/of-before.csv is in the run's directory",
        "the journal does not say that it is done",
    ] {
        assert!(found.contains(words), "{words}: {found}");
    }
    order.run("UPDATE orders SET total_amount = total_amount - 1 WHERE id = 1").await.unwrap();
    let back = "SELECT setval('payments_id_seq', currval('payments_id_seq') - 1)";
    order.run(back).await.unwrap();
    order.run("DROP SCHEMA xtask_staging").await.unwrap();
    session.close().await.unwrap();
    fs::remove_file(run.join("notes/of-before.csv")).unwrap();
    shop.xtask(&["verify"]).expect_code(0);
    assert_eq!(seen(&shop, &undisturbed).await, nothing);

    // Books that are not those of the undisturbed run.
    undisturbed.export.tables.get_mut("orders").unwrap().source_rows += 1;
    undisturbed.export.files.get_mut("orders.csv").unwrap().sha256.push('0');
    let found = oracle::differences(&shop.settings, &run, Some(&undisturbed)).await.unwrap();
    assert_eq!(found, ["orders: another ledger", "orders.csv: another file"]);

    // Books that do not add up: a row more in the dump, a row less with an outcome.
    assert_eq!(oracle::gaps(&run).unwrap(), nothing);
    let dump = fs::read_to_string(run.join("full_backup.sql")).unwrap();
    let (head, payments) = dump.split_once("COPY public.payments ").unwrap();
    let (columns, rows) = payments.split_once('\n').unwrap();
    let more = format!("{head}COPY public.payments {columns}\n0\n{rows}");
    fs::write(run.join("full_backup.sql"), more).unwrap();
    let mut manifest = shop.manifest();
    let outcomes = &mut manifest.export.as_mut().unwrap().tables.get_mut("orders").unwrap().outcomes;
    *outcomes.rows.get_mut("migrated").unwrap() -= 1;
    shop.latest().save_manifest(&manifest).unwrap();
    let gaps = oracle::gaps(&run).unwrap();
    assert!(gaps.len() == 2 && gaps[0].starts_with("orders: "), "{gaps:?}");
    assert!(gaps[1].starts_with("payments: "), "{gaps:?}");
}

/// What is seen beside an undisturbed run and beside the run's own files, which has to be the same here.
async fn seen(shop: &Shop, undisturbed: &Undisturbed) -> Vec<String> {
    let run = shop.latest().path().to_path_buf();
    let lines = oracle::differences(&shop.settings, &run, Some(undisturbed)).await.unwrap();
    assert_eq!(oracle::differences(&shop.settings, &run, None).await.unwrap(), lines);
    lines
}
