//! Tables of the source that nobody migrates: whatever they are, they stop no run; their rows are digested,
//! and what the dump leaves out is said.

use crate::support::{Said, Shop, assert_words};
use datapath::digest::Digest;
use sqlx::Row;
use xtask::effects::postgres::Connection;
use xtask::source::digests;
use xtask::sql::{self, HashFn};

/// `cases/01`, and a table of which the extension gives only some rows to the dump.
const OF_AN_EXTENSION: &str = "\
    CREATE EXTENSION hstore; CREATE SCHEMA geocoder; \
    CREATE TABLE geocoder.state_lookup (code text PRIMARY KEY, name text); \
    INSERT INTO geocoder.state_lookup VALUES ('BY', 'Bavaria'), ('TX', 'Texas'); \
    ALTER EXTENSION hstore ADD TABLE geocoder.state_lookup; \
    CREATE TABLE geocoder.settings (name text, own boolean); \
    INSERT INTO geocoder.settings VALUES ('debug', false), ('ours', true); \
    ALTER EXTENSION hstore ADD TABLE geocoder.settings; \
    UPDATE pg_extension SET extconfig = ARRAY['geocoder.settings'::regclass::oid], extcondition = ARRAY['WHERE own'] \
    WHERE extname = 'hstore'";

/// Names that a list of tables does not hold apart by blanks.
const NAMES: &str = "\
    CREATE ROLE \"shop owner\"; CREATE SCHEMA \"old shop\"; \
    CREATE TABLE \"old shop\".\"TABLE DATA public orders\" (id int); \
    INSERT INTO \"old shop\".\"TABLE DATA public orders\" VALUES (1); \
    ALTER TABLE \"old shop\".\"TABLE DATA public orders\" OWNER TO \"shop owner\"; \
    CREATE TABLE public.\"two\nlines\" (id int); INSERT INTO public.\"two\nlines\" VALUES (1)";

/// A table with one row of so many columns of these types, in turn.
fn wide(name: &str, columns: usize, types: &[&str]) -> String {
    let columns: Vec<String> = (0..columns).map(|i| format!("c{i} {}", types[i % types.len()])).collect();
    format!("CREATE TABLE {name} ({}); INSERT INTO {name} DEFAULT VALUES", columns.join(", "))
}

/// What a table may be besides, each with a row where it can have one.
const KINDS: &str = "\
    CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN code AS bpchar; CREATE DOMAIN short AS code; \
    CREATE TYPE pair AS (a hstore, b mood[]); \
    CREATE TABLE odd (t text, x xml, p point, acl aclitem, l pg_lsn, m nummultirange, ts tsvector, cash money, \
        rel regclass, mood mood, short short, pair pair, pairs pair[], c \"char\", v int2vector, s txid_snapshot, \
        j jsonpath, h hstore, name name, tid tid, xid xid8, mac macaddr8, ref refcursor, blanks char(5)); \
    INSERT INTO odd VALUES ('same', '<a/>', '(1,2)', 'postgres=r/postgres', '0/1', '{[1,2)}', 'a b', 5, 'orders', \
        'sad', 'a', ROW('k=>v', '{ok}'), NULL, 'x', '1 2', '10:20:', '$.a', 'k=>v', 'n', '(1,1)', '7', \
        '08:00:2b:01:02:03:04:05', 'cursor', 'ab'); \
    CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; \
    CREATE UNLOGGED TABLE scratch AS SELECT 1 AS id; \
    CREATE TABLE parted (id int, at date) PARTITION BY RANGE (at); \
    CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01'); \
    INSERT INTO parted VALUES (1, '2026-05-05'); \
    CREATE TABLE parent (id int); CREATE TABLE child () INHERITS (parent); \
    INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2); \
    CREATE VIEW seen AS SELECT count(*) FROM odd; CREATE MATERIALIZED VIEW kept AS SELECT 1 AS id; \
    CREATE EXTENSION postgres_fdw; CREATE SERVER nowhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (port '1'); \
    CREATE FOREIGN TABLE elsewhere (id int) SERVER nowhere";

async fn with_all_of_them(shop: &Shop) {
    let mut source = shop.superuser(&shop.settings.source).await;
    for statements in [OF_AN_EXTENSION, NAMES, KINDS] {
        source.run(statements).await.unwrap();
    }
    source.run(&wide("features", 900, &["numeric"])).await.unwrap();
    source.run(&wide("widest", 1600, &["text", "mood", "timestamptz", "hstore", "bpchar"])).await.unwrap();
    source.run("UPDATE features SET c0 = 0.5").await.unwrap();
}

/// A change of one value, or of a row, by table.
const CHANGES: &[(&str, &str)] = &[
    ("geocoder.state_lookup", "UPDATE geocoder.state_lookup SET name = '' WHERE code = 'TX'"),
    ("geocoder.settings", "UPDATE geocoder.settings SET own = NULL WHERE name = 'debug'"),
    ("old shop.TABLE DATA public orders", "UPDATE \"old shop\".\"TABLE DATA public orders\" SET id = -id"),
    ("public.two\nlines", "UPDATE public.\"two\nlines\" SET id = NULL"),
    ("public.features", "UPDATE features SET c0 = NULL, c899 = 0.5"),
    ("public.widest", "UPDATE widest SET c1599 = ''"),
    // Blanks of a domain's domain on bpchar.
    ("public.odd", "UPDATE odd SET short = 'a '"),
    ("public.nothing", "INSERT INTO nothing DEFAULT VALUES"),
    ("public.scratch", "UPDATE scratch SET id = 2"),
    ("public.parted_2026", "UPDATE parted SET id = 2"),
    ("public.parent", "UPDATE ONLY parent SET id = 7"),
    ("public.child", "UPDATE child SET id = 8"),
];

/// Each table's digest, also as it is where servers differ.
async fn by_every_hash(source: &mut Connection) -> Vec<(String, Digest)> {
    let mut all = Vec::new();
    for (table, _) in CHANGES {
        let (schema, name) = table.split_once('.').unwrap();
        let columns = digests::columns(source, schema, name).await.unwrap();
        for hash in [HashFn::ValueBytes, HashFn::Md5Utf8, HashFn::Md5Bytes] {
            let row =
                source.row(&sql::digest(schema, name, "ONLY ", &hash.of_row("t", &columns))).await.unwrap();
            let digest = Digest::new(row.get(0), row.get(1)).unwrap();
            all.push((format!("{table} by {hash:?}"), digest));
        }
    }
    all
}

#[tokio::test]
async fn they_stop_no_run_and_a_change_in_each_is_seen() {
    let shop = Shop::open(0).await;
    with_all_of_them(&shop).await;
    let migrated = shop.xtask(&["migrate", "--json"]).expect_code(0);
    let report = migrated.json();
    assert_eq!((&report["proven"], &report["source"]["changed"]), (&true.into(), &serde_json::json!({})));
    let backup = shop.manifest().backup.unwrap();
    for (table, _) in CHANGES {
        let rows = if table.starts_with("geocoder.") { 2 } else { 1 };
        assert_eq!(backup.raw.get(*table).map(|digest| digest.rows), Some(rows), "{table:?}");
    }
    for table in ["public.parted", "public.seen", "public.kept", "public.elsewhere"] {
        assert!(!backup.raw.contains_key(table), "{table} has no rows of its own");
    }

    let mut source = shop.superuser(&shop.settings.source).await;
    let before = by_every_hash(&mut source).await;
    assert_eq!(by_every_hash(&mut source).await, before, "the same a moment later");
    for (_, change) in CHANGES {
        source.run(change).await.unwrap();
    }
    for (was, is) in before.iter().zip(by_every_hash(&mut source).await) {
        assert!(was.0 == is.0 && was.1 != is.1, "{was:?} {is:?}");
    }
    shop.xtask(&["verify"]).expect_code(0);
    let said = shop.xtask(&["cutover"]).expect_code(4);
    assert_words(&said, &["the source has changed since the snapshot"]);
    for (table, _) in CHANGES {
        assert_words(&said, &[&format!("\n  {table}: ")]);
    }
    // By digests; how many rows only statistics say, and late.
    let lines =
        said.stderr.matches(": about 1 row").count() + said.stderr.matches(": rows or columns").count();
    assert_eq!(lines, CHANGES.len(), "{}", said.stderr);
}

/// Each place where a person looks says which rows the dump does not have, and why.
#[tokio::test]
async fn what_the_dump_leaves_out_is_said() {
    let shop = Shop::open(0).await;
    let plain = shop.xtask(&["backup"]).expect_code(0);
    assert!(!plain.stdout.contains("not in the dump"), "{}", plain.stdout);
    with_all_of_them(&shop).await;
    let words = [
        "geocoder.state_lookup: a table of the extension hstore: none of its rows",
        "geocoder.settings: a table of the extension hstore: only its rows WHERE own",
        "public.elsewhere: a foreign table: its rows are on the server nowhere",
    ];
    let said = shop.xtask(&["backup"]).expect_code(0);
    assert_words(&said, &words);
    let mut source = shop.superuser(&shop.settings.source).await;
    let superuser: bool =
        source.row("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").await.unwrap().get(0);
    assert!(superuser, "who has all rights has no word about rights");
    let left_out = shop.manifest().backup.unwrap().left_out;
    assert_eq!(left_out.len(), 3, "{left_out:?}");
    let journal = std::fs::read_to_string(shop.latest().file("journal.jsonl")).unwrap();
    assert!(journal.contains("geocoder.state_lookup: a table of the extension hstore"), "{journal}");
    let dump = std::fs::read_to_string(shop.latest().file("full_backup.sql")).unwrap();
    assert!(!dump.contains("Bavaria") && dump.contains("ours\tt\n") && !dump.contains("debug\tf\n"));

    let report: Said = shop.xtask(&["migrate"]).expect_code(0);
    assert_words(&report, &words);
    let report = shop.xtask(&["verify", "--json"]).expect_code(0).json();
    assert_eq!(report["left_out"].as_object().unwrap().len(), 3, "{report:#}");
}
