//! What has changed since an instant, by row versions: every kind of write is seen, what only rewrites is none,
//! and each premise that does not hold is said. Each guard was a wrong "unchanged" once.

use crate::restarted::Restarted;
use crate::standby::Standby;
use crate::support::Shop;
use crate::tool::within;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::process::Command;
use xtask::changes::{self, Children, Key, Place, Since, Then};
use xtask::effects::postgres::{self, Connection};
use xtask::effects::wait::{self, State};
use xtask::remembered::{KeyKind, TableThen, Unbroken};
use xtask::servers::local;
use xtask::servers::native::{self, Connections, Options, Stack};
use xtask::settings::Server;

const T: Place<'static> = Place { schema: "public", table: "t", children: Children::Included };

/// The servers of a stack, and nothing in them.
struct Servers {
    stack: Stack,
}

impl Servers {
    async fn start() -> Servers {
        let options = Options { postgres: true, ..Options::default() };
        Servers { stack: Stack::start(&crate::support::workspace(), options).await.unwrap() }
    }

    fn server(&self, name: &str, database: &str) -> Server {
        local::server(self.stack.connections(), name, database, "postgres").unwrap()
    }

    async fn session(&self) -> Connection {
        self.session_in("postgres").await
    }

    async fn session_in(&self, database: &str) -> Connection {
        postgres::connect(&self.server("source", database), "test").await.unwrap()
    }
}

/// `t` with ids from -600 to 1500, remembered as it is.
async fn filled(session: &mut Connection) {
    session
        .run(
            "CREATE TABLE t (id bigint PRIMARY KEY, v text);
             INSERT INTO t SELECT g, 'v' || g FROM generate_series(-600, 1500) g",
        )
        .await
        .unwrap();
}

async fn tried(session: &mut Connection, place: Place<'_>) -> Then {
    let history = match changes::history(session).await.unwrap() {
        Ok(history) => history,
        Err(why) => return Err(why),
    };
    changes::begin(session, place).await.unwrap();
    let then = changes::remember(session, place, history, Default::default()).await.unwrap();
    session.run("COMMIT").await.unwrap();
    changes::flushed(session).await.unwrap().unwrap();
    then
}

async fn remembered(session: &mut Connection, place: Place<'_>) -> TableThen {
    tried(session, place).await.unwrap()
}

async fn since(session: &mut Connection, place: Place<'_>, then: &TableThen) -> Since {
    changes::begin(session, place).await.unwrap();
    let since = changes::since(session, place, then).await.unwrap();
    session.run("COMMIT").await.unwrap();
    since
}

/// Why nothing can be told.
async fn unknown(session: &mut Connection, place: Place<'_>, then: &TableThen) -> String {
    match since(session, place, then).await {
        Since::Unknown(why) => why,
        told => panic!("{told:?}"),
    }
}

/// `ids`: those of then.
async fn keys(session: &mut Connection, then: &TableThen, ids: &BTreeSet<i64>) -> BTreeSet<Key> {
    changes::begin(session, T).await.unwrap();
    let mut told = BTreeSet::new();
    let ids_then = |first, last| Ok(ids.range(first..=last).copied().collect());
    let tell = |key| {
        assert!(told.insert(key), "{key:?} is told twice");
        Ok(())
    };
    let now = changes::changed_keys(session, T, then, None, ids_then, tell).await.unwrap().unwrap();
    // From the same scan the table is remembered as by a look at all of it.
    let history = changes::history(session).await.unwrap().unwrap();
    let again = changes::remember(session, T, history, Default::default()).await.unwrap();
    session.run("COMMIT").await.unwrap();
    let undated = |then: Then| then.map(|then| TableThen { at: String::new(), ..then });
    assert_eq!(undated(now), undated(again));
    told
}

/// Why they cannot be told.
async fn no_keys(session: &mut Connection, then: &TableThen, ids: &BTreeSet<i64>) -> String {
    changes::begin(session, T).await.unwrap();
    let ids_then = |first, last| Ok(ids.range(first..=last).copied().collect());
    let told = changes::changed_keys(session, T, then, None, ids_then, |_| Ok(())).await.unwrap();
    session.run("COMMIT").await.unwrap();
    told.unwrap_err()
}

fn written(ids: &[i64]) -> BTreeSet<Key> {
    ids.iter().map(|id| Key::Written(*id)).collect()
}

#[tokio::test]
async fn writes_are_seen_and_rewrites_are_none() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    let then = remembered(&mut session, T).await;
    assert_eq!(then.leaves.values().map(|leaf| leaf.buckets.0.len()).collect::<Vec<_>>(), [5]);
    let all: BTreeSet<i64> = (-600..=1500).collect();
    for same in [
        "SELECT 1",
        "VACUUM t",
        "VACUUM FREEZE t",
        "VACUUM FULL t",
        "CLUSTER t USING t_pkey",
        "ANALYZE t",
        "ALTER TABLE t SET (fillfactor = 50)",
        "CREATE INDEX ON t (v)",
        "BEGIN; UPDATE t SET v = 'never'; DELETE FROM t; ROLLBACK",
    ] {
        session.run(same).await.unwrap();
        assert_eq!(since(&mut session, T, &then).await, Since::Unchanged { rows: 2101 }, "{same}");
        assert_eq!(keys(&mut session, &then, &all).await, BTreeSet::new(), "{same}");
    }
    let mut told = BTreeSet::new();
    for (change, more, about) in [
        ("UPDATE t SET v = 'other' WHERE id = -1", vec![Key::Written(-1)], 1),
        (
            "UPDATE t SET v = v WHERE id IN (0, 511, 512, -512, -513)",
            written(&[0, 511, 512, -512, -513]).into_iter().collect(),
            6,
        ),
        ("DELETE FROM t WHERE id IN (-2, 600)", vec![Key::Deleted(-2), Key::Deleted(600)], 6),
        ("INSERT INTO t VALUES (9000, 'new')", vec![Key::Written(9000)], 7),
        ("DELETE FROM t WHERE id = 5; INSERT INTO t VALUES (5, 'v5')", vec![Key::Written(5)], 8),
        ("UPDATE t SET id = 9001 WHERE id = 7", vec![Key::Written(9001), Key::Deleted(7)], 9),
        ("DELETE FROM t WHERE id >= 1024 AND id < 1536", (1024..=1500).map(Key::Deleted).collect(), 477),
        ("VACUUM FREEZE t", vec![], 477),
        ("VACUUM FULL t", vec![], 477),
    ] {
        session.run(change).await.unwrap();
        told.extend(more);
        let Since::Changed { about: found } = since(&mut session, T, &then).await else { panic!("{change}") };
        assert!(found >= about, "{change}: about {found}");
        assert_eq!(keys(&mut session, &then, &all).await, told, "{change}");
    }
    session.run("TRUNCATE t").await.unwrap();
    assert_eq!(since(&mut session, T, &then).await, Since::Changed { about: 2101 });
    assert_eq!(keys(&mut session, &then, &all).await, all.iter().map(|id| Key::Deleted(*id)).collect());
}

#[tokio::test]
async fn one_row_gone_and_another_come_is_a_change() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    let then = remembered(&mut session, T).await;
    // As many rows in all as before, and old versions fewer in one range only.
    session.run("DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (3000, '')").await.unwrap();
    assert_eq!(since(&mut session, T, &then).await, Since::Changed { about: 1 });
    // And with nothing gone.
    let then = remembered(&mut session, T).await;
    session.run("INSERT INTO t VALUES (3001, '')").await.unwrap();
    assert_eq!(since(&mut session, T, &then).await, Since::Changed { about: 1 });
}

#[tokio::test]
async fn rows_written_beside_an_older_transaction_are_remembered_one_by_one() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    session.run("CREATE DATABASE other").await.unwrap();
    filled(&mut session).await;
    let mut older = servers.session_in("other").await;
    older.run("CREATE TABLE o (x int); BEGIN; INSERT INTO o VALUES (1)").await.unwrap();
    session.run("UPDATE t SET v = 'late' WHERE id IN (1, 2, 700)").await.unwrap();
    let then = remembered(&mut session, T).await;
    older.run("COMMIT").await.unwrap();
    let open: Vec<i64> = then.leaves.values().flat_map(|l| &l.candidates).map(|c| c.0).collect();
    assert_eq!(open, [1, 2, 700]);
    let all: BTreeSet<i64> = (-600..=1500).collect();
    assert_eq!(since(&mut session, T, &then).await, Since::Unchanged { rows: 2101 });
    assert_eq!(keys(&mut session, &then, &all).await, BTreeSet::new());
    // One of them is written again, then one is gone.
    session.run("UPDATE t SET v = 'later' WHERE id = 2").await.unwrap();
    assert!(matches!(since(&mut session, T, &then).await, Since::Changed { .. }));
    assert_eq!(keys(&mut session, &then, &all).await, written(&[2]));
    session.run("DELETE FROM t WHERE id = 1").await.unwrap();
    let mut told = BTreeSet::from([Key::Written(2), Key::Deleted(1)]);
    assert_eq!(keys(&mut session, &then, &all).await, told);
    // Without a key they cannot be told apart; and too many are not kept.
    session.run("CREATE TABLE nokey (v int); CREATE TABLE many (id int PRIMARY KEY)").await.unwrap();
    older.run("BEGIN; INSERT INTO o VALUES (2)").await.unwrap();
    session
        .run("INSERT INTO nokey VALUES (1); INSERT INTO many SELECT generate_series(1, 10001)")
        .await
        .unwrap();
    for table in ["nokey", "many"] {
        let why = tried(&mut session, Place { table, ..T }).await.unwrap_err();
        assert!(why.contains("while an older transaction was still open"), "{why}");
    }
    // What is told beside an older transaction is remembered as a candidate once more.
    session.run("UPDATE t SET v = 'beside' WHERE id = 3").await.unwrap();
    told.insert(Key::Written(3));
    assert_eq!(keys(&mut session, &then, &all).await, told);
    older.run("COMMIT").await.unwrap();
    let nokey = remembered(&mut session, Place { table: "nokey", ..T }).await;
    let look = Place { table: "nokey", ..T };
    assert_eq!(since(&mut session, look, &nokey).await, Since::Unchanged { rows: 1 });
    session.run("UPDATE nokey SET v = v").await.unwrap();
    assert_eq!(since(&mut session, look, &nokey).await, Since::Changed { about: 1 });
}

#[tokio::test]
async fn what_a_table_is_has_to_be_the_same() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    let before = "CREATE TYPE mood AS ENUM ('sad', 'glad');
        CREATE TABLE t (id int PRIMARY KEY, v text, m mood, c varchar(9), o oid,
                        s int GENERATED ALWAYS AS (id) STORED) PARTITION BY RANGE (id);
        CREATE TABLE a PARTITION OF t FOR VALUES FROM (0) TO (10);
        INSERT INTO a VALUES (1, 'a', 'sad', 'c', 4294967295);
        CREATE TABLE spare (LIKE t INCLUDING ALL); INSERT INTO spare VALUES (1, 'b', 'sad', 'c', 4294967295);
        CREATE TABLE old_t (id int PRIMARY KEY, v text, m mood)";
    let renew = "DROP TABLE IF EXISTS t, a, b, spare, old_t, gone CASCADE; DROP TYPE IF EXISTS mood";
    for (change, words) in [
        (
            "ALTER TABLE t DETACH PARTITION a; ALTER TABLE t ATTACH PARTITION spare FOR VALUES FROM (0) TO (10)",
            "other parts",
        ),
        ("CREATE TABLE b PARTITION OF t FOR VALUES FROM (10) TO (20)", "other parts"),
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v text", "defined otherwise"),
        ("ALTER TABLE t ADD w int DEFAULT 5", "defined otherwise"),
        ("ALTER TABLE t RENAME v TO w", "defined otherwise"),
        // None of these writes a row, and the first reads as -1 then.
        ("ALTER TABLE t ALTER o TYPE int", "defined otherwise"),
        ("ALTER TABLE t ALTER c TYPE varchar(10)", "defined otherwise"),
        ("ALTER TABLE t ALTER v TYPE text COLLATE \"C\"", "defined otherwise"),
        ("ALTER TABLE t ALTER s DROP EXPRESSION", "defined otherwise"),
        ("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'", "defined otherwise"),
        (
            "ALTER TABLE t DETACH PARTITION a; ALTER TABLE t RENAME TO gone;
             CREATE TABLE t (s int GENERATED ALWAYS AS (id) STORED, o oid, c varchar(9), m mood, v text, id int)
                 PARTITION BY RANGE (id);
             ALTER TABLE t ATTACH PARTITION a FOR VALUES FROM (0) TO (10)",
            "defined otherwise",
        ),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "another key"),
        ("ALTER TABLE t RENAME TO gone; ALTER TABLE old_t RENAME TO t", "another table"),
    ] {
        session.run(renew).await.unwrap();
        session.run(before).await.unwrap();
        let then = remembered(&mut session, T).await;
        assert_eq!(since(&mut session, T, &then).await, Since::Unchanged { rows: 1 });
        session.run(change).await.unwrap();
        let why = unknown(&mut session, T, &then).await;
        assert!(why.contains(words), "{change}: {why}");
    }
}

#[tokio::test]
async fn of_what_moves_rows_or_is_no_ordinary_table_nothing_is_remembered() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    let then = remembered(&mut session, T).await;
    session.run("SET allow_system_table_mods = on").await.unwrap();
    for extension in ["citus", "pg_surgery", "timescaledb"] {
        // Its files are not on every machine: the catalogue says the same.
        let there =
            format!("INSERT INTO pg_extension SELECT 99999, '{extension}', 10, 11, false, '1.0', NULL, NULL");
        session.run(&there).await.unwrap();
        let why = unknown(&mut session, T, &then).await;
        assert!(why.contains(&format!("the extension {extension} moves rows")), "{why}");
        assert_eq!(tried(&mut session, T).await.unwrap_err(), why);
        session.run("DELETE FROM pg_extension WHERE oid = 99999").await.unwrap();
    }
    session
        .run(
            "DROP TABLE t; CREATE TEMP TABLE passing (id int PRIMARY KEY);
             CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
             CREATE TABLE elsewhere (id int PRIMARY KEY) USING other;
             CREATE TYPE pair AS (a int, b text); CREATE TYPE pairs AS RANGE (subtype = pair);
             CREATE DOMAIN known AS regclass; CREATE TABLE list (id int PRIMARY KEY, p pair[]);
             CREATE TABLE ranges (id int PRIMARY KEY, p pairs); CREATE TABLE names (id int PRIMARY KEY, k known);
             CREATE TABLE rows_of_it (id int PRIMARY KEY, p list);
             CREATE TABLE made (id int PRIMARY KEY, twice int);
             -- As PostgreSQL 18 has it.
             UPDATE pg_attribute SET attgenerated = 'v' WHERE attrelid = 'made'::regclass AND attname = 'twice';
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
             CREATE TABLE t (id int) PARTITION BY RANGE (id);
             CREATE FOREIGN TABLE far PARTITION OF t FOR VALUES FROM (0) TO (9) SERVER s",
        )
        .await
        .unwrap();
    assert!(tried(&mut session, T).await.unwrap_err().contains("public.far is no ordinary table"));
    let temporary: String = sqlx::Row::get(
        &session.row("SELECT nspname::text FROM pg_namespace WHERE oid = pg_my_temp_schema()").await.unwrap(),
        0,
    );
    let passing = Place { schema: &temporary, table: "passing", children: Children::Included };
    assert!(tried(&mut session, passing).await.unwrap_err().contains("is temporary"));
    let read_elsewhere = "has columns that are read by what stands elsewhere";
    for (table, words) in [
        ("elsewhere", "is no heap"),
        ("made", "has columns that are made when they are read"),
        ("list", read_elsewhere),
        ("ranges", read_elsewhere),
        ("names", read_elsewhere),
        ("rows_of_it", read_elsewhere),
    ] {
        let why = tried(&mut session, Place { table, ..T }).await.unwrap_err();
        assert_eq!(why, format!("public.{table} {words}"));
    }
    let history = changes::history(&mut session).await.unwrap().unwrap();
    let absent = Place { table: "absent", ..T };
    let then = changes::remember(&mut session, absent, history, Default::default()).await.unwrap();
    assert_eq!(then.unwrap_err(), "public.absent is not there");
}

/// Of a table with children, or without them, as it is asked for.
#[tokio::test]
async fn a_table_by_itself_is_another_than_one_with_what_inherits_from_it() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    session.run("CREATE TABLE child () INHERITS (t); INSERT INTO child VALUES (1, '')").await.unwrap();
    let apart = Place { children: Children::Apart, ..T };
    let (whole, alone) = (remembered(&mut session, T).await, remembered(&mut session, apart).await);
    assert_eq!((whole.leaves.len(), alone.leaves.len()), (2, 1));
    session.run("DELETE FROM child").await.unwrap();
    assert_eq!(since(&mut session, T, &whole).await, Since::Changed { about: 1 });
    assert_eq!(since(&mut session, apart, &alone).await, Since::Unchanged { rows: 2101 });
}

#[tokio::test]
async fn a_key_is_one_whole_number_that_is_always_there_and_there_once() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    for (table, key) in [
        ("CREATE TABLE t (id int PRIMARY KEY)", KeyKind::Id),
        ("CREATE TABLE t (id smallint NOT NULL, v int, UNIQUE (id) INCLUDE (v))", KeyKind::Id),
        ("CREATE TABLE t (id bigint NOT NULL); CREATE INDEX ON t (id)", KeyKind::None),
        ("CREATE TABLE t (id int UNIQUE)", KeyKind::None),
        ("CREATE TABLE t (id int, v int, PRIMARY KEY (id, v))", KeyKind::None),
        ("CREATE TABLE t (id int NOT NULL, v int); CREATE UNIQUE INDEX ON t (id) WHERE v > 0", KeyKind::None),
        ("CREATE TABLE t (id int NOT NULL, other int PRIMARY KEY)", KeyKind::None),
        ("CREATE TABLE t (id text PRIMARY KEY)", KeyKind::None),
        ("CREATE TABLE t (id int NOT NULL); INSERT INTO t VALUES (1), (1)", KeyKind::None),
    ] {
        session.run("DROP TABLE IF EXISTS t").await.unwrap();
        session.run(table).await.unwrap();
        if table.contains("(1), (1)") {
            // Leaves an index that is not valid.
            session.run("CREATE UNIQUE INDEX CONCURRENTLY ON t (id)").await.unwrap_err();
        }
        let then = remembered(&mut session, T).await;
        assert_eq!(then.leaves.values().map(|leaf| leaf.key).collect::<Vec<_>>(), [key], "{table}");
    }
    // Without one it is told whether, and not which.
    let then = remembered(&mut session, T).await;
    assert_eq!(keys(&mut session, &then, &BTreeSet::from([1])).await, written(&[]));
    session.run("INSERT INTO t VALUES (1)").await.unwrap();
    let why = no_keys(&mut session, &then, &BTreeSet::from([1])).await;
    assert_eq!(why, "public.t has no key");
}

#[tokio::test]
async fn rows_that_were_not_known_are_not_told_as_deleted() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    let then = remembered(&mut session, T).await;
    session.run("DELETE FROM t WHERE id IN (1, 2)").await.unwrap();
    // 2 is missing among the ids of then.
    let ids: BTreeSet<i64> = (-600..=1500).filter(|id| *id != 2).collect();
    let why = no_keys(&mut session, &then, &ids).await;
    assert_eq!(why, "public.t: 2 rows of range 0 are gone by their versions, 1 by their ids");
}

#[tokio::test]
async fn nobody_changes_a_table_that_is_looked_at_and_it_is_looked_at_as_it_is_then() {
    let servers = Servers::start().await;
    let (mut session, mut other) = (servers.session().await, servers.session().await);
    filled(&mut session).await;
    changes::begin(&mut session, T).await.unwrap();
    let alone = "LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT";
    let kept_out = other.run(&format!("BEGIN; {alone}")).await.unwrap_err();
    assert_eq!(postgres::code(&kept_out).as_deref(), Some("55P03"), "{kept_out:#}");
    session.run("COMMIT").await.unwrap();
    other
        .run(&format!("ROLLBACK; BEGIN; {alone}; TRUNCATE t; INSERT INTO t VALUES (1, 'new')"))
        .await
        .unwrap();
    let mut third = servers.session().await;
    let committed = async {
        let waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 't'::regclass)";
        let looks = wait::for_state("a look waits", within(30, 20), async || {
            let there: bool = sqlx::Row::get(&third.row(waits).await?, 0);
            Ok(if there { State::Ready(()) } else { State::NotYet("none does") })
        });
        looks.await.unwrap();
        other.run("COMMIT").await.unwrap();
    };
    let (begun, ()) = tokio::join!(changes::begin(&mut session, T), committed);
    begun.unwrap();
    let rows: i64 = sqlx::Row::get(&session.row("SELECT count(*) FROM t").await.unwrap(), 0);
    assert_eq!(rows, 1, "what a TRUNCATE made empty has been filled since");
}

/// Before their content is told and after it.
#[tokio::test]
async fn what_our_transactions_have_written_is_known_until_somebody_else_writes() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    for (change, same) in [
        ("CREATE SCHEMA side; ALTER TABLE t SET SCHEMA side; ALTER TABLE side.t SET SCHEMA public", true),
        ("VACUUM FULL t", true),
        ("UPDATE t SET v = v WHERE id = 1", false),
        ("DELETE FROM t WHERE id = 1", false),
        ("INSERT INTO t VALUES (0, 'v')", false),
        ("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'v')", false),
        ("ALTER TABLE t DROP v; ALTER TABLE t ADD v text", false),
    ] {
        session.run("DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, v text)").await.unwrap();
        session.run("BEGIN; INSERT INTO t SELECT g, 'v' FROM generate_series(1, 9) g").await.unwrap();
        let ours: i64 =
            sqlx::Row::get(&session.row("SELECT pg_current_xact_id()::text::bigint").await.unwrap(), 0);
        session.run("COMMIT").await.unwrap();
        changes::begin(&mut session, T).await.unwrap();
        let written =
            changes::written(&mut session, T, vec![ours.try_into().unwrap()]).await.unwrap().unwrap();
        assert!(changes::still_written(&mut session, T, &written, 9).await.unwrap(), "{change}");
        session.run("COMMIT").await.unwrap();
        session.run(change).await.unwrap();
        changes::begin(&mut session, T).await.unwrap();
        let still = changes::still_written(&mut session, T, &written, 9).await.unwrap();
        session.run("COMMIT").await.unwrap();
        assert_eq!(still, same, "{change}");
    }
}

#[tokio::test]
async fn who_looks_has_to_be_the_same_and_see_every_row() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    session.run("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'r'; CREATE ROLE owner; ALTER TABLE t OWNER TO owner").await.unwrap();
    let then = remembered(&mut session, T).await;
    let mut server = servers.server("source", "postgres");
    (server.user, server.password) = ("reader".into(), "r".to_string().into());
    let mut reader = postgres::connect(&server, "test").await.unwrap();
    assert!(unknown(&mut reader, T, &then).await.contains("the role is reader, and was postgres"));
    // A superuser sees all; one who is none does not.
    session
        .run("ALTER ROLE reader NOSUPERUSER; GRANT SELECT ON t TO reader; GRANT pg_monitor TO reader")
        .await
        .unwrap();
    let mut reader = postgres::connect(&server, "test").await.unwrap();
    let then = remembered(&mut reader, T).await;
    session.run("ALTER TABLE t ENABLE ROW LEVEL SECURITY").await.unwrap();
    assert!(unknown(&mut reader, T, &then).await.contains("has row security"));
}

/// The same statements, so the same OIDs; what was left behind came with a dump.
#[tokio::test]
async fn another_cluster_is_another_history() {
    // Not two servers of one stack, which are copies of one cluster.
    let servers = (Servers::start().await, Servers::start().await);
    let (mut one, mut other) = (servers.0.session().await, servers.1.session().await);
    let mut thens = Vec::new();
    for session in [&mut one, &mut other] {
        filled(session).await;
        session.run("CREATE SCHEMA xtask").await.unwrap();
        let mut then = remembered(session, T).await;
        changes::marked(session, "6f1c").await.unwrap().unwrap();
        then.history.unbroken = Unbroken::Nonce("6f1c".into());
        assert_eq!(since(session, T, &then).await, Since::Unchanged { rows: 2101 });
        thens.push(then);
    }
    let why = unknown(&mut other, T, &thens[0]).await;
    assert!(why.contains("the cluster is"), "{why}");
    assert_eq!(no_keys(&mut other, &thens[0], &(-600..=1500).collect()).await, why);
}

#[tokio::test]
async fn a_copy_renamed_into_place_is_another_history() {
    let servers = Servers::start().await;
    let mut admin = servers.session().await;
    admin.run("CREATE DATABASE shop").await.unwrap();
    let mut session = servers.session_in("shop").await;
    filled(&mut session).await;
    session.close().await.unwrap();
    // The copy is from before a change that the instant has seen.
    admin.run("CREATE DATABASE copy TEMPLATE shop").await.unwrap();
    let mut session = servers.session_in("shop").await;
    session.run("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (1, 'other')").await.unwrap();
    let then = remembered(&mut session, T).await;
    session.close().await.unwrap();
    admin.run("ALTER DATABASE shop RENAME TO gone").await.unwrap();
    admin.run("ALTER DATABASE copy RENAME TO shop").await.unwrap();
    let mut session = servers.session_in("shop").await;
    assert!(unknown(&mut session, T, &then).await.contains("database's OID"));
}

#[tokio::test]
async fn what_an_instant_saw_is_on_disk() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    filled(&mut session).await;
    session.run("ALTER SYSTEM SET wal_writer_delay = '10s'").await.unwrap();
    session.run("SELECT pg_reload_conf(); CHECKPOINT").await.unwrap();
    session.run("SET synchronous_commit = off").await.unwrap();
    // Sometimes the server is quick enough by itself.
    for round in 0..20 {
        session.run(&format!("UPDATE t SET v = 'v{round}' WHERE id = 2")).await.unwrap();
        let seen = session.row("SELECT pg_current_wal_insert_lsn()::text").await.unwrap();
        let seen: String = sqlx::Row::get(&seen, 0);
        changes::flushed(&mut session).await.unwrap().unwrap();
        let on_disk = session.row(&format!("SELECT pg_current_wal_flush_lsn() >= '{seen}'")).await.unwrap();
        assert!(sqlx::Row::get::<bool, _>(&on_disk, 0), "{round}: {seen}");
    }
    session.run("UPDATE t SET v = 'late' WHERE id = 1").await.unwrap();
    let then = remembered(&mut session, T).await;
    let pid: i32 = sqlx::Row::get(&session.row("SELECT pg_backend_pid()").await.unwrap(), 0);
    let checkpointer = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let before: i32 = sqlx::Row::get(&session.row(checkpointer).await.unwrap(), 0);
    // One that dies takes all others with it; the server itself has been running all the time.
    crate::tool::send(pid.try_into().unwrap(), nix::sys::signal::Signal::SIGKILL);
    drop(session);
    let server = servers.server("source", "postgres");
    let mut session = wait::for_state("the server has started again", within(30, 50), async || {
        match postgres::connect(&server, "test").await {
            Ok(mut session) => match session.row(checkpointer).await {
                // It lets sessions in until it has noticed.
                Ok(row) if sqlx::Row::get::<i32, _>(&row, 0) == before => {
                    Ok(State::NotYet("it has not noticed".to_string()))
                }
                Ok(_) => Ok(State::Ready(session)),
                Err(error) => Ok(State::NotYet(format!("{error:#}"))),
            },
            Err(error) => Ok(State::NotYet(format!("{error:#}"))),
        }
    })
    .await
    .unwrap();
    assert_eq!(since(&mut session, T, &then).await, Since::Unchanged { rows: 2101 });
    let value: String = sqlx::Row::get(&session.row("SELECT v FROM t WHERE id = 1").await.unwrap(), 0);
    assert_eq!(value, "late");
}

/// Who may not, learns it, and goes on.
#[tokio::test]
async fn what_cannot_be_made_sure_or_left_behind_is_said() {
    let servers = Servers::start().await;
    let mut session = servers.session().await;
    session
        .run(
            "REVOKE EXECUTE ON FUNCTION pg_logical_emit_message(boolean, text, text) FROM PUBLIC;
             CREATE ROLE reader LOGIN PASSWORD 'r'",
        )
        .await
        .unwrap();
    let mut server = servers.server("source", "postgres");
    (server.user, server.password) = ("reader".into(), "r".to_string().into());
    let mut reader = postgres::connect(&server, "test").await.unwrap();
    let why = changes::flushed(&mut reader).await.unwrap().unwrap_err();
    assert!(why.contains("cannot be made sure") && why.contains("pg_logical_emit_message"), "{why}");
    let why = changes::marked(&mut reader, "6f1c").await.unwrap().unwrap_err();
    assert!(why.contains("no row could be left in xtask.instants"), "{why}");
    reader.run("SELECT 1").await.unwrap();
}

/// Beside a server's data, for its account.
fn private_directory(data: &std::path::Path, path: &str) {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let owner = std::fs::metadata(data).unwrap();
    std::fs::create_dir(path).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

/// pg_ctl and its like on a server's directory, as its account.
fn program(data: &std::path::Path, name: &str, arguments: &[&str]) {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(data).unwrap();
    let mut command = match name {
        "cp" | "sh" => Command::new(name),
        name => Command::new(native::postgres_bindir().unwrap().join(name)),
    };
    command.uid(owner.uid()).gid(owner.gid()).current_dir(data).args(arguments);
    let null = std::process::Stdio::null;
    assert!(command.stdin(null()).stdout(null()).status().unwrap().success(), "{name} {arguments:?}");
}

#[tokio::test]
async fn a_server_that_was_put_back_is_seen() {
    let shop = Shop::open(0).await;
    let server = shop.settings.source.clone();
    let mut session = shop.source().await;
    filled(&mut session).await;
    session.run("CREATE SCHEMA xtask; CHECKPOINT").await.unwrap();
    let restarted = Restarted::source(&shop, "");
    let data = Connections::read(shop.dir()).unwrap().server("source").unwrap().data.clone();
    let port = server.port.to_string();
    let path = data.display().to_string();
    let stop = ["stop", "--wait", "--mode=fast", "-D", &path];
    let options = format!("-p {port}");
    let start =
        ["start", "--wait", "--timeout=60", "-D", &path, "--options", &options, "--log", "restarted.log"];
    program(&data, "pg_ctl", &stop);
    // The disk as it is now.
    let clone = data.with_file_name("clone").display().to_string();
    private_directory(&data, &clone);
    program(&data, "cp", &["-a", &format!("{path}/."), &clone]);
    program(&data, "pg_ctl", &start);

    let mut session = shop.source().await;
    session.run("UPDATE t SET v = 'other' WHERE id = 1").await.unwrap();
    let running = remembered(&mut session, T).await;
    changes::marked(&mut session, "6f1c").await.unwrap().unwrap();
    let mut marked = running.clone();
    marked.history.unbroken = Unbroken::Nonce("6f1c".into());
    for then in [&running, &marked] {
        assert_eq!(since(&mut session, T, then).await, Since::Unchanged { rows: 2101 });
    }
    // A restart costs a digest where nothing could be left behind.
    program(&data, "pg_ctl", &stop);
    program(&data, "pg_ctl", &start);
    let mut session = shop.source().await;
    assert!(unknown(&mut session, T, &running).await.contains("was started again"));
    assert_eq!(since(&mut session, T, &marked).await, Since::Unchanged { rows: 2101 });
    // The older disk has the row as it was.
    program(&data, "pg_ctl", &stop);
    program(&data, "sh", &["-c", &format!("rm -rf {path}/* && cp -a {clone}/. {path}")]);
    program(&data, "pg_ctl", &start);
    let mut session = shop.source().await;
    assert!(unknown(&mut session, T, &marked).await.contains("put back"));
    assert!(unknown(&mut session, T, &running).await.contains("was started again"));
    drop(restarted);
}

#[tokio::test]
async fn a_standby_tells_nothing_and_promoted_it_is_another_history() {
    let shop = Shop::open(0).await;
    let mut session = shop.source().await;
    filled(&mut session).await;
    session.run("CREATE SCHEMA xtask").await.unwrap();
    let mut then = remembered(&mut session, T).await;
    changes::marked(&mut session, "6f1c").await.unwrap().unwrap();
    then.history.unbroken = Unbroken::Nonce("6f1c".into());
    let standby = Standby::follow(&shop).await;
    let mut promoted = standby.session().await;
    promoted.run("SELECT 1").await.unwrap();
    assert!(unknown(&mut promoted, T, &then).await.contains("is a standby"));
    promoted.run("SELECT pg_promote()").await.unwrap();
    promoted.run("UPDATE t SET v = 'there' WHERE id = 2").await.unwrap();
    assert!(unknown(&mut promoted, T, &then).await.contains("timeline"));
    assert_eq!(since(&mut session, T, &then).await, Since::Unchanged { rows: 2101 });
}

/// Numbers of transactions go round after 2^32; what is 2^31 apart is neither older nor newer.
#[tokio::test]
async fn numbers_of_transactions_go_round() {
    let shop = Shop::open(0).await;
    let mut session = shop.source().await;
    filled(&mut session).await;
    session.run("CREATE SCHEMA xtask").await.unwrap();
    session.run("VACUUM FREEZE t").await.unwrap();
    session.close().await.unwrap();
    let restarted = Restarted::source(&shop, "");
    let data = Connections::read(shop.dir()).unwrap().server("source").unwrap().data.clone();
    let (path, options) = (data.display().to_string(), format!("-p {}", shop.settings.source.port));
    let stop = ["stop", "--wait", "--mode=fast", "-D", &path];
    let start =
        ["start", "--wait", "--timeout=60", "-D", &path, "--options", &options, "--log", "restarted.log"];
    let mut first = None;
    // In steps, since a server stops that has rows 2^31 old; shortly before 2^31 and 2^32 it is looked at.
    for number in [1_200_000_000, 2_147_483_648_u64 - 50, 3_300_000_000, 4_294_967_296 - 50] {
        program(&data, "pg_ctl", &stop);
        let file = data.join("pg_xact").join(format!("{:04X}", number >> 20));
        program(
            &data,
            "sh",
            &[
                "-c",
                &format!("[ -e {0} ] || dd if=/dev/zero of={0} bs=256k count=1 2>/dev/null", file.display()),
            ],
        );
        program(&data, "pg_resetwal", &["-f", "-x", &(number).to_string(), &path]);
        program(&data, "pg_ctl", &start);
        let mut session = shop.source().await;
        session.run("UPDATE pg_database SET datallowconn = true").await.unwrap();
        let password = secrecy::ExposeSecret::expose_secret(&shop.settings.source.password).to_string();
        let mut freeze = Command::new(native::postgres_bindir().unwrap().join("vacuumdb"));
        freeze.args(["--all", "--freeze", "--quiet", "-h", "127.0.0.1", "-U", "postgres", "-p"]);
        freeze.arg(shop.settings.source.port.to_string()).env("PGPASSWORD", password);
        assert!(freeze.status().unwrap().success());
        session.run(&format!("UPDATE t SET v = '{number}' WHERE id IN (3, 4)")).await.unwrap();
        let mut then = remembered(&mut session, T).await;
        changes::marked(&mut session, &number.to_string()).await.unwrap().unwrap();
        then.history.unbroken = Unbroken::Nonce(number.to_string());
        for round in 0..100 {
            session.run("SELECT pg_current_xact_id()").await.unwrap();
            assert_eq!(
                since(&mut session, T, &then).await,
                Since::Unchanged { rows: 2101 },
                "{number} + {round}"
            );
        }
        // The wrong way round, as after a pg_resetwal; or too far apart, with nothing written in between.
        let later = TableThen { oldest: then.oldest + 1_000_000, ..then.clone() };
        let apart = first.get_or_insert_with(|| then.clone());
        for (then, wrong) in [(&later, true), (&*apart, then.oldest - apart.oldest > 2_000_000_000)] {
            if wrong {
                let why = unknown(&mut session, T, then).await;
                assert!(why.contains("too far apart, or in the wrong order"), "{why}");
            }
        }
        session.run("UPDATE t SET v = 'later' WHERE id = 4").await.unwrap();
        let all: BTreeSet<i64> = (-600..=1500).collect();
        assert_eq!(keys(&mut session, &then, &all).await, written(&[4]));
        session.close().await.unwrap();
    }
    drop(restarted);
}
