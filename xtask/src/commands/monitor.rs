//! How servers, stores and backups are: one screen that refreshes, or once, for people, programs and Prometheus.

use crate::effects::terminal::redraw;
use crate::operations::decommission;
use crate::operations::monitor::{self, Report, ServerSeen, exposition};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::session::{Command, Servers, Session};
use crate::settings;
use anyhow::{Context, Result};
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Watch servers, stores and backups: screen, JSON, Prometheus
///
/// Connections, locks, slow statements, replication, disks, documents, ages of backups and drills.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run whose stores the services work on, or `latest`: the newest that is cut over or caught up with
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
    /// Look once; exit code 3 where something is beyond its limit ([monitor] of the environment)
    #[arg(long)]
    once: bool,
    /// The time between two looks
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = interval)]
    every: Duration,
    /// Also write the measurements into this file, for node_exporter's textfile collector
    #[arg(long, value_name = "FILE")]
    prometheus: Option<PathBuf>,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let (ctx, manifest) = session.watched_run(&self.run)?;
        if let Some(file) = &self.prometheus {
            can_be_written(file)?;
        }
        if self.once || session.common.json || !std::io::stdout().is_terminal() {
            let report = self.look(&ctx, manifest.as_ref()).await?;
            session.done(&report, report.text(), None)?;
            return report.judge();
        }
        session.cleanup.ends_by_interrupt();
        loop {
            let report = self.look(&ctx, manifest.as_ref()).await?;
            redraw(&report.screen())?;
            tokio::time::sleep(self.every).await;
        }
    }
}

impl Args {
    async fn look(&self, ctx: &Ctx, manifest: Option<&Manifest>) -> Result<Report> {
        let source = match manifest {
            // A session of this tool in it would be one that is counted.
            Some(manifest) => watched(ctx, manifest).await,
            None => None,
        };
        let report = Box::pin(monitor::look(ctx, manifest, source)).await?;
        if let Some(file) = &self.prometheus {
            write(file, &exposition(&report))?;
        }
        Ok(report)
    }
}

/// What is known of an old database that is being taken out of service; `None`: it is in service.
async fn watched(ctx: &Ctx, manifest: &Manifest) -> Option<ServerSeen> {
    match decommission::watch(ctx, manifest).await {
        Ok(watched) => watched.map(|reason| ServerSeen::NotLookedAt { reason }),
        // Who is in it could not be seen.
        Err(error) => Some(ServerSeen::Down { reason: format!("{error:#}") }),
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match settings::span(text) {
        Some(every) if !every.is_zero() => Ok(every),
        _ => Err(format!("expected a number with its unit, such as 5s or 1m, found {text:?}")),
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Before anything is looked at. What is there and is no file, such as a device, is not replaced by one.
fn can_be_written(file: &Path) -> Result<()> {
    if fs::metadata(file).is_ok_and(|there| !there.is_file()) || !folder(file).is_dir() {
        refuse!(
            "--prometheus {}: no file can be written there: name one in a directory that is there",
            file.display()
        );
    }
    match beside(file) {
        Ok(_) => Ok(()),
        Err(error) => refuse!("--prometheus {}: its directory takes no file: {error}", file.display()),
    }
}

/// The next one, until it takes the other's place.
fn beside(file: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(".xtask-").tempfile_in(folder(file))
}

/// Whoever reads it finds the old one or the new one, never half of one.
fn write(file: &Path, text: &str) -> Result<()> {
    let context = || format!("writing {}", file.display());
    // Where a link points to, so that it stays one.
    let file = &fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let mut new = beside(file).with_context(context)?;
    new.write_all(text.as_bytes()).with_context(context)?;
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(new.path(), readable).with_context(context)?;
    new.persist(file).with_context(context)?;
    Ok(())
}
