//! `troubleshoot`: each fault of the guide's list, provoked on real servers, is named in one sentence with the command
//! that repairs it, which is then pasted.

use crate::places::Places;
use crate::support::{Said, Shop, assert_refused, binary};
use secrecy::ExposeSecret;
use sqlx::Row;
use xtask::model::Database;

/// Something was found: the first line, and what is beneath it.
#[track_caller]
fn found(case: &str, said: Said, first: &str, words: &[&str]) -> Said {
    assert_eq!(said.code, Some(3), "{case}: {}{}", said.stdout, said.stderr);
    let verdict = said.stdout.lines().next().unwrap();
    assert!(verdict.starts_with("✗ ") && verdict.contains(first), "{case}: {verdict}\n{}", said.stdout);
    for word in words {
        assert!(said.stdout.contains(word), "{case}: {word}: {}", said.stdout);
    }
    said
}

#[track_caller]
fn nothing(case: &str, said: Said, verdict: &str) {
    assert_eq!(said.code, Some(0), "{case}: {}{}", said.stdout, said.stderr);
    assert!(said.stdout.starts_with(&format!("✓ nothing found: {verdict}")), "{case}: {}", said.stdout);
}

struct Patient {
    shop: Shop,
    places: Places,
}

impl Patient {
    /// The command that was named first, pasted.
    #[track_caller]
    fn pasted(&self, said: &Said) -> Said {
        let command = said.stderr.lines().find_map(|line| line.strip_prefix("next: cargo xtask "));
        let mut tool = binary();
        tool.args(command.expect(&said.stderr).split_whitespace());
        for name in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY"] {
            tool.env(format!("{name}_PASSWORD"), self.shop.settings.source.password.expose_secret());
        }
        tool.env_remove("FIRESTORE_EMULATOR_HOST").output().unwrap().into()
    }

    async fn run(&self, database: Database, statement: &str) {
        self.shop.superuser(self.shop.settings.target(database)).await.run(statement).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_named_with_the_command_that_repairs_it() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    nothing("no run yet", places.run(&["troubleshoot"]), "3 of 5 issues were looked for");
    let no_run = places.run(&["troubleshoot", "sequences"]);
    assert_refused("no run yet", &no_run, &["there is no run with an export", "cargo xtask migrate"]);
    places.run(&["migrate"]).expect_code(0);
    let patient = Patient { shop, places };
    nothing("all is well", patient.places.run(&["troubleshoot"]), "5 of 5 issues were looked for");
    a_sequence_that_is_behind(&patient).await;
    a_row_that_is_missing(&patient).await;
    a_database_that_refuses(&patient).await;
    an_encoding_that_does_not_hold_every_text(&patient).await;
    an_emulator_that_is_not_there(&patient);
    nothing("all is well again", patient.places.run(&["troubleshoot"]), "5 of 5 issues were looked for");
}

async fn a_sequence_that_is_behind(patient: &Patient) {
    patient.run(Database::Order, "SELECT setval('orders_id_seq', 1)").await;
    let words = ["Sequence Values Not Updated: 1 found", "the next new row gets id 2", "repair --run 20"];
    found(
        "by itself",
        patient.places.run(&["troubleshoot", "sequences"]),
        "orders: the next new row",
        &words,
    );
    let all = found("among all", patient.places.run(&["troubleshoot"]), "orders: the next new row", &words);
    assert!(all.stdout.contains("✓ Services Can't Connect to Databases"), "{}", all.stdout);
    patient.pasted(&all).expect_code(0);
    nothing("repaired", patient.places.run(&["troubleshoot", "sequences"]), "1 of 1");
}

async fn a_row_that_is_missing(patient: &Patient) {
    let mut target = patient.shop.target(Database::Order).await;
    let id: i32 = target.row("SELECT max(id) FROM payments").await.unwrap().get(0);
    patient.run(Database::Order, &format!("DELETE FROM payments WHERE id = {id}")).await;
    let words =
        ["Data Mismatch After Migration: ", "payments: 1 missing of", &format!("id {id}"), "repair --run 20"];
    let said = patient.places.run(&["troubleshoot", "mismatch"]);
    let said = found("a row is missing", said, "payments: 1 missing of", &words);
    // The proof of it is what the quick look goes by.
    found("the proof says so", patient.places.run(&["troubleshoot"]), "payments: 1 missing of", &words);
    patient.pasted(&said).expect_code(0);
    nothing("repaired", patient.places.run(&["troubleshoot", "mismatch"]), "1 of 1");
}

async fn a_database_that_refuses(patient: &Patient) {
    let user = &patient.shop.settings.gateway.user;
    // The role that the shop is filled by is the superuser of its server, who can still let it in again.
    patient.run(Database::Gateway, "CREATE ROLE refused LOGIN PASSWORD 'x'").await;
    let as_refused = (format!("user = \"{user}\""), "user = \"refused\"".to_string());
    let at = patient.places.text.find("[targets.gateway]").unwrap();
    let part = patient.places.text[at..].split("[firestore]").next().unwrap();
    let other = part.replace(&as_refused.0, &as_refused.1);
    assert_ne!(part, other);
    let words = [
        "Services Can't Connect to Databases: 1 found",
        "check $GATEWAY_PASSWORD",
        "export GATEWAY_PASSWORD",
    ];
    let said = patient.places.run_with(part, &other, &["troubleshoot", "connectivity"]);
    found("another password", said, "gateway: the server refuses this user or password", &words);
    let port = format!("port = {}", patient.shop.settings.gateway.port);
    let said = patient.places.run_with(&port, "port = 1", &["troubleshoot"]);
    let words = ["pg_isready", "CSV Import Fails with Encoding Errors: 1 found", "cannot be asked"];
    let words = [&words[1..], &["Sequence Values Not Updated: 1 found"]].concat();
    found("nothing listens", said, "gateway: nothing listens at 127.0.0.1:1", &words);
}

async fn an_encoding_that_does_not_hold_every_text(patient: &Patient) {
    let create = |name: &str, encoding: &str| {
        format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    };
    patient.run(Database::Gateway, &create("latin", "LATIN1")).await;
    let name = format!("database = \"{}\"", patient.shop.settings.gateway.database);
    let said = patient.places.run_with(&name, "database = \"latin\"", &["troubleshoot", "encoding"]);
    let words = ["CSV Import Fails with Encoding Errors: 1 found", "UTF8 is needed", "CREATE DATABASE"];
    found("a target in LATIN1", said, "gateway: its encoding is LATIN1", &words);
    let mut source = patient.shop.superuser(&patient.shop.settings.source).await;
    source.run(&create("bytes", "SQL_ASCII")).await.unwrap();
    let name = format!("database = \"{}\"", patient.shop.settings.source.database);
    let said = patient.places.run_with(&name, "database = \"bytes\"", &["troubleshoot", "encoding"]);
    found(
        "a source in SQL_ASCII",
        said,
        "source: the source does not say which encoding",
        &["source_encoding = "],
    );
}

fn an_emulator_that_is_not_there(patient: &Patient) {
    let host = patient.shop.settings.firestore.emulator.clone().unwrap();
    let said = patient.places.run_with(&host, "127.0.0.1:1", &["troubleshoot", "firestore"]);
    let words =
        ["Firebase Import Fails: 1 found", "gcloud emulators firestore start --host-port=127.0.0.1:1"];
    found("no emulator", said, "firestore: ", &words);
}
