//! The local servers: started for real, stopped, kept, killed.
//!
//! What needs a process of its own (a tool that is killed, other environment variables) runs this
//! binary again: see [`helper`]. Only directories of this test are looked at, because other tests have
//! servers on the machine at the same time.

use crate::tool::within;
use anyhow::{Context, Result, ensure};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use xtask::effects::wait::{self, State};
use xtask::servers::native::{
    Connections, EmulatorChoice, Options, SERVERS, Stack, kept, postgres_bindir, remove_leftovers, take_down,
};

const HELP: &str = "XTASK_TEST_NATIVE";
const WITHOUT_EMULATOR: Options =
    Options { postgres: true, emulator: EmulatorChoice::None, fsync: false, prepared_transactions: 0 };
const ALL: Options =
    Options { postgres: true, emulator: EmulatorChoice::Start, fsync: false, prepared_transactions: 0 };

#[tokio::test]
async fn servers_answer_and_are_gone_after_the_stop() -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let stack = Stack::start(workspace.path(), ALL).await?;
    let connections = stack.connections().clone();
    assert_eq!(connections.postgres.iter().map(|server| server.name.as_str()).collect::<Vec<_>>(), SERVERS);
    for name in SERVERS {
        assert_eq!(ask(&connections, name, &connections.superuser_password, "SELECT 1")?, "1");
        let refused = ask(&connections, name, "wrong", "SELECT 1").expect_err("a wrong password");
        assert!(format!("{refused:#}").contains("password authentication failed"), "{refused:#}");
        let shown = ask(&connections, name, &connections.superuser_password, "SHOW listen_addresses")?;
        assert_eq!(shown, "127.0.0.1");
    }
    let emulator = connections.emulator.as_ref().context("no emulator")?;
    assert!(http_get(&emulator.host_port)?.starts_with("HTTP/1.1 200"));
    let secrets = fs::metadata(connections.dir.join("stack.json"))?.permissions().mode();
    assert_eq!(secrets & 0o777, 0o600);

    let mut busy = busy_backend(&connections)?;
    let start = Instant::now();
    stack.stop()?;
    assert!(start.elapsed() < Duration::from_secs(5), "stopping took {:?}", start.elapsed());
    assert!(!busy.wait()?.success(), "its server is gone");
    assert_nothing_of(&connections.dir);
    Ok(())
}

#[tokio::test]
async fn two_at_once_do_not_touch_each_other() -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let (one, two) = tokio::try_join!(
        Stack::start(workspace.path(), WITHOUT_EMULATOR),
        Stack::start(workspace.path(), WITHOUT_EMULATOR),
    )?;
    remove_leftovers()?;
    let (first, second) = (one.connections().clone(), two.connections().clone());
    assert_ne!(first.dir, second.dir);
    drop(one);
    assert_nothing_of(&first.dir);
    for name in SERVERS {
        assert_eq!(ask(&second, name, &second.superuser_password, "SELECT 1")?, "1");
    }
    two.stop()
}

#[test]
fn what_a_killed_tool_leaves_is_removed() -> Result<()> {
    for moment in ["stack.json", "emulator", "said"] {
        let place = place()?;
        let mut tool = run_helper("start", place.path(), &[])?;
        let come = wait_for(moment, || moment_has_come(place.path(), moment));
        tool.kill()?;
        tool.wait()?;
        come?;
        let dir = only_stack_in(place.path())?;
        assert!(dir.exists(), "it cannot have cleaned up");
        let cleaner = said(run_helper("clean", place.path(), &[])?, place.path())?;
        assert!(!dir.exists(), "killed at {moment}; the cleaner said {cleaner:?}");
        assert_nothing_of(&dir);
    }
    Ok(())
}

fn moment_has_come(place: &Path, moment: &str) -> bool {
    place.join(moment).exists() || only_stack_in(place).is_ok_and(|dir| dir.join(moment).exists())
}

#[test]
fn a_start_that_is_given_up_leaves_nothing() -> Result<()> {
    let place = place()?;
    said(run_helper("give up", place.path(), &[])?, place.path())?;
    assert_nothing_of(place_of_stacks(place.path()).as_path());
    Ok(())
}

#[test]
fn a_start_that_fails_says_why_and_leaves_nothing() -> Result<()> {
    let place = place()?;
    let jar = place.path().join("bogus.jar");
    fs::write(&jar, "no archive")?;
    let jar = jar.to_str().context("the path")?;
    let tool = run_helper("start", place.path(), &[("FIRESTORE_EMULATOR_JAR", jar)])?;
    let error = said(tool, place.path())?;
    assert!(error.contains("emulator ended before it answered"), "{error}");
    assert!(error.contains("CloudFirestore"), "the end of java's output: {error}");
    assert_nothing_of(place_of_stacks(place.path()).as_path());
    Ok(())
}

#[test]
fn kept_servers_go_on_until_taken_down() -> Result<()> {
    let workspace = tempfile::tempdir()?;
    let place = place()?;
    // in our own temporary directory, where `kept` looks
    let tmp = std::env::temp_dir();
    let tool = run_helper("keep", place.path(), &[("TMPDIR", tmp.to_str().context("the path")?)])?;
    said(tool, place.path())?;
    let _down = TakeDown(place.path());
    remove_leftovers()?;
    assert!(kept(workspace.path())?.is_empty(), "another workspace's");
    let stacks = kept(place.path())?;
    let [stack] = stacks.as_slice() else { panic!("one stack, not {}", stacks.len()) };
    assert_eq!(stack.servers.len(), SERVERS.len());
    assert!(stack.servers.iter().all(|server| server.running), "{:?}", stack.servers);
    let connections = &stack.connections;
    assert!(connections.keep);
    assert_eq!(ask(connections, "order", &connections.superuser_password, "SELECT 1")?, "1");
    take_down(connections)?;
    assert_nothing_of(&connections.dir);
    assert!(kept(place.path())?.is_empty());
    take_down(connections)
}

/// So that a failed test leaves no servers.
struct TakeDown<'a>(&'a Path);

impl Drop for TakeDown<'_> {
    fn drop(&mut self) {
        for stack in kept(self.0).into_iter().flatten() {
            let _ = take_down(&stack.connections);
        }
    }
}

/// The tool of the tests above, where it is given a task. Its workspace is the working directory; what it
/// has to say is in the file `said` there. As a test: what is no task fails.
#[tokio::test]
async fn helper() -> Result<()> {
    let Ok(task) = std::env::var(HELP) else {
        let place = place()?;
        let said = said(run_helper("no such task", place.path(), &[])?, place.path());
        ensure!(said.is_err(), "what is no task succeeded: {said:?}");
        return Ok(());
    };
    let workspace = std::env::current_dir()?;
    let words = match task.as_str() {
        "start" => match Stack::start(&workspace, ALL).await {
            Err(error) => format!("{error:#}"),
            Ok(_stack) => {
                fs::write(workspace.join("said"), "started")?;
                // until it is killed; a test that does not must not hang
                tokio::time::sleep(Duration::from_secs(60)).await;
                "nobody killed it".to_owned()
            }
        },
        "give up" => {
            let given_up =
                tokio::time::timeout(Duration::from_millis(600), Stack::start(&workspace, ALL)).await;
            ensure!(given_up.is_err(), "so quick?");
            String::new()
        }
        "keep" => Stack::start(&workspace, WITHOUT_EMULATOR).await?.keep()?.dir.display().to_string(),
        "clean" => remove_leftovers()?.join("\n"),
        other => anyhow::bail!("no task {other}"),
    };
    Ok(fs::write(workspace.join("said"), words)?)
}

/// A directory for a tool; one for its stacks in it, which the servers' account can enter.
fn place() -> Result<TempDir> {
    let place = tempfile::tempdir()?;
    fs::create_dir(place_of_stacks(place.path()))?;
    for dir in [place.path(), &place_of_stacks(place.path())] {
        fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    }
    Ok(place)
}

fn place_of_stacks(place: &Path) -> PathBuf {
    place.join("tmp")
}

fn only_stack_in(place: &Path) -> Result<PathBuf> {
    let mut stacks = Vec::new();
    for entry in fs::read_dir(place_of_stacks(place))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("xtask-stack-") {
            stacks.push(entry.path());
        }
    }
    ensure!(stacks.len() == 1, "{stacks:?} instead of one stack");
    Ok(stacks.remove(0))
}

fn run_helper(task: &str, place: &Path, variables: &[(&str, &str)]) -> Result<Child> {
    Command::new(std::env::current_exe()?)
        .args(["--exact", "native::helper", "--quiet"])
        .current_dir(place)
        .env(HELP, task)
        .env("TMPDIR", place_of_stacks(place))
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running this binary again")
}

/// What the tool had to say after it ended.
fn said(tool: Child, place: &Path) -> Result<String> {
    let output = tool.wait_with_output()?;
    ensure!(output.status.success(), "{}", text(&output));
    fs::read_to_string(place.join("said")).context("it said nothing")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn wait_for(what: &str, come: impl Fn() -> bool) -> Result<()> {
    wait::for_state_blocking(what, within(60, 5), || {
        Ok(if come() { State::Ready(()) } else { State::NotYet("it is not there") })
    })
}

fn psql(connections: &Connections, server: &str, password: &str, sql: &str) -> Result<Command> {
    let mut command = Command::new(postgres_bindir()?.join("psql"));
    command
        .args(["-XAtq", "-h", "127.0.0.1", "-U", "postgres", "-d", "postgres", "-c", sql])
        .args(["-p", &connections.server(server)?.port.to_string()])
        .env("PGPASSWORD", password);
    Ok(command)
}

fn ask(connections: &Connections, server: &str, password: &str, sql: &str) -> Result<String> {
    let output = psql(connections, server, password, sql)?.output()?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(text(&output).trim_end().to_owned())
}

/// A client whose query computes without ever looking up.
fn busy_backend(connections: &Connections) -> Result<Child> {
    let (password, work) = (&connections.superuser_password, "SELECT count(*) FROM generate_series(1, 1e12)");
    let client = psql(connections, "order", password, work)?.stderr(Stdio::null()).spawn()?;
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12)' AND state = 'active'";
    wait_for("query", || ask(connections, "order", password, active).is_ok_and(|count| count == "1"))?;
    Ok(client)
}

fn http_get(host_port: &str) -> Result<String> {
    let mut stream = TcpStream::connect(host_port)?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host_port}\r\nConnection: close\r\n\r\n")?;
    let mut answer = vec![0; 64];
    let length = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// Neither a stack (at or in `dir`) nor a process that names it, nor one that is titled after it.
fn assert_nothing_of(dir: &Path) {
    if dir.ends_with("tmp") {
        assert_eq!(fs::read_dir(dir).map(Iterator::count).ok(), Some(0), "{} is not empty", dir.display());
    } else {
        assert!(!dir.exists(), "{} is still there", dir.display());
    }
    let named = dir.display().to_string();
    let titled = format!("postgres: {}/", dir.file_name().unwrap_or_default().display());
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        assert!(!line.contains(&named) && !line.starts_with(&titled), "still running: {line}");
    }
}
