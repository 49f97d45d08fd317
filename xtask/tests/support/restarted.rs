//! A shop's servers with other settings than a stack's have, and stopped.
#![allow(dead_code, reason = "every test file uses another part of it")]
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
        Restarted::server(shop, "source", settings)
    }

    /// `name`: as in the shop's settings.
    pub fn server(shop: &Shop, name: &str, settings: &str) -> Restarted {
        let restarted = Restarted::of(shop, name);
        let mut file = OpenOptions::new().append(true).open(restarted.data.join("postgresql.conf")).unwrap();
        writeln!(file, "{settings}").unwrap();
        let log = restarted.data.join("restarted.log");
        let restart = ["restart", "--wait", "--mode=fast", "--timeout=60", "--log"];
        assert!(restarted.control(&restart).arg(&log).status().unwrap().success(), "see {}", log.display());
        restarted
    }

    /// Stops it; the shop does without it from here on.
    pub fn stop(shop: &Shop, name: &str) {
        let stop = ["stop", "--wait", "--mode=fast", "--timeout=60"];
        assert!(Restarted::of(shop, name).control(&stop).status().unwrap().success());
    }

    fn of(shop: &Shop, name: &str) -> Restarted {
        let data = Connections::read(shop.dir()).unwrap().server(name).unwrap().data.clone();
        Restarted { data }
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
