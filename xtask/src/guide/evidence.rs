//! What shows that an item of the guide's first two lists is done, from the files of the run and of its environment; and
//! what takes it back: another run, files that have changed, a proof that is older than what it proves.

use super::facts::{Evidence, Facts, OneRun, done, open};
use super::items::ShownBy;
use crate::effects::clock;
use crate::model::{Database, Service, grouped};
use crate::run::dir;
use crate::run::freeze_log::FreezeLog;
use crate::shown::utc;
use crate::steps::StepName;
use crate::tables::TABLES;
use anyhow::Result;

impl Facts<'_> {
    /// `None`: only people know.
    pub fn of(&self, shown_by: ShownBy) -> Result<Option<Evidence>> {
        Ok(Some(match shown_by {
            ShownBy::People(_) | ShownBy::Documentation => return Ok(None),
            ShownBy::Firestore => self.firestore(|answer| answer.to_string()),
            ShownBy::Credentials => self.firestore(|_| self.credentials()),
            ShownBy::Freeze => self.freeze()?,
            ShownBy::StoreBackups => self.with_run(|run| self.store_backups(run))?,
            ShownBy::Backup => self.with_run(|run| self.backup(run))?,
            ShownBy::WholeBackup => self.with_run(|run| self.whole_backup(run))?,
            ShownBy::RecordCounts => self.with_run(|run| self.record_counts(run))?,
            ShownBy::Export => self.with_run(|run| self.export(run))?,
            ShownBy::Documents => self.with_run(|run| Ok(self.imported(run, None)))?,
            ShownBy::Product => self.with_run(|run| Ok(self.imported(run, Some(Database::Product))))?,
            ShownBy::Order => self.with_run(|run| Ok(self.imported(run, Some(Database::Order))))?,
            ShownBy::Gateway => self.with_run(|run| Ok(self.imported(run, Some(Database::Gateway))))?,
            ShownBy::Sequences => self.with_run(|run| Ok(self.sequences(run)))?,
            ShownBy::Counts => self.with_run(|run| Ok(self.counts(run)))?,
            ShownBy::Integrity => self.with_run(|run| Ok(self.integrity(run)))?,
            ShownBy::Smoke => self.with_run(|run| Ok(self.asked(run, &StepName::Smoke, "smoke", None)))?,
            ShownBy::Performance => {
                self.with_run(|run| Ok(self.asked(run, &StepName::Perf, "perf", None)))?
            }
            ShownBy::PerformanceLater => {
                let soak = Some(self.settings.decommission.soak);
                self.with_run(|run| Ok(self.asked(run, &StepName::Perf, "perf", soak)))?
            }
            ShownBy::Archive => self.with_run(|run| Ok(self.archive(run)))?,
            ShownBy::Dropped => self.with_run(|run| Ok(self.dropped(run)))?,
        }))
    }

    fn with_run(&self, look: impl FnOnce(&OneRun) -> Result<Evidence>) -> Result<Evidence> {
        match &self.run {
            Some(run) => look(run),
            None => Ok(open("there is no run of this environment yet", self.confirmed("migrate"))),
        }
    }

    fn firestore(&self, what: impl FnOnce(&str) -> String) -> Evidence {
        match &self.firestore {
            Ok(answer) => done(what(answer), &clock::now()),
            Err(why) => open(why.clone(), "doctor".to_string()),
        }
    }

    fn credentials(&self) -> String {
        let firestore = &self.settings.firestore;
        match (&firestore.emulator, &firestore.credentials) {
            (Some(_), _) => "an emulator needs none".to_string(),
            (None, Some(key)) => format!("Firestore takes those of {}", key.display()),
            (None, None) => "Firestore takes the application default credentials".to_string(),
        }
    }

    fn backup(&self, run: &OneRun) -> Result<Evidence> {
        let Some(backup) = &run.manifest.backup else {
            return Ok(open(format!("run {} has no complete backup", run.dir.id()), self.goes_on(run)));
        };
        // Their contents are the next item's.
        let wrong = backup.files.iter().find_map(|(name, info)| {
            let found = std::fs::metadata(run.dir.file(name)).map(|file| file.len());
            match found {
                Ok(bytes) if bytes == info.bytes => None,
                Ok(bytes) => {
                    Some(format!("{name} has {bytes} bytes, and not the {} that were written", info.bytes))
                }
                Err(error) => Some(format!("{name}: {error}")),
            }
        });
        if let Some(wrong) = wrong {
            return Ok(open(wrong, "backup".to_string()));
        }
        let bytes: u64 = backup.files.values().map(|info| info.bytes).sum();
        let what = format!("run {}: {} files, {} bytes", run.dir.id(), backup.files.len(), grouped(bytes));
        Ok(done(what, &backup.snapshot.taken))
    }

    fn whole_backup(&self, run: &OneRun) -> Result<Evidence> {
        let Some(backup) = &run.manifest.backup else {
            return Ok(open(format!("run {} has no complete backup", run.dir.id()), self.goes_on(run)));
        };
        if let Some(damaged) = dir::damaged_files(&run.dir, &backup.files).into_iter().next() {
            return Ok(open(damaged, "backup".to_string()));
        }
        let what = "the dump was read back whole; all files have their SHA-256";
        Ok(match run.done(&StepName::Restore) {
            Some((at, _)) => done(format!("{what}; restored, and the result proven"), at),
            None => done(
                what.to_string(),
                run.done(&StepName::Backup).map_or(&backup.snapshot.taken, |(at, _)| at),
            ),
        })
    }

    fn record_counts(&self, run: &OneRun) -> Result<Evidence> {
        const FILE: &str = "record_counts.txt";
        let found = run.manifest.backup.as_ref().and_then(|backup| Some((backup, backup.files.get(FILE)?)));
        let Some((backup, info)) = found else {
            return Ok(open(format!("run {} has no {FILE}", run.dir.id()), self.goes_on(run)));
        };
        if let Some(damage) = dir::damage(&run.dir, FILE, info) {
            return Ok(open(format!("{FILE}{damage}"), "backup".to_string()));
        }
        let rows: u64 = backup.raw.values().map(|table| table.rows).sum();
        let what = format!("{FILE}: {} tables, {} rows", backup.raw.len(), grouped(rows));
        Ok(done(what, &backup.snapshot.taken))
    }

    fn freeze(&self) -> Result<Evidence> {
        if let Some(at) = self.run.as_ref().and_then(|run| run.record.dropped.as_ref()) {
            return Ok(done("the old database has been dropped".to_string(), at));
        }
        let open_freeze = FreezeLog::at(self.runs).open(&FreezeLog::name_of(&self.settings.source))?;
        let id = self.run.as_ref().map(|run| run.dir.id());
        Ok(match open_freeze {
            Some(freeze) if freeze.cutover.is_none() || freeze.cutover.as_deref() == id => {
                done(format!("{} is read-only", self.settings.source.database), &freeze.at)
            }
            Some(freeze) => open(
                format!("the source was frozen for run {}, another one", freeze.cutover.unwrap_or_default()),
                self.confirmed("freeze"),
            ),
            None => open("the source is not frozen", self.confirmed("freeze")),
        })
    }

    fn export(&self, run: &OneRun) -> Result<Evidence> {
        let Some(export) = &run.manifest.export else {
            return Ok(open(format!("run {} has no complete export", run.dir.id()), self.goes_on(run)));
        };
        if let Some(changed) = self.source_has_changed() {
            return Ok(changed);
        }
        if let Some(damaged) = dir::damaged_files(&run.dir, &export.files).into_iter().next() {
            return Ok(open(damaged, self.confirmed("migrate --replace")));
        }
        let rows: u64 = export.tables.values().map(|table| table.source_rows).sum();
        let what = format!("{} tables, {} rows, in one snapshot", export.tables.len(), grouped(rows));
        Ok(done(what, &export.snapshot.taken))
    }

    fn source_has_changed(&self) -> Option<Evidence> {
        let check = self.source.as_ref()?;
        if let Some(unknown) = &check.unknown {
            let why =
                format!("whether the source has changed since the snapshot could not be seen: {unknown}");
            return Some(open(why, "doctor".to_string()));
        }
        let (table, change) = check.changed.iter().next()?;
        let more = if check.changed.len() > 1 { ", and others" } else { "" };
        let why = format!("the source has changed since the snapshot: {table}: {change}{more}");
        Some(open(why, self.confirmed("migrate --replace")))
    }

    /// `None`: into Firestore.
    fn imported(&self, run: &OneRun, database: Option<Database>) -> Evidence {
        if let Some(taken) = self.taken_back(run) {
            return taken;
        }
        let (step, service) = match database {
            None => (StepName::Firestore, Service::User),
            Some(database) => (StepName::ImportDatabase(database), database.service()),
        };
        if let Some(back) = run.manifest.services_back.iter().find(|back| back.service == service) {
            let why = format!("{} went back to the old database at {}", service.name(), utc(&back.at));
            return open(why, self.confirmed("migrate --replace"));
        }
        let Some(export) = &run.manifest.export else {
            return open(format!("run {} has no complete export", run.dir.id()), self.goes_on(run));
        };
        match run.done(&step) {
            Some((at, _)) if at > export.snapshot.taken.as_str() => {
                let home = |name: &str| TABLES.iter().find(|t| t.name == name).map(|t| t.database());
                let here = export.tables.iter().filter(|(name, _)| home(name) == Some(database));
                let rows: u64 = here.map(|(_, table)| table.content.total().rows).sum();
                done(format!("run {}: {} rows", run.dir.id(), grouped(rows)), at)
            }
            _ => open(format!("run {} has not come to its end there", run.dir.id()), self.goes_on(run)),
        }
    }

    fn sequences(&self, run: &OneRun) -> Evidence {
        let proof = match self.proof(run) {
            Ok(proof) => proof,
            Err(open) => return open,
        };
        match proof.checks.iter().find(|check| check.name == "sequences") {
            Some(check) if check.is_green() => done(check.looked_at.clone(), &proof.finished),
            Some(check) => {
                self.red(run, format!("{} of the {} are wrong", check.wrong, check.looked_at), proof)
            }
            None => open("the proof has not looked at them", format!("verify --run {}", run.dir.id())),
        }
    }
}
