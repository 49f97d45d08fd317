//! The containers of a rehearsal: a project, names, ports, volumes and passwords of their own.
//!
//! Everything that is made carries the run's label, and only that is removed. A private directory with a
//! lock stands for the process: whose lock is free, or whose directory is gone, is a leftover of a killed
//! one, unless its file `keep` is there.

use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::host;
use crate::effects::random;
use crate::effects::wait::{Patience, Waiting};
use crate::servers::docker::compose::{Compose, Project};
use crate::servers::docker::container::{Container, SERVICES};
use crate::servers::docker::engine::Engine;
use crate::servers::docker::waiting::state_of;
use crate::servers::native::private::{self, Lock};
use anyhow::{Context, Result, anyhow, bail};
use secrecy::SecretString;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Carried by every container, volume and network of a rehearsal: the run, and its directory.
pub const RUN_LABEL: &str = "xtask.run";
pub const HOME_LABEL: &str = "xtask.home";
/// What the name of a rehearsal's directory begins with.
pub const HOME_PREFIX: &str = "xtask-docker-";
const NEW_PREFIX: &str = "xtask-docker-new-";
const KEEP: &str = "keep";

/// Another program may take a free port before the engine does.
const PORTS_TO_TRY: usize = 5;
/// A directory without containers is a leftover only after that long: a tool may be making them.
const MAKING: Duration = Duration::from_secs(60);
/// How long something may be in use that is to go.
const PATIENCE: Patience =
    Patience { deadline: Duration::from_secs(30), interval: Duration::from_millis(300) };

/// Running containers of a rehearsal. They go with `stop`, or when what is noted in `cleanup` is undone.
pub struct Disposable {
    engine: Engine,
    run: String,
    home: PathBuf,
    /// Held, and free again once the tool ends, however it ends.
    _lock: File,
    cleanup: Cleanup,
    undo: Pending,
    pub containers: Vec<Container>,
}

impl Disposable {
    /// Starts all services and returns when each is healthy.
    pub async fn start(engine: &Engine, workspace: &Path, cleanup: &Cleanup) -> Result<Disposable> {
        let compose = Compose::find().await?;
        let suffix = random::hex(4)?;
        let root = std::env::temp_dir();
        let home = root.join(format!("{HOME_PREFIX}{suffix}"));
        let lock = private::locked_directory(&root.join(format!("{NEW_PREFIX}{suffix}")), &home)
            .with_context(|| format!("making {}", home.display()))?;
        let (undoing, dir) = (engine.clone(), home.clone());
        let by_hand = format!("cargo xtask stack down --runtime docker --stack {}", home.display());
        let undo = cleanup.add(format!("containers of {} are there", home.display()), by_hand, move || {
            remove(undoing.clone(), dir.clone())
        });
        let mut stack = Disposable {
            engine: engine.clone(),
            run: format!("xtask-{suffix}"),
            home,
            _lock: lock,
            cleanup: cleanup.clone(),
            undo,
            containers: Vec::new(),
        };
        match stack.up(&compose, workspace).await {
            Ok(()) => Ok(stack),
            Err(error) => Err(match stack.stop().await {
                Ok(()) => error,
                Err(left) => anyhow!("{error:#}\nand cleaning up failed: {left:#}"),
            }),
        }
    }

    async fn up(&mut self, compose: &Compose, workspace: &Path) -> Result<()> {
        let password = SecretString::from(random::hex(24)?);
        for _ in 0..PORTS_TO_TRY {
            let project = self.project(workspace, &password)?;
            match compose.up(&self.engine, &project, &[]).await {
                Ok(()) => return self.wait().await,
                Err(error) if crate::servers::docker::failures::is_port_taken(&error) => {
                    sweep(&self.engine, &self.home).await?;
                }
                Err(error) => return Err(error),
            }
        }
        bail!("the containers found none of {PORTS_TO_TRY} sets of ports free that were free just before")
    }

    fn project(&self, workspace: &Path, password: &SecretString) -> Result<Project> {
        let mut variables = vec![
            ("STACK_PREFIX".to_string(), format!("{}-", self.run)),
            ("XTASK_RUN".to_string(), self.run.clone()),
            ("XTASK_HOME".to_string(), label(&self.home)),
        ];
        let names = ["SOURCE", "PRODUCT", "ORDER", "GATEWAY", "FIRESTORE"];
        let ports = free_ports(names.len())?;
        variables
            .extend(names.iter().zip(ports).map(|(name, port)| (format!("{name}_PORT"), port.to_string())));
        let admins = ["PRODUCT_ADMIN", "ORDER_ADMIN", "GATEWAY_ADMIN"];
        let secrets = names[..4].iter().chain(&admins);
        let secrets = secrets.map(|name| (format!("{name}_PASSWORD"), password.clone())).collect();
        Ok(Project {
            directory: workspace.to_path_buf(),
            name: self.run.clone(),
            files: vec!["docker-compose.yml", "docker/rehearsal.yml"],
            variables,
            secrets,
        })
    }

    async fn wait(&mut self) -> Result<()> {
        let labels = [(RUN_LABEL, self.run.as_str())];
        let made = self.engine.containers(&labels).await?;
        if made.len() != SERVICES.len() {
            let names: Vec<&str> = made.iter().map(|c| c.name.as_str()).collect();
            bail!(
                "Compose has made {names:?} instead of a container for each of {} services",
                SERVICES.len()
            );
        }
        let waiting = made.iter().map(|c| state_of(&self.engine, &c.id));
        self.containers = futures_util::future::try_join_all(waiting).await?;
        Ok(())
    }

    /// A private directory that goes with the containers.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Leaves all of it running.
    pub fn keep(self) -> Result<PathBuf> {
        private::file(&self.home.join(KEEP))?;
        self.cleanup.keep(self.undo);
        Ok(self.home)
    }

    /// Removes containers, network, volumes and the directory.
    pub async fn stop(self) -> Result<()> {
        self.cleanup.undo(self.undo).await
    }
}

/// Distinct, because all are held at once.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners: std::io::Result<Vec<TcpListener>> =
        (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0))).collect();
    let ports = listeners.and_then(|all| all.iter().map(|l| Ok(l.local_addr()?.port())).collect());
    ports.context("looking for free ports")
}

/// Everything of the rehearsal in this directory, and the directory.
async fn remove(engine: Engine, home: PathBuf) -> Result<()> {
    sweep(&engine, &home).await?;
    private::remove(&home)
}

/// Everything that carries the label, until two looks in a row find nothing: the engine may still be at
/// what a killed Compose asked for, and then something is in use, or comes back.
async fn sweep(engine: &Engine, home: &Path) -> Result<()> {
    let label = label(home);
    let what = format!("everything of {} to be gone", home.display());
    let mut waiting = Waiting::begin(&what, PATIENCE);
    let (mut used, mut clean) = (BTreeSet::new(), false);
    loop {
        let swept = sweep_once(engine, (HOME_LABEL, &label), &mut used).await;
        if clean && matches!(swept, Ok(true)) {
            return Ok(());
        }
        if swept.is_ok() {
            // a slow engine is not late as long as what is there goes
            waiting = Waiting::begin(&what, PATIENCE);
        }
        clean = matches!(swept, Ok(true));
        let seen = match swept {
            Ok(true) => "nothing, but only once".to_string(),
            Ok(false) => "something was there, and was to go".to_string(),
            Err(error) => format!("{error:#}"),
        };
        waiting.again(&seen).await?;
    }
}

/// Whether there was nothing. A volume that goes before a container that was still being made comes back
/// without its label: so those that the run's containers use (`used`) are looked for, too.
async fn sweep_once(engine: &Engine, label: (&str, &str), used: &mut BTreeSet<String>) -> Result<bool> {
    let containers = engine.containers(&[label]).await?;
    used.extend(containers.iter().flat_map(volumes_of_run));
    let removing = containers.iter().map(|c| engine.remove_container(&c.id));
    futures_util::future::try_join_all(removing).await?;
    let (networks, volumes) = (engine.networks(label).await?, engine.volumes(label).await?);
    for (network, _) in &networks {
        engine.remove_network(network).await?;
    }
    for volume in volumes.iter().chain(used.iter()) {
        engine.remove_volume(volume).await?;
    }
    Ok(containers.is_empty() && networks.is_empty() && volumes.is_empty())
}

fn volumes_of_run(container: &Container) -> Vec<String> {
    let Some(run) = container.labels.get(RUN_LABEL) else { return Vec::new() };
    container.volumes.iter().filter(|v| v.starts_with(&format!("{run}-"))).cloned().collect()
}

/// Removes what killed rehearsals left behind; a line for each.
pub async fn remove_leftovers(engine: &Engine) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for home in homes(engine).await? {
        // Held until all is removed, so that no two are at it.
        let _lock = match private::lock(&home)? {
            Lock::Held => continue,
            Lock::Ours(_) if home.join(KEEP).exists() => continue,
            Lock::Ours(file) => Some(file),
            Lock::NoFile => None,
        };
        remove(engine.clone(), home.clone()).await?;
        lines.push(format!("removed the leftover containers of {}", home.display()));
    }
    Ok(lines)
}

/// The directories of rehearsals on this machine: those that labels name, and those without containers.
async fn homes(engine: &Engine) -> Result<BTreeSet<PathBuf>> {
    let mut homes = BTreeSet::new();
    for container in engine.containers(&[(HOME_LABEL, "")]).await? {
        homes.extend(home_of(&container.labels));
    }
    for name in engine.volumes((HOME_LABEL, "")).await? {
        homes.extend(engine.volume(&name).await?.and_then(|volume| home_of(&volume.labels)));
    }
    for (_, labels) in engine.networks((HOME_LABEL, "")).await? {
        homes.extend(home_of(&labels));
    }
    let roots = private::temp_roots().into_iter().flat_map(|root| private::entries(&root));
    homes.extend(roots.filter(|dir| private::is_ours(dir, HOME_PREFIX) && private::is_older(dir, MAKING)));
    Ok(homes)
}

/// The label's value: another machine's directory is not for us to judge.
fn label(home: &Path) -> String {
    format!("{}:{}", host::host(), home.display())
}

fn home_of(labels: &HashMap<String, String>) -> Option<PathBuf> {
    let (machine, home) = labels.get(HOME_LABEL)?.split_once(':')?;
    let home = PathBuf::from(home);
    (machine == host::host() && is_home(&home)).then_some(home)
}

/// Whether it is named as a rehearsal names its own.
fn is_home(home: &Path) -> bool {
    let name = home.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    home.is_absolute() && name.starts_with(HOME_PREFIX)
}

/// The rehearsals that `--keep` left in this workspace, by directory.
pub async fn kept(engine: &Engine, workspace: &Path) -> Result<Vec<(PathBuf, Vec<Container>)>> {
    let all = engine.containers(&[(HOME_LABEL, "")]).await?;
    let ours = all.iter().filter(|c| Path::new(&c.directory) == workspace);
    let homes: BTreeSet<PathBuf> = ours.filter_map(|c| home_of(&c.labels)).collect();
    let members = |home: &PathBuf| {
        all.iter().filter(|c| home_of(&c.labels).as_ref() == Some(home)).cloned().collect::<Vec<_>>()
    };
    let kept = homes.iter().filter(|home| home.join(KEEP).exists());
    Ok(kept.map(|home| (home.clone(), members(home))).collect())
}

/// Removes a kept rehearsal, or what is left of one.
pub async fn take_down(engine: &Engine, home: &Path) -> Result<()> {
    if !is_home(home) {
        bail!("{} is no directory of a rehearsal", home.display());
    }
    let _lock = match private::lock(home)? {
        Lock::Held => bail!("{} is in use by a running rehearsal", home.display()),
        Lock::Ours(file) => Some(file),
        Lock::NoFile => None,
    };
    remove(engine.clone(), home.to_path_buf()).await
}

/// Whether a directory is that of a rehearsal in containers.
pub fn is_of_containers(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HOME_PREFIX))
}
