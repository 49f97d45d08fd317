//! The shop's own services: stopped before what they work on is held back, started again by whatever undoes that,
//! and on the way back started on the old database once everything else is done. Each of these is a session.

use crate::rollback::dump;
use crate::source::{Elsewhere, shop_with_a_service, state};
use crate::support::{Said, Shop, assert_refused, assert_words};
use crate::tool::{Tool, everything, within};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::json;
use sqlx::Row;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use xtask::effects::wait::{self, State};
use xtask::model::Database;
use xtask::servers::native;
use xtask::settings::Server;

const FREE: (Option<String>, bool) = (None, true);

/// order-service and api-gateway of a shop; the other two are nobody's.
struct Services {
    dir: tempfile::TempDir,
    there: Elsewhere,
}

impl Services {
    /// `more`: lines behind the commands, in `[services.start]`.
    fn of(shop: &Shop, more: &str) -> Services {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("services.sh"), include_str!("../support/services.sh")).unwrap();
        let at = |s: &Server, user: &str| {
            format!(
                "host={} port={} dbname={} user={user} password={}",
                s.host,
                s.port,
                s.database,
                s.password.expose_secret()
            )
        };
        let (source, order) = (&shop.settings.source, &shop.settings.order);
        let servers = format!(
            "psql='{}'\nsource='{}'\norder='{}'\nsource_service='{}'\norder_service='{}'\n",
            native::client_bindir().unwrap().join("psql").display(),
            at(source, "postgres"),
            at(order, "postgres"),
            at(source, "shop_app"),
            at(order, &order.user),
        );
        fs::write(dir.path().join("servers"), servers).unwrap();
        let there = Elsewhere::new(shop, "postgres", "");
        let services = Services { dir, there };
        services.set_place("source");
        let command = |verb: &str, name: &str| format!("sh {}/services.sh {verb} {name}", services.path());
        let both = |verb: &str| {
            format!("order = \"{}\"\ngateway = \"{}\"\n", command(verb, "order"), command(verb, "gateway"))
        };
        services.there.set_policy(&format!(
            "[services.roles]\norder = \"shop_app\"\ngateway = \"shop_app\"\n\
             [services.stop]\n{}[services.start]\n{}{more}",
            both("stop"),
            both("start")
        ));
        services
    }

    fn path(&self) -> String {
        self.dir.path().display().to_string()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set_place(&self, place: &str) {
        fs::write(self.file("place"), place).unwrap();
    }

    /// From here on, this is how it goes.
    fn so(&self, name: &str) {
        fs::write(self.file(name), "").unwrap();
    }

    fn no_more(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// What has been done since the last time that this was asked.
    fn done(&self) -> Vec<String> {
        let log = fs::read_to_string(self.file("log")).unwrap_or_default();
        fs::write(self.file("log"), "").unwrap();
        log.lines().map(String::from).collect()
    }

    /// By their operator.
    fn start(&self) {
        for name in ["order", "gateway"] {
            let started = Command::new("sh").arg(self.file("services.sh")).args(["start", name]).output();
            Said::from(started.unwrap()).expect_code(0);
        }
        self.done();
    }

    fn xtask(&self, shop: &Shop, arguments: &[&str]) -> Said {
        self.there.xtask(shop, arguments)
    }

    fn tool(&self, shop: &Shop, arguments: &[&str]) -> Tool {
        Tool::start(self.there.command(shop, arguments))
    }
}

/// The services that have a session in this database.
async fn connected(shop: &Shop, server: &Server) -> Vec<String> {
    let query = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'service %' \
                 AND datname = current_database() ORDER BY 1 DESC";
    let rows = shop.superuser(server).await.rows(query).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const BOTH: [&str; 2] = ["service order", "service gateway"];
const STOPPED: [&str; 2] = ["stop gateway frozen=0 held=0", "stop order frozen=0 held=0"];
const STARTED: [&str; 2] = ["start order frozen=0 held=0", "start gateway frozen=0 held=0"];

#[tokio::test(flavor = "multi_thread")]
async fn they_are_stopped_before_a_freeze_and_started_again_after_it() {
    let shop = shop_with_a_service().await;
    let services = Services::of(&shop, "");
    let source = &shop.settings.source;
    services.start();
    assert_eq!(connected(&shop, source).await, BOTH);

    let said = services.xtask(&shop, &["freeze"]).expect_code(0);
    assert_words(
        &said,
        &["stopping the services: order-service, api-gateway", "no session of theirs is left"],
    );
    assert_words(&said, &["0 sessions ended", "shop_app cannot log in"]);
    assert_eq!(services.done(), STOPPED, "before the source is frozen, who asks before who is asked");
    assert!(connected(&shop, source).await.is_empty());
    let said = services.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_words(&said, &["started: order-service, api-gateway"]);
    assert_eq!(services.done(), STARTED, "after it is not frozen any more");
    assert_eq!(connected(&shop, source).await, BOTH);
    // Only what was stopped, and once.
    let said = services.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_words(&said, &["there was nothing to undo"]);
    assert!(services.done().is_empty());

    // One that does not stop: nothing is frozen, and the other runs again.
    services.so("fail-stop-order");
    let said = services.xtask(&shop, &["freeze"]).expect_code(1);
    let words = ["stopping order-service", "ended with exit status: 7: working on it", "no stop today"];
    assert_words(&said, &words);
    assert_words(&said, &["nothing has been frozen"]);
    assert_eq!(services.done(), [STOPPED, STARTED].concat());
    services.no_more("fail-stop-order");
    // One that hangs.
    services.so("hang-stop-order");
    let said = services.xtask(&shop, &["freeze", "--wait", "1s"]).expect_code(1);
    assert_words(&said, &["has not ended within", "and was killed", "waiting for nothing"]);
    assert_eq!(crate::tool::processes_naming(&services.path()), Vec::<String>::new());
    services.no_more("hang-stop-order");
    // One that says that it has stopped, and has not.
    services.so("lie-stop-order");
    let said = services.xtask(&shop, &["freeze", "--wait", "1s"]).expect_code(1);
    assert_words(&said, &["after 1s these are still connected", "session ", "of shop_app (service order)"]);
    services.no_more("lie-stop-order");
    assert_eq!(state(&shop, "shop_app").await, FREE);
    assert_eq!(connected(&shop, source).await, BOTH);
    services.done();

    // Killed between stopping and freezing: the book knows whom to start.
    services.so("hang-stop-order");
    let mut killed = services.tool(&shop, &["freeze"]);
    let log = services.file("log");
    killed.wait_for("the stop of order", || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("stop order"))
    });
    killed.signal(Signal::SIGKILL);
    tokio::task::block_in_place(|| killed.wait_for_its_end());
    services.no_more("hang-stop-order");
    services.done();
    services.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_eq!(services.done(), STARTED);
    assert_eq!(connected(&shop, source).await, BOTH);
    // One that does not start: it is not frozen any more, and the same command goes on.
    services.xtask(&shop, &["freeze"]).expect_code(0);
    services.so("fail-start-order");
    let said = services.xtask(&shop, &["unfreeze"]).expect_code(1);
    assert_words(&said, &["is not frozen any more", "starting order-service", "no start today"]);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    services.no_more("fail-start-order");
    services.xtask(&shop, &["unfreeze"]).expect_code(0);
    assert_eq!(connected(&shop, source).await, BOTH);
}

/// Nobody has said how: it is said what to do, and waited until it is done.
#[tokio::test(flavor = "multi_thread")]
async fn who_stops_them_by_hand_is_waited_for() {
    let shop = shop_with_a_service().await;
    let services = Services::of(&shop, "");
    services.start();
    let nobody = Elsewhere::new(&shop, "postgres", "");
    let said = nobody.xtask(&shop, &["freeze"]).expect_code(0);
    assert_words(&said, &["how the shop's services are stopped is not known here"]);
    nobody.xtask(&shop, &["unfreeze"]).expect_code(0);
    services.start();

    let known = Elsewhere::new(&shop, "postgres", "freeze_roles = [\"shop_app\"]");
    let before = everything(&shop).await;
    let said = known.xtask(&shop, &["freeze", "--wait", "1s"]);
    let words = ["after 1s these are still connected", "of shop_app (service order)", "--wait 0s"];
    assert_refused("still there", &said, &words);
    assert_words(
        &said,
        &["Stop the shop's services now: user-service, product-service, order-service, api-gateway"],
    );
    assert_eq!(everything(&shop).await, before);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    let mut waiting = Tool::start(known.command(&shop, &["freeze", "--wait", "60s"]));
    waiting.wait_for_words("Stop the shop's services now");
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'shop_app'";
    shop.source().await.run(end).await.unwrap();
    let said = tokio::task::block_in_place(|| waiting.ends_within(30)).expect_code(0);
    assert_words(&said, &["0 sessions ended"]);
    known.xtask(&shop, &["unfreeze"]).expect_code(0);
    // Nobody waits where nobody reads.
    services.start();
    let said = known.xtask(&shop, &["freeze"]).expect_code(0);
    assert_words(&said, &["still connected, and sent away: session ", "2 sessions ended"]);
    assert_words(&known.xtask(&shop, &["freeze", "--wait", "soon"]).expect_code(2), &["10m"]);
}

/// Stopped by the cut-over; started by one that fails; and on the way back, on the old database.
#[tokio::test(flavor = "multi_thread")]
async fn they_go_over_and_come_back() {
    let shop = shop_with_a_service().await;
    let services =
        Services::of(&shop, "[services.files]\norder = [\"order/db.toml\", \"order/pool.toml\"]\n");
    let (source, order) = (&shop.settings.source, &shop.settings.order);
    let before = dump(&shop);
    services.xtask(&shop, &["migrate", "--quiet"]).expect_code(0);
    services.start();

    // A store that is not as proven: they run on, on the source.
    let mut product = shop.target(Database::Product).await;
    product.run("INSERT INTO categories (name, created_at) VALUES ('theirs', now())").await.unwrap();
    services.xtask(&shop, &["cutover"]).expect_code(3);
    assert_eq!(services.done(), [STOPPED, STARTED].concat());
    assert_eq!(connected(&shop, source).await, BOTH);
    product.run("DELETE FROM categories WHERE name = 'theirs'").await.unwrap();
    product.close().await.unwrap();
    services.so("fail-stop-gateway");
    let said = services.xtask(&shop, &["cutover"]).expect_code(1);
    assert_words(&said, &["no stop today", "nothing has been frozen"]);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    services.no_more("fail-stop-gateway");
    services.done();

    services.xtask(&shop, &["cutover"]).expect_code(0);
    assert_eq!(services.done(), STOPPED);
    services.set_place("order");
    services.start();
    assert_eq!(connected(&shop, order).await, BOTH, "the new ones, on the new stores");

    let said = services.xtask(&shop, &["rollback", "before-start", "--dry-run", "--json"]).expect_code(0);
    let plan = &said.json()["services"];
    assert_eq!(plan["stopped"], json!(["order", "gateway"]));
    assert_eq!(plan["started"], json!(["order", "gateway"]));
    assert_eq!(services.done(), Vec::<String>::new());
    let (held, free) = ("frozen=1 held=0", "frozen=0 held=1");
    // Refused: the new ones run on.
    shop.target(Database::Order).await.run("UPDATE orders SET status = 'late' WHERE id = 1").await.unwrap();
    let said = services.xtask(&shop, &["rollback", "before-start", "--json"]);
    assert_refused("used", &said, &["the new stores have been used"]);
    let stopped = ["stop gateway", "stop order"].map(|what| format!("{what} {held}"));
    let again = ["start order", "start gateway"].map(|what| format!("{what} {held}"));
    assert_eq!(services.done(), [&stopped[..], &again[..]].concat());
    assert_eq!(connected(&shop, order).await, BOTH);

    // One that does not start: the way back is done and said, and the same command ends it.
    services.so("fail-start-gateway");
    let mut tool = services.tool(&shop, &["rollback", "after-start", "--json"]);
    tool.wait_for("the stop", || {
        fs::read_to_string(services.file("log")).is_ok_and(|l| l.contains("stop order"))
    });
    // Their files have been reverted meanwhile.
    services.set_place("source");
    let said = tokio::task::block_in_place(|| tool.ends_within(60)).expect_code(1);
    assert_words(&said, &["is taken back, and not all services are started", "no start today"]);
    assert_words(&said, &["the same command goes on", "next: cargo xtask rollback after-start"]);
    assert_eq!(shop.manifest().rolled_back.len(), 1);
    assert_eq!(state(&shop, "shop_app").await, FREE);
    let started = ["start order", "start gateway"].map(|what| format!("{what} {free}"));
    assert_eq!(services.done(), [&stopped[..], &started[..]].concat());
    services.no_more("fail-start-gateway");
    let said = services.xtask(&shop, &["rollback", "after-start", "--json"]).expect_code(0);
    let done = said.json();
    assert_eq!(done["services"]["started"], json!(["order", "gateway"]));
    assert_eq!(done["services"]["revert"]["order"], json!(["order/db.toml", "order/pool.toml"]));
    assert_eq!(done["services"]["revert"]["user"], json!(["user-service/src/config/*"]));
    assert_eq!(done["tables"]["orders"]["counts"]["changed"], 1, "what went back is said again");
    assert_eq!(services.done(), started);
    assert_eq!(connected(&shop, source).await, BOTH);
    let late = shop.source().await.row("SELECT status FROM orders WHERE id = 1").await.unwrap();
    assert_eq!(late.get::<String, _>(0), "late");
    assert_ne!(dump(&shop), before);
    let said = services.xtask(&shop, &["rollback", "after-start"]);
    assert_refused("done", &said, &["was taken back already"]);
    assert!(services.done().is_empty());
}

/// Killed between any two steps, the same command ends it: the old database, and the services on it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_the_same_command_starts_them() {
    let shop = shop_with_a_service().await;
    let services = Services::of(&shop, "");
    let (source, order) = (&shop.settings.source, &shop.settings.order);
    services.xtask(&shop, &["migrate", "--quiet"]).expect_code(0);
    services.xtask(&shop, &["cutover"]).expect_code(0);
    services.set_place("order");
    services.start();
    services.set_place("source");
    let log = services.file("log");
    let hung = [("hang-stop-gateway", "stop gateway"), ("hang-stop-order", "stop order")];
    let words = ["product database is frozen", "the old database is the shop's again"];
    let late = [("hang-start-order", "start order"), ("hang-start-gateway", "start gateway")];
    let kill_in = |(file, what): (&str, &str)| {
        services.so(file);
        services.done();
        let mut tool = services.tool(&shop, &["rollback", "after-start", "--json"]);
        tool.wait_for(what, || fs::read_to_string(&log).is_ok_and(|log| log.contains(what)));
        tool.signal(Signal::SIGKILL);
        tool.wait_for_its_end();
        services.no_more(file);
    };
    tokio::task::block_in_place(|| {
        hung.into_iter().for_each(kill_in);
        for word in words {
            let mut tool = services.tool(&shop, &["rollback", "after-start", "--json"]);
            tool.wait_for_words(word);
            tool.signal(Signal::SIGKILL);
            tool.wait_for_its_end();
        }
        late.into_iter().for_each(kill_in);
    });
    services.xtask(&shop, &["rollback", "after-start"]).expect_code(0);
    assert_eq!(connected(&shop, source).await, BOTH);
    assert!(connected(&shop, order).await.is_empty());
    assert_eq!(state(&shop, "shop_app").await, FREE);
    assert_eq!(shop.manifest().rolled_back.len(), 1);
    let gone = wait::for_state("the killed ones' commands to be gone", within(20, 20), async || {
        let left = crate::tool::processes_naming(&format!("{}/services.sh", services.path()));
        Ok(if left.is_empty() { State::Ready(()) } else { State::NotYet(left.join("; ")) })
    });
    gone.await.unwrap();
}
