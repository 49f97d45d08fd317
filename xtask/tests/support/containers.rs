//! A compose stack for a test: names, ports, volumes and passwords of its own, started by hand or by the
//! tool, gone with the value. One at a time: five servers are enough for a machine.
#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::support::{Said, environment, workspace};
use super::tool::{Tool, contents};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tokio::sync::{Mutex, MutexGuard};
use xtask::effects::postgres;
use xtask::model::Database;
use xtask::servers::compose_stack;
use xtask::servers::docker::{Engine, SERVICES};
use xtask::settings::Settings;

static ONE: Mutex<()> = Mutex::const_new(());

/// The engine, for one test at a time.
pub async fn engine() -> (Engine, MutexGuard<'static, ()>) {
    let one = ONE.lock().await;
    match Engine::connect().await {
        Ok(engine) => (engine, one),
        Err(why) => panic!("this test needs a Docker engine, and none answers: {why:#}"),
    }
}

pub struct Stack {
    pub name: String,
    /// For files of the test, and for runs.
    pub dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Stack {
    pub fn new() -> Stack {
        let dir = tempfile::Builder::new().prefix("compose-test-").rand_bytes(6).tempdir().unwrap();
        let name = dir.path().file_name().unwrap().to_str().unwrap().to_lowercase();
        let mut variables = vec![
            ("COMPOSE_PROJECT_NAME".to_string(), name.clone()),
            ("STACK_PREFIX".to_string(), format!("{name}-")),
        ];
        let held: Vec<TcpListener> = (0..5).map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap()).collect();
        for (service, listener) in ["SOURCE", "PRODUCT", "ORDER", "GATEWAY", "FIRESTORE"].iter().zip(&held) {
            let port = listener.local_addr().unwrap().port();
            variables.push((format!("{service}_PORT"), port.to_string()));
            variables.push((format!("{service}_PASSWORD"), format!("secret-of-{service}")));
        }
        for database in ["PRODUCT", "ORDER", "GATEWAY"] {
            variables.push((format!("{database}_ADMIN_PASSWORD"), format!("secret-of-{database}-admin")));
        }
        Stack { name, dir, variables }
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.retain(|(key, _)| key != name);
        self.variables.push((name.to_string(), value.to_string()));
    }

    pub fn variable(&self, name: &str) -> &str {
        &self.variables.iter().find(|(key, _)| key == name).unwrap().1
    }

    /// Another file over docker-compose.yml.
    pub fn overlay(&mut self, yaml: &str) {
        let path = self.dir.path().join("overlay.yml");
        std::fs::write(&path, yaml).unwrap();
        self.set("COMPOSE_FILE", &format!("docker-compose.yml:{}", path.display()));
    }

    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.name)
    }

    fn environment(&self, command: &mut Command) {
        command
            .envs(self.variables.iter().map(|(k, v)| (k, v)))
            .current_dir(workspace())
            .stdin(Stdio::null());
    }

    /// The binary on this stack.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = crate::support::binary();
        self.environment(&mut command);
        command.args(crate::support::in_full(arguments)).arg("--backup-dir").arg(self.runs());
        command
    }

    pub fn runs(&self) -> PathBuf {
        self.dir.path().join("runs")
    }

    pub fn xtask(&self, arguments: &[&str]) -> Said {
        self.command(arguments).output().unwrap().into()
    }

    pub fn start(&self, arguments: &[&str]) -> Tool {
        Tool::start(self.command(arguments))
    }

    /// Compose, as a person calls it.
    pub fn compose(&self, arguments: &[&str]) -> Said {
        self.composing(arguments).output().unwrap().into()
    }

    pub fn composing(&self, arguments: &[&str]) -> Command {
        let v2 =
            Command::new("docker").args(["compose", "version"]).output().is_ok_and(|o| o.status.success());
        let mut command = Command::new(if v2 { "docker" } else { "docker-compose" });
        command.args(v2.then_some("compose")).args(arguments);
        self.environment(&mut command);
        command
    }

    /// What a command would find of it.
    pub async fn settings(&self, engine: &Engine) -> Settings {
        let found = engine.containers(&[("com.docker.compose.project", &self.name)]).await.unwrap();
        compose_stack::settings(&environment(), &found, None).unwrap()
    }

    /// Everything in the four databases.
    pub async fn contents(&self, engine: &Engine) -> Vec<String> {
        let settings = self.settings(engine).await;
        let targets = Database::ALL.map(|database| settings.target(database));
        let mut all = Vec::new();
        for server in [&settings.source].into_iter().chain(targets) {
            let mut connection = postgres::connect(server, "test").await.unwrap();
            all.push(contents(&mut connection).await);
        }
        all
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.name);
        for (list, remove) in [
            (&["ps", "--all", "--quiet"][..], &["rm", "--force", "--volumes"][..]),
            (&["network", "ls", "--quiet"], &["network", "rm"]),
            (&["volume", "ls", "--quiet"], &["volume", "rm", "--force"]),
        ] {
            let found = docker(&[list, &["--filter", &label]].concat());
            let found: Vec<&str> = found.stdout.lines().collect();
            if !found.is_empty() {
                docker(&[remove, &found].concat());
            }
        }
    }
}

pub fn docker(arguments: &[&str]) -> Said {
    Command::new("docker").args(arguments).stdin(Stdio::null()).output().unwrap().into()
}

/// All containers, volumes and networks of the engine.
pub fn everything() -> String {
    let list = |arguments: &[&str]| {
        let mut lines: Vec<String> =
            docker(arguments).expect_code(0).stdout.lines().map(ToString::to_string).collect();
        lines.sort();
        lines.join("\n")
    };
    [
        list(&["ps", "--all", "--no-trunc", "--format", "container {{.ID}} {{.Names}}"]),
        list(&["volume", "ls", "--format", "volume {{.Name}}"]),
        list(&["network", "ls", "--no-trunc", "--format", "network {{.ID}} {{.Name}}"]),
    ]
    .join("\n")
}

/// The services' names.
pub fn services() -> Vec<&'static str> {
    SERVICES.iter().map(|(_, service)| *service).collect()
}

/// The newest run in a directory.
pub fn latest(runs: &Path) -> PathBuf {
    std::fs::read_dir(runs).unwrap().map(|e| e.unwrap().path()).max().unwrap()
}
