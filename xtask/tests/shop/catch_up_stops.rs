//! What stops a pass of `catch-up`, with nothing changed: what would have kept `migrate` from beginning. And what does
//! not: what DBAs may rightly have added.

use crate::support::{Shop, assert_refused, says};
use xtask::model::Stop;
use xtask::phases::catch_up::{self, Extent, HeldRows};
use xtask::run::command::visibly;
use xtask::steps::CommandName;

async fn migrated(further: &[&str]) -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&[&["migrate", "--quiet"], further].concat()).expect_code(0);
    shop
}

/// A change of the source's definitions, what a pass says of it, and the change that takes it back.
const STOPS: &[(&str, &[&str], &str)] = &[
    (
        "ALTER TABLE orders ADD COLUMN gift_note text",
        &["column-extra", "orders.gift_note", "migrate --replace --accept column-extra"],
        "ALTER TABLE orders DROP COLUMN gift_note",
    ),
    (
        "ALTER TABLE products ALTER cost_price TYPE double precision",
        &[
            "column-type",
            "products.cost_price: double precision, expected numeric(10,2)",
            "--replace --accept column-type",
        ],
        "ALTER TABLE products ALTER cost_price TYPE numeric(10,2)",
    ),
    (
        "ALTER TABLE payments DROP CONSTRAINT payments_pkey",
        &["key-missing", "payments"],
        "ALTER TABLE payments ADD PRIMARY KEY (id)",
    ),
    (
        "ALTER TABLE users RENAME phone_number TO phone",
        &["column-missing", "phone_number"],
        "ALTER TABLE users RENAME phone TO phone_number",
    ),
    (
        "ALTER TABLE orders ALTER status TYPE varchar(200)",
        &[
            "orders.status has another length or type than at the run's snapshot",
            "cargo xtask migrate --replace",
        ],
        "ALTER TABLE orders ALTER status TYPE varchar(30)",
    ),
];

#[tokio::test]
async fn what_blocks_a_migration_stops_a_pass_by_name() {
    let shop = migrated(&[]).await;
    let write = "UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1";
    for (change, words, back) in STOPS {
        shop.source().await.run(change).await.unwrap();
        shop.source().await.run(write).await.unwrap();
        let before = shop.manifest().export.unwrap();
        let said = shop.xtask(&["catch-up"]);
        assert_refused(change, &said, words);
        let same = "Nothing has been changed: the stores hold the source as of ";
        assert_refused(change, &said, &[same, "cargo xtask catch-up --run "]);
        assert_eq!(shop.manifest().export.unwrap().as_of(), before.as_of(), "{change}");
        shop.xtask(&["verify"]).expect_code(0);
        shop.source().await.run(back).await.unwrap();
        says(&shop.xtask(&["catch-up"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
    }
    // As data, too; and the cut-over makes passes.
    shop.source().await.run(STOPS[0].0).await.unwrap();
    let said = shop.xtask(&["catch-up", "--json"]);
    assert_refused("json", &said, &[]);
    assert_eq!(said.json()["hazards"][0]["name"], "column-extra", "{}", said.stdout);
    assert_refused("cut-over", &shop.xtask(&["cutover"]), &["column-extra", "orders.gift_note"]);
    shop.source().await.run(STOPS[0].2).await.unwrap();
    // What does not keep `migrate` from beginning does not stop a pass either.
    let harmless = "CREATE TABLE coupons (id serial PRIMARY KEY); ALTER TABLE user_sessions ENABLE ROW LEVEL SECURITY; \
                    UPDATE orders SET total_amount = total_amount + 1 WHERE id = 1";
    shop.source().await.run(harmless).await.unwrap();
    says(&shop.xtask(&["catch-up", "--audit"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
}

#[tokio::test]
async fn a_column_that_comes_between_two_passes_stops_the_second() {
    let shop = migrated(&[]).await;
    let ctx = shop.ctx_of(shop.latest());
    let mut manifest = ctx.run.load_manifest().unwrap();
    let mut held = HeldRows::read(&ctx, manifest.export.as_ref().unwrap()).await.unwrap();
    for extent in [Extent::Changes, Extent::LastPass] {
        shop.source().await.run(STOPS[0].0).await.unwrap();
        let pass = catch_up::pass(&ctx, &mut manifest, &mut held, extent);
        let error = visibly(&ctx, CommandName::CatchUp, pass).await.expect_err("a new column");
        assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{extent:?}: {error:#}");
        assert!(format!("{error:#}").contains("orders.gift_note"), "{extent:?}: {error:#}");
        shop.source().await.run(STOPS[0].2).await.unwrap();
        visibly(&ctx, CommandName::CatchUp, catch_up::pass(&ctx, &mut manifest, &mut held, extent))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_was_accepted_for_the_run_is_accepted_for_its_passes() {
    let shop = Shop::open(0).await;
    let keyless =
        "ALTER TABLE orders ADD COLUMN gift_note text; ALTER TABLE payments DROP CONSTRAINT payments_pkey";
    shop.source().await.run(keyless).await.unwrap();
    shop.xtask(&["migrate", "--quiet", "--accept", "column-extra", "--accept", "key-missing"]).expect_code(0);
    shop.source().await.run("UPDATE payments SET amount = 1 WHERE id = 1").await.unwrap();
    says(&shop.xtask(&["catch-up"]).expect_code(0), &["✓ CAUGHT UP 1 rows"]);
    // Of a table without a key the rows are looked at, too.
    let twice = "INSERT INTO payments SELECT * FROM payments WHERE id = 1";
    shop.source().await.run(twice).await.unwrap();
    assert_refused("twice", &shop.xtask(&["catch-up"]), &["id-not-unique", "payments"]);
}
