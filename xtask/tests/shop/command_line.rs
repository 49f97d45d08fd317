//! The command line as a person or a script meets it: help, exit codes, what goes to stdout and what
//! to stderr, the local servers by themselves, and the files of a backup put to use.

use crate::support::{Said, Shop};
use crate::tool::{Place, Tool};
use datapath::digest::Digest;
use secrecy::ExposeSecret;
use sqlx::Row;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use xtask::effects::postgres;
use xtask::servers::native::{self, Connections};
use xtask::source::digests;
use xtask::sql;

fn xtask(arguments: &[&str]) -> Said {
    crate::support::binary().args(arguments).output().unwrap().into()
}

#[test]
fn help_and_usage() {
    let help = xtask(&["--help"]).expect_code(0).stdout;
    for line in [
        "0  done",
        "1  failed",
        "2  usage",
        "3  verification differs",
        "4  refused",
        "5  more rows",
        "6  interrupted",
        "130, 143",
    ] {
        assert!(help.contains(line), "{line}: {help}");
    }
    for verb in [
        "rehearse",
        "stack",
        "config",
        "doctor",
        "plan",
        "backup",
        "export",
        "import",
        "migrate",
        "status",
        "verify",
        "smoke",
        "restore",
        "completions",
    ] {
        assert!(help.contains(&format!("  {verb} ")), "{verb}: {help}");
        let own = xtask(&[verb, "--help"]).expect_code(0).stdout;
        assert!(
            own.contains("--env") && own.contains(&format!("Usage: cargo xtask {verb}")),
            "{verb}: {own}"
        );
        assert!(own.contains(&format!("Example: cargo xtask {verb}")), "{verb}: {own}");
    }
    // One line for each command, on a narrow terminal, too.
    let list = help.split_once("Commands:\n").unwrap().1.split("\n\n").next().unwrap();
    assert_eq!(
        list.lines().count(),
        xtask::cli::about().len(),
        "bench-part is hidden, help is added: {list}"
    );
    for line in list.lines() {
        assert!(line.starts_with("  ") && !line.starts_with("   ") && line.len() <= 80, "{line}");
    }
    let said = xtask(&["verify", "latest"]).expect_code(2).stderr;
    assert!(said.contains("tip: a run is named by its option: --run latest"), "{said}");
    let said = xtask(&["chaos", "--stack", "/tmp"]).expect_code(2).stderr;
    assert!(said.contains("tip: --stack means nothing for `chaos`: leave it out"), "{said}");
    for wrong in [
        &[][..],
        &["migrat"],
        &["migrate", "--scale", "1"],
        &["migrate", "--jobs", "many"],
        &["doctor", "--max-quarantine", "1"],
        &["plan", "--dry-run"],
        &["migrate", "--max-quarantine", "-1"],
        &["rehearse", "--scale", "-1"],
        &["verify", "-q", "-v"],
        &["verify", "surplus"],
        &["stack"],
        &["stack", "sideways"],
        &["config"],
        &["migrate", "--firestore-rate", "fast"],
        // Common options where they mean nothing.
        &["chaos", "--stack", "/tmp"],
        &["bench", "--backup-dir", "/tmp"],
        &["completions", "bash", "--jobs", "2"],
        &["rehearse", "--stack", "/tmp"],
        &["plan", "--confirm", "ecommerce_db"],
        &["status", "--firestore-rate", "100"],
        &["doctor", "--show-values"],
        &["freeze", "--max-diffs", "3"],
    ] {
        let said = xtask(wrong).expect_code(2);
        assert_eq!(said.stdout, "", "{wrong:?}");
        assert!(
            said.stderr.contains("--help") || said.stderr.contains("Usage"),
            "{wrong:?}: {}",
            said.stderr
        );
    }
}

#[tokio::test]
async fn data_on_stdout_and_progress_on_stderr() {
    let shop = Shop::open(0).await;
    let backup = shop.xtask(&["backup", "--json"]).expect_code(0).json();
    assert!(backup["files"]["full_backup.dump"]["bytes"].as_u64().unwrap() > 0);
    a_backup_put_to_use(&shop).await;

    let export = shop.xtask(&["export", "--json"]).expect_code(0);
    assert!(export.stderr.contains("Phases 1 and 2"), "{}", export.stderr);
    let run = export.json()["run"].as_str().unwrap().to_owned();
    assert_eq!(export.json()["proven"], serde_json::Value::Null);
    let import = shop.xtask(&["import", "--json", "--run", &run]).expect_code(0);
    assert_eq!(import.json()["run"], run.as_str());
    let verify = shop.xtask(&["verify", "--json", "-q"]).expect_code(0);
    assert_eq!(verify.json()["proven"], true);
    assert_eq!(verify.stderr, "", "-q");

    // For people: the result on stdout, the next command on stderr.
    let verify = shop.xtask(&["verify"]).expect_code(0);
    assert!(verify.stdout.contains("source =") && verify.stdout.contains(&run), "{}", verify.stdout);
    assert!(!verify.stdout.contains("Phase 5") && verify.stderr.contains("Phase 5"));
    assert!(verify.stderr.contains("next: "), "{}", verify.stderr);
    let quiet = shop.xtask(&["-q", "verify"]).expect_code(0);
    let (told, next) = (quiet.stdout.lines().count(), quiet.stderr.lines().count());
    assert!(
        (told, next) == (1, 1) && quiet.stdout.starts_with("✓ PROVEN ") && quiet.stderr.starts_with("next: ")
    );
    for arguments in [&["verify"][..], &["verify", "-v"], &["--help"], &["verify", "--run", "unknown"]] {
        let said: Said = shop.command(arguments).env("NO_COLOR", "1").output().unwrap().into();
        assert!(!said.stdout.contains('\x1b') && !said.stderr.contains('\x1b'), "{arguments:?}");
    }

    // On a terminal: bars and colours, and no colours with NO_COLOR.
    let colours = on_a_terminal(shop.command(&["verify"]), None);
    assert!(colours.contains("\x1b[1mPhase 5"), "{colours:?}");
    let plain = on_a_terminal(shop.command(&["verify"]), Some("1"));
    assert!(plain.contains("Phase 5") && !plain.contains("\x1b[1m"), "{plain:?}");

    // Who follows a run sees it drawn again in its place; in a pipe it is lines.
    let followed = on_a_terminal(shop.command(&["status", "--follow"]), None);
    assert!(followed.starts_with("\x1b[H") && followed.contains("done, and proven"), "{followed:?}");
    let followed = shop.xtask(&["status", "--follow"]).expect_code(0).stdout;
    assert!(followed.starts_with("run ") && followed.contains("done, and proven"), "{followed:?}");

    // A reader that goes away is no failure of the command.
    let mut command = shop.command(&["verify"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said: Said = child.wait_with_output().unwrap().into();
    assert_eq!((said.code, said.stderr.contains("panicked")), (Some(0), false), "{}", said.stderr);

    // Red: the report all the same, and exit code 3. `next` of the green one was typed as it stood.
    let mut order = shop.target(xtask::model::Database::Order).await;
    order.run("UPDATE orders SET status = 'damaged' WHERE id = (SELECT min(id) FROM orders)").await.unwrap();
    let red = shop.xtask(&["verify", "--json"]).expect_code(3);
    assert_eq!(red.json()["proven"], false);
    assert!(red.stderr.contains("error: verification differs"), "{}", red.stderr);
}

/// What the command writes to a terminal.
fn on_a_terminal(command: Command, no_color: Option<&str>) -> String {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap().to_owned())
        .collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]).stdin(Stdio::null());
    script.env("TERM", "xterm").env_remove("NO_COLOR").envs(no_color.map(|value| ("NO_COLOR", value)));
    let said: Said = script.output().unwrap().into();
    said.expect_code(0).stdout
}

async fn raw(connection: &mut postgres::Connection, table: &str, shop: &Shop) -> Digest {
    let hash = shop.manifest().backup.unwrap().snapshot.hash;
    let (schema, table) = table.split_once('.').unwrap();
    let columns = digests::columns(connection, schema, table).await.unwrap();
    let row =
        connection.row(&sql::digest(schema, table, "ONLY ", &hash.of_row("t", &columns))).await.unwrap();
    Digest::new(row.get(0), row.get(1)).unwrap()
}

/// Counts that are right, SQL that restores to the same contents, roles without passwords.
async fn a_backup_put_to_use(shop: &Shop) {
    let (run, backup) = (shop.latest(), shop.manifest().backup.unwrap());
    let text = |name: &str| fs::read_to_string(run.file(name)).unwrap();
    let mut source = shop.source().await;
    let counts = text("record_counts.txt");
    let mut counted = 0;
    for line in counts.lines().skip(2) {
        let (table, count) = line.split_once('|').unwrap();
        let query = format!("SELECT count(*) FROM {}", table.trim());
        let found: i64 = source.row(&query).await.unwrap().get(0);
        assert_eq!(count.trim(), found.to_string(), "{line}");
        counted += 1;
    }
    assert_eq!(counted, 10, "{counts}");
    let globals = text("globals.sql");
    assert!(
        globals.contains("CREATE ROLE postgres") && !globals.to_uppercase().contains("PASSWORD"),
        "{globals}"
    );
    assert!(!globals.contains("SCRAM-SHA"), "{globals}");
    let schema = text("schema_only.sql");
    assert!(schema.contains("CREATE TABLE public.orders") && !schema.contains("COPY "), "{schema}");

    source.run("CREATE DATABASE scratch").await.unwrap();
    let mut server = shop.settings.source.clone();
    server.database = "scratch".into();
    let bindir = native::postgres_bindir().unwrap();
    let psql = Command::new(bindir.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--host=127.0.0.1"])
        .arg(format!("--port={}", server.port))
        .args(["--username=postgres", "--dbname=scratch", "--file"])
        .arg(run.file("full_backup.sql"))
        .env("PGPASSWORD", server.password.expose_secret())
        .output()
        .unwrap();
    Said::from(psql).expect_code(0);
    let mut scratch = postgres::connect(&server, "test").await.unwrap();
    assert!(
        backup.raw.contains_key("public.schema_migrations"),
        "what is not migrated is in the backup, too"
    );
    for (table, expected) in &backup.raw {
        let found = raw(&mut scratch, table, shop).await;
        assert_eq!(&found, expected, "{table}");
    }
    scratch.close().await.unwrap();
    source.run("DROP DATABASE scratch").await.unwrap();
}

/// The commands that were printed for connecting, each run as it stands.
fn connect_as_printed(printed: &str) {
    let export = printed.lines().find(|line| line.starts_with("export PGPASSFILE=")).unwrap();
    let psql: Vec<&str> = printed.lines().filter(|line| line.starts_with("psql ")).collect();
    assert_eq!(psql.len(), 4, "{printed}");
    assert!(printed.contains("export FIRESTORE_EMULATOR_HOST=127.0.0.1:"), "{printed}");
    for line in psql {
        let database = line.split_whitespace().last().unwrap();
        let script = format!("{export}\n{line} --no-psqlrc -At -c 'SELECT current_database()'");
        let said: Said = Command::new("sh").args(["-c", &script]).output().unwrap().into();
        assert_eq!(said.expect_code(0).stdout.trim(), database, "{line}");
    }
}

fn kept_in(place: &Place) -> Connections {
    let [dir] = &place.stacks()[..] else { panic!("one stack, not {:?}", place.stacks()) };
    Connections::read(dir).unwrap()
}

#[test]
fn a_kept_rehearsal() {
    let (place, runs) = (Place::new(), tempfile::tempdir().unwrap());
    let runs_dir = runs.path().to_str().unwrap();
    let kept = ["rehearse", "--scale", "0", "--keep", "--backup-dir", runs_dir];
    let said = place.start(&kept).ends_within(60).expect_code(0);
    let stack = kept_in(&place);
    let dir = stack.dir.to_str().unwrap();
    assert!(said.stderr.contains("the servers are still running"), "{}", said.stderr);
    connect_as_printed(&said.stderr);

    let next = said.stderr.lines().find_map(|line| line.strip_prefix("next: cargo xtask ")).unwrap();
    let (verify, down) = next.split_once("; at the end: cargo xtask ").unwrap();
    let words: Vec<&str> = verify.split_whitespace().chain(["--stack", dir]).collect();
    place.start(&words).ends_within(60).expect_code(0);
    let words: Vec<&str> = down.split_whitespace().chain(["--stack", dir]).collect();
    let said = place.start(&words).ends_within(10).expect_code(0);
    assert!(said.stdout.contains(&format!("stopped and removed {dir}")), "{}", said.stdout);
    place.assert_empty();
    assert!(runs.path().read_dir().unwrap().count() == 1, "the run stays");
}

#[test]
fn the_stack_by_itself() {
    let place = Place::new();
    let up = place.start(&["stack", "up", "--scale", "0"]).ends_within(60).expect_code(0);
    connect_as_printed(&up.stdout);
    assert!(up.stderr.contains("next: cargo xtask migrate"), "{}", up.stderr);
    let stack = kept_in(&place);
    let dir = stack.dir.to_str().unwrap();
    let status = place.start(&["stack", "status", "--stack", dir]).ends_within(10).expect_code(0).stdout;
    assert!(status.contains(dir), "{status}");
    for name in ["source", "product", "order", "gateway", "emulator"] {
        assert!(status.lines().any(|l| l.contains(name) && l.contains(" running ")), "{name}: {status}");
    }
    connect_as_printed(&status);
    crate::tool::send(stack.server("gateway").unwrap().pid, nix::sys::signal::Signal::SIGKILL);
    assert_gone(stack.server("gateway").unwrap().pid);
    let status = place.start(&["stack", "status", "--stack", dir]).ends_within(10).expect_code(0).stdout;
    assert!(status.lines().any(|l| l.contains("gateway ") && l.contains(" stopped ")), "{status}");
    let said = Tool::start(place.command(&["stack", "down", "--stack", dir])).ends_within(10).expect_code(0);
    assert!(said.stdout.contains("stopped and removed"), "{}", said.stdout);
    place.assert_empty();
    let again = place.start(&["stack", "down", "--stack", dir]).ends_within(10).expect_code(4);
    assert!(again.stderr.contains("cargo xtask stack status"), "{}", again.stderr);
}

fn assert_gone(pid: u32) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    // A killed process has no arguments any more, also before its parent has reaped it.
    while fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"))
        .is_ok_and(|line| !line.is_empty())
    {
        assert!(std::time::Instant::now() < deadline, "{pid} lives on");
    }
}

/// What the shell offers for these words, the last of them unfinished.
pub fn completed(script: &Path, words: &str) -> Vec<String> {
    let line = format!(
        "source {}; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
         _clap_complete_xtask xtask \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"; \
         echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let said: Said = Command::new("bash").args(["--norc", "-c", &line]).output().unwrap().into();
    said.expect_code(0).stdout.split_whitespace().map(String::from).collect()
}

#[test]
fn completions() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = xtask(&["completions", shell]).expect_code(0).stdout;
        // Each asks the program itself, which knows environments and runs.
        for word in ["xtask", "XTASK_COMPLETE", env!("CARGO_BIN_EXE_xtask")] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        fs::write(dir.path().join(shell), script).unwrap();
    }
    let bash = dir.path().join("bash");
    assert_eq!(completed(&bash, "xtask mig"), ["migrate"]);
    assert_eq!(completed(&bash, "xtask config s"), ["show"]);
    assert!(completed(&bash, "xtask migrate --acc").contains(&"--accept".to_string()));
    xtask(&["completions", "tcsh"]).expect_code(2);
}
