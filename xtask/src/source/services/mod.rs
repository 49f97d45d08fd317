//! The shop's services, stopped before what they work on is held back, and started again afterwards: by the shop's
//! compose file or by a command each, as the environment says; else by whoever reads what is said here. Stopped is
//! a service that has no session left.
//!
//! What is stopped is in the book of freezes before it is, so that another process knows, too, what to start again.

mod revert;
mod sessions;
mod ways;

pub use revert::{PutBack, as_written, can_be_kept, files_to_revert, keep_configuration, put_back};

use self::sessions::Looking;
use self::ways::{Asked, Deadline, Start, Ways};
use crate::effects::cleanup::{Cleanup, Pending};
use crate::effects::terminal::{Terminal, has_a_person};
use crate::effects::wait::{self, Patience, State};
use crate::model::{Database, Service};
use crate::refuse;
use crate::run::freeze_log::{FreezeLog, Side};
use crate::servers::docker::ShopProject;
use crate::settings::{Settings, human};
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// How long services may take to stop or to start, where nobody says.
const USUALLY: Duration = Duration::from_secs(300);

const INTERVAL: Duration = Duration::from_millis(200);

/// The services of one environment.
#[derive(Clone)]
pub struct Shop {
    settings: Settings,
    book: FreezeLog,
    terminal: Terminal,
    wait: Option<Duration>,
    /// What Compose has said of the shop.
    asked: Arc<OnceCell<Option<Asked>>>,
}

impl Shop {
    /// `wait`: how long they may take to stop or to start; `None`: some minutes, and where neither a command nor a
    /// person stops them, not at all.
    pub fn new(settings: &Settings, book: FreezeLog, terminal: &Terminal, wait: Option<Duration>) -> Shop {
        let (settings, terminal, asked) = (settings.clone(), terminal.clone(), Arc::default());
        Shop { settings, book, terminal, wait, asked }
    }

    fn source(&self) -> String {
        FreezeLog::name_of(&self.settings.source)
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.wait.unwrap_or(USUALLY))
    }

    async fn asked(&self) -> Result<Option<&Asked>> {
        let asked =
            self.asked.get_or_try_init(async || Asked::compose(&self.settings.services).await).await?;
        Ok(asked.as_ref())
    }

    async fn ways(&self, services: &[Service]) -> Result<Ways<'_>> {
        Ways::of(&self.settings.services, self.asked().await?, services)
    }

    /// Whether it is known how any of these is stopped or started.
    ///
    /// # Errors
    /// Refuses what the environment says of them where it cannot be done.
    pub async fn is_known(&self, services: &[Service]) -> Result<bool> {
        Ok(!self.ways(services).await?.are_none())
    }

    /// The shop's compose project, where the environment names it.
    pub async fn project(&self) -> Result<Option<&ShopProject>> {
        Ok(self.asked().await?.map(|asked| &asked.project))
    }

    /// What would be stopped now, by this tool.
    pub async fn to_stop(&self, services: &[Service]) -> Result<Vec<Service>> {
        self.ways(services).await?.to_stop().await
    }

    /// Stops those that run, and waits until none of their sessions is left. Until that is kept, starting them again
    /// is noted in `cleanup`.
    ///
    /// # Errors
    /// Where one does not stop in time; those that had been stopped have been started again then.
    pub async fn stop(&self, services: &[Service], side: Side, cleanup: &Cleanup) -> Result<Option<Pending>> {
        let ways = self.ways(services).await?;
        if ways.are_none() {
            self.by_hand(services, side).await?;
            return Ok(None);
        }
        let stopping = ways.to_stop().await?;
        let before = self.book.stopped(&self.source(), side)?;
        let all: BTreeSet<Service> = before.iter().chain(&stopping).copied().collect();
        self.book.note_stopped(&self.source(), side, &Vec::from_iter(all))?;
        let pending = cleanup.add("services are stopped", ways.by_hand(&stopping), {
            let shop = self.clone();
            move || {
                let shop = shop.clone();
                async move { shop.start_again_unless_held(side).await }
            }
        });
        self.terminal.line(match &stopping[..] {
            [] => "none of the services runs".to_string(),
            some => format!("stopping the services: {}", names(some)),
        });
        let deadline = self.deadline();
        let stopped = async {
            ways.stop(&stopping, deadline).await?;
            self.gone(services, side, deadline.left()).await
        };
        let Err(error) = stopped.await else { return Ok(Some(pending)) };
        Err(match cleanup.undo(pending).await {
            Ok(()) => error.context("the services do not stop; nothing has been frozen"),
            Err(left) => error.context(format!("the services do not stop, and not all run again: {left:#}")),
        })
    }

    /// Waits until none of their sessions is left.
    async fn gone(&self, services: &[Service], side: Side, limit: Duration) -> Result<()> {
        let mut looking = Looking::begin(&self.settings, services, side).await?;
        if looking.sees_nothing() {
            self.terminal.line(
                "no role of theirs is named ([services.roles], freeze_roles): that they have gone is not looked at",
            );
            return Ok(());
        }
        let left = self.until_gone(&mut looking, limit).await?;
        looking.close().await?;
        if !left.is_empty() {
            bail!(
                "they have been stopped, and after {} these are still connected; end them \
                 (`SELECT pg_terminate_backend(…)`), then rerun the command:\n  {}",
                human(self.wait.unwrap_or(USUALLY)),
                left.join("\n  ")
            );
        }
        self.terminal.line("the services have been stopped: no session of theirs is left");
        Ok(())
    }

    /// Those that are left at the end.
    async fn until_gone(&self, looking: &mut Looking, limit: Duration) -> Result<Vec<String>> {
        let patience = Patience { deadline: limit, interval: INTERVAL };
        let mut said = false;
        let gone = wait::until(patience, async || {
            let left = looking.left().await?;
            if !left.is_empty() && !std::mem::replace(&mut said, true) {
                self.terminal.line(format!("waiting until these are gone: {}", left.join(", ")));
            }
            Ok(if left.is_empty() { State::Ready(()) } else { State::NotYet(left) })
        });
        Ok(match gone.await? {
            State::Ready(()) => Vec::new(),
            State::NotYet(left) => left,
        })
    }

    /// Nobody here knows how they are stopped: says so, and waits until somebody has done it.
    async fn by_hand(&self, services: &[Service], side: Side) -> Result<()> {
        let mut looking = Looking::begin(&self.settings, services, side).await?;
        let left = looking.left().await?;
        let wait = self.wait.unwrap_or(if has_a_person() { USUALLY } else { Duration::ZERO });
        match (looking.sees_nothing(), left.is_empty()) {
            (true, _) => self.terminal.line(
                "how the shop's services are stopped is not known here ([services]), nor by which roles they are \
                 connected: whoever is will be sent away",
            ),
            (false, true) => {}
            (false, false) if wait.is_zero() => self.terminal.line(format!(
                "how the shop's services are stopped is not known here ([services]); still connected, and sent away: {}",
                left.join(", ")
            )),
            (false, false) => {
                self.terminal.always(&format!(
                    "Stop the shop's services now: {}. Waiting for up to {} until these are gone:\n  {}",
                    names(services),
                    human(wait),
                    left.join("\n  ")
                ));
                let left = self.until_gone(&mut looking, wait).await?;
                if !left.is_empty() {
                    refuse!(
                        "after {} these are still connected:\n  {}\nStop the services, then rerun the command; \
                         or, to have them sent away, with --wait 0s",
                        human(wait),
                        left.join("\n  ")
                    );
                }
            }
        }
        looking.close().await
    }

    /// Starts again what has been stopped, as it was; those that were.
    ///
    /// # Errors
    /// Where one does not start; the same call tries it again.
    pub async fn start_again(&self, side: Side) -> Result<Vec<Service>> {
        let stopped = self.book.stopped(&self.source(), side)?;
        if stopped.is_empty() {
            return Ok(Vec::new());
        }
        let started = self.started(&stopped, Start::Again).await?;
        self.book.note_started(&self.source())?;
        Ok(started)
    }

    /// Starts these on the old database, as the compose file says; those that were.
    ///
    /// # Errors
    /// As [`Shop::start_again`].
    pub async fn start(&self, services: &[Service]) -> Result<Vec<Service>> {
        let started = self.started(services, Start::AsWritten).await?;
        self.forget()?;
        Ok(started)
    }

    /// Starts these alone on the old database, as this file says; the rest of the shop's project stays as it is.
    ///
    /// # Errors
    /// As [`Shop::start_again`].
    pub async fn start_alone(&self, file: &Path, services: &[Service]) -> Result<Vec<Service>> {
        let started = self.started(services, Start::AsIn(file)).await?;
        self.forget()?;
        Ok(started)
    }

    async fn started(&self, services: &[Service], how: Start<'_>) -> Result<Vec<Service>> {
        let now = match (how, self.asked().await?) {
            (Start::AsWritten, Some(asked)) => Some(asked.again(asked.project.file()).await?),
            (Start::AsIn(file), Some(asked)) => Some(asked.again(file).await?),
            (_, asked) => asked.cloned(),
        };
        let ways = Ways::of(&self.settings.services, now.as_ref(), services)?;
        let started = ways.start(services, how, self.deadline()).await?;
        if !started.is_empty() {
            self.terminal.line(format!("started: {}", names(&started)));
        }
        let by_hand = ways.without_start();
        if !by_hand.is_empty() {
            self.terminal.warn(format!("how these are started is not known here: {}", names(&by_hand)));
        }
        Ok(started)
    }

    /// Whoever has been stopped is started by others from here on.
    pub fn forget(&self) -> Result<()> {
        let source = self.source();
        for side in [Side::Old, Side::New] {
            if !self.book.stopped(&source, side)?.is_empty() {
                return self.book.note_started(&source);
            }
        }
        Ok(())
    }

    /// As the way out of a command. Where what they work on is still held back, they stay stopped.
    async fn start_again_unless_held(&self, side: Side) -> Result<()> {
        let held = match side {
            Side::Old => vec![&self.settings.source],
            Side::New => Database::ALL.map(|database| self.settings.target(database)).to_vec(),
        };
        for server in held {
            if self.book.holds(server)? {
                return Ok(());
            }
        }
        self.start_again(side).await.map(drop)
    }
}

/// For people.
pub fn names(services: &[Service]) -> String {
    services.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}
