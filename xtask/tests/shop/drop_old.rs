//! `rollback --drop-old`: databases that a restore has put aside go with the way back or later, and no others do.

use crate::source::log_in;
use crate::support::{Shop, assert_refused, assert_words};
use sqlx::Row;
use xtask::settings::Server;

/// The server's databases that look as if they had been put aside.
async fn databases(shop: &Shop) -> Vec<String> {
    let query = "SELECT datname::text FROM pg_database WHERE datname LIKE '%before_rollback%' ORDER BY 1";
    shop.source().await.rows(query).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_aside_is_dropped_and_nothing_else() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop.xtask(&["cutover"]).expect_code(0);
    shop.xtask(&["restore", "--in-place"]).expect_code(0);
    let aside = databases(&shop).await;
    assert_eq!(aside.len(), 1, "{aside:?}");
    let others = [
        "ecommerce_db_before_rollback_20260101_00000x",
        "ecommerce_db_before_rollback_mine",
        "other_before_rollback_20260101_000000",
    ];
    for other in others {
        shop.source().await.run(&format!("CREATE DATABASE {other}")).await.unwrap();
    }
    let all = databases(&shop).await;

    let said = shop.xtask(&["rollback", "before-start", "--remove-volumes"]);
    assert_refused("processes", &said, &["--remove-volumes is for the containers of this checkout's stack"]);
    // Somebody is in it.
    let server = Server { database: aside[0].clone(), ..shop.settings.source.clone() };
    let guest = log_in(&server, "postgres").await.unwrap();
    let said = shop.xtask(&["rollback", "before-start", "--drop-old"]);
    let words =
        ["is in use, and none is dropped", "session ", &format!("of postgres (shop) in {}", aside[0])];
    assert_refused("in use", &said, &words);
    assert!(shop.manifest().rolled_back.is_empty(), "nothing has been taken back");
    drop(guest);
    let said = shop.xtask(&["rollback", "before-start", "--drop-old", "--dry-run"]).expect_code(0);
    assert_words(
        &said,
        &[&format!("dropped: the database {}, ", aside[0]), "next: cargo xtask rollback", "--drop-old"],
    );
    assert_eq!(databases(&shop).await, all, "a plan drops nothing");

    shop.xtask(&["rollback", "before-start"]).expect_code(0);
    assert_eq!(databases(&shop).await, all, "only where it is asked for");
    // Later, when nobody needs it any more.
    let said = shop.xtask(&["rollback", "before-start", "--drop-old", "--json"]).expect_code(0);
    assert_eq!(said.json()["dropped"][0]["database"], aside[0].as_str());
    assert_eq!(databases(&shop).await, others);
    let said = shop.xtask(&["rollback", "before-start", "--drop-old"]).expect_code(0);
    assert_words(&said, &["no database has been put aside"]);
    assert_eq!(databases(&shop).await, others);
    let said = shop.xtask(&["rollback", "after-start", "--drop-old"]);
    assert_refused("another way", &said, &["was taken back already"]);
}
