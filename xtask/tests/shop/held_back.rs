//! Who holds the source back is alone with it: freeze, unfreeze and cut-over keep each other out and say who
//! is there; a session is told by what it is, not by its name; a run that goes on freezes, too.

use crate::source::{Elsewhere, log_in, run, shop_with_a_service, state};
use crate::support::{Shop, assert_words};
use crate::tool::{Tool, within};
use nix::sys::signal::Signal;
use sqlx::Row;
use xtask::effects::postgres::Connection;
use xtask::effects::wait::{self, State};
use xtask::model::Database;
use xtask::servers::native::Connections;

const POLICY: &str = "freeze_roles = [\"shop_app\"]";
const WRITE: &str = "UPDATE users SET login_count = login_count + 1 WHERE id = 1";
const FREE: (Option<String>, bool) = (None, true);

fn frozen() -> (Option<String>, bool) {
    (Some("default_transaction_read_only=on".to_string()), false)
}

/// Until somebody waits for a lock on this server.
async fn somebody_waits(connection: &mut Connection) {
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    let waiting = wait::for_state("somebody to wait", within(60, 10), async || {
        let waiting: i64 = connection.row(waits).await?.try_get(0)?;
        Ok(if waiting > 0 { State::Ready(()) } else { State::NotYet("nobody waits") })
    });
    waiting.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_thaws_the_source_below_a_cutover() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    there.xtask(&shop, &["migrate"]).expect_code(0);
    // A name that anybody can set makes nobody one of us.
    let mut impostor = log_in(&shop.settings.source, "report").await.unwrap();
    run(&mut impostor, "SET application_name = 'xtask 20260101_000000 lock boss@desk'").await.unwrap();

    let mut busy = shop.target(Database::Order).await;
    busy.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut cutover = Tool::start(there.command(&shop, &["cutover"]));
    cutover.wait_for_words("Cut-over: every store");
    run(&mut impostor, WRITE).await.expect_err("it has been ended as everybody's");
    let name = format!("`xtask {} lock", shop.latest().id());
    for verb in ["unfreeze", "freeze"] {
        let said = there.xtask(&shop, &[verb]).expect_code(4);
        assert_words(&said, &["another run is at work", &name, "holds the lock", "Wait for its end"]);
    }
    assert_eq!(state(&shop, "shop_app").await, frozen());
    busy.run("ROLLBACK").await.unwrap();
    tokio::task::block_in_place(|| cutover.ends_within(60)).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_freezes_at_once_one_is_refused() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut source = shop.source().await;
    let mut busy = shop.source().await;
    busy.run("BEGIN; ALTER ROLE shop_app CONNECTION LIMIT 7").await.unwrap();
    let first = Tool::start(there.command(&shop, &["freeze"]));
    somebody_waits(&mut source).await;
    // Its book is another one, so it knows nothing of the first.
    let second = Tool::start(there.command_of(&shop, elsewhere.path(), &["freeze"]));
    let said = tokio::task::block_in_place(|| second.ends_within(30)).expect_code(4);
    assert_words(&said, &["another run is at work", "`xtask freeze lock", "holds the lock"]);
    busy.run("ROLLBACK").await.unwrap();
    tokio::task::block_in_place(|| first.ends_within(30)).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, frozen());
    there.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_eq!(state(&shop, "shop_app").await, FREE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_goes_on_freezes_too() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let resume = ["migrate", "--resume", "latest", "--freeze"];
    let gone = "the source is not frozen any more: default_transaction_read_only reset; shop_app can log in";
    // From a new snapshot on, and from its files.
    for phase in ["Phases 1 and 2", "Phases 3 and 4"] {
        let mut killed = Tool::start(there.command(&shop, &["migrate", "--replace"]));
        killed.wait_for_words(phase);
        killed.signal(Signal::SIGKILL);
        killed.ends_within(5);
        let mut app = log_in(&shop.settings.source, "shop_app").await.unwrap();
        let said = there.xtask(&shop, &resume).expect_code(0);
        assert_words(&said, &["the source is frozen", "shop_app cannot log in", gone]);
        run(&mut app, WRITE).await.expect_err("its session has been ended");
        assert_eq!(state(&shop, "shop_app").await, FREE);
    }
    let latest = shop.latest().id().to_string();
    let said = there.xtask(&shop, &["migrate", "--resume", &latest, "--freeze"]).expect_code(0);
    assert_words(&said, &["is done", "--freeze: the source is not asked any more, and is not frozen"]);
}

/// Whoever reads one line only has to learn that the source is still frozen.
#[tokio::test(flavor = "multi_thread")]
async fn that_the_source_stays_frozen_is_the_last_line() {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, "postgres", POLICY);
    let mut migrate = Tool::start(there.command(&shop, &["migrate", "--freeze"]));
    migrate.wait_for_words("the source is frozen");
    let server = Connections::read(shop.dir()).unwrap().server("source").unwrap().pid;
    crate::tool::send(server, Signal::SIGKILL);
    let said = tokio::task::block_in_place(|| migrate.ends_within(60)).expect_code(1);
    let last = said.stderr.lines().last().unwrap();
    assert!(last.contains("undo it with `cargo xtask unfreeze"), "{}", said.stderr);
    let runs = shop.runs.path().display();
    assert!(last.ends_with(&format!(" --backup-dir {runs}`")), "as it has to be typed: {last}");
}

/// Between the look at the catalogue and the snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_comes_late_is_not_left_behind() {
    let shop = Shop::open(0).await;
    let (mut source, mut busy) = (shop.source().await, shop.source().await);
    source.run("CREATE TABLE old (id integer)").await.unwrap();
    busy.run("BEGIN; LOCK TABLE old IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let migrate = Tool::start(shop.command(&["migrate"]));
    // Whoever asks for the sizes of all tables has judged the source.
    somebody_waits(&mut source).await;
    source.run("ALTER TABLE users ADD COLUMN late text DEFAULT 'late'").await.unwrap();
    busy.run("COMMIT").await.unwrap();
    let said = tokio::task::block_in_place(|| migrate.ends_within(60)).expect_code(4);
    assert_words(
        &said,
        &["was changed while it was looked at", "users.late text is new", "rerun the command"],
    );
    let said = shop.xtask(&["migrate"]).expect_code(4);
    assert_words(&said, &["column-extra", "users.late"]);
}
