//! The journal of a run, as it is written: a line at the start and the end of each command and each step,
//! on disk before anything else goes on. A step belongs to a command, or it is not begun.

use crate::effects::clock::now;
use crate::effects::host;
use crate::journal::{Entry, Process, hash_of};
use crate::steps::{CommandName, Event, StepName};
use anyhow::{Context, Result, anyhow, ensure};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

/// `journal.jsonl`, open for its next line.
pub struct JournalFile {
    path: PathBuf,
    writer: Mutex<Writer>,
}

struct Writer {
    file: File,
    /// Its last line is not whole: whoever wrote it was killed over it, or the disk was full.
    torn: bool,
    /// Commands of this process that have begun and not ended.
    commands: usize,
}

impl JournalFile {
    /// Makes it where it is not there yet.
    pub fn open(path: PathBuf) -> Result<JournalFile> {
        let context = || format!("opening {}", path.display());
        let mut options = OpenOptions::new();
        options.create(true).read(true).append(true).mode(0o600);
        let file = options.open(&path).with_context(context)?;
        let bytes = file.metadata().with_context(context)?.len();
        let mut last = [b'\n'];
        if bytes > 0 {
            file.read_exact_at(&mut last, bytes - 1).with_context(context)?;
        }
        let writer = Mutex::new(Writer { file, torn: last != [b'\n'], commands: 0 });
        Ok(JournalFile { path, writer })
    }

    pub fn command(&self, command: &CommandName) -> Result<Recorded<'_>> {
        let name = command.to_string();
        self.write(&name, Event::Start, "", Some(host::this_process()))?;
        self.writer()?.commands += 1;
        Ok(Recorded { journal: Some(self), name, is_command: true })
    }

    /// # Errors
    /// Where no command of this process is under way.
    pub fn step(&self, step: &StepName) -> Result<Recorded<'_>> {
        self.within_a_command(step)?;
        let name = step.to_string();
        self.write(&name, Event::Start, "", None)?;
        Ok(Recorded { journal: Some(self), name, is_command: false })
    }

    /// # Errors
    /// Where no command of this process is under way.
    pub fn note(&self, step: &StepName, detail: &str) -> Result<()> {
        self.within_a_command(step)?;
        self.write(&step.to_string(), Event::Note, detail, None)
    }

    fn within_a_command(&self, step: &StepName) -> Result<()> {
        ensure!(
            self.writer()?.commands > 0,
            "the step `{step}` is part of no command: whoever reads the journal could not say whose it is"
        );
        Ok(())
    }

    fn write(&self, step: &str, event: Event, detail: &str, process: Option<Process>) -> Result<()> {
        let (step, detail, pid) = (step.to_string(), detail.to_string(), std::process::id());
        let mut writer = self.writer()?;
        // Others may write about this run: nobody comes between the line before and this one. Where the file system has
        // no locks, two commands in one instant could break the chain, and nothing else.
        let locked = writer.file.lock().is_ok();
        let written =
            self.append(&mut writer, |after| Entry { at: now(), step, event, detail, pid, process, after });
        if locked {
            // It goes with the file in any case.
            let _ = writer.file.unlock();
        }
        written.with_context(|| format!("writing {}", self.path.display()))
    }

    fn append(&self, writer: &mut Writer, entry: impl FnOnce(String) -> Entry) -> Result<()> {
        let entry = entry(hash_of(&last_line(&writer.file)?));
        let before = if writer.torn { "\n" } else { "" };
        let line = format!("{before}{}\n", serde_json::to_string(&entry)?);
        // Until it is known to be whole.
        writer.torn = true;
        let written = writer.file.write_all(line.as_bytes());
        writer.torn = written.is_err();
        written?;
        Ok(writer.file.sync_data()?)
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        self.writer.lock().map_err(|_| anyhow!("the journal's lock is broken"))
    }
}

/// Without its end; one that is not whole is a line, too.
fn last_line(file: &File) -> std::io::Result<String> {
    let bytes = file.metadata()?.len();
    let mut piece = 1 << 12;
    loop {
        let from = bytes.saturating_sub(piece);
        let mut end = vec![0; usize::try_from(bytes - from).unwrap_or_default()];
        file.read_exact_at(&mut end, from)?;
        let text = String::from_utf8_lossy(&end);
        let text = text.trim_end_matches('\n');
        match text.rfind('\n') {
            Some(at) => return Ok(text[at + 1..].to_string()),
            None if from == 0 => return Ok(text.to_string()),
            None => piece *= 2,
        }
    }
}

/// A command or a step under way, as the journal has it; it says how that ended, also when it is dropped.
pub struct Recorded<'a> {
    /// `None`: a run that leaves nothing, or the end is written already.
    journal: Option<&'a JournalFile>,
    name: String,
    is_command: bool,
}

impl Recorded<'_> {
    /// Of a run that leaves nothing.
    pub fn nowhere() -> Recorded<'static> {
        Recorded { journal: None, name: String::new(), is_command: false }
    }

    pub fn done(mut self, detail: &str) -> Result<()> {
        self.end(Event::Done, detail)
    }

    /// It has ended early; `why` is shown by `status`.
    pub fn failed(mut self, why: &str) -> Result<()> {
        self.end(Event::Failed, why)
    }

    /// It was refused before it changed anything: what the run is, is decided by those before it.
    pub fn refused(mut self, why: &str) -> Result<()> {
        self.end(Event::Refused, why)
    }

    fn end(&mut self, event: Event, detail: &str) -> Result<()> {
        let Some(journal) = self.journal.take() else { return Ok(()) };
        if self.is_command {
            journal.writer()?.commands -= 1;
        }
        journal.write(&self.name, event, detail, None)
    }
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        // An error is on its way already, or the run was interrupted: that one is reported.
        let _ = self.end(Event::EndedEarly, "");
    }
}

#[cfg(test)]
mod tests {
    use crate::journal::chain;
    use crate::run::dir::{JOURNAL, RunDir, load_journal};
    use crate::steps::{CommandName, StepName};
    use std::fs;

    #[test]
    fn the_journal_says_how_a_step_ended() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        let command = run.command(&CommandName::Export).unwrap();
        run.step(StepName::Dump).unwrap().done("5 tables").unwrap();
        drop(run.step(StepName::Export).unwrap());
        command.done("").unwrap();
        let journal = fs::read_to_string(run.file(JOURNAL)).unwrap();
        let word = |line: &str, at: usize| line.split('"').nth(at).unwrap().to_string();
        let lines: Vec<String> = journal.lines().map(|l| word(l, 7) + " " + &word(l, 11)).collect();
        let dump = ["1 dump start", "1 dump done"];
        let export = ["2 export start", "2 export ended early"];
        assert_eq!(lines, [&["export start"], &dump[..], &export, &["export done"]].concat());
    }

    /// Two that write in turn are one chain; what is changed, taken out or put in between is found.
    #[test]
    fn every_line_vouches_for_the_one_before() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        let other =
            RunDir::open(parent.path(), run.id()).unwrap_or_else(|_| RunDir::create(parent.path()).unwrap());
        let command = run.command(&CommandName::Export).unwrap();
        run.step(StepName::Dump).unwrap().done(&"long ".repeat(3000)).unwrap();
        let beside = other.command(&CommandName::Verify).unwrap();
        run.step(StepName::Export).unwrap().done("").unwrap();
        beside.done("").unwrap();
        command.done("").unwrap();
        let text = fs::read_to_string(run.file(JOURNAL)).unwrap();
        let whole = chain(&text);
        assert_eq!(
            (whole.lines, whole.linked, &whole.broken[..]),
            (text.lines().count(), whole.lines, &[][..])
        );
        let lines: Vec<&str> = text.lines().collect();
        for n in 0..lines.len() - 1 {
            let changed = lines.iter().enumerate().map(|(i, line)| match i == n {
                true => line.replacen("20", "21", 1),
                false => line.to_string(),
            });
            assert_eq!(chain(&changed.collect::<Vec<_>>().join("\n")).broken, [n + 2], "line {}", n + 1);
            let without = [&lines[..n], &lines[n + 1..]].concat().join("\n");
            assert_eq!(chain(&without).broken, [n + 1], "without line {}", n + 1);
        }
        let swapped = [&[lines[1], lines[0]], &lines[2..]].concat().join("\n");
        assert_eq!(chain(&swapped).broken, [1, 2, 3]);
    }

    #[test]
    fn a_step_needs_a_command_around_it() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path()).unwrap();
        let refused = |run: &RunDir| {
            let step = run.step(StepName::Verify).err().unwrap().to_string();
            let note = run.note(&StepName::Policy, "").unwrap_err().to_string();
            assert!(step.contains("`5 verify` is part of no command") && note.contains("`policy`"), "{step}");
        };
        refused(&run);
        let command = run.command(&CommandName::Verify).unwrap();
        run.step(StepName::Verify).unwrap().done("").unwrap();
        run.note(&StepName::Policy, "").unwrap();
        command.failed("").unwrap();
        refused(&run);
        drop(run.command(&CommandName::Verify).unwrap());
        refused(&run);
        let journal = load_journal(run.path()).unwrap();
        assert!(journal.commands.iter().all(|c| c.process.is_some() && c.whole.ended.is_some()));
    }
}
