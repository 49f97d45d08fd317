//! The private directory of a stack, and the children that live in it.

use crate::effects::process::Program;
use crate::effects::random;
use crate::effects::wait::{self, Patience, State, until_blocking};
use crate::servers::native::machine::{self, Account};
use crate::servers::native::processes::{self, Started};
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) const STACK_PREFIX: &str = "xtask-stack-";
/// A directory whose lock has not been taken yet.
pub(super) const NEW_PREFIX: &str = "xtask-new-";
pub(super) const LOCK: &str = "lock";
pub(super) const STACK_JSON: &str = "stack.json";

/// How long a server may take until it answers; the emulator needs up to 12 s on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);
/// How long what a helper has left may take to go away.
const REMOVING: Patience = Patience { deadline: Duration::from_secs(2), interval: TICK };
/// Another program may take a free port before our server does.
const PORTS_TO_TRY: usize = 5;

/// Dropped: its processes are ended and the directory is removed.
pub(super) struct Home {
    dir: PathBuf,
    /// The servers' account, where it is not our own.
    pub account: Option<Account>,
    children: Mutex<Vec<Started>>,
    /// Held, and free again once the tool ends, however it ends.
    _lock: File,
    over: bool,
}

/// What a server did while we waited for it.
enum StartOutcome {
    Ready,
    PortTaken,
}

impl Home {
    /// A new directory with its lock taken. It gets its name after that, so that a cleaner never sees
    /// it without.
    pub fn create() -> Result<Home> {
        let account = machine::account()?;
        let root = machine::temp_root(account)?;
        let suffix = random::hex(4)?;
        let (new, dir) =
            (root.join(format!("{NEW_PREFIX}{suffix}")), root.join(format!("{STACK_PREFIX}{suffix}")));
        let lock = locked_directory(&new, &dir)
            .inspect_err(|_| drop(fs::remove_dir_all(&new)))
            .with_context(|| format!("making {}", dir.display()))?;
        let home = Home { dir, account, children: Mutex::default(), _lock: lock, over: false };
        if account.is_some() {
            fs::set_permissions(&home.dir, Permissions::from_mode(0o711))
                .context("opening it for the servers")?;
        }
        Ok(home)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// A private directory that belongs to the servers' account.
    pub fn subdirectory(&self, name: &str, account: Option<Account>) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        DirBuilder::new().mode(0o700).create(&dir).with_context(|| format!("making {}", dir.display()))?;
        self.give(&dir, account)?;
        Ok(dir)
    }

    pub fn give(&self, path: &Path, account: Option<Account>) -> Result<()> {
        let Some(Account { uid, gid }) = account else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).with_context(|| format!("giving {} to the servers", path.display()))
    }

    /// A program with nothing of our environment and no terminal; `own` is a directory it may write to.
    pub fn program(&self, program: &Path, own: &Path, account: Option<Account>) -> Program {
        let account = account.map(|Account { uid, gid }| (uid, gid));
        // in a group of its own a Ctrl-C on the terminal does not reach it: we end it ourselves
        Program::server(program, own, account).directory(&self.dir)
    }

    /// Starts it with its output in the log of that name. `ending` is the signal that stops it.
    pub fn spawn(&self, program: Program, log: &str, ending: Signal) -> Result<u32> {
        let output = private_file(&self.log(log))?;
        let errors = output.try_clone().context("sharing a log")?;
        let child = program.output(output, errors).start()?;
        let pid = child.pid();
        self.children().push(Started { child, ending });
        Ok(pid)
    }

    /// Runs a helper to its end; the error has the end of its output.
    pub async fn run(&self, program: Program, log: &str, ending: Signal) -> Result<()> {
        let pid = self.spawn(program, log, ending)?;
        let patience = Patience { deadline: DEADLINE, interval: TICK / 4 };
        let ended = wait::for_state(format!("{log} to end"), patience, async || {
            let log_end = LogEnd { home: self, log };
            Ok(match self.exited(pid)? {
                Some(status) if status.success() => State::Ready(()),
                Some(status) => bail!("{log} failed ({status}){log_end}"),
                None => State::NotYet(log_end),
            })
        });
        ended.await
    }

    /// Starts a server (`launch` gives its pid) on a free port, on another one if that is taken
    /// meanwhile, and waits until `ready`.
    pub async fn serve<F: Future<Output = bool>>(
        &self,
        name: &str,
        launch: impl Fn(u16) -> Result<u32>,
        ready: impl Fn(u16, u32) -> F,
    ) -> Result<()> {
        for _ in 0..PORTS_TO_TRY {
            let port = free_port()?;
            let pid = launch(port).with_context(|| format!("starting {name}"))?;
            if let StartOutcome::Ready = self.wait_for(name, pid, || ready(port, pid)).await? {
                return Ok(());
            }
        }
        bail!("{name} found none of {PORTS_TO_TRY} ports free that were free just before")
    }

    async fn wait_for<F: Future<Output = bool>>(
        &self,
        name: &str,
        pid: u32,
        ready: impl Fn() -> F,
    ) -> Result<StartOutcome> {
        let patience = Patience { deadline: DEADLINE, interval: TICK };
        let answers = wait::for_state(format!("{name} to answer"), patience, async || {
            let log_end = LogEnd { home: self, log: name };
            if let Some(status) = self.exited(pid)? {
                // Neither server says why it ended by more than its log.
                if self.log_text(name).contains("Address already in use") {
                    return Ok(State::Ready(StartOutcome::PortTaken));
                }
                bail!("{name} ended before it answered ({status}){log_end}");
            }
            Ok(if ready().await { State::Ready(StartOutcome::Ready) } else { State::NotYet(log_end) })
        });
        answers.await
    }

    /// How the child ended, if it did; it is reaped and forgotten then.
    fn exited(&self, pid: u32) -> Result<Option<ExitStatus>> {
        let mut children = self.children();
        let Some(at) = children.iter().position(|started| started.child.pid() == pid) else {
            bail!("process {pid} is not ours");
        };
        let status = children[at].child.ended()?;
        if status.is_some() {
            children.remove(at);
        }
        Ok(status)
    }

    pub fn log_text(&self, log: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.log(log)).unwrap_or_default()).into_owned()
    }

    fn children(&self) -> MutexGuard<'_, Vec<Started>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves everything running.
    pub fn let_go(&mut self) {
        self.over = true;
    }

    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.over = true;
        let children = self.children.get_mut().unwrap_or_else(PoisonError::into_inner);
        processes::end(&self.dir, children)?;
        remove(&self.dir)
    }
}

/// The last lines of a log as the end of a message, without the frames of Java's stack traces. Read where
/// it is shown only.
struct LogEnd<'a> {
    home: &'a Home,
    log: &'a str,
}

impl fmt::Display for LogEnd<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.home.log_text(self.log);
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("\tat ")).collect();
        let last = &lines[lines.len().saturating_sub(12)..];
        if last.is_empty() {
            return f.write_str(", and its log is empty");
        }
        write!(f, ", the end of its log:\n    {}", last.join("\n    "))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !self.over {
            // no place to report it; what is left is found by the next start
            let _ = self.end();
        }
    }
}

pub fn locked_directory(new: &Path, dir: &Path) -> Result<File> {
    DirBuilder::new().mode(0o700).create(new).context("making a directory")?;
    let lock = private_file(&new.join(LOCK))?;
    lock.try_lock().context("taking its lock")?;
    fs::rename(new, dir).context("giving it its name")?;
    Ok(lock)
}

/// Whether the directory is one of ours: by name prefix, and of no other tool.
pub fn is_ours(dir: &Path, prefix: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let named = dir.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(prefix));
    named && fs::symlink_metadata(dir).is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw())
}

/// Removes a stack's directory, the lock last: until then no other tool takes it for a leftover.
pub fn remove(dir: &Path) -> Result<()> {
    let removed = until_blocking(REMOVING, || {
        Ok(match remove_once(dir) {
            Ok(()) => State::Ready(()),
            Err(error) if error.kind() == ErrorKind::NotFound && !dir.exists() => State::Ready(()),
            // a helper that was killed just now may still have made a file
            Err(error) => State::NotYet(error),
        })
    });
    match removed? {
        State::Ready(()) => Ok(()),
        State::NotYet(error) => Err(error).with_context(|| format!("removing {}", dir.display())),
    }
}

fn remove_once(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    fs::remove_dir_all(dir)
}

/// Creates or empties a file that only its owner may read.
pub fn private_file(path: &Path) -> Result<File> {
    (OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path))
        .with_context(|| format!("writing {}", path.display()))
}

/// Replaces a private file in one step: a reader sees the old text or the new one.
pub(super) fn replace_file(path: &Path, text: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    private_file(&new)?.write_all(text).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("replacing {}", path.display()))
}

fn free_port() -> Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr().context("looking for a free port")?.port())
}
