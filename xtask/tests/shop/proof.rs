//! "Proven" is true: a hash is one-to-one with the value, a verdict rests on counts, and a mistake of the
//! tool cannot prove itself right.

use crate::support::{Said, Shop, assert_words};
use datapath::document::{Field, Kind};
use datapath::firestore::Unconditional;
use sqlx::Row;
use xtask::commands::migrate;
use xtask::effects::postgres::Connection;
use xtask::findings::{FindingKind, Values};
use xtask::model::{Column, Database};
use xtask::run::manifest::Proof;
use xtask::source::Handling;
use xtask::sql::HashFn;
use xtask::tables::{Home, TABLES, Table};

const TYPES: &str = "CREATE EXTENSION IF NOT EXISTS citext; \
    CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
    CREATE TYPE mood AS ENUM ('sad', 'Sad', ''); CREATE DOMAIN money_of_ours AS numeric CHECK (VALUE IS NULL OR true); \
    CREATE TYPE pair AS (a citext, b numeric)";

/// A type, values at its edges, and an expression for random ones (`i` counts them).
const CASES: &[(&str, &[&str], &str)] = &[
    ("smallint", &["0", "1", "-1", "32767", "-32768"], "(random() * 60000 - 30000)::int2"),
    ("integer", &["0", "1", "-1", "2147483647", "-2147483648"], "(random() * 4e9 - 2e9)::int4"),
    (
        "bigint",
        &[
            "0",
            "1",
            "-1",
            "4294967296",
            "4294967297",
            "-4294967296",
            "-4294967297",
            "9223372036854775807",
            "-9223372036854775808",
        ],
        "(random() * 1.8e19 - 9e18)::int8",
    ),
    (
        "numeric",
        &[
            "0",
            "0.0",
            "0.00",
            "1",
            "-1",
            "1.0",
            "-1.0",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-20",
            "1e20",
            "-1e20",
            "12345678901234567890.123456789",
            "10000",
            "0.0001",
        ],
        "round((random() * 1e9 - 5e8)::numeric, i % 7)",
    ),
    (
        "numeric(10,2)",
        &["0", "0.01", "-0.01", "NaN", "99999999.99", "-99999999.99"],
        "(random() * 2e7 - 1e7)::numeric(10,2)",
    ),
    ("money_of_ours", &["0", "-0.5", "0.5", "0.50", "NaN"], "round((random() * 100 - 50)::numeric, 2)"),
    (
        "real",
        &["0", "-0", "NaN", "Infinity", "-Infinity", "1e-37", "3.4e38", "16777216"],
        "(random() * 1e6)::float4",
    ),
    (
        "double precision",
        &[
            "0",
            "-0",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e-300",
            "4.9e-324",
            "0.1",
            "0.30000000000000004",
            "0.3",
        ],
        "random() * 1e6",
    ),
    ("boolean", &["true", "false"], "random() < 0.5"),
    (
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "1970-01-01 00:00:00+00",
            "2000-01-01 00:00:00+00",
            "2000-01-01 01:11:34.967296+00",
            "1999-12-31 22:48:25.032704+00",
            "1999-12-31 23:59:59.999999+00",
            "0001-01-01 00:00:00+00 BC",
            "294276-12-31 23:59:59.999999+00",
        ],
        "'2026-01-01'::timestamptz + random() * 1e9 * interval '1 microsecond'",
    ),
    (
        "timestamp",
        &["infinity", "-infinity", "2000-01-01", "2000-01-01 01:11:34.967296", "4713-01-01 BC"],
        "'2026-01-01'::timestamp + random() * interval '9 years'",
    ),
    ("date", &["infinity", "-infinity", "2000-01-01", "1999-12-31"], "'2026-01-01'::date + i"),
    ("time", &["00:00", "24:00", "23:59:59.999999"], "'00:00'::time + random() * interval '23 hours'"),
    (
        "timetz",
        &["00:00+00", "00:00+01", "01:00+01"],
        "('00:00'::time + random() * interval '23 hours')::timetz",
    ),
    (
        "interval",
        &["0", "1 day", "24 hours", "1 month", "30 days", "-1 day", "1 month -30 days"],
        "random() * interval '9 years'",
    ),
    ("text", &["", " ", "a", "A", "NULL", "a ", "é", "e\u{301}", "a\nb", "\\", "\""], "md5(i::text)"),
    ("varchar(255)", &["", "a", "A", "a ", "NULL"], "left(md5(i::text), i % 9)"),
    ("char(5)", &["", "a", "A", "ab"], "left(md5(i::text), 5)"),
    ("bpchar", &["", " ", "a", "a ", "A"], "left(md5(i::text), i % 9)::bpchar"),
    ("name", &["", "a", "A"], "md5(i::text)::name"),
    ("citext", &["", "a", "A", "Ada@Example.Com", "ada@example.com"], "left(md5(i::text), 4)::citext"),
    (
        "text COLLATE ignore_case",
        &["", "a", "A", "Ada@Example.Com", "ada@example.com", "é", "e\u{301}"],
        "left(md5(i::text), 4)",
    ),
    ("bytea", &["", "\\x00", "\\x0000", "\\xff"], "decode(md5(i::text), 'hex')"),
    (
        "uuid",
        &["00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"],
        "md5(i::text)::uuid",
    ),
    (
        "inet",
        &["1.2.3.4", "1.2.3.4/24", "1.2.3.4/31", "::1", "::ffff:1.2.3.4", "1.2.3.0/24"],
        "'1.2.3.4'::inet + i",
    ),
    ("cidr", &["1.2.3.0/24", "1.2.3.0/25", "::/0"], "set_masklen('10.0.0.0'::cidr, 8 + i % 20)"),
    (
        "json",
        &["null", "{}", "{ }", "{\"a\":1}", "{\"a\":1.0}", "{\"a\":1,\"a\":1}", "\"a\""],
        "json_build_object('a', i)",
    ),
    (
        "jsonb",
        &[
            "null",
            "{}",
            "[]",
            "{\"a\":1}",
            "{\"a\":1.0}",
            "{\"a\":-1}",
            "{\"a\":\"1\"}",
            "\"a\"",
            "{\"a\":null}",
        ],
        "jsonb_build_object('a', random())",
    ),
    (
        "text[]",
        &[
            "{}",
            "{NULL}",
            "{\"NULL\"}",
            "{\"\"}",
            "{NULL,a}",
            "{a,NULL}",
            "{{a},{b}}",
            "{a,b}",
            "[2:3]={a,b}",
            "{A,b}",
        ],
        "ARRAY[md5(i::text), NULL]",
    ),
    ("citext[]", &["{a}", "{A}", "{NULL}"], "ARRAY[left(md5(i::text), 3)]::citext[]"),
    ("numeric[]", &["{1}", "{-1}", "{1.0}", "{NaN}", "{NULL}"], "ARRAY[random()::numeric]"),
    ("mood", &["sad", "Sad", ""], "(ARRAY['sad', 'Sad', ''])[1 + i % 3]::mood"),
    (
        "pair",
        &["(a,1)", "(A,1)", "(a,-1)", "(,1)", "(\"\",1)", "(a,)", "(a,1.0)"],
        "ROW(left(md5(i::text), 2), i)::pair",
    ),
    ("int4range", &["empty", "[1,2)", "[1,3)", "(,)"], "int4range(i, i + 5)"),
    ("bit(3)", &["000", "001", "100"], "(i % 8)::bit(3)"),
];

/// The kind of column that the tool sees.
async fn kind_of(connection: &mut Connection, kind: &str) -> Column {
    // With its name in the text: what was prepared for another type is not asked again.
    connection.describe(&format!("SELECT x FROM v -- {kind}")).await.unwrap().remove(0)
}

#[tokio::test]
async fn two_values_have_one_hash_only_if_they_have_one_text() {
    let shop = Shop::open(0).await;
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run(TYPES).await.unwrap();
    source.run("SELECT setseed(0.25)").await.unwrap();
    for (kind, edges, random) in CASES {
        source.run(&format!("CREATE TEMP TABLE v (x {kind})")).await.unwrap();
        let edges: Vec<String> = edges.iter().map(|e| format!("('{}')", e.replace('\'', "''"))).collect();
        source.run(&format!("INSERT INTO v VALUES (NULL), {}", edges.join(", "))).await.unwrap();
        source.run(&format!("INSERT INTO v SELECT {random} FROM generate_series(1, 60) i")).await.unwrap();
        let column = kind_of(&mut source, kind).await;
        for hash in [HashFn::ValueBytes, HashFn::Md5Utf8] {
            // The text as the type's own output writes it; a row of two, so that places count, too.
            let query = format!(
                "WITH h AS (SELECT CASE WHEN x IS DISTINCT FROM NULL THEN format('%s', x) END COLLATE \"C\" AS text, {h} AS hash FROM v) \
                 SELECT format('%L and %L', a.text, b.text) FROM h a, h b \
                 WHERE (a.text IS NOT DISTINCT FROM b.text) <> (a.hash = b.hash) LIMIT 5",
                h = hash.of_row("v", std::slice::from_ref(&column)),
            );
            let wrong: Vec<String> =
                source.rows(&query).await.unwrap().iter().map(|row| row.get(0)).collect();
            assert_eq!(wrong, Vec::<String>::new(), "{kind} ({}) by {hash:?}", column.kind);
        }
        source.run("DROP TABLE v").await.unwrap();
    }
}

#[tokio::test]
async fn the_place_of_a_value_in_its_row_counts() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    let column = |name: &str, kind: &str| Column { name: name.into(), kind: kind.into() };
    source.run("CREATE TEMP TABLE two (id int, a text, b text, n numeric, m numeric)").await.unwrap();
    source
        .run(
            "INSERT INTO two VALUES (1, 'x', 'y', 1, 2), (1, 'y', 'x', 1, 2), (1, NULL, 'x', 1, 2), (1, 'x', NULL, 1, 2), \
             (1, 'xy', '', 1, 2), (1, '', 'xy', 1, 2), (1, 'x', 'y', 2, 1), (1, 'x', 'y', NULL, 1), (1, 'x', 'y', 1, NULL), \
             (1, 'x', 'y', 'NaN', 1), (1, 'x', 'y', 1, 'NaN'), (1, 'x', 'y', -1, 2), (1, 'x', 'y', 1, -2)",
        )
        .await
        .unwrap();
    let columns = [
        column("id", "int4"),
        column("a", "text"),
        column("b", "text"),
        column("n", "numeric"),
        column("m", "numeric"),
    ];
    for hash in [HashFn::ValueBytes, HashFn::Md5Utf8] {
        let query = format!("SELECT count(*), count(DISTINCT {}) FROM two t", hash.of_row("t", &columns));
        let row = source.row(&query).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1), "{hash:?}");
        // Exchanged between two rows, the sum of their hashes is another one.
        let sums = format!(
            "SELECT count(DISTINCT sum) FROM (VALUES \
             ((SELECT sum({h}) FROM (VALUES (1, 'x', 'y', 1.0, 2.0), (2, 'p', 'q', 3.0, 4.0)) t (id, a, b, n, m))), \
             ((SELECT sum({h}) FROM (VALUES (1, 'p', 'y', 1.0, 2.0), (2, 'x', 'q', 3.0, 4.0)) t (id, a, b, n, m)))) v (sum)",
            h = hash.of_row("t", &columns)
        );
        assert_eq!(source.row(&sums).await.unwrap().get::<i64, _>(0), 2, "{hash:?}");
    }
}

/// What only a look at the value itself shows, found by verify and by a cut-over.
#[tokio::test]
async fn a_sign_a_nan_and_two_to_the_32nd_microseconds_are_found() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let cases = [
        (Database::Order, "UPDATE orders SET total_amount = -total_amount", "orders", "total_amount"),
        (
            Database::Order,
            "UPDATE orders SET created_at = created_at + interval '4294.967296 s' WHERE id = 1",
            "orders",
            "created_at",
        ),
        (
            Database::Product,
            "UPDATE products SET cost_price = 'NaN' WHERE cost_price IS NULL",
            "products",
            "cost_price",
        ),
    ];
    for (database, damage, table, column) in cases {
        let mut target = shop.target(database).await;
        target.run(&format!("CREATE TABLE copy AS SELECT * FROM {table}")).await.unwrap();
        target.run(damage).await.unwrap();
        let changed = format!(
            "SELECT count(*) FROM {table} t JOIN copy c USING (id) WHERE t.{column}::text IS DISTINCT FROM c.{column}::text"
        );
        let changed: i64 = target.row(&changed).await.unwrap().get(0);
        assert!(changed > 0, "{damage}");
        let said = shop.xtask(&["verify", "--json"]).expect_code(3);
        let report = said.json();
        let line = report["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).unwrap();
        assert_eq!(line["counts"]["different"], changed, "{damage}");
        assert_eq!(line["findings"][0]["column"], column, "{damage}");
        shop.xtask(&["cutover"]).expect_code(4);
        let undo = format!(
            "UPDATE {table} t SET {column} = c.{column} FROM copy c WHERE c.id = t.id; DROP TABLE copy"
        );
        target.run(&undo).await.unwrap();
        shop.xtask(&["verify"]).expect_code(0);
    }
    // A refund that a service has booked: `--replace` removes only what nobody has changed.
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET total_amount = -total_amount WHERE id = 1").await.unwrap();
    let said = shop.xtask(&["migrate", "--replace"]).expect_code(4);
    assert_words(&said, &["orders in", "but not the same ones"]);
    let row = order.row("SELECT total_amount < 0 FROM orders WHERE id = 1").await.unwrap();
    assert!(row.get::<bool, _>(0), "the refund is there still");
}

#[tokio::test]
async fn the_verdict_is_the_same_whatever_is_shown() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut order = shop.target(Database::Order).await;
    order
        .run("UPDATE orders SET status = 'other' WHERE id IN (1, 2, 3); DELETE FROM payments WHERE id = 1")
        .await
        .unwrap();
    let firestore = shop.firestore().await;
    let documents = shop.documents("users").await;
    let mut ids = documents.keys();
    let (changed, gone) = (ids.next().unwrap().clone(), ids.next().unwrap().clone());
    let other = vec![("first_name", datapath::document::Value::Text("other".into()))];
    firestore.set("users", &datapath::document::Document { id: changed, fields: other }).await.unwrap();
    firestore.delete("users", &[gone]).await.unwrap();
    let counts = |said: &Said, table: &str| {
        let report = said.json();
        let line = report["tables"].as_array().unwrap().iter().find(|t| t["table"] == table).unwrap().clone();
        (line["counts"].clone(), line["findings"].as_array().unwrap().len(), line["verified"].clone())
    };
    let mut seen = Vec::new();
    for limit in ["0", "1", "100"] {
        let said = shop.xtask(&["verify", "--json", "--max-diffs", limit]).expect_code(3);
        for (table, different, missing) in [("orders", 3, 0), ("payments", 0, 1), ("users", 1, 1)] {
            let (counts, shown, verified) = counts(&said, table);
            assert_eq!(
                (&counts["different"], &counts["missing"]),
                (&different.into(), &missing.into()),
                "{table}"
            );
            assert_eq!(verified, false, "{table} with --max-diffs {limit}");
            seen.push(shown);
        }
        shop.xtask(&["cutover", "--max-diffs", limit]).expect_code(4);
    }
    assert!(seen[0] < seen[6], "{seen:?}");
    // What a cut-over itself sees, whatever an earlier look said.
    let mut manifest = shop.manifest();
    let proof = manifest.proof.as_mut().unwrap();
    for table in proof.tables.values_mut() {
        table.counts = xtask::findings::Counts { equal: table.expected_rows, ..Default::default() };
        table.found_rows = table.expected_rows;
    }
    proof.checks.iter_mut().for_each(|check| check.wrong = 0);
    assert!(proof.is_green());
    shop.latest().save_manifest(&manifest).unwrap();
    let said = shop.xtask(&["cutover", "--max-diffs", "0"]).expect_code(3);
    assert_words(&said, &["nothing has been cut over"]);
}

#[test]
fn a_proof_of_nothing_is_none() {
    assert!(!Proof::default().is_green());
    // As earlier versions wrote it: without counts.
    let earlier = r#"{"finished":"","tables":{"orders":{"expected_rows":5,"found_rows":5,"findings":[],"seconds":1}},
                      "checks":[{"name":"files","looked_at":"","findings":[]}],"seconds":1}"#;
    let earlier: Proof = serde_json::from_str(earlier).unwrap();
    assert!(!earlier.is_green());
    assert!(earlier.wrong() > 0);
}

/// A run of an earlier version, whose digests see no sign, is compared row by row.
#[tokio::test]
async fn digests_of_an_earlier_version_are_not_believed() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let mut order = shop.target(Database::Order).await;
    order.run("UPDATE orders SET total_amount = -total_amount WHERE id = 1").await.unwrap();
    let mut manifest = shop.manifest();
    let export = manifest.export.as_mut().unwrap();
    export.snapshot.hash = HashFn::HashRecordExtended;
    for table in TABLES.iter().filter(|t| t.database().is_some()) {
        let mut target = shop.target(table.database().unwrap()).await;
        let record = export.tables.get_mut(table.name).unwrap();
        // Blind: what stands there now has the digest that is expected.
        let columns = &record.target_columns;
        let found = xtask::stores::rows::content(
            &mut target,
            "public",
            table.name,
            columns,
            HashFn::HashRecordExtended,
        );
        record.content = found.await.unwrap();
    }
    shop.latest().save_manifest(&manifest).unwrap();
    let said = shop.xtask(&["verify"]).expect_code(3);
    assert_words(&said, &["orders id 1: total_amount"]);
    order.run("UPDATE orders SET total_amount = -total_amount WHERE id = 1").await.unwrap();
    shop.xtask(&["verify"]).expect_code(0);
}

/// Case of `cases/06c`, and the same with citext.
#[tokio::test]
async fn a_column_that_ignores_case_hides_no_change_and_invents_none() {
    for kind in ["COLLATION", "citext"] {
        let shop = Shop::open(0).await;
        let mut source = shop.superuser(&shop.settings.source).await;
        let ids = "UPDATE users u SET email = u.id || '-' || email WHERE EXISTS \
                   (SELECT FROM users o WHERE o.id <> u.id AND lower(o.email) = lower(u.email));";
        let (make, of) = match kind {
            "citext" => ("CREATE EXTENSION citext;", "citext"),
            _ => (
                "CREATE COLLATION ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);",
                "varchar(255) COLLATE ignore_case",
            ),
        };
        // Two uids that differ in case only are two documents: the column must not say that they are one.
        let uids = "ALTER TABLE users DROP CONSTRAINT users_firebase_uid_key; \
                    ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key;";
        source
            .run(&format!(
                "{make} {ids} {uids} ALTER TABLE users ALTER COLUMN email TYPE {of}, ALTER COLUMN firebase_uid TYPE {of}; \
                 ALTER TABLE user_sessions ALTER COLUMN session_token TYPE {of}"
            ))
            .await
            .unwrap();
        let before = shop.xtask(&["migrate"]).expect_code(0);
        assert_words(&before, &["2 × id-case"]);
        source.run("UPDATE users SET email = upper(email::text) WHERE id = 1").await.unwrap();
        let said = shop.xtask(&["cutover"]).expect_code(4);
        assert_words(&said, &["the source has changed since the snapshot", "public.users"]);
        source.run("UPDATE users SET email = lower(email::text) WHERE id = 1").await.unwrap();
    }
}

#[tokio::test]
async fn whole_cents_with_more_digits_arrive_and_parts_of_cents_cost_their_row() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    source
        .run("ALTER TABLE products ALTER COLUMN price TYPE numeric(12,4), ALTER COLUMN cost_price TYPE numeric; \
              UPDATE products SET price = price + 0.0050 WHERE id = 1")
        .await
        .unwrap();
    let said = shop.xtask(&["migrate"]).expect_code(0);
    assert_words(&said, &["value_does_not_fit"]);
    let mut product = shop.target(Database::Product).await;
    let row =
        product.row("SELECT count(*) FILTER (WHERE id = 1), count(*) > 10 FROM products").await.unwrap();
    assert_eq!((row.get::<i64, _>(0), row.get::<bool, _>(1)), (0, true));
    shop.xtask(&["verify"]).expect_code(0);
}

/// `TABLES` with other fields for the users' documents.
fn with_fields(fields: Vec<Field>) -> &'static [Table] {
    let mut tables = TABLES.to_vec();
    let users = tables.iter_mut().find(|t| t.name == "users").unwrap();
    let Home::Firestore(collection) = &mut users.home else { panic!("users are documents") };
    collection.fields = fields.leak();
    tables.leak()
}

#[tokio::test]
async fn a_mistake_in_the_documents_cannot_prove_itself() {
    let fields = || {
        let users = TABLES.iter().find(|t| t.name == "users").unwrap();
        let of = users.collection().unwrap().fields.iter();
        of.map(|f| Field { name: f.name, kind: f.kind }).collect::<Vec<_>>()
    };
    let changed = |name: &str, kind: Kind| {
        let mut fields = fields();
        fields.iter_mut().find(|f| f.name == name).unwrap().kind = kind;
        fields
    };
    let without = fields().into_iter().filter(|f| f.name != "user_agent").collect();
    let cases = [
        ("another default", changed("status", Kind::Text("inactive"))),
        ("another default for a flag", changed("email_verified", Kind::Boolean(true))),
        ("a field is forgotten", without),
    ];
    for (case, fields) in cases {
        let mut shop = Shop::open(0).await;
        shop.tables = with_fields(fields);
        let ctx = shop.ctx();
        let report = migrate::run(&ctx, &Handling::default()).await.unwrap();
        assert_eq!(report.proven, Some(false), "{case}");
        let proof = shop.manifest().proof.unwrap();
        let findings: Vec<_> = proof.findings().map(|f| (f.kind, f.table.clone())).collect();
        assert_eq!(findings, [(FindingKind::Digest, "users".to_string())], "{case}");
        let text = proof.findings().next().unwrap().text(Values::Masked);
        assert!(text.contains("a mistake in this tool"), "{text}");
    }
}
