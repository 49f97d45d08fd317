//! pg_dump, pg_restore and pg_dumpall.
//!
//! What was learnt: `pg_restore --list` reads the table of contents only and accepts truncated and
//! bit-flipped archives. Reading all of it finds truncation and every bit of the rows, which are compressed
//! with a sum at the end of each table, but not every bit of the definitions, and some send pg_restore round
//! in circles. A second dump of everything would double what a backup costs the source. So the definitions
//! alone are dumped a second time, and what the archive reads back as has to be those, line for line; the
//! rows that it reads back are counted, and have to be as many as the source counts.

use super::postgres;
use super::process::Program;
use crate::settings::{Server, Tls};
use crate::sql;
use anyhow::{Context, Result, ensure};
use datapath::dump_text::{RowsOfDump, same_lines};
use datapath::files::{FileInfo, HashedFile};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long pg_restore may say nothing: it writes all the time.
const PATIENCE: Duration = Duration::from_secs(20);

/// The first pg_dump that may have zstd.
const ZSTD_SINCE: u32 = 16;

/// What a dump looks like.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// For pg_restore. Compressed a little: a fraction of the default's time, a few percent more bytes.
    Archive,
    /// SQL, the definitions alone.
    Schema,
}

impl Form {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Form::Archive => &["--format=custom", "--compress=1"],
            Form::Schema => &["--format=plain", "--schema-only"],
        }
    }
}

/// An exported snapshot, and its database's encoding.
pub struct ExportedSnapshot<'a> {
    pub id: &'a str,
    pub encoding: &'a str,
}

/// An archive that has been read whole.
pub struct ReadBack {
    /// The file that it was written into as SQL.
    pub sql: FileInfo,
    /// The rows that it holds of every table whose rows it holds, by the table's OID.
    pub rows: BTreeMap<u32, u64>,
}

/// Counts a dump's rows as it comes, and hands on what it says.
fn counted(dump: &mut dyn BufRead, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<Vec<u64>> {
    let mut rows = RowsOfDump::default();
    loop {
        let bytes = dump.fill_buf()?;
        if bytes.is_empty() {
            return rows.finish();
        }
        rows.take(bytes);
        take(bytes)?;
        let taken = bytes.len();
        dump.consume(taken);
    }
}

/// PostgreSQL's client programs.
#[derive(Clone, Debug)]
pub struct Tools {
    pub bindir: PathBuf,
}

/// What to connect to, as libpq reads it: it takes a bare name with `=` or `postgresql://` in it for a whole
/// connection string. A connection that was dropped without a word ends within a minute.
fn conninfo(database: &str) -> String {
    let database = database.replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "dbname='{database}' keepalives=1 keepalives_idle=20 keepalives_interval=10 keepalives_count=3 \
         tcp_user_timeout=50000"
    )
}

/// What every dump of a snapshot is told.
fn of_snapshot(server: &Server, snapshot: &ExportedSnapshot<'_>, to: &Path) -> Vec<String> {
    vec![
        format!("--dbname={}", conninfo(&server.database)),
        format!("--snapshot={}", snapshot.id),
        format!("--encoding={}", snapshot.encoding),
        "--lock-wait-timeout=60s".into(),
        format!("--file={}", to.display()),
    ]
}

impl Tools {
    fn program(&self, name: &str, arguments: Vec<String>) -> Program {
        Program::new(&self.bindir.join(name), arguments)
    }

    /// A program that connects to `server`, its session named by `purpose`; the password travels in the
    /// environment.
    fn client(&self, name: &str, server: &Server, purpose: &str, arguments: Vec<String>) -> Program {
        let program = self
            .program(name, [arguments, vec!["--no-password".into()]].concat())
            .env("PGHOST", &server.host)
            .env("PGPORT", server.port.to_string())
            .env("PGUSER", &server.user)
            .env("PGSSLMODE", server.tls.mode())
            .env("PGAPPNAME", postgres::name_of(purpose))
            .env("PGOPTIONS", sql::options_of_programs())
            .env("PGCONNECT_TIMEOUT", "15")
            .secret("PGPASSWORD", &server.password);
        match &server.tls {
            Tls::Verify { root, .. } => program.env("PGSSLROOTCERT", root),
            // Else libpq looks for one at home, and verifies with it although it was not asked for.
            Tls::Disable | Tls::Require => program.env("PGSSLROOTCERT", "/dev/null/none"),
        }
    }

    /// The major version of `pg_dump`.
    pub async fn version(&self) -> Result<u32> {
        self.version_of("pg_dump").await
    }

    /// The major version of a program.
    pub async fn version_of(&self, program: &str) -> Result<u32> {
        let text = self.program(program, vec!["--version".into()]).read().await?;
        let version = text.split_whitespace().find_map(|word| {
            let major: String = word.chars().take_while(char::is_ascii_digit).collect();
            major.parse().ok()
        });
        version.with_context(|| format!("{program} --version said {text:?}"))
    }

    /// The database as the snapshot shows it, in its own encoding, whatever the role would have.
    pub async fn dump(
        &self,
        server: &Server,
        purpose: &str,
        snapshot: &ExportedSnapshot<'_>,
        form: Form,
        file: &Path,
    ) -> Result<()> {
        let mut arguments = of_snapshot(server, snapshot, file);
        arguments.extend(form.arguments().iter().map(|a| a.to_string()));
        self.client("pg_dump", server, purpose, arguments).read().await.map(drop)
    }

    /// The same into a directory that is not there yet, by as many sessions as `jobs`; with zstd where pg_dump has
    /// it.
    pub async fn dump_directory(
        &self,
        server: &Server,
        purpose: &str,
        snapshot: &ExportedSnapshot<'_>,
        jobs: usize,
        directory: &Path,
    ) -> Result<()> {
        let dump = async |compression: &str| {
            let mut arguments = of_snapshot(server, snapshot, directory);
            arguments.push("--format=directory".into());
            arguments.push(format!("--jobs={jobs}"));
            arguments.push(format!("--compress={compression}"));
            self.client("pg_dump", server, purpose, arguments).read().await.map(drop)
        };
        if self.version().await? >= ZSTD_SINCE {
            match dump("zstd:3").await {
                // Built without it.
                Err(error) if format!("{error:#}").contains("compression") && !directory.exists() => {}
                dumped => return dumped,
            }
        }
        dump("1").await
    }

    /// The whole database with pg_dump's own settings: what others are measured against.
    pub async fn plain_dump(&self, server: &Server, file: &Path) -> Result<()> {
        let arguments = vec![
            format!("--dbname={}", conninfo(&server.database)),
            "--format=custom".into(),
            format!("--file={}", file.display()),
        ];
        self.client("pg_dump", server, "baseline", arguments).read().await.map(drop)
    }

    /// Restores an archive into an empty database, with as many sessions as `jobs`. Where it fails, what it has
    /// made until then stays.
    pub async fn restore(&self, server: &Server, purpose: &str, archive: &Path, jobs: usize) -> Result<()> {
        let arguments = vec![
            format!("--dbname={}", conninfo(&server.database)),
            format!("--jobs={jobs}"),
            "--exit-on-error".into(),
            archive.display().to_string(),
        ];
        self.client("pg_restore", server, purpose, arguments).read().await.map(drop)
    }

    /// Dumps the definitions of a database, in this encoding, and compares them with those in a file.
    ///
    /// # Errors
    /// Where it cannot be dumped. A line that differs is no error, it is returned.
    pub async fn definitions_differ(
        &self,
        server: &Server,
        purpose: &str,
        encoding: &str,
        definitions: &Path,
    ) -> Result<Option<String>> {
        let mut recorded = BufReader::with_capacity(
            1 << 18,
            File::open(definitions).with_context(|| format!("reading {}", definitions.display()))?,
        );
        let mut arguments = vec![
            format!("--dbname={}", conninfo(&server.database)),
            format!("--encoding={encoding}"),
            "--lock-wait-timeout=60s".into(),
        ];
        arguments.extend(Form::Schema.arguments().iter().map(|a| a.to_string()));
        let dump = self.client("pg_dump", server, purpose, arguments);
        // A catalogue of many tables takes pg_dump a while before its first line.
        let compared = move |dump: &mut dyn BufRead| {
            Ok(same_lines(dump, &mut recorded).err().map(|difference| format!("{difference:#}")))
        };
        dump.pipe(Duration::from_secs(300), compared).await
    }

    /// Reads the whole archive, writes it into `sql` as SQL, and compares its definitions with those that were
    /// dumped apart.
    ///
    /// # Errors
    /// Where it cannot be read to its end, and where a line of its definitions differs, with its number.
    pub async fn read_back(
        &self,
        archive: &Path,
        definitions: &Path,
        mut sql: HashedFile,
    ) -> Result<ReadBack> {
        let write = move |archive: &mut dyn BufRead| {
            let rows = counted(archive, |bytes| sql.write(bytes))?;
            Ok((sql.finish(None)?, rows))
        };
        let (sql, rows) = self.read_whole(archive, definitions, write).await?;
        Ok(ReadBack { sql, rows: self.by_table(archive, rows).await? })
    }

    /// The same without writing it anywhere. Returns the rows that it holds of every table, by the table's OID.
    ///
    /// # Errors
    /// As of [`Tools::read_back`].
    pub async fn read_through(&self, archive: &Path, definitions: &Path) -> Result<BTreeMap<u32, u64>> {
        let rows = self.read_whole(archive, definitions, |archive| counted(archive, |_| Ok(()))).await?;
        self.by_table(archive, rows).await
    }

    async fn read_whole<T: Send + 'static>(
        &self,
        archive: &Path,
        definitions: &Path,
        read: impl FnOnce(&mut dyn BufRead) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let mut dumped = BufReader::with_capacity(
            1 << 18,
            File::open(definitions).with_context(|| format!("reading {}", definitions.display()))?,
        );
        let reads = |what: &[&str]| {
            let arguments = what.iter().map(ToString::to_string).chain([archive.display().to_string()]);
            self.program("pg_restore", arguments.collect())
        };
        let restore = reads(&["--schema-only", "--file=-"]);
        let compared = restore.pipe(PATIENCE, move |archive| same_lines(archive, &mut dumped)).await;
        compared.context("its definitions")?;
        reads(&["--file=-"]).pipe(PATIENCE, read).await
    }

    /// `rows`: of each table, in the order in which the archive reads them back.
    async fn by_table(&self, archive: &Path, rows: Vec<u64>) -> Result<BTreeMap<u32, u64>> {
        let tables = self.tables(archive).await?;
        ensure!(
            tables.len() == rows.len(),
            "it lists the rows of {} tables, and reads back those of {}",
            tables.len(),
            rows.len()
        );
        Ok(tables.into_iter().zip(rows).collect())
    }

    /// The OIDs of the tables whose rows the archive holds, in the order in which it reads them back.
    pub async fn tables(&self, archive: &Path) -> Result<Vec<u32>> {
        let list =
            self.program("pg_restore", vec!["--list".into(), archive.display().to_string()]).read().await?;
        list.lines().filter_map(|line| table_data(line).transpose()).collect()
    }

    /// Roles and their memberships, without passwords: a dump of one database has none of them.
    pub async fn globals(&self, server: &Server, purpose: &str, file: &Path) -> Result<()> {
        let arguments = vec![
            format!("--database={}", conninfo(&server.database)),
            "--globals-only".into(),
            "--no-role-passwords".into(),
            "--encoding=UTF8".into(),
            format!("--file={}", file.display()),
        ];
        self.client("pg_dumpall", server, purpose, arguments).read().await.map(drop)
    }
}

/// The table of whose rows a line of `pg_restore --list` speaks, if it does: by its number, since names may
/// hold blanks and be written in any encoding. `3456; 0 16390 TABLE DATA public users postgres`
fn table_data(line: &str) -> Result<Option<u32>> {
    let Some((_, entry)) = line.split_once("; ").filter(|_| !line.starts_with(';')) else { return Ok(None) };
    let mut words = entry.splitn(3, ' ');
    let (Some(_), Some(oid), Some(what)) = (words.next(), words.next(), words.next()) else {
        return Ok(None);
    };
    if !what.starts_with("TABLE DATA ") {
        return Ok(None);
    }
    oid.parse().map(Some).with_context(|| format!("pg_restore --list says {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::{conninfo, table_data};

    #[test]
    fn only_the_data_of_tables_is_listed_whatever_they_are_called() {
        let oid = |line| table_data(line).unwrap();
        assert_eq!(oid("3456; 0 16390 TABLE DATA public users postgres"), Some(16390));
        assert_eq!(oid("3456; 0 16391 TABLE DATA old shop TABLE DATA public users shop owner"), Some(16391));
        assert_eq!(oid("220; 1259 16390 TABLE public TABLE DATA x postgres"), None);
        assert_eq!(oid("3460; 0 0 SEQUENCE SET public users_id_seq postgres"), None);
        assert_eq!(oid(";     Archive created at 2026-01-01; 0 1 TABLE DATA x"), None);
        assert!(table_data("1; 0 x TABLE DATA public users postgres").is_err());
    }

    #[test]
    fn a_name_is_quoted_and_a_dead_connection_ends() {
        let info = conninfo("a=b 'c' \\ postgresql://x");
        assert!(info.starts_with(r"dbname='a=b \'c\' \\ postgresql://x' "), "{info}");
        for setting in ["keepalives=1", "keepalives_idle=", "keepalives_count=", "tcp_user_timeout="] {
            assert!(info.contains(setting), "{info}");
        }
        assert!(!info.contains("password"), "{info}");
    }
}
