//! Backups and drills every day: units of systemd, or a crontab where there is none.

use super::backup_stores::StoresArgs;
use crate::operations::schedule::crontab::{self, Crontab};
use crate::operations::schedule::systemd::{self, Manager, Telling};
use crate::operations::schedule::{Installed, Job, Time, What};
use crate::refuse;
use crate::session::{Command, Session, print};
use crate::shown::utc;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::path::{Path, PathBuf};

/// Run backups and drills every day: systemd, or a crontab
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Write and start it; typed again it replaces what it has written before
    Install(InstallArgs),
    /// What is installed for this environment, when it is due, and how its last run ended
    List(PlaceArgs),
    /// Remove what `install` has written, and nothing else
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// Units of this person's systemd, in ~/.config/systemd/user, instead of the machine's
    #[arg(long, conflicts_with = "crontab")]
    user: bool,
    /// A crontab, although there is systemd
    #[arg(long)]
    crontab: bool,
    /// Write units, or a file `crontab`, into this directory, and tell nobody
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct RemoveArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// What is removed [default: both]
    #[arg(long)]
    what: Option<What>,
    /// Say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct InstallArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// What is done every day
    #[arg(long, default_value = "backup")]
    what: What,
    /// When, in the machine's own time zone [default: 02:00, drills 04:00]
    #[arg(long, value_name = "HH:MM")]
    at: Option<Time>,
    /// Backups: those that stay, as of `backup`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_last: Option<u32>,
    /// Backups: those that stay, as of `backup`
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=36500))]
    keep_days: Option<u32>,
    #[command(flatten)]
    stores: StoresArgs,
    /// The file with the secrets that the environment names, NAME=value on each line; it may be missing
    /// [default: /etc/xtask/ENV.env, with --user or --crontab ~/.config/xtask/ENV.env]
    #[arg(long, value_name = "FILE")]
    environment_file: Option<PathBuf>,
    /// systemd: the unit that is started where it fails
    #[arg(long, value_name = "UNIT")]
    on_failure: Option<String>,
    /// Print what would be installed, and install nothing
    #[arg(long, visible_alias = "dry-run")]
    print: bool,
}

/// Where it is installed.
enum Place {
    Systemd {
        directory: PathBuf,
        telling: Telling,
    },
    /// `scripts`: what the lines call.
    Crontab {
        crontab: Crontab,
        scripts: PathBuf,
    },
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        // A name that is mistyped is found now, and not at night.
        session.environment()?;
        match self.verb {
            Verb::Install(args) => install(session, &args).await,
            Verb::List(args) => list(session, &args).await,
            Verb::Remove(args) => remove(session, &args).await,
        }
    }
}

async fn install(session: &Session<'_>, args: &InstallArgs) -> Result<()> {
    if args.what == What::Drill && (args.keep_last.is_some() || args.keep_days.is_some()) {
        refuse!("--keep-last and --keep-days are for backups: a drill removes none");
    }
    let place = args.place.place(session)?;
    let job = args.job(session, &place)?;
    if args.print {
        let text = printed(&job, &place);
        if session.document.is_wanted() {
            let json = serde_json::json!({ "name": job.name(), "would_install": text });
            return session.document.hold(&json, None);
        }
        // To the letter: somebody installs it as it is printed.
        return print(&text);
    }
    let files = match &place {
        Place::Systemd { directory, telling } => systemd::install(&job, directory, *telling).await?,
        Place::Crontab { crontab, scripts } => vec![crontab::install(&job, crontab, scripts).await?],
    };
    let mut text =
        format!("✓ INSTALLED {}: every day at {}, missed runs are caught up with\n", job.name(), job.at);
    text += &files.iter().map(|file| format!("  {}\n", file.display())).collect::<String>();
    text += &format!("  secrets, where the environment names variables: {}\n", job.variables.display());
    let done = serde_json::json!({ "name": job.name(), "at": job.at.to_string(), "files": files });
    session.done(&done, text, session.then(&format!("schedule list{}", args.place.typed())))
}

fn printed(job: &Job, place: &Place) -> String {
    match place {
        Place::Systemd { directory, .. } => {
            let unit =
                |(name, text): (String, String)| format!("# {}\n{text}\n", directory.join(name).display());
            systemd::units(job).into_iter().map(unit).collect()
        }
        Place::Crontab { scripts, .. } => {
            let name = scripts.join(format!("{}.sh", job.name()));
            let script = crontab::script(job, scripts);
            format!("{}\n# {}\n{script}", crontab::block(job, scripts), name.display())
        }
    }
}

async fn list(session: &Session<'_>, args: &PlaceArgs) -> Result<()> {
    let place = args.place(session)?;
    let environment = session.environment_file()?.0;
    let mut found: Vec<Installed> = Vec::new();
    for what in What::ALL {
        found.extend(match &place {
            Place::Systemd { directory, telling } => {
                systemd::look(what, &environment, directory, *telling).await?
            }
            Place::Crontab { crontab, scripts } => {
                crontab::look(what, &environment, crontab, scripts).await?
            }
        });
    }
    let mut text = match found.len() {
        0 => format!("nothing is scheduled for environment `{environment}` here\n"),
        n => format!("{n} scheduled for environment `{environment}`\n"),
    };
    for Installed { name, next, last, exit_code, .. } in &found {
        let last = match (last.as_deref().map(utc), exit_code) {
            (Some(at), Some(0)) => format!("last {at}, done"),
            (Some(at), Some(code)) => format!("last {at}, FAILED with {code}"),
            (Some(at), None) => format!("last {at}, how it ended is not known"),
            (None, _) => "no run is known".to_string(),
        };
        text += &format!("  {name}: next {next}; {last}\n");
    }
    let next = match found.is_empty() {
        true => format!("schedule install{}", args.typed()),
        false => "restore-drill".to_string(),
    };
    session.done(&serde_json::json!({ "scheduled": found }), text, session.then(&next))
}

async fn remove(session: &Session<'_>, args: &RemoveArgs) -> Result<()> {
    let place = args.place.place(session)?;
    let environment = session.environment_file()?.0;
    let whats = args.what.map_or(What::ALL.to_vec(), |what| vec![what]);
    let mut gone: Vec<PathBuf> = Vec::new();
    for what in whats {
        gone.extend(match (&place, args.dry_run) {
            (Place::Systemd { directory, .. }, true) => {
                systemd::look(what, &environment, directory, Telling::Nobody)
                    .await?
                    .map(|found| found.file)
                    .into_iter()
                    .collect()
            }
            (Place::Crontab { crontab, scripts }, true) => {
                crontab::look(what, &environment, crontab, scripts)
                    .await?
                    .map(|found| found.file)
                    .into_iter()
                    .collect()
            }
            (Place::Systemd { directory, telling }, false) => {
                systemd::take_away(what, &environment, directory, *telling).await?
            }
            (Place::Crontab { crontab, scripts }, false) => {
                crontab::take_away(what, &environment, crontab, scripts).await?
            }
        });
    }
    let verb = if args.dry_run { "would remove" } else { "removed" };
    let text = match gone.len() {
        0 => format!("nothing is scheduled for environment `{environment}` here: nothing to remove\n"),
        _ => gone.iter().map(|path| format!("{verb} {}\n", path.display())).collect(),
    };
    let key = if args.dry_run { "would_remove" } else { "removed" };
    session.done(
        &serde_json::json!({ key: gone }),
        text,
        session.then(&format!("schedule list{}", args.place.typed())),
    )
}

impl PlaceArgs {
    fn place(&self, session: &Session<'_>) -> Result<Place> {
        let absolute =
            |path: &Path| std::path::absolute(path).with_context(|| format!("finding {}", path.display()));
        if let Some(directory) = &self.directory {
            let directory = absolute(directory)?;
            return Ok(match self.crontab {
                true => {
                    Place::Crontab { crontab: Crontab::File(directory.join("crontab")), scripts: directory }
                }
                false => Place::Systemd { directory, telling: Telling::Nobody },
            });
        }
        if self.crontab || !self.user && !systemd::is_here() {
            let scripts = home(session)?.join(".config/xtask/schedule");
            return Ok(Place::Crontab { crontab: Crontab::Own, scripts });
        }
        Ok(match self.user {
            true => Place::Systemd {
                directory: home(session)?.join(".config/systemd/user"),
                telling: Telling::Systemd(Manager::User),
            },
            false => Place::Systemd {
                directory: PathBuf::from("/etc/systemd/system"),
                telling: Telling::Systemd(Manager::System),
            },
        })
    }

    /// As typed after a command that is said next.
    fn typed(&self) -> String {
        let flag = |said: bool, flag: &str| if said { flag.to_string() } else { String::new() };
        let directory = self.directory.as_ref().map(|dir| format!(" --directory {}", dir.display()));
        flag(self.user, " --user") + &flag(self.crontab, " --crontab") + &directory.unwrap_or_default()
    }
}

fn home(session: &Session<'_>) -> Result<PathBuf> {
    match session.variables.get("HOME").filter(|home| !home.is_empty()) {
        Some(home) => Ok(PathBuf::from(home)),
        None => refuse!("HOME is not set: say --directory DIR"),
    }
}

impl InstallArgs {
    fn job(&self, session: &Session<'_>, place: &Place) -> Result<Job> {
        let environment = session.environment_file()?.0;
        let job = Job {
            what: self.what,
            at: self.at.unwrap_or_else(|| self.what.usual_time()),
            program: std::env::current_exe().context("finding this program")?,
            arguments: self.arguments(session, &environment)?,
            directory: session.workspace.clone(),
            variables: PathBuf::new(),
            on_failure: self.on_failure.clone(),
            environment,
        };
        let file = match &self.environment_file {
            Some(file) => std::path::absolute(file).with_context(|| format!("finding {}", file.display()))?,
            None => {
                let label = job.name().replacen(&format!("xtask-{}-", job.what), "", 1);
                let folder = match place {
                    Place::Systemd { telling: Telling::Systemd(Manager::System), .. } => {
                        PathBuf::from("/etc/xtask")
                    }
                    _ => home(session)?.join(".config/xtask"),
                };
                folder.join(format!("{label}.env"))
            }
        };
        Ok(Job { variables: file, ..job })
    }

    /// Everything that decides where things are, absolute: at night nobody is in this directory.
    fn arguments(&self, session: &Session<'_>, environment: &str) -> Result<Vec<String>> {
        let mut arguments: Vec<String> = match self.what {
            What::Backup => vec!["backup".into(), "--target".into(), "all".into()],
            What::Drill => vec!["restore-drill".into()],
        };
        let mut option = |name: &str, value: String| arguments.extend([name.to_string(), value]);
        option("--env", environment.to_string());
        option("--store-backups", self.stores.directory(session)?.display().to_string());
        let runs = session.runs();
        let runs = std::path::absolute(&runs).with_context(|| format!("finding {}", runs.display()))?;
        option("--backup-dir", runs.display().to_string());
        if let Some(runtime) = session.common.runtime.and_then(|runtime| runtime.to_possible_value()) {
            option("--runtime", runtime.get_name().to_string());
        }
        if let Some(stack) = &session.common.stack {
            option("--stack", stack.display().to_string());
        }
        for (name, number) in [("--keep-last", self.keep_last), ("--keep-days", self.keep_days)] {
            if let Some(number) = number {
                option(name, number.to_string());
            }
        }
        Ok(arguments)
    }
}
