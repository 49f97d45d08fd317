//! A run as its files tell it.

use crate::findings::Values;
use crate::journal::{Chain, Journal, chain};
use crate::run::dir::{JOURNAL, RunDir};
use crate::run::manifest::Manifest;
use crate::run::report::Report;
use crate::run::status;
use crate::shown::utc;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;

/// Raised when a reader of an older report could not understand a newer one.
pub const FORMAT: u32 = 1;

pub const JSON: &str = "report.json";

/// How a run stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum RunState {
    /// Nothing was exported, or nothing verified so far.
    NotVerified,
    Proven {
        at: String,
    },
    Differs {
        at: String,
        /// Rows, documents and other things that are not as they must be.
        wrong: u64,
    },
    /// The old database is the shop's again.
    TakenBack {
        at: String,
        scope: String,
    },
}

/// A run as a whole.
pub struct RunStory {
    pub run: String,
    pub state: RunState,
    pub manifest: Manifest,
    /// `None`: nothing was exported.
    pub report: Option<Report>,
    pub journal: Journal,
    pub chain: Chain,
    /// The command to type next.
    pub next: Option<String>,
}

/// What `--format json` prints, and `report.json` holds.
#[derive(Serialize)]
struct Json<'a> {
    format: u32,
    run: &'a str,
    #[serde(flatten)]
    state: &'a RunState,
    environment: &'a str,
    report: &'a Option<Report>,
    servers: &'a crate::identity::Identity,
    commands: &'a [crate::journal::Command],
    rolled_back: Vec<(&'a str, &'a str)>,
    /// Of the journal when this was written: a later reader finds what was changed in it since.
    journal: &'a Chain,
}

impl RunStory {
    pub fn of(run: &RunDir, values: Values) -> Result<RunStory> {
        let manifest = run.load_manifest()?;
        let text = fs::read(run.file(JOURNAL)).with_context(|| format!("reading {JOURNAL}"))?;
        let text = String::from_utf8_lossy(&text);
        let directory = run.path().display().to_string();
        let report = manifest.export.as_ref().map(|export| {
            let proof = manifest.proof.as_ref();
            let mut report =
                Report::new(run.id(), directory, TABLES, export, proof, values).begun_with(&manifest);
            report.source.clone_from(&manifest.source);
            if proof.is_some() {
                report.since(manifest.cutover.as_ref());
            }
            report.defaults.clone_from(&manifest.defaults);
            report.peak_memory = manifest.peak_memory;
            if let Some(time) = &manifest.time {
                report.seconds = time.real.map(|real| real.by_part()).unwrap_or_default();
                report.predicted = time.predicted.by_part();
            }
            report
        });
        Ok(RunStory {
            run: run.id().to_string(),
            state: state(&manifest),
            report,
            journal: Journal::read(&text),
            chain: chain(&text),
            next: None,
            manifest,
        })
    }

    /// With what a command knows of it that no file holds.
    pub fn telling(self, report: &Report) -> RunStory {
        RunStory { report: Some(report.clone()), ..self }
    }

    /// In one line.
    pub fn verdict(&self) -> String {
        let headline = self.report.as_ref().map(Report::headline);
        let sums = self.report.as_ref().map(|report| format!(" {}", report.sums())).unwrap_or_default();
        match &self.state {
            RunState::NotVerified => format!("– NOT VERIFIED{sums}"),
            RunState::Proven { at } | RunState::Differs { at, .. } => {
                format!("{} · {}", headline.unwrap_or_default(), utc(at))
            }
            RunState::TakenBack { at, scope } => format!("↩ TAKEN BACK ({scope}) at {}", utc(at)),
        }
    }

    /// With the command to type next, where there is one, as `complete` says where things are.
    pub fn with_next(self, complete: impl Fn(&str) -> String) -> RunStory {
        let next = status::next(&self.manifest, &self.journal, &self.run, status::RunState::Done);
        RunStory { next: next.map(|command| complete(&command)), ..self }
    }

    pub fn text(&self) -> String {
        let backup = self.manifest.backup.as_ref().filter(|_| self.report.is_none());
        let backup = backup.map(|backup| format!("\n{}", backup.text())).unwrap_or_default();
        let report = self.report.as_ref().map(|report| format!("\n{}", report.text())).unwrap_or_default();
        format!("{}\nrun {}\n{backup}{report}", self.verdict(), self.run)
    }

    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.data())? + "\n")
    }

    /// For programs.
    pub fn data(&self) -> impl Serialize {
        let back = &self.manifest.rolled_back;
        Json {
            format: FORMAT,
            run: &self.run,
            state: &self.state,
            environment: &self.manifest.environment,
            report: &self.report,
            servers: &self.manifest.servers,
            commands: &self.journal.commands,
            rolled_back: back.iter().map(|back| (back.at.as_str(), back.scope.as_str())).collect(),
            journal: &self.chain,
        }
    }
}

fn state(manifest: &Manifest) -> RunState {
    if let (None, Some(back)) = (&manifest.cutover, manifest.rolled_back.last()) {
        return RunState::TakenBack { at: back.at.clone(), scope: back.scope.clone() };
    }
    match &manifest.proof {
        None => RunState::NotVerified,
        Some(proof) if proof.is_green() => RunState::Proven { at: proof.finished.clone() },
        Some(proof) => RunState::Differs { at: proof.finished.clone(), wrong: proof.wrong() },
    }
}
