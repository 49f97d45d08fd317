//! The shop's own compose project: one file, in its own directory, under the name that Compose itself gives it.
//!
//! What was learnt: a rendered configuration holds the values of `env_file`, and those of variables that are only
//! named (`environment: [PASSWORD]`), also where nothing is interpolated. So it is rendered with no variables at
//! all, and a file that names an `env_file` is kept as it is written.

use crate::effects::process::Program;
use crate::refuse;
use crate::servers::docker::compose::Compose;
use crate::servers::docker::engine::Engine;
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// By which this tool's own stack is named: not the shop's.
const OF_THIS_CHECKOUT: [&str; 3] = ["COMPOSE_PROJECT_NAME", "COMPOSE_FILE", "COMPOSE_ENV_FILES"];

/// Without which no program is found, and no engine.
const NEEDED: [&str; 4] = ["PATH", "HOME", "LC_ALL", "DOCKER_HOST"];

/// The shop's project.
#[derive(Clone)]
pub struct ShopProject {
    compose: Compose,
    file: PathBuf,
    directory: PathBuf,
}

/// The shop's configuration as it is kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Configuration {
    pub text: String,
    /// Why it is the file as it is written, and not what Compose makes of it.
    pub plain: Option<String>,
}

impl ShopProject {
    /// To be looked at.
    ///
    /// # Errors
    /// Refuses where the file is not there, or there is no Compose.
    pub async fn of(file: &Path) -> Result<ShopProject> {
        let (file, directory) = place(file)?;
        Ok(ShopProject { compose: Compose::find().await?, file, directory })
    }

    /// To be stopped and started: by the Compose that made its containers.
    ///
    /// # Errors
    /// As [`ShopProject::of`]; and where no engine answers.
    pub async fn at_work(file: &Path) -> Result<ShopProject> {
        let (file, directory) = place(file)?;
        let engine = Engine::connect().await?;
        let shown = directory.display().to_string();
        let there = engine.containers(&[("com.docker.compose.project.working_dir", &shown)]).await?;
        let made_by = there.first().map(|container| container.compose.as_str());
        Ok(ShopProject { compose: Compose::that_made(made_by).await?, file, directory })
    }

    /// The compose file, where it really is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// # Errors
    /// Refuses a file that Compose does not understand, in Compose's words. `file`: this one, or another that is to
    /// take its place.
    pub async fn understands(&self, file: &Path) -> Result<()> {
        self.config(file, "--quiet").await.map(drop)
    }

    async fn config(&self, file: &Path, what: &str) -> Result<String> {
        match self.ask(file, &["config", what]).await {
            Ok(said) => Ok(said),
            Err(error) => {
                refuse!("{} does not understand {}: {error:#}", self.compose.name(), file.display())
            }
        }
    }

    /// The services of the file.
    ///
    /// # Errors
    /// Refuses a file that Compose does not understand.
    pub async fn services(&self) -> Result<Vec<String>> {
        self.services_in(&self.file).await
    }

    /// Those of another file in the place of this one.
    ///
    /// # Errors
    /// As [`ShopProject::services`].
    pub async fn services_in(&self, file: &Path) -> Result<Vec<String>> {
        Ok(lines(&self.config(file, "--services").await?))
    }

    /// The services that run.
    pub async fn running(&self) -> Result<Vec<String>> {
        Ok(lines(&self.ask(&self.file, &["ps", "--services", "--filter", "status=running"]).await?))
    }

    pub async fn stop(&self, services: &[&str]) -> Result<()> {
        self.ask(&self.file, &[&["stop"], services].concat()).await.map(drop)
    }

    /// What a person types to start these again.
    pub fn by_hand(&self, services: &[&str]) -> String {
        format!("{} --file {} start {}", self.compose.name(), self.file.display(), services.join(" "))
    }

    /// The containers that were stopped, as they are.
    pub async fn start(&self, services: &[&str]) -> Result<()> {
        self.ask(&self.file, &[&["start"], services].concat()).await.map(drop)
    }

    /// As the file says, made again where it says something else than before.
    pub async fn up(&self, services: &[&str]) -> Result<()> {
        self.ask(&self.file, &[&["up", "-d"], services].concat()).await.map(drop)
    }

    /// The same of these as another file of the project says; what they depend on stays as it is.
    pub async fn up_alone(&self, file: &Path, services: &[&str]) -> Result<()> {
        self.ask(file, &[&["up", "-d", "--no-deps"], services].concat()).await.map(drop)
    }

    /// What Compose makes of the file, without the value of any variable.
    ///
    /// # Errors
    /// As [`ShopProject::understands`].
    pub async fn configuration(&self) -> Result<Configuration> {
        self.understands(&self.file).await?;
        let written = std::fs::read_to_string(&self.file);
        let written = written.with_context(|| format!("reading {}", self.file.display()))?;
        let plain = |why: String| Configuration { text: written.clone(), plain: Some(why) };
        if written.contains("env_file") {
            return Ok(plain("Compose would write the values of its env_file into it".to_string()));
        }
        let nothing = tempfile::NamedTempFile::new().context("making an empty file of variables")?;
        let file = nothing.path().display().to_string();
        let arguments = ["--env-file", &file, "config", "--no-interpolate"];
        let rendered = self.program(&self.file, &arguments).only(&NEEDED).read().await;
        let rendered = match rendered {
            Ok(text) => text,
            Err(error) => {
                return Ok(plain(format!("Compose does not render it without variables: {error:#}")));
            }
        };
        let kept = tempfile::NamedTempFile::new().context("making a file for the configuration")?;
        std::fs::write(kept.path(), &rendered).context("writing the configuration")?;
        Ok(match self.understands(kept.path()).await {
            Ok(()) => Configuration { text: rendered, plain: None },
            Err(_) => plain("Compose does not understand what it makes of it".to_string()),
        })
    }

    async fn ask(&self, file: &Path, arguments: &[&str]) -> Result<String> {
        self.program(file, arguments).read().await
    }

    fn program(&self, file: &Path, arguments: &[&str]) -> Program {
        let place = [Path::new("--project-directory"), &self.directory, Path::new("--file"), file];
        let program = self.compose.calling().args(place).args(arguments.iter().copied());
        program.directory(&self.directory).without(&OF_THIS_CHECKOUT)
    }
}

/// The file where it really is, and its directory.
fn place(file: &Path) -> Result<(PathBuf, PathBuf)> {
    let shown = file.display();
    let Ok(file) = file.canonicalize() else {
        refuse!("the environment's [services] names the compose file {shown}, which is not there")
    };
    let directory = file.parent().map(Path::to_path_buf);
    let directory = directory.with_context(|| format!("{shown} is in no directory"))?;
    Ok((file, directory))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(String::from).collect()
}
