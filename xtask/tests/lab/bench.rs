//! bench by the real binary on real servers, as small as it goes: every run is made, every row of the
//! table is in the JSON and on the page, and the page opens in a browser.

use crate::support::{Said, assert_refused};
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
    // 0 has every hard row.
    let said: Said = bench(out.path(), &["--scale", "0"]).output().unwrap().into();
    let said = said.expect_code(0);
    let results = results(out.path());

    // The references are compared with our export by bench itself: it would have failed.
    let runs = runs(&results);
    let mut expected = vec![
        "count: heap count(*) of the source",
        "count: heap count(*) of the targets",
        "guide: backup",
        "guide: export",
        "guide: import",
        "ours: Firestore import",
        "ours: export + PostgreSQL import",
        "ours: migrate",
        "ours: plan",
        "ours: source check of the cut-over",
        "ours: verify",
        "ours: verify, PostgreSQL content alone",
        "ours: verify, references alone",
        "ours: verify, structure alone",
        "pipes: export + PostgreSQL import",
    ];
    let with_node = runs.iter().any(|(name, _)| name == "guide: firestore");
    if with_node {
        expected.insert(4, "guide: firestore");
    } else {
        assert!(said.stderr.contains("the guide's Firestore import is not measured"), "{}", said.stderr);
    }
    assert_eq!(runs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), expected);
    assert!(runs.iter().all(|(_, seconds)| *seconds > 0.0), "{runs:?}");

    let migrate = &results["repetitions"][0]["runs"]["ours: migrate"];
    for step in ["step_1_backup", "step_2_export", "step_3_firestore", "step_4_import", "step_5_verify"] {
        assert!(migrate["phases"][step].as_f64().unwrap() > 0.0, "{step}: {migrate}");
    }
    assert!(migrate["peak_memory"].as_u64().unwrap() > 1 << 20);
    for cpu in ["cpu", "children_cpu", "postgres_cpu", "emulator_cpu"] {
        assert!(migrate[cpu].as_f64().unwrap() > 0.0, "{cpu}: {migrate}");
    }

    for look in ["ours: verify, PostgreSQL content alone", "count: heap count(*) of the source"] {
        let passes = results["repetitions"][0]["runs"][look]["passes"].as_u64().unwrap();
        assert!((1..=5).contains(&passes), "{look}: {passes}");
    }
    figures_are_shown(&said, out.path(), with_node);
    figures_are_what_was_measured(&results, with_node);
    // At this scale nothing is judged.
    let why = "the scale is 0, floors are for 25; 1 repetitions, 5 are needed";
    assert_eq!(results["not_judged"], why);
    assert!(said.stdout.contains(why), "{}", said.stdout);
}

/// Every row of the table is in the terminal, in the JSON and on the page, which loads nothing.
#[track_caller]
fn figures_are_shown(said: &Said, out: &Path, with_node: bool) {
    let (results, page) = (results(out), std::fs::read_to_string(out.join("bench.html")).unwrap());
    let figures = results["figures"].as_array().unwrap();
    assert_eq!(figures.len(), 19);
    for figure in figures {
        let name = figure["name"].as_str().unwrap();
        let needs_node = ["Firestore", "whole migrate"].iter().any(|start| name.starts_with(start));
        let needs_size = name.contains("fifth");
        let absent = figure["verdict"] == "absent";
        assert_eq!(absent, (needs_node && !with_node) || needs_size, "{figure}");
        assert_eq!(absent, figure["absent"].is_string(), "{figure}");
        assert!(said.stdout.contains(name), "{name} is not in the table");
        assert!(
            page.contains(&name.replace('\'', "&#39;")) || page.contains(name),
            "{name} is not on the page"
        );
    }
    // Of wall time everybody can see on how many cores.
    let on = format!("wall on {} cores", results["machine"]["cores"]);
    let wall = figures.iter().filter(|figure| figure["name"].as_str().unwrap().contains("wall"));
    let wall: Vec<&str> = wall.map(|figure| figure["name"].as_str().unwrap()).collect();
    assert!(wall.len() == 4 && wall.iter().all(|name| name.contains(&on)), "{wall:?}");
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
}

/// Processor time is the program's, its children's and PostgreSQL's; the emulator's is nobody's.
#[track_caller]
fn figures_are_what_was_measured(results: &Value, with_node: bool) {
    let runs = &results["repetitions"][0]["runs"];
    let cpu = |run: &str| -> f64 {
        let parts = ["cpu", "children_cpu", "postgres_cpu"].map(|part| runs[run][part].as_f64().unwrap());
        parts.iter().sum()
    };
    let is = |start: &str, expected: f64| {
        let figures = results["figures"].as_array().unwrap();
        let figure = figures.iter().find(|f| f["name"].as_str().unwrap().starts_with(start)).unwrap();
        let median = figure["spread"]["median"].as_f64().unwrap();
        assert!((median - expected).abs() < 1e-9, "{expected}: {figure}");
    };
    if with_node {
        let guide = ["backup", "export", "firestore", "import"].map(|step| cpu(&format!("guide: {step}")));
        is("whole migrate, CPU", cpu("ours: migrate") / guide.iter().sum::<f64>());
    }
    let count = cpu("count: heap count(*) of the targets");
    is("verify again, PostgreSQL content alone", cpu("ours: verify, PostgreSQL content alone") / count);
    let count = cpu("count: heap count(*) of the source");
    is("source check of the cut-over", cpu("ours: source check of the cut-over") / count);
    let truth = runs["ours: migrate"]["phases"]["all_phases"].as_f64().unwrap();
    let predicted = runs["ours: plan"]["predicted"].as_f64().unwrap();
    is("prediction of plan, scale 0", predicted / truth);
}

/// Floors that nothing is judged by are no floors: said at once, not after half an hour.
#[test]
fn a_check_that_would_judge_nothing_is_refused() {
    let out = tempfile::tempdir().unwrap();
    let said: Said = bench(out.path(), &["--scale", "0", "--check"]).output().unwrap().into();
    assert_refused(
        "--check",
        &said,
        &["--check would judge nothing: the scale is 0", "1 repetitions, 5 are needed"],
    );
    assert!(!out.path().join("bench.json").exists());
    let said: Said = bench(out.path(), &["--check", "--reference", "count"]).output().unwrap().into();
    let said = said.expect_code(2);
    assert!(said.stderr.contains("--check") && said.stderr.contains("--reference"), "{}", said.stderr);
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

/// The smallest scale that can be divided by 5.
#[test]
fn what_was_not_asked_for_is_absent_and_growth_is_measured() {
    let out = tempfile::tempdir().unwrap();
    let said: Said =
        bench(out.path(), &["--scale", "5", "--reference", "count", "--json"]).output().unwrap().into();
    let said = said.expect_code(0).json();
    assert_eq!(said["figures"], results(out.path())["figures"]);
    let verdict = |start: &str| {
        let figures = said["figures"].as_array().unwrap();
        let found = figures.iter().find(|f| f["name"].as_str().unwrap().starts_with(start)).unwrap();
        found["verdict"].as_str().unwrap().to_string()
    };
    for absent in ["Firestore import", "whole migrate", "export + PostgreSQL import"] {
        assert_eq!(verdict(absent), "absent");
    }
    assert_eq!(verdict("prediction of plan, a twenty-fifth"), "absent");
    assert_eq!(verdict("verify, structure alone"), "shown");
    for judged in [
        "verify again",
        "source check",
        "migrate, CPU per row, scale 5 of scale 1's",
        "prediction of plan, scale 1",
    ] {
        assert!(["held", "missed"].contains(&verdict(judged).as_str()), "{judged}: {}", verdict(judged));
    }
    let rows = |run: &str| said["repetitions"][0]["runs"][run]["rows"].as_u64().unwrap();
    assert!(rows("ours: migrate") > 4 * rows("ours, a fifth: migrate"));
    let names = runs(&said).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert!(names.contains(&"ours, a fifth: plan".to_string()), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with("guide") && !name.starts_with("pipes")), "{names:?}");
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

/// Passes over what the shop has written meanwhile, more each time, and the cut-over.
#[test]
fn the_window_is_measured_while_the_shop_writes() {
    let mut command = crate::support::binary();
    let said: Said = command.args(["bench", "--live", "--scale", "0", "--json"]).output().unwrap().into();
    let found = said.expect_code(0).json();
    let windows = found["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 1, "{found}");
    let window = &windows[0];
    assert!(window["rows"].as_u64().unwrap() > 10_000, "{window}");
    let changed: Vec<u64> =
        window["passes"].as_array().unwrap().iter().map(|pass| pass["changed"].as_u64().unwrap()).collect();
    // After 30 seconds of writing there is more to bring over than after 2.
    assert!(changed.len() == 4 && changed[3] > changed[1] && changed[1] > 0, "{changed:?}");
    assert!(window["frozen"].as_f64().unwrap() > 0.0, "{window}");
    for when in ["without", "during_migrate", "during_passes"] {
        assert!(
            window[when]["p99"].as_f64().unwrap() >= window[when]["median"].as_f64().unwrap(),
            "{window}"
        );
        assert!(window[when]["median"].as_f64().unwrap() > 0.0, "{window}");
    }
}
