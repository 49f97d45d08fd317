//! The binary as a process that is watched, interrupted and looked after; its servers in a temporary
//! directory of its own, so that no test finds another's.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::{Said, Shop};
use anyhow::bail;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use xtask::effects::postgres::Connection;
use xtask::effects::wait::{self, Patience, State};
use xtask::model::Database;
use xtask::servers::native;

/// Two signals of one kind are two only after a pause: one of which there is no state to wait for.
pub const ANOTHER_SIGNAL: Duration = Duration::from_millis(700);

/// How long a test waits for a state, and how often it looks.
pub fn within(seconds: u64, every_millis: u64) -> Patience {
    Patience { deadline: Duration::from_secs(seconds), interval: Duration::from_millis(every_millis) }
}

/// A temporary directory for stacks, which the servers' account can enter. What is left running in it
/// is ended with it.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        Place { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The stacks in it.
    pub fn stacks(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path()).unwrap().flatten().map(|e| e.path());
        entries.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("xtask-")).collect()
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = crate::support::binary();
        command
            .args(crate::support::in_full(arguments))
            .env("TMPDIR", self.path())
            .env("XTASK_RUNTIME", "native")
            .stdin(Stdio::null());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Tool {
        Tool::start(self.command(arguments))
    }

    /// Neither a stack nor a process that names one.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert_eq!(self.stacks(), Vec::<PathBuf>::new());
        assert_eq!(processes_naming(&self.path().display().to_string()), Vec::<String>::new());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for dir in self.stacks() {
            if let Ok(stack) = native::Connections::read(&dir) {
                let _ = native::take_down(&stack);
            }
        }
    }
}

/// What follows runs in a mount namespace of its own, in which it may mount.
pub fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.arg(if nix::unistd::geteuid().is_root() { "-m" } else { "-rm" });
    command
}

/// The same command where no file may grow beyond some kilobytes: it begins, and fails with the first that does.
pub fn with_small_files(wanted: &Command) -> Command {
    let mut command = Command::new("sh");
    // Without the signal it is an error that the writer is told.
    command.args(["-c", "trap '' XFSZ; ulimit -f 40; exec \"$@\"", "sh"]);
    command.arg(wanted.get_program()).args(wanted.get_args());
    for (name, value) in wanted.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// The command lines of all processes that hold this text.
pub fn processes_naming(text: &str) -> Vec<String> {
    command_lines().into_values().filter(|line| line.contains(text)).collect()
}

pub fn command_lines() -> BTreeMap<u32, String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        Some((pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
    .collect()
}

/// The binary under way; killed if the test fails.
pub struct Tool {
    child: Child,
    output: tempfile::TempDir,
}

impl Tool {
    pub fn start(mut command: Command) -> Tool {
        let output = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(output.path().join(name)).unwrap();
        let child = command.stdout(file("out")).stderr(file("err")).spawn().unwrap();
        Tool { child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.output.path().join("err")).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for a state of the world while the tool runs.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, come: impl Fn() -> bool) {
        let patience = within(60, 3);
        let come = wait::for_state_blocking(what, patience, || {
            if come() {
                return Ok(State::Ready(()));
            }
            match self.child.try_wait().unwrap() {
                Some(status) => bail!("ended with {status} before {what}: {}", self.stderr()),
                None => Ok(State::NotYet(self.stderr())),
            }
        });
        come.unwrap_or_else(|error| panic!("{error:#}"));
    }

    /// Waits until it has said this.
    #[track_caller]
    pub fn wait_for_words(&mut self, words: &str) {
        let err = self.output.path().join("err");
        self.wait_for(words, || fs::read_to_string(&err).unwrap().contains(words));
    }

    /// However it ends.
    pub fn wait_for_its_end(&mut self) {
        self.child.wait().unwrap();
    }

    /// Whether it says this before it ends.
    pub fn says(&mut self, words: &str) -> bool {
        let err = self.output.path().join("err");
        let said = wait::for_state_blocking(words, within(60, 3), || {
            if fs::read_to_string(&err).unwrap().contains(words) {
                return Ok(State::Ready(true));
            }
            Ok(match self.child.try_wait().unwrap() {
                Some(_) => State::Ready(false),
                None => State::NotYet(self.stderr()),
            })
        });
        said.unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// What it said, once it has ended, which it must within so many seconds.
    #[track_caller]
    pub fn ends_within(mut self, seconds: u64) -> Said {
        let ended = wait::for_state_blocking("its end", within(seconds, 5), || {
            Ok(match self.child.try_wait().unwrap() {
                Some(status) => State::Ready(status),
                None => State::NotYet(self.stderr()),
            })
        });
        let status = ended.unwrap_or_else(|error| panic!("{error:#}"));
        let text = |name: &str| fs::read_to_string(self.output.path().join(name)).unwrap();
        Said { code: status.code(), stdout: text("out"), stderr: text("err") }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stops a process that is not our child, to be killed or continued; false where it has ended.
pub fn stopped(pid: u32) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGSTOP).is_ok()
}

/// Sends a signal to a process that is not our child.
pub fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// Everything in a database but the nonces of instants: a line for each column, index, trigger, view, and the digest of each table
/// and sequence.
pub async fn contents(connection: &mut Connection) -> String {
    let query = "
        WITH c AS (
            SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname) AS name
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        )
        SELECT line FROM (
            SELECT 'schema ' || nspname AS line FROM pg_namespace WHERE nspname !~ '^pg_'
            UNION ALL
            SELECT c.name || ' ' || query_to_xml(format(CASE c.relkind
                WHEN 'S' THEN 'SELECT last_value, is_called FROM %s'
                ELSE 'SELECT count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM %s t'
                END, c.name), true, false, '')::text FROM c WHERE c.relkind IN ('r', 'S') AND c.name <> 'xtask.instants'
            UNION ALL
            SELECT format('%s %s %s', c.name, a.attname, format_type(a.atttypid, a.atttypmod))
            FROM c JOIN pg_attribute a ON a.attrelid = c.oid WHERE a.attnum > 0 AND NOT a.attisdropped
            UNION ALL
            SELECT pg_get_indexdef(c.oid) FROM c WHERE c.relkind = 'i'
            UNION ALL
            SELECT pg_get_triggerdef(t.oid) FROM c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
        ) lines ORDER BY line";
    let rows = connection.rows(query).await.unwrap();
    rows.iter().map(|row| sqlx::Row::get::<String, _>(row, 0) + "\n").collect()
}

/// What the superuser sees in the targets: every row, and every document of every collection that the
/// tool knows of.
pub async fn targets(shop: &Shop) -> Vec<String> {
    let mut all = Vec::new();
    for database in Database::ALL {
        all.push(contents(&mut shop.superuser(shop.settings.target(database)).await).await);
    }
    for collection in ["users", "user_sessions", "xtask_nowhere", "xtask_doctor"] {
        for (id, fields) in shop.documents(collection).await {
            all.push(format!("{collection}/{id} {fields:?}"));
        }
    }
    all
}

/// The same, and the source: all that a refusal must not change.
pub async fn everything(shop: &Shop) -> Vec<String> {
    let mut all = targets(shop).await;
    all.push(contents(&mut shop.superuser(&shop.settings.source).await).await);
    all
}
