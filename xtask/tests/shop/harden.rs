//! `harden`: on servers as an old stack has them, the service's role keeps its rows and nothing else; whoever may do
//! more is the tool's admin, with whom everything goes on.

use crate::places::Places;
use crate::support::{Said, Shop, assert_refused, assert_words, says};
use crate::tool::{Tool, contents};
use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use xtask::effects::postgres::{self, Connection};
use xtask::model::Database;
use xtask::settings::Server;

/// The one that the guide has.
const KNOWN: &str = "product_pass";

/// The product server as the compose files made it once: the service's role is the one that initdb has made, with
/// the guide's password.
async fn as_an_old_stack(shop: &Shop) {
    let server = shop.settings.product.clone();
    let own = server.password.expose_secret().to_string();
    let mut postgres = shop.superuser(&Server { database: "postgres".into(), ..server.clone() }).await;
    postgres.run(&format!("CREATE ROLE helper SUPERUSER LOGIN PASSWORD '{own}'")).await.unwrap();
    postgres.close().await.unwrap();
    let mut helper = as_role(&server, "helper", &own).await.unwrap();
    let rename = format!(
        "ALTER ROLE product_user RENAME TO owner_before; ALTER ROLE postgres RENAME TO product_user; \
         ALTER ROLE product_user PASSWORD '{KNOWN}'"
    );
    helper.run(&rename).await.unwrap();
    helper.close().await.unwrap();
    let mut user = as_role(&server, "product_user", KNOWN).await.unwrap();
    user.run("REASSIGN OWNED BY owner_before TO product_user; DROP ROLE owner_before; DROP ROLE helper")
        .await
        .unwrap();
}

async fn as_role(server: &Server, role: &str, password: &str) -> anyhow::Result<Connection> {
    let password = SecretString::from(password.to_string());
    postgres::connect(&Server { user: role.into(), password, ..server.clone() }, "test").await
}

/// The tool with the environment of an old stack; `lines`: in the place of those of the product database.
fn run(places: &Places, lines: Option<&str>, arguments: &[&str]) -> Said {
    let old = "user = \"product_user\"\npassword = { env = \"PRODUCT_PASSWORD\" }";
    let mut command = places.command_with(old, lines.unwrap_or(old), arguments);
    command.env("PRODUCT_PASSWORD", KNOWN).output().unwrap().into()
}

fn whats(json: &Value, list: &str) -> Vec<String> {
    let stores = json["stores"].as_array().unwrap().iter();
    let found = stores.flat_map(|store| store[list].as_array().unwrap());
    found.map(|f| f["what"].as_str().unwrap().to_string()).collect()
}

async fn value(connection: &mut Connection, query: &str) -> String {
    sqlx::Row::get(&connection.row(query).await.unwrap(), 0)
}

/// SQLSTATE of what a role was refused; "done" where it was not.
async fn code(session: &mut Connection, statement: &str) -> String {
    match session.run(statement).await {
        Ok(()) => "done".into(),
        Err(error) => postgres::code(&error).unwrap_or_default(),
    }
}

/// Everything about rights and roles, by the superuser.
async fn rights(session: &mut Connection) -> String {
    let query = "
        SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
            SELECT format('role %s %s %s %s', rolname, rolsuper, rolcanlogin, rolpassword) AS line FROM pg_authid
            UNION ALL SELECT format('db %s %s %s', datname, datdba::regrole, datacl) FROM pg_database
            UNION ALL SELECT format('schema %s %s %s', nspname, nspowner::regrole, nspacl) FROM pg_namespace
                      WHERE nspname !~ '^pg_'
            UNION ALL SELECT format('%s %s %s', oid::regclass, relowner::regrole, relacl) FROM pg_class
                      WHERE relnamespace::regnamespace::text IN ('public', 'xtask')
            UNION ALL SELECT format('default %s %s', defaclrole::regrole, defaclacl) FROM pg_default_acl) lines";
    value(session, query).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_stacks_service_keeps_its_rows_and_nothing_else() {
    let shop = Shop::open(0).await;
    as_an_old_stack(&shop).await;
    let places = Places::of(&shop, None);
    run(&places, None, &["migrate"]).expect_code(0);
    let server = &shop.settings.product;
    let secrets = tempfile::tempdir().unwrap();
    let at = secrets.path().join("local");
    let harden = ["harden", "product", "--secrets", at.to_str().unwrap()];

    the_look_changes_nothing(&shop, &places, &harden, &at).await;
    let mut user = as_role(server, "product_user", KNOWN).await.unwrap();
    user.run("CREATE ROLE xtask_harden SUPERUSER LOGIN").await.unwrap();
    user.close().await.unwrap();
    let left = whats(
        &run(&places, None, &[&harden[..], &["-n", "--json"]].concat()).expect_code(3).json(),
        "findings",
    );
    assert!(
        left.iter().any(|what| what.contains("was killed has left the superuser xtask_harden")),
        "{left:?}"
    );
    a_run_at_work_is_waited_for(&places, server, &harden).await;
    let mut of_before = as_role(server, "product_user", KNOWN).await.unwrap();
    let said = run(&places, None, &[&harden[..], &["--json"]].concat()).expect_code(3);
    // What was a superuser's session is none that goes on.
    assert_eq!(code(&mut of_before, "SELECT 1").await, "57P01");
    let json = said.json();
    let store = &json["stores"][0];
    let counted = [&store["refused"], &store["allowed"], &store["ended"]].map(|n| n.as_u64().unwrap());
    assert_eq!(counted, [19, 9, 1], "{store}");
    let left = whats(&json, "findings");
    for what in
        ["ssl = off", "log_connections = off", "log_statement = none", "the environment's file says tls"]
    {
        assert!(left.iter().any(|found| found.starts_with(what)), "{what} is not among {left:?}");
    }
    for gone in ["superuser", "xtask_harden", "owns", "PUBLIC", "guide", "CREATE"] {
        assert!(!left.iter().any(|found| found.contains(gone)), "{gone}: {left:?}");
    }
    let (service, admin) = (secret(&at.join("product_password")), secret(&at.join("product_admin_password")));
    for password in [&service, &admin] {
        assert!(!said.stdout.contains(password) && !said.stderr.contains(password), "{}", said.stdout);
    }

    assert_eq!(
        as_role(server, "product_user", KNOWN).await.err().and_then(|e| postgres::code(&e)).unwrap(),
        "28P01"
    );
    let mut own = as_role(server, "product_user", &service).await.unwrap();
    each_forbidden_thing_is_refused(&mut own).await;
    what_the_service_does_works(&mut own).await;
    for other in ["postgres", "template1"] {
        let there = Server { database: other.into(), ..server.clone() };
        let error = as_role(&there, "product_user", &service).await.err().unwrap();
        assert_eq!(postgres::code(&error).unwrap(), "42501", "{other}: {error:#}");
    }
    the_tool_goes_on_as_the_admin(&shop, &places, &harden, &store["environment"], &admin).await;
}

async fn a_run_at_work_is_waited_for(places: &Places, server: &Server, harden: &[&str]) {
    let mut at_work = as_role(server, "product_user", KNOWN).await.unwrap();
    at_work.run("SELECT pg_advisory_lock(2020893043, 1)").await.unwrap();
    let before = rights(&mut at_work).await;
    assert_refused(
        "a run at work",
        &run(places, None, harden),
        &["another run is at work on product", "Wait until"],
    );
    assert_eq!(rights(&mut at_work).await, before);
    at_work.close().await.unwrap();
}

async fn the_look_changes_nothing(shop: &Shop, places: &Places, harden: &[&str], at: &Path) {
    let mut user = as_role(&shop.settings.product, "product_user", KNOWN).await.unwrap();
    let before = (rights(&mut user).await, contents(&mut user).await);
    let said = run(places, None, &[harden, &["--dry-run"]].concat()).expect_code(3);
    says(
        &said,
        &[
            "product: 4.3 the service's role product_user is a superuser, allowed to make roles",
            "product: 4.3 the service's role product_user owns",
            "product: 4.6 PUBLIC holds CONNECT, TEMPORARY on database product_database",
            "product: 4.6 PUBLIC holds CONNECT, TEMPORARY on database postgres",
            "product: the password of product_user is one of the guide's",
            "product: 6.8 ssl = off",
            "product: 3.1.20 log_connections = off: ALTER SYSTEM SET log_connections = 'on'",
            "under [targets.product]: user = \"product_admin\"",
            "statements would be made",
        ],
    );
    let next = format!("next: cargo xtask harden product --secrets {}", at.display());
    assert_words(&said, &[&next]);
    assert_eq!((rights(&mut user).await, contents(&mut user).await), before);
    assert!(!at.exists(), "a look writes no password");
}

/// The password in a private file.
fn secret(path: &Path) -> String {
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    let text = fs::read_to_string(path).unwrap().trim_end().to_string();
    assert_eq!(text.len(), 48);
    text
}

async fn each_forbidden_thing_is_refused(own: &mut Connection) {
    for statement in [
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine ()",
        "ALTER TABLE products ADD COLUMN mine int",
        "DROP TABLE products CASCADE",
        "TRUNCATE products CASCADE",
        "SELECT FROM xtask.runs",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
        "COPY products FROM '/etc/passwd'",
        "SELECT pg_read_file('PG_VERSION')",
        "ALTER ROLE product_user SUPERUSER",
        "ALTER ROLE product_admin PASSWORD 'mine'",
        "CREATE ROLE mine",
        "SET ROLE product_admin",
        "SELECT FROM pg_authid",
        "ALTER SYSTEM SET log_connections = off",
        "SELECT setval('products_id_seq', 1)",
    ] {
        assert_eq!(code(own, statement).await, "42501", "{statement}");
    }
}

async fn what_the_service_does_works(own: &mut Connection) {
    let statement = "
        BEGIN;
        INSERT INTO products (name, price, created_at) VALUES ('a thing', 1, now());
        UPDATE products SET stock = 1 WHERE name = 'a thing';
        DELETE FROM products WHERE name = 'a thing';
        SELECT count(*) FROM categories, product_reviews;
        ROLLBACK";
    assert_eq!(code(own, statement).await, "done");
}

async fn the_tool_goes_on_as_the_admin(
    shop: &Shop,
    places: &Places,
    harden: &[&str],
    said: &Value,
    admin: &str,
) {
    assert_eq!(said["table"], "targets.product");
    let lines: Vec<&str> = said["lines"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
    let lines = lines.join("\n");
    let verified = run(places, Some(&lines), &["verify", "--full", "--json"]).expect_code(0).json();
    assert_eq!(verified["proven"], true);
    let remarks = verified["remarks"].as_array().unwrap();
    let of_rights =
        |r: &Value| r["store"] == "product" && r["text"].as_str().unwrap().contains(": privileges ");
    assert!(!remarks.is_empty() && remarks.iter().all(of_rights), "{remarks:#?}");

    // Once more, as the admin: there is nothing left to do.
    let mut session = as_role(&shop.settings.product, "product_admin", admin).await.unwrap();
    let before = rights(&mut session).await;
    let said = run(places, Some(&lines), harden).expect_code(3);
    says(&said, &["nothing to change", "forbidden things refused"]);
    assert!(!said.stdout.contains("environment's file, under"), "{}", said.stdout);
    assert_eq!(rights(&mut session).await, before);

    // Rows that are missing are repaired, and a table that is dropped comes back with the service's rights.
    session
        .run("DELETE FROM product_reviews WHERE id = (SELECT min(id) FROM product_reviews)")
        .await
        .unwrap();
    run(places, Some(&lines), &["verify"]).expect_code(3);
    run(places, Some(&lines), &["repair", "--apply"]).expect_code(0);
    run(places, Some(&lines), &["migrate", "--replace"]).expect_code(0);
    let query = "SELECT relacl::text FROM pg_class WHERE oid = 'products'::regclass";
    let acl = value(&mut session, query).await;
    assert!(acl.contains("product_user=arwd/product_admin"), "{acl}");
    let said = run(places, Some(&lines), harden).expect_code(3);
    says(&said, &["nothing to change"]);
}

/// The service owns its database and is no superuser; somebody else is.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_becomes_an_ordinary_service() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let server = &shop.settings.order;
    let own = server.password.expose_secret().to_string();
    let mut superuser = shop.superuser(server).await;
    superuser.run("CREATE ROLE reporting LOGIN; GRANT SELECT ON orders TO reporting").await.unwrap();
    let secrets = tempfile::tempdir().unwrap();
    let at = secrets.path().to_str().unwrap();
    let before = (rights(&mut superuser).await, contents(&mut superuser).await);
    let said = shop.xtask(&["harden", "order", "--secrets", at]);
    let words =
        ["a role order_admin has to be made on order (order_user@", "--as SUPERUSER --as-password-file FILE"];
    assert_refused("an owner makes no roles", &said, &words);
    let said = shop.xtask(&["harden", "order", "--role", "order=nobody"]);
    assert_refused("nobody", &said, &["has no role nobody", "--role order=NAME"]);
    // What the service has opened: it must not be waited for, and nothing half done is left.
    let mut holder = shop.target(Database::Order).await;
    holder.run("BEGIN; LOCK TABLE payments").await.unwrap();
    let harden = ["harden", "order", "--secrets", at, "--as", "postgres"];
    let said = shop.xtask(&harden);
    assert_refused("a locked table", &said, &["is locked, by", "payments", "pg_terminate_backend"]);
    holder.run("ROLLBACK").await.unwrap();
    assert_eq!((rights(&mut superuser).await, contents(&mut superuser).await), before);
    let written = secret(&secrets.path().join("order_admin_password"));

    let forbidden = "CREATE FUNCTION all_of_it() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM orders'";
    holder.run(forbidden).await.unwrap();
    let said = shop.xtask(&harden).expect_code(3);
    says(
        &said,
        &[
            "order: 4.5 all_of_it() runs with the rights of order_admin",
            "ALTER ROUTINE all_of_it() SECURITY INVOKER",
        ],
    );
    let mut service = as_role(server, "order_user", &own).await.unwrap();
    for statement in [
        "CREATE TABLE mine ()",
        "TRUNCATE orders CASCADE",
        "ALTER TABLE orders ADD mine int",
        "SELECT FROM xtask.runs",
    ] {
        assert_eq!(code(&mut service, statement).await, "42501", "{statement}");
    }
    assert_eq!(code(&mut service, "DELETE FROM orders WHERE false").await, "done");
    let admin = secret(&secrets.path().join("order_admin_password"));
    assert_eq!(
        admin, written,
        "what a call that came to nothing has written down is what the next one takes"
    );
    let mut admin = as_role(server, "order_admin", &admin).await.unwrap();
    assert_eq!(
        code(&mut admin, "CREATE ROLE mine").await,
        "42501",
        "an ordinary role is enough for the tool"
    );
    // Who reads by name, still does; who may be let in by the role for that, reads all.
    superuser.run("SET SESSION AUTHORIZATION reporting").await.unwrap();
    assert_eq!(code(&mut superuser, "SELECT FROM orders LIMIT 1").await, "done");
    assert_eq!(code(&mut superuser, "SELECT FROM payments LIMIT 1").await, "42501");
    superuser.run("RESET SESSION AUTHORIZATION; GRANT order_database_readonly TO reporting; SET SESSION AUTHORIZATION reporting").await.unwrap();
    assert_eq!(code(&mut superuser, "SELECT FROM payments LIMIT 1").await, "done");
    assert_eq!(code(&mut superuser, "DELETE FROM payments").await, "42501");
    superuser.run("RESET SESSION AUTHORIZATION").await.unwrap();
    let again = rights(&mut superuser).await;
    says(&shop.xtask(&harden).expect_code(3), &["nothing to change"]);
    assert_eq!(rights(&mut superuser).await, again);

    // A right that no list of ours knows: it is seen because it is tried.
    let by_another = "CREATE ROLE dba; GRANT dba TO order_user; ALTER TABLE payments OWNER TO dba";
    superuser.run(by_another).await.unwrap();
    let before = contents(&mut superuser).await;
    let said = shop.xtask(&harden).expect_code(3);
    for what in ["changes", "drops", "empties"] {
        says(
            &said,
            &[&format!("order: 4.3 the service's role order_user still {what} a table: public.payments")],
        );
    }
    assert_eq!(contents(&mut superuser).await, before, "trying it has changed nothing");
}

/// After the cut-over, on all three: the services go on, and so does the tool, back to the old database included.
#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_on_with_ordinary_admins() {
    let shop = Shop::open(0).await;
    let mut places = Places::of(&shop, None);
    places.run(&["migrate", "--quiet"]).expect_code(0);
    places.run(&["cutover"]).expect_code(0);
    let secrets = tempfile::tempdir().unwrap();
    let at = secrets.path().to_str().unwrap();
    let stores = ["harden", "product", "order", "gateway", "--as", "postgres", "--secrets", at];
    let looked = places.run(&[&stores[..], &["--dry-run"]].concat()).expect_code(3);
    says(&looked, &["order: 4.3 the service's role order_user owns"]);
    two_at_once(&shop, &places, &stores).await;
    let said = places.run(&[&stores[..], &["--json"]].concat()).expect_code(3).json();
    for database in Database::ALL {
        let store =
            said["stores"].as_array().unwrap().iter().find(|s| s["store"] == database.name()).unwrap();
        let lines: Vec<&str> =
            store["environment"]["lines"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
        let variable = database.name().to_uppercase();
        let old = format!("user = \"{database}_user\"\npassword = {{ env = \"{variable}_PASSWORD\" }}");
        assert!(places.text.contains(&old), "{}", places.text);
        places.text = places.text.replace(&old, &lines.join("\n"));
    }
    // Who did what, and what it came to, is in the run's journal.
    let journal = fs::read_to_string(shop.latest().file("journal.jsonl")).unwrap();
    let noted = journal
        .lines()
        .find(|line| line.contains("\"harden\"") && line.contains("FINDINGS in product, order, gateway"));
    assert!(noted.is_some(), "{journal}");
    let verified = places.run(&["verify", "--json"]).expect_code(0).json();
    assert_eq!(verified["proven"], true);
    // The admin, ordinary as it is, looks and tries by itself.
    let said = places.run(&["harden", "product", "order", "gateway", "--secrets", at]).expect_code(3);
    says(
        &said,
        &[
            "nothing to change",
            "forbidden things refused, 24 needed ones allowed",
            "pg_hba.conf was not looked at",
        ],
    );

    // The service works, and its pool keeps a session open.
    let own = shop.settings.order.password.expose_secret();
    let mut service = as_role(&shop.settings.order, "order_user", own).await.unwrap();
    let order = "
        INSERT INTO orders (user_uid, total_amount, status, created_at)
        SELECT user_uid, 12.34, 'of a hardened service', now() FROM orders WHERE id = 1";
    service.run(order).await.unwrap();
    assert_eq!(code(&mut service, "TRUNCATE orders CASCADE").await, "42501");
    let verified = places.run(&["verify"]).expect_code(0);
    assert_words(&verified, &["orders            1 rows added"]);
    places.run(&["rollback", "after-start", "--dry-run"]).expect_code(0);
    let said = places.run(&["rollback", "after-start"]).expect_code(0);
    assert_words(&said, &["is taken back (after-start)"]);
    let query = "SELECT count(*)::text FROM orders WHERE status = 'of a hardened service'";
    assert_eq!(value(&mut shop.source().await, query).await, "1");
    // The way forward again, with the services' rights as they were.
    places.run(&["migrate", "--replace", "--quiet"]).expect_code(0);
    let mut again = as_role(&shop.settings.order, "order_user", own).await.unwrap();
    assert_eq!(
        code(
            &mut again,
            "SET default_transaction_read_only = off; UPDATE orders SET status = status WHERE false"
        )
        .await,
        "done"
    );
    assert_eq!(code(&mut again, "TRUNCATE orders CASCADE").await, "42501");
}

/// One of two is refused while the other is at it, who waits for somebody else.
async fn two_at_once(shop: &Shop, places: &Places, harden: &[&str]) {
    let server = &shop.settings.gateway;
    let mut guest = shop.superuser(&Server { database: "postgres".into(), ..server.clone() }).await;
    guest.run(&format!("BEGIN; ALTER DATABASE {} CONNECTION LIMIT 50", server.database)).await.unwrap();
    let mut first = Tool::start(places.command_with("", "", harden));
    first.wait_for_words("Harden: gateway");
    let said = places.run(harden);
    assert_refused("two at once", &said, &["another run is at work on", "lock"]);
    first.signal(Signal::SIGKILL);
    first.wait_for_its_end();
    guest.run("ROLLBACK").await.unwrap();
}

/// The rules of the checkout, in a real emulator; and each of them is missed.
#[tokio::test(flavor = "multi_thread")]
async fn clients_read_their_own_account_and_nothing_else() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let before = (shop.documents("users").await, shop.documents("user_sessions").await);
    // An emulator without rules lets everybody in.
    let said = shop.xtask(&["harden", "firestore", "--dry-run"]).expect_code(3);
    says(
        &said,
        &[
            "firestore: a client that is not logged in reads a session: 200, expected 403: cargo xtask harden does it",
        ],
    );
    let said = shop.xtask(&["harden", "firestore"]).expect_code(0);
    says(
        &said,
        &["✓ HARDENED firestore: 1 statements made; 14 forbidden things refused, 1 needed ones allowed"],
    );

    // Asked by other means than the tool's.
    let plain = |id: &&String| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let (user, session) = (before.0.keys().find(plain).unwrap(), before.1.keys().find(plain).unwrap());
    let ask = |uid: Option<&str>, document: &str| status(&shop, uid, document);
    assert_eq!(ask(Some(user), &format!("users/{user}")), 200, "one's own");
    assert_eq!(ask(Some("somebody"), &format!("users/{user}")), 403, "another's");
    assert_eq!(ask(None, &format!("users/{user}")), 403, "anonymous");
    assert_eq!(ask(Some(user), &format!("user_sessions/{session}")), 403, "sessions");

    let rules = fs::read_to_string(crate::support::workspace().join("firestore/firestore.rules")).unwrap();
    let own = "request.auth != null && request.auth.uid == uid";
    let everything = "match /{path=**} {\n      allow read, write: if false;";
    for (rule, instead, found) in [
        (own, "true", "a client that is not logged in reads a user: 200, expected 403"),
        (own, "request.auth != null", "a user reads another's account: 200, expected 403"),
        (own, "false", "a user reads the own account: 403, expected 200"),
        ("allow get:", "allow read, write:", "a user writes the own account: 404, expected 403"),
        ("allow get:", "allow get, delete:", "a user deletes the own account: "),
        (
            "{token} {\n      allow read, write: if false;",
            "{token} {\n      allow get: if true;",
            "reads a session: 200, expected 403",
        ),
        (
            "{token} {\n      allow read, write: if false;",
            "{token} {\n      allow write: if true;",
            "a user writes a session: 404, expected 403",
        ),
        (everything, "match /{path=**} {\n      allow read: if true;", "reads the tool's own document: "),
    ] {
        assert!(rules.contains(rule), "{rule}");
        let other = shop.runs.path().join("other.rules");
        fs::write(&other, rules.replace(rule, instead)).unwrap();
        let said = shop.xtask(&["harden", "firestore", "--rules", other.to_str().unwrap()]).expect_code(3);
        says(&said, &[found]);
    }
    let other = shop.runs.path().join("other.rules");
    fs::write(&other, rules.replace("match /users/{uid} {", "match /users/{uid}")).unwrap();
    let said = shop.xtask(&["harden", "firestore", "--rules", other.to_str().unwrap()]);
    assert_refused("no rules", &said, &["other.rules: the emulator does not take these rules (400)"]);
    assert_eq!((shop.documents("users").await, shop.documents("user_sessions").await), before);
}

/// The status that a client gets, by curl.
fn status(shop: &Shop, uid: Option<&str>, document: &str) -> u16 {
    let firestore = &shop.settings.firestore;
    let (host, project) = (firestore.emulator.as_deref().unwrap(), &firestore.project);
    let url = format!("http://{host}/v1/projects/{project}/databases/(default)/documents/{document}");
    let mut curl = std::process::Command::new("curl");
    curl.args([
        "--silent",
        "--noproxy",
        "*",
        "--globoff",
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
    ]);
    if let Some(uid) = uid {
        let claims = serde_json::json!({ "sub": uid, "user_id": uid, "aud": project,
            "iss": format!("https://securetoken.google.com/{project}"), "iat": 0, "exp": 4_102_444_800_u64 });
        let part = |text: &str| base64(text);
        let token = format!("{}.{}.", part(r#"{"alg":"none","typ":"JWT"}"#), part(&claims.to_string()));
        curl.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    let said: Said = curl.arg(url).output().unwrap().into();
    said.stdout.parse().unwrap()
}

/// In the letters of URLs, without padding.
fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |piece: &[u8], at: usize| {
        let byte = |n: usize| u32::from(piece.get(n).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize])
    };
    let letters = |piece: &[u8]| (0..=piece.len()).map(|at| letter(piece, at)).collect::<String>();
    text.as_bytes().chunks(3).map(letters).collect()
}

/// What is exempt from an index is there.
#[test]
fn the_indexes_name_fields_that_documents_have() {
    let text =
        fs::read_to_string(crate::support::workspace().join("firestore/firestore.indexes.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let exempt = json["fieldOverrides"].as_array().unwrap();
    assert_eq!(exempt.len(), 4);
    for field in exempt {
        let text = |name: &str| field[name].as_str().unwrap();
        let table = xtask::tables::TABLES
            .iter()
            .find(|t| t.collection().is_some_and(|c| c.name == text("collectionGroup")));
        let fields = table.unwrap().collection().unwrap().fields;
        assert!(fields.iter().any(|known| known.name == text("fieldPath")), "{field}");
        assert_eq!(field["indexes"], serde_json::json!([]), "{field}");
    }
}
