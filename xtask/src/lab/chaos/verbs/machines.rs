//! Two machines from which the tool is started, each with a directory of runs; and directories of runs as they
//! were once, from which those are made.

use super::scene::{Call, Copied};
use super::verb::Verb;
use crate::effects::process::Running;
use crate::lab::itself;
use crate::run::dir;
use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The first machine's directory of runs, and the second one's.
pub const FIRST: &str = "runs";
pub const SECOND: &str = "copy";

/// Login role of a service of the old shop: the environment's `freeze_roles` name it.
pub const SERVICE: &str = "shop_service";

pub struct Machines {
    work: PathBuf,
    environment: PathBuf,
}

impl Machines {
    /// `local`: the text of the file that the scenes' environment is made of.
    pub fn open(work: &Path, local: &str) -> Result<Machines> {
        for dir in [work, &work.join("stack"), &work.join("said"), &work.join(FIRST)] {
            private(dir)?;
        }
        let environment = work.join("verbs.toml");
        itself::write_environment(&environment, &itself::environment_with_role(local, SERVICE)?)?;
        Ok(Machines { work: work.to_path_buf(), environment })
    }

    /// Where a stack is described whose servers are behind proxies.
    pub fn stack(&self) -> PathBuf {
        self.work.join("stack")
    }

    /// A machine's runs as they are now, under a name.
    pub fn keep(&self, machine: &str, name: &str) -> Result<()> {
        copied(&self.work.join(machine), &self.work.join(name))
    }

    /// A machine's runs as they were when they were kept under this name.
    pub fn put_back(&self, machine: &str, name: &str) -> Result<()> {
        let place = self.work.join(machine);
        if place.exists() {
            fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
        }
        copied(&self.work.join(name), &place)
    }

    pub fn newest_run(&self, machine: &str) -> Result<String> {
        dir::ids(&self.work.join(machine))?.pop().with_context(|| format!("{machine} holds no run"))
    }

    /// Whether a run on this machine says that it was cut over.
    pub fn knows_of_a_cutover(&self, machine: &str) -> Result<bool> {
        let runs = self.work.join(machine);
        for id in dir::ids(&runs)? {
            if dir::load_manifest(&runs.join(id))?.cutover.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What one of the two types. `run`: the one that both machines know.
    pub fn call(&self, call: &Call, copied: Copied, run: &str, place: usize) -> Result<Running> {
        let machine = machine(call);
        // Who goes on with a run, goes on with the one that was cut off.
        let begun = match (call.verb, call.copy, copied) {
            (Verb::Resume, true, Copied::WithARunCutOff) => self.newest_run(machine)?,
            _ => run.to_string(),
        };
        let mut arguments = call.verb.arguments(&begun, call.named);
        if matches!(call.verb, Verb::Replace | Verb::Resume) {
            arguments.extend(["--max-quarantine".into(), "1000000".into()]);
        }
        self.tool(&arguments, machine, place)
    }

    /// `place`: what it says is kept under this number.
    pub fn tool(&self, arguments: &[String], machine: &str, place: usize) -> Result<Running> {
        let path = self.work.join("said").join(place.to_string());
        let file = fs::File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        drop(file);
        let file =
            || fs::OpenOptions::new().append(true).open(&path).with_context(|| path.display().to_string());
        let program = itself::tool(arguments, &self.stack(), &self.work.join(machine))?;
        program.arg("--env").arg(&self.environment).output(file()?, file()?).start()
    }

    /// The lines of what a call said.
    pub fn said(&self, place: usize) -> String {
        let text = fs::read_to_string(self.work.join("said").join(place.to_string())).unwrap_or_default();
        itself::in_one_line(&text)
    }

    /// The last line of what a call said.
    pub fn last_line(&self, place: usize) -> String {
        let said = self.said(place);
        said.rsplit(" / ").next().unwrap_or_default().to_string()
    }
}

pub fn machine(call: &Call) -> &'static str {
    if call.copy { SECOND } else { FIRST }
}

fn private(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir).with_context(|| dir.display().to_string())
}

/// A directory with all that is in it.
fn copied(from: &Path, to: &Path) -> Result<()> {
    private(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry.with_context(|| from.display().to_string())?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copied(&path, &target)?,
            false => drop(fs::copy(&path, &target).with_context(|| path.display().to_string())?),
        }
    }
    Ok(())
}
