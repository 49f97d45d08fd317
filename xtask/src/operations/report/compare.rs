//! Two runs side by side: a rehearsal and the night, or yesterday and today. Pure.

use super::story::RunStory;
use crate::model::grouped;
use crate::run::report::{Line, Report};
use std::collections::{BTreeMap, BTreeSet};

/// For people; only what is not the same has a line.
pub fn compare(a: &RunStory, b: &RunStory) -> String {
    let mut out = format!("run {}: {}\nrun {}: {}\n", a.run, a.verdict(), b.run, b.verdict());
    let (Some(first), Some(second)) = (&a.report, &b.report) else {
        return out + "one of them has no complete export: there is nothing to compare\n";
    };
    let parts = [
        ("Rows", tables(first, second)),
        ("Not migrated", outcomes(first, second)),
        ("Hazards", hazards(first, second)),
        ("Seconds", seconds(first, second)),
    ];
    for (title, lines) in parts {
        match lines.is_empty() {
            true => out += &format!("{title}: the same\n"),
            false => out += &format!("{title}\n{lines}"),
        }
    }
    out
}

fn tables(a: &Report, b: &Report) -> String {
    let counted =
        |line: &Line| [line.source_rows, line.sums.migrated, line.sums.excluded, line.sums.quarantined];
    let by_name = |report: &Report| -> BTreeMap<String, [u64; 4]> {
        report.tables.iter().map(|line| (line.table.clone(), counted(line))).collect()
    };
    let words = ["rows", "migrated", "excluded", "quarantined"];
    differences(&by_name(a), &by_name(b), |name, a, b| {
        let (a, b) = (a.copied().unwrap_or_default(), b.copied().unwrap_or_default());
        let part = |n: usize| format!("{} {} → {}", words[n], grouped(a[n]), grouped(b[n]));
        let parts = (0..words.len()).filter(|n| a[*n] != b[*n]).map(part).collect::<Vec<_>>();
        format!("  {name:<17} {}\n", parts.join(", "))
    })
}

fn outcomes(a: &Report, b: &Report) -> String {
    let of = |report: &Report| -> BTreeMap<String, u64> {
        let lines = report.tables.iter().flat_map(|line| {
            let kinds = line.outcomes.iter().filter(|(outcome, _)| outcome.as_str() != "migrated");
            kinds.map(|(outcome, rows)| (format!("{} {outcome}", line.table), *rows))
        });
        lines.collect()
    };
    differences(&of(a), &of(b), numbers)
}

fn hazards(a: &Report, b: &Report) -> String {
    let of = |report: &Report| -> BTreeMap<String, u64> {
        report.hazards.iter().map(|found| (found.name.clone(), found.count)).collect()
    };
    differences(&of(a), &of(b), numbers)
}

fn seconds(a: &Report, b: &Report) -> String {
    let of = |report: &Report| -> BTreeMap<String, f64> {
        report.seconds.iter().map(|(part, seconds)| (part.to_string(), *seconds)).collect()
    };
    differences(&of(a), &of(b), |name, a, b| {
        let shown = |seconds: Option<&f64>| seconds.map_or("–".to_string(), |s| format!("{s:.1} s"));
        format!("  {name:<28} {} → {}\n", shown(a), shown(b))
    })
}

fn numbers(name: &str, a: Option<&u64>, b: Option<&u64>) -> String {
    let shown = |n: Option<&u64>| grouped(n.copied().unwrap_or_default());
    format!("  {name:<50} {} → {}\n", shown(a), shown(b))
}

fn differences<T: PartialEq>(
    a: &BTreeMap<String, T>,
    b: &BTreeMap<String, T>,
    line: impl Fn(&str, Option<&T>, Option<&T>) -> String,
) -> String {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ = names.into_iter().filter(|name| a.get(*name) != b.get(*name));
    differ.map(|name| line(name, a.get(name), b.get(name))).collect()
}
