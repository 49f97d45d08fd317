//! A small disk that can be filled: a tmpfs in a mount namespace of its own, which needs no privilege
//! where the kernel allows user namespaces, and goes with the process that holds it.

use crate::effects::process::{Program, Running};
use anyhow::{Context, Result, bail};
use nix::unistd::geteuid;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::path::{Path, PathBuf};

/// The file that takes what room is left.
const FILLER: &str = "filler";
/// `$1`: where, `$2`: how large. Its standard input is ours: it ends with us, however we end.
const HOLD: &str = "mount -t tmpfs -o \"size=$2,mode=700\" none \"$1\" && echo mounted && exec cat";

/// The disk; dropped, it is gone with all that is on it.
pub struct SmallDisk {
    holder: Running,
    /// Closed, the holder ends.
    stdin: PipeWriter,
    at: PathBuf,
}

impl SmallDisk {
    /// On the directory `at`, for those that [`SmallDisk::command`] starts; `size` as tmpfs takes it.
    ///
    /// # Errors
    /// Says why this machine does not allow it.
    pub async fn mount(at: &Path, size: &str) -> Result<SmallDisk> {
        let namespaces = if geteuid().is_root() { "--mount" } else { "--map-root-user" };
        // Twice --mount is once.
        let holder = Program::new(Path::new("unshare"), [namespaces, "--mount", "sh", "-c", HOLD, "sh"]);
        let ((input, stdin), (out, written)) = (pipe()?, pipe()?);
        let written = (written.try_clone()?, written);
        let holder = holder.arg(at).arg(size).stdin(input).output(written.0, written.1).start()?;
        tokio::task::spawn_blocking(move || mounted(out)).await.context("waiting for unshare")??;
        Ok(SmallDisk { holder, stdin, at: at.to_path_buf() })
    }

    /// Its directory as everybody else sees it. Not to be made canonical: it is a path through /proc.
    pub fn path(&self) -> PathBuf {
        let at = self.at.strip_prefix("/").unwrap_or(&self.at);
        Path::new("/proc").join(self.holder.pid().to_string()).join("root").join(at)
    }

    /// A program that sees the disk; it keeps the pid of what is started.
    pub fn program(&self, program: &Path) -> Program {
        let enter = Program::new(Path::new("nsenter"), [format!("--target={}", self.holder.pid())]);
        let enter = enter.arg("--mount");
        let enter =
            if geteuid().is_root() { enter } else { enter.args(["--user", "--preserve-credentials"]) };
        enter.arg("--").arg(program)
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
    pub async fn unmount(self) -> Result<()> {
        drop(self.stdin);
        self.holder.wait().await.map(drop)
    }
}

/// Waits until the holder says so; what else it says is why it cannot.
fn mounted(out: PipeReader) -> Result<()> {
    let (mut out, mut said) = (BufReader::new(out), String::new());
    out.read_line(&mut said).context("reading from unshare")?;
    if said.trim() == "mounted" {
        return Ok(());
    }
    out.read_to_string(&mut said).context("reading from unshare")?;
    bail!("no tmpfs can be mounted: {}", said.trim())
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
            let program = disk.program(Path::new("sh"));
            program.args(["-c", "echo text > \"$1\"", "sh"]).arg(&file).read().await.is_ok()
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
