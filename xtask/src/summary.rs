//! What happened to every row: for people a table, for programs JSON. Pure.

use crate::ledger::Sums;
use crate::manifest::{Check, Export, Proof};
use crate::model::{explain, grouped};
use crate::tables::Table;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, TableStyle};
use serde::Serialize;
use std::collections::BTreeMap;

/// The result of a run, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub run: String,
    pub directory: String,
    pub tables: Vec<Line>,
    pub checks: Vec<Check>,
    /// How often a field of a document took its default for NULL.
    pub defaults: BTreeMap<String, BTreeMap<String, u64>>,
    /// Whether everything was proven. `None`: nothing was verified.
    pub proven: Option<bool>,
    pub seconds: BTreeMap<String, f64>,
    /// What the parts were expected to take, before they began.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub predicted: BTreeMap<String, f64>,
    /// Of this process alone, in bytes.
    pub peak_memory: Option<u64>,
}

/// One table of the report: source rows = migrated + excluded + quarantined.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub table: String,
    pub source_rows: u64,
    pub sums: Sums,
    pub outcomes: BTreeMap<String, u64>,
    /// Columns whose value is assumed, with the value.
    pub assumed: BTreeMap<String, String>,
    /// Rows with a line in `notes/<table>.csv`.
    pub notes: u64,
    pub verified: Option<bool>,
    pub findings: Vec<String>,
    pub seconds: f64,
}

impl Report {
    pub fn new(
        run: &str,
        directory: String,
        tables: &[Table],
        export: &Export,
        proof: Option<&Proof>,
    ) -> Report {
        let line = |table: &Table| {
            let record = export.tables.get(table.name)?;
            let proven = proof.and_then(|p| p.tables.get(table.name));
            Some(Line {
                table: table.name.to_string(),
                source_rows: record.source_rows,
                sums: record.outcomes.sums(),
                outcomes: record.outcomes.rows.clone(),
                assumed: table.assumed.iter().map(|(c, v)| (c.to_string(), v.to_string())).collect(),
                notes: record.notes,
                verified: proven.map(|p| p.is_green()),
                findings: proven.map(|p| p.findings.clone()).unwrap_or_default(),
                seconds: record.seconds + proven.map_or(0.0, |p| p.seconds),
            })
        };
        Report {
            run: run.to_string(),
            directory,
            tables: tables.iter().filter_map(line).collect(),
            checks: proof.map(|p| p.checks.clone()).unwrap_or_default(),
            defaults: BTreeMap::new(),
            proven: proof.map(Proof::is_green),
            seconds: BTreeMap::new(),
            predicted: BTreeMap::new(),
            peak_memory: None,
        }
    }

    /// The table, what the rules did, and what was found.
    pub fn text(&self) -> String {
        let parts = [self.table(), self.left_behind(), self.remarks(), self.checked(), self.measured()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Rows that were not migrated, each kind with its reason.
    fn left_behind(&self) -> String {
        let mut out = String::new();
        for line in &self.tables {
            for (outcome, rows) in &line.outcomes {
                if let (Some(meaning), Some((kind, name))) = (explain(outcome), outcome.split_once(':')) {
                    let rows = grouped(*rows);
                    out += &format!("  {:<17}{rows:>9}  {kind:<12} {name:<24} {meaning}\n", line.table);
                }
            }
        }
        titled("Not migrated", out)
    }

    /// What is not exactly as in the source, or assumed.
    fn remarks(&self) -> String {
        let mut out = String::new();
        for (collection, fields) in &self.defaults {
            let fields: Vec<String> =
                fields.iter().filter(|(_, n)| **n > 0).map(|(f, n)| format!("{f} {}", grouped(*n))).collect();
            if !fields.is_empty() {
                out += &format!("  {collection:<17} defaults for NULL: {}\n", fields.join(", "));
            }
        }
        for line in &self.tables {
            if !line.assumed.is_empty() {
                let values: Vec<String> = line.assumed.iter().map(|(c, v)| format!("{c} = {v}")).collect();
                out += &format!("  {:<17} assumed in every row: {}\n", line.table, values.join(", "));
            }
            if line.notes > 0 {
                let notes = grouped(line.notes);
                out +=
                    &format!("  {:<17} {notes} rows with a note in notes/{}.csv\n", line.table, line.table);
            }
        }
        titled("Remarks", out)
    }

    fn checked(&self) -> String {
        let mut out = String::new();
        for check in &self.checks {
            let mark = if check.findings.is_empty() { "✓" } else { "✗" };
            out += &format!("  {mark} {}: {}\n", check.name, check.looked_at);
        }
        let mut out = titled("Checks", out);
        let findings: String = self.findings().map(|finding| format!("  ✗ {finding}\n")).collect();
        if !findings.is_empty() {
            out += &format!("\n{}", titled("Findings", findings));
        }
        out
    }

    fn measured(&self) -> String {
        let mut out = String::new();
        for (part, seconds) in &self.seconds {
            let predicted = self.predicted.get(part).map(|s| format!("   predicted {s:>7.1} s"));
            out += &format!("  {part:<28} {seconds:>7.1} s{}\n", predicted.unwrap_or_default());
        }
        if let Some(bytes) = self.peak_memory {
            let mebibytes = bytes as f64 / f64::from(1 << 20);
            out += &format!("  {:<28} {mebibytes:>7.0} MiB\n", "peak memory of this process");
        }
        titled("Measured", out)
    }

    fn findings(&self) -> impl Iterator<Item = &String> {
        let tables = self.tables.iter().flat_map(|l| &l.findings);
        tables.chain(self.checks.iter().flat_map(|c| &c.findings))
    }

    fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        let line = LineStyle::none().fill('─').junction('─');
        table.load_style(TableStyle::new().header_separator(line).bottom_border(line));
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "table",
            "source rows =",
            "migrated +",
            "excluded +",
            "quarantined",
            "verified",
            "seconds",
        ]);
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let number = |n: u64| right(grouped(n));
        for line in &self.tables {
            let verified = match line.verified {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "–",
            };
            table.add_row([
                Cell::new(&line.table),
                number(line.source_rows),
                number(line.sums.migrated),
                number(line.sums.excluded),
                number(line.sums.quarantined),
                Cell::new(verified).set_alignment(CellAlignment::Center),
                right(format!("{:.1}", line.seconds)),
            ]);
        }
        format!("{table}\n")
    }
}

/// A part under its title; nothing where there is nothing to say.
fn titled(title: &str, lines: String) -> String {
    if lines.is_empty() { lines } else { format!("{title}\n{lines}") }
}
