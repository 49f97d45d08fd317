//! The plan: it touches nothing, says what `migrate` then finds, and refuses what `migrate` refuses.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/places.rs"]
mod places;
mod support;
#[path = "support/tool.rs"]
mod tool;

use places::Places;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use support::{Said, Shop};
use xtask::model::Database;

/// Everything in the databases, and every document of every collection that this tool knows of.
async fn everything(shop: &Shop) -> Vec<String> {
    let mut all = vec![tool::contents(&mut shop.superuser(&shop.settings.source).await).await];
    for database in Database::ALL {
        all.push(tool::contents(&mut shop.superuser(shop.settings.target(database)).await).await);
    }
    let firestore = shop.firestore().await;
    for collection in ["users", "user_sessions", "xtask_nowhere", "xtask_doctor"] {
        let mut ids = Vec::new();
        firestore
            .ids(collection, |page| {
                ids.extend(page);
                Ok(())
            })
            .await
            .unwrap();
        for piece in ids.chunks(500) {
            let read = firestore.read(collection, piece).await.unwrap();
            all.extend(read.iter().map(|document| format!("{collection}: {document:?}")));
        }
    }
    all
}

/// Every file beneath a directory, with what it holds.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.insert(path.display().to_string(), Vec::new());
                found.extend(files(&path));
            }
            false => drop(found.insert(path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_touched_and_what_is_said_comes_true() {
    let shop = Shop::open(1).await;
    // A temporary directory of its own, in which nothing else goes on.
    let temporary = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Said {
        shop.command(arguments).env("TMPDIR", temporary.path()).output().unwrap().into()
    };
    let before = (everything(&shop).await, files(shop.runs.path()), files(temporary.path()));
    let plan = run(&["plan", "--json"]).expect_code(0).json();
    let said = run(&["plan"]).expect_code(0);
    let dry: Vec<Said> = [["migrate", "-n"], ["migrate", "--dry-run"]].map(|a| run(&a).expect_code(0)).into();
    let after = (everything(&shop).await, files(shop.runs.path()), files(temporary.path()));
    assert!(after == before, "something has changed");

    for words in
        ["Left behind by a rule", "user_deleted", "uid_not_an_id", "no prices in the environment", "Time"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
        assert!(dry.iter().all(|said| said.stdout.contains(words)), "{words}");
    }
    assert!(said.stderr.contains("nothing is touched") && said.stderr.contains("next: cargo xtask migrate"));
    let hazard = plan["hazards"].as_array().unwrap().iter().find(|h| h["name"] == "uid_missing").unwrap();
    assert!(hazard["count"].as_u64().unwrap() > 0 && !hazard["sample"].as_array().unwrap().is_empty());
    assert_eq!(hazard["blocking"], false);

    let report = run(&["migrate", "--json"]).expect_code(0).json();
    for (planned, done) in plan["tables"].as_array().unwrap().iter().zip(report["tables"].as_array().unwrap())
    {
        assert_eq!(planned["table"], done["table"]);
        assert_eq!(planned["rows"], done["source_rows"], "{planned}");
        assert_eq!(planned["outcomes"]["rows"], done["outcomes"], "{planned}");
        assert!(planned["bytes"].as_u64().unwrap() > 0, "{planned}");
    }
    let migrated = |name: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|t| t["table"] == name).unwrap()["sums"]["migrated"].as_u64().unwrap()
    };
    assert_eq!(plan["documents"]["writes"], migrated("users") + migrated("user_sessions"));
    let written: u64 = files(shop.latest().path()).values().map(|f| f.len() as u64).sum();
    let needed = plan["disk"]["needed"].as_u64().unwrap();
    assert!(needed > written / 2, "{needed} for {written}");

    // Predicted and real stand side by side, in the manifest and in the report.
    let time = shop.manifest().time.unwrap();
    let real = time.real.unwrap();
    assert!(time.predicted.total() > 0.0 && real.export > 0.0 && real.import > 0.0 && real.verify > 0.0);
    for part in ["1+2 backup, export", "3+4 import", "5 verify", "all phases"] {
        assert!(report["predicted"][part].as_f64().unwrap() > 0.0, "{part}: {}", report["predicted"]);
        assert!(report["seconds"][part].as_f64().unwrap() > 0.0, "{part}: {}", report["seconds"]);
    }
    // The next plan knows of it, and that it would be refused.
    let said = run(&["plan"]).expect_code(4);
    assert!(said.stdout.contains("corrected by what 1 earlier runs"), "{}", said.stdout);
    for words in ["migrate would be refused", "orders in order", "collection users"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert!(said.stderr.contains("migrate would be refused for"), "{}", said.stderr);
}

#[tokio::test]
async fn what_it_costs_and_what_migrate_would_refuse() {
    let shop = Shop::open(0).await;
    let mut places = Places::of(&shop, None);
    let prices = |writes: f64, max: f64| {
        format!(
            "max_cost = {max}\n[firestore.prices]\nwrites = {writes}\nreads = 0.0\ndeletes = 0.02\ncurrency = \"EUR\"\n\n[policy]\n"
        )
    };
    let documents =
        places.run(&["plan", "--json"]).expect_code(0).json()["documents"]["writes"].as_u64().unwrap();
    assert!(documents > 10);
    let dear = prices(100_000.0, documents as f64 - 0.5);
    let enough = prices(100_000.0, documents as f64 + 0.5);
    let before = everything(&shop).await;
    let said = places.run_with("\n[policy]\n", &dear, &["plan"]).expect_code(4);
    for words in [&format!("about {documents}.00 EUR")[..], "firestore.max_cost", "migrate would be refused"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let said = places.run_with("\n[policy]\n", &dear, &["migrate"]).expect_code(4);
    for words in [&format!("cost about {documents}.00 EUR")[..], "No target has been written", "raise it"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    let said = places.run_with("\n[policy]\n", &dear, &["import"]).expect_code(4);
    assert!(said.stderr.contains("firestore.max_cost"), "{}", said.stderr);
    assert!(everything(&shop).await == before, "something has changed");

    let said = places.run_with("\n[policy]\n", &enough, &["plan", "--max-quarantine", "0"]).expect_code(5);
    assert!(said.stdout.contains("too many rows in quarantine"), "{}", said.stdout);
    places.run_with("\n[policy]\n", &enough, &["plan"]).expect_code(0);
    places.text = places.text.replacen("\n[policy]\n", &enough, 1);
    places.run(&["migrate"]).expect_code(0);
}
