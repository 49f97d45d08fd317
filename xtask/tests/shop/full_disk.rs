//! The disk of the run directory fills up: the run ends with a message, nothing has been written to a
//! target, and once there is room it goes on.

use crate::support::{Said, Shop, assert_refused, binary};
use crate::tool::{everything, unshared};
use xtask::model::Database;
use xtask::sql;
use xtask::tables::{TABLES, of_database};

/// A small disk that fills up once the run has begun: a tmpfs in a mount namespace of its own, so that it goes with
/// the processes that see it. Nothing else tells that a run has begun than its manifest.
const SCRIPT: &str = r#"
    mount -t tmpfs -o size=64m,mode=700 none "$RUNS" || exit 99
    "$XTASK" migrate --stack "$STACK" --backup-dir "$RUNS" &
    until [ -n "$(ls "$RUNS"/*/"$BEGUN" 2>/dev/null)" ] || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
    dd if=/dev/zero of="$RUNS/ballast" bs=64k 2>/dev/null
    wait $!
    echo "first: $?"
    rm "$RUNS/ballast"
    [ -z "$RESUME" ] && exit 0
    "$XTASK" migrate --resume latest --stack "$STACK" --backup-dir "$RUNS"
    echo "second: $?"
"#;

/// The disk is too small from the beginning.
const SMALL: &str = r#"
    mount -t tmpfs -o size="$SIZE",mode=700 none "$RUNS" || exit 99
    "$XTASK" $VERB --stack "$STACK" --backup-dir "$RUNS"
    echo "first: $?"
    echo "runs: $(ls "$RUNS" | wc -l)"
"#;

fn on_its_own_disk(shop: &Shop, script: &str, variables: &[(&str, &str)]) -> String {
    let mut command = unshared();
    command.args(["sh", "-c", script]).envs(variables.iter().copied());
    command.env("RUNS", shop.runs.path()).env("STACK", shop.dir());
    command.env("XTASK", env!("CARGO_BIN_EXE_xtask"));
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_no_row() {
    let shop = Shop::open(1).await;
    // Before the dump, and during it.
    for begun in ["manifest.json", "full_backup.dump"] {
        let said = on_its_own_disk(&shop, SCRIPT, &[("BEGUN", begun), ("RESUME", "")]);
        assert!(said.contains("first: 1"), "{begun}: {said}");
        let place = shop.runs.path().display().to_string();
        let full =
            format!("the disk of {place} is full: begin again in another directory, `cargo xtask migrate");
        for words in ["No space left on device", &full, "--backup-dir DIR", "or make room there, then"] {
            assert!(said.contains(words), "{begun}: {words}: {said}");
        }
        assert!(!said.contains("next: ") && !said.contains("os error"), "{begun}: {said}");
        for database in Database::ALL {
            let mut connection = shop.target(database).await;
            for table in of_database(TABLES, database) {
                let there = connection.row(&sql::exists("public", table.name)).await.unwrap();
                assert!(!sqlx::Row::get::<bool, _>(&there, 0), "{begun}: {}", table.name);
            }
        }
    }
    let said = on_its_own_disk(&shop, SCRIPT, &[("BEGUN", "manifest.json"), ("RESUME", "yes")]);
    assert!(said.contains("first: 1") && said.contains("second: 0"), "{said}");
}

/// What `plan` knows is refused before a run is begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_too_small() {
    let shop = Shop::open(1).await;
    let before = everything(&shop).await;
    for (size, verb) in [("2m", "migrate"), ("5m", "export"), ("5m", "plan")] {
        let said = on_its_own_disk(&shop, SMALL, &[("SIZE", size), ("VERB", verb)]);
        let place = shop.runs.path().display().to_string();
        let found = format!("{place} has ");
        for words in
            ["first: 4", "runs: 0", &found, " bytes free, and the run's files may need ", "--backup-dir DIR"]
        {
            assert!(said.contains(words), "{verb}: {words}: {said}");
        }
        assert!(!said.contains("No space left"), "{verb}: {said}");
    }
    assert!(everything(&shop).await == before, "something has changed");
}

/// A medium that is read-only, or a place where there can be none: said before anything is begun.
#[tokio::test]
async fn a_place_that_cannot_be_written() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    let script = "mount -t tmpfs -o ro none \"$RUNS\" && exec \"$@\"";
    for verb in ["migrate", "backup", "export"] {
        let wanted = shop.command(&[verb, "--quiet"]);
        let mut command = unshared();
        command.args(["sh", "-c", script, "sh"]).arg(wanted.get_program()).args(wanted.get_args());
        let read_only: Said = command.env("RUNS", shop.runs.path()).output().unwrap().into();
        let place = shop.runs.path().display().to_string();
        let words = [
            "no run can be kept in",
            &place,
            "--backup-dir DIR",
            "Read-only file system",
            "Nothing has been changed",
        ];
        assert_refused(verb, &read_only, &words);
        assert!(!read_only.stderr.contains("os error"), "{}", read_only.stderr);
        let mut nowhere = binary();
        nowhere.args([verb, "--backup-dir", "/proc/backups", "--stack"]).arg(shop.dir());
        let said: Said = nowhere.output().unwrap().into();
        assert_refused(verb, &said, &["no run can be kept in /proc/backups", "--backup-dir DIR"]);
    }
    assert_eq!(shop.directories(), 0, "no run");
    assert!(everything(&shop).await == before, "something has changed");
}
