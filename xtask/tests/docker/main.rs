//! Containers: the compose stack and the rehearsal on a real engine, and everything that goes wrong there.
#![allow(clippy::unwrap_used)]

#[path = "../support/containers.rs"]
mod containers;
mod operations;
#[path = "../support/quiet_day.rs"]
mod quiet_day;
mod shop;
mod smoke;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tool.rs"]
mod tool;
#[path = "../support/without_old.rs"]
mod without_old;

use containers::{Stack, docker, engine, everything, latest, services};
use nix::sys::signal::Signal;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Said, Shop, workspace};
use tool::{Tool, within};
use xtask::effects::wait::{self, State};
use xtask::servers::docker::Engine;

#[track_caller]
fn assert_words(text: &str, words: &[&str]) {
    for words in words {
        assert!(text.contains(words), "no {words:?} in:\n{text}");
    }
}

/// Exit code 4, nothing on stdout, these words.
#[track_caller]
fn assert_refused(said: Said, words: &[&str]) {
    let said = said.expect_code(4);
    assert_eq!(said.stdout, "");
    assert_words(&said.stderr, &[&["error: refused: "], words].concat());
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_stack_started_by_hand_is_used_and_rehearsals_beside_it_leave_no_trace() {
    let (engine, _one) = engine().await;
    let stack = Stack::new();
    stack.compose(&["up", "-d"]).expect_code(0);
    let up = stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    assert_words(&up.stdout, &[&format!("docker exec -it {}", stack.container("postgres-order"))]);

    // The guide's 4.1: the databases that do not run are started, and waited for.
    docker(&["stop", &stack.container("postgres-product"), &stack.container("postgres-order")])
        .expect_code(0);
    let migrated =
        stack.xtask(&["migrate", "--env", "local", "--runtime", "docker", "--json"]).expect_code(0);
    assert_eq!(migrated.json()["proven"], true);
    assert_words(&migrated.stderr, &["starting postgres-product, postgres-order"]);
    the_backup_keeps_the_compose_files(&stack);
    no_secret_is_told(&stack, &migrated);

    // Found without being asked for, too, where everything runs.
    let found = stack.xtask(&["verify"]).expect_code(0);
    assert_words(&found.stderr, &[&format!("local: containers of the project {}", stack.name)]);
    let shown = stack.xtask(&["config", "show"]).expect_code(0);
    assert_words(&shown.stdout, &[stack.variable("ORDER_PORT")]);

    let (before, contents) = (everything(), stack.contents(&engine).await);
    for more in [&[][..], &["--rollback", "after-start"]] {
        let rehearse = ["rehearse", "--runtime", "docker", "--scale", "0", "--json"];
        let said = stack.xtask(&[&rehearse, more].concat()).expect_code(0);
        assert_eq!(said.stderr.contains("✓ taken back (after-start)"), !more.is_empty());
        let report = said.json();
        assert_eq!(report["proven"], true);
        for table in report["tables"].as_array().unwrap() {
            assert_eq!(table["verified"], true, "{table}");
        }
    }
    assert_eq!(everything(), before);
    assert_eq!(stack.contents(&engine).await, contents);
    it_is_shown_and_taken_down(&stack);
}

fn the_backup_keeps_the_compose_files(stack: &Stack) {
    let run = latest(&stack.runs());
    let kept = std::fs::read_to_string(run.join("docker-compose-before.yml")).unwrap();
    assert_words(&kept, &[&stack.container("postgres-order"), "secret-of-ORDER"]);
    let raw = std::fs::read_to_string(run.join("docker-compose.yml")).unwrap();
    assert_eq!(raw, std::fs::read_to_string(workspace().join("docker-compose.yml")).unwrap());
    for name in ["docker-compose-before.yml", "docker-compose.yml"] {
        let mode = std::fs::metadata(run.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

/// Passwords stand in Compose's own configuration, and nowhere else.
fn no_secret_is_told(stack: &Stack, said: &Said) {
    let found = Command::new("grep").args(["-rl", "secret-of-"]).arg(stack.runs()).output().unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    let expected = latest(&stack.runs()).join("docker-compose-before.yml");
    assert_eq!(found.trim(), expected.display().to_string());
    assert!(!format!("{}{}", said.stdout, said.stderr).contains("secret-of-"));
}

fn it_is_shown_and_taken_down(stack: &Stack) {
    let status = stack.xtask(&["stack", "status", "--runtime", "docker"]).expect_code(0).stdout;
    for service in services() {
        let line = status.lines().find(|line| line.trim().starts_with(service)).unwrap();
        assert_words(line, &[&stack.container(service), "running (healthy)", "127.0.0.1:"]);
        if service != "firestore-emulator" {
            assert_words(line, &["all ", "MB", &format!("{}-data", stack.container(service))]);
        }
    }
    let logs = ["stack", "logs", "postgres-order", "--tail", "50", "--runtime", "docker"];
    let logs = stack.xtask(&logs).expect_code(0).stdout;
    assert_words(&logs, &["postgres-order | ", "ready to accept connections"]);
    assert!(!logs.contains("postgres-product | "), "{logs}");

    // Somebody else's container on one of the volumes.
    let volume = format!("{}-data", stack.container("postgres-order"));
    let guest = format!("{}-guest", stack.name);
    let label = format!("com.docker.compose.project={}-guest", stack.name);
    docker(&[
        "create",
        "--name",
        &guest,
        "--label",
        &label,
        "--volume",
        &format!("{volume}:/x"),
        "postgres:15",
    ])
    .expect_code(0);
    let down = ["stack", "down", "--volumes", "--runtime", "docker"];
    assert_refused(stack.xtask(&down), &[&format!("the volume {volume} is in use by {guest}"), "docker rm"]);
    docker(&["rm", "--volumes", &guest]).expect_code(0);

    // Asked for, or nothing happens; and only this project's.
    let foreign = format!("{}-foreign", stack.name);
    docker(&["volume", "create", &foreign]).expect_code(0);
    assert_refused(stack.xtask(&down), &["postgres-order-data", "--yes"]);
    assert_eq!(docker(&["inspect", &stack.container("postgres-order")]).code, Some(0), "nothing was changed");
    stack.xtask(&["stack", "down", "--runtime", "docker"]).expect_code(0);
    assert_eq!(docker(&["volume", "inspect", &volume]).code, Some(0), "volumes stay");
    let said = stack.xtask(&[&down[..], &["--yes"]].concat()).expect_code(0);
    assert_words(&said.stdout, &[&format!("removed the volume {volume}")]);
    let left = everything();
    docker(&["volume", "rm", &foreign]).expect_code(0);
    let left: Vec<&str> = left.lines().filter(|line| line.contains(&stack.name)).collect();
    assert_eq!(left, [format!("volume {foreign}")]);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_database_that_restarts_in_the_middle_is_named_and_the_run_resumes() {
    let (_engine, _one) = engine().await;
    let stack = Stack::new();
    stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "4"]).expect_code(0);
    let mut run = stack.start(&["migrate", "--runtime", "docker"]);
    run.wait_for_words("Phases 3 and 4");
    docker(&["restart", "--time", "0", &stack.container("postgres-order")]).expect_code(0);
    let said = run.ends_within(60).expect_code(1);
    let container = format!("the container {}", stack.container("postgres-order"));
    assert_words(&said.stderr, &[&container, "was started again at", "next: cargo xtask migrate --resume"]);

    // And one that has not come back.
    docker(&["kill", &stack.container("postgres-gateway")]).expect_code(0);
    let resume = ["migrate", "--resume", "latest", "--runtime", "docker", "--json"];
    let said = stack.xtask(&resume).expect_code(0);
    assert_words(&said.stderr, &["starting postgres-gateway"]);
    assert_eq!(said.json()["proven"], true);
}

/// A rehearsal that is cut off leaves nothing; what a killed one leaves is removed by the next.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn nothing_is_left_of_a_rehearsal_however_it_ends() {
    let (_engine, _one) = engine().await;
    let before = everything();
    let stack = Stack::new();
    let rehearse = ["rehearse", "--runtime", "docker", "--scale", "0"];
    let made = |what: &str| everything().lines().any(|l| l.contains("xtask-") && l.contains(what));
    for moment in ["network", "container", "postgres-gateway"] {
        let mut run = stack.start(&rehearse);
        run.wait_for(moment, || made(moment));
        run.signal(Signal::SIGTERM);
        let said = run.ends_within(90).expect_code(6);
        assert!(!said.stderr.contains("that could not be undone"), "ended at {moment}: {}", said.stderr);
        assert_eq!(everything(), before, "ended at {moment}");
        assert_eq!(homes(), Vec::<PathBuf>::new(), "ended at {moment}: {}", said.stderr);
    }
    let mut run = stack.start(&rehearse);
    run.wait_for_words("Phases 3 and 4");
    run.signal(Signal::SIGKILL);
    run.ends_within(10);
    assert!(made("postgres-gateway"), "it cannot have cleaned up");
    let said = stack.xtask(&rehearse).expect_code(0);
    assert_words(&said.stderr, &["removed the leftover containers of "]);
    assert_eq!(everything(), before);
    assert_eq!(homes(), Vec::<PathBuf>::new());
}

/// The directories of rehearsals in containers.
fn homes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten().map(|e| e.path());
    entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("xtask-docker-")).collect()
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_kept_rehearsal_is_used_and_taken_down_by_its_directory() {
    let (_engine, _one) = engine().await;
    let before = everything();
    let stack = Stack::new();
    let said = stack.xtask(&["rehearse", "--runtime", "docker", "--scale", "0", "--keep"]).expect_code(0);
    let next = said.stderr.lines().find_map(|line| line.strip_prefix("next: cargo xtask ")).unwrap();
    let (verify, down) = next.split_once("; at the end: cargo xtask ").unwrap();
    // As it stands there, but for the directory of runs that the test's helper adds.
    let words = |line: &str| -> Vec<String> {
        line.split(" --backup-dir").next().unwrap().split(' ').map(ToString::to_string).collect()
    };
    let verify: Vec<String> = verify.split(' ').map(ToString::to_string).collect();
    let said: Said = crate::support::binary().args(&verify).output().unwrap().into();
    assert_words(&said.expect_code(0).stdout, &["✓ PROVEN "]);
    let status = stack.xtask(&["stack", "status", "--runtime", "docker"]).expect_code(0).stdout;
    assert_words(&status, &["compose project xtask-", "running (healthy)"]);
    // Another start does not take it for a leftover.
    stack.xtask(&["rehearse", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    assert_ne!(everything(), before);
    let said: Said = crate::support::binary().args(words(down)).output().unwrap().into();
    assert_words(&said.expect_code(0).stdout, &["removed the containers of "]);
    assert_eq!(everything(), before);
}

/// Commands inside a container: bytes as they are, true exit codes, and no waiting for a reader that has
/// gone.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn commands_inside_have_true_exit_codes_and_bytes_as_they_are() {
    let (engine, _one) = engine().await;
    let stack = Stack::new();
    stack.compose(&["up", "-d", "postgres-order"]).expect_code(0);
    let container = stack.container("postgres-order");
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let ran = engine.run(&container, &["cat"], &[], std::io::Cursor::new(bytes.clone())).await.unwrap();
    assert!(ran.code == 0 && ran.stdout == bytes && ran.stderr.is_empty());
    let secret = secrecy::SecretString::from("s3cret");
    let script = ["sh", "-c", "echo \"$GIVEN\" >&2; exit 7"];
    let ran = engine.run(&container, &script, &[("GIVEN", &secret)], tokio::io::empty()).await.unwrap();
    assert_eq!((ran.code, ran.said().as_str()), (7, "s3cret"));
    let ran = engine.run(&container, &["no-such-program"], &[], tokio::io::empty()).await.unwrap();
    assert!(ran.code == 126 || ran.code == 127, "{ran:?}");
    // It reads nothing, and is offered more than a pipe holds.
    let early = engine.run(&container, &["true"], &[], tokio::io::repeat(b'x'));
    let ran = tokio::time::timeout(std::time::Duration::from_secs(20), early).await.unwrap().unwrap();
    assert_eq!(ran.code, 0);
    let error = engine.run("no-such-container", &["true"], &[], tokio::io::empty()).await.unwrap_err();
    assert_words(&format!("{error:#}"), &["running true in no-such-container", "No such container"]);
}

// ── What goes wrong ─────────────────────────────────────────────────────────────────────────────────

/// The command with another engine's address.
fn on_engine(host: &str, arguments: &[&str]) -> Said {
    let mut command = crate::support::binary();
    command.args(arguments).env("DOCKER_HOST", host).stdin(Stdio::null()).output().unwrap().into()
}

const REHEARSE: [&str; 3] = ["rehearse", "--runtime", "docker"];

#[test]
fn an_engine_that_is_not_there_or_does_not_run_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let host = |name: &str| format!("unix://{}", dir.path().join(name).display());
    assert_refused(
        on_engine(&host("none"), &REHEARSE),
        &["there is no Docker engine", "apt-get install docker.io"],
    );
    // A socket whose engine has died.
    drop(UnixListener::bind(dir.path().join("dead")).unwrap());
    assert_refused(on_engine(&host("dead"), &REHEARSE), &["is not running", "systemctl start docker"]);
    assert_refused(on_engine("tcp://127.0.0.1:1", &REHEARSE), &["is not running", "tcp://127.0.0.1:1"]);
    // One that never answers.
    let _silent = UnixListener::bind(dir.path().join("silent")).unwrap();
    assert_refused(on_engine(&host("silent"), &REHEARSE), &["has not answered within 5 s"]);
    assert_refused(on_engine("carrier-pigeon://x", &REHEARSE), &["carrier-pigeon://x"]);
    // Who leaves the choice to the tool gets local servers, and is told why.
    let status = on_engine(&host("none"), &["stack", "status", "--runtime", "auto", "-v"]).expect_code(0);
    assert_words(&status.stderr, &["containers are not looked at", "there is no Docker engine"]);
}

#[test]
fn a_socket_that_is_not_for_this_user_is_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let socket = dir.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    // Where nobody can read it: the checkout may be in a private directory.
    let binary = dir.path().join("xtask");
    std::fs::copy(env!("CARGO_BIN_EXE_xtask"), &binary).unwrap();
    if !nix::unistd::geteuid().is_root() {
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mut command = Command::new(&binary);
    if nix::unistd::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command.args(["stack", "status", "--runtime", "docker"]).current_dir("/").stdin(Stdio::null());
    let said = command.env("DOCKER_HOST", format!("unix://{}", socket.display())).output().unwrap();
    assert_words(&Said::from(said).expect_code(4).stderr, &["is not for this user", "usermod -aG docker"]);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn without_compose_it_says_how_to_get_one() {
    let (engine, _one) = engine().await;
    let mut command = crate::support::binary();
    let said =
        command.args(REHEARSE).env("PATH", "/nowhere").env("DOCKER_HOST", &engine.host).output().unwrap();
    assert_refused(said.into(), &["there is no Compose", "apt-get install docker-compose"]);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn an_image_that_cannot_be_had_is_named_with_the_way_to_it() {
    let (_engine, _one) = engine().await;
    let before = everything();
    for (variable, words) in [("POSTGRES_IMAGE", "docker load"), ("FIRESTORE_IMAGE", "docker build --tag")] {
        let mut stack = Stack::new();
        stack.set(variable, "xtask-test/there-is-none:1");
        let said = ["the image xtask-test/there-is-none:1 is not here and cannot be pulled", words];
        assert_refused(stack.xtask(&["stack", "up", "--runtime", "docker"]), &said);
        assert_refused(stack.xtask(&REHEARSE), &said);
    }
    assert_eq!(everything(), before);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn passwords_that_are_not_set_are_asked_for() {
    let (_engine, _one) = engine().await;
    let mut stack = Stack::new();
    stack.set("ORDER_PASSWORD", "");
    assert!(!workspace().join(".env").exists(), "needs a checkout without .env, which sets the passwords");
    let said = stack.xtask(&["stack", "up", "--runtime", "docker"]);
    assert_refused(said, &["ORDER_PASSWORD", "cp .env.example .env"]);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn what_is_taken_is_named_with_its_holder_before_anything_is_made() {
    let (_engine, _one) = engine().await;
    let (before, stack) = (everything(), Stack::new());
    let other = Stack::new();
    // A port by a process, one by a container, a name, a volume.
    let order: u16 = stack.variable("ORDER_PORT").parse().unwrap();
    let _listener = TcpListener::bind(("127.0.0.1", order)).unwrap();
    let gateway = format!("127.0.0.1:{}:5432", stack.variable("GATEWAY_PORT"));
    let (holder, namesake) = (other.container("holder"), stack.container("postgres-product"));
    let label = format!("com.docker.compose.project={}", other.name);
    docker(&[
        "run",
        "-d",
        "--name",
        &holder,
        "--label",
        &label,
        "-p",
        &gateway,
        "postgres:15",
        "sleep",
        "60",
    ])
    .expect_code(0);
    docker(&["create", "--name", &namesake, "--label", &label, "postgres:15"]).expect_code(0);
    let volume = format!("{}-data", stack.container("postgres-monolith"));
    docker(&["volume", "create", "--label", &label, &volume]).expect_code(0);
    let listing = everything();
    let said = stack.xtask(&["stack", "up", "--runtime", "docker"]);
    assert_refused(
        said,
        &[
            &format!("the port {order} of postgres-order is taken by pid {} (", std::process::id()),
            &format!("of postgres-gateway is taken by the container {holder}"),
            &format!("the name {namesake} is in use by a container of the compose project {}", other.name),
            &format!("the volume {volume} holds the data of the compose project {}", other.name),
            "STACK_PREFIX",
        ],
    );
    assert_eq!(everything(), listing, "nothing was made");
    drop(other);
    assert_eq!(everything(), before);
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_container_that_does_not_become_healthy_shows_why() {
    let (_engine, _one) = engine().await;
    let up = ["stack", "up", "--runtime", "docker", "--scale", "0"];
    let mut stack = Stack::new();
    let check = r#"{ test: ["CMD-SHELL", "echo not today; false"], interval: 1s, retries: 1 }"#;
    stack.overlay(&format!("services: {{ postgres-order: {{ healthcheck: {check} }} }}\n"));
    let said = stack.xtask(&up).expect_code(1);
    let container = stack.container("postgres-order");
    assert_words(
        &said.stderr,
        &[
            &format!("{container} is unhealthy"),
            "not today",
            "the end of its log",
            "stack logs postgres-order",
        ],
    );
    drop(stack);

    let mut stack = Stack::new();
    stack.overlay("services: { postgres-order: { command: [postgres, -c, nonsense=1] } }\n");
    let said = stack.xtask(&up).expect_code(1);
    assert_words(&said.stderr, &["has ended with exit code", "nonsense"]);
    drop(stack);

    // A disk of 20 MB.
    let mut stack = Stack::new();
    let small = r#"{ driver: local, driver_opts: { type: tmpfs, device: tmpfs, o: "size=20m" } }"#;
    stack.overlay(&format!("volumes: {{ postgres-order-data: {small} }}\n"));
    let said = stack.xtask(&up).expect_code(1);
    assert_words(&said.stderr, &["no space is left", "docker system df"]);
}

/// Between the tool and the engine; gone when the test says so.
struct Wire {
    socket: PathBuf,
    cut: Arc<AtomicBool>,
}

impl Wire {
    fn to(engine: &Engine, dir: &Path) -> Wire {
        let socket = dir.join("wire.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let cut = Arc::new(AtomicBool::new(false));
        let (flag, engine) = (cut.clone(), engine.host.trim_start_matches("unix://").to_string());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if flag.load(Ordering::SeqCst) {
                    return;
                }
                let (client, engine) = (client.unwrap(), UnixStream::connect(&engine).unwrap());
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), engine.try_clone().unwrap()), (engine, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Write);
                    });
                }
            }
        });
        Wire { socket, cut }
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// Nobody listens any more.
    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.socket);
    }
}

#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn an_engine_that_goes_in_the_middle_is_said_and_nothing_stays_for_good() {
    let (engine, _one) = engine().await;
    let (before, stack) = (everything(), Stack::new());
    let wire = Wire::to(&engine, stack.dir.path());
    let mut command = stack.command(&["rehearse", "--runtime", "docker", "--scale", "0"]);
    command.env("DOCKER_HOST", wire.host());
    let mut run = Tool::start(command);
    run.wait_for_words("Phases 3 and 4");
    wire.cut();
    let said = run.ends_within(90).expect_code(1);
    assert_words(
        &said.stderr,
        &["the Docker engine at unix://", "has gone", "cargo xtask stack down --runtime docker --stack"],
    );
    let next = stack.xtask(&["rehearse", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    assert_words(&next.stderr, &["removed the leftover containers of "]);
    assert_eq!(everything(), before);
}

/// `doctor` and `doctor --network`, on a stack that is well and on one that is not.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn doctor_tells_what_is_wrong_with_containers() {
    let (_engine, _one) = engine().await;
    let stack = Stack::new();
    let well = stack.xtask(&["doctor", "--runtime", "docker"]).expect_code(4).stdout;
    for line in ["✓ engine", "✓ compose", "✓ passwords", "✓ images", "✓ ports", "✓ disk"] {
        assert_words(&well, &[line]);
    }
    let order: u16 = stack.variable("ORDER_PORT").parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", order)).unwrap();
    assert_words(
        &well,
        &["– not looked at: servers", "no container of the service postgres-monolith", "0 not met"],
    );
    let ill = stack.xtask(&["doctor", "--runtime", "docker"]).expect_code(4).stdout;
    assert_words(&ill, &["✗ ports", &format!("the port {order} of postgres-order is taken by pid")]);
    drop(listener);
    let mut command = stack.command(&["doctor", "--runtime", "docker"]);
    let said: Said = command.env("DOCKER_HOST", "unix:///nowhere/docker.sock").output().unwrap().into();
    assert_words(
        &said.expect_code(4).stdout,
        &["✗ engine", "– not looked at: ", "images", "there is no Docker engine"],
    );

    stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    let said = stack.xtask(&["doctor"]).expect_code(0).stdout;
    assert_words(&said, &["✓ engine", "order", "✓ privileges", "✓ writable", "0 not met"]);
    let said = stack.xtask(&["doctor", "--network"]).expect_code(0).stdout;
    assert_words(&said, &["✓ from inside", "✓ from a neighbour", "✓ from here", "verdict: every database"]);
    // Another password than the volume's, a network that is gone, a container that is.
    let psql = [
        "psql",
        "-U",
        "order_admin",
        "-d",
        "order_database",
        "-c",
        "ALTER ROLE order_admin PASSWORD 'other'",
    ];
    docker(&[&["exec", &stack.container("postgres-order")][..], &psql].concat()).expect_code(0);
    let said = stack.xtask(&["doctor", "--network"]).expect_code(4).stdout;
    let verdict = format!("verdict: {} refuses even a login from inside", stack.container("postgres-order"));
    assert_words(&said, &["✗ from here", "password authentication failed", &verdict]);
    assert!(!said.contains("secret-of-"), "{said}");
    let network = format!("{}_default", stack.name);
    docker(&["network", "disconnect", &network, &stack.container("postgres-product")]).expect_code(0);
    let said = stack.xtask(&["doctor", "--network"]).expect_code(4).stdout;
    assert_words(&said, &["✗ networks", "on none"]);
    docker(&["stop", &stack.container("postgres-gateway")]).expect_code(0);
    let said = stack.xtask(&["doctor", "--network"]).expect_code(4).stdout;
    let verdict = format!("verdict: {} does not run: exited (0)", stack.container("postgres-gateway"));
    assert_words(&said, &[&verdict]);
}

// ── The files ───────────────────────────────────────────────────────────────────────────────────────

#[test]
#[ignore = "needs Docker Compose: cargo test --test docker -- --ignored"]
fn every_compose_file_is_one_that_compose_takes() {
    let stack = Stack::new();
    let config = |files: &[&str]| {
        let files: Vec<&str> = files.iter().flat_map(|file| ["-f", file]).collect();
        stack.compose(&[&files[..], &["config"]].concat())
    };
    let plain = config(&["docker-compose.yml"]).expect_code(0).stdout;
    for service in services() {
        assert_words(&plain, &[&format!("container_name: {}", stack.container(service))]);
    }
    for port in plain.lines().filter(|line| line.contains(":5432/tcp") || line.contains(":8080/tcp")) {
        assert!(port.trim().starts_with("- 127.0.0.1:"), "{port}");
    }
    let with_services = config(&["docker-compose.yml", "docker-compose.services.yml"]).expect_code(0).stdout;
    for service in ["product-service", "order-service", "user-service", "api-gateway"] {
        assert_words(&with_services, &[&format!("container_name: {}", stack.container(service))]);
    }
    let hardened = config(&["docker-compose.hardened.yml"]).expect_code(0).stdout;
    assert!(!hardened.contains("ports:") && !hardened.contains("published"), "{hardened}");
    assert_words(&hardened, &["internal: true", "secrets:"]);
    assert!(!hardened.contains("POSTGRES_PASSWORD:"), "{hardened}");
}

/// The image of this repository's Dockerfile, on a base that is here.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn the_emulators_dockerfile_makes_an_emulator() {
    let (_engine, _one) = engine().await;
    let (_, jar) = xtask::servers::native::emulator_jar().unwrap();
    let (image, name) = ("xtask-test/emulator:1", "xtask-test-emulator");
    let file = workspace().join("docker/firestore/Dockerfile");
    let build =
        ["build", "--quiet", "--build-arg", "BASE=firestore-emulator:local", "--tag", image, "--file"];
    let context = jar.parent().unwrap().to_str().unwrap();
    let mut command = Command::new("docker");
    command.args(build).arg(file).arg(context).env("DOCKER_BUILDKIT", "0");
    Said::from(command.output().unwrap()).expect_code(0);
    docker(&["run", "--detach", "--rm", "--name", name, image]).expect_code(0);
    let answers = || {
        let get = "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3";
        docker(&["exec", name, "bash", "-c", get]).stdout.contains("200")
    };
    let ready = wait::for_state_blocking("the emulator to answer", within(30, 200), || {
        Ok(if answers() { State::Ready(()) } else { State::NotYet("it does not") })
    });
    docker(&["rm", "--force", name]).expect_code(0);
    docker(&["rmi", image]).expect_code(0);
    ready.unwrap();
}

/// The production shape for real: the run of another stack is loaded and proven from inside the network,
/// over TLS, with passwords from files; from outside nothing can be reached.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn the_hardened_stack_is_filled_and_proven_from_inside() {
    let (engine, _one) = engine().await;
    let shop = Shop::open(0).await;
    shop.xtask(&["export"]).expect_code(0);
    let mut stack = Stack::new();
    let secrets = certificates(stack.dir.path());
    stack.set("SECRETS_DIR", secrets.to_str().unwrap());
    stack.set("COMPOSE_FILE", "docker-compose.hardened.yml");
    stack.compose(&["up", "-d"]).expect_code(0);
    let found = engine.containers(&[("com.docker.compose.project", &stack.name)]).await.unwrap();
    assert_eq!(found.len(), 3);
    for container in &found {
        assert!(container.ports.is_empty(), "{} publishes {:?}", container.name, container.ports);
        xtask::servers::docker::state_of(&engine, &container.id).await.unwrap();
        let plain =
            ["psql", "-h", &container.service, "-U", "x", "-c", "SELECT 1", "sslmode=disable dbname=x"];
        let said = engine.run(&container.id, &plain, &[], tokio::io::empty()).await.unwrap();
        assert_words(&said.said(), &["no encryption"]);
    }
    let emulator = stack.container("emulator");
    let network = format!("{}_databases", stack.name);
    let label = format!("com.docker.compose.project={}", stack.name);
    docker(&[
        "run",
        "-d",
        "--name",
        &emulator,
        "--label",
        &label,
        "--network",
        &network,
        "firestore-emulator:local",
    ])
    .expect_code(0);
    // The tool inside sees the checkout: run and environment have to be in it.
    let inside = tempfile::Builder::new().prefix("hardened-").tempdir_in(workspace().join("target")).unwrap();
    let runs = inside.path().join("runs");
    Command::new("cp").arg("-a").arg(shop.runs.path()).arg(&runs).status().unwrap();
    let text = std::fs::read_to_string(workspace().join("docker/hardened/environment.toml")).unwrap();
    let firestore =
        format!("project = \"demo-ecommerce\"\nemulator_host = \"{emulator}:8080\"\nemulator = true");
    let text = text
        .replace("project = \"shop-production\"\ndatabase = \"(default)\"\nrate = 10000", &firestore)
        .replace("emulator = false\n", "")
        .replace("max_quarantine = 0\n", "");
    let environment = inside.path().join("environment.toml");
    std::fs::write(&environment, text).unwrap();
    // A run belongs to its environment: to this one, as if it had been exported with its file.
    let run = xtask::run::dir::RunDir::open(&runs, "latest").unwrap();
    run.change_manifest(|manifest| {
        manifest.environment = environment.display().to_string();
        Ok(())
    })
    .unwrap();
    let tool = |command: &[&str]| {
        let place = ["--env", environment.to_str().unwrap(), "--backup-dir", runs.to_str().unwrap()];
        let mut all = crate::support::binary();
        all.args(["stack", "run", "--"]).args(command).args(place).stdin(Stdio::null());
        for name in ["COMPOSE_PROJECT_NAME", "STACK_PREFIX", "SECRETS_DIR"] {
            all.env(name, stack.variable(name));
        }
        Said::from(all.env("SOURCE_PASSWORD", "not needed").output().unwrap())
    };
    tool(&["import", "--run", "latest", "--confirm", "environment/ecommerce_db"]).expect_code(0);
    let verified = tool(&["verify", "--run", "latest", "--json"]).expect_code(0);
    assert_eq!(verified.json()["proven"], true);
    // Nothing is weak there, and all that is forbidden is refused.
    let harden = ["harden", "product", "order", "gateway", "--confirm", "environment/ecommerce_db", "--json"];
    let hardened = tool(&harden).expect_code(0).json();
    for store in hardened["stores"].as_array().unwrap() {
        assert_eq!(store["statements"], serde_json::json!([]), "{store}");
        assert!(
            store["refused"].as_u64().unwrap() >= 15 && store["allowed"].as_u64().unwrap() >= 6,
            "{store}"
        );
    }
    // Exit codes come through.
    tool(&["import", "--run", "latest"]).expect_code(4);
}

/// An authority, a certificate for the three servers, and passwords, each in a private file.
fn certificates(dir: &Path) -> PathBuf {
    let secrets = dir.join("secrets");
    let script = "
        set -eu; umask 077; mkdir \"$1\"; cd \"$1\"
        openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=postgres
        echo subjectAltName=DNS:postgres-product,DNS:postgres-order,DNS:postgres-gateway >names
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names \\
            -out server.crt
        for one in product order gateway; do
            echo \"secret-of-$one\" >${one}_password; echo \"secret-of-$one-admin\" >${one}_admin_password
        done";
    let said = Command::new("sh").args(["-c", script, "sh"]).arg(&secrets).output().unwrap();
    Said::from(said).expect_code(0);
    secrets
}

/// A new stack: the tool owns the databases, the services have ordinary roles, and `harden` finds nothing to do.
#[tokio::test]
#[ignore = "needs a Docker engine: cargo test --test docker -- --ignored"]
async fn a_new_stacks_services_have_ordinary_roles() {
    let (engine, _one) = engine().await;
    let mut stack = Stack::new();
    let port = stack.variable("GATEWAY_PORT").to_string();
    let open = format!("services: {{ postgres-gateway: {{ ports: [\"{port}:5432\"] }} }}\n");
    stack.set("GATEWAY_PORT", "0");
    stack.overlay(&open);
    stack.compose(&["up", "-d"]).expect_code(0);
    stack.xtask(&["stack", "up", "--runtime", "docker", "--scale", "0"]).expect_code(0);
    let migrated = stack.xtask(&["migrate", "--runtime", "docker", "--json"]).expect_code(0);
    assert_eq!(migrated.json()["proven"], true);

    let settings = stack.settings(&engine).await;
    for database in xtask::model::Database::ALL {
        let server = settings.target(database);
        assert_eq!(server.user, format!("{database}_admin"));
        let mut service = server.clone();
        service.user = format!("{database}_user");
        service.password = format!("secret-of-{}", database.name().to_uppercase()).into();
        let mut session = xtask::effects::postgres::connect(&service, "test").await.unwrap();
        let table = xtask::tables::of_database(xtask::tables::TABLES, database).next().unwrap().name;
        let refused = [
            "CREATE TABLE mine ()".to_string(),
            format!("ALTER TABLE {table} ADD mine int"),
            format!("TRUNCATE {table} CASCADE"),
            "SELECT FROM xtask.runs".into(),
            "SELECT FROM pg_authid".into(),
            "COPY (SELECT 1) TO PROGRAM 'cat'".into(),
            format!("ALTER ROLE {} SUPERUSER", service.user),
        ];
        for statement in refused {
            let error = session.run(&statement).await.unwrap_err();
            let code = xtask::effects::postgres::code(&error);
            assert_eq!(code.as_deref(), Some("42501"), "{database}: {statement}");
        }
        session.run(&format!("DELETE FROM {table} WHERE false; SELECT FROM {table}")).await.unwrap();
    }
    let secrets = stack.dir.path().join("secrets");
    let harden = ["harden", "product", "order", "gateway", "--runtime", "docker", "--secrets"];
    let said = stack.xtask(&[&harden[..], &[secrets.to_str().unwrap()]].concat()).expect_code(3);
    let open = format!("publishes 0.0.0.0:{port}, not on 127.0.0.1 alone");
    assert_words(&said.stdout, &["nothing to change", "forbidden things refused", &open, "5.8 pg_hba.conf"]);
    for gone in [" 4.3 ", " 4.5 ", " 4.6 ", " 4.10 ", "one of the guide's", "environment's file, under"] {
        assert!(!said.stdout.contains(gone), "{gone}: {}", said.stdout);
    }
    assert!(!secrets.exists());
}
