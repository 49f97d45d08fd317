//! What strangers wrote is shown as text and as nothing else: no terminal obeys it, no line of it leaves a
//! comment, and what customers are and did is masked, tokens of sessions most of all, unless asked for.

use crate::support::{Said, Shop};
use datapath::document::{Document, Value};
use datapath::firestore::Unconditional;
use sqlx::Row;
use std::collections::BTreeMap;
use xtask::model::Database;
use xtask::run::manifest::Cutover;
use xtask::shown::is_unsafe;

const EVIL: &str = "x\n; DROP TABLE orders; --\r\u{1b}[2J\u{9b}31m\u{7f}\u{202e}";

async fn migrated() -> Shop {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop
}

fn cut_over(shop: &Shop, at: Option<&str>) {
    let run = shop.latest();
    let mut manifest = run.load_manifest().unwrap();
    manifest.cutover = at.map(|at| Cutover { at: at.into(), ..Cutover::default() });
    run.save_manifest(&manifest).unwrap();
}

async fn set(shop: &Shop, collection: &str, id: &str, fields: &[(&'static str, &str)]) {
    let fields = fields.iter().map(|(name, text)| (*name, Value::Text((*text).to_string()))).collect();
    shop.firestore().await.set(collection, &Document { id: id.to_string(), fields }).await.unwrap();
}

/// Neither a sign that a terminal obeys, nor a line that begins with what follows a line break in `EVIL`.
#[track_caller]
fn is_harmless(case: &str, said: &Said) {
    for text in [&said.stdout, &said.stderr] {
        let found = text.chars().find(|c| is_unsafe(*c) && !['\n', '\t'].contains(c));
        assert_eq!(found, None, "{case}: {text}");
        let left = text.lines().find(|line| line.trim_start().starts_with("; DROP"));
        assert_eq!(left, None, "{case}: a line has left its place in\n{text}");
    }
}

#[tokio::test]
async fn what_strangers_wrote_is_never_obeyed() {
    let shop = migrated().await;
    let name: &'static str = EVIL.to_string().leak();
    set(&shop, "users", EVIL, &[(name, EVIL)]).await;
    set(&shop, "users", "q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g", &[("timezone", EVIL), (name, EVIL)]).await;
    let literal = xtask::sql_text::literal(EVIL);
    assert!(!literal.contains(is_unsafe), "{literal}");
    let mut order = shop.target(Database::Order).await;
    order
        .run(&format!(
            "UPDATE orders SET status = left({literal}, 30), user_uid = {literal} WHERE id = 1; \
             ALTER TABLE payments ADD COLUMN {} text; UPDATE orders SET status = 'x' WHERE id > 200",
            xtask::sql_text::ident(EVIL)
        ))
        .await
        .unwrap();
    let mut looks: Vec<Vec<&str>> = Vec::new();
    for look in ["verify", "repair"] {
        looks.extend([
            vec![look],
            vec![look, "--show-values"],
            vec![look, "--json"],
            vec![look, "--json", "--show-values"],
        ]);
    }
    for arguments in &looks {
        let said = shop.xtask(arguments).expect_code(3);
        is_harmless(&arguments.join(" "), &said);
        assert!(said.stdout.contains("DROP TABLE"), "{arguments:?}: it says nothing of it");
        if arguments.contains(&"--json") {
            let text = said.json().to_string();
            assert!(text.contains("DROP TABLE"), "{arguments:?}");
        } else if arguments[0] == "repair" {
            let sql = ["--", "UPDATE ", "INSERT ", "DELETE ", "ALTER ", "SELECT ", "{\"", "  ("];
            let stray = said.stdout.lines().find(|line| !sql.iter().any(|word| line.starts_with(word)));
            assert_eq!(stray, None, "{arguments:?}");
        }
    }
    // Of the seed: a bell, an escape, a line separator.
    let said = shop.xtask(&["repair", "--show-values"]).expect_code(3);
    assert!(
        said.stdout.contains(r"= E'bell\u0007 esc\u001b[31m del\u007f nel\u0085 ls\u2028"),
        "{}",
        said.stdout
    );
    cut_over(&shop, Some("2026-01-01T00:00:00.000Z"));
    let said = shop.xtask(&["repair", "--show-values"]).expect_code(3);
    assert!(said.stdout.contains(r"status is E'x\n; DROP TABLE"), "{}", said.stdout);
    is_harmless("conflicts", &said);
    cut_over(&shop, None);
    for arguments in [&["migrate", "--replace"][..], &["import"], &["plan"], &["doctor"]] {
        let said = shop.xtask(arguments).expect_code(4);
        is_harmless(&arguments.join(" "), &said);
    }
    is_harmless("the run", &shop.xtask(&["repair", "--apply", "--show-values"]).expect_code(3));
    is_harmless("status", &shop.xtask(&["status"]).expect_code(0));
}

/// All that must not be seen: tokens that are nothing else, addresses and numbers of users, by what they are.
async fn secrets(shop: &Shop) -> BTreeMap<String, String> {
    let query = "SELECT session_token, 'a token' FROM user_sessions s
                 WHERE length(session_token) > 7 AND NOT EXISTS (SELECT FROM users WHERE firebase_uid = session_token)
                 UNION ALL SELECT email, 'an address' FROM users WHERE length(email) > 7
                 UNION ALL SELECT phone_number, 'a number' FROM users WHERE length(phone_number) > 7
                 UNION ALL SELECT tracking_number, 'a parcel' FROM orders WHERE length(tracking_number) > 12
                 UNION ALL SELECT transaction_id, 'a payment' FROM payments WHERE length(transaction_id) > 12";
    let rows = shop.source().await.rows(query).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[track_caller]
fn is_masked(case: &str, said: &Said, secrets: &BTreeMap<String, String>) {
    for text in [&said.stdout, &said.stderr] {
        // Text that is quoted may be escaped.
        let found = secrets
            .iter()
            .find(|(value, _)| text.contains(value.as_str()) || text.contains(&format!("{value:?}")));
        assert_eq!(found, None, "{case}: {text}");
    }
}

#[tokio::test]
async fn what_customers_are_is_masked_unless_it_is_asked_for() {
    let shop = Shop::open(0).await;
    shop.source()
        .await
        .run(
            "ALTER TABLE user_sessions DROP CONSTRAINT user_sessions_session_token_key; \
             UPDATE user_sessions SET session_token = 'twiceTheSameToken' WHERE id IN (201, 202); \
             UPDATE user_sessions SET session_token = 'TEXTSESSION204' WHERE id = 203; \
             UPDATE user_sessions SET session_token = 'slash/inTheToken' WHERE id = 204; \
             UPDATE user_sessions SET session_token = 'textsession204' WHERE id = 205",
        )
        .await
        .unwrap();
    let mut secrets = secrets(&shop).await;
    assert!(secrets.len() > 100 && secrets.contains_key("slash/inTheToken"), "{secrets:?}");
    for arguments in [&["plan"][..], &["plan", "--json"], &["migrate"], &["verify"], &["status"]] {
        is_masked(&arguments.join(" "), &shop.xtask(arguments).expect_code(0), &secrets);
    }
    let said = shop.xtask(&["plan", "--json"]);
    for key in ["user_sessions 201", "user_sessions 202", "user_sessions 203, 205", "user_sessions 204"] {
        assert!(said.stdout.contains(key), "{key}: {}", said.stdout);
    }

    let mut order = shop.superuser(&shop.settings.order).await;
    let token = "plainSession1-9f86d081884c7d659a2feaa0";
    secrets.insert("strangersTokenOfASession".into(), "a token".into());
    secrets.insert("GladBrowser".into(), "of a session".into());
    secrets.insert("otherUidThanOurs".into(), "a uid".into());
    set(&shop, "user_sessions", "strangersTokenOfASession", &[("browser", "GladBrowser")]).await;
    set(&shop, "user_sessions", token, &[("session_token", token), ("browser", "GladBrowser")]).await;
    shop.firestore().await.delete("users", &["r9AuW4cZx2MnY8dSo1LeQg6ItK3h".to_string()]).await.unwrap();
    order
        .run(
            "UPDATE orders SET user_uid = 'otherUidThanOurs', tracking_number = 'x' WHERE id < 20; \
             DELETE FROM payments WHERE id IN (1, 201, 430)",
        )
        .await
        .unwrap();
    for arguments in [&["verify"][..], &["verify", "--json"], &["repair"], &["repair", "--json"]] {
        is_masked(&arguments.join(" "), &shop.xtask(arguments).expect_code(3), &secrets);
    }
    let said = shop.xtask(&["repair"]).expect_code(3);
    for words in [
        "-- customers' values are masked: --show-values shows them, --apply writes them whole\n",
        "\"user_uid\" = *** (28 characters)",
        "-- firestore user_sessions/(sha256 ",
        "\"session_token\":{\"stringValue\":\"*** (38 characters)\"}",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let said = shop.xtask(&["repair", "--show-values"]).expect_code(3);
    for words in
        [token, "strangersTokenOfASession", "GladBrowser", "\"user_uid\" = 'q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g'"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert!(!said.stdout.contains("are masked"), "{}", said.stdout);

    // Refusals, conflicts, and the errors of servers.
    is_masked("replace", &shop.xtask(&["migrate", "--replace"]).expect_code(4), &secrets);
    let shown = shop.xtask(&["migrate", "--replace", "--show-values"]).expect_code(4);
    assert!(shown.stderr.contains("strangersTokenOfASession"), "{}", shown.stderr);
    cut_over(&shop, Some("2026-01-01T00:00:00.000Z"));
    let said = shop.xtask(&["repair"]).expect_code(3);
    is_masked("conflicts", &said, &secrets);
    assert!(
        said.stdout.contains("user_uid is *** (16 characters), we wrote *** (28 characters)"),
        "{}",
        said.stdout
    );
    cut_over(&shop, None);
    order
        .run(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM NEW.user_uid::int; RETURN NEW; END$$; \
             CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION f()",
        )
        .await
        .unwrap();
    let said = shop.xtask(&["repair", "--apply"]).expect_code(1);
    secrets.insert("q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g".into(), "a uid".into());
    let error = Said { stdout: String::new(), ..said };
    is_masked("an error", &error, &secrets);
    assert!(error.stderr.contains("invalid input syntax for type integer"), "{}", error.stderr);
    order.run("DROP TRIGGER t ON orders; DROP FUNCTION f()").await.unwrap();
    secrets.remove("q8ZtV3bYw1LmX7cRn0KdPf5HsJ2g");
    is_masked("what is done", &shop.xtask(&["repair", "--apply"]).expect_code(0), &secrets);
    shop.xtask(&["verify"]).expect_code(0);

    // A row that is fixed in the source meets what somebody wrote in its place.
    shop.source()
        .await
        .run("UPDATE user_sessions SET session_token = 'slashNoMoreInIt' WHERE id = 204")
        .await
        .unwrap();
    set(&shop, "user_sessions", "slashNoMoreInIt", &[("browser", "GladBrowser")]).await;
    secrets.insert("slashNoMoreInIt".into(), "a token".into());
    for arguments in [&["replay"][..], &["replay", "--json"]] {
        let said = shop.xtask(arguments).expect_code(3);
        is_masked(&arguments.join(" "), &said, &secrets);
        assert!(said.stdout.contains("it is there, and we did not write it"), "{}", said.stdout);
    }
}
