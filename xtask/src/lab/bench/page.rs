//! The page: every figure against its floor, what was measured, and charts. One file, no script, nothing
//! loaded from elsewhere, light and dark as the reader has it.

use crate::lab::bench::figures::{Bound, Figure, Repetition, Spread, Value, Verdict, spread};
use crate::lab::bench::measured::{GuideStep, Measured, Size};
use crate::lab::bench::results::Results;
use crate::lab::bench::tables::{self, FIGURE_HEADER, RUN_HEADER};
use crate::model::grouped;
use crate::operations::report::parts::{head, px};
use crate::shown::utc;
use crate::steps::StepName;
use crate::timing::Part;
use maud::{DOCTYPE, Markup, html};

/// The whole page.
pub fn page(results: &Results) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Bench: what the migration costs", STYLE))
            body {
                (header(results))
                main {
                    (figure_section(results))
                    (charts(results))
                    (run_section(results))
                    (notes())
                }
            }
        }
    }
    .into_string()
}

fn header(results: &Results) -> Markup {
    let machine = &results.machine;
    let gib = machine.memory as f64 / f64::from(1 << 30);
    let mut facts = vec![
        ("Data", format!("scale {}, {} rows", results.scale, grouped(results.rows))),
        ("Repetitions", format!("{}, interleaved", results.repetitions.len())),
        ("Machine", format!("{} cores, {gib:.0} GiB, {}", machine.cores, machine.kernel)),
        ("Processor", machine.processor.clone()),
        ("Finished", utc(&results.finished)),
    ];
    facts.extend(results.versions.iter().map(|(name, version)| (name.as_str(), version.clone())));
    html! {
        header {
            p.kicker { "cargo xtask bench" }
            h1 { "What the migration costs" }
            p.lead {
                "The tool against the guide it automates, against the fastest pipes that do less, and against "
                "plain counts. Ratios of runs that took turns on one machine; the median counts. "
                "CPU: processor seconds of the program, its children and PostgreSQL."
            }
            dl.facts {
                @for (name, value) in facts.iter().filter(|(_, v)| !v.is_empty()) {
                    div { dt { (name) } dd { (value) } }
                }
            }
        }
    }
}

fn figure_section(results: &Results) -> Markup {
    let count = |verdict| results.figures.iter().filter(|f| f.verdict == verdict).count();
    let (held, missed) = (count(Verdict::Held), count(Verdict::Missed));
    html! {
        section {
            h2 { "Figures" }
            p {
                (held) " of " (held + missed) " floors held."
                @if let Some(why) = &results.not_judged { " Not judged: " (why) "." }
            }
            div.scroll {
                table.figures {
                    thead { tr { @for cell in FIGURE_HEADER { th scope="col" { (cell) } } } }
                    tbody { @for figure in &results.figures { (figure_row(figure)) } }
                }
            }
        }
    }
}

fn figure_row(figure: &Figure) -> Markup {
    let (class, word) = match figure.verdict {
        Verdict::Held => ("held", "held"),
        Verdict::Missed => ("missed", "missed"),
        Verdict::Shown => ("shown", "shown only"),
        Verdict::Absent => ("absent", "absent"),
    };
    html! {
        tr {
            th scope="row" { (figure.name) (gauge(figure)) }
            td { (figure.floor_text()) }
            td { (figure.aim_text()) }
            td.reached { (figure.reached_text()) }
            td { (figure.range_text()) }
            td { span class={ "mark " (class) } title=(word) { (figure.mark()) } }
        }
    }
}

/// Where the figure stands between nothing and twice its floor.
fn gauge(figure: &Figure) -> Markup {
    let floors = match figure.floor {
        Bound::AtLeast(floor) | Bound::AtMost(floor) => vec![floor],
        Bound::Between(low, high) => vec![low, high],
        Bound::None => Vec::new(),
    };
    let (Some(reached), Some(highest)) = (figure.spread, floors.last()) else { return html! {} };
    const WIDTH: f64 = 300.0;
    let end = 2.0 * highest;
    let x = |value: f64| (value / end).clamp(0.0, 1.0) * WIDTH;
    let class = if figure.verdict == Verdict::Held { "held" } else { "missed" };
    html! {
        svg.gauge viewBox="0 0 300 12" role="img" aria-label=(format!("{} against {}", figure.reached_text(), figure.floor_text())) {
            rect.track x="0" y="3" width="300" height="6" rx="3" {}
            rect class={ "bar " (class) } x="0" y="3" width=(px(x(reached.median))) height="6" rx="3" {}
            line.whisker x1=(px(x(reached.min))) x2=(px(x(reached.max))) y1="6" y2="6" {}
            @for floor in floors {
                line.floor x1=(px(x(floor))) x2=(px(x(floor))) y1="0" y2="12" {}
            }
        }
    }
}

/// One bar of a chart.
struct Bar {
    label: String,
    value: Spread,
    ours: bool,
}

/// Label, whether it is ours, and its value in one repetition.
type Series<'a> = (&'a str, bool, Value<'a>);

fn bars(all: &[Repetition], wanted: &[Series]) -> Vec<Bar> {
    let bar = |(label, ours, value): &Series| {
        Some(Bar { label: label.to_string(), value: spread(all, *value)?, ours: *ours })
    };
    wanted.iter().filter_map(bar).collect()
}

/// Title, unit, and its bars.
type Chart = (&'static str, &'static str, Vec<Bar>);

fn charts(results: &Results) -> Markup {
    let all = &results.repetitions;
    let own = own_charts(results);
    let charts: Vec<Chart> =
        migration_charts(all).into_iter().chain(firestore_charts(all)).chain(own).collect();
    html! {
        section {
            h2 { "Medians, with the smallest and largest" }
            p.legend {
                span.key.ours {} "ours " span.key.other {} "reference"
            }
            div.charts {
                @for (title, unit, bars) in charts.iter().filter(|(_, _, bars)| !bars.is_empty()) {
                    (chart(title, unit, bars))
                }
            }
        }
    }
}

const SECONDS: &str = "seconds";
const PROCESSOR_SECONDS: &str = "processor seconds";

/// Everything, and rows alone, beside the references: what it costs, and how long it takes.
fn migration_charts(all: &[Repetition]) -> [Chart; 4] {
    const ROWS: [GuideStep; 2] = [GuideStep::Export, GuideStep::Import];
    let whole = Measured::Migrate(Size::Whole);
    let chart = |title, unit, wanted: &[Series]| (title, unit, bars(all, wanted));
    let (ours, theirs) = ("ours, with proof", "guide, without");
    let (rows, pipes, guide) = ("ours, files, proof", "pipes, no files", "guide");
    [
        chart(
            "Whole migration",
            PROCESSOR_SECONDS,
            &[(ours, true, &|r| r.cpu(whole)), (theirs, false, &|r| r.guide_cpu(&GuideStep::ALL))],
        ),
        chart(
            "Whole migration",
            SECONDS,
            &[(ours, true, &|r| r.seconds(whole)), (theirs, false, &|r| r.guide_seconds(&GuideStep::ALL))],
        ),
        chart(
            "Export + PostgreSQL import",
            PROCESSOR_SECONDS,
            &[
                (rows, true, &|r| r.cpu(Measured::Rows)),
                (pipes, false, &|r| r.cpu(Measured::Pipes)),
                (guide, false, &|r| r.guide_cpu(&ROWS)),
            ],
        ),
        chart(
            "Export + PostgreSQL import",
            SECONDS,
            &[
                (rows, true, &|r| r.seconds(Measured::Rows)),
                (pipes, false, &|r| r.seconds(Measured::Pipes)),
                (guide, false, &|r| r.guide_seconds(&ROWS)),
            ],
        ),
    ]
}

/// Documents beside the guide.
fn firestore_charts(all: &[Repetition]) -> [Chart; 2] {
    const GUIDE: Measured = Measured::Guide(GuideStep::Firestore);
    let seconds: [Series; 2] =
        [("ours", true, &|r| r.seconds(Measured::Documents)), ("guide", false, &|r| r.seconds(GUIDE))];
    let cpu: [Series; 2] =
        [("ours", true, &|r| r.client_cpu(Measured::Documents)), ("guide", false, &|r| r.client_cpu(GUIDE))];
    [
        ("Firestore import", SECONDS, bars(all, &seconds)),
        ("Firestore import: client", PROCESSOR_SECONDS, bars(all, &cpu)),
    ]
}

/// The looks at what is proven, the phases, and how ours grows.
fn own_charts(results: &Results) -> [Chart; 5] {
    let all = &results.repetitions;
    let looks: [Series; 6] = [
        ("content", true, &|r| r.cpu(Measured::Content)),
        ("heap count", false, &|r| r.cpu(Measured::TargetCounts)),
        ("structure", true, &|r| r.cpu(Measured::Structure)),
        ("references", true, &|r| r.cpu(Measured::References)),
        ("source check", true, &|r| r.cpu(Measured::SourceCheck)),
        ("source, count", false, &|r| r.cpu(Measured::SourceCounts)),
    ];
    [
        ("Looking again at what is proven", PROCESSOR_SECONDS, bars(all, &looks)),
        ("Phases of migrate", "seconds; 1 and 2 overlap, as do 3 and 4", phases(all)),
        ("Peak memory", "MiB", by_size(results, &|r, size| r.memory(Measured::Migrate(size)))),
        ("Migrate, per row", "processor microseconds", by_size(results, &|r, size| r.cpu_per_row(size))),
        ("Prediction of plan", "of the truth", by_size(results, &|r, size| r.prediction(size))),
    ]
}

/// Ours at every size, the smallest first.
fn by_size(results: &Results, value: &dyn Fn(&Repetition, Size) -> Option<f64>) -> Vec<Bar> {
    let bar = |size: Size| {
        let label = format!("scale {}", size.scale(results.scale)?);
        Some(Bar { label, value: spread(&results.repetitions, &|r| value(r, size))?, ours: true })
    };
    Size::ALL.into_iter().rev().filter_map(bar).collect()
}

/// The journal's steps of the whole migration.
fn phases(all: &[Repetition]) -> Vec<Bar> {
    let step = |step: StepName| {
        let (label, key) = (step.to_string(), Part::Step(step).key());
        let value = spread(all, &|r| r.run(Measured::Migrate(Size::Whole))?.phases.get(&key).copied())?;
        Some(Bar { label, value, ours: true })
    };
    let phases =
        [StepName::Backup, StepName::Export, StepName::Firestore, StepName::Import, StepName::Verify];
    phases.into_iter().filter_map(step).collect()
}

fn chart(title: &str, unit: &str, bars: &[Bar]) -> Markup {
    const LEFT: f64 = 128.0;
    const WIDTH: f64 = 232.0;
    const STEP: f64 = 34.0;
    let end = bars.iter().map(|b| b.value.max).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value / end * WIDTH;
    let height = STEP * bars.len() as f64 + 4.0;
    html! {
        figure {
            figcaption { strong { (title) } " " span { (unit) } }
            svg viewBox=(format!("0 0 420 {height}")) role="img" aria-label=(format!("{title}, {unit}")) {
                @for (n, bar) in bars.iter().enumerate() {
                    @let y = STEP * n as f64 + 4.0;
                    @let middle = y + 11.0;
                    text.label x=(px(LEFT - 8.0)) y=(px(middle)) { (bar.label) }
                    rect class=(if bar.ours { "bar ours" } else { "bar other" })
                        x=(px(LEFT)) y=(px(y)) width=(px((x(bar.value.median) - LEFT).max(1.0))) height="22" rx="3" {}
                    line.whisker x1=(px(x(bar.value.min))) x2=(px(x(bar.value.max))) y1=(px(middle)) y2=(px(middle)) {}
                    @for end in [bar.value.min, bar.value.max] {
                        line.whisker x1=(px(x(end))) x2=(px(x(end))) y1=(px(middle - 4.0)) y2=(px(middle + 4.0)) {}
                    }
                    text.value x=(px(x(bar.value.max) + 6.0)) y=(px(middle)) { (number(bar.value.median)) }
                }
            }
        }
    }
}

fn run_section(results: &Results) -> Markup {
    let all = &results.repetitions;
    html! {
        section {
            h2 { "What was measured" }
            div.scroll {
                table.runs {
                    thead { tr { @for cell in RUN_HEADER { th scope="col" { (cell) } } } }
                    tbody {
                        @for measured in tables::run_names(all) {
                            @let cells = tables::run_cells(all, measured);
                            tr {
                                th scope="row" { (cells[0]) }
                                @for cell in &cells[1..] { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn notes() -> Markup {
    html! {
        section.notes {
            h2 { "How" }
            ul {
                li { "Every run gets empty databases and a fresh Firestore emulator, which both clients have warmed up in other projects, and runs alone. The servers run without fsync; the tool's own files are synced to disk all the same." }
                li { "CPU is what the program, its children and the PostgreSQL servers spend, not the emulator: Firestore's own processors are nobody's here. Wall time depends on the machine's cores, therefore they stand beside it." }
                li { "Looks at what is proven are done several times in a row in one process, each beside a " code { "count(*)" } " that reads the same tables' heaps, with as many sessions and no workers; what is shown is one time." }
                li { "A prediction is that of " code { "plan" } " by its sample alone, of what the phases of the migration right after it took." }
                li { "Parts of ours run in a process of their own with everything that they do in " code { "migrate" } ": classifying, auditing, digesting, hashed files, and the proof before a database is published." }
                li { "The references move the same rows with the same SELECTs; after each of their runs every table is compared with our export by digest, with its keys and indexes, and the documents are counted." }
                li { "Peak memory is the tool's own process (VmHWM). Processor seconds of servers include their children." }
            }
        }
    }
}

fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

const STYLE: &str = include_str!("page.css");
