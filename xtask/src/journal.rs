//! What `journal.jsonl` says: a line for the start and the end of every command on a run and of every
//! step in it. Written by `run_dir`, read by `status` from another terminal. Pure.

use crate::steps::{CommandName, Event, StepName};
use datapath::sha256::Sha256;
use serde::{Deserialize, Serialize};

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub at: String,
    /// A command's name or a step's: some commands have a step of their own name.
    pub step: String,
    pub event: Event,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Of the process that wrote the line: several may write about one run.
    #[serde(default)]
    pub pid: u32,
    /// Where a command begins: who it is, so that others can see whether it is alive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// SHA-256 of the line before, without its end: who changes a line changes what all later ones say. Empty in lines
    /// of an earlier version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub after: String,
}

/// How the lines of a journal hang together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub lines: usize,
    /// Those of them that name the line before.
    pub linked: usize,
    /// The numbers of lines, from 1, that do not follow the line before.
    pub broken: Vec<usize>,
    /// The hash of the last line.
    pub head: String,
}

/// Looks at every line, one that is not whole as well.
pub fn chain(text: &str) -> Chain {
    let mut chain = Chain { head: hash_of(""), ..Chain::default() };
    for line in text.lines().filter(|line| !line.is_empty()) {
        chain.lines += 1;
        let after = serde_json::from_str(line).map(|entry: Entry| entry.after).unwrap_or_default();
        if !after.is_empty() {
            chain.linked += 1;
            if after != chain.head {
                chain.broken.push(chain.lines);
            }
        }
        chain.head = hash_of(line);
    }
    chain
}

/// Of one line, without its end.
pub fn hash_of(line: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(line.as_bytes());
    hash.hex()
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
    /// Of the process that wrote its lines.
    #[serde(skip)]
    pid: u32,
    /// `None`: the line with which it began is not whole.
    pub process: Option<Process>,
    #[serde(flatten)]
    pub whole: Span<CommandName>,
    pub steps: Vec<Span<StepName>>,
}

/// From a start to an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span<Name> {
    pub step: Name,
    pub began: String,
    /// `None`: under way, or its process was killed.
    pub ended: Option<String>,
    /// `Start` while it has no end.
    pub event: Event,
    pub detail: String,
}

impl<Name: From<String> + PartialEq> Span<Name> {
    fn new(entry: Entry) -> Span<Name> {
        let Entry { at, step, event, detail, .. } = entry;
        let ended = (event != Event::Start).then(|| at.clone());
        Span { step: step.into(), began: at, ended, event, detail }
    }

    fn end(&mut self, entry: Entry) {
        (self.ended, self.event, self.detail) = (Some(entry.at), entry.event, entry.detail);
    }

    fn is_open(&self, name: &str) -> bool {
        self.ended.is_none() && self.step == Name::from(name.to_string())
    }
}

impl Command {
    /// Whether it leaves the run as it was. Of one whose beginning is lost that is told by its steps.
    pub fn only_looks(&self) -> bool {
        let looks = |step: &Span<StepName>| {
            matches!(
                step.step,
                StepName::Verify
                    | StepName::LookForRepairs
                    | StepName::Restore
                    | StepName::Harden
                    | StepName::Smoke
                    | StepName::SmokeOld
                    | StepName::Perf
                    | StepName::RestoreDrill
                    | StepName::Decommission
            )
        };
        match self.process {
            Some(_) => self.whole.step.only_looks(),
            None => self.steps.iter().all(looks),
        }
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
            let (pid, whole, steps) = (process.pid, Span::new(entry), Vec::new());
            return self.commands.push(Command { pid, process: Some(process), whole, steps });
        }
        let command = self.command_of(&entry);
        let steps = &mut command.steps;
        if entry.event == Event::Start {
            return steps.push(Span::new(entry));
        }
        // A step before the command: where both have one name, the step is inside and ends first.
        if let Some(open) = steps.iter_mut().rev().find(|s| s.is_open(&entry.step)) {
            open.end(entry);
        } else if command.whole.is_open(&entry.step) {
            command.whole.end(entry);
        } else {
            steps.push(Span::new(entry));
        }
    }

    /// The last one that this process has begun.
    fn command_of(&mut self, entry: &Entry) -> &mut Command {
        let index = self.commands.iter().rposition(|c| c.pid == entry.pid).unwrap_or_else(|| {
            let unknown = Span {
                step: CommandName::Other("?".into()),
                began: entry.at.clone(),
                ended: Some(entry.at.clone()),
                event: Event::BeginningLost,
                detail: String::new(),
            };
            let (pid, steps) = (entry.pid, Vec::new());
            self.commands.push(Command { pid, process: None, whole: unknown, steps });
            self.commands.len() - 1
        });
        &mut self.commands[index]
    }

    /// How often a step of this name has begun.
    pub fn times_begun(&self, step: &StepName) -> u64 {
        self.commands.iter().flat_map(|c| &c.steps).filter(|s| s.step == *step).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pid: u32, step: &str, event: &str, command: bool) -> String {
        let process = command.then(|| Process { pid, host: "h".into(), user: "u".into(), started: Some(1) });
        let entry = Entry {
            at: "2026-01-01T00:00:00.000Z".into(),
            step: step.into(),
            event: event.to_string().into(),
            detail: String::new(),
            pid,
            process,
            after: String::new(),
        };
        serde_json::to_string(&entry).unwrap() + "\n"
    }

    fn events(command: &Command) -> Vec<Event> {
        command.steps.iter().map(|s| s.event.clone()).collect()
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
        assert_eq!(journal.commands.len(), 2);
        let [migrate, verify] = [&journal.commands[0], &journal.commands[1]];
        assert_eq!((migrate.whole.ended.is_none(), events(migrate)), (true, vec![Event::Done, Event::Note]));
        assert_eq!((&verify.whole.event, events(verify)), (&Event::Failed, vec![Event::EndedEarly]));
        assert!(
            journal.times_begun(&StepName::Export) == 1 && journal.times_begun(&StepName::Firestore) == 0
        );
    }

    /// `repair`, `replay` and `cutover` have a step of their own name: its end is not the command's.
    #[test]
    fn a_command_goes_on_after_a_step_of_its_name() {
        let mut text = line(1, "repair", "start", true)
            + &line(1, "repair", "start", false)
            + &line(1, "repair", "done", false);
        let journal = Journal::read(&text);
        assert_eq!(
            (&journal.commands[0].whole.ended, events(&journal.commands[0])),
            (&None, vec![Event::Done])
        );
        text += &line(1, "5 verify", "start", false);
        text += &line(1, "5 verify", "failed", false);
        text += &line(1, "repair", "failed", false);
        let journal = Journal::read(&text);
        assert_eq!(journal.commands[0].whole.event, Event::Failed);
        assert_eq!(events(&journal.commands[0]), [Event::Done, Event::Failed]);
    }

    #[test]
    fn a_line_that_is_not_whole_costs_that_line_only() {
        let whole = line(1, "migrate", "start", true) + &line(1, "2 export", "start", false);
        let torn = line(1, "2 export", "done", false);
        for cut in 1..torn.len() - 1 {
            let text = format!("{whole}{}\n{}", &torn[..cut], line(1, "2 export", "ended early", false));
            let journal = Journal::read(&text);
            assert_eq!((journal.torn, events(&journal.commands[0])), (1, vec![Event::EndedEarly]), "{cut}");
        }
    }

    #[test]
    fn lines_without_their_command_are_not_lost() {
        let text = line(7, "2 export", "start", false) + &line(7, "2 export", "done", false);
        let journal = Journal::read(&(text + &line(8, "2 export", "start", false)));
        assert_eq!(journal.commands.len(), 2);
        let [first, second] = [&journal.commands[0], &journal.commands[1]];
        assert_eq!(
            (&first.process, &first.whole.event, events(first)),
            (&None, &Event::BeginningLost, vec![Event::Done])
        );
        assert!(second.process.is_none() && !second.only_looks() && events(second) == [Event::Start]);
    }

    #[test]
    fn who_only_looked_is_known_also_without_its_beginning() {
        let text = line(7, "look for repairs", "start", false) + &line(7, "look for repairs", "done", false);
        assert!(Journal::read(&text).commands[0].only_looks());
        let text = text + &line(7, "repair", "start", false);
        assert!(!Journal::read(&text).commands[0].only_looks());
    }

    #[test]
    fn words_of_a_newer_tool_are_read() {
        let text = line(1, "fly", "start", true)
            + &line(1, "6 fly", "start", false)
            + &line(1, "6 fly", "flown", false);
        let journal = Journal::read(&text);
        let command = &journal.commands[0];
        assert_eq!(
            (journal.torn, command.whole.step.to_string(), command.only_looks()),
            (0, "fly".to_string(), false)
        );
        assert_eq!(
            (command.steps.len(), command.steps[0].step.to_string(), events(command)),
            (1, "6 fly".to_string(), vec![Event::Other("flown".into())])
        );
    }
}
