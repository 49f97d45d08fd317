//! A short campaign of what has changed since an instant; and what it cannot meet in so short a time.

use crate::tool::Place;
use xtask::changes::{self, Children, Ended, Key};
use xtask::effects::postgres::{self, Connection};
use xtask::remembered::{History, KeyKind, Unbroken};
use xtask::servers::local;
use xtask::servers::native::{EmulatorChoice, Options, Stack};
use xtask::sql;

const POSTGRES: Options =
    Options { postgres: true, emulator: EmulatorChoice::None, fsync: false, prepared_transactions: 5 };

#[test]
fn what_has_changed_is_told_whoever_writes() {
    let place = Place::new();
    let campaign = place.start(&["chaos", "--changes", "12", "--seed", "3", "--json"]);
    let said = campaign.ends_within(120).expect_code(0);
    let found = said.json();
    assert_eq!(found["failures"], serde_json::json!([]), "{}", said.stderr);
    let number = |name: &str| found[name].as_u64().unwrap();
    assert_eq!(number("rounds"), 12);
    assert!(number("changes") > 500 && number("deletions") > 50, "{found}");
    assert!(number("with_deletions") > 3 && number("deletions_exact") == number("with_deletions"), "{found}");
    assert_eq!((number("quiet"), number("unchanged")), (2, 2), "{found}");
    for done in [
        "committed",
        "rolled back",
        "with a savepoint rolled back",
        "prepared and committed late",
        "prepared and rolled back",
        "rewritten",
    ] {
        assert!(found["done"][done].as_u64().is_some_and(|count| count > 3), "{done}: {found}");
    }
    place.assert_empty();
}

#[test]
fn a_number_brings_a_round_back() {
    let place = Place::new();
    let only = ["chaos", "--changes", "12", "--seed", "3", "--only", "5"];
    let said = place.start(&only).ends_within(60).expect_code(0);
    assert!(said.stderr.contains("  round 5 ("), "{}", said.stderr);
    assert!(said.stdout.contains("seed 3: 1 rounds, 0 changes"), "{}", said.stdout);
    assert!(said.stdout.contains("1 of 1 quiet rounds unchanged and right"), "{}", said.stdout);
    place.assert_empty();
}

#[test]
fn a_campaign_of_changes_is_no_other() {
    let place = Place::new();
    for other in [
        &["--cuts", "5"][..],
        &["--corruptions", "5"],
        &["--verbs", "all"],
        &["--scale", "1"],
        &["--only", "3"],
    ] {
        let typed = [&["chaos", "--changes", "5"], other].concat();
        place.start(&typed).ends_within(20).expect_code(2);
    }
    place.assert_empty();
}

async fn server() -> (Stack, Connection) {
    let stack = Stack::start(tempfile::tempdir().unwrap().path(), POSTGRES).await.unwrap();
    let server = local::server(stack.connections(), "source", "postgres", "postgres").unwrap();
    (stack, postgres::connect(&server, "test").await.unwrap())
}

/// What is read, or written and not committed, changes nothing; whatever else ends does, whoever it was.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_has_changed_where_no_transaction_has_ended() {
    let (stack, mut looking) = server().await;
    let server = local::server(stack.connections(), "source", "postgres", "postgres").unwrap();
    let mut writing = postgres::connect(&server, "test").await.unwrap();
    let mut late = postgres::connect(&server, "test").await.unwrap();
    writing.run("CREATE TABLE things (id bigint); INSERT INTO things VALUES (1), (2)").await.unwrap();
    late.run("BEGIN; UPDATE things SET id = 3 WHERE id = 1").await.unwrap();
    writing.run("BEGIN; DELETE FROM things WHERE id = 2; PREPARE TRANSACTION 'later'").await.unwrap();
    // Those two have begun since the last that has ended, so they would hide others.
    writing.run("CREATE TABLE other ()").await.unwrap();

    async fn seen(looking: &mut Connection) -> (History, Ended) {
        looking.run(sql::BEGIN_LOOKING).await.unwrap();
        let ended = Ended::seen(looking).await.unwrap();
        let history = changes::history(looking).await.unwrap().unwrap();
        looking.run("COMMIT").await.unwrap();
        let own = changes::flushed(looking).await.unwrap().unwrap();
        (history, ended.with(own).expect("nobody has begun in between"))
    }
    let (history, then) = seen(&mut looking).await;
    for (is_late, nothing) in
        [(false, "SELECT 1"), (false, "SELECT * FROM things"), (true, "INSERT INTO things VALUES (9)")]
    {
        let connection = if is_late { &mut late } else { &mut writing };
        connection.run(nothing).await.unwrap();
        assert!(changes::none_ended_since(&mut looking, &history, &then).await.unwrap(), "{nothing}");
    }
    let restarted = History { unbroken: Unbroken::Started("before".into()), ..history };
    assert!(!changes::none_ended_since(&mut looking, &restarted, &then).await.unwrap());
    for (is_late, ended) in [
        (false, "INSERT INTO things VALUES (4)"),
        (true, "COMMIT"),
        (false, "COMMIT PREPARED 'later'"),
        (false, "CREATE DATABASE another"),
        (false, "TRUNCATE things"),
    ] {
        let connection = if is_late { &mut late } else { &mut writing };
        let (history, then) = seen(&mut looking).await;
        connection.run(ended).await.unwrap();
        assert!(!changes::none_ended_since(&mut looking, &history, &then).await.unwrap(), "{ended}");
    }
    // One that begins between the look and our own transaction is not told from it.
    looking.run(sql::BEGIN_LOOKING).await.unwrap();
    let ended = Ended::seen(&mut looking).await.unwrap();
    looking.run("COMMIT").await.unwrap();
    writing.run("INSERT INTO things VALUES (5)").await.unwrap();
    let own = changes::flushed(&mut looking).await.unwrap().unwrap();
    assert_eq!(ended.with(own), None);
    stack.stop().unwrap();
}

/// A view may have a column of this name: frozen 2^31 transactions ago is what the future looks like.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_frozen_long_ago_is_no_candidate() {
    let (stack, mut connection) = server().await;
    let now = connection.row("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").await.unwrap();
    let now: u64 = sqlx::Row::get::<String, _>(&now, 0).parse().unwrap();
    let versions = [(1, now - 5), (2, now - 1), (3, now + 100_000), (4, now - 3)];
    let rows: Vec<String> =
        versions.iter().map(|(id, xmin)| format!("({id}::bigint, '{xmin}'::xid)")).collect();
    let view = format!("CREATE VIEW frozen (id, xmin) AS VALUES {}", rows.join(", "));
    connection.run(&view).await.unwrap();
    connection.run(sql::BEGIN_LOOKING).await.unwrap();
    let counted = connection.row(&sql::versions("frozen", KeyKind::Id, now - 4, None)).await.unwrap();
    let counted: (i64, i64) = (sqlx::Row::get(&counted, 1), sqlx::Row::get(&counted, 2));
    let candidates = connection.rows(&sql::candidates("frozen", now - 4)).await.unwrap();
    let candidates: Vec<i64> = candidates.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    assert_eq!((counted, candidates), ((4, 2), vec![2, 4]), "rows and old ones, and the candidates");
    stack.stop().unwrap();
}

/// Two rows with one id, one in each part, and another that is gone: nobody could count that.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_parts_are_no_key_of_the_table() {
    let (stack, mut connection) = server().await;
    let table = "CREATE TABLE kinds (id bigint NOT NULL, kind integer) PARTITION BY LIST (kind);
         CREATE TABLE kinds_0 PARTITION OF kinds FOR VALUES IN (0);
         CREATE TABLE kinds_1 PARTITION OF kinds FOR VALUES IN (1);
         CREATE UNIQUE INDEX ON kinds_0 (id);
         CREATE UNIQUE INDEX ON kinds_1 (id);
         INSERT INTO kinds VALUES (1, 0), (4, 1)";
    connection.run(table).await.unwrap();
    let changes = "INSERT INTO kinds VALUES (1, 1); DELETE FROM kinds WHERE id = 4";
    let (told, keys) = since(&mut connection, "kinds", vec![1, 4], changes).await;
    assert_eq!(told.unwrap_err(), "public.kinds_0 has a key of its own: another part may hold the same id");
    assert_eq!(keys, []);
    stack.stop().unwrap();
}

/// Ids of one range are in two parts, which have one key.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_other_parts_are_not_gone() {
    let (stack, mut connection) = server().await;
    let table = "CREATE TABLE ranges (id bigint NOT NULL, note text) PARTITION BY RANGE (id);
         CREATE TABLE ranges_0 PARTITION OF ranges FOR VALUES FROM (0) TO (4);
         CREATE TABLE ranges_1 PARTITION OF ranges FOR VALUES FROM (4) TO (512);
         CREATE UNIQUE INDEX ON ranges (id);
         INSERT INTO ranges SELECT generate_series(1, 7)";
    connection.run(table).await.unwrap();
    let changes = "DELETE FROM ranges WHERE id = 2; UPDATE ranges SET note = 'x' WHERE id = 5;
                   INSERT INTO ranges VALUES (9, 'x')";
    let (told, keys) = since(&mut connection, "ranges", (1..=7).collect(), changes).await;
    assert_eq!(told, Ok(()));
    assert_eq!(keys, [Key::Written(5), Key::Written(9), Key::Deleted(2)]);
    stack.stop().unwrap();
}

/// What is told of a table whose rows of then, with these ids, have been changed.
async fn since(
    connection: &mut Connection,
    table: &str,
    ids: Vec<i64>,
    changes: &str,
) -> (Result<(), String>, Vec<Key>) {
    let place = changes::Place { schema: "public", table, children: Children::Included };
    changes::begin(connection, place).await.unwrap();
    let history = changes::history(connection).await.unwrap().unwrap();
    let then = changes::remember(connection, place, history, Default::default()).await.unwrap().unwrap();
    connection.run("COMMIT").await.unwrap();
    let rows: u64 = then.leaves.values().map(|leaf| leaf.buckets.rows()).sum();
    assert_eq!(rows, ids.len() as u64, "what is remembered");
    connection.run(changes).await.unwrap();
    let mut keys = Vec::new();
    changes::begin(connection, place).await.unwrap();
    let told = changes::changed_keys(
        connection,
        place,
        &then,
        None,
        |first, last| Ok(ids.iter().copied().filter(|id| (first..=last).contains(id)).collect()),
        |key| {
            keys.push(key);
            Ok(())
        },
    );
    let told = told.await.unwrap();
    connection.run("COMMIT").await.unwrap();
    (told.map(drop), keys)
}
