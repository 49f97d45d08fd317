//! A shop's source with other settings than a stack's servers have.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::Shop;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use xtask::servers::native::{self, Connections};

/// Stops with the value, which has to go before its shop.
pub struct Restarted {
    data: PathBuf,
}

impl Restarted {
    /// `settings`: lines of `postgresql.conf`.
    pub fn source(shop: &Shop, settings: &str) -> Restarted {
        let data = Connections::read(shop.dir()).unwrap().server("source").unwrap().data.clone();
        let mut file = OpenOptions::new().append(true).open(data.join("postgresql.conf")).unwrap();
        writeln!(file, "{settings}").unwrap();
        let restarted = Restarted { data };
        let log = restarted.data.join("restarted.log");
        let restart = ["restart", "--wait", "--mode=fast", "--timeout=60", "--log"];
        assert!(restarted.control(&restart).arg(&log).status().unwrap().success(), "see {}", log.display());
        restarted
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let owner = std::fs::metadata(&self.data).unwrap();
        let mut command = Command::new(native::postgres_bindir().unwrap().join("pg_ctl"));
        command.uid(owner.uid()).gid(owner.gid()).current_dir(&self.data);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.arg("--pgdata").arg(&self.data).args(arguments);
        command
    }
}

impl Drop for Restarted {
    fn drop(&mut self) {
        let _ = self.control(&["stop", "--mode=immediate"]).stderr(Stdio::null()).status();
    }
}
