//! The shop's services on the way back. Those of the new stores are stopped before these are held out; once the old
//! database is proven and everything else is done, the shop's old configuration is put back, and the services are
//! started on it: never an old one beside a new one. Each step can be repeated; a file in the run's directory says
//! that some are left.

use super::finish;
use super::summary::Scenario;
use crate::effects::cleanup::{Cleanup, Pending};
use crate::model::Service;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::{FreezeLog, Side};
use crate::run::manifest::{COMPOSE_BEFORE, Manifest};
use crate::servers::docker::ShopProject;
use crate::source::services::{self, PutBack, Shop};
use anyhow::{Context, Result};
use datapath::files::FileInfo;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

/// Says that the services are still to be started, for which way back.
const LEFT: &str = "rollback/services.json";

/// What becomes of the services, or has become of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ShopBack {
    pub stopped: Vec<Service>,
    /// Others of the shop's compose file that the old one does not have.
    pub new_ones_stopped: Vec<String>,
    pub configuration: Configuration,
    pub started: Vec<Service>,
    /// Where each service is told its database: for people to revert.
    pub revert: BTreeMap<Service, Vec<String>>,
}

/// What becomes of the shop's compose file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Configuration {
    /// The environment names none.
    #[default]
    NotNamed,
    /// The run's backup was made without it.
    NotKept,
    /// The run's takes its place.
    ToPutBack(PathBuf),
    /// One service alone is started as the run's says; this one still has the new one.
    Alone { file: PathBuf, as_in: PathBuf },
    /// It is the run's already.
    Before,
    /// The run's has taken its place.
    PutBack {
        /// Where the one is that was there.
        kept: Option<PathBuf>,
    },
}

/// The services of a run that is taken back.
pub struct ShopOfRun<'a> {
    ctx: &'a Ctx,
    shop: Shop,
    scenario: Scenario,
    manifest: &'a Manifest,
    /// Those that go back: one that has gone alone is the old database's already.
    services: Vec<Service>,
}

#[derive(Serialize, Deserialize)]
struct LeftToDo {
    scenario: String,
}

impl<'a> ShopOfRun<'a> {
    /// `wait`: how long they may take to stop, or to start.
    pub fn of(
        ctx: &'a Ctx,
        scenario: Scenario,
        manifest: &'a Manifest,
        wait: Option<Duration>,
    ) -> ShopOfRun<'a> {
        let shop = Shop::new(&ctx.settings, FreezeLog::at(ctx.run.runs()), &ctx.terminal, wait);
        let before: Vec<Service> = manifest.services_back.iter().map(|back| back.service).collect();
        let services = Service::ALL.into_iter().filter(|service| scenario.takes(*service, &before));
        ShopOfRun { ctx, shop, scenario, manifest, services: services.collect() }
    }

    /// What would be done.
    ///
    /// # Errors
    /// Refuses what the environment says of the services where it cannot be done, and a configuration of the run that
    /// Compose does not take any more.
    pub async fn plan(&self) -> Result<ShopBack> {
        let mut plan = self.nothing();
        if !self.shop.is_known(&self.services).await? {
            return Ok(plan);
        }
        plan.stopped = self.shop.to_stop(&self.services).await?;
        if let Some(project) = self.shop.project().await? {
            plan.configuration = match (self.kept(), self.scenario.alone()) {
                (None, _) => Configuration::NotKept,
                (Some(kept), Some(service)) => self.alone(project, kept, service).await?,
                (Some(_), None) => {
                    plan.new_ones_stopped = self.new_ones(project).await?;
                    Configuration::ToPutBack(project.file().to_path_buf())
                }
            }
        }
        plan.started = self.to_start(&plan.configuration);
        Ok(plan)
    }

    fn revert(&self) -> BTreeMap<Service, Vec<String>> {
        services::files_to_revert(&self.ctx.settings.services, &self.services)
    }

    /// Where one service goes alone, the others keep the new file.
    ///
    /// # Errors
    /// Refuses a kept file that is not what the backup wrote.
    async fn alone(&self, project: &ShopProject, kept: &FileInfo, service: Service) -> Result<Configuration> {
        let as_in = services::as_written(&self.ctx.run, kept)?;
        let had = project.services_in(&as_in).await?;
        Ok(match had.iter().any(|name| name == service.name()) {
            true => Configuration::Alone { file: project.file().to_path_buf(), as_in },
            false => Configuration::NotNamed,
        })
    }

    /// The shop's configuration, where the backup has it.
    fn kept(&self) -> Option<&FileInfo> {
        let backup = self.manifest.backup.as_ref().filter(|backup| backup.shop_compose.is_some())?;
        backup.files.get(COMPOSE_BEFORE)
    }

    /// With a compose file whose old state nobody knows, its services are not started: they could be the new ones.
    fn to_start(&self, configuration: &Configuration) -> Vec<Service> {
        let by_command = |service: &&Service| self.ctx.settings.services.start.contains_key(service);
        match configuration {
            Configuration::NotKept | Configuration::NotNamed => {
                self.services.iter().filter(by_command).copied().collect()
            }
            _ => self.services.clone(),
        }
    }

    /// Running services of the present file that the run's does not have.
    async fn new_ones(&self, project: &ShopProject) -> Result<Vec<String>> {
        let before = project.services_in(&self.ctx.run.file(COMPOSE_BEFORE)).await?;
        let running = project.running().await?;
        Ok(running.into_iter().filter(|name| !before.contains(name)).collect())
    }

    /// Before anybody is held out. Until that is kept, they are started again where nothing went back.
    pub async fn stop(&self, cleanup: &Cleanup) -> Result<(Vec<Service>, Option<Pending>)> {
        self.ctx.terminal.phase("Rollback: the services");
        let mut stopping = Vec::new();
        if self.shop.is_known(&self.services).await? {
            let left = LeftToDo { scenario: self.scenario.to_string() };
            self.ctx.run.write(LEFT, serde_json::to_string(&left)?)?;
            stopping = self.shop.to_stop(&self.services).await?;
        }
        Ok((stopping, self.shop.stop(&self.services, Side::New, cleanup).await?))
    }

    /// Whether an earlier call has taken the run back in this way.
    pub fn is_taken_back(&self) -> bool {
        let scope = self.scenario.to_string();
        self.manifest.cutover.is_none()
            && self.manifest.rolled_back.last().is_some_and(|back| back.scope == scope)
    }

    /// Nothing is done with them.
    pub fn nothing(&self) -> ShopBack {
        ShopBack { revert: self.revert(), ..ShopBack::default() }
    }

    /// Whether an earlier call has taken the run back in this way, and was cut off before all of this was done.
    pub fn is_left_to_do(&self) -> Result<bool> {
        if !self.is_taken_back() {
            return Ok(false);
        }
        let left = match fs::read_to_string(self.ctx.run.file(LEFT)) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(e).with_context(|| format!("reading {LEFT}")),
        };
        let left: LeftToDo = serde_json::from_str(&left).with_context(|| format!("reading {LEFT}"))?;
        Ok(left.scenario == self.scenario.to_string())
    }

    /// After everything else: the old configuration, and the old services on it.
    ///
    /// # Errors
    /// Where one does not start. The old database is the shop's all the same; the same command goes on.
    pub async fn finish(&self, stopped: Vec<Service>) -> Result<ShopBack> {
        let mut back = ShopBack { stopped, ..self.nothing() };
        if !self.shop.is_known(&self.services).await? {
            return Ok(back);
        }
        self.ctx.terminal.phase("Rollback: the services on the old database");
        if self.scenario.alone().is_none() {
            // Cut off before that, they could not log in.
            finish::let_in(self.ctx).await?;
        }
        let run = self.ctx.run.id();
        self.configured(&mut back).await.with_context(|| {
            format!("run {run} is taken back, and the shop's configuration is not; the same command goes on")
        })?;
        let services = self.to_start(&back.configuration);
        let started = match &back.configuration {
            Configuration::Alone { as_in, .. } => self.shop.start_alone(as_in, &services).await,
            _ => self.shop.start(&services).await,
        };
        back.started = started.with_context(|| {
            format!("run {run} is taken back, and not all services are started; the same command goes on")
        })?;
        let left = self.ctx.run.file(LEFT);
        match fs::remove_file(&left) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", left.display()))
            }
            _ => Ok(back),
        }
    }

    async fn configured(&self, back: &mut ShopBack) -> Result<()> {
        let Some(project) = self.shop.project().await? else { return Ok(()) };
        let Some(kept) = self.kept() else {
            back.configuration = Configuration::NotKept;
            return Ok(());
        };
        if let Some(service) = self.scenario.alone() {
            back.configuration = self.alone(project, kept, service).await?;
            return Ok(());
        }
        back.new_ones_stopped = self.new_ones(project).await?;
        let new: Vec<&str> = back.new_ones_stopped.iter().map(String::as_str).collect();
        if !new.is_empty() {
            project.stop(&new).await?;
        }
        back.configuration = match services::put_back(&self.ctx.run, kept, project.file())? {
            PutBack::Before => Configuration::Before,
            PutBack::Now { kept } => Configuration::PutBack { kept },
        };
        Ok(())
    }
}
