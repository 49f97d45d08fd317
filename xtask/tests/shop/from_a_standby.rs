//! A source that is a standby: all of it is read and proven as far as it has been replayed, and nothing is said of
//! its primary; what would have to change something there is refused.

use crate::source::Elsewhere;
use crate::standby::Standby;
use crate::support::{Shop, assert_refused, assert_words, says};
use sqlx::Row;
use std::sync::Arc;
use xtask::run::command::visibly;
use xtask::run::ctx::Ctx;
use xtask::run::freeze_log::FreezeLog;
use xtask::run::manifest::SourceCheck;
use xtask::source::drift;
use xtask::steps::CommandName;

async fn followed() -> (Shop, Standby, Elsewhere) {
    let shop = Shop::open(0).await;
    let standby = Standby::follow(&shop).await;
    standby.caught_up(&shop).await;
    let there = Elsewhere::with_source(&shop, standby.server(), "postgres", "");
    (shop, standby, there)
}

async fn on_the_primary(shop: &Shop, statement: &str) {
    shop.superuser(&shop.settings.source).await.run(statement).await.unwrap();
}

async fn looked(ctx: &Arc<Ctx>) -> SourceCheck {
    let manifest = ctx.run.load_manifest().unwrap();
    let looking = async { Ok(drift::look(ctx, &manifest).await?.check) };
    visibly(ctx, CommandName::Cutover, looking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_migrated_and_nothing_is_claimed_of_its_primary() {
    let (mut shop, standby, there) = followed().await;
    let primary = Elsewhere::new(&shop, "postgres", "");
    primary.xtask(&shop, &["backup"]).expect_code(0);
    let expected = shop.manifest().backup.unwrap();
    assert_eq!(expected.remembered.len(), expected.raw.len());
    for command in ["backup", "export"] {
        let said = there.xtask(&shop, &[command]).expect_code(0);
        assert_words(&said, &["is a standby: the run holds what it has replayed"]);
        let backup = shop.manifest().backup.unwrap();
        assert_eq!(backup.raw, expected.raw, "{command}");
        assert!(backup.remembered.is_empty(), "{command}: versions tell nothing there");
    }
    let said = there.xtask(&shop, &["migrate"]).expect_code(0);
    says(
        &said,
        &[
            "proven as of the snapshot ",
            " on a standby, which had replayed ",
            ": 0 tables by row versions, 11 by digest",
        ],
    );
    let check = shop.manifest().source.unwrap();
    assert_eq!((check.by_versions, check.by_digest, check.unchanged()), (0, 11, true));
    says(&there.xtask(&shop, &["verify"]).expect_code(0), &[" on a standby, which had replayed "]);

    // What has not come yet is not seen, and that is said; what has come is.
    let committed = "SELECT to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', \
                     'YYYY-MM-DD HH24:MI:SS.US \"UTC\"')";
    standby.session().await.run("SELECT pg_wal_replay_pause()").await.unwrap();
    on_the_primary(&shop, "UPDATE products SET name = name || '!' WHERE id = 1").await;
    let until: String = standby.session().await.row(committed).await.unwrap().get(0);
    let source = std::mem::replace(&mut shop.settings.source, standby.server().clone());
    let ctx = shop.ctx_of(shop.latest());
    let look = looked(&ctx).await;
    assert!(look.unchanged(), "{look:?}");
    assert_eq!(look.replayed, Some(format!("what was committed until {until}")));
    standby.session().await.run("SELECT pg_wal_replay_resume()").await.unwrap();
    shop.settings.source = source;
    standby.caught_up(&shop).await;
    let look = looked(&ctx).await;
    assert_eq!(look.changed.keys().collect::<Vec<_>>(), ["public.products"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_cannot_be_held_back_and_has_no_rows_of_unlogged_tables() {
    let (shop, standby, there) = followed().await;
    let held_back = ["is a standby: its primary writes", "name the primary in the environment file"];
    for command in
        [&["freeze"][..], &["backup", "--freeze"], &["export", "--freeze"], &["migrate", "--freeze"]]
    {
        assert_refused(&command.join(" "), &there.xtask(&shop, command), &held_back);
        assert_eq!(shop.directories(), 0, "{command:?}");
    }
    let said = there.xtask(&shop, &["doctor", "--freeze"]);
    assert_words(
        &said,
        &[held_back[0], "this is a standby: replay ends long statements", "it has replayed "],
    );
    there.xtask(&shop, &["migrate"]).expect_code(0);
    // As a freeze of the primary looks there.
    on_the_primary(&shop, "ALTER DATABASE ecommerce_db SET default_transaction_read_only = on").await;
    standby.caught_up(&shop).await;
    assert_refused("cutover", &there.xtask(&shop, &["cutover"]), &held_back);
    let manifest = shop.manifest();
    assert!(manifest.proof.unwrap().is_green() && manifest.cutover.is_none());
    let (source, book) = (standby.server(), FreezeLog::at(shop.runs.path()));
    let source = format!("{}:{}/{}", source.host, source.port, source.database);
    assert!(book.open(&source).unwrap().is_none());

    on_the_primary(&shop, "SET default_transaction_read_only = off; CREATE UNLOGGED TABLE scratch (id int)")
        .await;
    standby.caught_up(&shop).await;
    let runs = shop.directories();
    for command in ["backup", "export", "migrate", "plan"] {
        let words = ["is a standby, and has no rows of unlogged tables: public.scratch", "SET LOGGED"];
        assert_refused(command, &there.xtask(&shop, &[command]), &words);
        assert_eq!(shop.directories(), runs, "{command}");
    }
    let said = there.xtask(&shop, &["doctor"]).expect_code(4);
    assert_words(&said, &["this is a standby, which has no rows of public.scratch"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_run_is_cut_over_on_its_primary_once_that_is_proven_to_be_the_same() {
    let (shop, standby, there) = followed().await;
    there.xtask(&shop, &["migrate"]).expect_code(0);
    there.set_source(standby.server(), &shop.settings.source);
    let other = ["source at", "another server of the same cluster (its primary, or", "--adopt source"];
    assert_refused("cutover", &there.xtask(&shop, &["cutover"]), &other);
    // What the standby never had.
    standby.session().await.run("SELECT pg_wal_replay_pause()").await.unwrap();
    on_the_primary(&shop, "UPDATE products SET name = name || '!' WHERE id = 1").await;
    let adopt = ["verify", "--adopt", "source"];
    assert_refused("changed", &there.xtask(&shop, &adopt), &["the source has changed", "public.products"]);
    on_the_primary(&shop, "UPDATE products SET name = rtrim(name, '!') WHERE id = 1").await;
    there.xtask(&shop, &adopt).expect_code(0);
    there.set_source(&shop.settings.source, standby.server());
    assert_refused(
        "gone on",
        &there.xtask(&shop, &["cutover"]),
        &["another server of the same cluster (a standby)"],
    );
    there.set_source(standby.server(), &shop.settings.source);
    there.xtask(&shop, &["cutover"]).expect_code(0);
    assert!(shop.manifest().cutover.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_passes_it_takes_its_primarys_place_where_it_holds_what_the_last_one_read() {
    let (shop, standby, there) = followed().await;
    there.set_source(standby.server(), &shop.settings.source);
    there.xtask(&shop, &["migrate"]).expect_code(0);
    let write = "UPDATE products SET stock = 77 WHERE id = 1; DELETE FROM payments WHERE id = 1";
    on_the_primary(&shop, write).await;
    standby.caught_up(&shop).await;
    standby.session().await.run("SELECT pg_wal_replay_pause()").await.unwrap();
    on_the_primary(&shop, "UPDATE orders SET total_amount = total_amount + 1 WHERE id IN (1, 2)").await;
    there.xtask(&shop, &["catch-up"]).expect_code(0);
    // A failover that loses what had been read already.
    there.set_source(&shop.settings.source, standby.server());
    let adopt = ["verify", "--adopt", "source"];
    let words = ["does not hold what the last pass of run ", "orders: 2 rows, id 1, 2"];
    let said = there.xtask(&shop, &adopt);
    assert_refused("lost", &said, &words);
    assert!(!said.stderr.contains("payments: 1 rows"), "{}", said.stderr);
    standby.session().await.run("SELECT pg_wal_replay_resume()").await.unwrap();
    standby.caught_up(&shop).await;
    there.xtask(&shop, &adopt).expect_code(0);
}
