//! The mistakes of 3 a.m., as a person makes them: each ends with the right exit code, and its first line says the
//! cause. Those that are tested elsewhere:
//!
//! | mistake | test |
//! |---|---|
//! | a typo in a key, a password in the file, a wrong database, a wrong port | `refusals`, `environments` |
//! | something else on that port, a server that falls silent | `silence`, `read_whole` |
//! | a typo in a command or flag | `command_line` |
//! | no java, no emulator | `native` |
//! | no PostgreSQL programs; client programs only; pg_dump older than the server | `programs` |
//! | disk too small, disk that fills up, read-only `--backup-dir` | `full_disk` |
//! | run id unknown, two runs at once, Ctrl-C in each phase | `refusals`, `resume`, `interruptions` |
//! | terminal closed, Ctrl-C twice, kill -9 while frozen | `freeze`, `interruptions` |
//! | a second local stack | `between` |
//! | doctor during a run | `doctor` |
//! | not root, sub-directory, `head`, NO_COLOR, CI, LANG=C | `command_line` |
//! | `--confirm` missing, wrong, or half | `environments` |
//! | migrate twice, source changed before the cut-over | `refusals`, `cutover` |

use crate::doctor::{ROLE, grant_all, role};
use crate::places::Places;
use crate::support::{Said, Shop, assert_refused, assert_words, binary, says};
use crate::tool::{Tool, everything};
use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The one line of an error, and no other beside it but the command to type next.
#[track_caller]
fn only_error<'s>(case: &str, said: &'s Said) -> &'s str {
    let lines: Vec<&str> = said.stderr.lines().filter(|line| !line.starts_with("next: ")).collect();
    let [line] = lines[..] else { panic!("{case}: {}{}", said.stdout, said.stderr) };
    line
}

/// Where the program is called, with a directory of its own for what it writes.
fn typed(there: &Path, arguments: &[&str]) -> Said {
    binary().args(arguments).current_dir(there).output().unwrap().into()
}

#[test]
fn a_wrong_word_is_the_first_line() {
    let dir = tempfile::tempdir().unwrap();
    for verb in [&["migrate"][..], &["doctor"], &["plan"], &["status"], &["config", "show"], &["verify"]] {
        let said = typed(dir.path(), &[verb, &["--env", "stagin"]].concat());
        let case = verb.join(" ");
        assert_refused(&case, &said, &[]);
        let line = only_error(&case, &said);
        let found = line.starts_with("error: refused: there is no environment `stagin`: ");
        assert!(found && line.contains("did you mean staging?"), "{case}: {line}");
    }
    fs::write(dir.path().join("mine.toml"), "").unwrap();
    let said = typed(dir.path(), &["migrate", "--env", "mine.toml"]);
    assert_refused("without ./", &said, &["no environment `mine.toml`", "for a file: --env ./mine.toml"]);
    // It is an empty file, which is known by its name: that is what the first line says.
    let said = typed(dir.path(), &["config", "show", "--env", "./mine.toml"]);
    assert_refused("a broken file", &said, &["mine.toml", "`source"]);

    for run in ["latest", "20260131_235959"] {
        let said = typed(dir.path(), &["verify", run]).expect_code(2);
        let tip = format!("tip: a run is named by its option: --run {run}");
        assert!(
            said.stderr.starts_with("error: unexpected argument") && said.stderr.contains(&tip),
            "{}",
            said.stderr
        );
    }
    let said = typed(dir.path(), &["rollback", "before-stat"]).expect_code(2);
    assert_words(&said, &["invalid value 'before-stat'", "'before-start'"]);
    let said = typed(dir.path(), &["verify", "--nonsense"]).expect_code(2);
    assert!(!said.stderr.contains("a run is named"), "{}", said.stderr);
}

/// What a server or the system says is told once, in a sentence; word for word with `-v`.
#[tokio::test]
async fn an_error_is_told_once() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    let before = everything(&shop).await;
    let wrong = |more: &[&str]| -> Said {
        let mut command = places.command_with("", "", &[&["migrate"], more].concat());
        command.env("ORDER_PASSWORD", "wrong").output().unwrap().into()
    };
    let once = |text: &str, words: &str| assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
    let said = wrong(&["-q"]);
    assert_refused("a password", &said, &["check $ORDER_PASSWORD: password authentication failed"]);
    once(&said.stderr, "password authentication failed");
    assert!(!said.stderr.contains("at line") && !said.stderr.contains("word for word"), "{}", said.stderr);
    let said = wrong(&["-v"]);
    assert_refused(
        "word for word",
        &said,
        &["  word for word: error returned from database: password", " at line "],
    );

    let host = format!("host = \"{}\"", shop.settings.order.host);
    let said = places.run_with(&host, "host = \"nowhere.invalid\"", &["migrate", "-q"]);
    let words = "no address is known for the host nowhere.invalid: is its name right?";
    assert_refused("a host", &said, &[words]);
    once(&said.stderr, words);
    assert!(!said.stderr.contains("lookup"), "{}", said.stderr);

    let emulator = shop.settings.firestore.emulator.as_deref().unwrap();
    let said = places.run_with(emulator, "nowhere.invalid:8080", &["migrate", "-q"]);
    assert_refused(
        "Firestore",
        &said,
        &["nowhere.invalid:8080 cannot be reached: ", "check that it is running"],
    );
    let said = places.run_with(emulator, "nowhere.invalid:8080", &["doctor"]).expect_code(4);
    let first: Vec<&str> = said.stdout.lines().take(2).collect();
    assert!(
        first[0] == "firestore" && first[1].starts_with("  ✗ reachable "),
        "the cause first: {}",
        said.stdout
    );
    for text in [&said.stdout, &said.stderr] {
        assert!(!text.contains("GrpcStatus") && !text.contains("iam"), "{text}");
    }
    assert_eq!(shop.directories(), 0, "no run");
    assert!(everything(&shop).await == before, "something has changed");
}

#[tokio::test]
async fn a_missing_grant_is_named_before_anything_is_dumped() {
    let shop = Shop::open(0).await;
    role(&shop).await;
    let places = Places::of(&shop, Some(ROLE));
    grant_all(&shop);
    let mut source = shop.superuser(&shop.settings.source).await;
    // One that is migrated, and one that is only in the backup.
    source.run("CREATE TABLE of_others (id integer); REVOKE SELECT ON payments FROM mover").await.unwrap();
    let before = everything(&shop).await;
    for verb in ["migrate", "backup", "export", "plan"] {
        let said = places.run(&[verb]);
        let words =
            ["cannot be read whole by mover", "GRANT SELECT ON TABLE public.payments TO mover;", "of_others"];
        assert_eq!(said.code, Some(4), "{verb}: {}{}", said.stdout, said.stderr);
        assert_words(&said, &words);
        assert!(!said.stderr.contains("LOCK TABLE"), "{verb}: {}", said.stderr);
        assert_eq!(shop.directories(), 0, "{verb}: no run");
    }
    assert!(everything(&shop).await == before, "something has changed");

    // Many of a kind are one line, with their count and the script that gives all.
    source.run("REVOKE SELECT ON ALL TABLES IN SCHEMA public FROM mover").await.unwrap();
    let said = places.run(&["doctor"]).expect_code(4);
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!((lines[0], said.stdout.matches("  ✗ ").count()), ("source", 1), "{}", said.stdout);
    assert!(lines[1].starts_with("  ✗ privileges ") && lines[1].contains(" are not met: "), "{}", lines[1]);
    assert!(lines[2].starts_with("    → psql ") && lines[2].ends_with("migrate_source.sql"), "{}", lines[2]);
    assert_eq!(lines[3], "  – not looked at: tables, catalogue (a privilege is missing)", "{}", said.stdout);
}

/// Everything under the directory of the runs.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        match entry.path().is_dir() {
            true => all.extend(files(&entry.path())),
            false => {
                all.insert(entry.path().display().to_string(), fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

/// The same servers under another name: whoever typed it means something else.
#[tokio::test]
async fn another_environments_run_is_left_alone() {
    let shop = Shop::open(0).await;
    let places = Places::of(&shop, None);
    places.run(&["migrate"]).expect_code(0);
    let run = shop.latest().id().to_string();
    let (stores, runs) = (everything(&shop).await, files(shop.runs.path()));
    let there = tempfile::tempdir().unwrap();
    fs::write(there.path().join("other.toml"), &places.text).unwrap();
    let other = |arguments: &[&str]| -> Said {
        let mut command = binary();
        command.args(arguments).arg("--env").arg(there.path().join("other"));
        command.arg("--backup-dir").arg(shop.runs.path());
        for name in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY"] {
            command.env(format!("{name}_PASSWORD"), shop.settings.source.password.expose_secret());
        }
        command.env_remove("FIRESTORE_EMULATOR_HOST").output().unwrap().into()
    };
    for verb in [
        &["verify", "--run"][..],
        &["repair", "--run"],
        &["repair", "--apply", "--run"],
        &["import", "--run"],
        &["replay", "--run"],
        &["cutover", "--run"],
        &["restore", "--into", "again", "--run"],
        &["migrate", "--resume"],
    ] {
        let case = verb.join(" ");
        let said = other(&[verb, &[&run]].concat());
        assert_refused(&case, &said, &[]);
        let line = only_error(&case, &said);
        assert!(
            line.starts_with(&format!("error: refused: run {run} is of environment `/")),
            "{case}: {line}"
        );
        assert!(!said.stderr.contains("next: "), "{case}: {}", said.stderr);
    }
    // `latest` is the newest of this environment, for who only reads, too.
    for verb in ["status", "report", "verify", "repair", "import", "cutover"] {
        let said = other(&[verb]);
        assert_refused(verb, &said, &[&format!("the newest, {run}, is of `/")]);
    }
    assert!(files(shop.runs.path()) == runs, "a file of the run has changed");
    assert!(everything(&shop).await == stores, "something has changed");
    says(&places.run(&["status"]).expect_code(0), &[&run, "done, and proven"]);
    says(&places.run(&["report"]).expect_code(0), &["✓ PROVEN", &run]);

    // What is refused of its own does not make it unfinished either.
    places.run(&["cutover"]).expect_code(0);
    let said = places.run(&["import"]);
    assert_refused("after the cut-over", &said, &["the services took over at"]);
    says(&places.run(&["status"]).expect_code(0), &["done, and proven"]);
}

#[tokio::test]
async fn limits_are_known_before_anything_is_begun() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    let plan = shop.xtask(&["plan", "--json"]).expect_code(0).json();
    let quarantined = plan["quarantined"].as_u64().unwrap();
    for verb in [&["migrate"][..], &["export"]] {
        let said = shop.xtask(&[verb, &["--max-quarantine", "3"]].concat()).expect_code(5);
        let found = format!("too many rows in quarantine: {quarantined} rows exceed the limit of 3 (users ");
        let out = format!("--max-quarantine {quarantined}. Nothing has been begun");
        assert_words(&said, &[&found, "Fix them in the source", &out]);
        assert!(!said.stderr.contains("  export "), "{}", said.stderr);
        assert_eq!(shop.directories(), 0, "no run");
    }
    // What it says next names the rows, and the other way out is one.
    let said = shop.xtask(&["migrate", "--max-quarantine", "3"]).expect_code(5);
    let named = run_next(&said).expect_code(5);
    says(&named, &["quarantined  uid_missing"]);
    assert_words(&named, &[&format!("next: cargo xtask migrate --max-quarantine {quarantined} --stack")]);
    assert!(everything(&shop).await == before, "something has changed");
    run_next(&named).expect_code(0);
}

/// The command that was said to be next, as it stands there.
#[track_caller]
fn next(said: &Said) -> Vec<String> {
    let mut lines = said.stderr.lines().filter_map(|line| line.strip_prefix("next: "));
    let line = lines.next_back().unwrap_or_else(|| panic!("nothing is next: {}{}", said.stdout, said.stderr));
    let at = line.find("cargo xtask ").unwrap_or_else(|| panic!("no command: {line}"));
    let command = line[at..].split("; ").next().unwrap();
    let words: Vec<String> = command.split(' ').skip(1).map(String::from).collect();
    let parsed = xtask::cli::command().try_get_matches_from(&words);
    assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    words
}

#[track_caller]
fn run_next(said: &Said) -> Said {
    binary().args(&next(said)[1..]).output().unwrap().into()
}

/// From the migration to the services' days: each next command is pasted as it is, and none leads in a circle.
#[tokio::test(flavor = "multi_thread")]
async fn each_next_command_can_be_pasted() {
    let shop = Shop::open(0).await;
    let place =
        [format!("--stack {}", shop.dir().display()), format!("--backup-dir {}", shop.runs.path().display())];
    let verb = |said: &Said| -> String {
        let words = next(said);
        let line = words.join(" ");
        place.iter().for_each(|part| assert!(line.contains(part), "{part}: {line}"));
        words[1].clone()
    };
    let plan = shop.xtask(&["plan"]).expect_code(0);
    assert_eq!(verb(&plan), "migrate");
    let migrated = run_next(&plan).expect_code(0);
    let run = shop.latest().id().to_string();
    assert_eq!(verb(&migrated), "cutover");
    let status = shop.xtask(&["status"]).expect_code(0);
    assert_eq!(verb(&status), "cutover");
    let verified = shop.xtask(&["verify"]).expect_code(0);
    assert_eq!(verb(&verified), "cutover");

    // A red one leads to what repairs it.
    shop.target(xtask::model::Database::Order).await.run("DELETE FROM payments WHERE id = 1").await.unwrap();
    let red = shop.xtask(&["verify"]).expect_code(3);
    let status = shop.xtask(&["status"]).expect_code(0);
    assert_eq!((verb(&red), verb(&status)), ("repair".to_string(), "repair".to_string()));
    run_next(&red).expect_code(3);
    shop.xtask(&["repair", "--apply"]).expect_code(0);

    let cut_over = run_next(&verified).expect_code(0);
    assert_eq!(verb(&cut_over), "smoke");
    let status = shop.xtask(&["status"]).expect_code(0);
    assert!(!status.stdout.contains("{\""), "{}", status.stdout);
    says(&status, &[" UTC", &format!("run {run} was cut over")]);
    // The proof is older than the cut-over.
    assert_eq!(verb(&status), "verify");
    let verified = run_next(&status).expect_code(0);
    assert_eq!(verb(&verified), "monitor");
    let status = shop.xtask(&["status"]).expect_code(0);
    assert_eq!(next(&status), next(&verified), "no circle");
    let looked = run_next(&verified);
    assert!(matches!(looked.code, Some(0 | 3)), "{}{}", looked.stdout, looked.stderr);

    // Commands in errors are complete, too.
    let said = shop.xtask(&["import"]).expect_code(4);
    let said_of_taken = shop.xtask(&["unfreeze"]).expect_code(4);
    let whole = format!("`cargo xtask unfreeze --run {run} {}`", place.join(" "));
    assert_words(&said_of_taken, &[&whole]);
    assert!(said.stderr.starts_with("latest: run "), "{}", said.stderr);
}

/// It is shown wherever somebody is about to go on, with the command that ends it, complete.
#[tokio::test]
async fn a_freeze_is_seen() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    for verb in ["status", "verify"] {
        let said = shop.xtask(&[verb]).expect_code(0);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("frozen"), "{verb}: {}", said.stderr);
    }
    shop.xtask(&["freeze"]).expect_code(0);
    let unfreeze = format!(
        "cargo xtask unfreeze --stack {} --backup-dir {}",
        shop.dir().display(),
        shop.runs.path().display()
    );
    for arguments in [
        &["status"][..],
        &["verify"],
        &["migrate", "--resume", shop.latest().id()],
        &["cutover", "--confirm", "wrong"],
    ] {
        let said = shop.xtask(arguments);
        let words =
            ["the source is frozen since 2", " UTC, by `freeze` of ", &format!("To undo it: `{unfreeze}`")];
        assert_words(&said, &words);
    }
    let json = shop.xtask(&["status", "--json"]).expect_code(0).json();
    assert!(json["frozen"]["at"].is_string(), "{json:#}");
    let undone: Vec<&str> = unfreeze.split(' ').skip(2).collect();
    Said::from(binary().args(undone).output().unwrap()).expect_code(0);
    let said = shop.xtask(&["status"]).expect_code(0);
    assert!(!said.stdout.contains("frozen"), "{}", said.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_interrupts_before_a_target_is_touched_is_told_so() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    // The run waits for it, before its export or in it.
    let mut holder = shop.superuser(&shop.settings.source).await;
    holder.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut migrate = Tool::start(shop.command(&["migrate"]));
    migrate.wait_for_words("Preflight");
    migrate.signal(Signal::SIGINT);
    let said = tokio::task::block_in_place(|| migrate.ends_within(30)).expect_code(6);
    assert_words(&said, &["error: interrupted\nno target was touched"]);
    holder.run("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
    assert!(everything(&shop).await == before, "something has changed");
}

/// A backup alone is enough to restore from it.
#[tokio::test]
async fn latest_is_a_backup_for_who_restores() {
    let shop = Shop::open(0).await;
    let said = shop.xtask(&["restore", "--into", "again", "--dry-run"]);
    assert_refused("none", &said, &["there is no run in"]);
    shop.xtask(&["backup"]).expect_code(0);
    let said = shop.xtask(&["restore", "--into", "again", "--dry-run"]).expect_code(0);
    assert_words(&said, &[&format!("latest: run {}", shop.latest().id())]);
    assert_refused("nothing to verify", &shop.xtask(&["verify"]), &["has no complete export"]);
}

/// A scenario that does not fit the state of the run names the one that does.
#[tokio::test]
async fn a_way_back_that_does_not_fit() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate"]).expect_code(0);
    let before = everything(&shop).await;
    for scenario in [&["after-start"][..], &["before-start"], &["service", "order"]] {
        let said = shop.xtask(&[&["rollback"], scenario, &["--dry-run"]].concat());
        assert_eq!(said.code, Some(4), "{scenario:?}: {}{}", said.stdout, said.stderr);
        assert_words(&said, &["has not been cut over", "`cargo xtask unfreeze --stack "]);
    }
    assert!(everything(&shop).await == before, "something has changed");
}

/// The table above does not name what is gone.
#[test]
fn every_row_names_a_test_that_is_there() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/shop");
    let text = fs::read_to_string(tests.join("mistakes.rs")).unwrap();
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("//! | ") && line.contains('`')).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let modules: Vec<&str> = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!modules.is_empty(), "{row}");
        for module in modules {
            assert!(tests.join(format!("{module}.rs")).is_file(), "{module}: {row}");
        }
    }
}
