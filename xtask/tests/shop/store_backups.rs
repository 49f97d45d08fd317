//! `backup --target`: each new store by itself, whole, from one instant, private; what is unfinished or old goes,
//! what counts stays.

use crate::places::Places;
use crate::support::{Shop, assert_refused, assert_words, says};
use crate::tool::targets;
use datapath::document::{Document, Value};
use datapath::firestore::{Unconditional, Whole};
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use xtask::model::Database;
use xtask::operations::store_backups::{self, Content, Held, StoreManifest, Target};

fn stores(shop: &Shop) -> PathBuf {
    store_backups::directory(shop.runs.path())
}

fn backups(shop: &Shop, target: Target) -> Vec<PathBuf> {
    let (kept, unreadable) = store_backups::finished(&stores(shop), target, "local").unwrap();
    assert_eq!(unreadable, [""; 0]);
    kept.into_iter().map(|kept| kept.path).collect()
}

#[track_caller]
fn newest(shop: &Shop, target: Target) -> (PathBuf, StoreManifest) {
    let path = backups(shop, target).remove(0);
    let manifest = store_backups::load(&path).unwrap();
    (path, manifest)
}

async fn put(shop: &Shop, collection: &str, id: &str, value: Value) {
    let document = Document { id: id.to_string(), fields: vec![("value", value)] };
    shop.firestore().await.set(collection, &document).await.unwrap();
}

/// Directories 0700, files 0600, all the way down.
fn assert_private(path: &Path) {
    let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| assert_private(&entry.unwrap().path()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_store_is_backed_up_whole_and_nothing_is_written_there() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    // Below a document, below one that is not there, and in a collection that nobody knows of.
    put(&shop, "users/somebody/addresses", "a 1", Value::Text("é \"".into())).await;
    put(&shop, "users/nobody/addresses", "a 2", Value::Null).await;
    put(&shop, "Großkunden", "g", Value::Integer(i64::MIN)).await;
    let before = targets(&shop).await;

    let said = shop.xtask(&["backup", "--target", "all"]).expect_code(0);
    assert!(said.stdout.starts_with("✓ BACKED UP product: "), "{}", said.stdout);
    says(&said, &["✓ BACKED UP order: ", "✓ BACKED UP gateway: ", "✓ BACKED UP firestore: 5 collections"]);
    assert_words(&said, &["next: cargo xtask restore-drill --target all --stack "]);
    assert_eq!(targets(&shop).await, before);
    assert_eq!(shop.directories(), 2, "one run, and the folder of the stores");
    assert_private(&stores(&shop));

    for database in Database::ALL {
        let target = Target::ALL.into_iter().find(|target| target.database() == Some(database)).unwrap();
        database_is_whole(&shop, target, database).await;
    }
    documents_are_whole(&shop).await;
    // A look at the runs is not led astray.
    let status = shop.xtask(&["status"]).expect_code(0);
    assert!(status.stdout.contains(shop.latest().id()), "{}", status.stdout);
}

async fn database_is_whole(shop: &Shop, target: Target, database: Database) {
    let (path, manifest) = newest(shop, target);
    let content = manifest.database().unwrap();
    assert_eq!(
        (manifest.target, content.server.database.as_str()),
        (target, &*shop.settings.target(database).database)
    );
    let mut connection = shop.target(database).await;
    let mut tables = BTreeMap::new();
    let names =
        "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname IN ('public', 'xtask')";
    for row in connection.rows(names).await.unwrap() {
        let name: String = row.get(0);
        let count = connection.row(&format!("SELECT count(*) FROM {name}")).await.unwrap();
        tables.insert(name, count.get::<i64, _>(0).cast_unsigned());
    }
    let recorded: BTreeMap<String, u64> =
        content.backup.raw.iter().map(|(name, digest)| (name.clone(), digest.rows)).collect();
    assert_eq!(recorded, tables);
    assert!(manifest.rows() > 0);
    // Exactly these files are there, beside what is written about them.
    let beside = ["journal.jsonl", "manifest.json"].map(|name| path.join(name));
    let files = manifest.files().keys().map(|name| path.join(name));
    let listed: std::collections::BTreeSet<PathBuf> = files.chain(beside).collect();
    assert_eq!(all_files(&path).into_iter().collect::<std::collections::BTreeSet<_>>(), listed);
    assert!(path.join("full_backup.dump/toc.dat").is_file());
    assert!(content.roles.contains(&shop.settings.target(database).user), "{:?}", content.roles);
}

fn all_files(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

async fn documents_are_whole(shop: &Shop) {
    let (path, manifest) = newest(shop, Target::Firestore);
    let Content::Documents(content) = &manifest.content else { panic!("{manifest:?}") };
    let rows = |name: &str| content.collections[name].content.rows as usize;
    assert_eq!(rows("users"), shop.documents("users").await.len());
    assert_eq!(rows("user_sessions"), shop.documents("user_sessions").await.len());
    assert_eq!((rows("users/*/addresses"), rows("Großkunden"), rows("xtask")), (2, 1, 1));
    assert_eq!(content.collections.len(), 5);
    let lines = |name: &str| -> Vec<String> {
        let file = fs::File::open(path.join(&content.collections[name].file)).unwrap();
        std::io::read_to_string(flate2::read::GzDecoder::new(file))
            .unwrap()
            .lines()
            .map(String::from)
            .collect()
    };
    let addresses = lines("users/*/addresses");
    assert!(addresses[0].contains(r#"{"value":{"nullValue":null}}"#), "{addresses:?}");
    assert!(addresses[1].contains(r#"{"value":{"stringValue":"é \""}}"#), "{addresses:?}");
    assert!(lines("Großkunden")[0].contains(r#"{"integerValue":"-9223372036854775808"}"#));
    let paths: Vec<String> = lines("users").iter().map(|line| Whole::from_line(line).unwrap().path).collect();
    assert!(paths.is_sorted() && paths[0].starts_with("users/"), "{paths:?}");
    assert!(content.read_time.ends_with('Z'), "{}", content.read_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_are_those_of_one_instant_whatever_is_written_after_it() {
    let shop = Shop::open(0).await;
    put(&shop, "users", "a", Value::Integer(1)).await;
    put(&shop, "users", "gone", Value::Integer(1)).await;
    let firestore = shop.firestore().await;
    let at = firestore.instant("users").await.unwrap();
    put(&shop, "users", "a", Value::Integer(2)).await;
    put(&shop, "users", "new", Value::Integer(2)).await;
    firestore.delete("users", &["gone".to_string()]).await.unwrap();
    let mut found = Vec::new();
    let page = |documents: Vec<Whole>| {
        found.extend(documents.iter().map(|document| document.to_line().unwrap()));
        Ok(())
    };
    firestore.whole(at, page).await.unwrap();
    let there: Vec<bool> = found.iter().map(|line| line.contains(r#"{"integerValue":"1"}"#)).collect();
    assert_eq!(there, [true, true], "{found:?}");
    assert_eq!(firestore.count_at("users", at).await.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_and_what_is_unfinished_or_old_goes_after_a_success_only() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let held = Held::take(&stores(&shop), Target::Product).unwrap();
    let said = shop.xtask(&["backup", "--target", "all"]);
    let words = ["at work on the backups of product", &format!("process {} of", std::process::id())];
    assert_refused("held", &said, &words);
    assert!(!stores(&shop).join("order").exists() || backups(&shop, Target::Order).is_empty());
    drop(held);

    let unfinished = stores(&shop).join("product/20200101_000000");
    fs::create_dir_all(unfinished.join("full_backup.dump")).unwrap();
    let mut made = Vec::new();
    for round in 0..4 {
        let said = shop.xtask(&["backup", "--target", "product"]).expect_code(0);
        assert_eq!(said.stdout.contains("removed, it was never finished: "), round == 0, "{}", said.stdout);
        made.insert(0, backups(&shop, Target::Product).remove(0));
    }
    assert!(!unfinished.exists());
    assert_eq!(backups(&shop, Target::Product), made, "nothing goes that no rule was said for");

    // A plan says it, and does nothing.
    let plan = shop.xtask(&["backup", "--target", "product", "--keep-last", "2", "-n"]).expect_code(0);
    says(&plan, &[&format!("would then remove {}", made[3].display()), &made[2].display().to_string()]);
    assert_eq!(backups(&shop, Target::Product), made);

    // Where the new one fails, the old ones stay.
    let places = Places::of(&shop, None);
    let port = format!("port = {}\ndatabase = \"product_database\"", shop.settings.product.port);
    let wrong = "port = 1\ndatabase = \"product_database\"";
    let rule = ["backup", "--target", "product", "--keep-last", "1", "--keep-min", "1"];
    let said = places.run_with(&port, wrong, &rule);
    assert_ne!(said.code, Some(0));
    assert_eq!(backups(&shop, Target::Product), made);

    // One that fails does not keep the others from being made; those are of another environment.
    let said = places.run_with(&port, wrong, &["backup", "--target", "all"]).expect_code(1);
    says(&said, &["✓ BACKED UP order", "✓ BACKED UP gateway", "✓ BACKED UP firestore"]);
    assert_words(&said, &["1 of 4 stores could not be backed up (product)", "nothing listens there"]);

    let said =
        shop.xtask(&["backup", "--target", "product", "--keep-last", "1", "--keep-min", "2"]).expect_code(0);
    let kept = backups(&shop, Target::Product);
    assert_eq!((kept.len(), &kept[1]), (2, &made[0]), "{}", said.stdout);
    says(&said, &[&format!("removed, no rule keeps it: {}", made[3].display())]);
    for old in &made[1..] {
        assert!(!old.exists(), "{}", old.display());
    }
    let said = shop.xtask(&["backup", "--store-backups", "/nowhere"]);
    assert_refused("of the source", &said, &["is for backups of the new stores", "--target all"]);
    let usage = shop.xtask(&["backup", "--keep-last", "1"]);
    assert_eq!(usage.code, Some(2), "{}", usage.stderr);
}
