//! `restore --target`: documents into an empty Firestore, or one that holds the same; a database beside the store's
//! own. Nothing of others is overwritten.

use crate::places::Places;
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::targets;
use datapath::document::{Document, Value};
use datapath::firestore::{Address, Firestore, Unconditional, Whole};
use sqlx::Row;
use std::collections::BTreeMap;
use xtask::operations::store_backups::{self, Target};

/// Every document of a project, with all that it holds, by path.
async fn whole(shop: &Shop, project: &str) -> BTreeMap<String, String> {
    let firestore = of(shop, project).await;
    let mut found = BTreeMap::new();
    let at = firestore.instant("users").await.unwrap();
    let page = |documents: Vec<Whole>| {
        for document in documents {
            // Without its times, which are the server's.
            let line = document.to_line().unwrap();
            let fields =
                line.split_once("\"fields\":").unwrap().1.rsplit_once(",\"path\"").unwrap().0.to_string();
            found.insert(document.path, fields);
        }
        Ok(())
    };
    firestore.whole(at, page).await.unwrap();
    found
}

async fn of(shop: &Shop, project: &str) -> Firestore {
    let settings = &shop.settings.firestore;
    Firestore::connect(&Address { project: project.to_string(), ..Address::from(settings) }).await.unwrap()
}

async fn set(firestore: &Firestore, collection: &str, id: &str, text: &str) {
    let fields = vec![("value", Value::Text(text.to_string()))];
    firestore.set(collection, &Document { id: id.to_string(), fields }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_come_back_into_an_empty_project_and_nothing_of_others_is_overwritten() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let own = shop.settings.firestore.project.clone();
    set(&shop.firestore().await, "users/nobody/addresses", "a1", "Ulm").await;
    shop.xtask(&["backup", "--target", "firestore"]).expect_code(0);
    let stores = store_backups::directory(shop.runs.path());
    let backup = store_backups::finished(&stores, Target::Firestore, "local").unwrap().0.remove(0).path;
    let from = backup.to_str().unwrap().to_string();
    let there = whole(&shop, &own).await;
    let into = format!("{own}-again");
    let restore = |more: &[&str]| -> Said {
        shop.xtask(&[&["restore", "--target", "firestore", "--from", &from, "--into", &into], more].concat())
    };

    let plan = restore(&["-n"]).expect_code(0);
    says(&plan, &[&format!("into Firestore {into}/(default)"), "users/*/addresses: 1 documents"]);
    assert!(whole(&shop, &into).await.is_empty());
    let said = restore(&[]).expect_code(0);
    let documents = there.len();
    says(&said, &[&format!("✓ PROVEN {into}/(default): {documents} documents written; ")]);
    assert_eq!(whole(&shop, &into).await, there);

    // Cut off, it goes on: what is there is the same, what is missing comes.
    let gone = there
        .keys()
        .find(|path| path.starts_with("users/"))
        .unwrap()
        .trim_start_matches("users/")
        .to_string();
    of(&shop, &into).await.delete("users", &[gone]).await.unwrap();
    let said = restore(&[]).expect_code(0);
    says(&said, &[&format!("1 documents written, {} stood there already", documents - 1)]);
    assert_eq!(whole(&shop, &into).await, there);

    // Another's document, or one that differs, and nothing is written.
    set(&of(&shop, &into).await, "users/nobody/addresses", "a1", "Bonn").await;
    set(&of(&shop, &into).await, "carts", "c1", "full").await;
    let before = whole(&shop, &into).await;
    let words =
        ["2 documents in Firestore", "carts/(sha256 ", " is not in the backup", " differs", "--into PROJECT"];
    assert_refused("others' documents", &restore(&[]), &words);
    assert_eq!(whole(&shop, &into).await, before);
    assert_eq!(whole(&shop, &own).await, there, "the store itself was not touched");

    // What is damaged, or another store's, is refused before anything is written.
    let file = backup.join("users.ndjson.gz");
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    assert_refused("damaged", &restore(&[]), &["users.ndjson.gz is not the file that was written"]);
    let said = shop.xtask(&["restore", "--target", "order", "--from", &from, "--into", "x"]);
    assert_refused("another store", &said, &["is a backup of firestore, not of order"]);
    let said = shop.xtask(&["restore", "--target", "order", "--from", "/nowhere", "--into", "x"]);
    assert_refused("nothing", &said, &["/nowhere is no finished backup"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_beside_the_stores_own() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    // The owner of a store may not make databases.
    let places = Places::of(&shop, Some("postgres"));
    let said = places.run(&["backup", "--target", "order", "--json"]).expect_code(0);
    let from = said.json()["backups"][0]["path"].as_str().unwrap().to_string();
    let before = targets(&shop).await;
    let restore = ["restore", "--target", "order", "--from", &from, "--into", "order_again"];
    let said = places.run(&restore).expect_code(0);
    assert!(said.stdout.starts_with("✓ PROVEN order_again: "), "{}", said.stdout);
    assert_eq!(targets(&shop).await, before);
    let mut again = shop.settings.order.clone();
    again.database = "order_again".into();
    let count = "SELECT count(*) FROM order_items";
    let counted = shop.superuser(&again).await.row(count).await.unwrap().get::<i64, _>(0);
    let there = shop.superuser(&shop.settings.order).await.row(count).await.unwrap().get::<i64, _>(0);
    assert_eq!(counted, there);
    assert_refused("it is there", &places.run(&restore), &["the database order_again is there already"]);
    let said = places.run(&["restore", "--target", "order", "--from", &from]);
    assert_refused("no name", &said, &["say --into DATABASE"]);
    let said = shop.xtask(&restore);
    assert_refused("another environment", &said, &["is of environment `", "say --env "]);
    assert_words(&said, &["not of `local`"]);
}
