//! A backup becomes a database again: with everything that no dump holds of it, proven against the run, and
//! never half; and it takes the place of the source's own without losing that.

use crate::restarted::Restarted;
use crate::source::{Elsewhere, log_in, run, shop_with_a_service};
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Tool, contents, processes_naming, send, stopped, within};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::Row;
use std::fs;
use std::process::Command;
use xtask::effects::cleanup::Cleanup;
use xtask::effects::postgres::{self, Connection};
use xtask::effects::wait::{self, State};
use xtask::identity::ServerName;
use xtask::run::command::visibly;
use xtask::run::dir::RunDir;
use xtask::servers::native;
use xtask::settings::Server;
use xtask::source::restore;
use xtask::steps::CommandName;

const ARCHIVE: &str = "full_backup.dump";

/// Another database of the source's server.
fn beside(shop: &Shop, database: &str) -> Server {
    Server { database: database.into(), ..shop.settings.source.clone() }
}

async fn in_database(shop: &Shop, database: &str) -> Connection {
    shop.superuser(&beside(shop, database)).await
}

/// Every database of the source's server, by name, with its OID.
async fn databases(shop: &Shop) -> Vec<(String, i64)> {
    let mut connection = in_database(shop, "template1").await;
    let rows = connection
        .rows("SELECT datname::text, oid::bigint FROM pg_database WHERE datname !~ '^(template|postgres)' ORDER BY 1")
        .await
        .unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn names(shop: &Shop) -> Vec<String> {
    databases(shop).await.into_iter().map(|(name, _)| name).collect()
}

/// What PostgreSQL itself would say to make the database again, whatever it is called.
fn definitions(server: &Server) -> String {
    let mut dump = Command::new(native::postgres_bindir().unwrap().join("pg_dump"));
    dump.args(["--create", "--schema-only", "--host", &server.host, "--port", &server.port.to_string()]);
    dump.args(["--username=postgres", "--no-password", &server.database]);
    let output = dump.env("PGPASSWORD", server.password.expose_secret()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text: String = output.stdout.iter().map(|byte| char::from(*byte)).collect();
    let lines = text.lines().filter(|line| !line.contains("restrict "));
    lines.map(|line| line.replace(&server.database, "DATABASE") + "\n").collect()
}

/// A run's manifest, changed.
fn change_manifest(run: &RunDir, change: impl FnOnce(&mut Value)) {
    let file = run.file("manifest.json");
    let mut manifest: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(file, manifest.to_string()).unwrap();
}

/// The newest run's id, which has only just been backed up.
fn backed_up(shop: &Shop) -> String {
    shop.xtask(&["backup"]).expect_code(0);
    shop.latest().id().to_string()
}

fn into(shop: &Shop, run: &str, database: &str) -> Said {
    shop.xtask(&["restore", "--run", run, "--into", database])
}

/// What a source has that no dump of it holds, and what is not easy to restore.
const ODD: &str = "
    CREATE ROLE \"shop owner\"; CREATE ROLE app LOGIN; CREATE ROLE helper;
    ALTER DATABASE ecommerce_db OWNER TO \"shop owner\";
    ALTER DATABASE ecommerce_db CONNECTION LIMIT 77;
    ALTER DATABASE ecommerce_db SET search_path = \"$user\", public, \"odd, \"\"schema\";
    ALTER DATABASE ecommerce_db SET work_mem = '65536';
    ALTER DATABASE ecommerce_db SET \"shop.note\" = 'it''s \\ odd';
    ALTER DATABASE ecommerce_db SET default_transaction_read_only = on;
    ALTER ROLE app IN DATABASE ecommerce_db SET statement_timeout = '5s';
    ALTER ROLE app IN DATABASE ecommerce_db SET search_path = '';
    COMMENT ON DATABASE ecommerce_db IS 'it''s \"odd\"';
    REVOKE ALL ON DATABASE ecommerce_db FROM PUBLIC;
    REVOKE TEMPORARY ON DATABASE ecommerce_db FROM \"shop owner\";
    GRANT CONNECT ON DATABASE ecommerce_db TO app WITH GRANT OPTION;
    SET ROLE app; GRANT CONNECT ON DATABASE ecommerce_db TO helper; RESET ROLE;
    SET default_transaction_read_only = off;
    CREATE SCHEMA \"odd, \"\"schema\" AUTHORIZATION \"shop owner\";
    CREATE TABLE \"odd, \"\"schema\".parts (id int, name text) PARTITION BY RANGE (id);
    CREATE TABLE \"odd, \"\"schema\".part PARTITION OF \"odd, \"\"schema\".parts FOR VALUES FROM (0) TO (100);
    INSERT INTO \"odd, \"\"schema\".parts VALUES (1, 'Jos\u{e9}'), (2, E'\\\\.'), (3, NULL);
    CREATE MATERIALIZED VIEW filled AS SELECT name FROM \"odd, \"\"schema\".parts;
    CREATE SEQUENCE down INCREMENT -1; SELECT nextval('down'), nextval('down');
    SELECT lo_from_bytea(4711, 'large');
    INSERT INTO users (email, created_at) VALUES ('jos\u{e9}@example.com', 'infinity');
";

#[tokio::test(flavor = "multi_thread")]
async fn a_source_comes_back_with_all_that_no_dump_holds() {
    for (made, expected) in [
        ("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", "ENCODING = 'LATIN1'"),
        (
            "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' LC_COLLATE 'C' LC_CTYPE 'C'",
            "ICU_LOCALE = 'de-AT'",
        ),
    ] {
        let shop = Shop::open(0).await;
        shop.new_source("UTF8").await;
        let mut postgres = in_database(&shop, "postgres").await;
        postgres.run("DROP DATABASE ecommerce_db WITH (FORCE)").await.unwrap();
        postgres.run(&format!("CREATE DATABASE ecommerce_db TEMPLATE template0 {made}")).await.unwrap();
        let schema = include_str!("../../../fixtures/monolith/schema.sql");
        let bare: Vec<&str> = schema.lines().filter_map(|line| line.split("--").next()).collect();
        let mut source = shop.source().await;
        source.run(&bare.join("\n")).await.unwrap();
        source.run(ODD).await.unwrap();
        source.close().await.unwrap();
        let run = backed_up(&shop);

        let said = shop.xtask(&["restore", "--run", &run, "--into", "again", "--dry-run"]).expect_code(0);
        says(&said, &["Restore of run", "12 tables", "into the new database again", "archive"]);
        assert_words(&said, &[&format!("next: cargo xtask restore --run {run} --into again")]);
        assert_eq!(names(&shop).await, ["ecommerce_db"]);

        let said = into(&shop, &run, "again").expect_code(0);
        let verdict = said.stdout.lines().next().unwrap();
        assert!(verdict.starts_with("✓ PROVEN again: 12 tables, 4 rows, as run "), "{verdict}");
        says(&said, &["1 large objects are restored, and not proven"]);
        assert_words(&said, &["next: look at it: psql -h 127.0.0.1", "DROP DATABASE \"again\";"]);
        assert_eq!(names(&shop).await, ["again", "ecommerce_db"]);
        let (before, after) = (definitions(&shop.settings.source), definitions(&beside(&shop, "again")));
        assert!(before.contains(expected) && before.contains("it''s \"odd\""), "{before}");
        assert_eq!(after, before);
        let mut again = in_database(&shop, "again").await;
        let mut source = shop.superuser(&shop.settings.source).await;
        assert_eq!(contents(&mut again).await, contents(&mut source).await);
        let rows = again.row("SELECT count(*), min(name COLLATE \"C\") FROM filled").await.unwrap();
        assert_eq!((rows.get::<i64, _>(0), rows.get::<String, _>(1)), (3, "José".to_string()));
        let analyzed = "SELECT count(*) FROM pg_class WHERE relname = 'part' AND reltuples = 3";
        assert_eq!(again.row(analyzed).await.unwrap().get::<i64, _>(0), 1, "statistics");
    }
}

#[tokio::test]
async fn a_freeze_is_not_part_of_a_backup() {
    let shop = shop_with_a_service().await;
    shop.source().await.run("ALTER DATABASE ecommerce_db SET lock_timeout = '7s'").await.unwrap();
    let there = Elsewhere::new(&shop, "postgres", "freeze_roles = [\"shop_app\"]");
    there.xtask(&shop, &["backup", "--freeze"]).expect_code(0);
    let settings = shop.manifest().backup.unwrap().properties.unwrap().settings;
    let settings: Vec<String> = settings.iter().map(|s| format!("{}={}", s.name, s.value)).collect();
    assert_eq!(settings, ["lock_timeout=7s"]);
}

#[tokio::test]
async fn a_damaged_or_foreign_archive_is_refused_before_anything_is_made() {
    let shop = Shop::open(0).await;
    let other = backed_up(&shop);
    shop.source().await.run("DELETE FROM payments WHERE id = 1").await.unwrap();
    let run = backed_up(&shop);
    let dir = shop.latest();
    let (archive, schema) =
        (fs::read(dir.file(ARCHIVE)).unwrap(), fs::read(dir.file("schema_only.sql")).unwrap());
    let mut flipped = archive.clone();
    flipped[archive.len() / 2] ^= 1;
    let of_another = fs::read(shop.runs.path().join(other).join(ARCHIVE)).unwrap();
    let mut other_schema = schema.clone();
    other_schema[500] ^= 1;
    for (case, name, bytes) in [
        ("a flipped bit", ARCHIVE, &flipped[..]),
        ("another run's", ARCHIVE, &of_another),
        ("cut off", ARCHIVE, &archive[..archive.len() - 1]),
        ("definitions", "schema_only.sql", &other_schema),
    ] {
        let whole = fs::read(dir.file(name)).unwrap();
        fs::write(dir.file(name), bytes).unwrap();
        let said = into(&shop, &run, "again");
        assert_refused(
            case,
            &said,
            &[&format!("{name} is not the file that was written"), "Nothing has been changed"],
        );
        assert_eq!(names(&shop).await, ["ecommerce_db"], "{case}");
        fs::write(dir.file(name), whole).unwrap();
    }
    fs::remove_file(dir.file(ARCHIVE)).unwrap();
    assert_refused("gone", &into(&shop, &run, "again"), &[ARCHIVE, "No such file"]);
    fs::write(dir.file(ARCHIVE), &archive).unwrap();
    // It was the files.
    into(&shop, &run, "again").expect_code(0);
}

#[tokio::test]
async fn everything_that_stands_in_the_way_is_said_at_once() {
    let shop = Shop::open(0).await;
    let password = shop.settings.source.password.expose_secret().to_string();
    let roles = format!(
        "CREATE ROLE mover LOGIN PASSWORD '{password}'; CREATE ROLE shop_owner; CREATE ROLE old_friend; \
         GRANT pg_read_all_data, pg_read_all_stats TO mover; ALTER DATABASE ecommerce_db OWNER TO shop_owner; \
         GRANT TEMPORARY ON DATABASE ecommerce_db TO old_friend; CREATE DATABASE taken; \
         CREATE DATABASE again_unproven; "
    );
    let mut source = shop.source().await;
    for statement in roles.split_inclusive("; ") {
        source.run(statement).await.unwrap();
    }
    in_database(&shop, "again_unproven").await.run("CREATE TABLE precious ()").await.unwrap();
    let there = Elsewhere::new(&shop, "mover", "");
    there.xtask(&shop, &["backup"]).expect_code(0);
    let run = shop.latest().id().to_string();
    source.run("REVOKE ALL ON DATABASE ecommerce_db FROM old_friend; DROP ROLE old_friend").await.unwrap();
    let before = databases(&shop).await;
    let restore = |name: &str| there.xtask(&shop, &["restore", "--run", &run, "--into", name]);
    let rights = [
        "CREATEDB is missing: ALTER ROLE mover CREATEDB;",
        "membership in the owner shop_owner is missing: GRANT shop_owner TO mover;",
        "the role old_friend is gone: the run's globals.sql has it",
    ];
    let said = restore("taken");
    assert_refused("all", &said, &rights);
    assert_refused("all", &said, &["the database taken is there already", "--into"]);
    let said = restore("again");
    assert_refused(
        "the name of what is not proven",
        &said,
        &["the database again_unproven is in the way", "DROP DATABASE \"again_unproven\";"],
    );
    assert_refused("no name", &restore(""), &["has no name"]);
    assert_refused("a long name", &restore(&"x".repeat(64)), &["64 bytes long"]);
    assert_eq!(databases(&shop).await, before);
    // The plan alone says the same.
    let said = there.xtask(&shop, &["restore", "--run", &run, "--into", "taken", "-n"]).expect_code(4);
    says(&said, &["into the new database taken"]);
    assert_words(&said, &rights);
    let said =
        there.xtask(&shop, &["restore", "--run", &run, "--into", "taken", "-n", "--json"]).expect_code(4);
    assert_eq!(said.json()["obstacles"].as_array().unwrap().len(), 4, "{}", said.stdout);
    // Neither both goals nor none.
    there.xtask(&shop, &["restore", "--run", &run]).expect_code(2);
    there.xtask(&shop, &["restore", "--run", &run, "--into", "x", "--in-place"]).expect_code(2);

    // With all of these: its tables are the superuser's, which mover may not give them to, and nothing of it stays.
    source.run("CREATE ROLE old_friend; ALTER ROLE mover CREATEDB; GRANT shop_owner TO mover").await.unwrap();
    let said = restore("mine").expect_code(1);
    assert_words(&said, &["pg_restore ended with", "postgres"]);
    assert_eq!(databases(&shop).await, before);
    // A shop whose tables are its owner's comes back without any superuser.
    let owner = "DO $$ DECLARE t regclass; BEGIN \
                 FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP \
                 EXECUTE format('ALTER TABLE %s OWNER TO shop_owner', t); END LOOP; END $$";
    source.run(owner).await.unwrap();
    there.xtask(&shop, &["backup"]).expect_code(0);
    let run = shop.latest().id().to_string();
    let said =
        there.xtask(&shop, &["restore", "--run", &run, "--into", "mine", "--json"]).expect_code(0).json();
    let rows: u64 = shop.manifest().backup.unwrap().raw.values().map(|table| table.rows).sum();
    assert_eq!(
        (&said["database"], &said["rows"], &said["replaced"]),
        (&"mine".into(), &rows.into(), &Value::Null)
    );
    assert_eq!(definitions(&beside(&shop, "mine")), definitions(&shop.settings.source));
}

#[tokio::test]
async fn a_restore_that_is_not_what_was_backed_up_is_dropped_or_kept_apart() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    // PostgreSQL writes this otherwise once it has read it again: no difference.
    source
        .run("ALTER TABLE orders ADD CHECK (status IS NULL OR status IN ('a, ]', 'it''s', 'x') OR true)")
        .await
        .unwrap();
    let run = backed_up(&shop);
    let whole = fs::read_to_string(shop.latest().file("manifest.json")).unwrap();
    let not_proven = async |change: &dyn Fn(&mut Value), words: &[&str]| {
        change_manifest(&shop.latest(), change);
        let said = into(&shop, &run, "again").expect_code(3);
        assert_words(&said, words);
        assert_words(&said, &["has been dropped again", "verification differs"]);
        assert_eq!(said.stdout, "");
        assert_eq!(names(&shop).await, ["ecommerce_db"], "{words:?}");
        fs::write(shop.latest().file("manifest.json"), &whole).unwrap();
    };
    let hash =
        |m: &mut Value| m["backup"]["raw"]["public.payments"] = m["backup"]["raw"]["public.orders"].clone();
    not_proven(&hash, &["public.payments has "]).await;
    let gone = |m: &mut Value| drop(m["backup"]["raw"].as_object_mut().unwrap().remove("public.payments"));
    not_proven(&gone, &["public.payments is not in the backup"]).await;
    let more =
        |m: &mut Value| m["backup"]["raw"]["public.more"] = m["backup"]["raw"]["public.orders"].clone();
    not_proven(&more, &["public.more is missing"]).await;
    let sequence = |m: &mut Value| m["backup"]["sequences"]["public.no_seq"] = 7.into();
    not_proven(
        &sequence,
        &["the sequence public.no_seq stands at nowhere, it is missing, in the backup at 7"],
    )
    .await;
    let property = |m: &mut Value| m["backup"]["properties"]["locale"] = "xx".into();
    not_proven(&property, &["locale: none, recorded xx"]).await;
    // Its definitions: a file that is the manifest's, and not of this source.
    let schema = fs::read_to_string(shop.latest().file("schema_only.sql")).unwrap();
    let other = schema.replace("total_amount numeric(10,2)", "total_amount numeric(10,3)");
    fs::write(shop.latest().file("schema_only.sql"), &other).unwrap();
    let sha = shop.latest().measure("schema_only.sql").unwrap().sha256;
    let definitions = |m: &mut Value| m["backup"]["files"]["schema_only.sql"]["sha256"] = sha.clone().into();
    not_proven(&definitions, &["the definitions differ from schema_only.sql: at line ", "numeric(10,3)"])
        .await;
    fs::write(shop.latest().file("schema_only.sql"), schema).unwrap();

    // Kept where that is wanted, under a name of its own, and never dropped by the next call.
    change_manifest(&shop.latest(), hash);
    let said = shop.xtask(&["restore", "--run", &run, "--into", "again", "--keep", "--json"]).expect_code(3);
    assert_eq!(said.json()["kept"], "again_unproven");
    assert_eq!(said.json()["differences"][0]["name"], "public.payments");
    assert_eq!(names(&shop).await, ["again_unproven", "ecommerce_db"]);
    fs::write(shop.latest().file("manifest.json"), &whole).unwrap();
    let said = into(&shop, &run, "again");
    assert_refused("kept", &said, &["again_unproven is in the way, and it was kept by --keep"]);
    in_database(&shop, "postgres").await.run("DROP DATABASE again_unproven").await.unwrap();

    // What the dump read a moment before the backup did.
    change_manifest(&shop.latest(), |m| m["backup"]["sequences"]["public.orders_id_seq"] = 4711.into());
    let said = into(&shop, &run, "again").expect_code(0);
    says(&said, &["raised to where the backup saw it: public.orders_id_seq = 4711"]);
    let next = in_database(&shop, "again").await.row("SELECT nextval('orders_id_seq')").await.unwrap();
    assert_eq!(next.get::<i64, _>(0), 4712);

    // A backup of an earlier version.
    source.run("COMMENT ON DATABASE ecommerce_db IS 'as it is now'").await.unwrap();
    change_manifest(&shop.latest(), |m| drop(m["backup"].as_object_mut().unwrap().remove("properties")));
    let said = into(&shop, &run, "older").expect_code(0);
    says(&said, &["were not recorded by this backup: the new database gets those that the source's has now"]);
    let mut older = in_database(&shop, "older").await;
    let comment = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'older'";
    assert_eq!(older.row(comment).await.unwrap().get::<String, _>(0), "as it is now");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_it_leaves_nothing_that_the_same_command_does_not_put_right() {
    let shop = shop_with_a_service().await;
    let large = "CREATE TABLE large AS SELECT id, md5(id::text) AS text FROM generate_series(1, 400000) id; \
                 CREATE INDEX ON large (text)";
    shop.source().await.run(large).await.unwrap();
    let run = backed_up(&shop);
    let arguments = ["restore", "--run", &run, "--into", "again"];
    let runs = shop.runs.path().display().to_string();
    let restoring = || processes_naming(&runs).iter().any(|line| line.contains("pg_restore"));
    let nothing_is_left = async || {
        assert_eq!(processes_naming(&runs), Vec::<String>::new());
    };

    let mut interrupted = Tool::start(shop.command(&arguments));
    interrupted.wait_for("pg_restore", restoring);
    interrupted.signal(Signal::SIGINT);
    let said = tokio::task::block_in_place(|| interrupted.ends_within(20)).expect_code(6);
    assert_eq!(names(&shop).await, ["ecommerce_db"], "{}", said.stderr);
    nothing_is_left().await;

    for stopped_before in [false, true] {
        let mut killed = Tool::start(shop.command(&arguments));
        killed.wait_for("pg_restore", restoring);
        if stopped_before {
            killed.signal(Signal::SIGSTOP);
            let second = tokio::task::block_in_place(|| shop.xtask(&arguments));
            assert_refused("a second one", &second, &["another run is at work on", "restore"]);
        }
        killed.signal(Signal::SIGKILL);
        assert_eq!(tokio::task::block_in_place(|| killed.ends_within(20)).code, None);
        assert_eq!(names(&shop).await, ["again_unproven", "ecommerce_db"], "nothing under its name");
        let unproven = beside(&shop, "again_unproven");
        let error = log_in(&unproven, "shop_app").await.unwrap_err().to_string();
        assert!(error.contains("permission denied for database"), "{error}");
    }
    let said = tokio::task::block_in_place(|| shop.xtask(&arguments)).expect_code(0);
    says(&said, &["✓ PROVEN again: 12 tables"]);
    assert_eq!(names(&shop).await, ["again", "ecommerce_db"]);
    nothing_is_left().await;
    // Killed before it could be marked: empty, it is nobody's.
    let mut postgres = in_database(&shop, "postgres").await;
    postgres.run("DROP DATABASE again").await.unwrap();
    postgres.run("CREATE DATABASE again_unproven").await.unwrap();
    tokio::task::block_in_place(|| shop.xtask(&arguments)).expect_code(0);
    assert_eq!(names(&shop).await, ["again", "ecommerce_db"]);
}

/// The names of all databases with the time taken out of those that were put aside.
async fn places(shop: &Shop) -> Vec<String> {
    let place = |name: String| match name.split_once("_before_rollback_") {
        Some((before, time)) if time.len() == 15 => format!("{before}_before_rollback"),
        _ => name,
    };
    names(shop).await.into_iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_the_place_of_the_source_which_is_kept() {
    let shop = shop_with_a_service().await;
    let source = &shop.settings.source;
    let there = Elsewhere::new(&shop, "postgres", "confirm = true\nfreeze_roles = [\"shop_app\"]");
    there.xtask(&shop, &["backup"]).expect_code(0);
    let run_id = shop.latest().id().to_string();
    let wanted = contents(&mut shop.superuser(source).await).await;
    let damage = "DELETE FROM order_items; CREATE TABLE made_later AS SELECT * FROM generate_series(1, 1234) id; \
                  ANALYZE made_later";
    shop.source().await.run(damage).await.unwrap();
    let damaged = contents(&mut shop.superuser(source).await).await;
    let mut holding = log_in(source, "shop_app").await.unwrap();
    run(&mut holding, "BEGIN; SELECT * FROM users LIMIT 1").await.unwrap();
    let before = databases(&shop).await;

    let restore =
        |more: &[&str]| there.xtask(&shop, &[&["restore", "--run", &run_id, "--in-place"], more].concat());
    let later = "not in the backup, stays in the database put aside: public.made_later, about 1,234 rows";
    let said = restore(&["--dry-run"]).expect_code(4);
    says(
        &said,
        &[later, "is put aside as ecommerce_db_before_rollback_<time>", "of shop_app (shop) in ecommerce_db"],
    );
    let said = restore(&["--confirm", "shop/ecommerce_db"]);
    assert_refused(
        "no consent",
        &said,
        &[later, "sessions of others would be ended", "of shop_app (shop)", "--end-sessions"],
    );
    let said = restore(&["--end-sessions"]);
    assert_refused(
        "no confirmation",
        &said,
        &[later, "asks for confirmation", "--confirm shop/ecommerce_db"],
    );
    run(&mut holding, "SELECT 1").await.unwrap();
    assert_eq!(databases(&shop).await, before);

    let said = restore(&["--end-sessions", "--confirm", "shop/ecommerce_db"]).expect_code(0);
    says(
        &said,
        &[
            "✓ PROVEN ecommerce_db_restored_",
            "it is ecommerce_db now, the old one is kept as ecommerce_db_before_rollback_",
            "1 sessions were ended",
        ],
    );
    assert_words(
        &said,
        &["next: start the services; when nobody needs the old database any more: DROP DATABASE"],
    );
    run(&mut holding, "SELECT 1").await.unwrap_err();
    assert_eq!(places(&shop).await, ["ecommerce_db", "ecommerce_db_before_rollback"]);
    assert_eq!(contents(&mut shop.superuser(source).await).await, wanted);
    let aside = names(&shop).await.remove(1);
    assert_eq!(contents(&mut in_database(&shop, &aside).await).await, damaged, "nothing is lost");
    assert_eq!(databases(&shop).await[1].1, before[0].1, "it is the same database");

    // The run knows it as its own from here on: the same again, with the source held back.
    there.xtask(&shop, &["freeze", "--confirm", "shop/ecommerce_db"]).expect_code(0);
    in_database(&shop, "postgres").await.run(&format!("DROP DATABASE \"{aside}\"")).await.unwrap();
    let said = restore(&["--confirm", "shop/ecommerce_db"]).expect_code(0);
    says(&said, &["it is frozen as the old one was"]);
    assert_words(&said, &["next: cargo xtask unfreeze", "then start the services"]);
    let error =
        run(&mut log_in(source, "report").await.unwrap(), "DELETE FROM users").await.unwrap_err().to_string();
    assert!(error.contains("read-only transaction"), "{error}");
    there.xtask(&shop, &["unfreeze", "--confirm", "shop/ecommerce_db"]).expect_code(0);
    run(&mut log_in(source, "shop_app").await.unwrap(), "UPDATE users SET login_count = 1").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_off_between_the_names_the_same_command_goes_on() {
    let shop = Shop::open(0).await;
    let run_id = backed_up(&shop);
    let restored = format!("ecommerce_db_restored_{run_id}");
    let wanted = contents(&mut shop.superuser(&shop.settings.source).await).await;
    let mut postgres = in_database(&shop, "postgres").await;
    let in_place =
        || tokio::task::block_in_place(|| shop.xtask(&["restore", "--run", &run_id, "--in-place"]));
    let cut_off = async || {
        let ctx = shop.ctx_of(shop.latest());
        let (manifest, cleanup) = (ctx.run.load_manifest().unwrap(), Cleanup::default());
        let work = restore::restore_beside(&ctx, &manifest, &restored, &cleanup);
        let done = visibly(&ctx, CommandName::Restore, Box::pin(work)).await;
        done.unwrap_or_else(|error| panic!("{error:#}"));
    };
    let right = async |case: &str, said: Said| {
        let said = said.expect_code(0);
        says(&said, &["restored by an earlier call", "it is ecommerce_db now"]);
        assert_eq!(places(&shop).await, ["ecommerce_db", "ecommerce_db_before_rollback"], "{case}");
        assert_eq!(contents(&mut shop.superuser(&shop.settings.source).await).await, wanted, "{case}");
        let aside = names(&shop).await.remove(1);
        in_database(&shop, "postgres").await.run(&format!("DROP DATABASE \"{aside}\"")).await.unwrap();
    };

    cut_off().await;
    right("before anything", in_place()).await;

    cut_off().await;
    let oid = databases(&shop).await.into_iter().find(|(name, _)| *name == restored).unwrap().1;
    change_manifest(&shop.latest(), |m| m["servers"]["databases"]["source"]["oid"] = oid.into());
    right("the run knows the restored one", in_place()).await;

    cut_off().await;
    postgres
        .run("ALTER DATABASE ecommerce_db RENAME TO ecommerce_db_before_rollback_20260101_000000")
        .await
        .unwrap();
    let said = in_place();
    says(&said, &["it is ecommerce_db now\n"]);
    right("between the names", said).await;

    // One that somebody has written to since is not taken.
    cut_off().await;
    in_database(&shop, &restored).await.run("DELETE FROM order_items").await.unwrap();
    let said = in_place().expect_code(3);
    assert_words(&said, &["public.order_items", "has been changed since", "DROP DATABASE"]);
    assert_eq!(names(&shop).await, ["ecommerce_db".to_string(), restored.clone()]);
    postgres.run(&format!("DROP DATABASE \"{restored}\"")).await.unwrap();

    // Nor does another database than the run's give way.
    postgres.run("ALTER DATABASE ecommerce_db RENAME TO elsewhere").await.unwrap();
    postgres.run("CREATE DATABASE ecommerce_db").await.unwrap();
    assert_refused(
        "another database",
        &in_place(),
        &["ecommerce_db is not the database that run", "--adopt source"],
    );
    assert_eq!(names(&shop).await, ["ecommerce_db", "elsewhere"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_old_database_keeps_its_name() {
    let shop = Shop::open(0).await;
    let _restarted = Restarted::source(&shop, "wal_level = logical\nmax_prepared_transactions = 2");
    let run_id = backed_up(&shop);
    let mut source = shop.source().await;
    let hang = [
        "SELECT pg_create_logical_replication_slot('leaving', 'test_decoding')",
        "CREATE SUBSCRIPTION coming CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)",
        "BEGIN; DELETE FROM order_items; PREPARE TRANSACTION 'pending'",
    ];
    for statement in hang {
        source.run(statement).await.unwrap();
    }
    source.close().await.unwrap();
    let before = databases(&shop).await;
    let in_place =
        || tokio::task::block_in_place(|| shop.xtask(&["restore", "--run", &run_id, "--in-place"]));
    let words = [
        "replication slot 'leaving' reads it: drop it when nobody needs it any more",
        "subscription coming writes into it: in that database: ALTER SUBSCRIPTION coming DISABLE",
        "prepared transaction 'pending' of postgres could still be committed",
    ];
    assert_refused("hanging", &in_place(), &words);
    assert_eq!(databases(&shop).await, before);
    let mut source = shop.source().await;
    let away = [
        "SELECT pg_drop_replication_slot('leaving')",
        "ALTER SUBSCRIPTION coming SET (slot_name = NONE)",
        "DROP SUBSCRIPTION coming",
        "ROLLBACK PREPARED 'pending'",
    ];
    for statement in away {
        source.run(statement).await.unwrap();
    }
    source.close().await.unwrap();
    in_place().expect_code(0);
}

/// A service that comes in again and again does not keep the names from being changed.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_come_again_are_kept_out_while_the_names_change() {
    let shop = shop_with_a_service().await;
    let run_id = backed_up(&shop);
    let source = shop.settings.source.clone();
    let knocking = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            if let Ok(session) = log_in(&source, "shop_app").await {
                open.push(session);
            }
            tokio::task::yield_now().await;
        }
    });
    let there = wait::for_state("a session of the service", within(20, 10), async || {
        let mut connection = postgres::connect(&beside(&shop, "postgres"), "test").await?;
        let count = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app'";
        let count: i64 = connection.row(count).await?.try_get(0)?;
        Ok(if count > 0 { State::Ready(()) } else { State::NotYet("none".to_string()) })
    });
    there.await.unwrap();
    let arguments = ["restore", "--run", &run_id, "--in-place", "--end-sessions"];
    let said = tokio::task::block_in_place(|| shop.xtask(&arguments));
    knocking.abort();
    says(&said.expect_code(0), &["it is ecommerce_db now", "sessions were ended"]);
}

/// A session that does not go, as one whose process hangs: both names stay, and the run's source is the old one
/// still; killed meanwhile, the same command goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_ended_leaves_both_names_as_they_are() {
    let shop = shop_with_a_service().await;
    let run_id = backed_up(&shop);
    let arguments = ["restore", "--run", &run_id, "--in-place", "--end-sessions"];
    let hanging = async |server: &Server| {
        let mut session = log_in(server, "shop_app").await.unwrap();
        let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut session).await.unwrap();
        assert!(stopped(pid.cast_unsigned()));
        (pid.cast_unsigned(), session)
    };
    let before = databases(&shop).await;
    let names_as_they_were = async || {
        let now = databases(&shop).await;
        assert_eq!((&now[0], now.len()), (&before[0], 2), "{now:?}");
        assert_eq!(now[1].0, format!("ecommerce_db_restored_{run_id}"));
        now[1].1
    };
    let (pid, _session) = hanging(&shop.settings.source).await;
    let said = tokio::task::block_in_place(|| shop.xtask(&arguments)).expect_code(1);
    assert_words(&said, &["is restored and proven", "waited 30 s for"]);
    names_as_they_were().await;
    let known = |shop: &Shop| shop.manifest().servers.databases[&ServerName::Source].oid;
    assert_eq!(known(&shop), before[0].1);
    send(pid, Signal::SIGCONT);

    // In the restored one: the first of the two names could be changed.
    let (pid, _session) = hanging(&beside(&shop, &format!("ecommerce_db_restored_{run_id}"))).await;
    let renaming = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%RENAME TO%' AND state = 'active' \
                    AND application_name LIKE 'xtask % restore %'";
    let mut postgres = in_database(&shop, "postgres").await;
    let mut renames = async |wanted: bool| {
        let what = if wanted { "the change of names to wait" } else { "it to end" };
        let state = wait::for_state(what, within(60, 5), async || {
            let there = postgres.row(renaming).await?.try_get::<i64, _>(0)? > 0;
            Ok(if there == wanted { State::Ready(()) } else { State::NotYet(there.to_string()) })
        });
        state.await.unwrap();
    };
    let killed = Tool::start(shop.command(&arguments));
    renames(true).await;
    killed.signal(Signal::SIGKILL);
    assert_eq!(tokio::task::block_in_place(|| killed.ends_within(20)).code, None);
    renames(false).await;
    let restored = names_as_they_were().await;
    assert_eq!(known(&shop), restored, "so that the same command goes on");
    send(pid, Signal::SIGCONT);
    let said = tokio::task::block_in_place(|| shop.xtask(&arguments)).expect_code(0);
    says(&said, &["restored by an earlier call", "it is ecommerce_db now"]);
    let now = databases(&shop).await;
    assert_eq!(now[0], ("ecommerce_db".to_string(), restored));
    assert_eq!(now[1].1, before[0].1);
}
