//! bench by the real binary on real servers, as small as it goes: every run is made, every row of the
//! table is in the JSON and on the page, and the page opens in a browser.

use crate::support::Said;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn bench(out: &Path, arguments: &[&str]) -> Command {
    let mut command = crate::support::binary();
    command.args(["bench", "--repeat", "1", "--out"]).arg(out).args(arguments);
    command
}

fn results(out: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(out.join("bench.json")).unwrap()).unwrap()
}

/// The runs that were made, each with its seconds.
fn runs(results: &Value) -> Vec<(String, f64)> {
    let runs = results["repetitions"][0]["runs"].as_object().unwrap();
    runs.iter().map(|(name, run)| (name.clone(), run["seconds"].as_f64().unwrap())).collect()
}

#[test]
fn everything_is_measured_and_shown() {
    let out = tempfile::tempdir().unwrap();
    // Scale 5: the smallest one that growth can be measured at would be too long; 0 has every hard row.
    let said: Said = bench(out.path(), &["--scale", "0"]).output().unwrap().into();
    let said = said.expect_code(0);
    let results = results(out.path());

    // The references are compared with our export by bench itself: it would have failed.
    let runs = runs(&results);
    let mut expected = vec![
        "count: count(*) of everything",
        "guide: backup",
        "guide: export",
        "guide: import",
        "ours: Firestore import",
        "ours: export + PostgreSQL import",
        "ours: migrate",
        "ours: moving the data",
        "ours: verify",
        "pipes: export + PostgreSQL import",
    ];
    let with_node = runs.iter().any(|(name, _)| name == "guide: firestore");
    if with_node {
        expected.insert(3, "guide: firestore");
    } else {
        assert!(said.stderr.contains("the guide's Firestore import is not measured"), "{}", said.stderr);
    }
    assert_eq!(runs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
    assert!(runs.iter().all(|(_, seconds)| *seconds > 0.0), "{runs:?}");

    let migrate = &results["repetitions"][0]["runs"]["ours: migrate"];
    for step in ["1 backup", "2 export", "3 firestore", "4 import", "5 verify"] {
        assert!(migrate["phases"][step].as_f64().unwrap() > 0.0, "{step}: {migrate}");
    }
    assert!(migrate["peak_memory"].as_u64().unwrap() > 1 << 20);
    for cpu in ["cpu", "children_cpu", "postgres_cpu", "emulator_cpu"] {
        assert!(migrate[cpu].as_f64().unwrap() > 0.0, "{cpu}: {migrate}");
    }

    let page = std::fs::read_to_string(out.path().join("bench.html")).unwrap();
    let figures = results["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 10);
    for figure in figures {
        let name = figure["name"].as_str().unwrap();
        let absent = figure["verdict"] == "absent";
        let needs_node = !with_node && (name.starts_with("Firestore") || name.starts_with("whole"));
        assert_eq!(absent, needs_node || figure["absent"].as_str().is_some(), "{figure}");
        assert!(said.stdout.contains(name), "{name} is not in the table");
        assert!(
            page.contains(&name.replace('\'', "&#39;")) || page.contains(name),
            "{name} is not on the page"
        );
    }
    // At this scale nothing is judged.
    assert!(results["not_judged"].as_str().unwrap().contains("scale"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

/// In headless Chromium: as the browser has it after loading, every row is there, and the console has no
/// error.
#[test]
#[ignore = "needs Chromium: cargo test --test bench -- --ignored"]
fn the_page_opens_in_a_browser() {
    let out = tempfile::tempdir().unwrap();
    let said: Said = bench(out.path(), &["--scale", "0", "--reference", "count"]).output().unwrap().into();
    said.expect_code(0);
    let (page, results) = (out.path().join("bench.html"), results(out.path()));
    let figures = results["figures"].as_array().unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("the program chromium runs");
    let said = Said::from(output).expect_code(0);
    assert!(!said.stderr.contains("CONSOLE"), "{}", said.stderr);
    assert_eq!(said.stdout.matches("<th scope=\"row\">").count() - runs_on(&said.stdout), figures.len());
    assert!(said.stdout.contains("<svg"));
}

fn runs_on(dom: &str) -> usize {
    dom.split_once("table class=\"runs\"").unwrap().1.matches("<th scope=\"row\">").count()
}

#[test]
fn what_was_not_asked_for_is_absent() {
    let out = tempfile::tempdir().unwrap();
    let said: Said =
        bench(out.path(), &["--scale", "0", "--reference", "count", "--json"]).output().unwrap().into();
    let said = said.expect_code(0).json();
    assert_eq!(said["figures"], results(out.path())["figures"]);
    let verdict = |start: &str| {
        let figures = said["figures"].as_array().unwrap();
        let found = figures.iter().find(|f| f["name"].as_str().unwrap().starts_with(start)).unwrap();
        found["verdict"].as_str().unwrap().to_string()
    };
    assert_eq!(verdict("Firestore import: faster"), "absent");
    assert_eq!(verdict("whole migrate"), "absent");
    assert_eq!(verdict("verification of all stores: time of count"), "shown");
    assert!(runs(&said).iter().all(|(name, _)| !name.starts_with("guide") && !name.starts_with("pipes")));
}

#[test]
fn without_node_the_guides_firestore_is_said_to_be_absent() {
    let out = tempfile::tempdir().unwrap();
    let bin = tempfile::tempdir().unwrap();
    // Everything that is on PATH but node and npm.
    for dir in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name != "node" && name != "npm" {
                let _ = std::os::unix::fs::symlink(entry.path(), bin.path().join(name));
            }
        }
    }
    let said: Said = bench(out.path(), &["--scale", "0", "--reference", "guide"])
        .env("PATH", bin.path())
        .output()
        .unwrap()
        .into();
    let said = said.expect_code(0);
    assert!(
        said.stderr.contains("Firestore import is not measured: node is not installed"),
        "{}",
        said.stderr
    );
    assert!(said.stdout.contains("absent: the guide's Firestore import"), "{}", said.stdout);
    let runs = runs(&results(out.path()));
    assert!(runs.iter().any(|(name, _)| name == "guide: import"));
    assert!(runs.iter().all(|(name, _)| name != "guide: firestore"));
}
