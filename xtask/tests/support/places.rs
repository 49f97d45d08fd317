//! A shop's servers as an environment file, so that a test can change a word of it.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::{Said, Shop};
use secrecy::ExposeSecret;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use xtask::settings::Server;

pub struct Places {
    dir: tempfile::TempDir,
    pub text: String,
    password: String,
    runs: PathBuf,
}

impl Places {
    /// `user`: on all four servers; `None`: the shop's own.
    pub fn of(shop: &Shop, user: Option<&str>) -> Places {
        let server = |s: &Server| {
            let (host, port, database) = (&s.host, s.port, &s.database);
            let user = user.unwrap_or(&s.user);
            let variable = s.label.to_uppercase();
            format!(
                "host = \"{host}\"\nport = {port}\ndatabase = \"{database}\"\nuser = \"{user}\"\n\
                 password = {{ env = \"{variable}_PASSWORD\" }}\ntls = \"disable\"\n"
            )
        };
        let s = &shop.settings;
        let text = format!(
            "[source]\n{}\n[targets.product]\n{}\n[targets.order]\n{}\n[targets.gateway]\n{}\n\
             [firestore]\nproject = \"{}\"\nemulator = true\nemulator_host = \"{}\"\n\n[policy]\n",
            server(&s.source),
            server(&s.product),
            server(&s.order),
            server(&s.gateway),
            s.firestore.project,
            s.firestore.emulator.as_deref().unwrap()
        );
        let password = s.source.password.expose_secret().to_string();
        Places { dir: tempfile::tempdir().unwrap(), text, password, runs: shop.runs.path().to_path_buf() }
    }

    /// The same with a word of the file changed.
    pub fn command_with(&self, from: &str, to: &str, arguments: &[&str]) -> Command {
        assert!(self.text.contains(from), "{from}: {}", self.text);
        fs::write(self.dir.path().join("test.toml"), self.text.replacen(from, to, 1)).unwrap();
        let mut command = crate::support::binary();
        command.args(crate::support::in_full(arguments)).arg("--env").arg(self.dir.path().join("test"));
        if !arguments.contains(&"--backup-dir") {
            command.arg("--backup-dir").arg(&self.runs);
        }
        for name in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY"] {
            command.env(format!("{name}_PASSWORD"), &self.password);
        }
        command.env_remove("FIRESTORE_EMULATOR_HOST");
        command
    }

    pub fn run_with(&self, from: &str, to: &str, arguments: &[&str]) -> Said {
        self.command_with(from, to, arguments).output().unwrap().into()
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with("", "", arguments)
    }
}
