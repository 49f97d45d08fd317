//! pg_dump, pg_restore and pg_dumpall.
//!
//! What was learnt: `pg_restore --list` reads the table of contents only and accepts truncated and
//! bit-flipped archives; writing the archive out as SQL reads all of it and finds both. So the plain
//! dump is made *from* the archive: one read of the source, and the archive is proven by it.

use super::process::Program;
use crate::settings::{Server, Tls};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// PostgreSQL's client programs.
#[derive(Clone, Debug)]
pub struct Tools {
    pub bindir: PathBuf,
}

impl Tools {
    fn program(&self, name: &str, arguments: Vec<String>) -> Program {
        Program::new(&self.bindir.join(name), arguments)
    }

    /// A program that connects to `server`; the password travels in the environment.
    fn client(&self, name: &str, server: &Server, arguments: Vec<String>) -> Program {
        let program = self
            .program(name, [arguments, vec!["--no-password".into()]].concat())
            .env("PGHOST", &server.host)
            .env("PGPORT", &server.port.to_string())
            .env("PGUSER", &server.user)
            .env("PGSSLMODE", server.tls.mode())
            .env("PGAPPNAME", "xtask backup")
            .env("PGCONNECT_TIMEOUT", "15")
            .secret("PGPASSWORD", &server.password);
        match &server.tls {
            Tls::Verify { root: Some(root), .. } => program.env("PGSSLROOTCERT", &root.to_string_lossy()),
            _ => program,
        }
    }

    /// The major version of `pg_dump`.
    pub async fn version(&self) -> Result<u32> {
        let text = self.program("pg_dump", vec!["--version".into()]).read().await?;
        let version = text.split_whitespace().find_map(|word| {
            let major: String = word.chars().take_while(char::is_ascii_digit).collect();
            major.parse().ok()
        });
        version.with_context(|| format!("pg_dump --version said {text:?}"))
    }

    /// The whole database as the snapshot shows it, in the custom format.
    pub async fn dump(&self, server: &Server, snapshot: &str, file: &Path) -> Result<()> {
        let arguments = vec![
            format!("--dbname={}", server.database),
            format!("--snapshot={snapshot}"),
            "--lock-wait-timeout=60s".into(),
            "--format=custom".into(),
            // A fraction of the default's time for a few percent more bytes.
            "--compress=1".into(),
            format!("--file={}", file.display()),
        ];
        self.client("pg_dump", server, arguments).read().await.map(drop)
    }

    /// The whole database with pg_dump's own settings: what others are measured against.
    pub async fn plain_dump(&self, server: &Server, file: &Path) -> Result<()> {
        let arguments = vec![
            format!("--dbname={}", server.database),
            "--format=custom".into(),
            format!("--file={}", file.display()),
        ];
        self.client("pg_dump", server, arguments).read().await.map(drop)
    }

    /// Restores an archive into an empty database.
    pub async fn restore(&self, server: &Server, archive: &Path, jobs: usize) -> Result<()> {
        let arguments = vec![
            format!("--dbname={}", server.database),
            format!("--jobs={jobs}"),
            "--exit-on-error".into(),
            archive.display().to_string(),
        ];
        self.client("pg_restore", server, arguments).read().await.map(drop)
    }

    /// Reads the whole archive, writing it out as SQL: fails on a truncated or damaged one.
    pub async fn to_sql(&self, archive: &Path, sql: &Path) -> Result<()> {
        let arguments = vec![format!("--file={}", sql.display()), archive.display().to_string()];
        self.program("pg_restore", arguments).read().await.map(drop)
    }

    /// The definitions alone.
    pub async fn schema_to_sql(&self, archive: &Path, sql: &Path) -> Result<()> {
        let arguments =
            vec!["--schema-only".into(), format!("--file={}", sql.display()), archive.display().to_string()];
        self.program("pg_restore", arguments).read().await.map(drop)
    }

    /// `schema table` of every table whose rows the archive holds, sorted.
    pub async fn tables(&self, archive: &Path) -> Result<Vec<String>> {
        let list =
            self.program("pg_restore", vec!["--list".into(), archive.display().to_string()]).read().await?;
        let mut tables: Vec<String> = list
            .lines()
            .filter(|line| !line.starts_with(';'))
            .filter_map(|line| line.split_once(" TABLE DATA "))
            .filter_map(|(_, rest)| rest.rsplit_once(' ').map(|(table, _owner)| table.to_string()))
            .collect();
        tables.sort();
        Ok(tables)
    }

    /// Roles and their memberships, without passwords: a dump of one database has none of them.
    pub async fn globals(&self, server: &Server, file: &Path) -> Result<()> {
        let arguments = vec![
            format!("--database={}", server.database),
            "--globals-only".into(),
            "--no-role-passwords".into(),
            format!("--file={}", file.display()),
        ];
        self.client("pg_dumpall", server, arguments).read().await.map(drop)
    }
}
