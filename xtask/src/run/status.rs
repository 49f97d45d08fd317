//! What a run is doing or has done, from its own files: works from another terminal, while the run is
//! under way, and with no database in reach. Changes nothing.

use crate::effects::host;
use crate::effects::terminal::UnderWay;
use crate::identity::ServerName;
use crate::journal::{Command, Journal, Span};
use crate::model::grouped;
use crate::run::caught_up::CaughtUp;
use crate::run::command::Progress;
use crate::run::dir;
use crate::run::freeze_log::{FreezeLog, Open};
use crate::run::manifest::{Manifest, Proof, ServiceBack};
use crate::shown::{some_of, utc};
use crate::steps::{CommandName, Event};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::Display;
use std::fs;
use std::path::Path;

/// The state of the newest command on the run that writes to a store or a file of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    Running,
    /// It was begun on another host: whether it is alive cannot be seen from here.
    BegunElsewhere,
    /// No process is there any more, and none has said that it ended.
    Killed,
    /// It ended with an error, or was interrupted.
    Failed,
    Done,
}

/// All that is known of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    pub run: String,
    pub directory: String,
    pub environment: String,
    pub started: String,
    pub state: RunState,
    pub journal: Journal,
    /// Rows under way, as of a second ago at most.
    pub progress: Option<Progress>,
    pub exported: bool,
    /// `None`: not verified.
    pub proven: Option<bool>,
    pub verified: Option<String>,
    pub findings: u64,
    /// How far behind the source its stores are, where it has been caught up with and is not cut over.
    pub caught_up: Option<CaughtUp>,
    /// When it was taken back, and how: the shop is on its old database again.
    pub taken_back: Option<String>,
    /// That the source is frozen, and by whom; `None`: it is not, as far as it is known beside the run.
    pub frozen: Option<Open>,
    /// Services that have gone back alone, and when.
    pub services_back: Vec<ServiceBack>,
    /// The command that goes on, for `cargo xtask`.
    pub next: Option<String>,
}

impl Status {
    /// Whether a command is at work on it.
    pub fn is_running(&self) -> bool {
        self.state == RunState::Running
    }

    pub fn text(&self) -> String {
        let mut out = format!("run {} of {}: {}\n", self.run, self.environment, self.headline());
        out += &format!("  in {}; times are UTC\n", self.directory);
        out += &self.frozen.as_ref().map(|open| format!("  ! {}\n", open.sentence())).unwrap_or_default();
        for command in &self.journal.commands {
            out += &self.command(command);
        }
        if self.journal.torn > 0 {
            out += &format!(
                "  {} lines of the journal are not whole: their writer was cut off\n",
                self.journal.torn
            );
        }
        for ServiceBack { service, at } in &self.services_back {
            out += &format!("  {service} went back to the old database at {}\n", utc(at));
        }
        out += &self.under_way();
        out += &self.result();
        out + &self.caught_up.as_ref().map(CaughtUp::text).unwrap_or_default()
    }

    fn headline(&self) -> String {
        match self.state {
            RunState::Running => "under way".into(),
            // Whatever was refused afterwards.
            _ if self.taken_back.is_some() => "taken back: the shop is on its old database".into(),
            RunState::BegunElsewhere => {
                "begun on another host: only there can be seen whether it is alive".into()
            }
            RunState::Killed => "its process is dead and did not come to its end".into(),
            RunState::Failed => "ended before it was done".into(),
            RunState::Done => match self.proven {
                Some(true) => "done, and proven".into(),
                Some(false) => "done, but the proof is red".into(),
                None => "done; not verified".into(),
            },
        }
    }

    fn command(&self, command: &Command) -> String {
        let who = match &command.process {
            Some(p) => format!("process {} of {} on {}", p.pid, p.user, p.host),
            None => "process unknown".into(),
        };
        let dead = matches!(state_of(command), RunState::Killed).then_some("killed");
        let mut out = format!("{}  {who}\n", line("", &command.whole, dead));
        for step in &command.steps {
            out += &format!("{}\n", line("  ", step, dead));
        }
        out
    }

    /// What is being read or written now.
    pub fn under_way(&self) -> String {
        let Some(progress) = &self.progress else { return String::new() };
        let line = |task: &UnderWay| {
            if let Some(waits_for) = &task.waits {
                return format!("  now: {:<30} waits for {waits_for}\n", task.what);
            }
            let of = if task.of > 0 { format!(" of {}", grouped(task.of)) } else { String::new() };
            format!("  now: {:<30} {}{of} rows, {:.0} s\n", task.what, grouped(task.rows), task.seconds)
        };
        progress.tasks.iter().map(line).collect()
    }

    /// The same in one line, and when; nothing where nothing is under way.
    pub fn now(&self, columns: usize) -> String {
        let Some(progress) = self.progress.as_ref().filter(|progress| !progress.tasks.is_empty()) else {
            return String::new();
        };
        let far = |task: &UnderWay| match (&task.waits, task.of) {
            (Some(_), _) => format!("{} waits", task.what),
            (None, 0) => format!("{} {}", task.what, grouped(task.rows)),
            (None, of) => format!("{} {} %", task.what, task.rows.min(of) * 100 / of),
        };
        let tasks: Vec<String> = progress.tasks.iter().map(far).collect();
        let time = progress.at.get(11..19).unwrap_or(&progress.at);
        let before = format!("  {time} UTC  now: ");
        format!("{before}{}\n", some_of(&tasks, columns.saturating_sub(before.len())))
    }

    fn result(&self) -> String {
        if let Some(taken) = &self.taken_back {
            return format!("  taken back at {}\n", utc(taken));
        }
        match (self.proven, &self.verified) {
            (Some(true), Some(at)) => {
                format!("  proof of {}: every store holds what the snapshot held\n", utc(at))
            }
            (Some(false), Some(at)) => format!("  proof of {}: {} findings\n", utc(at), self.findings),
            _ if self.exported => "  exported: everything is on disk and hashed; no proof yet\n".into(),
            _ => "  no complete export yet: no target has been written\n".into(),
        }
    }

    /// A line for each command that has begun since `before`, and for each that has ended, as for each step.
    pub fn since(&self, before: &Status) -> String {
        let mut out = String::new();
        for (index, command) in self.journal.commands.iter().enumerate() {
            let known = before.journal.commands.get(index);
            if known.map(|k| &k.whole) != Some(&command.whole) {
                out += &format!("{}\n", line("", &command.whole, None));
            }
            for (index, step) in command.steps.iter().enumerate() {
                let new = known.and_then(|k| k.steps.get(index)) != Some(step);
                if new && step.event != Event::Start {
                    out += &format!("{}\n", line("  ", step, None));
                }
            }
        }
        out
    }
}

/// Reads the run's files.
pub fn read(path: &Path, id: &str) -> Result<Status> {
    // In this order: what is in the manifest has been in the journal for longer.
    let manifest = dir::load_manifest(path)?;
    let progress = progress(&path.join(dir::PROGRESS))?;
    let journal = dir::load_journal(path)?;
    let state = state(&journal);
    let proof = manifest.proof.as_ref();
    Ok(Status {
        run: id.to_string(),
        directory: path.display().to_string(),
        environment: manifest.environment.clone(),
        started: manifest.started.clone(),
        state,
        progress: progress.filter(|_| matches!(state, RunState::Running | RunState::BegunElsewhere)),
        exported: manifest.export.is_some(),
        proven: proof.map(Proof::is_green),
        verified: proof.map(|p| p.finished.clone()),
        findings: proof.map_or(0, Proof::wrong),
        caught_up: CaughtUp::of(&manifest)?,
        taken_back: manifest.rolled_back.last().map(|taken| format!("{} ({})", taken.at, taken.scope)),
        frozen: frozen(path, &manifest)?,
        services_back: manifest.services_back.clone(),
        next: next(&manifest, &journal, id, state),
        journal,
    })
}

/// The freeze of the run's source that has not been undone.
fn frozen(path: &Path, manifest: &Manifest) -> Result<Option<Open>> {
    let Some(source) = manifest.servers.databases.get(&ServerName::Source) else { return Ok(None) };
    let book = FreezeLog::at(path.parent().unwrap_or(path));
    book.open(&format!("{}:{}/{}", source.host, source.port, source.database))
}

pub fn progress(path: &Path) -> Result<Option<Progress>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    serde_json::from_str(&text).map(Some).with_context(|| format!("{} is damaged", path.display()))
}

/// A command that only looks does not decide what the run is.
pub fn state(journal: &Journal) -> RunState {
    let commands = || journal.commands.iter().rev();
    let states = || commands().map(state_of);
    if let Some(alive) = states().find(|s| matches!(s, RunState::Running)) {
        return alive;
    }
    last_writer(journal).or(journal.commands.last()).map_or(RunState::Done, state_of)
}

/// What was refused has changed nothing, unless it was the first.
fn last_writer(journal: &Journal) -> Option<&Command> {
    let writers = || journal.commands.iter().rev().filter(|command| !command.only_looks());
    writers().find(|command| command.whole.event != Event::Refused).or_else(|| writers().next_back())
}

pub fn state_of(command: &Command) -> RunState {
    let alive = || command.process.as_ref().map_or(Some(false), host::is_alive);
    match (&command.whole.ended, &command.whole.event) {
        (Some(_), Event::Done) => RunState::Done,
        (Some(_), _) => RunState::Failed,
        (None, _) => match alive() {
            Some(true) => RunState::Running,
            Some(false) => RunState::Killed,
            None => RunState::BegunElsewhere,
        },
    }
}

pub fn next(manifest: &Manifest, journal: &Journal, id: &str, state: RunState) -> Option<String> {
    let green = manifest.proof.as_ref().map(Proof::is_green);
    let goes_on = || match manifest.command {
        // What has been done of it the old database itself knows.
        _ if let Some(scenario) = rollback_under_way(journal) => format!("rollback {scenario} --run {id}"),
        // Completes the pass that was cut off, too.
        _ if was_caught_up_last(journal) => format!("catch-up --run {id}"),
        CommandName::Backup => "backup".to_string(),
        CommandName::Export if manifest.export.is_none() => "export".to_string(),
        _ => format!("migrate --resume {id}"),
    };
    match (state, green) {
        (RunState::Running | RunState::BegunElsewhere, _) => None,
        _ if !manifest.rolled_back.is_empty() => Some("migrate --replace".to_string()),
        (RunState::Killed | RunState::Failed, _) => Some(goes_on()),
        (RunState::Done, Some(false)) => Some(format!("repair --run {id}")),
        (RunState::Done, Some(true)) => Some(match &manifest.cutover {
            // The shop goes on, and a cut-over brings over what it has written.
            None if has_changed(manifest) && manifest.newest_pass.is_none() => format!("verify --run {id}"),
            None => format!("cutover --run {id}"),
            Some(cutover) if is_older(manifest, &cutover.at) => format!("verify --run {id}"),
            Some(_) => format!("monitor --once --run {id}"),
        }),
        (RunState::Done, None) if manifest.command == CommandName::Backup => Some("export".to_string()),
        (RunState::Done, None) if manifest.command == CommandName::Export => {
            Some(format!("import --run {id}"))
        }
        (RunState::Done, None) => Some(goes_on()),
    }
}

/// Whether the source was seen to have changed since the snapshot: nothing of it can be cut over.
fn has_changed(manifest: &Manifest) -> bool {
    manifest.source.as_ref().is_some_and(|source| !source.changed.is_empty())
}

/// Whether the proof is of before that time, both as the run writes them.
fn is_older(manifest: &Manifest, at: &str) -> bool {
    let instant = |text: &str| text.parse::<Timestamp>().ok();
    manifest.proof.as_ref().is_some_and(|proof| instant(&proof.finished) < instant(at))
}

/// Whether the last command was to bring over what the shop had written since.
fn was_caught_up_last(journal: &Journal) -> bool {
    last_writer(journal).is_some_and(|command| command.whole.step == CommandName::CatchUp)
}

/// How the last command took the run back, where it did.
fn rollback_under_way(journal: &Journal) -> Option<&str> {
    let rollback = last_writer(journal).filter(|command| command.whole.step == CommandName::Rollback)?;
    let noted = rollback.steps.iter().find(|step| step.event == Event::Note);
    Some(noted.map_or("after-start", |step| &step.detail))
}

/// When a step began, how long it took and what it said, `since` it is under way; `dead`: it is not.
pub fn line<Name: Display>(indent: &str, step: &Span<Name>, dead: Option<&str>) -> String {
    let time = step.began.get(11..19).unwrap_or(&step.began);
    let name = format!("{indent}{}", step.step);
    let rest = match (&step.event, dead) {
        (Event::Start, Some(dead)) => format!("{:>10}  {dead}", ""),
        (Event::Start, None) => format!("{:>10}  under way", seconds(&step.began, &dir::now())),
        (Event::Note, _) => format!("{:>10}  {}", "", step.detail),
        (Event::Done, _) => format!("{:>10}  {}", ended(step), told(&step.detail)),
        (Event::Refused, _) => format!("{:>10}  {}", ended(step), step.detail.replace('\n', " ")),
        (event, _) => format!("{:>10}  {event} {}", ended(step), step.detail.replace('\n', " ")),
    };
    format!("  {time}  {name:<32} {rest}").trim_end().to_string()
}

/// A record that is kept for programs is more than a line for people: of it they are told when.
fn told(detail: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(detail) {
        Ok(record) if record.is_object() => {
            record["at"].as_str().map(|at| format!("at {}", utc(at))).unwrap_or_default()
        }
        _ => detail.replace('\n', " "),
    }
}

pub fn ended<Name>(step: &Span<Name>) -> String {
    step.ended.as_ref().map(|end| seconds(&step.began, end)).unwrap_or_default()
}

/// Between two instants as the journal has them; nothing where one of them is not one.
pub fn seconds(from: &str, to: &str) -> String {
    match (from.parse::<Timestamp>(), to.parse::<Timestamp>()) {
        (Ok(from), Ok(to)) => format!("{:.1} s", to.duration_since(from).as_secs_f64()),
        _ => String::new(),
    }
}
