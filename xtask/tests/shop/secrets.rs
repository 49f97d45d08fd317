//! No secret is seen: not in what is said, not in a listing of processes, not in a file that is left
//! behind; whatever the command, and however it ends.

use crate::by_hand::ByHand;
use crate::support::Said;
use crate::tool::Tool;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use xtask::model::Database;

/// In every secret, and in nothing else.
const CANARY: &str = "canary";

/// Looks at all processes again and again.
struct Listing {
    stop: Arc<AtomicBool>,
    /// Programs that have been seen.
    programs: Arc<Mutex<BTreeSet<String>>>,
    looking: JoinHandle<Vec<String>>,
}

impl Listing {
    fn begin() -> Listing {
        let stop = Arc::new(AtomicBool::new(false));
        let programs: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (until, seen) = (Arc::clone(&stop), Arc::clone(&programs));
        let looking = std::thread::spawn(move || {
            let mut leaks = BTreeSet::new();
            while !until.load(Ordering::Relaxed) {
                for line in crate::tool::command_lines().into_values() {
                    let program = line.split_whitespace().next().unwrap_or_default();
                    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
                    seen.lock().unwrap().insert(name.into_owned());
                    if line.contains(CANARY) {
                        leaks.insert(line);
                    }
                }
                std::thread::sleep(Duration::from_millis(3));
            }
            leaks.into_iter().collect()
        });
        Listing { stop, programs, looking }
    }

    fn end(self) -> (BTreeSet<String>, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let leaks = self.looking.join().unwrap();
        (self.programs.lock().unwrap().clone(), leaks)
    }
}

/// Every file below, with where it holds a secret.
fn files(dir: &Path, leaks: &mut Vec<String>) -> usize {
    let mut count = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += files(&path, leaks);
            continue;
        }
        count += 1;
        let bytes = fs::read(&path).unwrap();
        if bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
            leaks.push(path.display().to_string());
        }
    }
    count
}

/// A run that was killed in the middle, by kill -9.
fn killed(hand: &ByHand) -> Said {
    let mut tool = Tool::start(hand.command(&["migrate"], &hand.text()));
    tool.wait_for_words("Phases 3 and 4");
    tool.signal(Signal::SIGKILL);
    tool.ends_within(30)
}

/// Every command that has to do with a server, each way of ending.
async fn campaign(hand: &ByHand) -> Vec<(String, Said)> {
    let run = |arguments: &[&str], code: i32| (arguments.join(" "), hand.run(arguments).expect_code(code));
    let mut said = vec![
        run(&["config", "show"], 0),
        run(&["config", "show", "--json"], 0),
        run(&["doctor", "--freeze"], 0),
        run(&["plan"], 0),
        ("a kill".into(), killed(hand)),
        run(&["status", "--json"], 0),
        run(&["migrate", "--resume", "latest"], 0),
        run(&["migrate"], 4),
        run(&["doctor"], 4),
        run(&["plan"], 4),
    ];
    let product = hand.shop.settings.target(Database::Product);
    let mut product = hand.shop.superuser(product).await;
    product
        .run("DELETE FROM product_reviews WHERE id = (SELECT min(id) FROM product_reviews)")
        .await
        .unwrap();
    said.extend([
        run(&["verify"], 3),
        run(&["repair"], 3),
        run(&["repair", "--apply"], 0),
        run(&["replay", "--json"], 0),
        run(&["freeze"], 0),
        run(&["unfreeze"], 0),
        run(&["verify", "--json"], 0),
        run(&["cutover"], 0),
        run(&["status"], 0),
        run(&["export"], 0),
        run(&["backup"], 0),
    ]);
    said
}

/// Secrets that are wrong, and keys that cannot be used.
fn failures(hand: &ByHand) -> Vec<(String, Said)> {
    let mut said = Vec::new();
    let mut fails = |what: &str, command: &mut Command| {
        let one: Said = command.output().unwrap().into();
        assert_eq!(one.code, Some(4), "{what}: {}{}", one.stdout, one.stderr);
        said.push((what.to_string(), one));
    };
    let good = hand.text();
    fails("a wrong password", hand.command(&["export"], &good).env("PRODUCT_PASSWORD", "canary-wrong"));
    fails(
        "no such server",
        &mut hand.command(&["export"], &good.replacen("localhost", "nowhere.invalid", 1)),
    );
    let google = good.replacen("emulator = true", "emulator = false\ncredentials = \"key.json\"", 1);
    let google =
        google.lines().filter(|line| !line.starts_with("emulator_host")).collect::<Vec<_>>().join("\n");
    for (what, key) in [
        ("a key that is no JSON", "canary-key {".to_string()),
        ("a key that is cut off", r#"{"type": "service_account", "private_key": "canary-key", "#.to_string()),
        (
            "a key of another project",
            r#"{"type": "service_account", "project_id": "other", "private_key_id": "1", "private_key": "canary-key",
                "client_email": "me@other.iam.gserviceaccount.com", "client_id": "1"}"#
                .to_string(),
        ),
    ] {
        hand.write("key.json", &key);
        fails(what, &mut hand.command(&["export"], &google));
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_seen() {
    let hand = ByHand::open().await;
    let mut superuser = hand.shop.superuser(&hand.shop.settings.source).await;
    let grants = "ALTER DATABASE ecommerce_db OWNER TO migration; GRANT pg_signal_backend TO migration";
    superuser.run(grants).await.unwrap();
    superuser.close().await.unwrap();

    let listing = Listing::begin();
    let mut said = tokio::task::block_in_place(|| failures(&hand));
    said.extend(campaign(&hand).await);
    let (programs, leaks) = listing.end();
    assert!(leaks.is_empty(), "in the listing of processes: {leaks:?}");
    for program in ["xtask", "pg_dump", "pg_dumpall", "pg_restore"] {
        assert!(programs.contains(program), "{program} has not been seen: {programs:?}");
    }
    for (command, said) in &said {
        for text in [&said.stdout, &said.stderr] {
            assert!(!text.contains(CANARY), "{command}: {text}");
        }
    }
    let mut leaks = Vec::new();
    assert!(files(hand.shop.runs.path(), &mut leaks) > 50);
    assert!(leaks.is_empty(), "in files: {leaks:?}");

    // What this looks with does see one.
    let listing = Listing::begin();
    Command::new("sh").args(["-c", "sleep 0.3 # canary"]).status().unwrap();
    assert_eq!(listing.end().1.len(), 1);
    fs::write(hand.shop.runs.path().join("leak"), "a canary").unwrap();
    files(hand.shop.runs.path(), &mut leaks);
    assert_eq!(leaks.len(), 1);
}
