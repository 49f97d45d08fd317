//! Child processes: a clean environment, no secret in the arguments, killed when nothing waits for
//! them any more, and with us where we are killed: a pg_dump that outlived its run would write into the
//! files of whoever goes on with it.

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use secrecy::{ExposeSecret, SecretString};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A program to run: arguments are visible to every user of the machine, the environment is not.
pub struct Program {
    name: String,
    expression: duct::Expression,
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
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Not as a Path: duct takes a bare name then for a file in this directory.
        let mut expression = duct::cmd(path.as_os_str().to_os_string(), arguments);
        // Nothing ambient chooses a server (DESIGN rule 17).
        for (key, _) in std::env::vars_os() {
            if is_ambient(&key.to_string_lossy()) {
                expression = expression.env_remove(key);
            }
        }
        let expression = expression.before_spawn(|command| {
            ends_with_us(command);
            Ok(())
        });
        Program { name, expression: expression.env("LC_ALL", "C") }
    }

    pub fn env(mut self, key: &str, value: &str) -> Program {
        self.expression = self.expression.env(key, value);
        self
    }

    /// Where it runs.
    pub fn directory(mut self, path: &Path) -> Program {
        self.expression = self.expression.dir(path);
        self
    }

    pub fn secret(mut self, key: &str, value: &SecretString) -> Program {
        self.expression = self.expression.env(key, value.expose_secret());
        self
    }

    /// Runs it to its end and returns what it printed on stdout.
    ///
    /// # Errors
    /// Where it cannot be started, or ends with another status than 0: with the last lines of its
    /// stderr.
    pub async fn read(self) -> Result<String> {
        let name = self.name;
        let handle = self
            .expression
            .stdin_null()
            .stdout_capture()
            .stderr_capture()
            .unchecked()
            .start()
            .with_context(|| format!("starting {name}"))?;
        let handle = Arc::new(handle);
        let _guard = KillOnDrop(|| handle.kill());
        let waiting = handle.clone();
        let output = tokio::task::spawn_blocking(move || waiting.wait().cloned())
            .await
            .with_context(|| format!("waiting for {name}"))?
            .with_context(|| format!("waiting for {name}"))?;
        if !output.status.success() {
            bail!("{name} ended with {}: {}", output.status, last_lines(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Program {
    /// Runs it to its end with our own input and output, and returns its exit code.
    pub async fn foreground(self) -> Result<i32> {
        let name = self.name;
        let handle = self.expression.unchecked().start().with_context(|| format!("starting {name}"))?;
        let handle = Arc::new(handle);
        let _guard = KillOnDrop(|| handle.kill());
        let waiting = handle.clone();
        let ended = tokio::task::spawn_blocking(move || waiting.wait().map(|output| output.status)).await;
        let status = ended.with_context(|| format!("waiting for {name}"))??;
        status.code().with_context(|| format!("{name} was ended: {status}"))
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
        let name = self.name;
        let child = self.expression.stdin_null().stderr_capture().unchecked().reader();
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

fn last_lines(stderr: &[u8]) -> String {
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
