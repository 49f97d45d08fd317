//! Nothing ambient chooses a server, two runs do not disturb each other, and no secret is seen by
//! others: not in an argument, not in a file of the run, not in what is said.

use crate::support::{Said, Shop};
use crate::tool::{Place, Tool};
use secrecy::ExposeSecret;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// A server that nobody should talk to.
struct Decoy {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Decoy {
    fn open() -> Decoy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Decoy { port, connections }
    }

    /// Every variable, and every file in the home directory, that points to it or spoils a connection.
    fn lure(&self, command: &mut Command, home: &Path) {
        let (port, here) = (self.port.to_string(), format!("127.0.0.1:{}", self.port));
        let service = home.join(".pg_service.conf");
        fs::write(&service, format!("[decoy]\nhost=127.0.0.1\nport={port}\nuser=decoy\n")).unwrap();
        fs::write(home.join(".pgpass"), "*:*:*:*:decoy\n").unwrap();
        fs::set_permissions(home.join(".pgpass"), fs::Permissions::from_mode(0o600)).unwrap();
        let url = format!("http://{here}");
        let service = service.to_str().unwrap();
        command.env("HOME", home).envs([
            ("PGHOST", "127.0.0.1"),
            ("PGHOSTADDR", "127.0.0.1"),
            ("PGPORT", &port),
            ("PGUSER", "decoy"),
            ("PGPASSWORD", "decoy"),
            ("PGDATABASE", "decoy"),
            ("PGSERVICE", "decoy"),
            ("PGSERVICEFILE", service),
            ("PGSYSCONFDIR", home.to_str().unwrap()),
            ("PGPASSFILE", home.join(".pgpass").to_str().unwrap()),
            ("PGOPTIONS", "-c search_path=nowhere -c default_transaction_read_only=on"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/nowhere/root.crt"),
            ("PGSSLCERT", "/nowhere/client.crt"),
            ("PGSSLKEY", "/nowhere/client.key"),
            ("PGREQUIREAUTH", "none"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGCONNECT_TIMEOUT", "1"),
            ("PGAPPNAME", "decoy"),
            ("PGTZ", "Asia/Kathmandu"),
            ("PGDATESTYLE", "German, DMY"),
            ("PGCLIENTENCODING", "LATIN1"),
            ("PGDATA", "/nowhere"),
            ("PGCOLOR", "always"),
            ("TZ", "Asia/Kathmandu"),
            ("http_proxy", &url),
            ("https_proxy", &url),
            ("HTTP_PROXY", &url),
            ("HTTPS_PROXY", &url),
            ("ALL_PROXY", &url),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json"),
            ("GOOGLE_CLOUD_PROJECT", "decoy"),
            ("GCLOUD_PROJECT", "decoy"),
        ]);
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(self.connections.load(Ordering::SeqCst), 0, "somebody asked the decoy");
    }
}

#[test]
fn two_rehearsals_at_once_with_every_variable_set() {
    let (place, decoy) = (Place::new(), Decoy::open());
    let home = tempfile::tempdir().unwrap();
    let rehearse = || {
        let mut command = place.command(&["rehearse", "--scale", "0", "--json"]);
        command.env_remove("FIRESTORE_EMULATOR_HOST");
        decoy.lure(&mut command, home.path());
        Tool::start(command)
    };
    for rehearsal in [rehearse(), rehearse()] {
        let said = rehearsal.ends_within(60).expect_code(0);
        assert_eq!(said.json()["proven"], true, "{}", said.stdout);
    }
    decoy.assert_untouched();
    place.assert_empty();
}

/// Polls the arguments of every process for a secret, until told to stop.
fn watch_arguments(secret: String, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<(usize, Vec<String>)> {
    std::thread::spawn(move || {
        let (mut looks, mut seen) = (0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            seen.extend(crate::tool::processes_naming(&secret));
            looks += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        (looks, seen)
    })
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { [files(&path), vec![path]].concat() } else { vec![path] })
        .collect()
}

/// The runs' directories and files are their owner's alone, and none holds the secret.
fn assert_private(dir: &Path, secret: &str) -> usize {
    let found = files(dir);
    for path in &found {
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
        if path.is_file() {
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            assert!(!text.contains(secret), "{} holds the password", path.display());
        }
    }
    found.len()
}

#[tokio::test]
async fn secrets_stay_secret_and_the_stack_is_the_one_that_was_named() {
    let shop = Shop::open(0).await;
    let (decoy, home) = (Decoy::open(), tempfile::tempdir().unwrap());
    let secret = shop.settings.source.password.expose_secret().to_owned();
    let stop = Arc::new(AtomicBool::new(false));
    let watch = watch_arguments(secret.clone(), stop.clone());
    let run = |arguments: &[&str]| -> Said {
        let mut command = shop.command(arguments);
        decoy.lure(&mut command, home.path());
        // With --stack its own emulator is the right one.
        command.env("FIRESTORE_EMULATOR_HOST", format!("127.0.0.1:{}", decoy.port));
        command.output().unwrap().into()
    };
    let mut said = vec![run(&["migrate", "-v"]).expect_code(0)];
    let first = shop.latest().id().to_owned();
    said.extend([
        run(&["verify", "--json"]).expect_code(0),
        run(&["import"]).expect_code(0),
        run(&["backup"]).expect_code(0),
    ]);
    // Failures, too: in the preflight, in a SELECT, in the proof.
    said.push(run(&["migrate"]).expect_code(4));
    let broken = "ALTER TABLE products RENAME COLUMN price TO cost";
    shop.source().await.run(broken).await.unwrap();
    said.push(run(&["export"]).expect_code(4));
    let mut target = shop.target(xtask::model::Database::Order).await;
    target.run("DROP TABLE orders CASCADE").await.unwrap();
    said.push(run(&["verify", "--run", &first]).expect_code(3));
    stop.store(true, Ordering::Relaxed);
    let (looks, seen) = watch.join().unwrap();
    assert!(looks > 50, "{looks} looks");
    assert_eq!(seen, Vec::<String>::new(), "a password in arguments");
    decoy.assert_untouched();

    for one in &said {
        assert!(
            !one.stdout.contains(&secret) && !one.stderr.contains(&secret),
            "{}{}",
            one.stdout,
            one.stderr
        );
    }
    assert!(assert_private(shop.runs.path(), &secret) > 20);
    for path in files(shop.dir()) {
        if path.extension().is_some_and(|e| e == "log") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains(&secret), "{} holds the password", path.display());
        }
    }
    for name in ["stack.json", "pgpass"] {
        assert_eq!(fs::metadata(shop.dir().join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
