//! A run that is killed at any step, or loses its lock, goes on and ends like an undisturbed one; two never
//! work at once; `--replace` takes the place of an earlier run and of nothing else; `status` tells it all.

use crate::source::Elsewhere;
use crate::support::{Said, Shop};
use crate::tool::Tool;
use crate::tool::within;
use datapath::firestore::Unconditional;
use nix::sys::signal::Signal;
use serde_json::Value;
use sqlx::Row;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use xtask::effects::postgres::{self, Connection};
use xtask::effects::wait::{self, State};
use xtask::lab::faults::{TcpFault, TcpFaults};
use xtask::model::Database;
use xtask::run::lock::Locks;
use xtask::run::manifest::Manifest;
use xtask::sql;

const COLLECTIONS: [&str; 2] = ["users", "user_sessions"];

/// Everything that the targets hold, but for the run's name.
async fn stores(shop: &Shop) -> Vec<String> {
    let mut all = Vec::new();
    for database in Database::ALL {
        let mut connection = shop.superuser(shop.settings.target(database)).await;
        let contents = crate::tool::contents(&mut connection).await;
        // Its row says which run and when.
        let start = contents.find("xtask.runs <table").unwrap_or(contents.len());
        let end = contents[start..].find("</table>").map_or(contents.len(), |end| start + end);
        let lines = contents[..start].lines().chain(contents[end..].lines());
        // What was remembered of the load, where it was not cut off before that.
        let lines = lines.filter(|line| !line.contains("instants"));
        all.extend(lines.map(|line| format!("{database}: {line}")));
    }
    all.extend(documents(shop).await);
    all
}

async fn ids(shop: &Shop, collection: &str) -> Vec<String> {
    let mut ids = Vec::new();
    let page = |page: Vec<String>| {
        ids.extend(page);
        Ok(())
    };
    shop.firestore().await.ids(collection, page).await.unwrap();
    ids
}

async fn documents(shop: &Shop) -> Vec<String> {
    let (firestore, mut all) = (shop.firestore().await, Vec::new());
    for collection in COLLECTIONS {
        for ids in ids(shop, collection).await.chunks(300) {
            let found = firestore.read(collection, ids).await.unwrap();
            all.extend(found.into_iter().map(|(id, fields)| format!("{collection}/{id} {fields:?}")));
        }
    }
    all
}

/// The targets as they were before any run.
async fn emptied(shop: &Shop) {
    for database in Database::ALL {
        let server = shop.settings.target(database);
        let mut postgres = server.clone();
        (postgres.user, postgres.database) = ("postgres".into(), "postgres".into());
        let mut connection = postgres::connect(&postgres, "test").await.unwrap();
        connection.run(&sql::drop_database(&server.database)).await.unwrap();
        connection.run(&sql::create_database(&server.database, &server.user)).await.unwrap();
    }
    for collection in COLLECTIONS {
        let ids = ids(shop, collection).await;
        shop.firestore().await.delete(collection, &ids).await.unwrap();
    }
}

/// What the run says became of every row.
fn ledger(manifest: &Manifest) -> Vec<String> {
    let tables = &manifest.export.as_ref().unwrap().tables;
    tables
        .iter()
        .map(|(name, t)| {
            format!("{name} {} {:?} {:?} {:?}", t.source_rows, t.outcomes, t.content, t.sequence)
        })
        .collect()
}

/// The newest directory of a run, as soon as there is one.
fn newest(shop: &Shop) -> Option<PathBuf> {
    let mut runs: Vec<PathBuf> =
        fs::read_dir(shop.runs.path()).unwrap().flatten().map(|e| e.path()).collect();
    runs.sort();
    runs.pop()
}

fn journal_says(run: &Path, step: &str, event: &str) -> bool {
    let text = fs::read_to_string(run.join("journal.jsonl")).unwrap_or_default();
    text.contains(&format!("\"step\":\"{step}\",\"event\":\"{event}\""))
}

fn name(run: &Path) -> String {
    run.file_name().unwrap().to_str().unwrap().to_owned()
}

fn status(shop: &Shop, run: &str) -> Value {
    // Nothing but the directory of runs: no server is asked.
    let mut command = crate::support::binary();
    command.args(["status", "--json", "--run", run]).arg("--backup-dir").arg(shop.runs.path());
    Said::from(command.output().unwrap()).expect_code(0).json()
}

#[track_caller]
fn says(said: &Said, words: &[&str]) {
    for word in words {
        assert!(said.stderr.contains(word), "not a word of {word:?} in\n{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_step_it_ends_like_an_undisturbed_run() {
    let shop = Shop::open(1).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let (expected, books) = (stores(&shop).await, ledger(&shop.manifest()));
    assert!(expected.len() > 1_000, "{}", expected.len());
    for (step, event) in [
        ("migrate", "start"),
        ("1 dump", "start"),
        ("2 export categories", "done"),
        ("2 export", "done"),
        ("3 firestore users", "start"),
        ("3 firestore users", "done"),
        ("4 import order", "done"),
        ("4 import", "done"),
        ("5 verify", "start"),
    ] {
        emptied(&shop).await;
        let before = newest(&shop);
        let mut migrate = Tool::start(shop.command(&["migrate"]));
        let fresh = || newest(&shop).filter(|run| Some(run) != before.as_ref());
        // A run that has not begun leaves nothing to go on from.
        let begun = |run: &PathBuf| run.join("manifest.json").exists() && journal_says(run, step, event);
        migrate.wait_for(step, || fresh().is_some_and(|run| begun(&run)));
        migrate.signal(Signal::SIGKILL);
        assert_eq!(migrate.ends_within(10).code, None, "{step} {event}");
        let run = fresh().unwrap();
        assert_eq!(status(&shop, "latest")["state"], "killed", "{step} {event}");
        assert_eq!(status(&shop, "latest")["next"], format!("migrate --resume {}", name(&run)));
        if event == "done" {
            // In the middle of a line.
            let journal = fs::read(run.join("journal.jsonl")).unwrap();
            fs::write(run.join("journal.jsonl"), &journal[..journal.len() - 7]).unwrap();
        }
        let said = shop.xtask(&["migrate", "--resume", "latest"]).expect_code(0);
        says(&said, &[&format!("latest: run {}", name(&run))]);
        let found = stores(&shop).await;
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{step} {event}");
        }
        assert_eq!(found.len(), expected.len(), "{step} {event}");
        assert_eq!(ledger(&shop.manifest()), books, "{step} {event}");
        assert_eq!(status(&shop, "latest")["state"], "done");
        assert_eq!(status(&shop, "latest")["proven"], true);
    }
    // What is done is only looked at.
    let run = name(&newest(&shop).unwrap());
    let said = shop.xtask(&["migrate", "--resume", &run]).expect_code(0);
    says(&said, &[&format!("run {run} is done, and was proven"), "Phase 5"]);
    assert!(!said.stderr.contains("Phases 3 and 4"));
    let said = shop.xtask(&["migrate", "--resume", "latest"]).expect_code(4);
    says(&said, &["no migration in", "is unfinished", &format!("verify --run {run}")]);
}

#[test]
fn what_a_killed_run_has_started_writes_no_more() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shop = runtime.block_on(Shop::open(1));
    let mut migrate = Tool::start(shop.command(&["migrate"]));
    let dump = format!("--file={}", shop.runs.path().canonicalize().unwrap().display());
    let dumps = || crate::tool::command_lines().into_iter().filter(|(_, line)| line.contains(&dump));
    // As if it hung: by itself it does not end.
    migrate.wait_for("a dump", || dumps().next().is_some_and(|(pid, _)| crate::tool::stopped(pid)));
    migrate.signal(Signal::SIGKILL);
    migrate.ends_within(10);
    let ended = wait::until_blocking(within(10, 20), || {
        let left: Vec<(u32, String)> = dumps().collect();
        Ok(if left.is_empty() { State::Ready(()) } else { State::NotYet(left) })
    });
    let left = match ended.unwrap() {
        State::Ready(()) => Vec::new(),
        State::NotYet(left) => left,
    };
    left.iter().for_each(|(pid, _)| crate::tool::send(*pid, Signal::SIGKILL));
    assert_eq!(left, []);
    shop.xtask(&["migrate", "--resume", "latest"]).expect_code(0);
}

/// Holds a table of the source that only the snapshot waits for: the preflight reads those that are migrated.
async fn held_up(shop: &Shop) -> Connection {
    let mut source = shop.source().await;
    source.run("BEGIN; LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    source
}

/// A run that has begun and waits.
fn begun(shop: &Shop, arguments: &[&str]) -> (Tool, PathBuf) {
    let before = newest(shop);
    let mut tool = Tool::start(shop.command(arguments));
    let fresh = || newest(shop).filter(|run| Some(run) != before.as_ref());
    tool.wait_for("the run", || fresh().is_some_and(|run| run.join("manifest.json").exists()));
    (tool, fresh().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_and_what_status_says_meanwhile() {
    let shop = Shop::open(0).await;
    let holding = held_up(&shop).await;
    let (mut first, run) = begun(&shop, &["migrate"]);
    let id = name(&run);
    let directories = || fs::read_dir(shop.runs.path()).unwrap().count();
    let who = xtask::effects::host::user_at_host();
    for verb in [&["migrate"][..], &["export"], &["backup"], &["migrate", "--resume", &id]] {
        let said = shop.xtask(verb).expect_code(4);
        let holder = format!("xtask {id} lock {who}");
        let words = ["another run is at work on source", &holder[..holder.len().min(63)], "127.0.0.1", "UTC"];
        says(&said, &words);
        says(&said, &[&format!("cargo xtask status --run {id}"), "rerun the command", "pg_terminate"]);
        assert_eq!(directories(), 1, "{verb:?}");
    }
    let journal = fs::read_to_string(run.join("journal.jsonl")).unwrap();
    assert!(!journal.contains("--resume"), "who is refused writes nothing into another's journal");

    let now = status(&shop, "latest");
    assert_eq!(
        (&now["state"], &now["proven"], &now["next"]),
        (&"running".into(), &Value::Null, &Value::Null)
    );
    assert_eq!(now["journal"]["commands"][0]["process"]["pid"], first.pid());
    let text = shop.xtask(&["status"]).expect_code(0).stdout;
    for word in [&id[..], "under way", "migrate", &format!("process {}", first.pid()), "no complete export"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    let follow = Tool::start(shop.command(&["status", "--follow"]));
    drop(holding);
    first.wait_for("its end", || journal_says(&run, "5 verify", "done"));
    let said = first.ends_within(60).expect_code(0);
    assert!(!said.stderr.contains("resume"), "{}", said.stderr);
    let followed = follow.ends_within(60).expect_code(0);
    for word in ["2 export orders", "5 verify", "done, and proven", "every store holds"] {
        assert!(followed.stdout.contains(word), "{word}: {}", followed.stdout);
    }
    assert!(!run.join("progress.json").exists());
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_loses_its_lock_stops_and_goes_on_later() {
    let shop = Shop::open(0).await;
    let source = held_up(&shop).await;
    let (mut migrate, run) = begun(&shop, &["migrate"]);
    terminate_lock(&shop, Database::Order).await;
    migrate.wait_for_words("error: ");
    let said = migrate.ends_within(30).expect_code(1);
    let server = shop.settings.order.to_string();
    let resume = format!("next: cargo xtask migrate --resume {}", name(&run));
    says(&said, &[&format!("the lock on {server} was lost"), &resume]);
    assert!(said.stderr.find("error: ") < said.stderr.find(&resume), "{}", said.stderr);
    assert_eq!(status(&shop, "latest")["state"], "failed");
    drop(source);

    // What the first attempt left of another snapshot is not mixed with the second's.
    fs::create_dir_all(run.join("quarantine")).unwrap();
    fs::write(run.join("quarantine/products.csv"), "of another snapshot\n").unwrap();
    // Now while it is about to publish: the hook waits for a lock of ours.
    let mut order = shop.superuser(&shop.settings.order).await;
    hold_publishing(&mut order).await;
    let mut migrate = Tool::start(shop.command(&["migrate", "--resume", "latest"]));
    migrate.wait_for("the import", || journal_says(&run, "4 import product", "done"));
    wait_until_publishing(&mut order).await;
    assert!(!run.join("quarantine/products.csv").exists());
    terminate_lock(&shop, Database::Product).await;
    let said = migrate.ends_within(30).expect_code(1);
    says(&said, &["the lock on product", &resume, "everything is exported again under a new snapshot"]);
    release_publishing(&mut order).await;
    let exists = "SELECT to_regclass('public.orders') IS NULL";
    assert!(order.row(exists).await.unwrap().get::<bool, _>(0), "it has been stopped before it published");

    let said = shop.xtask(&["migrate", "--resume", "latest"]).expect_code(0);
    says(&said, &["its export is complete", "product holds exactly this run's rows already"]);
    shop.xtask(&["verify"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_not_waited_for_for_ever() {
    let mut shop = Shop::open(0).await;
    let port = shop.settings.order.port;
    let line = TcpFaults::start(format!("127.0.0.1:{port}")).await.unwrap();
    shop.settings.order.port = line.port();
    let elsewhere = Elsewhere::new(&shop, "postgres", "");
    shop.settings.order.port = port;
    let mut migrate = Tool::start(elsewhere.command(&shop, &["migrate"]));
    let begun = || newest(&shop).is_some_and(|run| journal_says(&run, "4 import order", "start"));
    migrate.wait_for("the import", begun);
    line.set(TcpFault::Stall);
    let said = tokio::task::spawn_blocking(|| migrate.ends_within(90)).await.unwrap().expect_code(1);
    says(&said, &["the lock on order", "was lost", "no answer within 30 s", "migrate --resume"]);
    line.set(TcpFault::None);
    elsewhere.xtask(&shop, &["migrate", "--resume", "latest"]).expect_code(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lock_is_known_at_once() {
    let shop = Shop::open(0).await;
    for database in Database::ALL {
        let ctx = shop.ctx();
        let locks = Locks::all(&ctx).await.unwrap();
        let guarded = tokio::spawn(locks.guard(std::future::pending::<anyhow::Result<()>>()));
        // Longer than a look: that alone loses nothing.
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert!(!guarded.is_finished());
        let before = Instant::now();
        terminate_lock(&shop, database).await;
        let error = guarded.await.unwrap().unwrap_err();
        assert!(before.elapsed() < Duration::from_secs(1), "{:?}", before.elapsed());
        let expected = format!("the lock on {} was lost", shop.settings.target(database));
        assert!(format!("{error:#}").starts_with(&expected), "{error:#}");
    }
}

async fn terminate_lock(shop: &Shop, database: Database) {
    let mut connection = shop.superuser(shop.settings.target(database)).await;
    let terminate = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                     WHERE application_name LIKE 'xtask % lock %'";
    assert_eq!(connection.row(terminate).await.unwrap().get::<i64, _>(0), 1);
}

/// Whoever moves a table into place in this database waits; the preflight's rehearsal of it does not.
async fn hold_publishing(superuser: &mut Connection) {
    let hook = "CREATE FUNCTION public.hold() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF current_query() LIKE '%xtask_staging%SET SCHEMA public%' THEN PERFORM pg_advisory_xact_lock(42); END IF; \
                END $$; \
                CREATE EVENT TRIGGER hold ON ddl_command_start WHEN TAG IN ('ALTER TABLE') \
                EXECUTE FUNCTION public.hold(); SELECT pg_advisory_lock(42)";
    superuser.run(hook).await.unwrap();
}

async fn wait_until_publishing(superuser: &mut Connection) {
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42 AND NOT granted";
    let publishing = wait::for_state("somebody to publish", within(60, 20), async || {
        let waiting = superuser.row(waits).await?.try_get::<i64, _>(0)?;
        Ok(if waiting > 0 { State::Ready(()) } else { State::NotYet("nobody waits for the lock") })
    });
    publishing.await.unwrap();
}

/// The waiting one has been ended before: it must not publish now.
async fn release_publishing(superuser: &mut Connection) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'";
    let ended = wait::for_state("the one that waits to end", within(60, 20), async || {
        let waiting = superuser.row(waits).await?.try_get::<i64, _>(0)?;
        Ok(if waiting == 0 { State::Ready(()) } else { State::NotYet(format!("{waiting} wait")) })
    });
    ended.await.unwrap();
    superuser
        .run("SELECT pg_advisory_unlock(42); DROP EVENT TRIGGER hold; DROP FUNCTION public.hold")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resumed_run_refuses() {
    let shop = Shop::open(0).await;
    let holding = held_up(&shop).await;
    let (migrate, run) = begun(&shop, &["migrate", "--quiet", "--max-quarantine", "999"]);
    migrate.signal(Signal::SIGINT);
    let said = migrate.ends_within(10).expect_code(6);
    let next = format!("next: cargo xtask migrate --resume {} --stack", name(&run));
    assert!(said.stderr.lines().last().unwrap().starts_with(&next), "{}", said.stderr);
    assert_eq!(status(&shop, "latest")["state"], "failed");
    drop(holding);
    fs::remove_dir_all(run).unwrap();

    shop.xtask(&["export"]).expect_code(0);
    let run = newest(&shop).unwrap();
    let id = name(&run);
    let manifest = fs::read_to_string(run.join("manifest.json")).unwrap();
    let hash = shop.manifest().tool.sql;
    for (from, to, words) in [
        (
            "\"environment\": \"local\"",
            "\"environment\": \"staging\"",
            &["of environment `staging`, not of `local`"][..],
        ),
        (&hash[..], "0123abcd", &["begun by another version of this tool", "0123abcd", &hash]),
        (
            "\"null_policy\": \"default\"",
            "\"null_policy\": \"keep\"",
            &["null_policy Keep", "now says Default"],
        ),
        (
            "\"source_zone\": \"UTC\"",
            "\"source_zone\": \"CET\"",
            &["source_zone \"CET\"", "now says \"UTC\""],
        ),
    ] {
        fs::write(run.join("manifest.json"), manifest.replacen(from, to, 1)).unwrap();
        let said = shop.xtask(&["migrate", "--resume", &id]).expect_code(4);
        says(&said, words);
    }
    fs::write(run.join("manifest.json"), &manifest).unwrap();

    // One byte of one file.
    for file in ["orders.csv", "full_backup.dump"] {
        let bytes = fs::read(run.join(file)).unwrap();
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(run.join(file), &damaged).unwrap();
        let said = shop.xtask(&["migrate", "--resume", &id]).expect_code(3);
        says(&said, &[&format!("{file} is not the file that was written"), "Put them back from a copy"]);
        fs::write(run.join(file), bytes).unwrap();
    }
    let said = shop.xtask(&["migrate", "--resume", &id, "--max-quarantine", "0"]).expect_code(5);
    says(&said, &["exceed the limit of 0", "next: cargo xtask plan --max-quarantine 0 --stack"]);
    for database in Database::ALL {
        let mut connection = shop.target(database).await;
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^pg_' AND schemaname <> 'information_schema'";
        assert_eq!(connection.row(tables).await.unwrap().get::<i64, _>(0), 0, "{database}");
    }
    // The limit that was said last holds, until another is said.
    shop.xtask(&["migrate", "--resume", &id]).expect_code(5);
    // As many as are allowed, and one more.
    let quarantined = &shop.manifest().export.unwrap().tables;
    let quarantined: u64 = quarantined.values().map(|table| table.outcomes.sums().quarantined).sum();
    for (allowed, code) in [(quarantined - 1, 5), (quarantined, 0)] {
        shop.xtask(&["migrate", "--resume", &id, "--max-quarantine", &allowed.to_string()]).expect_code(code);
    }
    shop.xtask(&["verify"]).expect_code(0);
    let backup = shop.xtask(&["backup", "--json"]).expect_code(0).json();
    assert!(backup["files"].is_object());
    // A good backup is not what a resumed run may clear away, and `latest` is none that it cannot mean.
    let run = newest(&shop).unwrap();
    let said = shop.xtask(&["migrate", "--resume", &name(&run)]).expect_code(4);
    says(&said, &["was begun by `backup`", "no complete export"]);
    assert!(run.join("full_backup.dump").exists());
    says(&shop.xtask(&["verify"]).expect_code(0), &[&format!("latest: run {id}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_run_gives_way_and_nothing_else_does() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--replace"]).expect_code(0);
    let first = newest(&shop).unwrap();
    let user: String = ids(&shop, "users").await.remove(0);
    let mut source = shop.source().await;
    source.run(&format!("UPDATE users SET deleted_at = now() WHERE firebase_uid = '{user}'")).await.unwrap();
    source.run("UPDATE orders SET tracking_number = 'new'").await.unwrap();
    says(&shop.xtask(&["migrate"]).expect_code(4), &["gives way to `cargo xtask migrate --replace --stack "]);

    // A changed row and a changed document: named, and left as they are with all others.
    let mut order = shop.target(Database::Order).await;
    let change = "UPDATE orders SET tracking_number = 'by hand' WHERE id = (SELECT min(id) FROM orders)";
    order.run("CREATE TABLE kept AS SELECT * FROM orders").await.unwrap();
    order.run(change).await.unwrap();
    let firestore = shop.firestore().await;
    let stranger = datapath::document::Document {
        id: user.clone(),
        fields: vec![("email", datapath::document::Value::Text("by@hand".into()))],
    };
    firestore.set("users", &stranger).await.unwrap();
    let before = stores(&shop).await;
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(4);
    let run = name(&first);
    says(
        &said,
        &[
            &format!("orders in {} holds", shop.settings.order),
            &format!("like run {run}, but not the same ones: it is left alone"),
            &format!("users/{user}: is not what run {run} wrote"),
            "collection users: 1 of",
        ],
    );
    assert!(!said.stderr.contains("payments in"), "{}", said.stderr);
    assert!(stores(&shop).await == before, "something has changed");
    // A row more, and a document more.
    order
        .run("UPDATE orders SET tracking_number = k.tracking_number FROM kept k WHERE k.id = orders.id; DROP TABLE kept; \
              INSERT INTO orders (id, user_uid, total_amount, created_at) VALUES (987654, 'u', 1, now())")
        .await
        .unwrap();
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(4);
    says(&said, &["rows, run", "wrote"]);
    order.run("DELETE FROM orders WHERE id = 987654").await.unwrap();
    // Put back what the first run wrote, from its own files.
    firestore.delete("users", std::slice::from_ref(&user)).await.unwrap();
    shop.xtask(&["import", "--run", &run]).expect_code(0);

    // Without the earlier run's files nobody knows its documents.
    let aside = shop.runs.path().with_extension("aside");
    fs::rename(&first, &aside).unwrap();
    let before = stores(&shop).await;
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(4);
    says(
        &said,
        &[&format!("run {run} is recorded in a target, but its directory is not in"), "--backup-dir"],
    );
    assert!(stores(&shop).await == before, "something has changed");
    fs::rename(&aside, &first).unwrap();

    // Killed when Firestore is another's already and one database is: goes on, and so does a third.
    let mut superuser = shop.superuser(&shop.settings.order).await;
    for again in ["resume", "replace"] {
        hold_publishing(&mut superuser).await;
        let (mut second, run) = begun(&shop, &["migrate", "--replace"]);
        second.wait_for("the documents", || {
            journal_says(&run, "3 firestore user_sessions", "done")
                && journal_says(&run, "4 import product", "done")
        });
        wait_until_publishing(&mut superuser).await;
        second.signal(Signal::SIGKILL);
        second.ends_within(10);
        release_publishing(&mut superuser).await;
        match again {
            "resume" => shop.xtask(&["migrate", "--resume", "latest"]).expect_code(0),
            _ => shop.xtask(&["migrate", "--replace"]).expect_code(0),
        };
        shop.xtask(&["verify"]).expect_code(0);
        assert!(!ids(&shop, "users").await.contains(&user), "the user has been deleted");
        let new = "SELECT count(*) FROM orders WHERE tracking_number IS DISTINCT FROM 'new'";
        assert_eq!(order.row(new).await.unwrap().get::<i64, _>(0), 0);
        let user: String = ids(&shop, "users").await.remove(0);
        source
            .run(&format!("UPDATE users SET deleted_at = now() WHERE firebase_uid = '{user}'"))
            .await
            .unwrap();
    }
}
