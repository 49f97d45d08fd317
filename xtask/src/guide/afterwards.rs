//! What shows that an item of the guide's last two lists is done: the services have taken over, and what was looked at
//! was looked at since.

use super::facts::{Evidence, Facts, OneRun, cut_over, done, open};
use crate::effects::clock;
use crate::model::grouped;
use crate::operations::monitor::{StoreBackup, seconds, store_backups};
use crate::run::manifest::Proof;
use crate::settings::human;
use crate::shown::utc;
use crate::steps::StepName;
use anyhow::Result;
use std::time::Duration;

impl Facts<'_> {
    /// The proof of stores that the services work on.
    fn proof_after<'r>(&self, run: &'r OneRun) -> Result<&'r Proof, Evidence> {
        let verify = format!("verify --run {}", run.dir.id());
        let cutover = cut_over(run).map_err(|why| open(why, verify.clone()))?;
        let proof = self.proof(run)?;
        match proof.finished > cutover.at {
            true => Ok(proof),
            false => Err(open(
                format!("the proof, of {}, is from before the cut-over", utc(&proof.finished)),
                verify,
            )),
        }
    }

    pub(super) fn counts(&self, run: &OneRun) -> Evidence {
        let proof = match self.proof_after(run) {
            Ok(proof) => proof,
            Err(open) => return open,
        };
        let wrong = proof.tables.iter().find(|(_, table)| !table.is_green());
        match wrong {
            Some((name, table)) => {
                let (found, expected) = (grouped(table.found_rows), grouped(table.expected_rows));
                self.red(run, format!("{name}: {found} rows of {expected}"), proof)
            }
            None if proof.tables.is_empty() => self.red(run, "no table was looked at".to_string(), proof),
            None => {
                let rows: u64 = proof.tables.values().map(|table| table.expected_rows).sum();
                done(
                    format!("{} tables, {} rows and documents", proof.tables.len(), grouped(rows)),
                    &proof.finished,
                )
            }
        }
    }

    pub(super) fn integrity(&self, run: &OneRun) -> Evidence {
        let proof = match self.proof_after(run) {
            Ok(proof) => proof,
            Err(open) => return open,
        };
        match proof.checks.iter().find(|check| !check.is_green()) {
            Some(check) => self.red(run, format!("{}: {} findings", check.name, check.wrong), proof),
            None if proof.checks.is_empty() => self.red(run, "nothing was checked".to_string(), proof),
            None => done(format!("{} checks", proof.checks.len()), &proof.finished),
        }
    }

    /// `smoke` or `perf`, after the cut-over; `soak`: for so long.
    pub(super) fn asked(
        &self,
        run: &OneRun,
        step: &StepName,
        command: &str,
        soak: Option<Duration>,
    ) -> Evidence {
        let then = format!("{command} --run {}", run.dir.id());
        let then = if command == "smoke" { self.confirmed(&then) } else { then };
        let cutover = match cut_over(run) {
            Ok(cutover) => cutover,
            Err(why) => return open(why, then),
        };
        let late = |at: &str| match (seconds(at), seconds(&cutover.at), soak) {
            (Ok(at), Ok(cut), soak) => at >= cut + soak.unwrap_or_default().as_secs_f64(),
            _ => false,
        };
        match run.last(step) {
            Some((at, true, detail)) if late(at) => done(detail.to_string(), at),
            Some((at, true, _)) => {
                let wanted = soak.map_or(String::new(), |soak| format!("{} after ", human(soak)));
                open(
                    format!(
                        "the last, of {}, is not from {wanted}the cut-over of {}",
                        utc(at),
                        utc(&cutover.at)
                    ),
                    then,
                )
            }
            Some((at, false, detail)) => {
                open(format!("the last, of {}, did not pass: {detail}", utc(at)), then)
            }
            None => open("it is not noted in the run's journal", then),
        }
    }

    pub(super) fn store_backups(&self, run: &OneRun) -> Result<Evidence> {
        let backup = "backup --target all".to_string();
        let cutover = match cut_over(run) {
            Ok(cutover) => cutover,
            Err(why) => return Ok(open(why, backup)),
        };
        let (since, now, limits) = (seconds(&cutover.at)?, clock::seconds_now(), &self.settings.monitor);
        let stores = store_backups(self.runs, &self.settings.environment)?;
        let lacks = |good: &dyn Fn(&StoreBackup) -> bool| {
            let names: Vec<&str> =
                stores.iter().filter(|store| !good(store)).map(|store| store.target).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let young = |taken: f64, limit: f64| taken > since && now - taken < limit;
        let age = human(Duration::from_secs_f64(limits.backup.critical));
        if let Some(names) = lacks(&|store| {
            store.newest.as_ref().is_some_and(|kept| young(kept.taken, limits.backup.critical))
        }) {
            let why = format!("no backup from after the cut-over that is younger than {age}: {names}");
            return Ok(open(why, backup));
        }
        let held = |store: &StoreBackup| {
            let newest = store.newest.as_ref().and_then(|kept| kept.drill);
            let drilled = store.drilled.as_ref().is_some_and(|kept| young(kept.taken, limits.drill.critical));
            newest.is_none_or(|(_, green)| green) && drilled
        };
        if let Some(names) = lacks(&held) {
            return Ok(open(
                format!("no backup that a drill has restored: {names}"),
                "restore-drill".to_string(),
            ));
        }
        if stores.is_empty() {
            return Ok(open("no store was looked at", backup));
        }
        let what = format!(
            "{} stores: each has a backup younger than {age}, and one that a drill restored",
            stores.len()
        );
        Ok(done(what, &clock::now()))
    }

    pub(super) fn archive(&self, run: &OneRun) -> Evidence {
        let archive = run.record.archive.as_ref();
        match archive.and_then(|archive| Some((archive, archive.proven.as_ref()?))) {
            Some((archive, (at, _))) => done(format!("archive/{}, restored and found equal", archive.id), at),
            None => {
                let then = self.confirmed(&format!("decommission --run {}", run.dir.id()));
                open("there is no archive that was restored and found equal", then)
            }
        }
    }

    pub(super) fn dropped(&self, run: &OneRun) -> Evidence {
        let decommission = format!("decommission --run {}", run.dir.id());
        match (&run.record.dropped, &run.record.retired) {
            (Some(at), retired) => {
                let name = retired.as_ref().map_or("the old database", |retired| &retired.name);
                done(format!("{name} is dropped"), at)
            }
            (None, Some(retired)) => open(
                format!("it is called {} since {}", retired.name, utc(&retired.at)),
                format!("{decommission} --drop --confirm {}", retired.name),
            ),
            (None, None) => open("the old database is in its place", self.confirmed(&decommission)),
        }
    }
}
