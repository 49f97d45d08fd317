//! `freezes.jsonl` beside the run directories: what every freeze of a source found before it changed
//! anything, so that also another process, after a crash, can undo it.

use crate::effects::clock::now;
use crate::model::Service;
use crate::run::lines;
use crate::settings::Server;
use crate::shown::utc;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The book of the freezes of a directory of runs.
#[derive(Clone, Debug)]
pub struct FreezeLog {
    path: PathBuf,
}

/// What a freeze found, which is what undoing it brings back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// The server's clock before the change: sessions that began later may be read-only.
    pub since: String,
    /// `None`: `cargo xtask freeze`, for no run of its own.
    pub run: Option<String>,
    /// `user@host`; not known of an older tool's freeze.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `default_transaction_read_only` of the database, as it was; `None`: it had none of its own.
    pub setting: Option<String>,
    /// Roles that could log in.
    pub roles: Vec<String>,
}

/// A freeze that has not been undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Open {
    /// When, by this machine's clock.
    pub at: String,
    pub frozen: Frozen,
    /// The run that was cut over while it was frozen: from then on it stays so.
    pub cutover: Option<String>,
    /// Roles that may log in and write all the same: of services that have gone back alone.
    pub let_in: Vec<String>,
}

impl Open {
    /// Since when nobody can write to the source, by whom, and what undoes it.
    pub fn sentence(&self) -> String {
        let since = utc(&self.at);
        if let Some(run) = &self.cutover {
            return format!(
                "the source is read-only since {since}: run {run} was cut over. Only to go back to the old database: \
                 `cargo xtask unfreeze --run {run}`"
            );
        }
        let by = self.frozen.run.as_ref().map_or("`freeze`".to_string(), |run| format!("run {run}"));
        let who = self.frozen.by.as_ref().map(|who| format!(" of {who}")).unwrap_or_default();
        format!(
            "the source is frozen since {since}, by {by}{who}: nobody can write there. To undo it: `cargo xtask \
             unfreeze`"
        )
    }
}

#[derive(Serialize, Deserialize)]
struct FreezeLine {
    at: String,
    /// `host:port/database`
    source: String,
    #[serde(flatten)]
    event: Event,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Freeze(Frozen),
    Unfreeze,
    Cutover {
        run: String,
    },
    #[serde(rename = "let-in")]
    LetIn {
        role: String,
    },
    /// All that have been stopped on this side, and not been started since.
    Stopped {
        side: Side,
        services: Vec<Service>,
    },
    Started,
}

/// Which services: those on the old database, or those on the new stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Old,
    New,
}

impl FreezeLog {
    /// `runs`: where the run directories are.
    pub fn at(runs: &Path) -> FreezeLog {
        FreezeLog { path: runs.join("freezes.jsonl") }
    }

    /// Where the runs are that it stands beside.
    pub fn runs(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this tool holds a server's database back.
    pub fn holds(&self, server: &Server) -> Result<bool> {
        Ok(self.open(&FreezeLog::name_of(server))?.is_some())
    }

    /// As the book knows it.
    pub fn name_of(server: &Server) -> String {
        format!("{}:{}/{}", server.host, server.port, server.database)
    }

    /// What has happened to a source, in order.
    fn events(&self, source: &str) -> Result<Vec<FreezeLine>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("reading {}", self.path.display())),
        };
        let mut events: Vec<FreezeLine> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line: FreezeLine = match serde_json::from_str(line) {
                Ok(line) => line,
                // Killed while it was written: then what it announces was never done.
                Err(e) if e.is_eof() => continue,
                Err(e) => {
                    return Err(e).with_context(|| format!("{} line {}", self.path.display(), number + 1));
                }
            };
            if line.source == source {
                events.push(line);
            }
        }
        Ok(events)
    }

    /// The freeze of a source that has not been undone.
    pub fn open(&self, source: &str) -> Result<Option<Open>> {
        let mut open: Option<Open> = None;
        for line in self.events(source)? {
            match line.event {
                Event::Freeze(frozen) => {
                    open = Some(Open { at: line.at, frozen, cutover: None, let_in: Vec::new() });
                }
                Event::Unfreeze => open = None,
                Event::Cutover { run } => {
                    if let Some(open) = &mut open {
                        open.cutover = Some(run);
                    }
                }
                Event::LetIn { role } => {
                    if let Some(open) = open.as_mut().filter(|open| !open.let_in.contains(&role)) {
                        open.let_in.push(role);
                    }
                }
                Event::Stopped { .. } | Event::Started => {}
            }
        }
        Ok(open)
    }

    /// The services of one side that this tool has stopped, and nobody has started since.
    pub fn stopped(&self, source: &str, side: Side) -> Result<Vec<Service>> {
        let mut stopped = Vec::new();
        for line in self.events(source)? {
            match line.event {
                Event::Stopped { side: of, services } if of == side => stopped = services,
                Event::Started => stopped.clear(),
                _ => {}
            }
        }
        Ok(stopped)
    }

    /// Before anything is changed.
    pub fn freeze(&self, source: &str, frozen: &Frozen) -> Result<()> {
        self.append(source, Event::Freeze(frozen.clone()))
    }

    /// After everything has been undone.
    pub fn unfreeze(&self, source: &str) -> Result<()> {
        self.append(source, Event::Unfreeze)
    }

    pub fn cutover(&self, source: &str, run: &str) -> Result<()> {
        self.append(source, Event::Cutover { run: run.to_string() })
    }

    /// Before the role is let in.
    pub fn let_in(&self, source: &str, role: &str) -> Result<()> {
        self.append(source, Event::LetIn { role: role.to_string() })
    }

    /// Before they are. `services`: all that are stopped then, those that were before, too.
    pub fn note_stopped(&self, source: &str, side: Side, services: &[Service]) -> Result<()> {
        self.append(source, Event::Stopped { side, services: services.to_vec() })
    }

    /// After all have been.
    pub fn note_started(&self, source: &str) -> Result<()> {
        self.append(source, Event::Started)
    }

    /// On disk when it returns.
    fn append(&self, source: &str, event: Event) -> Result<()> {
        lines::append(
            &self.path,
            &serde_json::to_string(&FreezeLine { at: now(), source: source.to_string(), event })?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_freeze_that_was_not_undone_is_found_also_behind_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let book = FreezeLog::at(&dir.path().join("runs"));
        assert_eq!(book.open("a").unwrap(), None);
        let frozen = |run: Option<&str>| Frozen {
            by: None,
            since: "2026-01-01 00:00:00+00".into(),
            run: run.map(String::from),
            setting: Some("off".into()),
            roles: vec!["shop\"app".into()],
        };
        book.freeze("a", &frozen(None)).unwrap();
        assert_eq!(book.open("a").unwrap().unwrap().frozen, frozen(None));
        assert_eq!(book.open("b").unwrap(), None);
        book.unfreeze("a").unwrap();
        assert_eq!(book.open("a").unwrap(), None);

        let mut torn = fs::read(book.path()).unwrap();
        torn.extend_from_slice(b"{\"at\":\"2026-01-01T00:00:00Z\",\"source\":\"a\",\"ev");
        fs::write(book.path(), torn).unwrap();
        assert_eq!(book.open("a").unwrap(), None);
        book.freeze("a", &frozen(Some("r"))).unwrap();
        book.cutover("a", "r").unwrap();
        let open = book.open("a").unwrap().unwrap();
        assert_eq!((open.frozen, open.cutover.as_deref()), (frozen(Some("r")), Some("r")));

        fs::write(book.path(), "nonsense\n").unwrap();
        let error = format!("{:#}", book.open("a").unwrap_err());
        assert!(error.contains("freezes.jsonl line 1"), "{error}");
    }

    #[test]
    fn who_was_stopped_on_which_side_is_known_until_they_are_started() {
        let dir = tempfile::tempdir().unwrap();
        let book = FreezeLog::at(&dir.path().join("runs"));
        let both = [Service::Order, Service::Gateway];
        let stopped = |side| book.stopped("a", side).unwrap();
        assert!(stopped(Side::Old).is_empty());
        book.note_stopped("a", Side::Old, &both[..1]).unwrap();
        book.note_stopped("a", Side::Old, &both).unwrap();
        book.note_stopped("b", Side::Old, &[Service::User]).unwrap();
        assert_eq!((stopped(Side::Old), stopped(Side::New)), (both.to_vec(), Vec::new()));
        assert_eq!(book.open("a").unwrap(), None);
        book.note_stopped("a", Side::New, &both[1..]).unwrap();
        assert_eq!((stopped(Side::Old), stopped(Side::New)), (both.to_vec(), both[1..].to_vec()));
        book.note_started("a").unwrap();
        assert!(stopped(Side::Old).is_empty() && stopped(Side::New).is_empty());
        assert_eq!(book.stopped("b", Side::Old).unwrap(), [Service::User]);
    }
}
