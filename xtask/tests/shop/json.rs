//! `--json`: one document for each call, however it ends, as docs/json.schema.json says. What other tests see of it
//! is checked where they read it (`support/schema.rs`).

use crate::support::{Said, Shop, binary, schema};
use crate::tool::Place;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

fn xtask(arguments: &[&str]) -> Said {
    binary().args(arguments).output().unwrap().into()
}

/// The documents of a call that prints one on each line.
#[track_caller]
fn lines(said: &Said) -> Vec<Value> {
    let documents: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for document in &documents {
        assert_eq!(schema::wrong(document), Vec::<String>::new(), "{document}");
    }
    documents
}

/// `config show`, `stack up`, …, `verify`: every command that can be typed, with arguments that it needs.
fn every_command() -> Vec<(String, Vec<String>)> {
    let needed = |command: &str| match command {
        "restore" => vec!["--into", "elsewhere"],
        "rollback" => vec!["before-start"],
        "completions" => vec!["bash"],
        "checklist done" => vec!["stakeholders", "--by", "somebody"],
        "checklist undo" => vec!["stakeholders"],
        "checklist services" => vec!["--dir", "."],
        "bench-part" => vec!["rows"],
        // Both refuse before they do anything.
        "bench" => vec!["--check", "--scale", "0"],
        "stack logs" => vec!["no-such-server"],
        "stack run" => vec!["--", "verify"],
        _ => vec![],
    };
    let mut all = Vec::new();
    for command in xtask::cli::command().get_subcommands().filter(|c| c.get_name() != "help") {
        let below: Vec<&str> =
            command.get_subcommands().map(|below| below.get_name()).filter(|name| *name != "help").collect();
        let name = command.get_name().to_string();
        // Some do something without one of theirs, too: `checklist`.
        let alone = below.is_empty() || !command.is_subcommand_required_set();
        let names = alone.then(|| name.clone()).into_iter();
        let names = names.chain(below.iter().map(|below| format!("{name} {below}")));
        for name in names {
            let mut words: Vec<String> = name.split(' ').map(String::from).collect();
            words.push("--json".into());
            words.extend(needed(&name).into_iter().map(String::from));
            all.push((name, words));
        }
    }
    all
}

#[test]
fn every_command_prints_one_document_where_it_is_refused() {
    let place = Place::new();
    let commands = every_command();
    assert!(commands.len() > 35, "{commands:?}");
    // These ask for no environment, or for no file of one.
    let without =
        ["completions", "man", "rehearse", "stack down", "stack logs", "stack run", "report", "status"];
    let mut refused = 0;
    for (name, words) in &commands {
        // An environment that there is not: nothing is begun.
        let at = if name == "stack run" { 3 } else { words.len() };
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.splice(at..at, ["--env", "nowhere"]);
        // Nor is there an engine: `stack run` would begin something of this checkout's.
        let mut command = place.command(&words);
        let said = Said::from(command.env("DOCKER_HOST", "unix:///nowhere").output().unwrap());
        let document = said.document();
        assert_eq!(document["command"], **name, "{}", said.stdout);
        if document["verdict"] == "refused" {
            refused += 1;
            let cause = document["error"]["cause"].as_str().unwrap();
            assert!(said.stderr.contains(cause), "{name}: {cause:?} is not in {}", said.stderr);
        } else {
            assert!(without.contains(&name.as_str()), "{name}: {}", said.stdout);
        }
    }
    assert!(refused > 25, "only {refused} were refused");
    place.assert_empty();
}

#[test]
fn the_schema_describes_the_result_of_every_command() {
    let described: BTreeSet<String> = schema::described().into_iter().collect();
    // For ourselves; what `stack run` prints is the document of the command that it starts.
    let left_out = ["bench", "bench-part", "chaos", "stack run"].map(String::from);
    let all: BTreeSet<String> = every_command().into_iter().map(|(name, _)| name).collect();
    let expected: BTreeSet<String> = all.into_iter().filter(|name| !left_out.contains(name)).collect();
    assert_eq!(described, expected);
}

#[test]
fn what_the_schema_does_not_allow_is_seen() {
    let good = json!({
        "format": 1, "command": "freeze", "verdict": "done", "exit": 0, "error": null, "next": null,
        "result": { "source": "s", "frozen": true, "did": [] },
    });
    assert_eq!(schema::wrong(&good), Vec::<String>::new());
    let with = |key: &str, value: Value| {
        let mut document = good.clone();
        document[key] = value;
        document
    };
    let without = |key: &str| {
        let mut document = good.clone();
        document.as_object_mut().unwrap().remove(key);
        document
    };
    for (what, document) in [
        ("another format", with("format", json!(2))),
        ("an unknown key", with("state", json!("ok"))),
        ("no next", without("next")),
        ("a verdict that is none", with("verdict", json!("fine"))),
        ("done with exit code 1", with("exit", json!(1))),
        ("done with an error", with("error", json!({ "cause": "x", "details": [] }))),
        ("done without a result", with("result", Value::Null)),
        ("a result without a key", with("result", json!({ "source": "s", "frozen": true }))),
        ("a text for a truth", with("result", json!({ "source": "s", "frozen": "yes", "did": [] }))),
        (
            "a heading for a key",
            with("result", json!({ "source": "s", "frozen": true, "did": [], "as of": 1 })),
        ),
        ("an exit code that is not told of it", {
            let mut document = with("exit", json!(5));
            document["verdict"] = json!("quarantine");
            document["error"] = json!({ "cause": "x", "details": [] });
            document
        }),
    ] {
        assert!(!schema::wrong(&document).is_empty(), "{what}");
    }
}

#[test]
fn usage_errors_are_documents_too() {
    let said = xtask(&["verify", "latest", "--json"]).expect_code(2);
    let document = said.document();
    assert_eq!((&document["verdict"], &document["command"]), (&json!("usage"), &json!("verify")));
    assert_eq!(document["error"]["cause"], "unexpected argument 'latest' found");
    assert!(document["error"]["details"].to_string().contains("--run latest"), "{document}");
    assert!(said.stderr.contains("Usage: cargo xtask verify"), "{}", said.stderr);
    assert_eq!(xtask(&["--json"]).expect_code(2).document()["command"], Value::Null);
    assert_eq!(xtask(&["--json", "stack", "sideways"]).expect_code(2).document()["command"], "stack");
    // Of the command that is to run inside.
    assert_eq!(xtask(&["stack", "run", "--nonsense", "--", "--json"]).expect_code(2).stdout, "");
    assert_eq!(xtask(&["verify", "surplus"]).expect_code(2).stdout, "", "no JSON was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_end_is_one_document() {
    let shop = Shop::open(0).await;
    let limit = shop.xtask(&["migrate", "--json", "--max-quarantine", "0"]).expect_code(5).document();
    assert_eq!(limit["verdict"], "quarantine");
    let done = shop.xtask(&["migrate", "--json"]).expect_code(0).document();
    let run = done["result"]["run"].as_str().unwrap().to_string();
    let next = done["next"].as_str().unwrap();
    assert!(next.contains(&format!("cutover --run {run}")) && next.contains("--stack"), "{next}");
    for part in ["backup_and_export", "import", "verify", "all_phases"] {
        assert!(done["result"]["seconds"][part].is_f64(), "{part}: {}", done["result"]["seconds"]);
    }
    for arguments in [
        &["report", "--json"][..],
        &["report", "--json", "--format", "html"],
        &["report", "--json", "--check"],
        &["report", "--json", "--compare", &run],
        &["plan", "--json"],
        &["migrate", "--replace", "--dry-run", "--json"],
        &["smoke", "--dry-run", "--json"],
        &["verify", "--json"],
        &["repair", "--json"],
        &["replay", "--json"],
        &["backup", "--json"],
        &["export", "--json"],
        &["rollback", "before-start", "--json", "--dry-run"],
        &["backup", "--target", "all", "--dry-run", "--json"],
        &["freeze", "--json"],
        &["unfreeze", "--json"],
        &["stack", "logs", "--json"],
    ] {
        let said = shop.xtask(arguments);
        let document = said.document();
        assert!(matches!(said.code, Some(0 | 4)), "{arguments:?}: {}{}", said.stdout, said.stderr);
        let command = document["command"].as_str().unwrap();
        assert!(arguments.join(" ").starts_with(command), "{arguments:?}: {command}");
    }
    let mut order = shop.target(xtask::model::Database::Order).await;
    order.run("UPDATE orders SET status = 'damaged' WHERE id = (SELECT min(id) FROM orders)").await.unwrap();
    let red = shop.xtask(&["verify", "--json", "--run", &run]).expect_code(3).document();
    assert_eq!((&red["verdict"], &red["result"]["proven"]), (&json!("differs"), &json!(false)));
    let repair = shop.xtask(&["repair", "--json", "--run", &run]).expect_code(3).document();
    assert!(repair["next"].as_str().unwrap().contains("repair --run"), "{repair}");
    assert_eq!(repair["result"]["changes"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_followed_is_a_document_on_each_line_and_an_interruption_is_one() {
    let shop = Shop::open(1).await;
    let mut migrate = crate::tool::Tool::start(shop.command(&["migrate", "--json"]));
    migrate.wait_for_words("Phases 1 and 2");
    let follow = crate::tool::Tool::start(shop.command(&["status", "--follow", "--json"]));
    migrate.wait_for_words("Phases 3 and 4");
    migrate.signal(Signal::SIGINT);
    let said = migrate.ends_within(60).expect_code(6);
    let document = said.document();
    assert_eq!(document["verdict"], "interrupted");
    assert!(document["next"].as_str().unwrap().contains("migrate --resume"), "{document}");
    let followed = follow.ends_within(60).expect_code(0);
    let lines = lines(&followed);
    let (last, before) = lines.split_last().unwrap();
    assert!(
        !before.is_empty() && before.iter().all(|line| line["verdict"] == "running"),
        "{}",
        followed.stdout
    );
    assert_eq!((&last["verdict"], &last["result"]["state"]), (&json!("done"), &json!("failed")));
}

/// The shell asks the tool itself: environments are files, runs are directories.
#[test]
fn bash_completes_environments_and_runs() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    for run in ["20260101_010101", "20260102_010101"] {
        fs::create_dir_all(runs.join(run)).unwrap();
        fs::write(runs.join(run).join("manifest.json"), "{}").unwrap();
    }
    fs::create_dir_all(runs.join("20260103_010101")).unwrap();
    let script = dir.path().join("bash");
    fs::write(&script, xtask(&["completions", "bash"]).expect_code(0).stdout).unwrap();
    let completed = |line: &str| crate::command_line::completed(&script, line);
    assert_eq!(completed("xtask migrate --env sta"), ["staging"]);
    assert_eq!(completed("xtask doctor --env p"), ["production"]);
    let place = format!("--backup-dir {}", runs.display());
    // The one without a manifest is no run.
    assert_eq!(
        completed(&format!("xtask verify {place} --run ''")),
        ["latest", "20260102_010101", "20260101_010101"]
    );
    assert_eq!(completed(&format!("xtask migrate {place} --resume l")), ["latest"]);
}

#[test]
fn every_command_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man");
    let said = xtask(&["man", "--dir", pages.to_str().unwrap()]).expect_code(0);
    assert!(said.stdout.contains("xtask.1"), "{}", said.stdout);
    for (name, _) in every_command().iter().filter(|(name, _)| name != "bench-part") {
        let page = fs::read_to_string(pages.join(format!("xtask-{}.1", name.replace(' ', "-")))).unwrap();
        assert!(page.contains(".TH") && page.contains("\\-\\-env"), "{name}: {page}");
    }
    assert!(xtask(&["man"]).expect_code(0).stdout.contains(".SH SYNOPSIS"));
    let taken = dir.path().join("file");
    fs::write(&taken, "").unwrap();
    let said = xtask(&["man", "--dir", taken.to_str().unwrap()]);
    crate::support::assert_refused("a file", &said, &["name a directory with --dir DIR"]);
}
