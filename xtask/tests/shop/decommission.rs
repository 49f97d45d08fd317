//! The old database goes out of service only when everything holds that has to, each refused by itself; every step comes
//! back until it is dropped, and what is cut off goes on.

use crate::backup_files::{self, Drill, hours_ago};
use crate::quiet_day;
use crate::source::{Elsewhere, log_in, run, shop_with_an_environment};
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Tool, targets, within};
use crate::without_old;
use jiff::{Timestamp, ToSpan};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{Connection as _, Row};
use std::fs;
use std::path::PathBuf;
use xtask::effects::postgres::Connection;
use xtask::effects::wait::{self, State};
use xtask::run::dir::load_journal;
use xtask::run::freeze_log::FreezeLog;
use xtask::run::properties::Properties;
use xtask::settings::Server;
use xtask::source::restore;
use xtask::steps::{CommandName, Event};

const DATABASE: &str = "ecommerce_db";
const AT_ONCE: &str = "[decommission]\nsoak_days = 0\nsamples = 2\n";

struct Town {
    shop: Shop,
    there: Elsewhere,
}

impl Town {
    /// Migrated.
    async fn open() -> Town {
        let (shop, there) = shop_with_an_environment().await;
        there.xtask(&shop, &["freeze"]).expect_code(0);
        there.xtask(&shop, &["migrate"]).expect_code(0);
        Town { shop, there }
    }

    /// Cut over, verified, backed up and drilled; nobody is in the old database, and has not been for a day.
    async fn ready() -> Town {
        let town = Town::open().await;
        town.cut_over();
        town.there.set_policy(AT_ONCE);
        town.call(&["--yes"]).expect_code(4);
        town.a_day_passes().await;
        town
    }

    fn cut_over(&self) {
        self.there.xtask(&self.shop, &["cutover"]).expect_code(0);
        self.there.xtask(&self.shop, &["verify"]).expect_code(0);
        backup_files::write_all(self.shop.runs.path(), &self.environment(), hours_ago(0));
    }

    fn environment(&self) -> String {
        self.shop.manifest().environment
    }

    fn call(&self, arguments: &[&str]) -> Said {
        self.there.xtask(&self.shop, &[&["decommission"], arguments].concat())
    }

    fn record_file(&self) -> PathBuf {
        self.shop.latest().file("decommission.json")
    }

    fn record(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.record_file()).unwrap()).unwrap()
    }

    fn change_record(&self, change: impl FnOnce(&mut Value)) {
        let mut record = self.record();
        change(&mut record);
        fs::write(self.record_file(), record.to_string()).unwrap();
    }

    /// As if it had been looked at yesterday and three hours ago, with nobody there since.
    async fn a_day_passes(&self) {
        self.nobody_is_there().await;
        self.call(&[]);
        self.change_record(quiet_day::has_passed);
    }

    async fn beside(&self) -> Connection {
        let server = Server { database: "postgres".into(), ..self.shop.settings.source.clone() };
        self.shop.superuser(&server).await
    }

    async fn nobody_is_there(&self) {
        let mut beside = self.beside().await;
        let others = format!("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE '{DATABASE}%'");
        wait::for_state("all to go", within(30, 50), async || {
            let count: i64 = beside.row(&others).await?.get(0);
            Ok(if count == 0 { State::Ready(()) } else { State::NotYet(count) })
        })
        .await
        .unwrap();
    }

    /// Those of the source's server.
    async fn databases(&self) -> Vec<String> {
        let names =
            "SELECT datname::text FROM pg_database WHERE datname !~ '^(template|postgres)' ORDER BY 1";
        self.beside().await.rows(names).await.unwrap().iter().map(|row| row.get(0)).collect()
    }

    /// What no dump holds of it: its grants among them.
    async fn properties(&self) -> Properties {
        restore::properties(&mut self.beside().await, DATABASE).await.unwrap().unwrap()
    }

    async fn in_source(&self, text: &str) {
        let mut session = log_in(&self.shop.settings.source, "postgres").await.unwrap();
        run(&mut session, text).await.unwrap();
        session.close().await.unwrap();
    }

    fn retired(&self) -> String {
        self.record()["retired"]["name"].as_str().unwrap().to_string()
    }

    /// The archives that are there.
    fn archives(&self) -> Vec<PathBuf> {
        let folder = fs::read_dir(self.shop.runs.path().join("archive"));
        folder.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

/// Not yet: exit code 4, and of the conditions these do not hold.
#[track_caller]
fn missing(said: &Said, whats: &[&str]) {
    assert_eq!(said.code, Some(4), "{}{}", said.stdout, said.stderr);
    let found = said.stdout.lines().filter(|line| line.starts_with("  ✗ ")).map(|line| line[6..25].trim());
    assert_eq!(found.collect::<Vec<_>>(), whats, "{}", said.stdout);
    assert!(said.stderr.contains("is not retired yet"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_condition_is_asked_for() {
    let town = Town::open().await;
    let untouched = town.properties().await;
    // Whoever is there then is no reason to write anything down.
    let guest = log_in(&town.shop.settings.source, "postgres").await.unwrap();
    for arguments in [&["--dry-run"][..], &["--yes"]] {
        missing(&town.call(arguments), &["cut-over"]);
    }
    guest.close().await.unwrap();
    assert_eq!(town.properties().await, untouched);
    town.there.xtask(&town.shop, &["cutover"]).expect_code(0);
    let before = town.properties().await;
    backup_files::write_all(town.shop.runs.path(), &town.environment(), hours_ago(1));
    let said = town.call(&["--dry-run"]);
    missing(&said, &["soak time", "verify", "drills", "no session"]);
    says(&said, &["✗ NOT YET ecommerce_db: 4 of 8 conditions", " of 7d have passed", "before the cut-over"]);
    says(&said, &["restored: product, order, gateway, firestore", "→ cargo xtask verify --run 2"]);
    let json = town.call(&["--dry-run", "--json"]).expect_code(4).json();
    assert_eq!((&json["stage"], json["conditions"].as_array().unwrap().len()), (&json!("not_yet"), 8));

    town.there.set_policy("[decommission]\nsoak_days = 0\n");
    missing(&town.call(&["-n"]), &["verify", "drills", "no session"]);
    town.there.xtask(&town.shop, &["verify"]).expect_code(0);
    missing(&town.call(&["-n"]), &["drills", "no session"]);
    backup_files::write_all(town.shop.runs.path(), &town.environment(), hours_ago(0));
    missing(&town.call(&["-n"]), &["no session"]);
    backup_files::add(
        town.shop.runs.path(),
        &town.environment(),
        "firestore",
        Timestamp::now() + 1.second(),
        Drill::Red,
    );
    let said = town.call(&["-n"]);
    missing(&said, &["drills", "no session"]);
    says(&said, &["has restored: firestore\n"]);
    backup_files::write(town.shop.runs.path(), &town.environment(), "firestore", hours_ago(0), Drill::Green);
    let red = |red: bool| {
        let run = town.shop.latest();
        run.change_manifest(|manifest| {
            manifest.proof.as_mut().unwrap().checks[0].wrong = u64::from(red);
            Ok(())
        })
        .unwrap();
    };
    red(true);
    missing(&town.call(&["-n"]), &["verify", "no session"]);
    red(false);
    town.beside().await.run("CREATE DATABASE other").await.unwrap();
    let slot = "SELECT pg_create_physical_replication_slot('none')";
    town.beside().await.run(slot).await.unwrap();
    // A slot of the server is none of the database.
    missing(&town.call(&["-n"]), &["no session"]);
    assert_eq!(town.properties().await, before);
    assert!(!town.record_file().exists());

    // The first call keeps others out, asked; report may log in until then.
    log_in(&town.shop.settings.source, "report").await.unwrap().close().await.unwrap();
    let said = town.call(&[]);
    assert_refused("nobody to ask", &said, &["it would keep others out of ecommerce_db", "--yes"]);
    log_in(&town.shop.settings.source, "report").await.unwrap().close().await.unwrap();
    let said = town.call(&["--yes"]);
    missing(&said, &["no session"]);
    says(&said, &["nobody was there for 0s of 1d, looked at in 1 of 12 different hours"]);
    let error = log_in(&town.shop.settings.source, "report").await.unwrap_err().to_string();
    assert!(error.contains("permission denied for database"), "{error}");
    missing(&town.call(&[]), &["no session"]);
    let said = town.call(&["--undo"]).expect_code(0);
    says(&said, &["✓ ecommerce_db has its name, and lets in who was let in before"]);
    assert_eq!(town.properties().await, before);
    log_in(&town.shop.settings.source, "report").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_in_begins_the_day_again() {
    let town = Town::ready().await;
    // It would hold now.
    let said = town.call(&["--dry-run"]).expect_code(0);
    says(&said, &["✓ ecommerce_db may be retired: all 8 conditions hold"]);

    let session = log_in(&town.shop.settings.source, "postgres").await.unwrap();
    let said = town.call(&[]);
    missing(&said, &["no session"]);
    says(&said, &["there was session ", " of postgres (shop)"]);
    session.close().await.unwrap();
    town.nobody_is_there().await;
    missing(&town.call(&[]), &["no session"]);

    // One that comes and goes between two looks is counted.
    town.a_day_passes().await;
    town.in_source("SELECT 1").await;
    town.nobody_is_there().await;
    let said = town.call(&[]);
    missing(&said, &["no session"]);
    says(&said, &["1 sessions came and went"]);

    town.a_day_passes().await;
    town.in_source("SELECT pg_stat_reset()").await;
    town.nobody_is_there().await;
    let said = town.call(&[]);
    missing(&said, &["no session"]);
    says(&said, &["the statistics were reset (stats_reset)"]);

    // `monitor` looks, too, without a session in it.
    town.a_day_passes().await;
    town.change_record(|record| {
        let samples = record["samples"].as_array_mut().unwrap();
        samples.truncate(1);
    });
    let watched = format!("{AT_ONCE}{}", crate::monitor::ON_ANY_MACHINE);
    town.there.set_policy(&watched);
    let said = town.there.xtask(&town.shop, &["monitor", "--once"]).expect_code(0);
    says(&said, &["ok   source        1 checks: closed, not entered; nobody is there since: "]);
    assert_eq!(town.record()["samples"].as_array().unwrap().len(), 2);
    assert_eq!(town.databases().await, [DATABASE]);
    town.call(&["-n"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_way_and_back() {
    let town = Town::ready().await;
    let stores = targets(&town.shop).await;
    let said = town.call(&[]).expect_code(0);
    let name = town.retired();
    assert!(name.starts_with("ecommerce_db_retired_2") && name.len() == DATABASE.len() + 17, "{name}");
    says(
        &said,
        &["✓ RETIRED ecommerce_db: archived, proven, and called ecommerce_db_retired_2", "archive: "],
    );
    assert_words(
        &said,
        &["✓ the archive restores: 11 tables", &format!("--drop --confirm {name}"), "--undo"],
    );
    assert_eq!(town.databases().await, std::slice::from_ref(&name));
    assert_eq!(town.archives().len(), 1);
    assert_eq!(targets(&town.shop).await, stores);
    let journal = load_journal(town.shop.latest().path()).unwrap();
    let last = &journal.commands.last().unwrap().whole;
    assert_eq!((&last.step, &last.event), (&CommandName::Decommission, &Event::Done));
    // Again: nothing is left to do.
    let said = town.call(&[]).expect_code(0);
    says(&said, &["✓ RETIRED"]);
    assert_eq!(town.archives().len(), 1);

    let xtask = |arguments: &[&str]| town.there.xtask(&town.shop, arguments);
    let undo = format!("decommission --undo --run {}", town.shop.latest().id());
    without_old::is_refused(xtask, &["was decommissioned", &format!("is called {name}"), &undo]);
    xtask(&["verify", "--run", "latest"]).expect_code(0);
    let back = xtask(&["rollback", "after-start"]);
    let way = format!("cargo xtask decommission --undo --run {}", town.shop.latest().id());
    assert_refused("the way back", &back, &["is called ecommerce_db_retired_2", &way]);
    not_dropped_yet(&town, &name).await;

    // Everything comes back.
    town.call(&["--undo"]).expect_code(0);
    assert_eq!(town.databases().await, [DATABASE]);
    log_in(&town.shop.settings.source, "report").await.unwrap().close().await.unwrap();
    town.there.xtask(&town.shop, &["rollback", "before-start", "--dry-run"]).expect_code(0);

    // The same way again, to its end.
    town.call(&["--yes"]).expect_code(4);
    town.a_day_passes().await;
    town.call(&[]).expect_code(0);
    dropped(&town, &name).await;
}

async fn not_dropped_yet(town: &Town, name: &str) {
    for confirm in [&[][..], &["--confirm", DATABASE], &["--confirm", "ecommerce_db_retired_"]] {
        let said = town.call(&[&["--drop"], confirm].concat());
        assert_refused("another name", &said, &["its name has to be typed", name]);
    }
    let said = town.call(&["--drop", "--confirm", name]);
    assert_refused("too early", &said, &["may be dropped 7d later: in 6d 23h", "--undo brings it back"]);
    assert_eq!(town.databases().await, [name]);
}

async fn dropped(town: &Town, name: &str) {
    town.change_record(|record| record["retired"]["at"] = json!(hours_ago(24 * 8).to_string()));
    let archive = town.archives().into_iter().max().unwrap();
    let dump = archive.join("full_backup.dump");
    let whole = fs::read(&dump).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&dump, flipped).unwrap();
    let said = town.call(&["--drop", "--confirm", name]);
    assert_refused(
        "a damaged archive",
        &said,
        &["full_backup.dump is not the file that was written", "the old database stays"],
    );
    fs::write(&dump, whole).unwrap();
    let server = Server { database: name.into(), ..town.shop.settings.source.clone() };
    let inside = log_in(&server, "postgres").await.unwrap();
    let said = town.call(&["--drop", "--confirm", name]).expect_code(1);
    assert_words(&said, &["is not dropped; who is in it: SELECT pid", "is being accessed by other users"]);
    inside.close().await.unwrap();
    assert_eq!(town.databases().await, [name]);
    let said = town.call(&["--drop", "--confirm", name]).expect_code(0);
    says(&said, &[&format!("✓ DROPPED {name}")]);
    assert_eq!(town.databases().await, Vec::<String>::new());
    town.call(&["--drop"]).expect_code(0);
    let xtask = |arguments: &[&str]| town.there.xtask(&town.shop, arguments);
    without_old::is_refused(
        xtask,
        &["was decommissioned", town.shop.latest().id(), "dropped it at 2", "archive"],
    );
    without_old::goes_on(xtask);
    for (list, of_it, of_another) in [
        (["checklist", "--list", "during"], "the old database has been dropped", "Old database archived"),
        (["checklist", "--list", "after"], "Monitoring configured", "Old database archived"),
        (["checklist", "--list", "week"], "✓ Old infrastructure decommissioned", "Monitoring configured"),
    ] {
        let said = xtask(&list);
        assert!(said.stdout.contains(of_it) && !said.stdout.contains(of_another), "{}", said.stdout);
    }

    let gone = town.call(&["--undo"]);
    let id = archive.file_name().unwrap().to_str().unwrap();
    assert_refused("dropped", &gone, &["was dropped at", &format!("--run {id} --into ecommerce_db")]);
    assert_refused(
        "dropped",
        &town.there.xtask(&town.shop, &["rollback", "after-start"]),
        &["none to work on or to go back to"],
    );
    // The archive is a backup like any other.
    let place = archive.parent().unwrap();
    let again = ["restore", "--run", id, "--into", DATABASE];
    let said: Said = town.there.command_of(&town.shop, place, &again).output().unwrap().into();
    says(&said.expect_code(0), &["✓ PROVEN ecommerce_db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_off_goes_on_and_what_was_written_since_is_said() {
    let town = Town::ready().await;
    // Killed while it archives: the same command goes on, and nothing is left behind.
    let mut tool = Tool::start(town.there.command(&town.shop, &["decommission"]));
    tool.wait_for_words("The final archive: ");
    let begun = || town.archives().iter().any(|archive| archive.join("full_backup.sql").exists());
    tool.wait_for("it to be read back", begun);
    tool.signal(Signal::SIGKILL);
    tool.wait_for_its_end();
    town.nobody_is_there().await;
    assert_eq!(town.archives().len(), 1);
    let begun = || town.record()["archive"]["begun"].clone();
    let first = begun();
    assert!(first.is_string(), "{first}");

    // Somebody with every right has written meanwhile.
    town.in_source("BEGIN READ WRITE; UPDATE users SET login_count = 4711 WHERE id = 1; COMMIT").await;
    town.nobody_is_there().await;
    let said = town.call(&[]).expect_code(3);
    assert_words(
        &said,
        &["not what they were when the services took over: public.users.", "--accept-changes"],
    );
    assert_eq!(town.databases().await, [DATABASE]);
    assert_eq!(town.archives().len(), 1);
    // Another one, if in the same second under the same name.
    assert_ne!(begun(), first);

    // Written down and killed before it was done.
    let name = format!("ecommerce_db_retired_{}", Timestamp::now().strftime("%Y%m%d"));
    town.change_record(|record| {
        record["retired"] = json!({ "at": Timestamp::now().to_string(), "name": name })
    });
    let second = town.archives();
    town.call(&["-n"]).expect_code(0);
    town.call(&["--accept-changes"]).expect_code(0);
    assert_eq!(town.databases().await, [name]);
    // Nobody has been there since it was proven: that one it is.
    assert_eq!(town.archives(), second);

    // Two operators: one waits for the other.
    let mut holder = town.beside().await;
    holder.run("SELECT pg_advisory_lock(2020893043, 1)").await.unwrap();
    let said = town.call(&["--undo"]);
    assert_refused("another at it", &said, &["another run is at work on"]);
}

/// The same on a local stack, of which it is told that it was dropped.
#[tokio::test(flavor = "multi_thread")]
async fn a_stack_works_without_its_old_database_and_a_new_one_is_no_ones_past() {
    let shop = Shop::open(0).await;
    for verb in [&["migrate"][..], &["cutover"], &["verify"]] {
        shop.xtask(verb).expect_code(0);
    }
    let name = "ecommerce_db_retired_20260101";
    let at = "2026-01-01T00:00:00Z";
    let record = json!({ "retired": { "at": at, "name": name }, "dropped": at });
    fs::write(shop.latest().file("decommission.json"), record.to_string()).unwrap();
    FreezeLog::at(shop.runs.path()).unfreeze(&FreezeLog::name_of(&shop.settings.source)).unwrap();
    let beside = Server { database: "postgres".into(), ..shop.settings.source.clone() };
    let mut beside = shop.superuser(&beside).await;
    beside.run(&format!("DROP DATABASE {DATABASE} WITH (FORCE)")).await.unwrap();
    let xtask = |arguments: &[&str]| shop.xtask(arguments);
    without_old::is_refused(xtask, &["was decommissioned", "dropped it at 2026-01-01"]);
    without_old::goes_on(xtask);
    // One that has its name is another database, and none that was decommissioned.
    beside.run(&format!("CREATE DATABASE {DATABASE}")).await.unwrap();
    shop.new_source("UTF8").await;
    let said = shop.xtask(&["plan"]);
    assert!(!said.stderr.contains("decommissioned"), "{}{}", said.stdout, said.stderr);
    let said = shop.xtask(&["repair", "--run", "latest"]);
    assert!(!said.stderr.contains("decommissioned"), "{}{}", said.stdout, said.stderr);
}

/// A statement of the tool on the old database that is kept waiting.
struct Stopped {
    tool: Tool,
    /// Somebody who describes the database, and goes on describing.
    guest: Connection,
}

impl Stopped {
    /// The tool at work, stopped where it would do this.
    async fn at(town: &Town, database: &str, arguments: &[&str], statement: &str) -> Stopped {
        let mut guest = town.beside().await;
        guest.run(&format!("BEGIN; COMMENT ON DATABASE {database} IS 'to be described'")).await.unwrap();
        let mut tool = Tool::start(town.there.command(&town.shop, &[&["decommission"], arguments].concat()));
        tokio::task::block_in_place(|| {
            tool.wait_for(statement, || {
                tokio::runtime::Handle::current().block_on(are_waiting(town, statement)) == 1
            });
        });
        Stopped { tool, guest }
    }

    async fn let_go(&mut self) {
        self.guest.run("COMMIT").await.unwrap();
    }

    fn kill(&mut self) {
        self.tool.signal(Signal::SIGKILL);
        self.tool.wait_for_its_end();
    }
}

/// How many of these statements wait for somebody else.
async fn are_waiting(town: &Town, statement: &str) -> i64 {
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '{statement}%' AND wait_event_type = 'Lock'"
    );
    town.beside().await.row(&query).await.unwrap().get(0)
}

/// The server has noticed that nobody is there any more who wants it.
async fn given_up(town: &Town, statement: &str) {
    let gone = wait::for_state("the server to notice", within(10, 20), async || {
        let waiting = are_waiting(town, statement).await;
        Ok(if waiting == 0 { State::Ready(()) } else { State::NotYet(waiting) })
    });
    gone.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_rename_and_at_the_drop() {
    const RENAME: &str = "ALTER DATABASE %RENAME";
    const DROP: &str = "DROP DATABASE";
    let town = Town::ready().await;
    // Before its rename: the server notices, and nothing has been renamed.
    let mut stopped = Stopped::at(&town, DATABASE, &[], RENAME).await;
    stopped.kill();
    let announced = town.retired();
    given_up(&town, RENAME).await;
    stopped.let_go().await;
    assert_eq!(town.databases().await, [DATABASE]);

    // The next call, also of another day: it takes the name that was announced. A second operator is told.
    town.change_record(|record| record["retired"]["name"] = json!("ecommerce_db_retired_20251231"));
    let mut stopped = Stopped::at(&town, DATABASE, &[], RENAME).await;
    assert_refused("two at once", &town.call(&[]), &["another run is at work on"]);
    // Killed while its rename goes through all the same: nobody has written down that it was done.
    stopped.kill();
    stopped.let_go().await;
    let name = "ecommerce_db_retired_20251231";
    let renamed = wait::for_state("the server to go on", within(10, 20), async || {
        let there = town.databases().await;
        Ok(if there == [name] { State::Ready(()) } else { State::NotYet(format!("{there:?}")) })
    });
    renamed.await.unwrap();
    assert_ne!(announced, name);
    says(&town.call(&["--dry-run"]).expect_code(0), &["✓ RETIRED", name]);
    says(&town.call(&[]).expect_code(0), &["✓ RETIRED", name]);
    assert_eq!(town.archives().len(), 1, "archived once");

    // Between the rename and the drop.
    town.change_record(|record| record["retired"]["at"] = json!(hours_ago(24 * 8).to_string()));
    let drop = ["--drop", "--confirm", name];
    let mut stopped = Stopped::at(&town, name, &drop, DROP).await;
    stopped.kill();
    given_up(&town, DROP).await;
    stopped.let_go().await;
    assert_eq!(town.databases().await, [name]);
    says(&town.call(&[]).expect_code(0), &["✓ RETIRED", name]);
    // The drop goes through, and nobody has written it down.
    let mut stopped = Stopped::at(&town, name, &drop, DROP).await;
    stopped.kill();
    stopped.let_go().await;
    let dropped = wait::for_state("the server to go on", within(10, 20), async || {
        let there = town.databases().await;
        Ok(if there.is_empty() { State::Ready(()) } else { State::NotYet(format!("{there:?}")) })
    });
    dropped.await.unwrap();
    assert!(town.record()["dropped"].is_null());
    town.there.xtask(&town.shop, &["verify"]).expect_code(0);
    says(&town.call(&drop).expect_code(0), &[&format!("✓ DROPPED {name}")]);
    says(&town.call(&drop).expect_code(0), &[&format!("✓ DROPPED {name}")]);
}
