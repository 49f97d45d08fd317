//! The disk of the run directory fills up: the run ends with a message, nothing has been written to a
//! target, and once there is room it goes on.

use crate::support::{Said, Shop, assert_refused, binary};
use crate::tool::{everything, unshared};
use xtask::model::Database;
use xtask::sql;
use xtask::tables::{TABLES, of_database};

/// A small disk that is made larger afterwards: a tmpfs in a mount namespace of its own, so that it
/// goes with the processes that see it.
const SCRIPT: &str = r#"
    mount -t tmpfs -o size="$SIZE",mode=700 none "$RUNS" || exit 99
    "$XTASK" migrate --stack "$STACK" --backup-dir "$RUNS"
    echo "first: $?"
    mount -o remount,size=500m "$RUNS"
    [ -z "$RESUME" ] && exit 0
    "$XTASK" migrate --resume latest --stack "$STACK" --backup-dir "$RUNS"
    echo "second: $?"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_no_row() {
    let shop = Shop::open(1).await;
    let unshare = |size: &str, resume: &str| {
        let mut command = unshared();
        command.args(["sh", "-c", SCRIPT]);
        command.env("SIZE", size).env("RUNS", shop.runs.path()).env("STACK", shop.dir());
        command.env("XTASK", env!("CARGO_BIN_EXE_xtask")).env("RESUME", resume);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    };
    // During the dump, and during the export.
    for size in ["64k", "2m", "5m"] {
        let said = unshare(size, "");
        assert!(said.contains("first: 1"), "{size}: {said}");
        assert!(said.to_lowercase().contains("no space left"), "{size}: {said}");
        for database in Database::ALL {
            let mut connection = shop.target(database).await;
            for table in of_database(TABLES, database) {
                let there = connection.row(&sql::exists("public", table.name)).await.unwrap();
                assert!(!sqlx::Row::get::<bool, _>(&there, 0), "{size}: {}", table.name);
            }
        }
    }
    let said = unshare("5m", "yes");
    assert!(said.contains("first: 1") && said.contains("second: 0"), "{said}");
}

/// A medium that is read-only, or a place where there can be none: said before anything is begun.
#[tokio::test]
async fn a_place_that_cannot_be_written() {
    let shop = Shop::open(0).await;
    let before = everything(&shop).await;
    let script = "mount -t tmpfs -o ro none \"$RUNS\" && exec \"$@\"";
    for verb in ["migrate", "backup", "export"] {
        let wanted = shop.command(&[verb]);
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
        let mut nowhere = binary();
        nowhere.args([verb, "--backup-dir", "/proc/backups", "--stack"]).arg(shop.dir());
        let said: Said = nowhere.output().unwrap().into();
        assert_refused(verb, &said, &["no run can be kept in /proc/backups", "--backup-dir DIR"]);
    }
    assert_eq!(shop.directories(), 0, "no run");
    assert!(everything(&shop).await == before, "something has changed");
}
