//! What hardening came to: for programs as it is, for people the verdict first and a line a finding. Pure.

use crate::model::{Database, Stop, grouped};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Something that is weaker than it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Weakness {
    /// `product`, `firestore`, …
    pub store: String,
    /// Its number in the CIS benchmark for PostgreSQL, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cis: Option<String>,
    pub what: String,
    /// What a person does about it; none: `harden` does it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
    /// Whether it is a finding; else it is only worth a thought.
    #[serde(skip)]
    pub weighs: bool,
}

/// What the environment's file has to say from now on of one server.
#[derive(Clone, Debug, Serialize)]
pub struct Lines {
    /// `targets.product`
    pub table: String,
    pub lines: Vec<String>,
}

/// A login that this call has made, or given another password.
#[derive(Clone, Debug, Serialize)]
pub struct Login {
    pub role: String,
    /// 0600; it holds the password and nothing else.
    pub file: PathBuf,
    /// Whose it is: the service has to be told.
    pub of_service: bool,
}

/// One store.
#[derive(Clone, Debug, Serialize)]
pub struct Hardened {
    pub store: String,
    /// The statements that were made; of a look those that would be, as far as they can be told beforehand.
    pub statements: Vec<String>,
    /// What was tried and refused as it has to be.
    pub refused: usize,
    /// What the service needs, and could do.
    pub allowed: usize,
    pub findings: Vec<Weakness>,
    pub remarks: Vec<Weakness>,
    pub logins: Vec<Login>,
    /// Sessions of before that could do more than the service may, and were told to end.
    pub ended: usize,
    pub environment: Option<Lines>,
    /// For the person: how a store is hardened from outside.
    pub advice: Vec<String>,
}

impl Hardened {
    pub fn new(store: impl ToString) -> Hardened {
        Hardened {
            store: store.to_string(),
            statements: Vec::new(),
            refused: 0,
            allowed: 0,
            findings: Vec::new(),
            remarks: Vec::new(),
            logins: Vec::new(),
            ended: 0,
            environment: None,
            advice: Vec::new(),
        }
    }

    pub fn add(&mut self, weakness: Weakness) {
        let list = if weakness.weighs { &mut self.findings } else { &mut self.remarks };
        if !list.contains(&weakness) {
            list.push(weakness);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// `--dry-run`
    Look,
    Apply,
}

#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub mode: Mode,
    pub stores: Vec<Hardened>,
    pub seconds: f64,
}

impl Outcome {
    pub fn findings(&self) -> usize {
        self.stores.iter().map(|store| store.findings.len()).sum()
    }

    fn statements(&self) -> usize {
        self.stores.iter().map(|store| store.statements.len()).sum()
    }

    /// The verdict, in one line.
    pub fn summary(&self) -> String {
        let (found, statements) = (self.findings(), self.statements());
        let names: Vec<&str> = self.stores.iter().map(|store| store.store.as_str()).collect();
        let (refused, allowed) =
            self.stores.iter().fold((0, 0), |(r, a), store| (r + store.refused, a + store.allowed));
        let changed = match (self.mode, statements) {
            (_, 0) => "nothing to change".to_string(),
            (Mode::Look, n) => format!("{} statements would be made", grouped(n as u64)),
            (Mode::Apply, n) => format!("{} statements made", grouped(n as u64)),
        };
        let tried = match (self.mode, refused + allowed) {
            (Mode::Look, 0) => String::new(),
            _ => format!("; {refused} forbidden things refused, {allowed} needed ones allowed"),
        };
        let verdict = match found {
            0 => format!("✓ HARDENED {}", names.join(", ")),
            1 => format!("✗ 1 FINDING in {}", names.join(", ")),
            n => format!("✗ {n} FINDINGS in {}", names.join(", ")),
        };
        format!("{verdict}: {changed}{tried} · {:.1} s", self.seconds)
    }

    pub fn text(&self) -> String {
        let mut out = self.summary() + "\n";
        let findings = together(self.stores.iter().flat_map(|store| &store.findings));
        let remarks = together(self.stores.iter().flat_map(|store| &store.remarks));
        for (sign, list) in [("✗", findings), ("·", remarks)] {
            for ((cis, what, todo), stores) in list {
                let number = cis.map(|cis| format!("{cis} ")).unwrap_or_default();
                let todo = todo.unwrap_or("cargo xtask harden does it");
                out += &format!("  {sign} {}: {number}{what}: {todo}\n", stores.join(", "));
            }
        }
        for store in &self.stores {
            for Login { role, file, of_service } in &store.logins {
                let whose =
                    if *of_service { "the service has to log in with it from now on" } else { "the tool's" };
                out += &format!(
                    "  {}: the password of {role} is in {} ({whose})\n",
                    store.store,
                    file.display()
                );
            }
            if store.ended > 0 {
                out += &format!("  {}: {} sessions of before were ended\n", store.store, store.ended);
            }
            if let Some(Lines { table, lines }) = &store.environment {
                out += &format!("  in the environment's file, under [{table}]: {}\n", lines.join("   "));
            }
            store.advice.iter().for_each(|line| out += &format!("  {}: {line}\n", store.store));
        }
        out
    }

    /// Findings about what somebody may do there, and not about how the server is set up (chapter 4 of the benchmark).
    pub fn of_rights(&self) -> impl Iterator<Item = &Weakness> {
        let all = self.stores.iter().flat_map(|store| &store.findings);
        all.filter(|found| found.cis.as_ref().is_some_and(|number| number.starts_with("4.")))
    }

    /// # Errors
    /// Exit code 3, where findings remain.
    pub fn judge(&self) -> Result<()> {
        match self.findings() {
            0 => Ok(()),
            n => Err(Stop::Differs(format!("{n} findings remain")).into()),
        }
    }
}

type Same<'a> = (Option<&'a str>, &'a str, Option<&'a str>);

/// What several stores have in common is one line.
fn together<'a>(all: impl Iterator<Item = &'a Weakness>) -> Vec<(Same<'a>, Vec<&'a str>)> {
    let mut lines: Vec<(Same<'a>, Vec<&'a str>)> = Vec::new();
    for found in all {
        let same = (found.cis.as_deref(), found.what.as_str(), found.todo.as_deref());
        match lines.iter_mut().find(|(known, _)| *known == same) {
            Some((_, stores)) => stores.push(&found.store),
            None => lines.push((same, vec![&found.store])),
        }
    }
    lines
}

/// The role that each service logs in as, where it is not the guide's.
pub type NamedRoles = BTreeMap<Database, String>;
