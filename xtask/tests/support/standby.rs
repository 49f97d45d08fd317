//! A standby of a shop's source, which can be told to fall behind.

use super::support::Shop;
use super::tool::within;
use secrecy::ExposeSecret;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use xtask::effects::postgres::{self, Connection};
use xtask::effects::wait::{self, State};
use xtask::servers::native::{self, Connections};
use xtask::settings::Server;

/// Stops with the value.
pub struct Standby {
    data: PathBuf,
    account: (u32, u32),
    server: Server,
}

impl Standby {
    /// Beside the source's own data; returns once it follows.
    pub async fn follow(shop: &Shop) -> Standby {
        let source = Connections::read(shop.dir()).unwrap().server("source").unwrap().data.clone();
        let owner = std::fs::metadata(&source).unwrap();
        let data = source.with_file_name("standby");
        std::fs::create_dir(&data).unwrap();
        std::fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        chown(&data, Some(owner.uid()), Some(owner.gid())).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = shop.settings.source.clone();
        (server.port, server.user) = (port, "postgres".into());
        let standby = Standby { data, account: (owner.uid(), owner.gid()), server };

        let port = shop.settings.source.port.to_string();
        let mut copy = standby.program("pg_basebackup");
        copy.args(["--host=127.0.0.1", "--username=postgres", "--no-password", "--checkpoint=fast"]);
        copy.args(["--port", &port, "--write-recovery-conf", "--wal-method=stream", "--pgdata"]);
        copy.arg(&standby.data).env("PGPASSWORD", standby.server.password.expose_secret());
        let copied = copy.output().unwrap();
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let options = format!("-p {} -c wal_receiver_status_interval=1", standby.server.port);
        let log = standby.data.join("log");
        let start = ["start", "--wait", "--timeout=60", "--options", &options, "--log"];
        assert!(standby.control(&start).arg(&log).status().unwrap().success(), "see {}", log.display());
        standby.wait(shop, "count(*) = 1").await;
        standby
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(native::postgres_bindir().unwrap().join(name));
        command.uid(self.account.0).gid(self.account.1).current_dir(&self.data);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    fn control(&self, arguments: &[&str]) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("--pgdata").arg(&self.data).args(arguments);
        command
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Until it shows all that the source has committed by now.
    pub async fn caught_up(&self, shop: &Shop) {
        let mut source = shop.superuser(&shop.settings.source).await;
        // Committed, so that it is flushed, and sent.
        let row =
            source.row("SELECT pg_logical_emit_message(true, 'test', 'caught up')::text").await.unwrap();
        let lsn: String = sqlx::Row::get(&row, 0);
        let mut standby = self.session().await;
        let replayed = format!("SELECT pg_last_wal_replay_lsn() > '{lsn}'");
        let state = wait::for_state("the standby catches up", within(60, 20), async || {
            let there: bool = sqlx::Row::get(&standby.row(&replayed).await?, 0);
            Ok(if there { State::Ready(()) } else { State::NotYet(format!("before {lsn}")) })
        });
        state.await.unwrap();
    }

    pub async fn session(&self) -> Connection {
        postgres::connect(&self.server, "test").await.unwrap()
    }

    /// Until this is true of `pg_stat_replication` on the source, which is written to meanwhile.
    pub async fn wait(&self, shop: &Shop, what: &str) {
        let mut source = shop.superuser(&shop.settings.source).await;
        let state = wait::for_state(what, within(60, 100), async || {
            source.run("SELECT pg_logical_emit_message(false, 'test', 'moves on')").await?;
            let row = source.row(&format!("SELECT {what} FROM pg_stat_replication")).await?;
            let state = sqlx::Row::get::<Option<bool>, _>(&row, 0);
            Ok(if state == Some(true) { State::Ready(()) } else { State::NotYet(format!("{state:?}")) })
        });
        state.await.unwrap();
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        let _ = self.control(&["stop", "--mode=immediate"]).stderr(Stdio::null()).status();
    }
}
