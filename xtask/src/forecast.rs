//! What a migration will come to, before it begins: rows and rules, hazards, time, disk, and what
//! Firestore charges. Pure.

use crate::hazards::{self, Found};
use crate::ledger::{self, Outcomes};
use crate::model::{Existing, grouped};
use crate::timing::{PassSeconds, Seconds, Timing};
use serde::Serialize;

/// What was measured in a moment, without changing anything.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds in which the source would read all tables out once, as many at a time as in a run.
    pub reading: f64,
    pub rows: u64,
    /// Bytes of a row in its file, times rows, of all tables.
    pub file_bytes: f64,
    /// Seconds at least of the export, because the source may not be read faster.
    pub floor: f64,
}

/// Where the documents go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Writing {
    /// An emulator shares the processors with the other servers.
    Emulator,
    /// A real project has its own, and a rule for how fast one may write.
    Project {
        /// Seconds at least.
        floor: f64,
        /// Seconds that it takes to answer.
        answer: f64,
        /// Documents that are under way at once, to be written and to be read.
        writes: usize,
        reads: usize,
    },
}

/// What a step costs, in readings of the same rows. Properties of the work, not of a machine: a machine
/// twice as fast is so for both.
///
/// What was learnt: an emulator that has just been started answers some ten times more slowly than a
/// second later, so that asking it says nothing.
mod ratio {
    /// Phases 1 and 2: each table is read out, audited, digested and dumped, and the dump is read back.
    pub const EXPORT: f64 = 3.5;
    /// Rows, keys, indexes, proof and statistics.
    pub const LOAD: f64 = 2.6;
    /// Files, references and what has changed since; beside them every table of the source once more.
    pub const VERIFY: f64 = 2.1;
    /// A document is taken, stored and indexed by an emulator: in readings of one row.
    pub const WRITE: f64 = 24.0;
    /// A document is found and sent by an emulator, and compared.
    pub const READ: f64 = 10.7;
    /// A pass looks at the versions of every row of the source, then, to find what depends on what has changed, at
    /// some of its tables whole, and at the versions of every row of the databases.
    pub const PASS_LOOK: f64 = 0.15;
    pub const PASS_READ: f64 = 0.25;
    pub const PASS_COMPARE: f64 = 0.2;
}

/// What a run takes however few rows there are, in seconds: sessions, catalogues, definitions, programs that
/// start. The only figures here that are a machine's (one with two cores); rows soon outweigh them.
mod fixed {
    pub const EXPORT: f64 = 0.8;
    pub const IMPORT: f64 = 0.6;
    pub const VERIFY: f64 = 0.5;
    pub const PASS_READ: f64 = 0.3;
    pub const PASS_COMPARE: f64 = 0.3;
}

/// Seconds of a run by a sample.
pub fn seconds(sample: &Sample, documents: u64, writing: Writing) -> Seconds {
    let documents = documents as f64;
    let row = if sample.rows > 0 { sample.reading / sample.rows as f64 } else { 0.0 };
    let load = fixed::IMPORT + sample.reading * ratio::LOAD;
    let check = fixed::VERIFY + sample.reading * ratio::VERIFY;
    let (import, verify) = match writing {
        Writing::Emulator => (load + documents * row * ratio::WRITE, check + documents * row * ratio::READ),
        Writing::Project { floor, answer, writes, reads } => {
            let calls = |at_once: usize| documents / at_once.max(1) as f64;
            (load.max(floor).max(calls(writes) * answer), check.max(calls(reads) * answer))
        }
    };
    let export = (fixed::EXPORT + sample.reading * ratio::EXPORT).max(sample.floor);
    Seconds { export, import, verify }
}

/// A pass by a sample: looks at all tables. How much a shop writes is not known before it has been caught up with.
pub fn pass(sample: &Sample) -> PassSeconds {
    PassSeconds {
        look: sample.reading * ratio::PASS_LOOK,
        read: fixed::PASS_READ + sample.reading * ratio::PASS_READ,
        compare: fixed::PASS_COMPARE + sample.reading * ratio::PASS_COMPARE,
        write: 0.0,
    }
}

/// What a table comes to.
#[derive(Clone, Debug, Serialize)]
pub struct TablePlan {
    pub table: String,
    pub rows: u64,
    /// On the source's disk.
    pub bytes: u64,
    pub outcomes: Outcomes,
}

/// A collection before a run writes to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collection {
    /// That will be written.
    pub documents: u64,
    /// That are there already.
    pub there: u64,
}

/// How often the same run has begun to write and to verify before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begun {
    pub imports: u64,
    pub verifications: u64,
}

/// What Google charges, per 100,000 documents.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    pub reads: f64,
    pub writes: f64,
    pub deletes: f64,
    /// `USD`
    pub currency: String,
}

/// What Firestore is asked for, and what it charges.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Documents {
    pub writes: u64,
    pub reads: u64,
    pub deletes: u64,
    /// `None`: no prices are known.
    pub price: Option<f64>,
    pub currency: Option<String>,
    pub max_cost: Option<f64>,
    /// The least that Google's rule for new collections lets it take.
    pub floor_seconds: Option<f64>,
}

impl Documents {
    /// Of a whole run, with what it has asked for before it was cut off.
    pub fn new(collections: &[Collection], existing: Existing, begun: Begun) -> Documents {
        let mut all = Documents { reads: CONNECTIONS, ..Documents::default() };
        for Collection { documents, there } in collections.iter().copied() {
            // A count is charged as a read for each thousand, one at least: twice before, once after.
            let counts = |n: u64| n.div_ceil(1_000).max(1);
            all.writes += documents;
            // Each document once for its proof.
            all.reads += documents + counts(documents) + 2 * counts(there);
            if there > 0 {
                // What is there is compared before anything is written, and once more right before.
                all.reads += 2 * documents;
            }
            if there > 0 && existing == Existing::Replace {
                // Compared twice with what an earlier run wrote, listed twice, and read before it goes.
                all.reads += 5 * there;
                all.deletes += there;
            }
            all.writes += begun.imports * there;
            all.reads += 2 * begun.imports.saturating_sub(1) * documents + begun.verifications * documents;
        }
        all
    }

    pub fn priced(self, prices: Option<&Prices>, max_cost: Option<f64>) -> Documents {
        let each = |n: u64, price: f64| n as f64 * price / 100_000.0;
        let price = prices
            .map(|p| each(self.writes, p.writes) + each(self.reads, p.reads) + each(self.deletes, p.deletes));
        Documents { price, currency: prices.map(|p| p.currency.clone()), max_cost, ..self }
    }

    /// What is wrong with the price, if anything is.
    pub fn too_expensive(&self) -> Option<String> {
        let (price, max) = (self.price?, self.max_cost?);
        let currency = self.currency.as_deref().unwrap_or_default();
        let [writes, reads, deletes] = [self.writes, self.reads, self.deletes].map(grouped);
        (price > max).then(|| {
            format!(
                "{writes} writes, {reads} reads and {deletes} deletes of documents cost about {price:.2} \
                 {currency}, firestore.max_cost is {max:.2}: raise it in the environment file, or migrate \
                 fewer users and sessions"
            )
        })
    }
}

/// Connections of a run to Firestore, each of which asks for one document.
const CONNECTIONS: u64 = 4;

/// Everything that can be said before a run.
#[derive(Clone, Debug, Serialize)]
pub struct Forecast {
    pub tables: Vec<TablePlan>,
    pub hazards: Vec<Found>,
    /// Why `migrate` would be refused now.
    pub obstacles: Vec<String>,
    pub quarantined: u64,
    pub max_quarantine: Option<u64>,
    pub documents: Documents,
    pub sample: Sample,
    pub timing: Timing,
    pub freeze: Freeze,
    pub disk: Disk,
}

/// For how long a cut-over after passes of `catch-up` would make the source read-only.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Freeze {
    pub seconds: f64,
    /// By a pass of an earlier run on these hosts; else by the sample alone.
    pub by_a_pass: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct Disk {
    pub directory: String,
    /// At most.
    pub needed: u64,
    pub free: u64,
}

impl Disk {
    /// Why a run's files have no room.
    pub fn too_small(&self) -> Option<String> {
        let Disk { directory, needed, free } = self;
        (free < needed).then(|| {
            format!(
                "{directory} has {} bytes free, and the run's files may need {}: name a directory with more room, \
                 --backup-dir DIR",
                grouped(*free),
                grouped(*needed)
            )
        })
    }
}

/// Why no target would be written: more rows would be quarantined than are allowed. `tables`: how many of each.
pub fn too_many_quarantined<'a>(
    tables: impl IntoIterator<Item = (&'a str, u64)>,
    limit: Option<u64>,
) -> Option<String> {
    let some: Vec<(&str, u64)> = tables.into_iter().filter(|(_, rows)| *rows > 0).collect();
    let all: u64 = some.iter().map(|(_, rows)| rows).sum();
    let limit = limit.filter(|limit| all > *limit)?;
    let each: Vec<String> = some.iter().map(|(table, rows)| format!("{table} {}", grouped(*rows))).collect();
    Some(format!(
        "{} rows exceed the limit of {} ({}). `cargo xtask plan --max-quarantine {limit}` names them, and why. Fix them in \
         the source, or let them stay behind: --max-quarantine {all}",
        grouped(all),
        grouped(limit),
        each.join(", ")
    ))
}

impl Forecast {
    /// Whether more rows would be quarantined than are allowed.
    pub fn too_many_quarantined(&self) -> Option<String> {
        let tables = self.tables.iter().map(|plan| (plan.table.as_str(), plan.outcomes.sums().quarantined));
        too_many_quarantined(tables, self.max_quarantine)
    }

    pub fn text(&self) -> String {
        [self.rows(), self.rules(), self.dangers(), self.time(), self.means(), self.refusals()].concat()
    }

    fn rows(&self) -> String {
        let mut out = format!(
            "{:<17} {:>12} {:>15} {:>12} {:>10} {:>11}\n",
            "table", "rows =", "migrated +", "excluded +", "quarantined", "bytes"
        );
        for table in &self.tables {
            let sums = table.outcomes.sums();
            let [rows, migrated, excluded, quarantined, bytes] =
                [table.rows, sums.migrated, sums.excluded, sums.quarantined, table.bytes].map(grouped);
            out += &format!(
                "{:<17} {rows:>12} {migrated:>15} {excluded:>12} {quarantined:>10} {bytes:>12}\n",
                table.table
            );
        }
        out
    }

    fn rules(&self) -> String {
        let lines = self.tables.iter().map(|plan| ledger::left_behind(&plan.table, &plan.outcomes.rows));
        format!("Not migrated\n{}", lines.collect::<String>())
    }

    fn dangers(&self) -> String {
        match self.hazards[..] {
            [] => "No hazards in the source\n".to_string(),
            _ => format!("Hazards in the source\n{}", hazards::text(&self.hazards)),
        }
    }

    fn time(&self) -> String {
        let mut out = String::from("Time\n");
        for (part, seconds) in self.timing.predicted.by_part() {
            out += &format!("  {part:<28} {seconds:>7.1} s\n");
        }
        if let Some(floor) = self.documents.floor_seconds {
            out += &format!(
                "  at least {floor:.0} s of it, because a new collection takes 500 documents a second, half as \
                 many again every five minutes\n"
            );
        }
        out += &match self.timing.earlier_runs {
            0 => "  from a sample of the source: nothing is known yet of the targets' speed on these hosts\n"
                .to_string(),
            n => format!("  from a sample, corrected by what {n} earlier runs on these hosts took\n"),
        };
        let Freeze { seconds, by_a_pass } = self.freeze;
        out += &format!("  {:<28} {seconds:>7.1} s\n", "read-only, after catch-up");
        out += match by_a_pass {
            true => "  by what the newest pass on these hosts took\n",
            false => "  to look at every table; what the shop writes meanwhile comes on top\n",
        };
        out
    }

    fn means(&self) -> String {
        let Documents { writes, reads, deletes, price, currency, .. } = &self.documents;
        let [writes, reads, deletes] = [writes, reads, deletes].map(|n| grouped(*n));
        let price = match (price, currency) {
            (Some(price), Some(currency)) => format!("about {price:.2} {currency}"),
            _ => "no prices in the environment file ([firestore.prices])".to_string(),
        };
        let Disk { directory, needed, free } = &self.disk;
        let enough = if free < needed { " ✗ too little" } else { "" };
        format!(
            "Firestore\n  {writes} writes, {reads} reads, {deletes} deletes: {price}\n\
             Disk\n  {} bytes at most in {directory}, {} are free{enough}\n",
            grouped(*needed),
            grouped(*free)
        )
    }

    fn refusals(&self) -> String {
        let mut out = String::new();
        for obstacle in self.obstacles.iter().cloned().chain(hazards::blocking(&self.hazards)) {
            out += &format!("  ✗ {obstacle}\n");
        }
        if let Some(too_small) = self.disk.too_small() {
            out += &format!("  ✗ {too_small}\n");
        }
        if let Some(too_many) = self.too_many_quarantined() {
            out += &format!("  ✗ too many rows in quarantine: {too_many}\n");
        }
        if out.is_empty() { out } else { format!("migrate would be refused\n{out}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(hosts: &str, sampled: f64, real: Option<f64>) -> Timing {
        let all = |s| Seconds { export: s, import: s, verify: s };
        let (sampled, real) = (all(sampled), real.map(all));
        Timing { hosts: hosts.into(), rows: 1_000, sampled, predicted: sampled, earlier_runs: 0, real }
    }

    #[test]
    fn earlier_runs_on_the_same_hosts_correct_the_sample() {
        let sampled = Seconds { export: 10.0, import: 20.0, verify: 5.0 };
        let alone = Timing::new("a".into(), 1_500, sampled, &[]);
        assert_eq!((alone.predicted, alone.earlier_runs), (sampled, 0));
        let earlier = [
            timing("a", 10.0, Some(20.0)),
            timing("b", 10.0, Some(90.0)), // elsewhere
            timing("a", 10.0, None),       // did not come to its end
            timing("a", 10.0, Some(80.0)), // an exception: the median does not follow it
            timing("a", 10.0, Some(20.0)),
        ];
        let corrected = Timing::new("a".into(), 1_500, sampled, &earlier);
        assert_eq!(corrected.earlier_runs, 3);
        // Twice the sample, and 30 s: what earlier runs took, for half as many rows again.
        let mean = |sampled: f64| (2.0 * sampled * 30.0).sqrt();
        let expected = Seconds { export: mean(10.0), import: mean(20.0), verify: mean(5.0) };
        assert_eq!(corrected.predicted, expected);
        // A part that took no time says nothing.
        let nothing = Timing::new("a".into(), 1_500, sampled, &[timing("a", 0.0, Some(0.0))]);
        assert_eq!(nothing.predicted, sampled);
        // Nor does a run that was much smaller or larger.
        for rows in [333, 6_000] {
            let other = Timing { rows, ..timing("a", 10.0, Some(20.0)) };
            assert_eq!(Timing::new("a".into(), 1_500, sampled, &[other]).predicted, sampled, "{rows}");
        }
    }

    #[test]
    fn a_project_is_never_faster_than_its_floor_and_an_emulator_takes_from_the_others() {
        let sample = Sample { reading: 1.0, rows: 100_000, file_bytes: 1e6, floor: 0.0 };
        let project = |floor, answer| Writing::Project { floor, answer, writes: 1_000, reads: 2_000 };
        assert_eq!(seconds(&sample, 1_000_000, project(1_068.0, 0.05)).import, 1_068.0);
        // One that is far away.
        let far = seconds(&sample, 1_000_000, project(1_068.0, 2.0));
        assert_eq!((far.import, far.verify), (2_000.0, 1_000.0));
        let none = seconds(&sample, 0, project(0.0, 0.05));
        let emulator = seconds(&sample, 100_000, Writing::Emulator);
        assert!(emulator.import > none.import && emulator.verify > none.verify);
        assert_eq!(emulator.export, none.export);
        let under_backpressure = Sample { floor: 60.0, ..sample };
        assert_eq!(seconds(&under_backpressure, 0, Writing::Emulator).export, 60.0);
        let nothing = Sample { reading: 0.0, rows: 0, file_bytes: 0.0, floor: 0.0 };
        let least = Seconds { export: fixed::EXPORT, import: fixed::IMPORT, verify: fixed::VERIFY };
        assert_eq!(seconds(&nothing, 0, Writing::Emulator), least);
    }

    #[test]
    fn what_firestore_charges() {
        let prices = Prices { writes: 0.18, reads: 0.06, deletes: 0.02, currency: "EUR".into() };
        let new = |documents| Collection { documents, there: 0 };
        let of = |collections: &[Collection]| Documents::new(collections, Existing::Refuse, Begun::default());
        let documents = of(&[new(1_000_000), new(500)]).priced(Some(&prices), Some(2.0));
        assert_eq!(documents.writes, 1_000_500);
        assert_eq!(documents.reads, 1_000_500 + 1_000 + 2 + 1 + 2 + 4);
        let price = documents.price.unwrap();
        assert!((price - (1.8009 + 0.600_905_4)).abs() < 1e-6, "{price}");
        let said = documents.too_expensive().unwrap();
        assert!(
            said.contains("1,000,500 writes") && said.contains("2.40 EUR") && said.contains("2.00"),
            "{said}"
        );
        let cheap = documents.clone().priced(Some(&prices), Some(2.5));
        assert_eq!(cheap.too_expensive(), None);
        assert_eq!(documents.priced(None, Some(0.0)).too_expensive(), None);
    }

    #[test]
    fn what_was_paid_before_counts_and_so_does_what_is_replaced() {
        let half = [Collection { documents: 1_000, there: 500 }];
        // Cut off half-way: 500 were written, all 1,000 are compared twice, written and read back.
        let resumed = Documents::new(&half, Existing::Refuse, Begun { imports: 1, verifications: 0 });
        assert_eq!((resumed.writes, resumed.reads, resumed.deletes), (1_500, 3_000 + 3 + 4, 0));
        let again = Documents::new(&half, Existing::Refuse, Begun { imports: 2, verifications: 1 });
        assert_eq!((again.writes, again.reads), (2_000, resumed.reads + 2_000 + 1_000));
        let replaced = Documents::new(&half, Existing::Replace, Begun::default());
        assert_eq!((replaced.writes, replaced.reads, replaced.deletes), (1_000, resumed.reads + 2_500, 500));
        let prices = Prices { writes: 0.0, reads: 0.0, deletes: 20.0, currency: "EUR".into() };
        assert_eq!(replaced.priced(Some(&prices), None).price, Some(0.1));
    }
}
