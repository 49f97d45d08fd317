//! What happened to every row: for people a table, for programs JSON. Pure.

use crate::findings::{Counts, Finding, SaidFinding, Values};
use crate::hazards::{self, Found};
use crate::ledger::{self, Sums};
use crate::model::{Stop, grouped};
use crate::run::manifest::{Check, Cutover, Export, Manifest, Proof, Services, SourceCheck, left_out_lines};
use crate::shown::utc;
use crate::tables::Table;
use crate::timing::Part;
use anyhow::Result;
use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, TableStyle};
use serde::Serialize;
use std::collections::BTreeMap;

/// The result of a run, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub run: String,
    pub directory: String,
    pub tables: Vec<Line>,
    pub checks: Vec<SaidCheck>,
    /// What a DBA may rightly have decided about the targets' tables, beside `sql/schema`: no differences.
    pub remarks: Vec<SaidFinding>,
    /// What was found in the source before anything was changed.
    pub hazards: Vec<Found>,
    /// What a person has let pass with `--accept`.
    pub accepted: Vec<String>,
    /// What the dump of the source does not hold, each with why.
    pub left_out: BTreeMap<String, String>,
    /// How often a field of a document took its default for NULL.
    pub defaults: BTreeMap<String, BTreeMap<String, u64>>,
    /// Whether everything was proven. `None`: nothing was verified.
    pub proven: Option<bool>,
    /// How many rows, documents and other things are not as they must be.
    #[serde(skip)]
    pub(super) wrong: u64,
    /// How far the run has come where nothing was verified.
    #[serde(skip)]
    pub stage: Stage,
    /// The source since the snapshot, where it has been looked at again.
    pub source: Option<SourceCheck>,
    /// When the services took over; `None` where nothing says so.
    pub cutover: Option<String>,
    /// Whether what is foreign in a target is damage or the services' work: only `verify` says it.
    #[serde(skip)]
    pub era: Option<String>,
    pub seconds: BTreeMap<Part, f64>,
    /// What the parts were expected to take, before they began.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub predicted: BTreeMap<Part, f64>,
    /// Of this process alone, in bytes.
    pub peak_memory: Option<u64>,
}

/// How far a run comes by a command that proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    #[default]
    Exported,
    Imported,
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
    /// How the target's rows or documents compare with what is expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    pub findings: Vec<SaidFinding>,
    /// Its rows were not read: by their versions they are what was proven by digest then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unchanged_since: Option<String>,
    /// After the cut-over: what the services have done since.
    pub services: Option<Services>,
    pub seconds: f64,
}

/// A check as it leaves the tool.
#[derive(Clone, Debug, Serialize)]
pub struct SaidCheck {
    pub name: String,
    pub looked_at: String,
    pub wrong: u64,
    pub findings: Vec<SaidFinding>,
}

impl Report {
    /// A red proof as the error that gives exit code 3; the report has shown it.
    pub fn judge(&self) -> Result<()> {
        match self.proven {
            Some(false) => {
                Err(Stop::Differs(format!("see above, or `cargo xtask verify --run {}`", self.run)).into())
            }
            _ => Ok(()),
        }
    }

    pub fn new(
        run: &str,
        directory: String,
        tables: &[Table],
        export: &Export,
        proof: Option<&Proof>,
        values: Values,
    ) -> Report {
        let said = |findings: &[Finding]| findings.iter().map(|f| f.said(values)).collect::<Vec<_>>();
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
                counts: proven.map(|p| p.counts),
                findings: proven.map(|p| said(&p.findings)).unwrap_or_default(),
                unchanged_since: proven.and_then(|p| p.unchanged_since.clone()),
                services: proven.and_then(|p| p.services),
                seconds: record.seconds + proven.map_or(0.0, |p| p.seconds),
            })
        };
        let check = |check: &Check| SaidCheck {
            name: check.name.clone(),
            looked_at: check.looked_at.clone(),
            wrong: check.wrong,
            findings: said(&check.findings),
        };
        Report {
            run: run.to_string(),
            directory,
            tables: tables.iter().filter_map(line).collect(),
            checks: proof.iter().flat_map(|p| &p.checks).map(check).collect(),
            remarks: proof.map(|p| said(&p.remarks)).unwrap_or_default(),
            hazards: Vec::new(),
            accepted: Vec::new(),
            left_out: BTreeMap::new(),
            defaults: BTreeMap::new(),
            proven: proof.map(Proof::is_green),
            wrong: proof.map_or(0, Proof::wrong),
            stage: Stage::Exported,
            source: None,
            cutover: None,
            era: None,
            seconds: BTreeMap::new(),
            predicted: BTreeMap::new(),
            peak_memory: None,
        }
    }

    /// With what was found in the source before the run, and let pass, and what its dump does not hold.
    pub fn begun_with(mut self, manifest: &Manifest) -> Report {
        self.hazards.clone_from(&manifest.hazards);
        self.accepted.clone_from(&manifest.accepted);
        self.left_out = manifest.backup.as_ref().map(|backup| backup.left_out.clone()).unwrap_or_default();
        self
    }

    /// All of it: what is not as it must be, the table, what the rules did, and what was found in the source.
    pub fn text(&self) -> String {
        let parts = [
            self.differences(),
            self.table(),
            self.left_behind(),
            titled("Hazards in the source", hazards::text(&self.hazards)),
            match &self.accepted[..] {
                [] => String::new(),
                accepted => format!("Accepted by --accept: {}\n", accepted.join(", ")),
            },
            self.remarks(),
            self.checked(),
            self.of_when(),
            self.since_cutover(),
            self.measured(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Rows that were not migrated, each kind with its reason.
    fn left_behind(&self) -> String {
        let lines = self.tables.iter().map(|line| ledger::left_behind(&line.table, &line.outcomes));
        titled("Not migrated", lines.collect())
    }

    /// What is not exactly as in the source, or assumed, and what is not as `sql/schema` makes it but may be so.
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
        out.extend(self.remarks.iter().map(|remark| format!("  {remark}\n")));
        for line in left_out_lines(&self.left_out) {
            out += &format!("  not in the dump: {line}\n");
        }
        titled("Remarks", out)
    }

    fn checked(&self) -> String {
        let mut out = String::new();
        for check in &self.checks {
            let mark = if check.wrong == 0 { "✓" } else { "✗" };
            out += &format!("  {mark} {}: {}\n", check.name, check.looked_at);
        }
        titled("Checks", self.rows_read() + &out)
    }

    fn differences(&self) -> String {
        if self.proven != Some(false) {
            return String::new();
        }
        let findings: String = self.findings().map(|finding| format!("  ✗ {finding}\n")).collect();
        format!("Findings: {} differ; some of them\n{findings}", grouped(self.wrong))
    }

    /// Of which tables every row was read, and since when the others stand as they were proven.
    fn rows_read(&self) -> String {
        let unchanged: Vec<&String> = self.tables.iter().filter_map(|l| l.unchanged_since.as_ref()).collect();
        let Some(oldest) = unchanged.iter().min().map(|oldest| utc(oldest)) else { return String::new() };
        format!(
            "  ✓ rows: {} tables of PostgreSQL are by their row versions what was proven by digest at {oldest}, and \
             not read again; `verify --full` reads every row\n",
            unchanged.len()
        )
    }

    /// Says whether the run has been cut over: a foreign row means something else then.
    pub fn since(&mut self, cutover: Option<&Cutover>) {
        self.cutover = cutover.map(|c| c.at.clone());
        self.era = Some(match cutover {
            Some(cutover) => format!(
                "after the cut-over at {}: what differs from the run is the services' work, what is missing \
                 is not",
                utc(&cutover.at)
            ),
            None => "before the cut-over: whatever is not this run's is damage".to_string(),
        });
    }

    /// As of which instant it is proven, and what the source has become since.
    fn of_when(&self) -> String {
        let Some(source) = &self.source else { return String::new() };
        let SourceCheck {
            at,
            snapshot,
            changed,
            sequences,
            unknown,
            replayed,
            by_versions,
            by_digest,
            by_pass,
        } = source;
        let (at, snapshot) = (utc(at), utc(snapshot));
        let until = match replayed {
            Some(replayed) => format!("{at} on a standby, which had replayed {replayed}"),
            None => at,
        };
        let as_of = match self.proven {
            Some(true) => format!("proven as of the snapshot {snapshot}"),
            _ => format!("snapshot {snapshot}"),
        };
        if *by_pass {
            let since = "of the last pass; what has changed since is the next one's";
            return titled("Source", format!("  {as_of} {since}\n"));
        }
        let mut out = match (unknown, changed.len()) {
            (Some(why), _) => format!("  {as_of}; whether it has changed since cannot be said: {why}\n"),
            // Of an earlier version of this tool.
            (None, 0) if by_versions + by_digest == 0 => {
                format!("  {as_of}; unchanged until {until}, by digests of every table\n")
            }
            (None, 0) => format!(
                "  {as_of}; unchanged until {until}: {by_versions} tables by row versions, {by_digest} by digest\n"
            ),
            (None, 1) => format!("  {as_of}; changed until {until} in 1 table:\n"),
            (None, n) => format!("  {as_of}; changed until {until} in {n} tables:\n"),
        };
        for (table, change) in changed {
            out += &format!("  ! {table}: {change}\n");
        }
        if !sequences.is_empty() {
            let only = "sequences that moved on alone (numbers given out and not used)";
            out += &format!("  {only}: {}\n", sequences.join("; "));
        }
        titled("Source", out)
    }

    fn since_cutover(&self) -> String {
        let mut out = self.era.as_ref().map(|era| format!("  {era}\n")).unwrap_or_default();
        if let Some(at) = &self.cutover {
            for line in &self.tables {
                if let Some(Services { added, changed }) = line.services.filter(|s| s.added + s.changed > 0) {
                    let (added, changed) = (grouped(added), grouped(changed));
                    let table = &line.table;
                    out += &format!(
                        "  {table:<17} {added} rows added, {changed} changed, since the cut-over at {}\n",
                        utc(at)
                    );
                }
            }
        }
        titled("Cut-over", out)
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

    fn findings(&self) -> impl Iterator<Item = &SaidFinding> {
        let tables = self.tables.iter().flat_map(|l| &l.findings);
        tables.chain(self.checks.iter().flat_map(|c| &c.findings))
    }

    fn table(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(table_style());
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "table",
            "source =",
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
        // Close to each other: with these headers ten digits of rows are 80 columns.
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((u16::from(index > 0), 0));
        }
        let lines = table.to_string();
        lines.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// A part under its title; nothing where there is nothing to say.
fn titled(title: &str, lines: String) -> String {
    if lines.is_empty() { lines } else { format!("{title}\n{lines}") }
}
/// How tables look on the screen: a line under the header, one at the end.
pub fn table_style() -> TableStyle {
    let line = LineStyle::none().fill('─').junction('─');
    TableStyle::new().header_separator(line).bottom_border(line)
}
