//! The doctor: the least grants are enough and each that is taken away is found, by name, with the
//! statement that gives it back; each other prerequisite that is missing has its own line, and the rest
//! is looked at all the same.

use crate::places::Places;
use crate::support::{Said, Shop, workspace};
use crate::tool::Tool;
use datapath::firestore::Unconditional;
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::Row;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use xtask::checks::doctor;
use xtask::effects::dump::Tools;
use xtask::effects::terminal::{Terminal, Verbosity};
use xtask::health::Verdict;
use xtask::model::Database;
use xtask::run::ctx::{Ctx, Options};
use xtask::run::dir::RunDir;
use xtask::servers::native;
use xtask::settings::Server;
use xtask::sql;
use xtask::tables::{TABLES, schema};

pub(crate) const ROLE: &str = "mover";

/// The lines of one verdict.
pub(crate) fn lines<'a>(health: &'a Value, verdict: &str) -> Vec<&'a Value> {
    health["lines"].as_array().unwrap().iter().filter(|l| l["verdict"] == verdict).collect()
}

/// The one line that is not met.
#[track_caller]
pub(crate) fn the_line(case: &str, said: Said, place: &str, what: &str, words: &str) -> Value {
    let said = said.expect_code(4);
    let health = said.json();
    let missing = lines(&health, "not_met");
    let [line] = missing[..] else { panic!("{case}: {missing:#?}") };
    assert_eq!((&line["place"], &line["what"]), (&place.into(), &what.into()), "{case}: {line:#}");
    assert!(line["found"].as_str().unwrap().contains(words), "{case}: {words}: {line:#}");
    assert!(said.stderr.contains("refused: 1 prerequisites are not met"), "{case}: {}", said.stderr);
    line.clone()
}

/// The statement that a line says would fix it.
pub(crate) fn statement(line: &Value) -> String {
    let fix = line["fix"].as_str().unwrap();
    fix[..fix.find(';').expect(fix)].to_string()
}

/// Runs a script of `sql/grants` as a DBA does.
pub(crate) fn psql(server: &Server, script: &str, variables: &[&str]) {
    let mut command = Command::new(native::postgres_bindir().unwrap().join("psql"));
    command.args(["--no-psqlrc", "--quiet", "--host=127.0.0.1", "--username=postgres"]);
    command.arg(format!("--port={}", server.port)).arg(format!("--dbname={}", server.database));
    command.args(variables.iter().flat_map(|v| ["-v", v]));
    command.arg("--file").arg(workspace().join("sql/grants").join(script));
    let said: Said = command.env("PGPASSWORD", server.password.expose_secret()).output().unwrap().into();
    let said = said.expect_code(0);
    assert!(!said.stderr.contains("ERROR"), "{script}: {}", said.stderr);
}

/// A role on all four servers that may log in and nothing else.
pub(crate) async fn role(shop: &Shop) {
    let s = &shop.settings;
    for server in [&s.source, &s.product, &s.order, &s.gateway] {
        let mut connection = shop.superuser(server).await;
        let create = sql::create_role(ROLE, server.password.expose_secret());
        connection.run_secret("creating a role", &create).await.unwrap();
        // What everybody may by default is no proof of a grant.
        let database = &server.database;
        connection.run(&format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")).await.unwrap();
        connection.run("REVOKE ALL ON SCHEMA public FROM PUBLIC").await.unwrap();
    }
}

pub(crate) fn grant_all(shop: &Shop) {
    psql(&shop.settings.source, "migrate_source.sql", &["role=mover"]);
    for database in Database::ALL {
        psql(shop.settings.target(database), "migrate_target.sql", &["role=mover"]);
    }
}

#[tokio::test]
async fn the_least_grants_are_enough_and_each_is_missed() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let mut places = Places::of(&shop, Some(ROLE));
    // Load limits look at what others do.
    places.text += "max_active_sessions = 1000\nmax_replication_lag = \"1h\"\n";
    let nothing = places.run(&["doctor", "--json"]).expect_code(4).json();
    for place in ["source", "product", "order", "gateway"] {
        let reachable = |l: &&&Value| l["place"] == place && l["what"] == "reachable";
        let lines = lines(&nothing, "not_met");
        let line = lines.iter().find(reachable).unwrap();
        assert!(statement(line).starts_with("GRANT CONNECT ON DATABASE"), "{line:#}");
    }
    // The tables are there already, and another's.
    for database in Database::ALL {
        let mut superuser = shop.superuser(shop.settings.target(database)).await;
        superuser.run(schema(database).text).await.unwrap();
        superuser
            .run(
                "CREATE SCHEMA xtask; CREATE TABLE xtask.runs (run text PRIMARY KEY, published timestamptz \
                       NOT NULL DEFAULT now(), tables jsonb NOT NULL)",
            )
            .await
            .unwrap();
    }
    let publication = "CREATE PUBLICATION of_others FOR TABLE orders, payments";
    shop.superuser(&shop.settings.order).await.run(publication).await.unwrap();
    grant_all(&shop);
    places.run(&["doctor"]).expect_code(0);
    for server in [&shop.settings.source, &shop.settings.order] {
        let superuser: bool = shop.superuser(server).await
            .row("SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls FROM pg_roles WHERE rolname = 'mover'")
            .await.unwrap().get(0);
        assert!(!superuser, "{server}");
    }

    // Source: every single grant that the script gave.
    let mut source = shop.superuser(&shop.settings.source).await;
    let mut taken = vec![
        (
            "GRANT CONNECT ON DATABASE ecommerce_db".to_string(),
            "reachable",
            "permission denied for database".to_string(),
        ),
        (
            "GRANT USAGE ON SCHEMA public".to_string(),
            "privileges",
            "USAGE on schema public is missing".to_string(),
        ),
        (
            "GRANT pg_read_all_stats".to_string(),
            "privileges",
            "membership in pg_read_all_stats is missing".to_string(),
        ),
    ];
    let relations = "SELECT relkind::text, relname::text FROM pg_class \
                     WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')";
    for row in source.rows(relations).await.unwrap() {
        let (kind, name): (String, String) = (row.get(0), row.get(1));
        let (noun, said) = if kind == "S" { ("SEQUENCE", "sequence ") } else { ("TABLE", "") };
        taken.push((
            format!("GRANT SELECT ON {noun} public.{name}"),
            "privileges",
            format!("SELECT on {said}public.{name} is missing"),
        ));
    }
    assert!(taken.len() > 20, "{taken:?}");
    for (grant, what, words) in &taken {
        let revoke = format!("{} FROM mover", grant.replacen("GRANT", "REVOKE", 1));
        source.run(&revoke).await.unwrap();
        let line = the_line(grant, places.run(&["doctor", "--json"]), "source", what, words);
        assert_eq!(statement(&line).replace('"', ""), format!("{grant} TO mover"));
        source.run(&statement(&line)).await.unwrap();
    }
    source.run("ALTER TABLE users ENABLE ROW LEVEL SECURITY").await.unwrap();
    let line = the_line(
        "RLS",
        places.run(&["doctor", "--json"]),
        "source",
        "privileges",
        "BYPASSRLS past the policies of public.users",
    );
    // Without it the tool does fail, nor does it move fewer rows in silence.
    let said = places.run(&["backup"]);
    assert_ne!(said.code, Some(0), "{}", said.stdout);
    source.run(&statement(&line)).await.unwrap();

    // Targets: one stands for all.
    let mut order = shop.superuser(&shop.settings.order).await;
    for (take, what, words) in [
        (
            "REVOKE CONNECT ON DATABASE order_database FROM mover",
            "reachable",
            "permission denied for database",
        ),
        (
            "REVOKE CREATE ON DATABASE order_database FROM mover",
            "privileges",
            "CREATE on database order_database is missing",
        ),
        (
            "REVOKE TEMPORARY ON DATABASE order_database FROM mover",
            "privileges",
            "TEMPORARY on database order_database is missing",
        ),
        ("REVOKE USAGE ON SCHEMA public FROM mover", "privileges", "USAGE on schema public is missing"),
        ("REVOKE CREATE ON SCHEMA public FROM mover", "privileges", "CREATE on schema public is missing"),
        ("ALTER TABLE orders OWNER TO postgres", "privileges", "ownership of public.orders is missing"),
        ("ALTER TABLE xtask.runs OWNER TO postgres", "privileges", "ownership of xtask.runs is missing"),
        (
            "ALTER PUBLICATION of_others OWNER TO postgres",
            "privileges",
            "ownership of publication of_others is missing",
        ),
        ("ALTER SCHEMA xtask OWNER TO postgres", "privileges", "ownership of schema xtask is missing"),
    ] {
        order.run(take).await.unwrap();
        let line = the_line(take, places.run(&["doctor", "--json"]), "order", what, words);
        // It is needed: nothing works without it.
        let said = places.run(&["migrate"]);
        assert_ne!(said.code, Some(0), "{take}: {}", said.stdout);
        order.run(&statement(&line)).await.unwrap();
        if said.code != Some(4) {
            start_over(&shop).await;
        }
    }
    places.run(&["doctor"]).expect_code(0);
    places.run(&["migrate"]).expect_code(0);
    places.run(&["verify"]).expect_code(0);
}

/// Nobody is a superuser: `mover` has what the three files give, and nothing else.
#[tokio::test]
async fn every_verb_works_with_the_least_grants() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let mut source = shop.superuser(&shop.settings.source).await;
    let password = shop.settings.source.password.expose_secret();
    source.run_secret("a role", &sql::create_role("shop_web", password)).await.unwrap();
    // A superuser's session could not be ended.
    source.close().await.unwrap();
    grant_all(&shop);
    psql(&shop.settings.source, "freeze.sql", &["role=mover", "roles={shop_web}"]);
    let mut places = Places::of(&shop, Some(ROLE));
    places.text +=
        "max_active_sessions = 1000\nmax_replication_lag = \"1h\"\nfreeze_roles = [\"shop_web\"]\n";
    let done = |arguments: &[&str]| places.run(arguments).expect_code(0);
    for arguments in
        [&["doctor", "--freeze"][..], &["plan"], &["backup", "--freeze"], &["export"], &["import"]]
    {
        done(arguments);
    }
    for arguments in [&["verify"][..], &["migrate", "--replace", "-n"], &["migrate", "--replace"]] {
        done(arguments);
    }
    start_over(&shop).await;
    done(&["export"]);
    done(&["migrate", "--resume", shop.latest().id(), "--freeze"]);
    let damage = "DELETE FROM product_reviews WHERE id = (SELECT min(id) FROM product_reviews)";
    shop.superuser(&shop.settings.product).await.run(damage).await.unwrap();
    places.run(&["repair"]).expect_code(3);
    done(&["repair", "--apply"]);
    let fixed = "UPDATE user_sessions SET session_token = 'slashNoMore' WHERE id = 903";
    shop.superuser(&shop.settings.source).await.run(fixed).await.unwrap();
    let said = done(&["replay"]);
    assert!(said.stdout.contains("brought in and proven: id 903"), "{}", said.stdout);
    for arguments in [&["verify"][..], &["freeze"], &["unfreeze"], &["cutover"], &["status"], &["verify"]] {
        done(arguments);
    }
    let said = places.run(&["doctor", "--freeze"]).expect_code(4);
    let cut_over = format!("run {} was cut over", shop.latest().id());
    assert!(said.stdout.contains(&cut_over), "{}", said.stdout);
    done(&["unfreeze", "--run", shop.latest().id()]);
}

/// The targets as they were before a run.
async fn start_over(shop: &Shop) {
    for database in Database::ALL {
        let mut connection = shop.superuser(shop.settings.target(database)).await;
        // Children before parents.
        for table in TABLES.iter().rev().filter(|t| t.database() == Some(database)) {
            connection.run(&format!("DELETE FROM {}", table.name)).await.unwrap();
        }
    }
    let firestore = shop.firestore().await;
    for collection in ["users", "user_sessions"] {
        let mut all = Vec::new();
        firestore
            .ids(collection, |page| {
                all.extend(page);
                Ok(())
            })
            .await
            .unwrap();
        firestore.delete(collection, &all).await.unwrap();
    }
}

#[tokio::test]
async fn the_grants_for_holding_the_source_back() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    // From another database: nobody but a superuser could end this session.
    let mut source =
        shop.superuser(&Server { database: "postgres".into(), ..shop.settings.source.clone() }).await;
    let password = shop.settings.source.password.expose_secret();
    for name in ["shop_owner", "shop_web"] {
        source.run_secret("a role", &sql::create_role(name, password)).await.unwrap();
    }
    source.run("GRANT CONNECT ON DATABASE ecommerce_db TO shop_web; ALTER DATABASE ecommerce_db OWNER TO shop_owner").await.unwrap();
    grant_all(&shop);
    let mut places = Places::of(&shop, Some(ROLE));
    places.text += "freeze_roles = [\"shop_web\"]\n";
    // Only who wants to hold it back needs them.
    places.run(&["doctor"]).expect_code(0);
    let missing = places.run(&["doctor", "--freeze", "--json"]).expect_code(4).json();
    assert_eq!(lines(&missing, "not_met").len(), 3, "{missing:#}");
    let roles = "roles={shop_web}";
    psql(&shop.settings.source, "freeze.sql", &["role=mover", roles]);
    places.run(&["doctor", "--freeze"]).expect_code(0);

    for (take, words) in [
        ("REVOKE shop_owner FROM mover", "ownership of database ecommerce_db is missing"),
        ("REVOKE pg_signal_backend FROM mover", "membership in pg_signal_backend is missing"),
        ("ALTER ROLE mover NOCREATEROLE", "CREATEROLE is missing"),
    ] {
        source.run(take).await.unwrap();
        let line = the_line(take, places.run(&["doctor", "--freeze", "--json"]), "source", "freeze", words);
        assert!(!statement(&line).contains("postgres"), "not a superuser's rights: {line:#}");
        source.run(&statement(&line)).await.unwrap();
    }
    // And with them it can be done.
    let as_role = |name: &str| Server { user: name.into(), ..shop.settings.source.clone() };
    let mut web = xtask::effects::postgres::connect(&as_role("shop_web"), "a service").await.unwrap();
    let pid: i32 = web.row("SELECT pg_backend_pid()").await.unwrap().get(0);
    let mut mover = xtask::effects::postgres::connect(&as_role(ROLE), "test").await.unwrap();
    mover.run("ALTER DATABASE ecommerce_db SET default_transaction_read_only = on").await.unwrap();
    mover.run("ALTER ROLE shop_web NOLOGIN").await.unwrap();
    mover.run(&format!("SELECT pg_terminate_backend({pid})")).await.unwrap();
    assert!(web.run("SELECT 1").await.is_err());
    assert!(xtask::effects::postgres::connect(&as_role("shop_web"), "a service").await.is_err());
    // A database that a superuser owns: it changes hands, nobody becomes a superuser.
    source.run("REVOKE shop_owner FROM mover; ALTER DATABASE ecommerce_db OWNER TO postgres").await.unwrap();
    let line = the_line(
        "a superuser's",
        places.run(&["doctor", "--freeze", "--json"]),
        "source",
        "freeze",
        "ownership of database",
    );
    assert_eq!(statement(&line), "ALTER DATABASE ecommerce_db OWNER TO mover");
    psql(&shop.settings.source, "freeze.sql", &["role=mover", roles]);
    places.run(&["doctor", "--freeze"]).expect_code(0);
}

fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[tokio::test]
async fn each_prerequisite_has_its_own_line() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    let before = fs_of(&shop);
    let well = places.run(&["doctor", "--json"]).expect_code(0).json();
    assert_eq!((&well["ready"], lines(&well, "not_met").len()), (&true.into(), 0));
    let met = lines(&well, "met").len();
    let said = places.run(&["doctor"]).expect_code(0);
    assert!(said.stdout.contains("  ✓ pg_dump ") && said.stdout.contains("\nsource\n"), "{}", said.stdout);
    assert!(
        said.stderr.contains("collection xtask_doctor") && said.stderr.contains("next: cargo xtask plan"),
        "{}",
        said.stderr
    );

    // A server that is down: its other lines are no noise, and those of the others are as before.
    let port = format!("port = {}", shop.settings.gateway.port);
    let closed = format!("port = {}", closed_port());
    let said = places.run_with(&port, &closed, &["doctor", "--json"]);
    let health = said.json();
    let line = the_line("no gateway", said, "gateway", "reachable", "nothing listens there");
    assert!(line["fix"].as_str().unwrap().starts_with("pg_isready -h 127.0.0.1 -p "), "{line:#}");
    let unknown = lines(&health, "not_looked_at");
    assert!(unknown.len() == 7 && unknown.iter().all(|l| l["place"] == "gateway"), "{unknown:#?}");
    assert_eq!(lines(&health, "met").len(), met - 10, "{health:#}");
    let said = places.run_with(&port, &closed, &["doctor"]).expect_code(4);
    assert!(
        said.stdout
            .contains("  – not looked at: lock, encoding, writable, privileges, empty, connections, clock ("),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("next: cargo xtask doctor"), "{}", said.stderr);

    let emulator = shop.settings.firestore.emulator.as_deref().unwrap();
    let said = places.run_with(emulator, &format!("127.0.0.1:{}", closed_port()), &["doctor", "--json"]);
    let line = the_line("no Firestore", said, "firestore", "reachable", "nobody answers");
    assert!(line["fix"].as_str().unwrap().contains("emulators firestore start"), "{line:#}");

    let wrong: Said = places
        .command_with("", "", &["doctor", "--json"])
        .env("ORDER_PASSWORD", "wrong")
        .output()
        .unwrap()
        .into();
    let line = the_line("password", wrong, "order", "reachable", "refuses this user or password");
    assert_eq!(line["fix"], "read -rs ORDER_PASSWORD && export ORDER_PASSWORD");
    let said = places.run_with("order_database", "ordure", &["doctor", "--json"]);
    let line = the_line("database", said, "order", "reachable", "no database of this name");
    assert!(line["fix"].as_str().unwrap().starts_with("createdb "), "{line:#}");
    let said = places.run_with("ecommerce_db", "postgres", &["doctor", "--json"]);
    the_line("another database", said, "source", "tables", "public.users, public.user_sessions");

    // Nothing can be written there, and there is no room.
    let said = places.run(&["doctor", "--json", "--backup-dir", "/proc/backups"]);
    let line = the_line("no room", said, "this machine", "free disk", "/proc has 0 bytes, 3 times");
    assert!(line["fix"].as_str().unwrap().contains("--backup-dir"), "{line:#}");

    let mut order = shop.superuser(&shop.settings.order).await;
    order.run("ALTER ROLE order_user CONNECTION LIMIT 8").await.unwrap();
    let line = the_line(
        "connections",
        places.run(&["doctor", "--json"]),
        "order",
        "connections",
        "the role has room for",
    );
    assert_eq!(statement(&line), "ALTER ROLE \"order_user\" CONNECTION LIMIT -1");
    order.run(&statement(&line)).await.unwrap();

    order.run(schema(Database::Order).text).await.unwrap();
    order
        .run(
            "ALTER TABLE orders OWNER TO order_user; ALTER TABLE payments OWNER TO order_user; \
               ALTER TABLE order_items OWNER TO order_user; DROP INDEX idx_orders_status",
        )
        .await
        .unwrap();
    the_line(
        "definition",
        places.run(&["doctor", "--json"]),
        "order",
        "empty",
        "index idx_orders_status is missing",
    );
    order.run("CREATE INDEX idx_orders_status ON orders (status); INSERT INTO orders (user_uid, total_amount, created_at) VALUES ('u', 1, now())").await.unwrap();
    the_line("a row", places.run(&["doctor", "--json"]), "order", "empty", "holds 1 rows");
    order.run("DELETE FROM orders").await.unwrap();
    let firestore = shop.firestore().await;
    let stranger = datapath::document::Document { id: "stranger".into(), fields: vec![] };
    firestore.set("users", &stranger).await.unwrap();
    the_line("a document", places.run(&["doctor", "--json"]), "firestore", "empty", "collection users");
    firestore.delete("users", &["stranger".to_owned()]).await.unwrap();

    who_else_works_on_the_source(&shop, &places).await;
    a_source_that_is_frozen(&shop, &places).await;
    another_run_at_work(&shop, &places).await;
    a_pooler_in_between(&shop, &places);
    tools_that_are_missing_or_too_old(&shop).await;

    assert_eq!(lines(&places.run(&["doctor", "--json"]).expect_code(0).json(), "met").len(), met);
    assert_eq!(probes(&shop).await, 0);
    assert_eq!(fs_of(&shop), before, "nothing on disk");
}

fn fs_of(shop: &Shop) -> Vec<String> {
    let entries = std::fs::read_dir(shop.runs.path()).unwrap();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

async fn probes(shop: &Shop) -> u64 {
    shop.firestore().await.count(doctor::PROBE).await.unwrap()
}

/// Writers are a warning, who keeps others out of a table is in the way.
async fn who_else_works_on_the_source(shop: &Shop, places: &Places) {
    let mut writer = shop.superuser(&shop.settings.source).await;
    let pid: i32 = writer.row("SELECT pg_backend_pid()").await.unwrap().get(0);
    let warning = |health: &Value| {
        let all = lines(health, "warning");
        let found = all.iter().find(|l| l["what"] == "other sessions").map(|l| l["found"].to_string());
        found.unwrap_or_default()
    };
    let idle = places.run(&["doctor", "--json"]).expect_code(0).json();
    assert_eq!(warning(&idle), "");
    writer.run("BEGIN; UPDATE users SET login_count = 1 WHERE id = 1").await.unwrap();
    let health = places.run(&["doctor", "--json"]).expect_code(0).json();
    let said = warning(&health);
    for word in [&format!("pid {pid}, postgres"), "xtask test", "holds a write transaction", "since 2"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    writer.run("ROLLBACK; BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let said = places.run(&["doctor", "--json"]);
    let line = the_line("a lock", said, "source", "other sessions", "keeps others out of a table");
    assert!(line["fix"].as_str().unwrap().contains(&pid.to_string()), "{line:#}");
    writer.run("ROLLBACK").await.unwrap();
}

/// By a run that is over, or by hand: a warning, because a run is possible all the same.
async fn a_source_that_is_frozen(shop: &Shop, places: &Places) {
    let warned = || -> Value {
        let health = places.run(&["doctor", "--json"]).expect_code(0).json();
        let [line] =
            lines(&health, "warning").into_iter().filter(|l| l["what"] == "frozen").collect::<Vec<_>>()[..]
        else {
            panic!("{health:#}")
        };
        line.clone()
    };
    places.run(&["freeze"]).expect_code(0);
    let line = warned();
    assert!(line["found"].as_str().unwrap().contains("by `cargo xtask freeze`"), "{line:#}");
    assert!(line["fix"].as_str().unwrap().starts_with("cargo xtask unfreeze --env "), "{line:#}");
    places.run(&["unfreeze"]).expect_code(0);
    let mut source = shop.superuser(&shop.settings.source).await;
    source.run("ALTER DATABASE ecommerce_db SET default_transaction_read_only = on").await.unwrap();
    let line = warned();
    assert!(line["found"].as_str().unwrap().contains("none of the runs that are known here"), "{line:#}");
    source.run(&statement(&line)).await.unwrap();
    std::fs::remove_file(shop.runs.path().join("freezes.jsonl")).unwrap();
}

/// It holds the lock, on one database at least.
async fn another_run_at_work(shop: &Shop, places: &Places) {
    let mut other = shop.superuser(&shop.settings.product).await;
    let pid: i32 = other.row("SELECT pg_backend_pid()").await.unwrap().get(0);
    let take = "SET application_name = 'xtask 20260131_235959 lock anna@laptop'; SELECT pg_advisory_lock(2020893043, 1)";
    other.run(take).await.unwrap();
    let holder = "xtask 20260131_235959 lock anna@laptop";
    let said = places.run(&["doctor", "--json"]);
    assert_eq!(
        said.json()["lines"].as_array().unwrap().len(),
        1,
        "all else is the run itself: {}",
        said.stdout
    );
    let line = the_line("a lock", said, "the servers", "lock", &format!("a run is at work: `{holder}`"));
    assert!(line["found"].as_str().unwrap().ends_with("holds the lock on product"), "{line:#}");
    let fix = line["fix"].as_str().unwrap();
    assert!(fix.contains("status --run 20260131_235959") && fix.contains(&pid.to_string()), "{line:#}");
    let said = places.run(&["plan"]).expect_code(4);
    assert!(
        said.stdout.contains("another run is at work on product") && said.stdout.contains(holder),
        "{}",
        said.stdout
    );
    other.close().await.unwrap();
}

/// A pool of sessions: each of its clients logs in by itself, then every transaction gets whichever
/// session is free.
fn a_pooler_in_between(shop: &Shop, places: &Places) {
    let port = shop.settings.product.port;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let pooler = listener.local_addr().unwrap().port();
    let pool: Arc<(Mutex<VecDeque<TcpStream>>, Condvar)> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));
    let accepting = {
        let (pool, over) = (pool.clone(), over.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (client, pool) = (client.unwrap(), pool.clone());
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                // Ends with its client.
                std::thread::spawn(move || pooled(client, server, &pool));
            }
        })
    };
    let said = places.run_with(&format!("port = {port}"), &format!("port = {pooler}"), &["doctor", "--json"]);
    let line = the_line("a pooler", said, "product", "direct", "a pooler in between");
    assert!(line["fix"].as_str().unwrap().contains("the server's own address"), "{line:#}");
    let said = places.run_with(&format!("port = {port}"), &format!("port = {pooler}"), &["connectivity"]);
    let said = said.expect_code(4);
    let verdict = "✗ product fails at session: a pooler in between gives each transaction another session";
    assert!(said.stdout.starts_with(verdict), "{}", said.stdout);
    over.store(true, Ordering::SeqCst);
    drop(TcpStream::connect(("127.0.0.1", pooler)));
    accepting.join().unwrap();
}

fn pooled(mut client: TcpStream, mut server: TcpStream, pool: &(Mutex<VecDeque<TcpStream>>, Condvar)) {
    // The login is between the two; it ends with the first ReadyForQuery.
    let mut to_server = server.try_clone().unwrap();
    client.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    server.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = [0; 65_536];
    let mut answers = Vec::new();
    while !ready(&answers) {
        if let Ok(n) = client.read(&mut buffer) {
            to_server.write_all(&buffer[..n]).unwrap();
        }
        if let Ok(n) = server.read(&mut buffer) {
            answers.extend(&buffer[..n]);
            client.write_all(&buffer[..n]).unwrap();
        }
    }
    client.set_read_timeout(None).unwrap();
    let give_back = |server: TcpStream| {
        pool.0.lock().unwrap().push_back(server);
        pool.1.notify_one();
    };
    give_back(server);
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        // A transaction, with whichever session has been free for longest.
        let mut server = {
            let mut free = pool.0.lock().unwrap();
            loop {
                match free.pop_front() {
                    Some(server) => break server,
                    None => free = pool.1.wait(free).unwrap(),
                }
            }
        };
        if buffer[0] == b'X' {
            give_back(server);
            return;
        }
        server.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        server.write_all(&buffer[..n]).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let mut answers = Vec::new();
        loop {
            if let Ok(n) = server.read(&mut buffer) {
                answers.extend(&buffer[..n]);
                client.write_all(&buffer[..n]).unwrap();
            }
            if ready(&answers) {
                break;
            }
            if let Ok(n) = client.read(&mut buffer) {
                server.write_all(&buffer[..n]).unwrap();
                answers.clear();
            }
        }
        client.set_read_timeout(None).unwrap();
        give_back(server);
    }
}

/// Whether a server's messages end with ReadyForQuery outside of a transaction.
fn ready(messages: &[u8]) -> bool {
    messages.ends_with(&[b'Z', 0, 0, 0, 5, b'I'])
}

async fn tools_that_are_missing_or_too_old(shop: &Shop) {
    let dir = tempfile::tempdir().unwrap();
    let pg_dump = dir.path().join("pg_dump");
    std::fs::write(&pg_dump, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 13.2'\n").unwrap();
    std::fs::set_permissions(&pg_dump, std::fs::Permissions::from_mode(0o755)).unwrap();
    let options = Options {
        terminal: Terminal::new(Verbosity::Quiet, true),
        tools: Tools { bindir: dir.path().to_path_buf() },
        workspace: workspace(),
        jobs: 2,
        max_diffs: 10,
        values: xtask::findings::Values::Shown,
    };
    let run = RunDir::dry_run_dir(shop.runs.path());
    let ctx = Arc::new(Ctx::new(shop.settings.clone(), TABLES, run, options));
    let lines = doctor::run(&ctx, doctor::Wanted::default()).await;
    let missing: Vec<String> = lines
        .iter()
        .filter(|l| l.verdict == Verdict::NotMet)
        .map(|l| format!("{} {}: {} → {}", l.place, l.what, l.found, l.fix.as_deref().unwrap()))
        .collect();
    assert_eq!(missing.len(), 3 + 4, "{missing:#?}");
    let install = "apt-get install postgresql-client-15";
    for program in ["pg_dumpall", "pg_restore", "psql"] {
        let line =
            missing.iter().find(|l| l.starts_with(&format!("this machine {program}: not found"))).unwrap();
        assert!(line.ends_with(install), "{line}");
    }
    let version = format!("source version: pg_dump 13 cannot dump a server 15 → {install}");
    assert!(missing.contains(&version), "{missing:#?}");
}

/// Between its being written and its removal: Firestore's answer never comes.
#[tokio::test]
async fn an_interrupted_probe_is_removed() {
    let shop = Shop::open(0).await;
    let emulator = shop.settings.firestore.emulator.clone().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    let silent = Arc::new(AtomicBool::new(false));
    {
        let (silent, emulator) = (silent.clone(), emulator.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(&emulator).unwrap());
                relay(client, server, silent.clone());
            }
        });
    }
    let places = Places::of(&shop, None);
    let mut tool = Tool::start(places.command_with(&emulator, &proxy, &["doctor"]));
    let deadline = Instant::now() + Duration::from_secs(60);
    while probes(&shop).await == 0 {
        assert!(Instant::now() < deadline, "no probe: {}", tool.stderr());
    }
    tool.wait_for("the silence", || silent.load(Ordering::SeqCst));
    tool.signal(Signal::SIGINT);
    let said = tool.ends_within(30).expect_code(6);
    assert_eq!(probes(&shop).await, 0, "{}", said.stderr);
    assert!(!said.stderr.contains("left behind"), "{}", said.stderr);
}

/// Passes everything on, but for the answers on the first connection that writes the probe.
fn relay(client: TcpStream, server: TcpStream, silent: Arc<AtomicBool>) {
    let mute = Arc::new(AtomicBool::new(false));
    let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let muting = mute.clone();
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = from_client.read(&mut buffer) {
            let writes = buffer[..n].windows(doctor::PROBE.len()).any(|w| w == doctor::PROBE.as_bytes());
            if writes && !silent.swap(true, Ordering::SeqCst) {
                muting.store(true, Ordering::SeqCst);
            }
            if to_server.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
        let _ = to_server.shutdown(std::net::Shutdown::Both);
    });
    let (mut from_server, mut to_client) = (server, client);
    std::thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok(n @ 1..) = from_server.read(&mut buffer) {
            if !mute.load(Ordering::SeqCst) && to_client.write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
}
