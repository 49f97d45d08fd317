//! What a smoke test came to: a line a check, and the verdict.

use crate::findings::{Values, Words, escaped};
use crate::model::Stop;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    /// Nobody says where, or what it needs has failed: no pass.
    NotLookedAt,
}

impl Verdict {
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::NotLookedAt => "not looked at",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The scenario; `ready`: what comes before them.
    pub scenario: String,
    pub name: String,
    pub verdict: Verdict,
    /// Of the answer.
    pub status: Option<u16>,
    pub took: Duration,
    /// Why it is no pass.
    pub why: Option<String>,
    pub response: Option<Words>,
    /// The last lines of logs.
    pub log: Vec<Words>,
}

impl Checked {
    pub(super) fn new(scenario: &str, name: &str) -> Checked {
        Checked {
            scenario: scenario.to_string(),
            name: name.to_string(),
            verdict: Verdict::Pass,
            status: None,
            took: Duration::ZERO,
            why: None,
            response: None,
            log: Vec::new(),
        }
    }

    pub(super) fn took(self, took: Duration) -> Checked {
        Checked { took, ..self }
    }

    pub(super) fn status(self, status: Option<u16>) -> Checked {
        Checked { status, ..self }
    }

    pub(super) fn fails(self, why: String) -> Checked {
        Checked { verdict: Verdict::Fail, why: Some(why), ..self }
    }

    pub(super) fn not_looked_at(self, why: String) -> Checked {
        Checked { verdict: Verdict::NotLookedAt, why: Some(why), ..self }
    }

    pub(super) fn response(self, response: Words) -> Checked {
        Checked { response: Some(response), ..self }
    }

    pub(super) fn log(self, log: Vec<Words>) -> Checked {
        Checked { log, ..self }
    }

    /// `answers: api-gateway is well`
    pub fn title(&self) -> String {
        format!("{}: {}", self.scenario, self.name)
    }

    /// What is said of one that is no pass, a line each.
    pub(super) fn evidence(&self, values: Values) -> Vec<String> {
        let response = self.response.as_ref().map(|words| format!("it answered: {}", words.said(values)));
        let lines = self.why.iter().cloned().chain(response);
        let lines = lines.chain(self.log.iter().map(|line| format!("log of {}", line.said(values))));
        lines.map(|line| escaped(&line)).collect()
    }

    fn json(&self, values: Values) -> Value {
        json!({
            "scenario": self.scenario,
            "name": self.name,
            "verdict": self.verdict.word(),
            "status": self.status,
            "milliseconds": self.milliseconds(),
            "why": self.why,
            "response": self.response.as_ref().map(|words| words.said(values)),
            "log": self.log.iter().map(|line| line.said(values)).collect::<Vec<_>>(),
        })
    }

    fn milliseconds(&self) -> u64 {
        u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// `new`, `old`: whose services.
    pub side: &'static str,
    pub checks: Vec<Checked>,
    /// What stays of what was made, each with the command that takes it away.
    pub left: Vec<String>,
    pub seconds: f64,
}

impl Outcome {
    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|checked| checked.verdict == verdict).count()
    }

    pub fn failed(&self) -> usize {
        self.count(Verdict::Fail)
    }

    /// For the journal: `new services: 14 passed, 0 failed, 1 not looked at`
    pub fn summary(&self) -> String {
        let Outcome { side, .. } = self;
        let (passed, open) = (self.count(Verdict::Pass), self.count(Verdict::NotLookedAt));
        format!("{side} services: {passed} passed, {} failed, {open} not looked at", self.failed())
    }

    /// For a person: the verdict, a line a check with what it says of a failure, and the verdict again.
    pub fn text(&self, values: Values) -> String {
        let mark = if self.failed() == 0 { "✓ SMOKED" } else { "✗ FAILED" };
        let verdict = format!("{mark} {} · {:.1} s\n", self.summary(), self.seconds);
        let mut out = verdict.clone();
        let width =
            self.checks.iter().map(|checked| checked.title().chars().count()).max().unwrap_or_default();
        for checked in &self.checks {
            let status = checked.status.map_or_else(|| "–".to_string(), |status| status.to_string());
            let (word, title) = (checked.verdict.word(), escaped(&checked.title()));
            out += &format!("  {word:<13}  {title:<width$}  {status:>3}  {:>5} ms\n", checked.milliseconds());
            checked.evidence(values).iter().for_each(|line| out += &format!("      {line}\n"));
        }
        if !self.left.is_empty() {
            out += "Left there (--keep), and what takes it away:\n";
            self.left.iter().for_each(|line| out += &format!("  {line}\n"));
        }
        if self.checks.len() > 3 { out + &verdict } else { out }
    }

    pub fn json(&self, values: Values) -> Value {
        json!({
            "services": self.side,
            "passed": self.count(Verdict::Pass),
            "failed": self.failed(),
            "not_looked_at": self.count(Verdict::NotLookedAt),
            "seconds": self.seconds,
            "checks": self.checks.iter().map(|checked| checked.json(values)).collect::<Vec<_>>(),
            "left": self.left,
        })
    }

    /// # Errors
    /// `Stop::Differs` where a check has failed.
    pub fn judge(&self) -> Result<()> {
        match self.failed() {
            0 => Ok(()),
            _ => Err(Stop::Differs(self.summary()).into()),
        }
    }
}
