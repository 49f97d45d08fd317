//! From what was measured to the figures that are judged. Pure.

use crate::lab::bench::measured::{GuideStep, Measured, Size};
use crate::lab::bench::part::Passes;
use crate::lab::usage::Ran;
use crate::timing::Part;
use serde::Serialize;
use std::collections::BTreeMap;

/// One run of one program; of what it did several times in a row, once.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub seconds: f64,
    /// Processor seconds of the program itself.
    pub cpu: f64,
    /// Processor seconds of its children: pg_dump, psql, node.
    pub children_cpu: f64,
    /// Processor seconds of the PostgreSQL servers meanwhile.
    pub postgres_cpu: f64,
    /// Processor seconds of the emulator meanwhile: Firestore's own are not counted, nobody here pays for them.
    pub emulator_cpu: f64,
    /// Bytes, where the program tells.
    pub peak_memory: Option<u64>,
    /// Of the source, where the program tells.
    pub rows: Option<u64>,
    /// Seconds that the phases of a migration will take, where the program tells.
    pub predicted: Option<f64>,
    /// Seconds of its steps, by name.
    pub phases: BTreeMap<String, f64>,
    /// How often it was done.
    pub passes: Option<u32>,
}

impl Run {
    pub fn new(ran: &Ran, (postgres_cpu, emulator_cpu): (f64, f64)) -> Run {
        Run {
            seconds: ran.seconds,
            cpu: ran.cpu,
            children_cpu: ran.children_cpu,
            postgres_cpu,
            emulator_cpu,
            ..Run::default()
        }
    }

    /// What a process did several times in a row, without its beginning and end: once. The children that it
    /// has asked for their versions belong to its beginning; any others are in its own processor time.
    pub fn once_of(self, passes: Passes) -> Run {
        let once = |all: f64| all / f64::from(passes.times);
        Run {
            seconds: once(passes.seconds),
            cpu: once(passes.cpu),
            children_cpu: 0.0,
            postgres_cpu: once(self.postgres_cpu),
            emulator_cpu: once(self.emulator_cpu),
            passes: Some(passes.times),
            ..self
        }
    }

    /// Processor seconds of the program and its children.
    pub fn client_cpu(&self) -> f64 {
        self.cpu + self.children_cpu
    }

    /// Processor seconds of all that take part, but the emulator.
    pub fn whole_cpu(&self) -> f64 {
        self.client_cpu() + self.postgres_cpu
    }
}

/// The runs of one repetition, by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repetition {
    pub runs: BTreeMap<Measured, Run>,
}

impl Repetition {
    pub fn run(&self, measured: Measured) -> Option<&Run> {
        self.runs.get(&measured)
    }

    pub fn seconds(&self, measured: Measured) -> Option<f64> {
        self.run(measured).map(|r| r.seconds)
    }

    /// Processor seconds of all that take part, but the emulator.
    pub fn cpu(&self, measured: Measured) -> Option<f64> {
        self.run(measured).map(Run::whole_cpu)
    }

    /// Processor seconds of the program and its children.
    pub fn client_cpu(&self, measured: Measured) -> Option<f64> {
        self.run(measured).map(Run::client_cpu)
    }

    /// Seconds of these steps of the guide together; `None` where one of them is missing.
    pub fn guide_seconds(&self, steps: &[GuideStep]) -> Option<f64> {
        steps.iter().map(|step| self.seconds(Measured::Guide(*step))).sum()
    }

    /// The same of processor seconds.
    pub fn guide_cpu(&self, steps: &[GuideStep]) -> Option<f64> {
        steps.iter().map(|step| self.cpu(Measured::Guide(*step))).sum()
    }

    pub fn memory(&self, measured: Measured) -> Option<f64> {
        Some(self.run(measured)?.peak_memory? as f64 / MIB)
    }

    /// Processor microseconds of a migration for each row of its source.
    pub fn cpu_per_row(&self, size: Size) -> Option<f64> {
        let run = self.run(Measured::Migrate(size))?;
        Some(run.whole_cpu() * 1e6 / run.rows? as f64)
    }

    /// What was predicted of the phases of a migration, of what they took.
    pub fn prediction(&self, size: Size) -> Option<f64> {
        let predicted = self.run(Measured::Plan(size))?.predicted?;
        let took = self.run(Measured::Migrate(size))?.phases.get(&Part::Phases.key()).copied()?;
        Some(predicted / took)
    }
}

const MIB: f64 = (1 << 20) as f64;

/// What a figure has to reach, or should.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
    /// Both included.
    Between(f64, f64),
    /// Shown, not judged.
    None,
}

impl Bound {
    /// `None`: there is nothing to hold.
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Bound::AtLeast(bound) => Some(value >= bound),
            Bound::AtMost(bound) => Some(value <= bound),
            Bound::Between(low, high) => Some((low..=high).contains(&value)),
            Bound::None => None,
        }
    }

    fn text(self, unit: Unit) -> String {
        match self {
            Bound::AtLeast(bound) => format!("at least {}", unit.text(bound)),
            Bound::AtMost(bound) => format!("at most {}", unit.text(bound)),
            Bound::Between(low, high) => format!("{} – {}", unit.text(low), unit.text(high)),
            Bound::None => "–".into(),
        }
    }
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 3.2× as fast, or 1.15× of the other.
    Times,
    Percent,
    Mebibytes,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Times => format!("{value:.2}×"),
            Unit::Percent => format!("{:.0} %", value * 100.0),
            Unit::Mebibytes => format!("{value:.0} MiB"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Held,
    Missed,
    /// There is no floor.
    Shown,
    Absent,
}

/// One row of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub unit: Unit,
    pub floor: Bound,
    pub aim: Bound,
    pub spread: Option<Spread>,
    /// Of each repetition.
    pub values: Vec<f64>,
    pub verdict: Verdict,
    /// Why there is no value.
    pub absent: Option<&'static str>,
}

/// Median, smallest and largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Option<Spread> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let upper = *sorted.get(middle)?;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(*sorted.get(middle - 1)?, upper),
            _ => upper,
        };
        Some(Spread { median, min, max })
    }
}

impl Figure {
    pub fn floor_text(&self) -> String {
        self.floor.text(self.unit)
    }

    pub fn aim_text(&self) -> String {
        self.aim.text(self.unit)
    }

    pub fn reached_text(&self) -> String {
        match (self.spread, self.absent) {
            (Some(spread), _) => self.unit.text(spread.median),
            (None, why) => format!("absent: {}", why.unwrap_or("not measured")),
        }
    }

    pub fn range_text(&self) -> String {
        match self.spread {
            Some(s) => format!("{} – {}", self.unit.text(s.min), self.unit.text(s.max)),
            None => "–".into(),
        }
    }

    pub fn mark(&self) -> &'static str {
        match self.verdict {
            Verdict::Held => "✓",
            Verdict::Missed => "✗",
            Verdict::Shown | Verdict::Absent => "–",
        }
    }
}

/// What makes a number of one repetition.
pub type Value<'a> = &'a dyn Fn(&Repetition) -> Option<f64>;

/// One number over all repetitions.
pub fn spread(all: &[Repetition], value: Value) -> Option<Spread> {
    Spread::of(&values(all, value))
}

fn values(all: &[Repetition], value: Value) -> Vec<f64> {
    all.iter().filter_map(value).filter(|v| v.is_finite()).collect()
}

impl Figure {
    /// `absent`: why there is no value, where there is none.
    pub fn new(
        name: impl Into<String>,
        (unit, floor, aim): (Unit, Bound, Bound),
        all: &[Repetition],
        absent: &'static str,
        value: Value,
    ) -> Figure {
        let values = values(all, value);
        let spread = Spread::of(&values);
        let verdict = match spread.map(|s| floor.holds(s.median)) {
            None => Verdict::Absent,
            Some(None) => Verdict::Shown,
            Some(Some(true)) => Verdict::Held,
            Some(Some(false)) => Verdict::Missed,
        };
        let absent = spread.is_none().then_some(absent);
        Figure { name: name.into(), unit, floor, aim, spread, values, verdict, absent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_several_times_counts_once() {
        let run = Run { seconds: 9.0, cpu: 8.0, children_cpu: 1.0, postgres_cpu: 4.0, ..Run::default() };
        let once = run.once_of(Passes { times: 4, seconds: 6.0, cpu: 2.0 });
        assert_eq!((once.seconds, once.cpu, once.passes), (1.5, 0.5, Some(4)));
        assert_eq!((once.client_cpu(), once.whole_cpu()), (0.5, 1.5));
    }

    #[test]
    fn a_spread_has_a_middle() {
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
