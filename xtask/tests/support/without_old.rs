//! What goes on once the old database has been decommissioned, and what is refused.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::Said;

/// They work on the old database.
const NEED_IT: [&[&str]; 16] = [
    &["doctor"],
    &["plan"],
    &["backup"],
    &["export"],
    &["import", "--run", "latest"],
    &["migrate"],
    &["migrate", "--dry-run"],
    &["migrate", "--resume", "latest"],
    &["repair", "--run", "latest"],
    &["replay", "--run", "latest"],
    &["freeze"],
    &["unfreeze"],
    &["cutover", "--run", "latest"],
    &["perf", "--run", "latest"],
    &["smoke", "--old"],
    &["rollback", "after-start", "--run", "latest", "--dry-run"],
];

/// Those that need it are refused, each in the same sentence, which has these words.
#[track_caller]
pub fn is_refused(xtask: impl Fn(&[&str]) -> Said, words: &[&str]) {
    for arguments in NEED_IT {
        let said = xtask(arguments);
        let told = format!("{arguments:?}: {}{}", said.stdout, said.stderr);
        assert_eq!(said.code, Some(4), "{told}");
        let line = said.stderr.lines().find(|line| line.starts_with("error: ")).expect(&told);
        assert!(words.iter().all(|word| line.contains(word)), "{told}");
    }
}

/// All others work as before.
#[track_caller]
pub fn goes_on(xtask: impl Fn(&[&str]) -> Said) {
    for (arguments, code) in [
        (&["verify", "--run", "latest"][..], 0),
        (&["verify", "--run", "latest", "--full"], 0),
        (&["status"], 0),
        (&["backup", "--target", "all"], 0),
        (&["report", "--run", "latest"], 0),
        (&["connectivity"], 0),
        (&["config", "show"], 0),
        (&["smoke", "--dry-run"], 0),
        (&["decommission", "--dry-run"], 0),
        (&["decommission"], 0),
        // Lines that only people know are open.
        (&["checklist"], 3),
    ] {
        let said = xtask(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {}{}", said.stdout, said.stderr);
        let frozen = ["is frozen", "cargo xtask unfreeze", "cargo xtask rollback"];
        let told = format!("{arguments:?}: {}{}", said.stdout, said.stderr);
        assert!(!frozen.iter().any(|word| told.contains(word)), "{told}");
    }
    let said = xtask(&["monitor", "--once"]);
    assert!(matches!(said.code, Some(0 | 3)), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("source        1 checks: dropped at "), "{}", said.stdout);
    let said = xtask(&["troubleshoot"]);
    assert!(!said.stdout.contains("  source: "), "{}", said.stdout);
}
