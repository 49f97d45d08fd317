//! The two tables: the figures against their floors, and what was measured. For the terminal with
//! comfy-table; the page takes the same headers and cells.

use crate::lab::bench::figures::{Figure, Repetition, Run, spread};
use crate::lab::bench::measured::Measured;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};
use std::collections::BTreeSet;

/// All runs, ours first.
pub fn run_names(all: &[Repetition]) -> BTreeSet<Measured> {
    all.iter().flat_map(|repetition| repetition.runs.keys().copied()).collect()
}

/// The cells of a run's line: name, seconds, their range, processor seconds that count, and of whom: client,
/// its children, PostgreSQL; the emulator's, which do not; memory.
pub fn run_cells(all: &[Repetition], measured: Measured) -> [String; 9] {
    let median = |value: &dyn Fn(&Run) -> f64| {
        spread(all, &|r| r.run(measured).map(value))
            .map_or_else(|| "–".into(), |s| format!("{:.2}", s.median))
    };
    let seconds = spread(all, &|r| r.seconds(measured));
    let memory = spread(all, &|r| r.memory(measured));
    [
        measured.to_string(),
        median(&|r| r.seconds),
        seconds.map_or_else(|| "–".into(), |s| format!("{:.2} – {:.2}", s.min, s.max)),
        median(&Run::whole_cpu),
        median(&|r| r.cpu),
        median(&|r| r.children_cpu),
        median(&|r| r.postgres_cpu),
        median(&|r| r.emulator_cpu),
        memory.map_or_else(|| "–".into(), |s| format!("{:.0} MiB", s.median)),
    ]
}

pub const RUN_HEADER: [&str; 9] = [
    "run, median",
    "seconds",
    "min – max",
    "CPU s",
    "client's",
    "its children's",
    "PostgreSQL's",
    "emulator's",
    "peak memory",
];

pub const FIGURE_HEADER: [&str; 6] = ["figure", "floor", "aim", "reached", "min – max", ""];

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

pub fn figure_table(figures: &[Figure]) -> String {
    let mut table = table(FIGURE_HEADER);
    for f in figures {
        table.add_row([
            Cell::new(&f.name),
            right(f.floor_text()),
            right(f.aim_text()),
            right(f.reached_text()),
            right(f.range_text()),
            Cell::new(f.mark()),
        ]);
    }
    table.to_string()
}

pub fn run_table(all: &[Repetition]) -> String {
    let mut table = table(RUN_HEADER);
    for measured in run_names(all) {
        let [name, numbers @ ..] = run_cells(all, measured);
        table.add_row([vec![Cell::new(name)], numbers.into_iter().map(right).collect()].concat());
    }
    table.to_string()
}
