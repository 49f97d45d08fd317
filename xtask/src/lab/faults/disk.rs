//! A small disk that can be filled: a tmpfs in a mount namespace of its own, which needs no privilege
//! where the kernel allows user namespaces, and goes with the process that holds it.

use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// The file that takes what room is left.
const FILLER: &str = "filler";
/// `$1`: where, `$2`: how large. Its standard input is ours: it ends with us, however we end.
const HOLD: &str = "mount -t tmpfs -o \"size=$2,mode=700\" none \"$1\" && echo mounted && exec cat";

/// The disk; dropped, it is gone with all that is on it.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    pid: u32,
    at: PathBuf,
}

impl SmallDisk {
    /// On the directory `at`, for those that [`SmallDisk::command`] starts; `size` as tmpfs takes it.
    ///
    /// # Errors
    /// Says why this machine does not allow it.
    pub async fn mount(at: &Path, size: &str) -> Result<SmallDisk> {
        let namespaces = if geteuid().is_root() { "--mount" } else { "--map-root-user" };
        let mut command = Command::new("unshare");
        // Twice --mount is once.
        command.args([namespaces, "--mount", "sh", "-c", HOLD, "sh"]).arg(at).arg(size);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut holder = command.spawn().context("starting unshare")?;
        let (out, err) = (holder.stdout.take(), holder.stderr.take());
        let mut line = String::new();
        BufReader::new(out.context("no output")?).read_line(&mut line).await.context("unshare")?;
        if line.trim() != "mounted" {
            let mut said = String::new();
            err.context("no output")?.read_to_string(&mut said).await.context("unshare")?;
            bail!("no tmpfs can be mounted: {}", said.trim());
        }
        let pid = holder.id().context("unshare has ended")?;
        Ok(SmallDisk { holder, pid, at: at.to_path_buf() })
    }

    /// Its directory as everybody else sees it. Not to be made canonical: it is a path through /proc.
    pub fn path(&self) -> PathBuf {
        let at = self.at.strip_prefix("/").unwrap_or(&self.at);
        Path::new("/proc").join(self.pid.to_string()).join("root").join(at)
    }

    /// A program that sees the disk; it keeps the pid of what is started.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid)).arg("--mount");
        if !geteuid().is_root() {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--").arg(program);
        command
    }

    /// Takes all the room that is left, to the last byte.
    pub fn fill(&self) -> Result<()> {
        let path = self.path().join(FILLER);
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let mut file = file.with_context(|| format!("writing {}", path.display()))?;
        let mut piece = vec![0; 1 << 16];
        loop {
            match file.write_all(&piece) {
                Ok(()) => {}
                Err(error) if error.kind() != ErrorKind::StorageFull => {
                    return Err(error).with_context(|| format!("writing {}", path.display()));
                }
                Err(_) if piece.len() == 1 => return Ok(()),
                Err(_) => piece.truncate(piece.len() / 2),
            }
        }
    }

    /// Gives the room back.
    pub fn relieve(&self) -> Result<()> {
        let path = self.path().join(FILLER);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Lets it go, with all that is on it.
    pub async fn unmount(mut self) -> Result<()> {
        drop(self.holder.stdin.take());
        self.holder.wait().await.map(drop).context("waiting for the holder of a disk")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_full_for_those_who_see_it_until_it_is_relieved() {
        let at = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(at.path(), "256k").await.unwrap();
        let file = at.path().join("file");
        let write = async || {
            let mut command = disk.command(Path::new("sh"));
            command.args(["-c", "echo text > \"$1\"", "sh"]).arg(&file).stderr(Stdio::null());
            command.status().await.unwrap().success()
        };
        disk.fill().unwrap();
        assert!(!write().await);
        disk.relieve().unwrap();
        assert!(write().await);
        assert_eq!(fs::read_to_string(disk.path().join("file")).unwrap(), "text\n");
        assert!(!file.exists(), "nobody else sees it");
        disk.unmount().await.unwrap();
    }
}
