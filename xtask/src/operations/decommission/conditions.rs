//! What has to hold before the old database may be retired: each with what was found, and how it is met.

use super::archive;
use super::quiet::quiet;
use super::record::{Record, Sample};
use super::server::{Old, Rights};
use crate::effects::clock;
use crate::health::{Line, Lines, Verdict};
use crate::operations::monitor::{Kept, StoreBackup, seconds, store_backups};
use crate::run::ctx::Ctx;
use crate::run::manifest::{Cutover, Manifest, Proof};
use crate::settings::human;
use crate::shown::utc;
use anyhow::Result;
use std::time::Duration;

/// What was looked at, once.
pub(super) struct Look<'a> {
    pub ctx: &'a Ctx,
    pub manifest: &'a Manifest,
    pub record: &'a Record,
    pub sample: &'a Sample,
    pub rights: Rights,
    pub hanging: Vec<String>,
}

impl<'a> Look<'a> {
    pub async fn at(
        ctx: &'a Ctx,
        manifest: &'a Manifest,
        record: &'a Record,
        sample: &'a Sample,
        old: &mut Old,
    ) -> Result<Look<'a>> {
        let database = old.database.clone();
        let (rights, hanging) = (old.rights(&database).await?, old.hanging(&database).await?);
        Ok(Look { ctx, manifest, record, sample, rights, hanging })
    }

    /// All of them, whether they hold or not.
    pub fn conditions(&self) -> Result<Vec<Line>> {
        let mut lines = Lines::of(&self.ctx.settings.source.database);
        let Some(cutover) = taken_over(self.manifest) else {
            let fix = self.ctx.run.id();
            lines.not_met(
                "cut-over",
                not_taken_over(self.manifest),
                format!("cargo xtask cutover --run {fix}"),
            );
            lines.not_looked_at(
                &["soak time", "verify", "drills", "no session"],
                "the services have not taken over",
            );
            return Ok(lines.lines);
        };
        lines.met("cut-over", format!("the services took over at {}", utc(&cutover.at)));
        self.soak(&mut lines, cutover)?;
        self.verify(&mut lines, cutover)?;
        self.drills(&mut lines, cutover)?;
        self.sessions(&mut lines)?;
        self.server(&mut lines);
        self.room(&mut lines)?;
        Ok(lines.lines)
    }

    fn soak(&self, lines: &mut Lines, cutover: &Cutover) -> Result<()> {
        let (soak, passed) =
            (self.ctx.settings.decommission.soak, clock::seconds_now() - seconds(&cutover.at)?);
        let passed = Duration::from_secs_f64(passed.max(0.0));
        let said = format!("{} of {} have passed", human(passed), human(soak));
        match passed >= soak {
            true => lines.met("soak time", said),
            false => lines.not_met("soak time", said, format!("wait for {}", human(soak - passed))),
        }
        Ok(())
    }

    fn verify(&self, lines: &mut Lines, cutover: &Cutover) -> Result<()> {
        let fix = format!("cargo xtask verify --run {}", self.ctx.run.id());
        let after = |proof: &Proof| Ok::<_, anyhow::Error>(seconds(&proof.finished)? > seconds(&cutover.at)?);
        match &self.manifest.proof {
            Some(proof) if !after(proof)? => {
                lines.not_met(
                    "verify",
                    format!("the newest is of {}, before the cut-over", utc(&proof.finished)),
                    fix,
                );
            }
            Some(proof) if !proof.is_green() => {
                lines.not_met("verify", format!("the newest, of {}, is red", utc(&proof.finished)), fix);
            }
            Some(proof) => lines.met("verify", format!("green at {}", utc(&proof.finished))),
            None => lines.not_met("verify", "there is none", fix),
        }
        Ok(())
    }

    /// Without a backup that is known to restore the old database is the only copy of much of it.
    fn drills(&self, lines: &mut Lines, cutover: &Cutover) -> Result<()> {
        let since = seconds(&cutover.at)?;
        let held = |store: &StoreBackup| {
            let newest = store.newest.as_ref().and_then(|kept| kept.drill);
            let good = |kept: &Kept| kept.taken > since;
            newest.is_none_or(|(_, green)| green) && store.drilled.as_ref().is_some_and(good)
        };
        let stores = store_backups(self.ctx.run.runs(), &self.ctx.settings.environment)?;
        let missing: Vec<&str> =
            stores.iter().filter(|store| !held(store)).map(|store| store.target).collect();
        match missing.is_empty() {
            true => lines.met("drills", "a backup of each store from after the cut-over has been restored"),
            false => lines.not_met(
                "drills",
                format!(
                    "no backup from after the cut-over that a drill has restored: {}",
                    missing.join(", ")
                ),
                "cargo xtask backup --target all, then cargo xtask restore-drill",
            ),
        }
        Ok(())
    }

    fn sessions(&self, lines: &mut Lines) -> Result<()> {
        const WHAT: &str = "no session";
        let (wanted, record) = (&self.ctx.settings.decommission, self.record);
        let Some(closed) = &record.closed else {
            let fix = "the next call without --dry-run takes CONNECT away, which --undo gives back";
            lines.not_met(WHAT, "others are still let in", fix);
            return Ok(());
        };
        if let Some(at) = record.quiet_until(wanted.quiet).filter(|_| self.sample.others.is_empty()) {
            lines.met(WHAT, format!("nobody was there for {} until {}", human(wanted.quiet), utc(at)));
            return Ok(());
        }
        let seen = quiet(&samples(record, self.sample))?;
        let quiet = Duration::from_secs_f64(seen.seconds.max(0.0));
        let mut said = format!(
            "closed at {}; nobody was there for {} of {}, looked at in {} of {} different hours",
            utc(&closed.at),
            human(quiet),
            human(wanted.quiet),
            seen.hours,
            wanted.samples
        );
        if let Some(broken) = seen.broken {
            said += &format!("; {broken}");
        }
        if !self.rights.let_in.is_empty() {
            said += &format!("; still let in: {}", self.rights.let_in.join(", "));
        }
        match quiet >= wanted.quiet && seen.hours >= wanted.samples {
            true => lines.met(WHAT, said),
            false => lines.not_met(
                WHAT,
                said,
                "each call looks, and so does `cargo xtask monitor --once`: let that run by the hour",
            ),
        }
        Ok(())
    }

    fn server(&self, lines: &mut Lines) {
        match &self.rights.lacks {
            Some(lacks) => lines.not_met("rights", lacks.clone(), "as a superuser of that server"),
            None => lines.met("rights", "this role may close and rename it"),
        }
        match &self.hanging[..] {
            [] => lines.met("nothing hangs on it", "no slot, subscription, worker or prepared transaction"),
            some => lines.not_met("nothing hangs on it", some.join("; "), "as it says"),
        }
    }

    fn room(&self, lines: &mut Lines) -> Result<()> {
        let Some(backup) = &self.manifest.backup else { return Ok(()) };
        match archive::room(self.ctx, backup)? {
            Some(said) => lines.not_met("room", said, "make room, or name another place with --backup-dir"),
            None => {
                lines.met("room", format!("for the archive, in {}", archive::directory(self.ctx).display()))
            }
        }
        Ok(())
    }
}

/// Those that were recorded, and the one of now.
fn samples(record: &Record, now: &Sample) -> Vec<Sample> {
    record.samples.iter().chain([now]).cloned().collect()
}

/// When the services took over all of it, and still have it.
pub(super) fn taken_over(manifest: &Manifest) -> Option<&Cutover> {
    manifest.cutover.as_ref().filter(|_| manifest.services_back.is_empty())
}

fn not_taken_over(manifest: &Manifest) -> String {
    match (&manifest.cutover, &manifest.services_back[..]) {
        (Some(_), back) if !back.is_empty() => {
            let names = back.iter().map(|back| back.service.name()).collect::<Vec<_>>().join(", ");
            format!("{names} has gone back to the old database")
        }
        _ if !manifest.rolled_back.is_empty() => "it was taken back: the old database is in use".to_string(),
        _ => "the run is not cut over".to_string(),
    }
}

pub(super) fn hold(conditions: &[Line]) -> bool {
    conditions.iter().all(|line| line.verdict == Verdict::Met)
}

/// A line each, with ✓ or ✗, and beneath how it is met.
pub(super) fn text(conditions: &[Line]) -> String {
    let mut out = String::new();
    for line in conditions {
        let mark = match line.verdict {
            Verdict::Met => "✓",
            Verdict::Warning | Verdict::NotMet => "✗",
            Verdict::NotLookedAt => "–",
        };
        out += &format!("  {mark} {:<19} {}\n", line.what, line.found);
        out += &line.fix.iter().map(|fix| format!("      → {fix}\n")).collect::<String>();
    }
    out
}
