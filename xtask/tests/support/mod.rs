//! A shop of its own for each test: PostgreSQL servers on free ports in a temporary directory, a project of the
//! emulator that the tests share, the real binary pointed at them. Everything goes with the value, also when a test fails; with `XTASK_TEST_KEEP=1` a
//! failing test leaves its servers running and says how to connect.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod emulator;
pub mod schema;

use self::emulator::Emulator;
use datapath::firestore::{Address, Fields, Firestore};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use xtask::effects::dump::Tools;
use xtask::effects::postgres::{self, Connection};
use xtask::effects::terminal::{Terminal, Verbosity};
use xtask::model::Database;
use xtask::run::ctx::{Ctx, Options};
use xtask::run::dir::RunDir;
use xtask::run::manifest::Manifest;
use xtask::servers::local::{self, Wanted};
use xtask::servers::native::{self, EmulatorChoice, Stack};
use xtask::settings::{Environment, Server, Settings};
use xtask::tables::{TABLES, Table};

pub struct Shop {
    stack: Option<Stack>,
    /// Held as long as the shop is there.
    _emulator: Option<Arc<Emulator>>,
    pub settings: Settings,
    /// Where runs go.
    pub runs: tempfile::TempDir,
    pub tables: &'static [Table],
}

/// The tool, as a user starts it: the one place where tests say where it is. Its lines are not broken, so that tests
/// find words in them; what is about their width says it.
pub fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.env("COLUMNS", "10000");
    command
}

/// Commands that end with a verdict, and keep the rest for `-v`.
const WITH_A_VERDICT: [&str; 11] = [
    "backup", "catch-up", "export", "import", "migrate", "verify", "repair", "replay", "cutover", "rollback",
    "rehearse",
];

/// The arguments with which such a command tells everything: most tests look at that. Those that look at the verdict
/// take `binary` with the arguments as they are.
pub fn in_full<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let says_how_much = ["-q", "--quiet", "-v", "--verbose", "--json", "--help"];
    let mut all = arguments.to_vec();
    if arguments.iter().any(|word| WITH_A_VERDICT.contains(word))
        && !arguments.iter().any(|word| says_how_much.contains(word))
    {
        all.push("-v");
    }
    all
}

/// What the binary said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self.with_zones()
    }

    /// Its text has no time as files have it (`2026-11-29T22:18:45.123Z`): a person reads one with its zone in words.
    #[track_caller]
    fn with_zones(self) -> Said {
        let shape = "0000-00-00T00:00:00.000Z";
        let for_people = [&self.stdout, &self.stderr].into_iter().filter(|text| !text.starts_with('{'));
        for text in for_people {
            let digits: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert!(!digits.contains(shape), "a time without its zone in words:\n{text}");
        }
        self
    }

    /// The command's result, of the one document on stdout.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        self.document()["result"].take()
    }

    /// The one document on stdout, which is as docs/json.schema.json says, and tells how the command ended.
    #[track_caller]
    pub fn document(&self) -> serde_json::Value {
        let document: serde_json::Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr));
        let wrong = schema::wrong(&document);
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), self.stdout);
        assert_eq!(document["exit"].as_i64(), self.code.map(i64::from), "{}", self.stdout);
        document
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Refused: exit code 4, nothing on stdout but the document of `--json`, these words on stderr.
#[track_caller]
pub fn assert_refused(case: &str, said: &Said, words: &[&str]) {
    assert_eq!(said.code, Some(4), "{case}: {}{}", said.stdout, said.stderr);
    if !said.stdout.is_empty() {
        assert_eq!(said.document()["verdict"], "refused", "{case}");
    }
    for word in words {
        assert!(said.stderr.contains(word), "{case}: not a word of {word:?} in\n{}", said.stderr);
    }
}

/// On stdout or stderr.
#[track_caller]
pub fn assert_words(said: &Said, words: &[&str]) {
    let text = format!("{}{}", said.stdout, said.stderr);
    words.iter().for_each(|word| assert!(text.contains(word), "not a word of {word:?} in\n{text}"));
}

/// On stdout.
#[track_caller]
pub fn says(said: &Said, words: &[&str]) {
    for word in words {
        assert!(said.stdout.contains(word), "not a word of {word:?} in\n{}\n{}", said.stdout, said.stderr);
    }
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

pub fn environment() -> Environment {
    let text = std::fs::read_to_string(workspace().join("xtask/environments/local.toml")).unwrap();
    Environment::parse("local", &text).unwrap()
}

impl Shop {
    /// A filled monolith, three empty databases, an empty Firestore.
    pub async fn open(scale: u32) -> Shop {
        let emulator = Emulator::shared().await;
        let mut shop = Shop::start(scale, EmulatorChoice::Running(emulator.host.clone())).await;
        shop._emulator = Some(emulator);
        shop
    }

    /// The same with an emulator of its own, which can be stopped.
    pub async fn open_alone(scale: u32) -> Shop {
        Shop::start(scale, EmulatorChoice::Start).await
    }

    async fn start(scale: u32, emulator: EmulatorChoice) -> Shop {
        let workspace = workspace();
        let wanted = Wanted { workspace: &workspace, scale, emulator, install: false };
        let terminal = Terminal::new(Verbosity::Quiet, true);
        let (stack, settings) = local::start(wanted, &environment(), &terminal).await.unwrap();
        let runs = tempfile::tempdir().unwrap();
        Shop { stack: Some(stack), _emulator: None, settings, runs, tables: TABLES }
    }

    pub fn dir(&self) -> &Path {
        &self.stack.as_ref().unwrap().connections().dir
    }

    /// The binary with these arguments, on this shop's servers.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary();
        command
            .args(in_full(arguments))
            .arg("--stack")
            .arg(self.dir())
            .arg("--backup-dir")
            .arg(self.runs.path());
        command
    }

    /// Runs the binary to its end.
    pub fn xtask(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }

    /// A context for calling phases and commands in this process: a new run.
    pub fn ctx(&self) -> Arc<Ctx> {
        self.ctx_of(RunDir::create(self.runs.path()).unwrap())
    }

    pub fn ctx_of(&self, run: RunDir) -> Arc<Ctx> {
        let options = Options {
            terminal: Terminal::new(Verbosity::Quiet, true),
            tools: Tools { bindir: native::postgres_bindir().unwrap() },
            workspace: workspace(),
            jobs: 4,
            max_diffs: 10,
            values: xtask::findings::Values::Shown,
        };
        Arc::new(Ctx::new(self.settings.clone(), self.tables, run, options))
    }

    /// How many runs have left a directory.
    pub fn directories(&self) -> usize {
        std::fs::read_dir(self.runs.path()).unwrap().count()
    }

    /// The newest run.
    pub fn latest(&self) -> RunDir {
        RunDir::open(self.runs.path(), "latest").unwrap()
    }

    pub fn manifest(&self) -> Manifest {
        self.latest().load_manifest().unwrap()
    }

    pub async fn source(&self) -> Connection {
        postgres::connect(&self.settings.source, "test").await.unwrap()
    }

    /// The source again, without rows, in another encoding; its letters are sorted and folded as in C.
    pub async fn new_source(&self, encoding: &str) {
        let mut server = self.settings.source.clone();
        let database = std::mem::replace(&mut server.database, "postgres".into());
        let mut connection = self.superuser(&server).await;
        connection.run(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
        let create = format!(
            "CREATE DATABASE {database} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
        );
        connection.run(&create).await.unwrap();
        let schema = include_str!("../../../fixtures/monolith/schema.sql");
        // The comments hold signs that not every encoding has.
        let bare: Vec<&str> = schema.lines().filter_map(|line| line.split("--").next()).collect();
        self.source().await.run(&bare.join("\n")).await.unwrap();
    }

    pub async fn target(&self, database: Database) -> Connection {
        postgres::connect(self.settings.target(database), "test").await.unwrap()
    }

    /// As the superuser of a server.
    pub async fn superuser(&self, server: &Server) -> Connection {
        let mut server = server.clone();
        server.user = "postgres".into();
        postgres::connect(&server, "test").await.unwrap()
    }

    /// A whole collection, by id.
    pub async fn documents(&self, collection: &str) -> BTreeMap<String, Option<Fields>> {
        let firestore = self.firestore().await;
        let (mut ids, mut documents) = (Vec::new(), BTreeMap::new());
        let page = |page: Vec<String>| {
            ids.extend(page);
            Ok(())
        };
        firestore.ids(collection, page).await.unwrap();
        for piece in ids.chunks(500) {
            documents.extend(firestore.read(collection, piece).await.unwrap());
        }
        documents
    }

    pub async fn firestore(&self) -> Firestore {
        Firestore::connect(&Address::from(&self.settings.firestore)).await.unwrap()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let Some(stack) = self.stack.take() else { return };
        if std::thread::panicking()
            && std::env::var_os("XTASK_TEST_KEEP").is_some()
            && let Ok(connections) = stack.keep()
        {
            eprintln!("kept:\n{}", local::how_to_connect(&self.settings, &connections));
        }
    }
}
