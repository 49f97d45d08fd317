//! Compose's command line, thinly: v2 (`docker compose`) where it is, else v1 (`docker-compose`).
//!
//! What was learnt: v1 and v2 recreate each other's containers, so the one that made them is stayed with.
//! A compose file is interpolated by Compose alone; what we have to know before it is called (images,
//! ports, prefix) are variables, looked up as Compose does: the process's, then those of `.env`.

use crate::effects::process::Program;
use crate::refuse;
use crate::servers::docker::engine::Engine;
use crate::servers::docker::failures;
use anyhow::{Context, Result};
use secrecy::SecretString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Where a checkout's own names, ports and passwords stand.
pub const DOTENV: &str = ".env";

/// Which Compose there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compose {
    /// `docker compose`; else the program `docker-compose`.
    plugin: bool,
    /// `1.29.2`
    pub version: String,
}

/// A compose project: a directory with its file, under one name.
#[derive(Clone)]
pub struct Project {
    pub directory: PathBuf,
    pub name: String,
    /// None: those that Compose finds by itself (an override, `COMPOSE_FILE`).
    pub files: Vec<&'static str>,
    /// Over the process's variables and those of `.env`.
    pub variables: Vec<(String, String)>,
    /// The same for passwords.
    pub secrets: Vec<(String, SecretString)>,
}

impl Project {
    /// The project of a checkout, as `docker compose up` there would name it.
    pub fn of(directory: &Path) -> Project {
        let mut project = Project {
            directory: directory.to_path_buf(),
            name: String::new(),
            files: Vec::new(),
            variables: Vec::new(),
            secrets: Vec::new(),
        };
        project.name = project.variable("COMPOSE_PROJECT_NAME").unwrap_or_else(|| usual_name(directory));
        project
    }

    /// A variable as Compose sees it.
    pub fn variable(&self, name: &str) -> Option<String> {
        let ours = self.variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let ours = ours.or_else(|| std::env::var(name).ok());
        let found = ours.or_else(|| {
            let text = std::fs::read_to_string(self.directory.join(DOTENV)).unwrap_or_default();
            text.lines().filter_map(assignment).rfind(|(key, _)| *key == name).map(|(_, v)| v)
        });
        found.filter(|value| !value.is_empty())
    }

    /// The images of docker-compose.yml: PostgreSQL's, the emulator's.
    pub fn images(&self) -> [String; 2] {
        [("POSTGRES_IMAGE", "postgres:15"), ("FIRESTORE_IMAGE", "firestore-emulator:local")]
            .map(|(name, usual)| self.variable(name).unwrap_or_else(|| usual.to_string()))
    }

    /// The ports of docker-compose.yml, by service.
    pub fn ports(&self) -> Vec<(&'static str, String)> {
        let ports = [
            ("postgres-monolith", "SOURCE_PORT", "5432"),
            ("postgres-product", "PRODUCT_PORT", "5433"),
            ("postgres-order", "ORDER_PORT", "5434"),
            ("postgres-gateway", "GATEWAY_PORT", "5435"),
            ("firestore-emulator", "FIRESTORE_PORT", "8085"),
        ];
        let port = |variable: &str, usual: &str| self.variable(variable).unwrap_or_else(|| usual.to_string());
        ports.into_iter().map(|(service, variable, usual)| (service, port(variable, usual))).collect()
    }

    /// What the names of containers and volumes begin with.
    pub fn prefix(&self) -> String {
        self.variable("STACK_PREFIX").unwrap_or_default()
    }
}

impl Compose {
    /// The first that answers.
    ///
    /// # Errors
    /// Refuses where there is none, with the command that installs one.
    pub async fn find() -> Result<Compose> {
        Compose::that_made(None).await
    }

    /// One of the generation that made these containers (`1.29.2`); `None`: there are none.
    ///
    /// # Errors
    /// Refuses to let another one recreate them.
    pub async fn that_made(containers: Option<&str>) -> Result<Compose> {
        let mut here = Vec::new();
        for plugin in [true, false] {
            let mut arguments = if plugin { vec!["compose"] } else { Vec::new() };
            arguments.extend(["version", "--short"]);
            if let Ok(version) = Program::new(program(plugin), arguments).read().await {
                here.push(Compose { plugin, version: version.trim().to_string() });
            }
        }
        let wanted = containers.filter(|version| !version.is_empty());
        let fits = |c: &&Compose| wanted.is_none_or(|version| is_first(version) == is_first(&c.version));
        match (here.iter().find(fits), here.first(), wanted) {
            (Some(compose), ..) => Ok(compose.clone()),
            (None, Some(other), Some(version)) => refuse!(
                "the containers were made by Compose {version}, and here is {}, which would recreate them: install \
                 that one, or take them down first with the one that made them",
                other.version
            ),
            _ => refuse!(
                "there is no Compose, neither `docker compose` nor `docker-compose`: `apt-get install docker-compose`"
            ),
        }
    }

    pub async fn up(&self, engine: &Engine, project: &Project, services: &[&str]) -> Result<()> {
        self.call(Some(engine), project, &[&["up", "-d", "--no-build"], services].concat()).await.map(drop)
    }

    /// Stops and removes the containers and the network; the volumes stay.
    pub async fn down(&self, engine: &Engine, project: &Project) -> Result<()> {
        self.call(Some(engine), project, &["down"]).await.map(drop)
    }

    /// What the compose files come to, passwords in clear.
    pub async fn config(&self, project: &Project) -> Result<String> {
        self.call(None, project, &["config"]).await
    }

    /// What runs a service once, for the foreground; its container goes with it.
    pub fn once(&self, engine: &Engine, project: &Project, service: &str, arguments: &[String]) -> Program {
        let mut run = vec!["run", "--rm", "--no-deps"];
        // Without a terminal of ours it can have none.
        run.extend((!std::io::stdin().is_terminal()).then_some("-T"));
        run.push(service);
        run.extend(arguments.iter().map(String::as_str));
        self.program(Some(engine), project, &run)
    }

    async fn call(&self, engine: Option<&Engine>, project: &Project, arguments: &[&str]) -> Result<String> {
        let said = self.program(engine, project, arguments).read().await;
        said.map_err(|error| failures::compose(&format!("{error:#}")))
            .with_context(|| format!("`{} {}` failed", self.name(), arguments.join(" ")))
    }

    /// Its program, still without any word of what to do.
    pub(super) fn calling(&self) -> Program {
        Program::new(program(self.plugin), if self.plugin { &["compose"][..] } else { &[] })
    }

    fn program(&self, engine: Option<&Engine>, project: &Project, arguments: &[&str]) -> Program {
        let mut all: Vec<&str> = vec!["-p", &project.name];
        project.files.iter().for_each(|file| all.extend(["-f", file]));
        all.extend(arguments);
        let mut program = self.calling().args(all).directory(&project.directory);
        if let Some(engine) = engine {
            program = program.env("DOCKER_HOST", &engine.host);
        }
        for (key, value) in &project.variables {
            program = program.env(key, value);
        }
        for (key, value) in &project.secrets {
            program = program.secret(key, value);
        }
        program
    }

    /// The words by which a person calls it.
    pub fn name(&self) -> &'static str {
        if self.plugin { "docker compose" } else { "docker-compose" }
    }
}

/// Whether it is Compose v1.
fn is_first(version: &str) -> bool {
    version.trim_start_matches('v').starts_with("1.")
}

fn program(plugin: bool) -> &'static Path {
    Path::new(if plugin { "docker" } else { "docker-compose" })
}

/// What the compose files of a directory come to. Asked of whichever Compose there is, without asking for its
/// version first: that costs as much as the answer.
///
/// # Errors
/// As [`Compose::find`] and [`Compose::config`].
pub async fn configuration(directory: &Path) -> Result<String> {
    let project = Project::of(directory);
    for plugin in [true, false] {
        if let Ok(text) = (Compose { plugin, version: String::new() }).config(&project).await {
            return Ok(text);
        }
    }
    Compose::find().await?.config(&project).await.context("asking Compose for its configuration")
}

/// The files that Compose reads there: the main one first, `.env` last; none: there is no project.
pub fn configuration_files(directory: &Path) -> Vec<PathBuf> {
    let first = |names: &[&str]| names.iter().map(|n| directory.join(n)).find(|path| path.is_file());
    let files: Vec<PathBuf> = match Project::of(directory).variable("COMPOSE_FILE") {
        Some(named) => named.split(':').map(|name| directory.join(name)).collect(),
        None => {
            let names = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
            let over =
                ["compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
            first(&names).map_or_else(Vec::new, |main| std::iter::once(main).chain(first(&over)).collect())
        }
    };
    let dotenv = directory.join(DOTENV);
    if files.is_empty() || !dotenv.is_file() { files } else { [files, vec![dotenv]].concat() }
}

/// The name that Compose gives a project without one: the directory's, of the signs that it takes.
fn usual_name(directory: &Path) -> String {
    let name = directory.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let allowed = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    name.chars().filter(allowed).collect::<String>().trim_start_matches(['-', '_']).to_string()
}

/// A line of `.env`.
fn assignment(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let (key, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let value = value.trim();
    let quoted = |q: char| value.strip_prefix(q).and_then(|v| v.split(q).next());
    let value = match quoted('"').or_else(|| quoted('\'')) {
        Some(value) => value,
        None => value.split(" #").next().unwrap_or_default().trim_end(),
    };
    (!key.starts_with('#')).then(|| (key.trim(), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_stand_in_env_as_compose_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = "# a=0\n#COMMENTED_OUT_X=1\nQUOTED_X=\"a b # c\"\nexport PLAIN_X = v   # note\nEMPTY_X=\nPLAIN_Y=1\nPLAIN_Y=2\n";
        std::fs::write(dir.path().join(".env"), text).unwrap();
        let mut project = Project::of(dir.path());
        let of = |project: &Project, name: &str| project.variable(name);
        assert_eq!(of(&project, "QUOTED_X").as_deref(), Some("a b # c"));
        assert_eq!(of(&project, "PLAIN_X").as_deref(), Some("v"));
        assert_eq!(of(&project, "PLAIN_Y").as_deref(), Some("2"));
        for none in ["COMMENTED_OUT_X", "EMPTY_X", "a"] {
            assert_eq!(of(&project, none), None, "{none}");
        }
        project.variables.push(("PLAIN_Y".into(), "3".into()));
        assert_eq!(of(&project, "PLAIN_Y").as_deref(), Some("3"));
    }

    #[test]
    fn a_project_without_a_name_takes_its_directorys() {
        assert_eq!(usual_name(Path::new("/x/_My.Shop 2")), "myshop2");
        assert_eq!(usual_name(Path::new("/tmp/w-docker")), "w-docker");
    }
}
