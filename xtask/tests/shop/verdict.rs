//! What a command tells when it has ended: the verdict first and last, what matters in ten lines between, all of it with
//! `-v` and in the run's report.txt; in lines as wide as there is room.

use crate::support::{Said, Shop, binary};
use crate::tool::{Place, Tool};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use xtask::model::Database;

/// The tool on this shop's servers as a person calls it, with lines of so many columns.
fn command(shop: &Shop, arguments: &[&str], columns: usize) -> Command {
    let mut command = binary();
    command.args(arguments).arg("--stack").arg(shop.dir()).arg("--backup-dir").arg(shop.runs.path());
    command.env("COLUMNS", columns.to_string());
    command
}

fn tell(shop: &Shop, arguments: &[&str], columns: usize) -> Said {
    command(shop, arguments, columns).output().unwrap().into()
}

/// Without those that a slow machine adds: one for every ten seconds, and how long a phase took that had others between.
fn lines(said: &Said) -> usize {
    let slow = |line: &&str| {
        line.contains(" %  ") || line.contains("  under way for ") || line.starts_with("  done in ")
    };
    said.stdout.lines().count() + said.stderr.lines().filter(|line| !slow(line)).count()
}

/// The verdict, which is the first line and the last, with ten at most between.
#[track_caller]
fn verdict(said: &Said) -> String {
    let told: Vec<&str> = said.stdout.lines().collect();
    assert!(told.len() <= 12, "{}", said.stdout);
    assert_eq!(told[0], told[told.len() - 1], "{}", said.stdout);
    told[0].to_string()
}

/// The command to type next: the last line of all.
#[track_caller]
fn next(said: &Said) -> Vec<String> {
    let last = said.stderr.lines().rfind(|line| !line.starts_with("error: ")).unwrap();
    let next = last.strip_prefix("next: cargo xtask ").unwrap_or_else(|| panic!("{}", said.stderr));
    next.split(' ').map(String::from).collect()
}

/// No line is wider, but those that hold a single word or a command, which are not broken.
#[track_caller]
fn fits(said: &Said, columns: usize) {
    for line in said.stdout.lines().chain(said.stderr.lines()) {
        let whole = line.contains("cargo xtask ")
            || line.split_whitespace().count() < 2
            || line.starts_with("error: ");
        assert!(whole || line.chars().count() <= columns, "{} columns: {line}", line.chars().count());
    }
}

#[tokio::test]
async fn a_newcomers_rehearsal_is_25_lines() {
    let place = Place::new();
    let mut command = binary();
    command.args(["rehearse", "--scale", "1"]).env("TMPDIR", place.path()).env("XTASK_RUNTIME", "native");
    command.env("COLUMNS", "80");
    let said = Tool::start(command).ends_within(300).expect_code(0);
    assert!(lines(&said) <= 25, "{} lines\n{}{}", lines(&said), said.stdout, said.stderr);
    fits(&said, 80);
    let verdict = verdict(&said);
    assert!(verdict.starts_with("✓ PROVEN 50,702 rows = ") && verdict.ends_with(" s"), "{verdict}");
    for words in [
        "review_deleted 162, ",
        "quarantined  order_quarantined ",
        "11 kinds: ",
        "checks ok",
        "unchanged until",
        "--keep",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert_eq!(format!("{}{}", said.stdout, said.stderr).matches("hazards").count(), 1, "told once");
    for phase in ["Local servers: ", "Preflight: ", "Phases 1 and 2: ", "Phases 3 and 4: ", "Phase 5: "] {
        let line =
            said.stderr.lines().find(|line| line.starts_with(phase)).unwrap_or_else(|| panic!("{phase}"));
        assert!(line.ends_with(" s") || phase != "Phase 5: ", "{line}: how long it took");
    }
    place.assert_empty();
}

#[tokio::test]
async fn a_migration_tells_what_matters_and_keeps_the_rest() {
    let shop = Shop::open(1).await;
    let said = tell(&shop, &["migrate"], 80).expect_code(0);
    assert!(lines(&said) <= 25, "{} lines\n{}{}", lines(&said), said.stdout, said.stderr);
    fits(&said, 80);
    assert!(verdict(&said).starts_with("✓ PROVEN 50,702 rows = "));
    assert!(
        !said.stdout.contains("source =") && !said.stderr.contains(" × ") && !said.stderr.contains(" rows ")
    );
    let run = shop.latest().id().to_string();
    assert_eq!(next(&said)[..3], ["cutover", "--run", &run]);

    // What its details are is a command, complete.
    let details =
        said.stdout.lines().find_map(|line| line.strip_prefix("  details      cargo xtask ")).unwrap();
    let words: Vec<&str> = details.split(' ').collect();
    let report: Said = binary().args(&words).output().unwrap().into();
    let report = report.expect_code(0);
    for part in [
        "Not migrated",
        "Hazards in the source",
        "Remarks",
        "Checks",
        "Source",
        "Measured",
        "defaults for NULL",
        "peak memory",
    ] {
        assert!(report.stdout.contains(part), "{part}: {}", report.stdout);
    }

    // With -v all of it, and the same is in report.txt.
    let long = tell(&shop, &["migrate", "--replace", "-v"], 80).expect_code(0);
    fits(&long, 80);
    let kept = std::fs::read_to_string(shop.latest().file("report.txt")).unwrap();
    let kept: BTreeSet<&str> = kept.lines().collect();
    let gone: Vec<&str> = long.stdout.lines().filter(|line| !kept.contains(line)).collect();
    assert!(long.stdout.lines().count() > 100, "{}", long.stdout);
    let known = |line: &&str| {
        line.starts_with("✓ PROVEN ") || line.starts_with("run ") || line.trim_start().starts_with('/')
    };
    assert!(gone.iter().all(known), "not in report.txt: {gone:#?}");
    assert!(long.stderr.contains(" × ") && long.stderr.contains("export orders"), "{}", long.stderr);

    let said = tell(&shop, &["verify"], 80).expect_code(0);
    assert!(lines(&said) <= 12, "{} lines\n{}{}", lines(&said), said.stdout, said.stderr);
    assert!(verdict(&said).starts_with("✓ PROVEN 50,702 rows = "), "{}", said.stdout);
    fits(&said, 80);
    for quiet in [["verify", "-q"], ["-q", "verify"]] {
        let said = tell(&shop, &quiet, 200).expect_code(0);
        assert_eq!((said.stdout.lines().count(), said.stderr.lines().count()), (1, 1), "{}", said.stderr);
        assert!(
            said.stdout.starts_with("✓ PROVEN ") && said.stderr.starts_with("next: cargo xtask cutover ")
        );
    }
}

#[tokio::test]
async fn what_differs_comes_first_and_the_repair_is_next() {
    let shop = Shop::open(0).await;
    tell(&shop, &["migrate"], 80).expect_code(0);
    let mut order = shop.target(Database::Order).await;
    let damage = "UPDATE orders SET status = 'odd', tracking_number = 'a customer''s own' WHERE id IN (1, 2); \
                  DELETE FROM payments WHERE id = 1; DROP INDEX idx_orders_status";
    order.run(damage).await.unwrap();
    let said = tell(&shop, &["verify"], 80).expect_code(3);
    let told: Vec<&str> = said.stdout.lines().collect();
    assert!(told.len() <= 2 * 2 + 10 + 6 && lines(&said) <= 25, "{}", said.stdout);
    assert!(told[0].starts_with("✗ NOT PROVEN: 4 differ · "), "{}", said.stdout);
    assert_eq!(told[0], told[told.len() - 2], "its rows in a line of their own");
    assert_eq!(told[2..5], ["  ✗ orders: 2 different", "  ✗ payments: 1 missing", "  ✗ structure: 1 differ"]);
    for words in ["    orders id 1: ", "    payments id 1: is missing", "idx_orders_status"] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    assert!(!said.stdout.contains("own"), "masked: {}", said.stdout);
    let run = shop.latest().id().to_string();
    let next = next(&said);
    assert_eq!(next[..3], ["repair", "--run", &run]);
    let repair: Said = binary().args(&next).output().unwrap().into();
    let repair = repair.expect_code(3);
    assert!(repair.stdout.starts_with("-- ✗ TO REPAIR: 2 tables differ\n"), "{}", repair.stdout);
    let last = repair.stdout.lines().last().unwrap();
    assert_eq!(last, "-- ✗ 3 rows and documents to be changed; nothing has been");
    for columns in [60, 80, 200] {
        for arguments in [&["verify"][..], &["verify", "-v"], &["report"]] {
            let said = tell(&shop, arguments, columns);
            assert!(said.stdout.contains("✗ NOT PROVEN: 4 differ"), "{}", said.stdout);
            fits(&said, columns);
        }
    }
}

#[tokio::test]
async fn every_command_of_a_run_ends_with_a_verdict() {
    let shop = Shop::open(0).await;
    for (arguments, words) in [
        (&["backup"][..], "✓ BACKED UP "),
        (&["export"], "✓ EXPORTED "),
        (&["import"], "✓ IMPORTED, not verified yet: "),
        (&["verify"], "✓ PROVEN "),
        (&["replay"], "✓ NOTHING TO REPLAY: "),
        (&["repair", "--apply"], "-- ✓ NOTHING TO REPAIR"),
        (&["cutover"], "✓ CUT OVER run "),
        (&["rollback", "before-start", "--dry-run"], "Would go back (before-start)"),
        (&["rollback", "before-start"], "✓ run "),
    ] {
        let said = tell(&shop, arguments, 200).expect_code(0);
        assert!(said.stdout.starts_with(words), "{arguments:?}: {}", said.stdout);
        if arguments[0] != "repair" {
            verdict(&said);
        }
        next_or_nothing(&said, arguments);
        fits(&said, 200);
        // What a plan tells stands nowhere else.
        let details: Vec<&str> =
            said.stdout.lines().filter_map(|line| line.strip_prefix("  details      ")).collect();
        let wanted = usize::from(!arguments.contains(&"--dry-run"));
        assert_eq!(details.len(), wanted, "{arguments:?}: {}", said.stdout);
        for place in details {
            let is_there = place.starts_with("cargo xtask report --run ") || Path::new(place).is_file();
            assert!(is_there, "{arguments:?}: {place}");
        }
    }
    let kept = std::fs::read_to_string(shop.latest().file("report.txt")).unwrap();
    assert!(kept.starts_with("↩ TAKEN BACK (before-start)"), "{kept}");
    assert!(kept.contains("the new stores have received nothing"), "what it told: {kept}");
}

/// What takes long says so: `--replace` looks whether the targets hold only what a run wrote, and waits here for a table
/// that another session keeps locked.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_takes_long_is_not_silent() {
    let shop = Shop::open(0).await;
    tell(&shop, &["migrate"], 80).expect_code(0);
    let mut order = shop.target(Database::Order).await;
    order.run("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let mut tool = Tool::start(command(&shop, &["migrate", "--replace"], 80));
    tokio::task::block_in_place(|| {
        tool.wait_for_words("whether the targets hold only what a run");
        // Whatever it is at, it is said every ten seconds.
        tool.wait_for_words("  under way for 1");
    });
    order.run("ROLLBACK").await.unwrap();
    let said = tokio::task::block_in_place(|| tool.ends_within(120)).expect_code(0);
    assert!(lines(&said) <= 27, "{}{}", said.stdout, said.stderr);
    fits(&said, 80);
}

/// Each says what to type next, which is the last line.
#[track_caller]
fn next_or_nothing(said: &Said, arguments: &[&str]) {
    let last = said.stderr.lines().last().unwrap_or_default();
    assert!(last.starts_with("next: "), "{arguments:?}: {}", said.stderr);
}

/// On a terminal there is one bar for all of a phase, above those of the tables; elsewhere each phase has a line.
#[tokio::test]
async fn how_far_a_phase_is_shows_a_bar_on_a_terminal_and_a_line_elsewhere() {
    let shop = Shop::open(1).await;
    // So slow that the bars are seen.
    let typed = command(&shop, &["migrate", "--source-rate", "12"], 80);
    let words: Vec<&str> = [typed.get_program()]
        .into_iter()
        .chain(typed.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    script.stdin(std::process::Stdio::null()).env("TERM", "xterm").env("COLUMNS", "80");
    let screen = Tool::start(script).ends_within(120).expect_code(0).stdout;
    let whole = |line: &&str| line.contains(" % ") && line.contains('━') && line.contains(" left");
    let bars: Vec<&str> = screen.split(['\r', '\n']).filter(whole).collect();
    let (first, last) = (bars.first().expect(&screen), bars.last().unwrap());
    assert!(first.contains("about ") && last.contains("about "), "{first:?} {last:?}");
    let of_tables =
        screen.split(['\r', '\n']).filter(|line| line.contains("export ") && line.contains("eta "));
    assert!(of_tables.count() > 0, "{screen}");

    let said = tell(&shop, &["migrate", "--replace"], 80).expect_code(0);
    for phase in ["Preflight: ", "Phases 1 and 2: ", "Phases 3 and 4: ", "Phase 5: "] {
        assert_eq!(
            said.stderr.lines().filter(|line| line.starts_with(phase)).count(),
            1,
            "{phase}: {}",
            said.stderr
        );
    }
    assert!(!said.stderr.contains(['\r', '\x1b', '━']), "{}", said.stderr);
}
