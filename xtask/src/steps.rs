//! What the journal names: commands on a run, the steps in them, and how each of them goes. Who decides,
//! decides by these; the words are made here alone, and are those of `journal.jsonl`. A word of a newer
//! tool is kept as it stands there.

use crate::model::Database;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A command that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum CommandName {
    Backup,
    Export,
    Import,
    Migrate,
    /// `migrate --resume`
    Resume,
    Verify,
    /// `repair` without `--apply`.
    LookForRepairs,
    Repair,
    Replay,
    CatchUp,
    Cutover,
    /// `rollback --dry-run`, and what `rollback` shows first.
    LookForRollback,
    Rollback,
    /// The backup into a new database, or in the place of the old one.
    Restore,
    /// Roles and their rights, not rows.
    Harden,
    /// The services are asked, by `smoke`.
    Smoke,
    /// The services' queries are measured on both sides.
    Perf,
    /// Backups of the stores are restored into scratch servers.
    RestoreDrill,
    /// The old database is closed, archived, retired, dropped.
    Decommission,
    BenchPart,
    /// Of a newer tool, or not readable any more.
    Other(String),
}

impl CommandName {
    /// Whether it changes neither a store nor a file of the run that says what a store has to hold.
    pub fn only_looks(&self) -> bool {
        match self {
            CommandName::Verify
            | CommandName::LookForRepairs
            | CommandName::LookForRollback
            | CommandName::Harden
            | CommandName::Restore
            | CommandName::Smoke
            | CommandName::Perf
            | CommandName::RestoreDrill
            | CommandName::Decommission => true,
            CommandName::Backup
            | CommandName::Export
            | CommandName::Import
            | CommandName::Migrate
            | CommandName::Resume
            | CommandName::Repair
            | CommandName::Replay
            | CommandName::CatchUp
            | CommandName::Cutover
            | CommandName::Rollback
            | CommandName::BenchPart
            | CommandName::Other(_) => false,
        }
    }
}

/// Of a run whose manifest does not say it yet.
impl Default for CommandName {
    fn default() -> CommandName {
        CommandName::Other(String::new())
    }
}

impl fmt::Display for CommandName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            CommandName::Backup => "backup",
            CommandName::Export => "export",
            CommandName::Import => "import",
            CommandName::Migrate => "migrate",
            CommandName::Resume => "migrate --resume",
            CommandName::Verify => "verify",
            CommandName::LookForRepairs => "look for repairs",
            CommandName::Repair => "repair",
            CommandName::Replay => "replay",
            CommandName::CatchUp => "catch-up",
            CommandName::Cutover => "cutover",
            CommandName::LookForRollback => "look at the rollback",
            CommandName::Rollback => "rollback",
            CommandName::Restore => "restore",
            CommandName::Harden => "harden",
            CommandName::Smoke => "smoke",
            CommandName::Perf => "perf",
            CommandName::RestoreDrill => "restore-drill",
            CommandName::Decommission => "decommission",
            CommandName::BenchPart => "bench-part",
            CommandName::Other(word) => word,
        })
    }
}

impl From<String> for CommandName {
    fn from(word: String) -> CommandName {
        match word.as_str() {
            "backup" => CommandName::Backup,
            "export" => CommandName::Export,
            "import" => CommandName::Import,
            "migrate" => CommandName::Migrate,
            "migrate --resume" => CommandName::Resume,
            "verify" => CommandName::Verify,
            "look for repairs" => CommandName::LookForRepairs,
            "repair" => CommandName::Repair,
            "replay" => CommandName::Replay,
            "catch-up" => CommandName::CatchUp,
            "cutover" => CommandName::Cutover,
            "look at the rollback" => CommandName::LookForRollback,
            "rollback" => CommandName::Rollback,
            "restore" => CommandName::Restore,
            "harden" => CommandName::Harden,
            "smoke" => CommandName::Smoke,
            "perf" => CommandName::Perf,
            "restore-drill" => CommandName::RestoreDrill,
            "decommission" => CommandName::Decommission,
            "bench-part" => CommandName::BenchPart,
            _ => CommandName::Other(word),
        }
    }
}

/// A step of a command, or what a note in it is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum StepName {
    Backup,
    Dump,
    Export,
    ExportTable(String),
    /// A run that has begun it may have written documents.
    Firestore,
    FirestoreTable(String),
    /// An earlier run's documents give way in this collection.
    ReplaceDocuments(String),
    Import,
    ImportDatabase(Database),
    Statistics,
    Verify,
    /// Whether the source has changed since the snapshot.
    SourceAgain,
    Freeze,
    Cutover,
    Rollback,
    Restore,
    Harden,
    Smoke,
    /// The same of the services on the old database.
    SmokeOld,
    Perf,
    RestoreDrill,
    Decommission,
    Replay,
    /// A pass: what has changed in the source is brought into the stores.
    CatchUp,
    LookForRepairs,
    Repair,
    /// A server that was replaced on purpose is the run's from here on.
    Adopt,
    /// The limit of the quarantine is another one from here on.
    Policy,
    /// What an export that was cut off has left is removed.
    ExportAgain,
    /// Of a newer tool.
    Other(String),
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            StepName::Backup => "1 backup",
            StepName::Dump => "1 dump",
            StepName::Export => "2 export",
            StepName::ExportTable(table) => return f.pad(&format!("2 export {table}")),
            StepName::Firestore => "3 firestore",
            StepName::FirestoreTable(table) => return f.pad(&format!("3 firestore {table}")),
            StepName::ReplaceDocuments(collection) => return f.pad(&format!("3 replace {collection}")),
            StepName::Import => "4 import",
            StepName::ImportDatabase(database) => return f.pad(&format!("4 import {database}")),
            StepName::Statistics => "4 statistics",
            StepName::Verify => "5 verify",
            StepName::SourceAgain => "5 source again",
            StepName::Freeze => "freeze",
            StepName::Cutover => "cutover",
            StepName::Rollback => "rollback",
            StepName::Restore => "restore",
            StepName::Harden => "harden",
            StepName::Smoke => "smoke",
            StepName::SmokeOld => "smoke old",
            StepName::Perf => "perf",
            StepName::RestoreDrill => "restore-drill",
            StepName::Decommission => "decommission",
            StepName::Replay => "replay",
            StepName::CatchUp => "catch-up",
            StepName::LookForRepairs => "look for repairs",
            StepName::Repair => "repair",
            StepName::Adopt => "adopt",
            StepName::Policy => "policy",
            StepName::ExportAgain => "export again",
            StepName::Other(word) => word,
        })
    }
}

impl From<String> for StepName {
    fn from(word: String) -> StepName {
        match word.as_str() {
            "1 backup" => StepName::Backup,
            "1 dump" => StepName::Dump,
            "2 export" => StepName::Export,
            "3 firestore" => StepName::Firestore,
            "4 import" => StepName::Import,
            "4 statistics" => StepName::Statistics,
            "5 verify" => StepName::Verify,
            "5 source again" => StepName::SourceAgain,
            "freeze" => StepName::Freeze,
            "cutover" => StepName::Cutover,
            "rollback" => StepName::Rollback,
            "restore" => StepName::Restore,
            "harden" => StepName::Harden,
            "smoke" => StepName::Smoke,
            "smoke old" => StepName::SmokeOld,
            "perf" => StepName::Perf,
            "restore-drill" => StepName::RestoreDrill,
            "decommission" => StepName::Decommission,
            "replay" => StepName::Replay,
            "catch-up" => StepName::CatchUp,
            "look for repairs" => StepName::LookForRepairs,
            "repair" => StepName::Repair,
            "adopt" => StepName::Adopt,
            "policy" => StepName::Policy,
            "export again" => StepName::ExportAgain,
            _ => StepName::with_object(&word).unwrap_or(StepName::Other(word)),
        }
    }
}

impl StepName {
    /// The names that end with a table, a collection or a database.
    fn with_object(word: &str) -> Option<StepName> {
        let after = |prefix: &str| word.strip_prefix(prefix).map(str::to_string);
        let database = |name: String| Database::ALL.into_iter().find(|database| database.name() == name);
        after("2 export ")
            .map(StepName::ExportTable)
            .or_else(|| after("3 firestore ").map(StepName::FirestoreTable))
            .or_else(|| after("3 replace ").map(StepName::ReplaceDocuments))
            .or_else(|| after("4 import ").and_then(database).map(StepName::ImportDatabase))
    }
}

/// What has happened to a command or a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Event {
    Start,
    Done,
    Failed,
    /// Of a command: before it changed anything.
    Refused,
    /// Dropped: an error elsewhere, or interrupted.
    EndedEarly,
    /// No beginning and no end: something to know.
    Note,
    /// Never written: how a command is read whose first line is not whole.
    BeginningLost,
    /// Of a newer tool.
    Other(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Event::Start => "start",
            Event::Done => "done",
            Event::Failed => "failed",
            Event::Refused => "refused",
            Event::EndedEarly => "ended early",
            Event::Note => "note",
            Event::BeginningLost => "its beginning is lost",
            Event::Other(word) => word,
        })
    }
}

impl From<String> for Event {
    fn from(word: String) -> Event {
        match word.as_str() {
            "start" => Event::Start,
            "done" => Event::Done,
            "failed" => Event::Failed,
            "refused" => Event::Refused,
            "ended early" => Event::EndedEarly,
            "note" => Event::Note,
            "its beginning is lost" => Event::BeginningLost,
            _ => Event::Other(word),
        }
    }
}

impl From<CommandName> for String {
    fn from(name: CommandName) -> String {
        name.to_string()
    }
}

impl From<StepName> for String {
    fn from(name: StepName) -> String {
        name.to_string()
    }
}

impl From<Event> for String {
    fn from(event: Event) -> String {
        event.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of `journal.jsonl`: runs of earlier tools have them, so they stay.
    #[test]
    fn every_word_means_one_thing() {
        let steps = "1 backup|1 dump|2 export|2 export orders|3 firestore|3 firestore users|3 replace users|\
                     4 import|4 import product|4 import order|4 import gateway|4 statistics|5 verify|\
                     5 source again|freeze|cutover|restore|harden|smoke|smoke old|perf|restore-drill|decommission|replay|look for repairs|repair|policy|export again";
        for word in steps.split('|') {
            let step = StepName::from(word.to_string());
            assert!(!matches!(step, StepName::Other(_)), "{word}");
            assert_eq!(step.to_string(), word);
            assert_eq!(serde_json::to_value(&step).unwrap(), word);
        }
        let commands = "backup|export|import|migrate|migrate --resume|verify|look for repairs|repair|replay|\
                        cutover|restore|harden|smoke|perf|restore-drill|decommission|bench-part";
        for word in commands.split('|') {
            let command = CommandName::from(word.to_string());
            assert!(!matches!(command, CommandName::Other(_)), "{word}");
            assert_eq!(command.to_string(), word);
        }
        for word in ["start", "done", "failed", "refused", "ended early", "note", "its beginning is lost"] {
            let event = Event::from(word.to_string());
            assert!(!matches!(event, Event::Other(_)), "{word}");
            assert_eq!(event.to_string(), word);
        }
    }

    #[test]
    fn a_word_of_a_newer_tool_is_kept() {
        for word in ["6 fly", "4 import warehouse", "", "2 export"] {
            let step: StepName = serde_json::from_value(word.into()).unwrap();
            assert_eq!(matches!(step, StepName::Other(_)), word != "2 export", "{word}");
            assert_eq!(serde_json::to_value(&step).unwrap(), word);
        }
        assert_eq!(StepName::from("2 export x y".to_string()), StepName::ExportTable("x y".into()));
        assert_eq!(CommandName::from("fly".to_string()), CommandName::Other("fly".into()));
        assert_eq!(Event::from("flown".to_string()), Event::Other("flown".into()));
    }
}
