//! The source as others see it: sessions that are not the tool's, and environments with a policy of their
//! own.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::Shop;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use std::path::Path;
use std::process::Command;
use xtask::settings::Server;

/// A session of somebody else, or why there is none.
pub async fn log_in(server: &Server, role: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnectOptions::new_without_pgpass()
        .host(&server.host)
        .port(server.port)
        .username(role)
        .password(server.password.expose_secret())
        .database(&server.database)
        .application_name("shop")
        .connect()
        .await
}

pub async fn run(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text.to_string())).execute(connection).await.map(drop)
}

/// A shop whose service logs in as `shop_app`; `report` is somebody who reads, and could write.
pub async fn shop_with_a_service() -> Shop {
    let shop = Shop::open(0).await;
    let password = shop.settings.source.password.expose_secret().to_string();
    let role = format!(
        "CREATE ROLE shop_app LOGIN PASSWORD '{password}'; CREATE ROLE report LOGIN PASSWORD '{password}'; \
         GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO shop_app, report"
    );
    shop.source().await.run(&role).await.unwrap();
    shop
}

/// The same, with an environment of its own for the tool, in which it logs in to the source as its owner.
pub async fn shop_with_an_environment() -> (Shop, Elsewhere) {
    let shop = shop_with_a_service().await;
    let there = Elsewhere::new(&shop, &shop.settings.source.user, "");
    (shop, there)
}

/// What the database says, and whether the role can log in.
pub async fn state(shop: &Shop, role: &str) -> (Option<String>, bool) {
    let query = format!(
        "SELECT (SELECT c FROM pg_db_role_setting s, unnest(s.setconfig) c \
                 WHERE s.setrole = 0 AND c LIKE 'default_transaction_read_only=%'), \
                (SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}')"
    );
    let row = shop.source().await.row(&query).await.unwrap();
    (row.get(0), row.get(1))
}

/// An environment file for the shop's servers.
pub struct Elsewhere {
    dir: tempfile::TempDir,
}

impl Elsewhere {
    /// `user`: as whom the tool reads the source; `policy`: lines of its file.
    pub fn new(shop: &Shop, user: &str, policy: &str) -> Elsewhere {
        Elsewhere::with_source(shop, &shop.settings.source, user, policy)
    }

    /// The same with another source than the shop's.
    pub fn with_source(shop: &Shop, source: &Server, user: &str, policy: &str) -> Elsewhere {
        let server = |s: &Server, user: &str| {
            format!(
                "host = \"{}\"\nport = {}\ndatabase = \"{}\"\nuser = \"{user}\"\n\
                 password = {{ env = \"SHOP_PASSWORD\" }}\ntls = \"disable\"\n",
                s.host, s.port, s.database
            )
        };
        let s = &shop.settings;
        let target = |s: &Server| format!("[targets.{}]\n{}", s.label, server(s, &s.user));
        let text = format!(
            "[source]\n{}{}{}{}[firestore]\nproject = \"{}\"\nemulator = true\nemulator_host = \"{}\"\n\
             [policy]\n{policy}\n",
            server(source, user),
            target(&s.product),
            target(&s.order),
            target(&s.gateway),
            s.firestore.project,
            s.firestore.emulator.as_deref().unwrap()
        );
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shop.toml"), text).unwrap();
        Elsewhere { dir }
    }

    /// From here on with another server as the source.
    pub fn set_source(&self, from: &Server, to: &Server) {
        let file = self.dir.path().join("shop.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let port = |server: &Server| format!("port = {}\n", server.port);
        std::fs::write(file, text.replacen(&port(from), &port(to), 1)).unwrap();
    }

    /// From here on with other lines of policy.
    pub fn set_policy(&self, policy: &str) {
        let file = self.dir.path().join("shop.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let rest = text.split("[policy]").next().unwrap();
        std::fs::write(file, format!("{rest}[policy]\n{policy}\n")).unwrap();
    }

    pub fn command(&self, shop: &Shop, arguments: &[&str]) -> Command {
        self.command_of(shop, shop.runs.path(), arguments)
    }

    /// Of somebody who keeps the runs elsewhere.
    pub fn command_of(&self, shop: &Shop, runs: &Path, arguments: &[&str]) -> Command {
        let mut command = crate::support::binary();
        command.args(crate::support::in_full(arguments)).arg("--env").arg(self.dir.path().join("shop"));
        command.arg("--backup-dir").arg(runs);
        command.env("SHOP_PASSWORD", shop.settings.source.password.expose_secret());
        command.env_remove("FIRESTORE_EMULATOR_HOST");
        command
    }

    pub fn xtask(&self, shop: &Shop, arguments: &[&str]) -> super::support::Said {
        self.command(shop, arguments).output().unwrap().into()
    }
}
