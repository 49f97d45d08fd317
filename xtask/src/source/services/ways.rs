//! How the shop's services are stopped and started: by its compose project, or by a command each.

use crate::effects::shell;
use crate::model::Service;
use crate::refuse;
use crate::servers::docker::ShopProject;
use crate::settings::Services;
use anyhow::{Context, Result, bail};
use std::path::Path;
use std::time::{Duration, Instant};

/// By when all of it has to be done.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    limit: Duration,
    at: Instant,
}

impl Deadline {
    pub fn after(limit: Duration) -> Deadline {
        Deadline { limit, at: Instant::now() + limit }
    }

    pub fn left(&self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// # Errors
    /// Those of the work; or that it has not ended by then, when it is dropped.
    async fn keep<T>(&self, what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.left(), work).await {
            Ok(done) => done.with_context(|| what.to_string()),
            Err(_) => bail!("{what} has not ended within {} s", self.limit.as_secs_f64()),
        }
    }
}

/// How a service is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start<'a> {
    /// What was stopped, as it is.
    Again,
    /// As the compose file says now.
    AsWritten,
    /// As this file says, and nothing else of the project.
    AsIn(&'a Path),
}

pub(super) struct Ways<'a> {
    services: &'a Services,
    /// The shop's project, and which of these services it has.
    project: Option<(&'a ShopProject, Vec<Service>)>,
    of: Vec<Service>,
}

/// The shop's project, and the names of all its services. Compose takes its time: it is asked once.
#[derive(Clone)]
pub(super) struct Asked {
    pub project: ShopProject,
    names: Vec<String>,
}

impl Asked {
    /// `None`: the environment names no file.
    ///
    /// # Errors
    /// Refuses a compose file that is none.
    pub async fn compose(services: &Services) -> Result<Option<Asked>> {
        let Some(file) = &services.compose else { return Ok(None) };
        let project = ShopProject::at_work(file).await?;
        let names = project.services().await?;
        Ok(Some(Asked { project, names }))
    }

    /// After the file has become another one, or with another file.
    pub async fn again(&self, file: &Path) -> Result<Asked> {
        Ok(Asked { project: self.project.clone(), names: self.project.services_in(file).await? })
    }
}

impl Ways<'_> {
    /// # Errors
    /// Refuses a service that both the project and a command would stop or start.
    pub fn of<'a>(services: &'a Services, asked: Option<&'a Asked>, of: &[Service]) -> Result<Ways<'a>> {
        let of = of.to_vec();
        let Some(Asked { project, names }) = asked else { return Ok(Ways { services, project: None, of }) };
        let has = |service: &Service| names.iter().any(|name| name == service.name());
        let twice = |service: &&Service| {
            has(service) && (services.stop.contains_key(service) || services.start.contains_key(service))
        };
        if let Some(service) = Service::ALL.iter().find(twice) {
            refuse!(
                "{service} is stopped and started by {}, and the environment's [services] names a command for it as \
                 well: take one of the two out",
                project.file().display()
            );
        }
        let theirs = of.iter().filter(|service| has(service)).copied().collect();
        Ok(Ways { services, project: Some((project, theirs)), of })
    }

    /// Whether nothing of this is known.
    pub fn are_none(&self) -> bool {
        self.in_project().is_empty() && !self.of.iter().any(|service| self.by_command(service))
    }

    fn in_project(&self) -> &[Service] {
        self.project.as_ref().map(|(_, theirs)| &theirs[..]).unwrap_or_default()
    }

    fn by_command(&self, service: &Service) -> bool {
        self.services.stop.contains_key(service) || self.services.start.contains_key(service)
    }

    /// Those that nobody here can start.
    pub fn without_start(&self) -> Vec<Service> {
        let can = |service: &Service| {
            self.in_project().contains(service) || self.services.start.contains_key(service)
        };
        self.of.iter().filter(|service| !can(service)).copied().collect()
    }

    /// What there is to stop: of the project what runs, and all that have a command for it.
    pub async fn to_stop(&self) -> Result<Vec<Service>> {
        let running = match &self.project {
            Some((project, _)) => project.running().await?,
            None => Vec::new(),
        };
        let runs = |service: &Service| {
            self.in_project().contains(service) && running.iter().any(|name| name == service.name())
        };
        let stops = |service: &&Service| runs(service) || self.services.stop.contains_key(service);
        Ok(self.of.iter().filter(stops).copied().collect())
    }

    /// What a person types to start these.
    pub fn by_hand(&self, services: &[Service]) -> String {
        let of_project = self.of_project(services).map(|(project, names)| project.by_hand(&names));
        let commands = services.iter().filter_map(|service| self.services.start.get(service).cloned());
        of_project.into_iter().chain(commands).collect::<Vec<_>>().join("; ")
    }

    /// Who asks others is stopped before them.
    pub async fn stop(&self, services: &[Service], deadline: Deadline) -> Result<()> {
        if let Some((project, names)) = self.of_project(services) {
            let what = format!("stopping {}", names.join(", "));
            deadline.keep(&what, project.stop(&names)).await?;
        }
        for service in services.iter().rev() {
            if let Some(command) = self.services.stop.get(service) {
                let stopped = shell::run(command, &self.services.directory, deadline.left()).await;
                stopped.with_context(|| format!("stopping {service}"))?;
            }
        }
        Ok(())
    }

    /// Those that were started. One that cannot be does not keep the others from it.
    pub async fn start(
        &self,
        services: &[Service],
        how: Start<'_>,
        deadline: Deadline,
    ) -> Result<Vec<Service>> {
        let (mut started, mut failed) = (Vec::new(), Vec::new());
        if let Some((project, names)) = self.of_project(services) {
            let what = format!("starting {}", names.join(", "));
            let starting = async {
                match how {
                    Start::Again => project.start(&names).await,
                    Start::AsWritten => project.up(&names).await,
                    Start::AsIn(file) => project.up_alone(file, &names).await,
                }
            };
            match deadline.keep(&what, starting).await {
                Ok(()) => started.extend(services.iter().filter(|s| self.in_project().contains(s))),
                Err(error) => failed.push(format!("{error:#}")),
            }
        }
        for service in services {
            if let Some(command) = self.services.start.get(service) {
                match shell::run(command, &self.services.directory, deadline.left()).await {
                    Ok(()) => started.push(*service),
                    Err(error) => failed.push(format!("starting {service}: {error:#}")),
                }
            }
        }
        if !failed.is_empty() {
            bail!("{}", failed.join("\n"));
        }
        Ok(started)
    }

    /// The project and the names in it, where it has any of these.
    fn of_project(&self, services: &[Service]) -> Option<(&ShopProject, Vec<&'static str>)> {
        let (project, theirs) = self.project.as_ref()?;
        let names: Vec<&str> = services.iter().filter(|s| theirs.contains(s)).map(|s| s.name()).collect();
        (!names.is_empty()).then_some((project, names))
    }
}
