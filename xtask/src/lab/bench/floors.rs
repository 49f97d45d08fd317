//! Every figure with its floor and its aim. Pure.
//!
//! What was learnt: on two cores everything is bound by processors, so the same work is faster there only as
//! far as it costs less. Ratios of processor seconds are the same on any machine, those of wall time are not:
//! their names say on how many cores.

use crate::lab::bench::figures::{Bound, Figure, Repetition, Unit};
use crate::lab::bench::measured::{GuideStep, Measured, Size};

const NO_GUIDE: &str = "the guide was not measured (it needs --reference guide)";
const NO_NODE: &str =
    "the guide's Firestore import was not measured (it needs node, npm and --reference guide)";
const NO_PIPES: &str = "the pipes were not measured (they need --reference pipes)";
const NO_COUNTS: &str = "counts were not measured (they need --reference count)";
const NO_MIGRATION: &str = "the migration was not measured";
const TOO_SMALL: &str = "the scale is too small to be divided";

/// Every row of the table: those that are judged, in the order of the issue that asks for them, then the
/// others.
pub fn figures(all: &[Repetition], scale: u32, cores: usize) -> Vec<Figure> {
    let judged =
        [against_the_guide(all, cores), against_counts(all), memory(all, scale), predictions(all, scale)];
    let others = [growth(all, scale), beside_the_references(all, cores), beside_counts(all)];
    judged.into_iter().chain(others).flatten().collect()
}

/// Moving everything, and its parts.
fn against_the_guide(all: &[Repetition], cores: usize) -> Vec<Figure> {
    const FIRESTORE: Measured = Measured::Guide(GuideStep::Firestore);
    let on = format!("wall on {cores} cores");
    vec![
        Figure::new(
            "whole migrate, CPU: of the guide's",
            (Unit::Times, Bound::AtMost(0.95), Bound::AtMost(0.8)),
            all,
            NO_NODE,
            &|r| Some(r.cpu(Measured::Migrate(Size::Whole))? / r.guide_cpu(&GuideStep::ALL)?),
        ),
        Figure::new(
            format!("whole migrate with proof, {on}: faster than the guide"),
            (Unit::Times, Bound::AtLeast(1.5), Bound::AtLeast(1.8)),
            all,
            NO_NODE,
            &|r| Some(r.guide_seconds(&GuideStep::ALL)? / r.seconds(Measured::Migrate(Size::Whole))?),
        ),
        Figure::new(
            format!("export + PostgreSQL import, {on}: of the pipes'"),
            (Unit::Times, Bound::AtMost(1.2), Bound::AtMost(1.1)),
            all,
            NO_PIPES,
            &|r| Some(r.seconds(Measured::Rows)? / r.seconds(Measured::Pipes)?),
        ),
        Figure::new(
            format!("Firestore import, {on}: faster than the guide's client"),
            (Unit::Times, Bound::AtLeast(2.2), Bound::None),
            all,
            NO_NODE,
            &|r| Some(r.seconds(FIRESTORE)? / r.seconds(Measured::Documents)?),
        ),
        Figure::new(
            "Firestore import, CPU of the client: of the guide's client",
            (Unit::Percent, Bound::AtMost(0.18), Bound::None),
            all,
            NO_NODE,
            &|r| Some(r.client_cpu(Measured::Documents)? / r.client_cpu(FIRESTORE)?),
        ),
    ]
}

/// Looking at what was proven before.
fn against_counts(all: &[Repetition]) -> Vec<Figure> {
    let looks = (Unit::Times, Bound::AtMost(2.0), Bound::AtMost(1.3));
    vec![
        Figure::new(
            "verify again, PostgreSQL content alone, CPU: of a heap count",
            looks,
            all,
            NO_COUNTS,
            &|r| Some(r.cpu(Measured::Content)? / r.cpu(Measured::TargetCounts)?),
        ),
        Figure::new("source check of the cut-over, CPU: of a heap count", looks, all, NO_COUNTS, &|r| {
            Some(r.cpu(Measured::SourceCheck)? / r.cpu(Measured::SourceCounts)?)
        }),
    ]
}

fn memory(all: &[Repetition], scale: u32) -> Vec<Figure> {
    let floor = (Unit::Mebibytes, Bound::AtMost(64.0), Bound::None);
    let name = format!("peak memory of migrate, scale {scale}");
    vec![Figure::new(name, floor, all, NO_MIGRATION, &|r| r.memory(Measured::Migrate(Size::Whole)))]
}

/// Of `plan` on a machine that has never seen a run: earlier runs would make it better.
fn predictions(all: &[Repetition], scale: u32) -> Vec<Figure> {
    let bounds = (Unit::Times, Bound::Between(0.7, 1.4), Bound::Between(0.85, 1.15));
    let figure = |size: Size| {
        let name = match size.scale(scale) {
            Some(scale) => format!("prediction of plan, scale {scale}: of the truth"),
            None => format!("prediction of plan, {size}: of the truth"),
        };
        Figure::new(name, bounds, all, TOO_SMALL, &|r| r.prediction(size))
    };
    Size::ALL.into_iter().rev().map(figure).collect()
}

/// How ours grows, from a fifth to the whole.
fn growth(all: &[Repetition], scale: u32) -> Vec<Figure> {
    let from = match Size::Fifth.scale(scale) {
        Some(fifth) => format!("scale {scale} of scale {fifth}'s"),
        None => format!("scale {scale} of a fifth's"),
    };
    let at_most = |floor| (Unit::Times, Bound::AtMost(floor), Bound::None);
    vec![
        Figure::new(format!("peak memory of migrate, {from}"), at_most(1.2), all, TOO_SMALL, &|r| {
            Some(r.memory(Measured::Migrate(Size::Whole))? / r.memory(Measured::Migrate(Size::Fifth))?)
        }),
        Figure::new(format!("migrate, CPU per row, {from}"), at_most(1.25), all, TOO_SMALL, &|r| {
            Some(r.cpu_per_row(Size::Whole)? / r.cpu_per_row(Size::Fifth)?)
        }),
    ]
}

const SHOWN: (Unit, Bound, Bound) = (Unit::Times, Bound::None, Bound::None);

/// What makes those figures up that are judged.
fn beside_the_references(all: &[Repetition], cores: usize) -> Vec<Figure> {
    const ROWS: [GuideStep; 2] = [GuideStep::Export, GuideStep::Import];
    let on = format!("wall on {cores} cores");
    vec![
        Figure::new("export + PostgreSQL import, CPU: of the pipes'", SHOWN, all, NO_PIPES, &|r| {
            Some(r.cpu(Measured::Rows)? / r.cpu(Measured::Pipes)?)
        }),
        Figure::new("export + PostgreSQL import, CPU: of the guide's", SHOWN, all, NO_GUIDE, &|r| {
            Some(r.cpu(Measured::Rows)? / r.guide_cpu(&ROWS)?)
        }),
        Figure::new(
            format!("export + PostgreSQL import, {on}: faster than the guide"),
            SHOWN,
            all,
            NO_GUIDE,
            &|r| Some(r.guide_seconds(&ROWS)? / r.seconds(Measured::Rows)?),
        ),
        Figure::new(
            "verify, all stores, CPU: of the whole migrate's",
            (Unit::Percent, Bound::None, Bound::None),
            all,
            NO_MIGRATION,
            &|r| Some(r.cpu(Measured::Verify)? / r.cpu(Measured::Migrate(Size::Whole))?),
        ),
    ]
}

/// What `verify` looks at beside the content of PostgreSQL.
fn beside_counts(all: &[Repetition]) -> Vec<Figure> {
    let figure = |name: &str, part: Measured| {
        Figure::new(format!("verify, {name} alone, CPU: of a heap count"), SHOWN, all, NO_COUNTS, &|r| {
            Some(r.cpu(part)? / r.cpu(Measured::TargetCounts)?)
        })
    };
    vec![figure("structure", Measured::Structure), figure("references", Measured::References)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::figures::{Run, Spread, Verdict};
    use crate::timing::Part;

    const WHOLE: Measured = Measured::Migrate(Size::Whole);
    const FIFTH: Measured = Measured::Migrate(Size::Fifth);

    fn run(seconds: f64, cpu: f64) -> Run {
        // Of four parts three count: the emulator's is nobody's.
        let (own, children) = (cpu / 4.0, cpu / 4.0);
        Run {
            seconds,
            cpu: own,
            children_cpu: children,
            postgres_cpu: cpu / 2.0,
            emulator_cpu: 1e6,
            ..Run::default()
        }
    }

    fn repetition(runs: &[(Measured, Run)]) -> Repetition {
        Repetition { runs: runs.iter().cloned().collect() }
    }

    /// The guide's four steps, a quarter each.
    fn with_guide(seconds: f64, cpu: f64, runs: &[(Measured, Run)]) -> Repetition {
        let steps = GuideStep::ALL.map(|step| (Measured::Guide(step), run(seconds / 4.0, cpu / 4.0)));
        repetition(&[&steps, runs].concat())
    }

    fn named<'a>(figures: &'a [Figure], start: &str) -> &'a Figure {
        let mut found = figures.iter().filter(|figure| figure.name.starts_with(start));
        let one = found.next().unwrap_or_else(|| panic!("there is no figure {start}"));
        assert!(found.next().is_none(), "{start} are several");
        one
    }

    /// The median of one figure's values, and the verdict.
    fn judged(all: &[Repetition], start: &str) -> (f64, Verdict) {
        let figures = figures(all, 25, 2);
        let figure = named(&figures, start);
        (figure.spread.unwrap().median, figure.verdict)
    }

    #[test]
    fn the_median_of_each_repetitions_ratio_decides() {
        let all: Vec<Repetition> = [(10.0, 20.0), (1.0, 4.0), (2.0, 7.0)]
            .map(|(ours, guide)| with_guide(guide, 1.0, &[(WHOLE, run(ours, 1.0))]))
            .to_vec();
        let found = figures(&all, 25, 2);
        let wall = named(&found, "whole migrate with proof, wall on 2 cores: faster");
        assert_eq!(wall.spread, Some(Spread { median: 3.5, min: 2.0, max: 4.0 }));
        assert_eq!(wall.verdict, Verdict::Held);
        assert_eq!(judged(&[with_guide(1.4, 1.0, &[(WHOLE, run(1.0, 1.0))])], &wall.name).1, Verdict::Missed);
    }

    #[test]
    fn processor_time_is_the_programs_its_childrens_and_postgres_but_not_the_emulators() {
        let cpu = |ours| judged(&[with_guide(1.0, 100.0, &[(WHOLE, run(1.0, ours))])], "whole migrate, CPU");
        assert_eq!(cpu(95.0), (0.95, Verdict::Held));
        assert_eq!(cpu(96.0), (0.96, Verdict::Missed));
    }

    #[test]
    fn a_look_is_compared_with_the_counts_of_the_same_tables() {
        let all = [repetition(&[
            (Measured::Content, run(1.0, 4.0)),
            (Measured::TargetCounts, run(1.0, 2.0)),
            (Measured::SourceCheck, run(1.0, 7.5)),
            (Measured::SourceCounts, run(1.0, 3.0)),
            (Measured::Structure, run(1.0, 1.0)),
        ])];
        assert_eq!(judged(&all, "verify again, PostgreSQL content"), (2.0, Verdict::Held));
        assert_eq!(judged(&all, "source check"), (2.5, Verdict::Missed));
        assert_eq!(judged(&all, "verify, structure"), (0.5, Verdict::Shown));
        let found = figures(&all, 25, 2);
        assert!(named(&found, "verify, references").reached_text().contains("--reference count"));
    }

    #[test]
    fn a_prediction_may_be_neither_too_low_nor_too_high() {
        let of = |predicted: f64| {
            let phases = [(Part::Phases.key(), 10.0)].into();
            let migrated = Run { phases, ..run(30.0, 1.0) };
            let planned = Run { predicted: Some(predicted), ..run(1.0, 1.0) };
            let size = Size::TwentyFifth;
            let all = [repetition(&[(Measured::Plan(size), planned), (Measured::Migrate(size), migrated)])];
            judged(&all, "prediction of plan, scale 1:")
        };
        assert_eq!(of(7.0), (0.7, Verdict::Held));
        assert_eq!(of(14.0), (1.4, Verdict::Held));
        assert_eq!((of(6.9).1, of(14.1).1), (Verdict::Missed, Verdict::Missed));
        let found = figures(&[], 25, 2);
        let figure = named(&found, "prediction of plan, scale 5:");
        assert_eq!(
            (figure.floor_text(), figure.aim_text()),
            ("0.70× – 1.40×".into(), "0.85× – 1.15×".into())
        );
        assert_eq!(figure.verdict, Verdict::Absent);
    }

    #[test]
    fn growth_is_measured_from_a_fifth() {
        let with = |cpu: f64, rows: u64, mib: u64| Run {
            rows: Some(rows),
            peak_memory: Some(mib << 20),
            ..run(1.0, cpu)
        };
        let all = [repetition(&[(WHOLE, with(5.0, 500, 60)), (FIFTH, with(1.0, 100, 40))])];
        assert_eq!(judged(&all, "peak memory of migrate, scale 25 of scale 5's"), (1.5, Verdict::Missed));
        assert_eq!(judged(&all, "migrate, CPU per row, scale 25 of scale 5's"), (1.0, Verdict::Held));
        let found = figures(&all, 25, 2);
        let memory = found.iter().find(|f| f.name == "peak memory of migrate, scale 25").unwrap();
        assert_eq!((memory.reached_text().as_str(), memory.verdict), ("60 MiB", Verdict::Held));
        // Of scale 4 there is no fifth.
        let found = figures(&all[..0], 4, 2);
        assert!(
            named(&found, "migrate, CPU per row, scale 4 of a fifth's").reached_text().contains("too small")
        );
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let found = figures(&[repetition(&[(WHOLE, run(1.0, 1.0))])], 25, 2);
        let whole = named(&found, "whole migrate, CPU");
        assert_eq!(whole.verdict, Verdict::Absent);
        assert!(whole.reached_text().starts_with("absent: the guide's Firestore import"));
    }
}
