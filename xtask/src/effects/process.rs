//! Child processes: a clean environment, no secret in the arguments, killed when nothing waits for
//! them any more, and with us where we are killed: a pg_dump that outlived its run would write into the
//! files of whoever goes on with it. Servers alone may outlive us. Nothing else starts programs, but for
//! the short ones in `chores`.

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getppid};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output as Written};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A program to run: arguments are visible to every user of the machine, the environment is not.
pub struct Program {
    path: OsString,
    arguments: Vec<OsString>,
    environment: HashMap<OsString, OsString>,
    directory: Option<PathBuf>,
    /// Whose it is, where not ours: user and group.
    account: Option<(u32, u32)>,
    /// A group of its own: a Ctrl-C on the terminal does not reach it.
    own_group: bool,
    /// It is a server, which may have to outlive us: whoever starts it stops it.
    outlives: bool,
    stdin: Option<PipeReader>,
    /// Where stdout and stderr go.
    output: Option<(OwnedFd, OwnedFd)>,
}

/// Kills the child when the one who waits for it is gone (Ctrl-C drops the future).
struct KillOnDrop<F: Fn() -> std::io::Result<()>>(F);

impl<F: Fn() -> std::io::Result<()>> Drop for KillOnDrop<F> {
    fn drop(&mut self) {
        // It has ended already, in all but the interrupted case; then there is nothing to kill.
        let _ = (self.0)();
    }
}

/// The kernel kills the child when the thread that starts it ends: it has to be one that stays, as the
/// runtime's workers do, and those that wait for a blocking call do not.
fn ends_with_us(command: &mut std::process::Command) {
    let parent = Pid::this();
    let ends = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // We may have been killed just before.
        if getppid() == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between fork and exec, two system calls and no allocation.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(ends);
    }
}

impl Program {
    pub fn new(path: &Path, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
        // Nothing ambient chooses a server (DESIGN rule 17).
        let kept = std::env::vars_os().filter(|(key, _)| !is_ambient(&key.to_string_lossy()));
        let program = Program {
            path: path.into(),
            arguments: Vec::new(),
            environment: kept.collect(),
            directory: None,
            account: None,
            own_group: false,
            outlives: false,
            stdin: None,
            output: None,
        };
        program.args(arguments).env("LC_ALL", "C")
    }

    /// A server: nothing of our environment, a group of its own, and the account's, where it has one.
    /// `own` is a directory it may write to.
    pub fn server(path: &Path, own: &Path, account: Option<(u32, u32)>) -> Program {
        let mut program = Program::new(path, [""; 0]);
        program.environment.retain(|key, _| key == "PATH" || key == "LC_ALL");
        program.account = account;
        program.own_group = true;
        program.outlives = true;
        program.env("HOME", own).env("TMPDIR", own)
    }

    pub fn arg(self, argument: impl Into<OsString>) -> Program {
        self.args([argument])
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Program {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, key: &str, value: impl Into<OsString>) -> Program {
        self.environment.insert(key.into(), value.into());
        self
    }

    /// Without these variables.
    pub fn without(mut self, keys: &[&str]) -> Program {
        self.environment.retain(|key, _| !keys.iter().any(|without| key == without));
        self
    }

    /// With no others than these.
    pub fn only(mut self, keys: &[&str]) -> Program {
        self.environment.retain(|key, _| keys.iter().any(|only| key == only));
        self
    }

    /// Where it runs.
    pub fn directory(mut self, path: &Path) -> Program {
        self.directory = Some(path.into());
        self
    }

    pub fn secret(self, key: &str, value: &SecretString) -> Program {
        self.env(key, value.expose_secret())
    }

    /// What it reads, instead of nothing.
    pub fn stdin(mut self, pipe: PipeReader) -> Program {
        self.stdin = Some(pipe);
        self
    }

    /// Where its stdout and stderr go: files, or a pipe's end.
    pub fn output(mut self, out: impl Into<OwnedFd>, err: impl Into<OwnedFd>) -> Program {
        self.output = Some((out.into(), err.into()));
        self
    }

    /// In a group of its own: it is killed with all that it has started.
    pub fn own_group(mut self) -> Program {
        self.own_group = true;
        self
    }

    fn name(&self) -> String {
        Path::new(&self.path).file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// All but its input and output; how it ends is no error yet.
    fn expression(&self) -> duct::Expression {
        // Not as a Path: duct takes a bare name then for a file in this directory.
        let mut expression = duct::cmd(&self.path, &self.arguments).full_env(&self.environment).unchecked();
        if let Some(directory) = &self.directory {
            expression = expression.dir(directory);
        }
        let (account, own_group, outlives) = (self.account, self.own_group, self.outlives);
        expression.before_spawn(move |command| {
            if own_group {
                command.process_group(0);
            }
            if let Some((user, group)) = account {
                command.uid(user).gid(group);
            }
            if !outlives {
                ends_with_us(command);
            }
            Ok(())
        })
    }

    /// Runs it to its end and returns what it printed on stdout.
    ///
    /// # Errors
    /// Where it cannot be started, or ends with another status than 0: with the last lines of its
    /// stderr.
    pub async fn read(self) -> Result<String> {
        let name = self.name();
        let (output, ()) = self.observed(|_| Ok(())).await?;
        if !output.status.success() {
            bail!("{name} ended with {}: {}", output.status, last_lines(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end and returns what it printed and how it ended; `look` sees its process once it
    /// runs, on a thread of its own, and it is not reaped before that returns.
    ///
    /// # Errors
    /// Where it cannot be started, or `look` fails; how it ended is for the caller to judge.
    pub async fn observed<T: Send + 'static>(
        self,
        look: impl FnOnce(u32) -> Result<T> + Send + 'static,
    ) -> Result<(Written, T)> {
        let name = self.name();
        let captured = self.expression().stdin_null().stdout_capture().stderr_capture();
        // Killed where this future is dropped.
        let running = self.launch(&captured)?;
        let (pid, waiting) = (running.pid, running.handle.clone());
        let ended = tokio::task::spawn_blocking(move || anyhow::Ok((look(pid)?, waiting.wait()?.clone())));
        let ended = ended.await.with_context(|| format!("waiting for {name}"))?;
        let (seen, output) = ended.with_context(|| format!("waiting for {name}"))?;
        Ok((output, seen))
    }

    /// Runs it to its end with our own input and output, and returns its exit code.
    pub async fn foreground(self) -> Result<i32> {
        let running = self.launch(&self.expression())?;
        let status = running.wait().await?;
        status.code().with_context(|| format!("{} was ended: {status}", running.name))
    }

    /// The same, but what it prints on stdout is returned, too.
    pub async fn foreground_read(self) -> Result<(i32, String)> {
        let running = self.launch(&self.expression().stdout_capture())?;
        let handle = running.handle.clone();
        let output = tokio::task::spawn_blocking(move || anyhow::Ok(handle.wait()?.clone()));
        let output = output.await.with_context(|| format!("waiting for {}", running.name))??;
        let code = output.status.code();
        let code = code.with_context(|| format!("{} was ended: {}", running.name, output.status))?;
        Ok((code, String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    /// Starts it; what it writes goes where [`Program::output`] said.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(mut self) -> Result<Running> {
        let mut expression = match self.stdin.take() {
            Some(pipe) => self.expression().stdin_file(pipe),
            None => self.expression().stdin_null(),
        };
        if let Some((out, err)) = self.output.take() {
            expression = expression.stdout_file(out).stderr_file(err);
        }
        self.launch(&expression)
    }

    fn launch(&self, expression: &duct::Expression) -> Result<Running> {
        let name = self.name();
        let handle = expression.start().with_context(|| format!("starting {name}"))?;
        let pid = *handle.pids().first().with_context(|| format!("{name} has no process"))?;
        let (own_group, outlives) = (self.own_group, self.outlives);
        Ok(Running { name, handle: Arc::new(handle), pid, own_group, outlives })
    }
}

/// Kills it, with its group where it leads one.
fn kill(handle: &duct::Handle, group: bool) -> std::io::Result<()> {
    // Once reaped, its number may be another's.
    if handle.try_wait()?.is_some() {
        return Ok(());
    }
    for pid in handle.pids().into_iter().filter(|_| group) {
        // It may have ended just now: then there is nothing to kill.
        let _ = killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
    handle.kill()
}

/// A child that runs beside us; killed when dropped, unless it is a server.
pub struct Running {
    name: String,
    handle: Arc<duct::Handle>,
    pid: u32,
    own_group: bool,
    outlives: bool,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it has ended, if it has.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        let ended = self.handle.try_wait().with_context(|| format!("watching {}", self.name))?;
        Ok(ended.map(|output| output.status))
    }

    /// Waits for its end.
    pub async fn wait(&self) -> Result<ExitStatus> {
        let (name, waiting) = (&self.name, self.handle.clone());
        let ended = tokio::task::spawn_blocking(move || waiting.wait().map(|output| output.status)).await;
        ended.with_context(|| format!("waiting for {name}"))?.with_context(|| format!("waiting for {name}"))
    }

    pub fn kill(&self) -> Result<()> {
        kill(&self.handle, self.own_group).with_context(|| format!("killing {}", self.name))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.outlives {
            // Gone already, or about to be: there is nobody left to tell.
            let _ = self.kill();
        }
    }
}

/// A child whose output is read as it comes.
struct Output {
    child: Arc<duct::ReaderHandle>,
    /// Bytes so far.
    read: Arc<AtomicU64>,
}

impl Read for Output {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = (&*self.child).read(buffer)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

impl Program {
    /// Runs it and hands its stdout to `reader`, on a thread of its own. A program that goes round in
    /// circles is killed once it has said nothing for `patience`.
    pub async fn pipe<T: Send + 'static>(
        self,
        patience: Duration,
        reader: impl FnOnce(&mut dyn BufRead) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let name = self.name();
        let child = self.expression().stdin_null().stderr_capture().reader();
        let child = Arc::new(child.with_context(|| format!("starting {name}"))?);
        let _guard = KillOnDrop(|| child.kill());
        let read = Arc::new(AtomicU64::new(0));
        let output = Output { child: child.clone(), read: read.clone() };
        let mut reading = tokio::task::spawn_blocking(move || {
            let mut output = BufReader::with_capacity(1 << 18, output);
            let result = reader(&mut output)?;
            // To the end, so that the child can end.
            std::io::copy(&mut output, &mut std::io::sink())?;
            anyhow::Ok(result)
        });
        let mut seen = None;
        let result = loop {
            tokio::select! {
                joined = &mut reading => break joined.with_context(|| format!("reading from {name}"))?,
                () = tokio::time::sleep(patience) => {
                    let now = Some(read.load(Ordering::Relaxed));
                    if now == seen {
                        bail!("{name} has said nothing for {} s: it has been stopped", patience.as_secs());
                    }
                    seen = now;
                }
            }
        };
        if let Ok(Some(ended)) = child.try_wait()
            && !ended.status.success()
        {
            bail!("{name} ended with {}: {}", ended.status, last_lines(&ended.stderr));
        }
        result.with_context(|| format!("reading from {name}"))
    }
}

/// Variables by which libpq or a Firestore client would choose a server on their own.
pub fn is_ambient(key: &str) -> bool {
    key.starts_with("PG") || key == "FIRESTORE_EMULATOR_HOST"
}

/// What a program said at its end.
pub(super) fn last_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    match lines.len() {
        0 => "it said nothing".to_string(),
        n => lines[n.saturating_sub(5)..].join("\n  "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failure_shows_what_the_program_said() {
        let error = Program::new(Path::new("sh"), ["-c", "echo lost >&2; exit 7"]).read().await.unwrap_err();
        assert_eq!(error.to_string(), "sh ended with exit status: 7: lost");
    }

    #[tokio::test]
    async fn nothing_ambient_is_passed_on_and_what_is_given_is() {
        let show = |program: Program| async { program.read().await.unwrap() };
        let path = Path::new("sh");
        let script = ["-c", "echo ${HOME-none} ${PGHOST-none} ${PGPASSWORD-none} $LC_ALL"];
        let program = Program::new(path, script).env("HOME", "/here");
        assert_eq!(show(program.secret("PGPASSWORD", &"given".into())).await, "/here none given C\n");
        let server = Program::server(path, Path::new("/own"), None).args(script);
        assert_eq!(show(server).await, "/own none none C\n");
    }

    #[tokio::test]
    async fn what_runs_beside_us_reads_and_writes_pipes_and_is_killed_when_dropped() {
        let ((input, mut ours), (mut shown, out)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let program = Program::new(Path::new("sh"), ["-c", "read word; echo $word; sleep 60 & wait"]);
        let program = program.own_group().stdin(input).output(out.try_clone().unwrap(), out);
        let running = program.start().unwrap();
        std::io::Write::write_all(&mut ours, b"word\n").unwrap();
        let mut text = [0; 5];
        shown.read_exact(&mut text).unwrap();
        assert_eq!((&text, running.ended().unwrap()), (b"word\n", None));
        drop(running);
        // Its child held the pipe too: both are gone where it ends.
        assert_eq!(shown.read_to_end(&mut Vec::new()).unwrap(), 0);
    }

    #[tokio::test]
    async fn an_abandoned_program_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mark = dir.path().join("mark");
        let script = format!("sleep 1; touch {}", mark.display());
        let run = Program::new(Path::new("sh"), ["-c", &script]).read();
        assert!(tokio::time::timeout(std::time::Duration::from_millis(100), run).await.is_err());
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        assert!(!mark.exists());
    }
}
