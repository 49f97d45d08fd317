//! From what was measured to the figures that are judged. Pure.

use crate::lab::bench::measured::{GuideStep, Measured};
use crate::lab::usage::Ran;
use serde::Serialize;
use std::collections::BTreeMap;

/// One run of one program.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub seconds: f64,
    /// Processor seconds of the program itself.
    pub cpu: f64,
    /// Processor seconds of its children: pg_dump, psql, node.
    pub children_cpu: f64,
    /// Processor seconds of the PostgreSQL servers meanwhile.
    pub postgres_cpu: f64,
    /// Processor seconds of the emulator meanwhile.
    pub emulator_cpu: f64,
    /// Bytes, where the program tells.
    pub peak_memory: Option<u64>,
    /// Seconds of its steps, by name.
    pub phases: BTreeMap<String, f64>,
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
}

/// The runs of one repetition, by name.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Repetition {
    /// Of the source.
    pub rows: u64,
    pub smaller_rows: u64,
    pub runs: BTreeMap<Measured, Run>,
}

impl Repetition {
    pub fn run(&self, measured: Measured) -> Option<&Run> {
        self.runs.get(&measured)
    }

    pub fn seconds(&self, measured: Measured) -> Option<f64> {
        self.run(measured).map(|r| r.seconds)
    }

    /// Seconds of these steps of the guide together; `None` where one of them is missing.
    fn sum(&self, steps: &[GuideStep]) -> Option<f64> {
        steps.iter().map(|step| self.seconds(Measured::Guide(*step))).sum()
    }

    pub fn guide_rows(&self) -> Option<f64> {
        self.sum(&[GuideStep::Export, GuideStep::Import])
    }

    pub fn guide_whole(&self) -> Option<f64> {
        self.sum(&GuideStep::ALL)
    }

    /// Processor seconds of the program and its children.
    pub fn client_cpu(&self, measured: Measured) -> Option<f64> {
        self.run(measured).map(|r| r.cpu + r.children_cpu)
    }

    pub fn memory(&self, measured: Measured) -> Option<f64> {
        Some(self.run(measured)?.peak_memory? as f64 / MIB)
    }
}

const MIB: f64 = (1 << 20) as f64;

/// What a figure has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    AtLeast(f64),
    AtMost(f64),
    /// Shown, not judged.
    None,
}

/// How a figure is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// 3.2× as fast.
    Faster,
    /// 1.15× of the other.
    Times,
    Percent,
    Mebibytes,
}

impl Unit {
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Faster | Unit::Times => format!("{value:.2}×"),
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
    pub floor: Floor,
    pub aim: Option<f64>,
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
        match self.floor {
            Floor::AtLeast(value) => format!("at least {}", self.unit.text(value)),
            Floor::AtMost(value) => format!("at most {}", self.unit.text(value)),
            Floor::None => "–".into(),
        }
    }

    pub fn aim_text(&self) -> String {
        self.aim.map_or_else(|| "–".into(), |aim| self.unit.text(aim))
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

/// What makes a figure of one repetition.
type Ratio<'a> = &'a dyn Fn(&Repetition) -> Option<f64>;

fn figure(
    name: impl Into<String>,
    (unit, floor, aim): (Unit, Floor, Option<f64>),
    repetitions: &[Repetition],
    absent: &'static str,
    ratio: Ratio,
) -> Figure {
    let values: Vec<f64> = repetitions.iter().filter_map(ratio).filter(|v| v.is_finite()).collect();
    let spread = Spread::of(&values);
    let verdict = match (floor, spread) {
        (_, None) => Verdict::Absent,
        (Floor::None, _) => Verdict::Shown,
        (Floor::AtLeast(floor), Some(s)) if s.median >= floor => Verdict::Held,
        (Floor::AtMost(floor), Some(s)) if s.median <= floor => Verdict::Held,
        _ => Verdict::Missed,
    };
    let absent = spread.is_none().then_some(absent);
    Figure { name: name.into(), unit, floor, aim, spread, values, verdict, absent }
}

/// Every row of the table, in the order of the issue that asks for them.
pub fn figures(all: &[Repetition], scale: u32, smaller: Option<u32>) -> Vec<Figure> {
    [against_references(all), of_ours(all, scale, smaller.unwrap_or_default())].concat()
}

fn faster(floor: f64, aim: Option<f64>) -> (Unit, Floor, Option<f64>) {
    (Unit::Faster, Floor::AtLeast(floor), aim)
}

fn times(floor: f64, aim: Option<f64>) -> (Unit, Floor, Option<f64>) {
    (Unit::Times, Floor::AtMost(floor), aim)
}

/// Ours beside what it is measured against.
fn against_references(all: &[Repetition]) -> Vec<Figure> {
    const NO_GUIDE: &str = "the guide was not measured";
    const NO_NODE: &str =
        "the guide's Firestore import was not measured (it needs node, npm and --reference guide)";
    vec![
        figure("export + PostgreSQL import: faster than the guide", faster(3.0, None), all, NO_GUIDE, &|r| {
            Some(r.guide_rows()? / r.seconds(Measured::Rows)?)
        }),
        figure(
            "export + PostgreSQL import: time of the pipes",
            times(1.25, Some(1.1)),
            all,
            "the pipes were not measured",
            &|r| Some(r.seconds(Measured::Rows)? / r.seconds(Measured::Pipes)?),
        ),
        figure("Firestore import: faster than the guide", faster(4.0, Some(5.0)), all, NO_NODE, &|r| {
            Some(r.seconds(Measured::Guide(GuideStep::Firestore))? / r.seconds(Measured::Documents)?)
        }),
        figure(
            "Firestore import: client CPU of the guide's",
            (Unit::Percent, Floor::AtMost(0.2), None),
            all,
            NO_NODE,
            &|r| {
                Some(
                    r.client_cpu(Measured::Documents)?
                        / r.client_cpu(Measured::Guide(GuideStep::Firestore))?,
                )
            },
        ),
        figure(
            "verification of all stores: time of moving the data",
            (Unit::Percent, Floor::AtMost(0.4), None),
            all,
            "not measured",
            &|r| Some(r.seconds(Measured::Verify)? / r.seconds(Measured::Move)?),
        ),
        figure(
            "verification of all stores: time of count(*)",
            (Unit::Times, Floor::None, None),
            all,
            "counts were not measured",
            &|r| Some(r.seconds(Measured::Verify)? / r.seconds(Measured::Count)?),
        ),
        figure("whole migrate: faster than the whole guide", faster(2.5, Some(4.0)), all, NO_NODE, &|r| {
            Some(r.guide_whole()? / r.seconds(Measured::Migrate)?)
        }),
    ]
}

/// Ours by itself, and how it grows from a scale of `small`.
fn of_ours(all: &[Repetition], scale: u32, small: u32) -> Vec<Figure> {
    vec![
        figure(
            format!("peak memory of migrate at scale {scale}"),
            (Unit::Mebibytes, Floor::AtMost(100.0), None),
            all,
            "not measured",
            &|r| r.memory(Measured::Migrate),
        ),
        figure(growth("peak memory of migrate", scale, small), times(1.2, None), all, NO_GROWTH, &|r| {
            Some(r.memory(Measured::Migrate)? / r.memory(Measured::SmallerMigrate)?)
        }),
        figure(growth("time per row of migrate", scale, small), times(1.25, None), all, NO_GROWTH, &|r| {
            let (large, small) = (r.rows as f64, r.smaller_rows as f64);
            Some((r.seconds(Measured::Migrate)? / large) / (r.seconds(Measured::SmallerMigrate)? / small))
        }),
    ]
}

const NO_GROWTH: &str = "growth is measured from a scale of 5 on";

fn growth(what: &str, scale: u32, smaller: u32) -> String {
    match smaller {
        0 => format!("{what}: growth with the scale"),
        _ => format!("{what}: scale {scale} to scale {smaller}"),
    }
}

/// One figure over all repetitions.
pub fn spread(all: &[Repetition], value: Ratio) -> Option<Spread> {
    Spread::of(&all.iter().filter_map(value).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repetition(seconds: &[(Measured, f64)]) -> Repetition {
        let run = |s: f64| Run { seconds: s, cpu: s / 10.0, ..Run::default() };
        let runs = seconds.iter().map(|(measured, s)| (*measured, run(*s))).collect();
        Repetition { rows: 100, smaller_rows: 20, runs }
    }

    #[test]
    fn the_median_of_each_repetitions_ratio_decides() {
        let all: Vec<Repetition> = [(10.0, 20.0), (1.0, 4.0), (2.0, 7.0)]
            .iter()
            .map(|(ours, guide)| {
                repetition(&[
                    (Measured::Rows, *ours),
                    (Measured::Guide(GuideStep::Export), guide / 2.0),
                    (Measured::Guide(GuideStep::Import), guide / 2.0),
                ])
            })
            .collect();
        let figure = &figures(&all, 25, None)[0];
        assert_eq!(figure.spread, Some(Spread { median: 3.5, min: 2.0, max: 4.0 }));
        assert_eq!(figure.verdict, Verdict::Held);
        assert_eq!(figures(&all[..1], 25, None)[0].verdict, Verdict::Missed);
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let all =
            [repetition(&[(Measured::Migrate, 3.0), (Measured::Rows, 2.0), (Measured::SmallerMigrate, 1.0)])];
        let found = figures(&all, 25, Some(5));
        let whole = found.iter().find(|f| f.name.starts_with("whole")).unwrap();
        assert_eq!(whole.verdict, Verdict::Absent);
        assert!(whole.reached_text().starts_with("absent: the guide's Firestore import"));
        let growth = found.last().unwrap();
        assert_eq!((growth.verdict, growth.reached_text().as_str()), (Verdict::Held, "0.60×"));
    }

    #[test]
    fn a_spread_has_a_middle() {
        assert_eq!(Spread::of(&[4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of(&[]), None);
    }
}
