//! One call of the tool: which servers, which run, and whether it may.

use super::arguments::Common;
use super::document::Document;
use super::guard;
use super::next::Whereabouts;
use super::output::LastWords;
use super::servers::Servers;
use crate::effects::cleanup::Cleanup;
use crate::effects::dump::Tools;
use crate::effects::terminal::{Terminal, Verbosity, columns};
use crate::findings::Values;
use crate::identity::Identity;
use crate::model::refused;
use crate::refuse;
use crate::run::ctx::{Ctx, Options};
use crate::run::rehearsal_log;
use crate::servers::docker::{self, Container, Engine};
use crate::servers::runtime::Runtime;
use crate::servers::{compose_stack, local, native};
use crate::settings::{Environment, Flags, Settings, Variables, nearest};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// One call of the tool.
pub struct Session<'a> {
    pub common: Common,
    pub variables: &'a Variables,
    pub terminal: Terminal,
    pub last_words: &'a LastWords,
    pub document: Document,
    pub whereabouts: Whereabouts,
    pub workspace: PathBuf,
    pub cleanup: &'a Cleanup,
    /// Those that take the place of the environment's servers; none: there are none.
    pub containers: Vec<Container>,
}

impl<'a> Session<'a> {
    pub fn new(
        common: Common,
        variables: &'a Variables,
        last_words: &'a LastWords,
        document: Document,
        cleanup: &'a Cleanup,
        whereabouts: Whereabouts,
    ) -> Result<Session<'a>> {
        let common = Common { jobs: common.jobs.map(|j| j.max(1)), ..common };
        let terminal = common.terminal(variables);
        let (workspace, containers) = (workspace()?, Vec::new());
        Ok(Session {
            common,
            variables,
            terminal,
            last_words,
            document,
            whereabouts,
            workspace,
            cleanup,
            containers,
        })
    }
}

impl Session<'_> {
    pub fn environment(&self) -> Result<Environment> {
        let (name, path) = self.environment_file()?;
        let flags = Flags { firestore_rate: self.common.firestore_rate };
        Environment::read(&name, &path, &self.environment_text()?)?.with(&flags, self.variables)
    }

    /// What stands in the environment's file.
    ///
    /// # Errors
    /// Refuses with the names of others where there is none.
    pub fn environment_text(&self) -> Result<String> {
        let (name, path) = self.environment_file()?;
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(text),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let others = match name.ends_with(".toml") && !name.contains('/') {
                    true => format!("; for a file: --env ./{name}"),
                    false => format!("{}; `--env local` is for this machine", self.other_environments(&name)),
                };
                refuse!("there is no environment `{name}`: {} does not exist{others}", path.display())
            }
            Err(e) => Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }

    /// The name of the environment, and its file: what has a `/` is a path and is named by it.
    pub fn environment_file(&self) -> Result<(String, PathBuf)> {
        let env = &self.common.env;
        if !env.contains('/') {
            return Ok((env.clone(), self.environments().join(format!("{env}.toml"))));
        }
        // With or without its ending, like a name.
        let ending = if env.ends_with(".toml") { "" } else { ".toml" };
        let path = std::path::absolute(format!("{env}{ending}")).with_context(|| format!("finding {env}"))?;
        Ok((path.display().to_string(), path))
    }

    /// The environment's name, for who reads files of its runs: a wrong one is said before anything that follows from
    /// it.
    pub fn environment_name(&self) -> Result<String> {
        let (name, path) = self.environment_file()?;
        if !path.exists() {
            self.environment()?;
        }
        Ok(name)
    }

    pub fn environments(&self) -> PathBuf {
        self.workspace.join("xtask/environments")
    }

    /// What could have been meant instead, as the rest of a sentence.
    pub fn other_environments(&self, name: &str) -> String {
        let names = environments(&self.environments());
        match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!(" (did you mean {meant}?)"),
            None => format!(" (there are {})", names.join(", ")),
        }
    }

    /// Local servers that are running take the place of the file's, where the file says so.
    pub fn settings(&self) -> Result<Settings> {
        self.settings_for(None)
    }

    /// The same for a run that worked on servers before: of several local stacks it takes its own.
    pub(super) fn settings_for(&self, run: Option<&Identity>) -> Result<Settings> {
        let environment = self.environment()?;
        if let Some(first) = self.containers.first() {
            self.terminal.line(format!("{}: containers of the project {}", self.common.env, first.project));
            return Ok(self.on_these(compose_stack::settings(
                &environment,
                &self.containers,
                self.removed()?.as_ref(),
            )?));
        }
        if let Some(stack) = self.running(&environment, run)? {
            self.terminal.line(format!("{}: local servers in {}", self.common.env, stack.dir.display()));
            return Ok(self.on_these(local::settings(&environment, &stack)?));
        }
        environment.settings(self.variables)
    }

    /// On servers that were named by hand, the shop's services do not work.
    fn on_these(&self, mut settings: Settings) -> Settings {
        if self.common.stack.is_some() {
            settings.services = settings.services.left_alone();
        }
        settings
    }

    pub fn running(
        &self,
        environment: &Environment,
        run: Option<&Identity>,
    ) -> Result<Option<native::Connections>> {
        match (&self.common.stack, environment.uses_stack()) {
            (Some(dir), true) => match native::Connections::read(dir) {
                Ok(stack) => Ok(Some(stack)),
                Err(error) => refuse!(
                    "there are no local servers in {}: `cargo xtask stack status` lists what runs ({error:#})",
                    dir.display()
                ),
            },
            (Some(_), false) => {
                refuse!("environment `{}` is not for local servers: leave --stack out", self.common.env)
            }
            (None, true) => local::running(&self.workspace, run),
            (None, false) => Ok(None),
        }
    }

    /// The containers that take the place of the file's servers, where it says so: those that were asked
    /// for, or those that run, unless processes do, too. `start`: those that were asked for may be started.
    pub async fn found_containers(&self, start: bool) -> Result<Vec<Container>> {
        let environment = self.environment()?;
        if !environment.uses_stack() {
            if self.common.runtime == Some(Runtime::Docker) {
                refuse!("environment `{}` is not for local servers: leave --runtime out", self.common.env);
            }
            return Ok(Vec::new());
        }
        match (&self.common.stack, self.common.runtime.unwrap_or(Runtime::Auto)) {
            (Some(dir), _) if docker::is_of_containers(dir) => {
                let kept = docker::kept(&Engine::connect().await?, &self.workspace).await?;
                let Some((_, containers)) = kept.into_iter().find(|(home, _)| home == dir) else {
                    refuse!("no containers were kept in {}: `cargo xtask stack status`", dir.display());
                };
                Ok(containers)
            }
            (Some(_), Runtime::Docker) => {
                refuse!("--stack names processes: leave it out, or --runtime docker")
            }
            (Some(_), _) | (None, Runtime::Native) => Ok(Vec::new()),
            (None, Runtime::Docker) => {
                let engine = Engine::connect().await?;
                let (wanted, workspace) = ((start, self.removed()?), &self.workspace);
                let wanted = (wanted.0, wanted.1.as_ref());
                compose_stack::at_work(&engine, workspace, &environment, wanted, &self.terminal).await
            }
            (None, Runtime::Auto) => self.running_containers().await,
        }
    }

    pub async fn look_for_containers(&mut self, servers: Servers) -> Result<()> {
        if servers != Servers::None {
            self.containers = Box::pin(self.found_containers(servers == Servers::Started)).await?;
        }
        Ok(())
    }

    pub async fn running_containers(&self) -> Result<Vec<Container>> {
        let engine = match Engine::connect().await {
            Ok(engine) => engine,
            Err(why) => {
                self.terminal.detail(format!("containers are not looked at: {why:#}"));
                return Ok(Vec::new());
            }
        };
        let containers = compose_stack::of(&engine, &self.workspace).await?;
        if !compose_stack::all_run(&containers, self.removed()?.as_ref()) {
            return Ok(Vec::new());
        }
        if let Some(stack) = local::running(&self.workspace, None)? {
            refuse!(
                "two stacks of this checkout are running, containers and the processes in {}: say --runtime docker \
                 or --runtime native",
                stack.dir.display()
            );
        }
        Ok(containers)
    }

    /// What every command asks first that writes to a target or holds the source back.
    pub fn permitted(&self, settings: &Settings) -> Result<()> {
        let permitted = guard::confirmed(settings, self.common.confirm.as_deref());
        if permitted.is_err() {
            self.tell_of_a_freeze(settings);
        }
        permitted
    }

    /// What the way into a migration asks besides.
    pub fn rehearsed(&self, ctx: &Ctx) -> Result<()> {
        match self.unrehearsed(ctx)? {
            Some(why) => refuse!("{why}"),
            None => Ok(()),
        }
    }

    pub fn unrehearsed(&self, ctx: &Ctx) -> Result<Option<String>> {
        let file = rehearsal_log::file()?;
        Ok(guard::unrehearsed(ctx, &rehearsal_log::read(&file)?, &file, jiff::Timestamp::now()))
    }

    /// # Errors
    /// Refuses where the machine lacks PostgreSQL's client programs.
    pub fn options(&self) -> Result<Options> {
        Ok(self.options_with(native::client_bindir().map_err(|missing| refused(missing.into()))?))
    }

    pub fn options_with(&self, bindir: PathBuf) -> Options {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Options {
            terminal: self.terminal.clone(),
            tools: Tools { bindir },
            workspace: self.workspace.clone(),
            jobs: self.common.jobs.unwrap_or(cores),
            max_diffs: self.common.max_diffs,
            values: if self.common.show_values { Values::Shown } else { Values::Masked },
        }
    }

    pub fn runs(&self) -> PathBuf {
        self.common.backup_dir.clone().unwrap_or_else(|| runs_of(&self.workspace))
    }
}

/// The names of the environments that have a file there, sorted.
fn environments(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = files.filter_map(|f| Some(f.file_name().to_str()?.strip_suffix(".toml")?.to_string()));
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn runs_of(workspace: &Path) -> PathBuf {
    workspace.join("database-backups")
}

/// The environments of this checkout, and where its runs are if nothing else is said: without a session, for
/// completions.
pub fn known_places() -> Result<(Vec<String>, PathBuf)> {
    let workspace = workspace()?;
    Ok((environments(&workspace.join("xtask/environments")), runs_of(&workspace)))
}

/// The checkout that this tool was built from.
fn workspace() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_path_buf).context("xtask has no workspace around it")
}

impl Common {
    pub fn terminal(&self, variables: &Variables) -> Terminal {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let no_colour = variables.get("NO_COLOR").is_some_and(|v| !v.is_empty());
        let columns = columns(variables.get("COLUMNS").map(String::as_str));
        Terminal::new(verbosity, no_colour).with_columns(columns)
    }
}
