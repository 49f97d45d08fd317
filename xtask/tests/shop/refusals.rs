//! What the tool refuses: with exit code 4 (5 for too many rows in quarantine), words that say what was
//! found where and what to do, and nothing changed in any store; nor does a refused run leave a
//! directory. And that a damaged archive is found by the read-back, though its list looks fine.

use crate::support::{Said, Shop, assert_refused, workspace};
use crate::tool::{everything, with_small_files};
use datapath::document::{Document, Value};
use datapath::files::HashedFile;
use datapath::firestore::Unconditional;
use secrecy::ExposeSecret;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use xtask::commands::backup;
use xtask::effects::dump::Tools;
use xtask::effects::terminal::{Terminal, Verbosity};
use xtask::model::{Database, Stop};
use xtask::run::ctx::{Ctx, Options};
use xtask::run::dir::{RunDir, damaged_files};
use xtask::servers::native;
use xtask::settings::{Environment, Settings, Variables};
use xtask::source::Handling;
use xtask::tables::{TABLES, schema};

#[tokio::test]
async fn targets_that_are_not_empty_or_not_as_they_should_be() {
    let shop = Shop::open(0).await;
    for database in Database::ALL {
        shop.target(database).await.run(schema(database).text).await.unwrap();
    }
    let product = shop.settings.product.to_string();
    let cases: [(Database, &str, &str, &str, &[&str]); 8] = [
        (
            Database::Product,
            "a row",
            "INSERT INTO categories (name, created_at) VALUES ('x', now())",
            "DELETE FROM categories",
            &["categories in", &product, "holds 1 rows", "has to be empty"],
        ),
        (
            Database::Order,
            "a column more",
            "ALTER TABLE orders ADD COLUMN extra text",
            "ALTER TABLE orders DROP COLUMN extra",
            &["order.orders: column extra is not in sql/schema (text)"],
        ),
        (
            Database::Order,
            "an index less",
            "DROP INDEX idx_orders_status",
            "CREATE INDEX idx_orders_status ON orders (status)",
            &["order.orders: index idx_orders_status is missing", "CREATE INDEX"],
        ),
        (
            Database::Product,
            "another type",
            "ALTER TABLE products ALTER COLUMN price TYPE numeric(12,2)",
            "ALTER TABLE products ALTER COLUMN price TYPE numeric(10,2)",
            &["product.products: column price is", "numeric(12,2)", "expected", "numeric(10,2)"],
        ),
        (
            Database::Gateway,
            "a trigger",
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER spy BEFORE INSERT ON api_logs FOR EACH ROW EXECUTE FUNCTION f()",
            "DROP FUNCTION f CASCADE",
            &["gateway.api_logs: trigger spy is not in sql/schema", "CREATE TRIGGER spy"],
        ),
        (
            Database::Gateway,
            "row security that hides rows from their owner",
            "ALTER TABLE api_logs ENABLE ROW LEVEL SECURITY; ALTER TABLE api_logs FORCE ROW LEVEL SECURITY",
            "ALTER TABLE api_logs DISABLE ROW LEVEL SECURITY; ALTER TABLE api_logs NO FORCE ROW LEVEL SECURITY",
            &["gateway.api_logs: row security forced is not in sql/schema"],
        ),
        (
            Database::Gateway,
            "a view",
            "CREATE VIEW recent AS SELECT * FROM api_logs",
            "DROP VIEW recent",
            &["the tables of gateway cannot be replaced", "view recent depends on table api_logs"],
        ),
        (
            Database::Order,
            "a key of another table",
            "CREATE TABLE refunds (order_id integer REFERENCES orders (id))",
            "DROP TABLE refunds",
            &["the tables of order cannot be replaced", "on table refunds depends on"],
        ),
    ];
    for (database, case, make, undo, words) in cases {
        shop.target(database).await.run(make).await.unwrap();
        let before = everything(&shop).await;
        let said = shop.xtask(&["migrate"]);
        assert_refused(case, &said, words);
        assert_refused(
            case,
            &said,
            &["the targets are not ready", "Nothing has been changed", "rerun the command"],
        );
        assert!(everything(&shop).await == before, "{case}: something has changed");
        shop.target(database).await.run(undo).await.unwrap();
    }

    let stranger = Document { id: "stranger".into(), fields: vec![("email", Value::Text("x@y".into()))] };
    let firestore = shop.firestore().await;
    firestore.set("users", &stranger).await.unwrap();
    let before = everything(&shop).await;
    let holds = format!("collection users of project {} holds 1 documents", shop.settings.firestore.project);
    let words = [&holds[..], "has to be empty", "rerun the command"];
    assert_refused("a document", &shop.xtask(&["migrate"]), &words);
    // Everything that is in the way is said at once.
    shop.target(Database::Order).await.run("ALTER TABLE orders ADD COLUMN extra text").await.unwrap();
    let words = ["collection users", "order.orders: column extra"];
    assert_refused("two at once", &shop.xtask(&["migrate"]), &words);
    shop.target(Database::Order).await.run("ALTER TABLE orders DROP COLUMN extra").await.unwrap();
    assert!(everything(&shop).await == before, "a document: something has changed");
    assert_eq!(shop.directories(), 0, "a refused run leaves no directory");

    firestore.delete("users", &["stranger".to_owned()]).await.unwrap();
    shop.xtask(&["migrate"]).expect_code(0);
    let before = everything(&shop).await;
    assert_refused("a second run", &shop.xtask(&["migrate"]), &["that are not this run's"]);
    assert!(everything(&shop).await == before, "a second run: something has changed");
}

/// The shop's addresses as an environment file.
fn environment_file(settings: &Settings) -> String {
    let server = |s: &xtask::settings::Server| {
        format!(
            "host = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"{}\"\n\
             password = {{ env = \"{}_PASSWORD\" }}\ntls = \"disable\"\n",
            s.host,
            s.port,
            s.database,
            s.user,
            s.label.to_uppercase()
        )
    };
    format!(
        "[source]\n{}\n[targets.product]\n{}\n[targets.order]\n{}\n[targets.gateway]\n{}\n\
         [firestore]\nproject = \"{}\"\nemulator = true\nemulator_host = \"{}\"\n\n[policy]\n",
        server(&settings.source),
        server(&settings.product),
        server(&settings.order),
        server(&settings.gateway),
        settings.firestore.project,
        settings.firestore.emulator.as_deref().unwrap()
    )
}

/// `migrate` in an environment whose file says this, with all passwords set.
fn in_environment(shop: &Shop, dir: &Path, text: &str) -> Command {
    fs::write(dir.join("test.toml"), text).unwrap();
    let mut command = crate::support::binary();
    command.arg("migrate").arg("--env").arg(dir.join("test")).arg("--backup-dir").arg(shop.runs.path());
    let password = shop.settings.source.password.expose_secret();
    for name in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY"] {
        command.env(format!("{name}_PASSWORD"), password);
    }
    command.env_remove("FIRESTORE_EMULATOR_HOST");
    command
}

/// The number of the line that holds this.
fn line_of(text: &str, what: &str) -> String {
    let at = text.lines().position(|line| line.contains(what)).unwrap();
    format!("line {}: ", at + 1)
}

fn closed_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn environments_servers_sources_and_runs() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("test.toml").display().to_string();
    let good = environment_file(&shop.settings);
    let run = |text: &str| -> Said { in_environment(&shop, dir.path(), text).output().unwrap().into() };

    // The file.
    let secret = "hunter2-in-the-file";
    let with = |from: &str, to: &str| good.replacen(from, to, 1);
    let (order, unknown) =
        (format!("[targets.order]\nhost = \"{}\"\n", shop.settings.order.host), "colour = 1");
    for (case, text, place, words) in [
        ("an unknown key", with("[policy]", "[policy]\ncolour = 1"), unknown, "unknown key `policy.colour`"),
        (
            "a missing key",
            with(&order, "[targets.order]\n"),
            "[targets.order]",
            "`targets.order.host` is missing",
        ),
        (
            "a wrong type",
            with("port = ", "port = \"a\" #"),
            "port = \"a\"",
            "`source.port` has to be a whole number",
        ),
        ("no TOML", with("[policy]", "[policy"), "[policy", ""),
        ("a password", with("{ env = \"SOURCE_PASSWORD\" }", &format!("\"{secret}\"")), secret, "{ env = "),
        (
            "two",
            with("{ env = \"SOURCE_PASSWORD\" }", &format!("{{ env = \"A\", b = \"{secret}\" }}")),
            secret,
            "{ env = ",
        ),
    ] {
        let said = run(&text);
        assert_refused(case, &said, &[&file, &line_of(&text, place), words]);
        assert!(!said.stderr.contains(secret), "{case}: {}", said.stderr);
    }
    let said = run(&with("[targets.gateway]", "[targets.getaway]"));
    assert_refused("an unknown target", &said, &[&file, "getaway", "did you mean [targets.gateway]?"]);
    let said: Said = shop.xtask(&["migrate", "--env", "prodution"]);
    assert_refused(
        "an unknown environment",
        &said,
        &["no environment `prodution`", "prodution.toml does not exist", "did you mean production?"],
    );

    // Passwords.
    let said: Said =
        in_environment(&shop, dir.path(), &good).env_remove("ORDER_PASSWORD").output().unwrap().into();
    assert_refused(
        "no password",
        &said,
        &["the password of order", "$ORDER_PASSWORD, which is not set", "export"],
    );
    let said: Said =
        in_environment(&shop, dir.path(), &good).env("PRODUCT_PASSWORD", secret).output().unwrap().into();
    let product = shop.settings.product.to_string();
    assert_refused(
        "a wrong password",
        &said,
        &[&product, "refuses this user or password", "check $PRODUCT_PASSWORD"],
    );
    assert!(!said.stderr.contains(secret), "{}", said.stderr);

    // Servers.
    let port = |p: u16| format!("port = {p}");
    let closed = closed_port();
    let no_gateway = with(&port(shop.settings.gateway.port), &port(closed));
    let words =
        [&format!("gateway_user@127.0.0.1:{closed}")[..], "nothing listens there", "rerun the command"];
    assert_refused("no server", &run(&no_gateway), &words);
    let two = no_gateway.replacen("order_database", "ordure", 1);
    let ordure = ["/ordure): there is no database of this name", "nothing listens there"];
    assert_refused("no database either", &run(&two), &ordure);
    let emulator = shop.settings.firestore.emulator.as_deref().unwrap();
    let words = [
        &format!("the Firestore emulator at 127.0.0.1:{closed}")[..],
        "check that it is running",
        "rerun the command",
    ];
    assert_refused("no emulator", &run(&with(emulator, &format!("127.0.0.1:{closed}"))), &words);
    let real = with("emulator = true", "emulator = false");
    let mut command = in_environment(&shop, dir.path(), &real);
    let said: Said = command.env("FIRESTORE_EMULATOR_HOST", emulator).output().unwrap().into();
    assert_refused(
        "an ambient emulator",
        &said,
        &["FIRESTORE_EMULATOR_HOST", "is not for an emulator", "unset it"],
    );

    // Local servers, runs.
    let bogus = dir.path().to_str().unwrap();
    let plain =
        |arguments: &[&str]| -> Said { crate::support::binary().args(arguments).output().unwrap().into() };
    let status = "cargo xtask stack status";
    assert_refused(
        "--stack",
        &plain(&["migrate", "--stack", bogus]),
        &["no local servers in", bogus, status],
    );
    assert_refused("down", &plain(&["stack", "down", "--stack", bogus]), &[bogus, status]);
    let mut command = in_environment(&shop, dir.path(), &good);
    let said: Said = command.arg("--stack").arg(shop.dir()).output().unwrap().into();
    assert_refused("--stack elsewhere", &said, &["is not for local servers", "leave --stack out"]);
    for verb in ["import", "verify"] {
        let said = shop.xtask(&[verb, "--run", "20200101_000000"]);
        assert_refused(verb, &said, &["no run 20200101_000000 in", "found: none", "--run"]);
        assert_refused(verb, &shop.xtask(&[verb]), &["no run in", "cargo xtask migrate"]);
    }
    assert_eq!(shop.directories(), 0, "a refused run leaves no directory");

    // The source.
    shop.source().await.run("ALTER TABLE payments RENAME TO payment").await.unwrap();
    let words = [&shop.settings.source.to_string()[..], "table-missing", "public.payments", "right database"];
    assert_refused("a table is missing", &shop.xtask(&["migrate"]), &words);
    shop.source().await.run("ALTER TABLE payment RENAME TO payments").await.unwrap();

    Said::from(with_small_files(&shop.command(&["migrate"])).output().unwrap()).expect_code(1);
    assert_refused("no export", &shop.xtask(&["import"]), &["has no complete export", "cargo xtask export"]);
    assert_refused("nothing to verify", &shop.xtask(&["verify"]), &["has no complete export"]);
    assert!(everything(&shop).await == before, "something has changed");

    a_pg_dump_that_is_too_old(&shop, dir.path()).await;
    damaged_archives(&shop).await;

    // The same servers by their addresses: it was not the file's fault.
    run(&good).expect_code(0);
}

async fn a_pg_dump_that_is_too_old(shop: &Shop, dir: &Path) {
    let pg_dump = dir.join("pg_dump");
    fs::write(&pg_dump, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n").unwrap();
    fs::set_permissions(&pg_dump, fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        terminal: Terminal::new(Verbosity::Quiet, true),
        tools: Tools { bindir: dir.to_path_buf() },
        workspace: workspace(),
        jobs: 2,
        max_diffs: 10,
        values: xtask::findings::Values::Shown,
    };
    let run = RunDir::create(shop.runs.path()).unwrap();
    let ctx = std::sync::Arc::new(Ctx::new(shop.settings.clone(), TABLES, run, options));
    let error = backup::run(&ctx, &Handling::default()).await.unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(Stop::Refused(_))), "{error:#}");
    let said = format!("{error:#}");
    for word in ["pg_dump 9 in", dir.to_str().unwrap(), "is older than source", "apt-get install"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

/// `pg_restore --list` is content with most of these.
async fn damaged_archives(shop: &Shop) {
    shop.xtask(&["backup"]).expect_code(0);
    let run = shop.latest();
    let whole = fs::read(run.file("full_backup.dump")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("damaged.dump");
    let tools = Tools { bindir: native::postgres_bindir().unwrap() };
    let read_back = async |bytes: &[u8]| {
        fs::write(&archive, bytes).unwrap();
        let sql = HashedFile::create(dir.path().join("damaged.sql")).unwrap();
        let definitions = run.file("schema_only.sql");
        // Given up, the program is killed: some damage sends pg_restore 15 round in circles.
        let reading = tools.read_back(&archive, &definitions, sql);
        let read = tokio::time::timeout(Duration::from_secs(3), reading).await;
        read.map(|read| read.map_err(|error| format!("{error:#}")))
    };
    let Ok(Ok(undamaged)) = read_back(&whole).await else { panic!("undamaged") };
    let backup = shop.manifest().backup.unwrap();
    let mut rows: Vec<u64> = backup.raw.values().map(|counted| counted.rows).collect();
    let mut dumped: Vec<u64> = undamaged.rows.into_values().collect();
    rows.sort();
    dumped.sort();
    assert_eq!(dumped, rows);
    assert_eq!(undamaged.sql.bytes, backup.files["full_backup.sql"].bytes);
    let places: Vec<usize> = (60..100).step_by(8).map(|percent| whole.len() * percent / 100).collect();
    for at in &places {
        let read = read_back(&whole[..*at]).await;
        assert!(matches!(read, Ok(Err(_))), "cut at {at} of {}", whole.len());
    }
    for at in &places {
        let mut flipped = whole.clone();
        flipped[*at] ^= 0x10;
        assert!(!matches!(read_back(&flipped).await, Ok(Ok(_))), "a bit at {at} of {}", whole.len());
        fs::write(run.file("full_backup.dump"), &flipped).unwrap();
        let files = run.load_manifest().unwrap().backup.unwrap().files;
        let [line] = &damaged_files(&run, &files)[..] else { panic!("a bit at {at}") };
        assert!(line.starts_with("full_backup.dump is not the file that was written"), "{line}");
    }
    // What pg_restore takes as it is: definitions, each in clear.
    for definition in
        ["CREATE TABLE public.orders", "total_amount numeric(10,2)", "ADD CONSTRAINT orders_pkey"]
    {
        let stands = |bytes: &[u8]| bytes == definition.as_bytes();
        let at = whole.windows(definition.len()).position(stands).unwrap() + definition.len() - 2;
        let mut flipped = whole.clone();
        flipped[at] ^= 0x01;
        let Ok(Err(said)) = read_back(&flipped).await else { panic!("{definition}") };
        assert!(said.starts_with("its definitions: ") && said.contains("at line "), "{definition}: {said}");
    }
}

#[test]
fn an_emulator_is_used_where_the_file_says_so() {
    let text = |emulator: &str| {
        let server = "host = \"h\"\nport = 1\ndatabase = \"d\"\nuser = \"u\"\npassword = { env = \"P\" }\ntls = \"disable\"\n";
        let targets = ["product", "order", "gateway"].map(|t| format!("[targets.{t}]\n{server}")).concat();
        format!("[source]\n{server}{targets}[firestore]\nproject = \"p\"\n{emulator}\n[policy]\n")
    };
    let settings = |emulator: &str, ambient: Option<&str>| {
        let mut variables = Variables::from([("P".into(), "secret".into())]);
        variables.extend(ambient.map(|host| ("FIRESTORE_EMULATOR_HOST".to_owned(), host.to_owned())));
        let settings = Environment::parse("test", &text(emulator)).unwrap().settings(&variables);
        settings.map(|s| s.firestore.emulator).map_err(|e| e.to_string())
    };
    assert_eq!(settings("", None), Ok(None));
    assert_eq!(settings("emulator = true", Some("a:1")), Ok(Some("a:1".into())));
    assert_eq!(settings("emulator = true\nemulator_host = \"b:2\"", None), Ok(Some("b:2".into())));
    assert_eq!(settings("emulator = true\nemulator_host = \"b:2\"", Some("a:1")), Ok(Some("a:1".into())));
    let error = settings("", Some("a:1")).unwrap_err();
    assert!(error.contains("FIRESTORE_EMULATOR_HOST=a:1") && error.contains("unset it"), "{error}");
    let error = settings("emulator = true", None).unwrap_err();
    assert!(error.contains("set FIRESTORE_EMULATOR_HOST=host:port"), "{error}");
    // An address alone does not make it one.
    assert!(settings("emulator_host = \"b:2\"", Some("a:1")).is_err());
}
