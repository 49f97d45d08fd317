//! What is said of a run that is caught up with: how far its stores are behind the source, the rows of the newest pass,
//! and for how long a cut-over now would make the source read-only.

use crate::monitor::ON_ANY_MACHINE;
use crate::source::Elsewhere;
use crate::support::{Said, Shop, assert_refused, says};
use crate::tool::Tool;
use nix::sys::signal::Signal;
use serde_json::Value;
use std::fs;
use std::time::Duration;
use xtask::lab::faults::FirestoreFaults;
use xtask::run::manifest::NewestPass;
use xtask::shown::utc;

const CHANGE: &str = "UPDATE orders SET status = 'changed' WHERE id IN (1, 2)";
const EXPECTED: &str = "a cut-over now would make the source read-only for about ";

fn newest(shop: &Shop) -> NewestPass {
    shop.manifest().newest_pass.unwrap()
}

/// The same by a command's JSON.
#[track_caller]
fn is_newest(said: &Value, shop: &Shop, passes: u64, rows: u64) {
    let newest = newest(shop);
    assert_eq!(said["passes"], passes, "{said}");
    assert_eq!((&said["rows"], newest.rows), (&rows.into(), rows), "{said}");
    assert_eq!(
        (&said["as_of"], &said["ended"]),
        (&newest.as_of.clone().into(), &newest.ended.clone().into())
    );
    let (freeze, wanted) = (said["freeze"].as_f64().unwrap(), newest.freeze().unwrap());
    assert!((freeze - wanted).abs() < 1e-6, "{said}");
    let lag = said["lag"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&lag), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_sees_how_far_the_stores_are_behind_and_what_a_cut_over_would_take() {
    let shop = Shop::open(0).await;
    let there = Elsewhere::new(&shop, "postgres", ON_ANY_MACHINE);
    let xtask = |arguments: &[&str]| there.xtask(&shop, arguments);
    let status = || xtask(&["status", "--json"]).expect_code(0).json();
    let monitor = || xtask(&["monitor", "--json"]).expect_code(0).json();
    let plan = || xtask(&["plan", "--json"]).document()["result"]["freeze"].clone();
    assert_eq!(plan()["by_a_pass"], false, "{}", plan());
    assert!(plan()["seconds"].as_f64().unwrap() > 1.0, "{}", plan());
    xtask(&["migrate", "--quiet"]).expect_code(0);
    assert!(status()["caught_up"].is_null() && monitor()["caught_up"].is_null(), "nobody has caught up");
    assert_eq!(plan()["by_a_pass"], false);

    shop.source().await.run(CHANGE).await.unwrap();
    let said = xtask(&["catch-up"]).expect_code(0);
    says(&said, &[EXPECTED]);
    is_newest(&status()["caught_up"], &shop, 1, 2);
    is_newest(&monitor()["caught_up"], &shop, 1, 2);
    let first = newest(&shop);
    let parts = first.parts.unwrap();
    for seconds in [parts.look, parts.read, parts.compare, parts.write] {
        assert!(seconds > 0.0, "{parts:?}");
    }
    let rows: u64 = shop.manifest().export.unwrap().tables.values().map(|table| table.source_rows).sum();
    assert_eq!(first.source_rows, rows);
    let as_of = format!("the stores hold the source as of {}, ", utc(&first.as_of));
    let ended = format!("1 pass with changes; the last ended {}: 2 rows, ", utc(&first.ended));
    let said = xtask(&["status"]).expect_code(0);
    says(&said, &[&as_of, &ended, EXPECTED]);
    for line in said.stdout.lines().skip_while(|line| !line.contains(&as_of)) {
        assert!(line.chars().count() <= 80, "{line}");
    }

    // A pass that finds nothing brings the instant on, and a change that may come costs what it cost.
    says(&xtask(&["catch-up"]).expect_code(0), &["NOTHING HAS CHANGED", EXPECTED]);
    let second = newest(&shop);
    assert!(second.as_of > first.as_of, "{second:?}");
    let now = second.parts.unwrap();
    assert_eq!((now.compare, now.write), (parts.compare, parts.write));
    is_newest(&status()["caught_up"], &shop, 1, 0);
    assert_eq!(status()["next"], format!("cutover --run {}", shop.latest().id()));

    assert_eq!(plan()["by_a_pass"], true);
    let expected = second.freeze().unwrap();
    assert!((plan()["seconds"].as_f64().unwrap() - expected).abs() < 1e-6, "{} {expected}", plan());
    says(&xtask(&["plan"]), &["read-only, after catch-up", "by what the newest pass on these hosts took"]);
    as_it_is_measured(&shop, &there, &second);
    until_the_cut_over(&shop, &there);
}

/// In `monitor`'s text and in Prometheus' file, with a limit.
fn as_it_is_measured(shop: &Shop, there: &Elsewhere, newest: &NewestPass) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("xtask.prom");
    let watch = || there.xtask(shop, &["monitor", "--once", "--prometheus", file.to_str().unwrap()]);
    let said = watch().expect_code(0);
    let line = said.stdout.lines().find(|line| line.starts_with("ok   run ")).unwrap();
    assert!(line.contains(" behind, last pass 0 rows, freeze about "), "{line}");
    assert!(line.chars().count() <= 80, "{line}");
    let text = fs::read_to_string(&file).unwrap();
    let id = shop.latest().id().to_string();
    let instant: jiff::Timestamp = newest.as_of.parse().unwrap();
    for (metric, value) in [
        ("xtask_caught_up_timestamp_seconds", instant.as_microsecond() as f64 / 1e6),
        ("xtask_catch_up_passes", 1.0),
        ("xtask_catch_up_last_rows", 0.0),
        ("xtask_expected_freeze_seconds", newest.freeze().unwrap()),
    ] {
        let wanted = format!("{metric}{{run=\"{id}\"}} {value}\n");
        assert!(text.contains(&wanted), "{wanted} in {text}");
    }
    there.set_policy(&format!("{ON_ANY_MACHINE}catch_up_lag = [\"0s\", \"1d\"]\n"));
    let said = watch().expect_code(3);
    says(&said, &["warn run          catch_up          run ", ": its stores are ", " behind the source"]);
    there.set_policy(ON_ANY_MACHINE);
}

/// Nobody is behind any more once the services have taken over.
fn until_the_cut_over(shop: &Shop, there: &Elsewhere) {
    let xtask = |arguments: &[&str]| there.xtask(shop, arguments);
    assert_refused(
        "too short",
        &xtask(&["cutover", "--max-freeze", "0s"]),
        &["the source would be read-only for about ", "--max-freeze is 0.0 s", "Nothing has been frozen"],
    );
    let said: Said = xtask(&["cutover"]).expect_code(0);
    assert!(said.stderr.contains("the source will be read-only for about "), "{}", said.stderr);
    assert!(xtask(&["status", "--json"]).expect_code(0).json()["caught_up"].is_null());
    let watched = xtask(&["monitor", "--json"]).json();
    assert!(watched["caught_up"].is_null() && watched["run"].is_object(), "{watched}");
}

/// What a freeze leaves out is not expected of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_freeze_to_expect_is_without_the_count_of_documents() {
    let mut shop = Shop::open(0).await;
    let emulator = shop.settings.firestore.emulator.clone().unwrap();
    let proxy = FirestoreFaults::start(&emulator).await.unwrap();
    shop.settings.firestore.emulator = Some(proxy.address());
    let there = Elsewhere::new(&shop, "postgres", "");
    shop.settings.firestore.emulator = Some(emulator);
    let xtask = |arguments: &[&str]| tokio::task::block_in_place(|| there.xtask(&shop, arguments));
    xtask(&["migrate", "--quiet"]).expect_code(0);
    shop.source().await.run(CHANGE).await.unwrap();
    let (slow, collections) = (5.0, 2.0);
    proxy.slow_counts(Duration::from_secs_f64(slow));
    let passed = xtask(&["catch-up", "--json"]).expect_code(0).json()["passes"][0].clone();
    let (seconds, freeze) = (passed["seconds"].as_f64().unwrap(), passed["freeze"].as_f64().unwrap());
    let without = seconds - slow * collections;
    // Besides the pass: a second there and then, and a look that is shorter than the first.
    assert!(without > 0.0 && freeze < 1.0 + 1.5 * without, "{passed}");
}

/// A run of before, and one whose only pass was completed from its files.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_measured_is_not_said() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    shop.source().await.run(CHANGE).await.unwrap();
    shop.xtask(&["catch-up"]).expect_code(0);
    let manifest = shop.latest().file("manifest.json");
    let mut of_before: Value = serde_json::from_str(&fs::read_to_string(manifest).unwrap()).unwrap();
    of_before["newest_pass"]["parts"] = Value::Null;
    shop.latest().write("manifest.json", of_before.to_string()).unwrap();
    let said = shop.xtask(&["status"]).expect_code(0);
    says(&said, &["the stores hold the source as of "]);
    assert!(!said.stdout.contains(EXPECTED), "{}", said.stdout);
    of_before.as_object_mut().unwrap().remove("newest_pass").unwrap();
    shop.latest().write("manifest.json", of_before.to_string()).unwrap();
    let said = shop.xtask(&["status"]).expect_code(0);
    assert!(!said.stdout.contains("the stores hold the source"), "{}", said.stdout);
    // The next pass measures.
    says(&shop.xtask(&["catch-up"]).expect_code(0), &[EXPECTED]);
    says(&shop.xtask(&["status"]).expect_code(0), &[EXPECTED]);
}

/// Passes that somebody ends are gone on with by passes.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_interrupted_catch_up_is_catch_up() {
    let shop = Shop::open(0).await;
    shop.xtask(&["migrate", "--quiet"]).expect_code(0);
    let mut tool = Tool::start(shop.command(&["catch-up", "--follow"]));
    tool.wait_for("a pass", || shop.manifest().newest_pass.is_some());
    tool.signal(Signal::SIGINT);
    tool.ends_within(60).expect_code(6);
    let status = shop.xtask(&["status", "--json"]).expect_code(0).json();
    assert_eq!((&status["state"], &status["caught_up"]["passes"]), (&"failed".into(), &0.into()), "{status}");
    assert_eq!(status["next"], format!("catch-up --run {}", shop.latest().id()));
}
