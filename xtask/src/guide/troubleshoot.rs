//! The guide's troubleshooting, each of its issues looked for on the environment at hand: what is wrong, in one sentence,
//! and the command that repairs it.

use super::checklist::Complete;
use crate::checks::doctor;
use crate::checks::doctor::connectivity::{self, OldSide};
use crate::effects::postgres;
use crate::findings::Values;
use crate::hazards::Found;
use crate::health::Verdict;
use crate::identity::ServerName;
use crate::model::{Database, Stop};
use crate::phases::p5_verify;
use crate::run::ctx::Ctx;
use crate::run::dir;
use crate::run::manifest::{Manifest, Proof};
use crate::run::servers;
use crate::settings::Server;
use crate::shown::utc;
use crate::steps::{Event, StepName};
use crate::stores::prerequisites;
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::sync::Arc;

/// One of the guide's issues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Topic {
    /// CSV Import Fails with Encoding Errors
    Encoding,
    /// Sequence Values Not Updated
    Sequences,
    /// Firebase Import Fails
    Firestore,
    /// Services Can't Connect to Databases
    Connectivity,
    /// Data Mismatch After Migration
    Mismatch,
}

impl Topic {
    /// What fails first explains what fails after it.
    pub const ALL: [Topic; 5] =
        [Topic::Connectivity, Topic::Firestore, Topic::Encoding, Topic::Sequences, Topic::Mismatch];

    /// As the guide calls it.
    pub fn issue(self) -> &'static str {
        match self {
            Topic::Encoding => "CSV Import Fails with Encoding Errors",
            Topic::Sequences => "Sequence Values Not Updated",
            Topic::Firestore => "Firebase Import Fails",
            Topic::Connectivity => "Services Can't Connect to Databases",
            Topic::Mismatch => "Data Mismatch After Migration",
        }
    }
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    pub place: String,
    pub cause: String,
    /// What repairs it.
    pub command: String,
}

/// One issue as it was looked for.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    pub topic: Topic,
    pub issue: &'static str,
    /// What was looked at; with nothing found this is fine.
    pub looked_at: String,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_looked_at: Option<String>,
    pub troubles: Vec<Trouble>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Diagnoses {
    pub environment: String,
    pub run: Option<String>,
    pub troubles: usize,
    pub topics: Vec<Diagnosis>,
}

/// What a diagnosis has to go by.
pub struct Patient<'a> {
    pub ctx: &'a Arc<Ctx>,
    /// Of the run that it is about; `None`: there is none.
    pub manifest: Option<&'a Manifest>,
    pub old: OldSide,
    pub complete: Complete<'a>,
}

impl Patient<'_> {
    /// Looks for these issues, one after the other. Changes nothing but Firestore's probe document, which is removed.
    pub async fn diagnose(&self, topics: &[Topic]) -> Result<Diagnoses> {
        let mut found = Vec::new();
        for topic in topics {
            found.push(match topic {
                Topic::Encoding => self.encoding().await,
                Topic::Sequences => self.sequences().await,
                Topic::Firestore => self.firestore().await?,
                Topic::Connectivity => self.connectivity().await,
                Topic::Mismatch => self.mismatch(),
            });
        }
        Ok(Diagnoses {
            environment: self.ctx.settings.environment.clone(),
            run: self.manifest.map(|manifest| manifest.run.clone()),
            troubles: found.iter().map(|diagnosis| diagnosis.troubles.len()).sum(),
            topics: found,
        })
    }

    /// Where the policy asks for it, with the name that it wants.
    fn confirmed(&self, command: &str) -> String {
        (self.complete)(&format!("{command}{}", self.ctx.settings.confirmation()))
    }

    async fn connectivity(&self) -> Diagnosis {
        let found = connectivity::look(self.ctx, self.old).await;
        let troubles = found.servers.iter().filter_map(|server| {
            let failed = server.failed.as_ref()?;
            Some(trouble(&server.place, failed.why.clone(), failed.fix.clone()))
        });
        let looked_at = format!("{} servers, from here", found.servers.len());
        Diagnosis::of(Topic::Connectivity, looked_at, troubles.collect())
    }

    /// A server that does not answer is the issue before this one.
    fn unreachable(&self, server: &Server, error: &anyhow::Error) -> Trouble {
        trouble(
            &server.label,
            format!("it cannot be asked: {error}"),
            (self.complete)("troubleshoot connectivity"),
        )
    }

    async fn encoding(&self) -> Diagnosis {
        let (settings, mut troubles) = (&self.ctx.settings, Vec::new());
        let asked = match self.old {
            OldSide::Asked => Some(self.encoding_of(&settings.source).await),
            OldSide::Gone => None,
        };
        match asked.transpose() {
            Err(error) => troubles.push(self.unreachable(&settings.source, &error)),
            Ok(Some(encoding)) if encoding == "SQL_ASCII" && settings.policy.source_encoding.is_none() => {
                let cause = "the source does not say which encoding its bytes are in (SQL_ASCII)".to_string();
                let plan = (self.complete)("plan");
                let command = format!(
                    "source_encoding = \"LATIN1\" (or what the applications write) in [policy], then {plan}"
                );
                troubles.push(trouble("source", cause, command));
            }
            Ok(_) => {}
        }
        for database in Database::ALL {
            let server = settings.target(database);
            match self.target_encoding(server).await {
                Err(error) => troubles.push(self.unreachable(server, &error)),
                Ok(found) => troubles.extend(found),
            }
        }
        let undecodable = |hazard: &&Found| hazard.name == "text-undecodable" && hazard.count > 0;
        if let Some(Found { count, keys, remedy, .. }) =
            self.manifest.and_then(|manifest| manifest.hazards.iter().find(undecodable))
        {
            let run = self.manifest.map_or("latest", |manifest| &manifest.run);
            let cause =
                format!("{count} rows hold bytes that are no text in its encoding: {}", keys.join(", "));
            let replay = self.confirmed(&format!("replay --run {run}"));
            troubles.push(trouble("source", cause, format!("{remedy}; then {replay}")));
        }
        let databases = if self.old == OldSide::Asked { 4 } else { 3 };
        let rows = if self.manifest.is_some() { ", and the rows as the run read them" } else { "" };
        Diagnosis::of(Topic::Encoding, format!("the encodings of {databases} databases{rows}"), troubles)
    }

    async fn encoding_of(&self, server: &Server) -> Result<String> {
        let mut connection = postgres::connect(server, &self.ctx.purpose("troubleshoot")).await?;
        let encoding = connection.info().await?.encoding;
        connection.close().await?;
        Ok(encoding)
    }

    async fn target_encoding(&self, server: &Server) -> Result<Option<Trouble>> {
        let mut connection = postgres::connect(server, &self.ctx.purpose("troubleshoot")).await?;
        let lacking = prerequisites::encoding(&mut connection, server).await?;
        connection.close().await?;
        Ok(lacking.map(|lacking| trouble(&server.label, lacking.found, lacking.statement)))
    }

    async fn sequences(&self) -> Diagnosis {
        let run = self.manifest.and_then(|manifest| Some((manifest, manifest.export.as_ref()?)));
        let Some((manifest, export)) = run else {
            return Diagnosis::not(Topic::Sequences, "there is no run with an export to compare them with");
        };
        let looked = async {
            servers::belongs(self.ctx, manifest, &ServerName::TARGETS, &[]).await?;
            p5_verify::sequences_check(self.ctx, export).await
        };
        let check = match looked.await {
            Ok(check) => check,
            Err(error) => {
                let command = (self.complete)("troubleshoot connectivity");
                let troubles = vec![trouble("targets", format!("they cannot be asked: {error:#}"), command)];
                return Diagnosis::of(Topic::Sequences, "nothing".to_string(), troubles);
            }
        };
        let repair = self.confirmed(&format!("repair --run {} --apply", manifest.run));
        let troubles = check.findings.iter().map(|finding| {
            let cause = finding.detail.clone().unwrap_or_else(|| finding.text(Values::Masked));
            trouble(&finding.table, cause, repair.clone())
        });
        Diagnosis::of(Topic::Sequences, check.looked_at.clone(), troubles.collect())
    }

    async fn firestore(&self) -> Result<Diagnosis> {
        let lines = doctor::firestore(self.ctx).await;
        // What is in its collections is a migration's business.
        let lines = lines.into_iter().filter(|line| line.verdict == Verdict::NotMet && line.what != "empty");
        let troubles = lines.map(|line| trouble("firestore", line.found, line.fix.unwrap_or_default()));
        let mut troubles: Vec<Trouble> = troubles.collect();
        troubles.extend(self.import_that_failed()?);
        Ok(Diagnosis::of(Topic::Firestore, "reachable, writable (one probe document)".to_string(), troubles))
    }

    /// As the run's journal has it.
    fn import_that_failed(&self) -> Result<Option<Trouble>> {
        let Some(manifest) = self.manifest.filter(|manifest| manifest.proof.is_none()) else {
            return Ok(None);
        };
        let journal = dir::load_journal(self.ctx.run.path())?;
        let mut spans = journal.commands.iter().flat_map(|command| &command.steps);
        let last = spans.rfind(|span| span.step == StepName::Firestore);
        let Some(failed) = last.filter(|span| span.event != Event::Done && span.ended.is_some()) else {
            return Ok(None);
        };
        let rate = (self.ctx.settings.firestore.rate / 2.0).max(1.0);
        let resume = format!("migrate --resume {} --firestore-rate {rate:.0}", manifest.run);
        let cause = format!("the import of {} did not come to its end {}", utc(&failed.began), failed.detail);
        Ok(Some(trouble("firestore", cause.trim().to_string(), self.confirmed(&resume))))
    }

    /// As the newest proof has it: `verify` reads the stores.
    fn mismatch(&self) -> Diagnosis {
        let Some((manifest, proof)) = self.manifest.and_then(|m| Some((m, m.proof.as_ref()?))) else {
            return Diagnosis::not(Topic::Mismatch, "there is no run that was verified");
        };
        let troubles = match proof.is_green() {
            true => Vec::new(),
            false => self.differences(manifest, proof),
        };
        let looked_at = format!("the proof of {}: {} tables", utc(&proof.finished), proof.tables.len());
        Diagnosis::of(Topic::Mismatch, looked_at, troubles)
    }

    fn differences(&self, manifest: &Manifest, proof: &Proof) -> Vec<Trouble> {
        let repair = self.confirmed(&format!("repair --run {} --apply", manifest.run));
        let tables = proof.tables.iter().filter(|(_, table)| !table.is_green()).map(|(name, table)| {
            let first = table.findings.iter().find_map(|finding| finding.key.as_ref().map(|_| finding));
            let first = first.map_or(String::new(), |f| format!(", such as {}", f.text(Values::Masked)));
            let kinds = table.counts.in_words(manifest.cutover.is_some());
            trouble(name, format!("{kinds} of {} rows{first}", table.expected_rows), repair.clone())
        });
        let checks = proof.checks.iter().filter(|check| !check.is_green()).map(|check| {
            let first =
                check.findings.first().map_or(String::new(), |f| format!(": {}", f.text(Values::Masked)));
            trouble(&check.name, format!("{} findings{first}", check.wrong), repair.clone())
        });
        tables.chain(checks).collect()
    }
}

fn trouble(place: &str, cause: String, command: String) -> Trouble {
    Trouble { place: place.to_string(), cause, command }
}

impl Diagnosis {
    fn of(topic: Topic, looked_at: String, troubles: Vec<Trouble>) -> Diagnosis {
        Diagnosis { topic, issue: topic.issue(), looked_at, not_looked_at: None, troubles }
    }

    fn not(topic: Topic, why: &str) -> Diagnosis {
        Diagnosis { not_looked_at: Some(why.to_string()), ..Diagnosis::of(topic, String::new(), Vec::new()) }
    }

    fn text(&self) -> String {
        let mut out = match (&self.not_looked_at, self.troubles.len()) {
            (Some(why), _) => format!("– {}: not looked at: {why}\n", self.issue),
            (None, 0) => format!("✓ {}: {}\n", self.issue, self.looked_at),
            (None, n) => format!("✗ {}: {n} found\n", self.issue),
        };
        for Trouble { place, cause, command } in &self.troubles {
            let indented = |text: &str| text.replace('\n', "\n      ");
            out += &format!("  {place}: {}\n    → {}\n", indented(cause), indented(command));
        }
        out
    }
}

impl Diagnoses {
    pub fn verdict(&self) -> String {
        let first = self.topics.iter().flat_map(|topic| &topic.troubles).next();
        let looked = self.topics.iter().filter(|topic| topic.not_looked_at.is_none()).count();
        match first {
            Some(Trouble { place, cause, .. }) => {
                let cause = cause.lines().next().unwrap_or_default();
                let more = if self.troubles > 1 {
                    format!(" ({} more below)", self.troubles - 1)
                } else {
                    String::new()
                };
                format!("✗ {place}: {cause}{more}")
            }
            None => format!("✓ nothing found: {looked} of {} issues were looked for", self.topics.len()),
        }
    }

    /// The command that repairs what was found first.
    pub fn next(&self) -> Option<&str> {
        self.topics.iter().flat_map(|topic| &topic.troubles).map(|trouble| trouble.command.as_str()).next()
    }

    pub fn text(&self) -> String {
        format!("{}\n{}", self.verdict(), self.topics.iter().map(Diagnosis::text).collect::<String>())
    }

    /// # Errors
    /// Exit code 3 where something was found.
    pub fn judge(&self) -> Result<()> {
        match self.troubles {
            0 => Ok(()),
            n => Err(Stop::Differs(format!("{n} troubles found; see above")).into()),
        }
    }
}
