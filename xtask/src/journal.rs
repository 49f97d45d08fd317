//! What `journal.jsonl` says: a line for the start and the end of every command on a run and of every
//! step in it. Written by `run_dir`, read by `status` from another terminal. Pure.

use serde::{Deserialize, Serialize};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: String,
    pub step: String,
    /// `start`, `done`, `failed`, `ended early` (dropped: an error elsewhere, or interrupted), `note`.
    pub event: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Of the process that wrote the line: several may write about one run.
    #[serde(default)]
    pub pid: u32,
    /// Where a command begins: who it is, so that others can see whether it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
}

/// A process that works on a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    pub host: String,
    pub user: String,
    /// In clock ticks since the host's start: a pid is given out again, this pair is not.
    pub started: Option<u64>,
}

/// A run's journal, by commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Journal {
    pub commands: Vec<Command>,
    /// Lines that are not whole: their writer was killed over them, or the disk was full.
    pub torn: usize,
}

/// One command on the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// `None`: the line with which it began is not whole.
    pub process: Option<Process>,
    #[serde(flatten)]
    pub whole: Step,
    pub steps: Vec<Step>,
}

/// From a start to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    pub step: String,
    pub began: String,
    /// `None`: under way, or its process was killed.
    pub ended: Option<String>,
    /// `start` while it has no end.
    pub event: String,
    pub detail: String,
}

impl Step {
    fn new(entry: Entry) -> Step {
        let Entry { at, step, event, detail, .. } = entry;
        let ended = (event != "start").then(|| at.clone());
        Step { step, began: at, ended, event, detail }
    }

    fn end(&mut self, entry: Entry) {
        (self.ended, self.event, self.detail) = (Some(entry.at), entry.event, entry.detail);
    }

    fn is_open(&self, name: &str) -> bool {
        self.ended.is_none() && self.step == name
    }
}

impl Journal {
    pub fn read(text: &str) -> Journal {
        let mut journal = Journal::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match serde_json::from_str(line) {
                Ok(entry) => journal.take(entry),
                Err(_) => journal.torn += 1,
            }
        }
        journal
    }

    fn take(&mut self, entry: Entry) {
        if let Some(process) = entry.process.clone() {
            let whole = Step::new(entry);
            return self.commands.push(Command { process: Some(process), whole, steps: Vec::new() });
        }
        let command = self.command_of(&entry);
        let steps = &mut command.steps;
        if entry.event == "start" {
            steps.push(Step::new(entry));
        } else if command.whole.is_open(&entry.step) {
            command.whole.end(entry);
        } else if let Some(open) = steps.iter_mut().rev().find(|s| s.is_open(&entry.step)) {
            open.end(entry);
        } else {
            steps.push(Step::new(entry));
        }
    }

    /// The last one that this process has begun.
    fn command_of(&mut self, entry: &Entry) -> &mut Command {
        let own = |c: &Command| c.process.as_ref().is_some_and(|p| p.pid == entry.pid);
        let index = self.commands.iter().rposition(own).unwrap_or_else(|| {
            let unknown = Step {
                step: "?".into(),
                began: entry.at.clone(),
                ended: Some(entry.at.clone()),
                event: "its beginning is lost".into(),
                detail: String::new(),
            };
            self.commands.push(Command { process: None, whole: unknown, steps: Vec::new() });
            self.commands.len() - 1
        });
        &mut self.commands[index]
    }

    /// How often a step of this name has begun.
    pub fn times_begun(&self, step: &str) -> u64 {
        self.commands.iter().flat_map(|c| &c.steps).filter(|s| s.step == step).count() as u64
    }
}

/// The phase in the journal: a run that has begun it may have written documents.
pub const STEP: &str = "3 firestore";

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: u32, step: &str, event: &str, command: bool) -> String {
        let process = command.then(|| Process { pid, host: "h".into(), user: "u".into(), started: Some(1) });
        let entry = Entry {
            at: "2026-01-01T00:00:00.000Z".into(),
            step: step.into(),
            event: event.into(),
            detail: String::new(),
            pid,
            process,
        };
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    #[test]
    fn steps_belong_to_the_command_of_their_process() {
        let text = line(1, "migrate", "start", true)
            + &line(1, "2 export", "start", false)
            + &line(2, "verify", "start", true)
            + &line(2, "5 verify", "start", false)
            + &line(1, "2 export", "done", false)
            + &line(2, "5 verify", "ended early", false)
            + &line(2, "verify", "failed", false)
            + &line(1, "files", "note", false);
        let journal = Journal::read(&text);
        let events = |c: &Command| c.steps.iter().map(|s| s.event.clone()).collect::<Vec<_>>();
        assert_eq!(journal.commands.len(), 2);
        let [migrate, verify] = [&journal.commands[0], &journal.commands[1]];
        assert_eq!(
            (migrate.whole.ended.is_none(), events(migrate)),
            (true, vec!["done".into(), "note".into()])
        );
        assert_eq!((verify.whole.event.as_str(), events(verify)), ("failed", vec!["ended early".into()]));
        assert!(journal.times_begun("2 export") == 1 && journal.times_begun("3 firestore") == 0);
    }

    #[test]
    fn a_line_that_is_not_whole_costs_that_line_only() {
        let whole = line(1, "migrate", "start", true) + &line(1, "2 export", "start", false);
        let torn = line(1, "2 export", "done", false);
        for cut in 1..torn.len() - 1 {
            let text = format!("{whole}{}\n{}", &torn[..cut], line(1, "2 export", "ended early", false));
            let journal = Journal::read(&text);
            assert_eq!(
                (journal.torn, journal.commands[0].steps[0].event.as_str()),
                (1, "ended early"),
                "{cut}"
            );
        }
    }

    #[test]
    fn lines_without_their_command_are_not_lost() {
        let journal = Journal::read(&line(7, "2 export", "start", false));
        assert_eq!((journal.commands[0].process.as_ref(), journal.commands[0].steps.len()), (None, 1));
    }
}
