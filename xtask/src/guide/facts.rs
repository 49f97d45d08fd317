//! What a checklist looks at: the run and the settings of its environment; and the parts of evidence that several items
//! share.

use crate::journal::{Command, Journal};
use crate::operations::decommission::Record;
use crate::run::dir::{self, RunDir};
use crate::run::manifest::{Cutover, Manifest, Proof, SourceCheck};
use crate::settings::Settings;
use crate::shown::utc;
use crate::steps::{CommandName, Event, StepName};
use anyhow::Result;
use std::path::Path;

/// Whether something is done.
pub(super) enum Evidence {
    Done {
        /// Which file, what figure.
        what: String,
        at: String,
    },
    Open {
        why: String,
        /// The command that closes it, without what says where things are.
        then: String,
    },
}

/// What Firestore said when it was asked for this list; `Err`: why it did not answer.
pub(super) type Firestore = Result<String, String>;

/// A run as its files have it.
pub(super) struct OneRun {
    pub dir: RunDir,
    pub manifest: Manifest,
    pub journal: Journal,
    pub record: Record,
}

impl OneRun {
    pub fn read(dir: RunDir) -> Result<OneRun> {
        let (manifest, journal) = (dir.load_manifest()?, dir::load_journal(dir.path())?);
        let record = Record::load(&dir)?;
        Ok(OneRun { dir, manifest, journal, record })
    }

    /// The last time that a step has ended well, and what it said of itself.
    pub(super) fn done(&self, step: &StepName) -> Option<(&str, &str)> {
        let spans = self.journal.commands.iter().flat_map(|command| &command.steps);
        let done = spans.filter(|span| span.step == *step && span.event == Event::Done);
        done.filter_map(|span| Some((span.ended.as_deref()?, span.detail.as_str()))).next_back()
    }

    /// The last time that a step has begun, and whether it has ended well.
    pub(super) fn last(&self, step: &StepName) -> Option<(&str, bool, &str)> {
        let mut spans = self.journal.commands.iter().flat_map(|command| &command.steps);
        let last = spans.rfind(|span| span.step == *step)?;
        Some((&last.began, last.event == Event::Done, &last.detail))
    }

    /// The last command that has changed what the stores hold since this instant. The cut-over has its own last look.
    fn changed_since(&self, at: &str) -> Option<(String, &str)> {
        let changes = |command: &&Command| {
            !command.only_looks()
                && command.whole.step != CommandName::Cutover
                && command.whole.began.as_str() > at
        };
        let command = self.journal.commands.iter().rev().find(changes)?;
        Some((command.whole.step.to_string(), &command.whole.began))
    }
}

/// All that is looked at.
pub(super) struct Facts<'a> {
    pub settings: &'a Settings,
    pub runs: &'a Path,
    pub run: Option<OneRun>,
    pub firestore: Firestore,
    /// The source against the run's snapshot, now; `None`: the services have taken over, or there is nothing to compare.
    pub source: Option<SourceCheck>,
}

impl Facts<'_> {
    /// Where the policy asks for it, with the name that it wants.
    pub(super) fn confirmed(&self, command: &str) -> String {
        format!("{command}{}", self.settings.confirmation())
    }

    /// What completes the run, or begins one.
    pub(super) fn goes_on(&self, run: &OneRun) -> String {
        let id = run.dir.id();
        match (&run.manifest.command, &run.manifest.export) {
            (CommandName::Migrate | CommandName::Resume, _) => {
                self.confirmed(&format!("migrate --resume {id}"))
            }
            (_, Some(_)) => self.confirmed(&format!("import --run {id}")),
            (_, None) => self.confirmed("migrate"),
        }
    }

    pub(super) fn taken_back(&self, run: &OneRun) -> Option<Evidence> {
        let back = run.manifest.rolled_back.last()?;
        let why = format!("run {} was taken back at {} ({})", run.dir.id(), utc(&back.at), back.scope);
        Some(open(why, self.confirmed("migrate --replace")))
    }

    /// The proof, where it is of what the stores hold now.
    pub(super) fn proof<'r>(&self, run: &'r OneRun) -> Result<&'r Proof, Evidence> {
        if let Some(taken) = self.taken_back(run) {
            return Err(taken);
        }
        let verify = format!("verify --run {}", run.dir.id());
        let Some(proof) = &run.manifest.proof else {
            return Err(open(format!("run {} is not verified", run.dir.id()), verify));
        };
        match run.changed_since(&proof.finished) {
            Some((command, at)) => {
                let why = format!(
                    "the proof, of {}, is older than the {command} of {}",
                    utc(&proof.finished),
                    utc(at)
                );
                Err(open(why, verify))
            }
            None => Ok(proof),
        }
    }

    pub(super) fn red(&self, run: &OneRun, what: String, proof: &Proof) -> Evidence {
        open(
            format!("{what}, by the proof of {}", utc(&proof.finished)),
            format!("repair --run {}", run.dir.id()),
        )
    }
}

/// When the services took over all of it.
pub(super) fn cut_over(run: &OneRun) -> Result<&Cutover, String> {
    match (&run.manifest.cutover, run.manifest.services_back.first()) {
        (Some(_), Some(back)) => {
            Err(format!("{} went back to the old database at {}", back.service.name(), utc(&back.at)))
        }
        (Some(cutover), None) => Ok(cutover),
        (None, _) => Err(format!("run {} is not cut over", run.dir.id())),
    }
}

pub(super) fn done(what: String, at: &str) -> Evidence {
    Evidence::Done { what, at: at.to_string() }
}

pub(super) fn open(why: impl Into<String>, then: String) -> Evidence {
    Evidence::Open { why: why.into(), then }
}
