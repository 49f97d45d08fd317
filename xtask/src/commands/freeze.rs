//! The source held back by itself, before a run or between two, and the way back, also after a crash.

use crate::effects::cleanup::Cleanup;
use crate::effects::terminal::Terminal;
use crate::model::{Service, Stop};
use crate::refuse;
use crate::run::dir::RunDir;
use crate::run::freeze_log::{FreezeLog, Side};
use crate::session::{Command, OldDatabase, Servers, Session, WaitArgs};
use crate::settings::Settings;
use crate::shown::utc;
use crate::source::freeze::{Freezer, Held};
use crate::source::services::{Shop, names};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// Freeze the source: read-only, other sessions ended
///
/// New sessions are read-only, the others are ended, and the services' roles cannot log in.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    wait: WaitArgs,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let settings = session.settings()?;
        session.permitted(&settings)?;
        let shop = shop(&settings, session, self.wait.wait);
        let done = run(&settings, &shop, &session.runs(), &session.terminal, session.cleanup).await?;
        let next = format!("{}; to undo it: {}", session.then("migrate"), session.then("unfreeze"));
        session.done(&done, done.text(), next)
    }
}

/// Undo a freeze, also one whose process was killed
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// Only if the source was frozen by this run
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
}

impl Command for UndoArgs {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    fn old_database(&self) -> OldDatabase {
        OldDatabase::Needed
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (run, settings) = (self.run.as_deref(), session.settings()?);
        let shop = shop(&settings, session, self.wait.wait);
        let done = undo(&settings, &shop, &session.runs(), run, &session.terminal).await?;
        session.done(&done, done.text(), session.then("migrate"))
    }
}

/// What a command did, for people and programs.
#[derive(Debug, Serialize)]
pub struct Done {
    pub source: String,
    /// Whether the source is frozen now.
    pub frozen: bool,
    pub did: Vec<String>,
}

impl Done {
    pub fn text(&self) -> String {
        let state = if self.frozen { "frozen" } else { "not frozen" };
        let did: String = self.did.iter().map(|line| format!("  {line}\n")).collect();
        format!("{} is {state}\n{did}", self.source)
    }
}

fn shop(settings: &Settings, session: &Session<'_>, wait: Option<Duration>) -> Shop {
    Shop::new(settings, FreezeLog::at(&session.runs()), &session.terminal, wait)
}

/// Stops the services, freezes the source and leaves it so.
pub async fn run(
    settings: &Settings,
    shop: &Shop,
    runs: &Path,
    terminal: &Terminal,
    cleanup: &Cleanup,
) -> Result<Done> {
    let freezer = Freezer::new(settings, FreezeLog::at(runs), terminal);
    // Nobody is sent away for a freeze that cannot be.
    freezer.preflight().await?;
    let stopped = shop.stop(&Service::ALL, Side::Old, cleanup).await?;
    // Where that fails, what is left in `cleanup` starts them again.
    let held = freezer.freeze(None, cleanup).await?;
    stopped.into_iter().for_each(|pending| cleanup.keep(pending));
    let did = match held {
        Held::Now(pending, _) => {
            cleanup.keep(pending);
            let roles = freezer.open()?.map(|open| open.frozen.roles).unwrap_or_default();
            let roles = roles.iter().map(|role| format!("{role} cannot log in"));
            ["new sessions are read-only, the others have been ended".to_string()]
                .into_iter()
                .chain(roles)
                .chain([format!("what was before is in {}", freezer.book().path().display())])
                .collect()
        }
        Held::Before(open) => vec![format!("it has been since {}", utc(&open.at))],
    };
    Ok(Done { source: settings.source.to_string(), frozen: true, did })
}

/// Undoes the freeze that the book knows. `run`: only if it was this run's; after a cut-over it has to be
/// named.
///
/// # Errors
/// Where services that were stopped for it do not start; the same call tries it again.
pub async fn undo(
    settings: &Settings,
    shop: &Shop,
    runs: &Path,
    run: Option<&str>,
    terminal: &Terminal,
) -> Result<Done> {
    let freezer = Freezer::new(settings, FreezeLog::at(runs), terminal);
    // While a run is at work the source is frozen for it; a cut-over that sees it thawed would be no proof.
    let locks = freezer.alone("unfreeze").await?;
    let done = undo_alone(settings, runs, run, &freezer).await;
    locks.release().await;
    let mut done = done?;
    let started = shop.start_again(Side::Old).await;
    let started = started
        .with_context(|| format!("{} is not frozen any more: {}", done.source, done.did.join("; ")))?;
    done.did.extend((!started.is_empty()).then(|| format!("started: {}", names(&started))));
    Ok(done)
}

async fn undo_alone(settings: &Settings, runs: &Path, run: Option<&str>, freezer: &Freezer) -> Result<Done> {
    let source = settings.source.to_string();
    let Some(open) = freezer.open()? else {
        return nothing_known(settings, freezer).await;
    };
    let frozen_for = open.frozen.run.as_deref();
    let cutover = match &open.cutover {
        Some(run) => cut_over(runs, run)?.map(|at| (run.as_str(), at)),
        None => None,
    };
    match (run, cutover) {
        (Some(run), _) if frozen_for != Some(run) && open.cutover.as_deref() != Some(run) => refuse!(
            "{source} was not frozen by run {run}, but by {} at {}: `cargo xtask unfreeze` without --run \
             undoes that",
            frozen_for.map_or("`cargo xtask freeze`".to_string(), |run| format!("run {run}")),
            utc(&open.at)
        ),
        (None, Some((run, at))) => refuse!(
            "run {run} was cut over at {}: the services write to the new stores, and what is written to \
             {source} from now on would be in none of them. Where that is what you want, name the run: \
             `cargo xtask unfreeze --run {run}`",
            utc(&at)
        ),
        _ => {}
    }
    let did = freezer.undo(&open.frozen).await?;
    Ok(Done { source, frozen: false, did })
}

/// When the run was cut over. The book says it before the run does: in between it may have been killed.
fn cut_over(runs: &Path, run: &str) -> Result<Option<String>> {
    match RunDir::open(runs, run) {
        Ok(dir) => Ok(dir.load_manifest()?.cutover.map(|c| c.at)),
        // Its directory is gone: then what the book says counts.
        Err(error) if error.is::<Stop>() => Ok(Some("a time that is not known any more".into())),
        Err(error) => Err(error),
    }
}

async fn nothing_known(settings: &Settings, freezer: &Freezer) -> Result<Done> {
    let source = settings.source.to_string();
    let setting = freezer.setting().await?;
    if setting.as_deref() == Some("on") {
        refuse!(
            "{source} has default_transaction_read_only = on, but {} knows of no freeze of {}: name the place \
             of the runs with --backup-dir, or undo it by hand: ALTER DATABASE {} RESET \
             default_transaction_read_only",
            freezer.book().path().display(),
            freezer.source(),
            crate::sql_text::ident(&settings.source.database)
        );
    }
    Ok(Done { source, frozen: false, did: vec!["there was nothing to undo".into()] })
}
