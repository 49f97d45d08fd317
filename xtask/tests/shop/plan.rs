//! The plan: it touches nothing, says what `migrate` then finds, and refuses what `migrate` refuses, in
//! the same words.

use crate::places::Places;
use crate::support::{Said, Shop};
use crate::tool::{Tool, everything};
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use xtask::model::Database;
use xtask::tables::schema;

/// Every file beneath a directory, with what it holds.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.insert(path.display().to_string(), Vec::new());
                found.extend(files(&path));
            }
            false => drop(found.insert(path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    found
}

#[tokio::test]
async fn nothing_is_touched_and_what_is_said_comes_true() {
    let shop = Shop::open(1).await;
    // A temporary directory of its own, in which nothing else goes on.
    let temporary = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| -> Said {
        shop.command(arguments).env("TMPDIR", temporary.path()).output().unwrap().into()
    };
    let before = (everything(&shop).await, files(shop.runs.path()), files(temporary.path()));
    let plan = run(&["plan", "--json"]).expect_code(0).json();
    let said = run(&["plan"]).expect_code(0);
    let dry: Vec<Said> = [["migrate", "-n"], ["migrate", "--dry-run"]].map(|a| run(&a).expect_code(0)).into();
    let after = (everything(&shop).await, files(shop.runs.path()), files(temporary.path()));
    assert!(after == before, "something has changed");

    for words in [
        "Not migrated",
        "user_deleted",
        "uid_not_an_id",
        "uid-not-an-id",
        "no prices in the environment",
        "Time",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
        assert!(dry.iter().all(|said| said.stdout.contains(words)), "{words}");
    }
    assert!(said.stderr.contains("nothing is touched") && said.stderr.contains("next: cargo xtask migrate"));

    let report = run(&["migrate", "--json"]).expect_code(0).json();
    assert!(plan["hazards"].as_array().unwrap().len() > 3);
    assert_eq!(plan["hazards"], report["hazards"]);
    for (planned, done) in plan["tables"].as_array().unwrap().iter().zip(report["tables"].as_array().unwrap())
    {
        assert_eq!(planned["table"], done["table"]);
        assert_eq!(planned["rows"], done["source_rows"], "{planned}");
        assert_eq!(planned["outcomes"]["rows"], done["outcomes"], "{planned}");
        assert!(planned["bytes"].as_u64().unwrap() > 0, "{planned}");
    }
    let migrated = |name: &str| {
        let tables = report["tables"].as_array().unwrap();
        tables.iter().find(|t| t["table"] == name).unwrap()["sums"]["migrated"].as_u64().unwrap()
    };
    assert_eq!(plan["documents"]["writes"], migrated("users") + migrated("user_sessions"));
    let written: u64 = files(shop.latest().path()).values().map(|f| f.len() as u64).sum();
    let needed = plan["disk"]["needed"].as_u64().unwrap();
    assert!(needed > written / 2, "{needed} for {written}");

    // Predicted and real stand side by side, in the manifest and in the report.
    let time = shop.manifest().time.unwrap();
    let real = time.real.unwrap();
    assert!(time.predicted.total() > 0.0 && real.export > 0.0 && real.import > 0.0 && real.verify > 0.0);
    for part in ["backup_and_export", "import", "verify", "all_phases"] {
        assert!(report["predicted"][part].as_f64().unwrap() > 0.0, "{part}: {}", report["predicted"]);
        assert!(report["seconds"][part].as_f64().unwrap() > 0.0, "{part}: {}", report["seconds"]);
    }
    // The next plan knows of it, and that it would be refused.
    let said = run(&["plan"]).expect_code(4);
    let earlier = |plan: &serde_json::Value| plan["timing"]["earlier_runs"].as_u64().unwrap();
    // Rehearsals that were noted beside the tool count as well.
    let known = (earlier(&plan) + 1).min(5);
    assert!(said.stdout.contains(&format!("corrected by what {known} earlier runs")), "{}", said.stdout);
    for words in ["migrate would be refused", "orders in order", "collection users"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert!(said.stderr.contains("migrate would be refused for"), "{}", said.stderr);
}

#[tokio::test]
async fn what_it_costs_and_what_migrate_would_refuse() {
    let shop = Shop::open(0).await;
    let mut places = Places::of(&shop, None);
    let prices = |writes: f64, max: f64| {
        format!(
            "max_cost = {max}\n[firestore.prices]\nwrites = {writes}\nreads = 0.0\ndeletes = 0.02\ncurrency = \"EUR\"\n\n[policy]\n"
        )
    };
    let documents =
        places.run(&["plan", "--json"]).expect_code(0).json()["documents"]["writes"].as_u64().unwrap();
    assert!(documents > 10);
    let dear = prices(100_000.0, documents as f64 - 0.5);
    let enough = prices(100_000.0, documents as f64 + 0.5);
    let before = everything(&shop).await;
    let said = places.run_with("\n[policy]\n", &dear, &["plan"]).expect_code(4);
    for words in [&format!("about {documents}.00 EUR")[..], "firestore.max_cost", "migrate would be refused"]
    {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    let runs = files(shop.runs.path());
    let said = places.run_with("\n[policy]\n", &dear, &["migrate"]).expect_code(4);
    for words in [&format!("cost about {documents}.00 EUR")[..], "Nothing has been changed", "raise it"] {
        assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
    }
    assert!(files(shop.runs.path()) == runs, "a run has begun");
    // From the files of an export, too.
    places.run(&["export"]).expect_code(0);
    for arguments in [&["import"][..], &["migrate", "--resume", shop.latest().id()]] {
        let said = places.run_with("\n[policy]\n", &dear, arguments).expect_code(4);
        assert!(said.stderr.contains("firestore.max_cost"), "{}", said.stderr);
    }
    assert!(everything(&shop).await == before, "something has changed");

    let said = places.run_with("\n[policy]\n", &enough, &["plan", "--max-quarantine", "0"]).expect_code(5);
    assert!(said.stdout.contains("too many rows in quarantine"), "{}", said.stdout);
    let quarantined = places.run(&["plan", "--json"]).json()["quarantined"].as_u64().unwrap();
    for (allowed, code) in [(quarantined - 1, 5), (quarantined, 0)] {
        let allowed = ["plan", "--max-quarantine", &allowed.to_string()];
        places.run_with("\n[policy]\n", &enough, &allowed).expect_code(code);
    }
    places.run_with("\n[policy]\n", &enough, &["plan"]).expect_code(0);
    places.text = places.text.replacen("\n[policy]\n", &enough, 1);
    places.run(&["migrate"]).expect_code(0);
    // It would be paid for twice.
    let said = places.run(&["import"]).expect_code(4);
    assert!(said.stderr.contains(&format!("cost about {}.00 EUR", 2 * documents)), "{}", said.stderr);
    // What is written again counts once, what is there is deleted.
    let said = places.run(&["migrate", "--replace", "-n", "--json"]).expect_code(0).json();
    assert_eq!(
        (&said["documents"]["deletes"], &said["documents"]["writes"]),
        (&documents.into(), &documents.into())
    );
}

/// The hazards as a person reads them.
fn hazards(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("  ✗ ") || line.starts_with("  ! ")).collect()
}

#[tokio::test]
async fn hazards_stand_there_as_in_the_refusal_and_so_does_what_accepts_them() {
    let shop = Shop::open(0).await;
    let mut source = shop.source().await;
    source.run("ALTER TABLE orders ADD COLUMN gift_note text; ALTER TABLE payments DROP CONSTRAINT payments_pkey").await.unwrap();
    let said = shop.xtask(&["plan"]).expect_code(4);
    let refused = shop.xtask(&["migrate"]).expect_code(4);
    let accept = "accept it where it says so: --accept column-extra --accept key-missing";
    assert!(refused.stderr.contains(accept), "{}", refused.stderr);
    assert!(said.stdout.contains("2 hazards block") && said.stdout.contains(accept), "{}", said.stdout);
    for line in hazards(&refused.stderr) {
        assert!(said.stdout.contains(line), "{line}: {}", said.stdout);
    }
    assert_eq!(hazards(&refused.stderr).len(), 3, "{}", refused.stderr);
    assert!(hazards(&said.stdout).len() > 5, "{}", said.stdout);
    let accepted = ["plan", "--accept", "column-extra", "--accept", "key-missing"];
    let said = shop.xtask(&accepted).expect_code(0);
    assert!(said.stdout.contains("! column-extra") && said.stdout.contains("accepted"), "{}", said.stdout);

    // Where nothing can be counted the refusal is all that there is to say.
    source.run("ALTER TABLE users DROP COLUMN login_count").await.unwrap();
    let (plan, migrate) = (shop.xtask(&["plan"]).expect_code(4), shop.xtask(&["migrate"]).expect_code(4));
    assert!(plan.stderr.contains("✗ column-missing"), "{}", plan.stderr);
    assert_eq!(hazards(&plan.stderr), hazards(&migrate.stderr));
    let json = shop.xtask(&["plan", "--json"]).expect_code(4).document();
    let hazard = &json["result"]["hazards"][0]["name"];
    assert_eq!((&json["verdict"], hazard), (&"refused".into(), &"column-missing".into()));
}

/// Nobody waits without end for a table that somebody keeps to himself, and it is said who does.
#[tokio::test]
async fn a_table_that_is_locked_is_a_refusal_that_names_who_holds_it() {
    let shop = Shop::open(0).await;
    let mut holder = shop.superuser(&shop.settings.source).await;
    let pid: i32 = holder.row("SELECT pg_backend_pid()").await.unwrap().get(0);
    holder.run("BEGIN; LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let arguments = [&["plan"][..], &["migrate"]];
    let mut started: Vec<Tool> = arguments.iter().map(|a| Tool::start(shop.command(a))).collect();
    for tool in started.drain(..) {
        let said = tool.ends_within(60).expect_code(4);
        for words in [
            "is locked",
            &format!("process {pid} of postgres"),
            "keeps everybody out of payments",
            "xtask test",
        ] {
            assert!(said.stderr.contains(words), "{words}: {}", said.stderr);
        }
    }
    holder.run("ROLLBACK").await.unwrap();
    // Of a target, too.
    let mut holder = shop.superuser(&shop.settings.gateway).await;
    let ours = schema(Database::Gateway).text;
    holder.run(&format!("SET ROLE gateway_user; {ours}; RESET ROLE")).await.unwrap();
    holder.run("BEGIN; LOCK TABLE api_logs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let doctor = Tool::start(shop.command(&["doctor"]));
    let said = shop.xtask(&["plan"]).expect_code(4);
    let words = ["a table of gateway", "keeps everybody out of api_logs"];
    words.iter().for_each(|w| assert!(said.stderr.contains(w), "{w}: {}", said.stderr));
    let said = doctor.ends_within(60).expect_code(4);
    words.iter().for_each(|w| assert!(said.stdout.contains(w), "{w}: {}", said.stdout));
    holder.run("ROLLBACK").await.unwrap();
    shop.xtask(&["plan"]).expect_code(0);
}
