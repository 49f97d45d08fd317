//! The report as one page: no script, nothing loaded from elsewhere, light and dark as the reader has it, for the
//! screen, the phone and paper. What comes from strangers is escaped by maud.

use super::parts::{head, px};
use super::story::{RunState, RunStory};
use crate::journal::Command;
use crate::model::{explain, grouped};
use crate::run::manifest::{Manifest, SourceCheck};
use crate::run::report::{Line, Report};
use crate::shown::utc;
use crate::sql::HashFn;
use crate::steps::Event;
use maud::{DOCTYPE, Markup, html};

/// Findings that are shown; the run's `report.txt` and `--json` have all that were kept.
const FINDINGS: usize = 50;

pub fn page(story: &RunStory) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(&format!("{}: run {}", word(&story.state), story.run), include_str!("page.css")))
            body {
                (header(story))
                main {
                    @if let Some(report) = &story.report {
                        (findings(report))
                        (rows(report))
                        (left_behind(report))
                        (proof(report, &story.state))
                    }
                    (course(&story.journal.commands))
                    @if let Some(report) = &story.report { (hazards(report)) }
                    (places(&story.manifest))
                    (files(&story.manifest))
                }
            }
        }
    }
    .into_string()
}

fn word(state: &RunState) -> &'static str {
    match state {
        RunState::NotVerified => "Not verified",
        RunState::Proven { .. } => "Proven",
        RunState::Differs { .. } => "Not proven",
        RunState::TakenBack { .. } => "Taken back",
    }
}

fn class(state: &RunState) -> &'static str {
    match state {
        RunState::NotVerified => "open",
        RunState::Proven { .. } => "good",
        RunState::Differs { .. } => "bad",
        RunState::TakenBack { .. } => "back",
    }
}

fn header(story: &RunStory) -> Markup {
    let manifest = &story.manifest;
    let quarantined: u64 =
        story.report.iter().flat_map(|report| &report.tables).map(|line| line.sums.quarantined).sum();
    html! {
        header {
            p.kicker { "run " (story.run) " · environment " (manifest.environment) }
            h1 class=(class(&story.state)) { (word(&story.state)) }
            @match &story.state {
                RunState::NotVerified => p.lead { "No store was compared with the source yet." },
                RunState::Proven { at } => p.lead { "Every row of the snapshot has one outcome, and the stores hold what it is. Proven at " (utc(at)) "." },
                RunState::Differs { at, wrong } => p.lead { (grouped(*wrong)) " rows, documents or other things are not as they must be. Verified at " (utc(at)) "." },
                RunState::TakenBack { at, scope } => p.lead { "The old database is the shop's again since " (utc(at)) " (" (scope) ")." },
            }
            @if let Some(report) = &story.report {
                p.sums { (report.sums()) }
                (flow(&totals(report), "all tables"))
                (key())
            }
            dl.facts {
                div { dt { "Began" } dd { (utc(&manifest.started)) } }
                div { dt { "Command" } dd { (manifest.command) } }
                div { dt { "Tool" } dd { (manifest.tool.version) } }
                @if let Some(cutover) = &manifest.cutover { div { dt { "Services took over" } dd { (utc(&cutover.at)) } } }
                @if quarantined > 0 { div { dt { "In quarantine" } dd { (grouped(quarantined)) " rows, kept with their reasons" } } }
                @if let Some(time) = manifest.time.as_ref().and_then(|time| time.real) { div { dt { "All phases" } dd { (format!("{:.1} s", time.total())) } } }
            }
            @if let Some(next) = &story.next { p.next { "Next: " code { (next) } } }
        }
    }
}

fn findings(report: &Report) -> Markup {
    let tables = report.tables.iter().flat_map(|line| &line.findings);
    let all: Vec<_> = tables.chain(report.checks.iter().flat_map(|check| &check.findings)).collect();
    html! {
        @if report.proven == Some(false) {
            section {
                h2 { "Findings" }
                ul.findings { @for finding in all.iter().take(FINDINGS) { li { (finding.text) } } }
                @if all.len() > FINDINGS { p.soft { (all.len() - FINDINGS) " more are in report.json." } }
            }
        }
    }
}

/// Migrated, excluded, quarantined.
type Parts = [u64; 3];

fn parts(line: &Line) -> Parts {
    [line.sums.migrated, line.sums.excluded, line.sums.quarantined]
}

fn totals(report: &Report) -> Parts {
    report
        .tables
        .iter()
        .map(parts)
        .fold(Parts::default(), |sum, of| [sum[0] + of[0], sum[1] + of[1], sum[2] + of[2]])
}

/// How the rows of a table go on, as a bar: what is there has a width that can be seen.
fn flow(parts: &Parts, name: &str) -> Markup {
    const WIDTH: f64 = 600.0;
    const LEAST: f64 = 4.0;
    let total = parts.iter().sum::<u64>().max(1) as f64;
    let widths = parts.map(|part| if part == 0 { 0.0 } else { (part as f64 / total * WIDTH).max(LEAST) });
    let scale = WIDTH / widths.iter().sum::<f64>().max(1.0);
    let label = format!(
        "{name}: {} migrated, {} excluded, {} quarantined",
        grouped(parts[0]),
        grouped(parts[1]),
        grouped(parts[2])
    );
    let mut x = 0.0;
    let bars = ["migrated", "excluded", "quarantined"].into_iter().zip(widths).map(|(class, width)| {
        let bar = (class, x, width * scale);
        x += width * scale;
        bar
    });
    html! {
        svg.flow viewBox="0 0 600 12" preserveAspectRatio="none" role="img" aria-label=(label) {
            @for (class, x, width) in bars {
                @if width > 0.0 { rect class=(class) x=(px(x)) y="0" width=(px(width)) height="12" {} }
            }
        }
    }
}

fn key() -> Markup {
    html! {
        p.key {
            @for name in ["migrated", "excluded", "quarantined"] { span class={ "dot " (name) } {} (name) " " }
        }
    }
}

/// The head of a table: columns of words, and behind them those of numbers. On a phone each cell has its label instead.
fn columns(words: &[&str], numbers: &[&str]) -> Markup {
    html! {
        thead { tr {
            @for word in words { th.left scope="col" { (word) } }
            @for number in numbers { th scope="col" { (number) } }
        } }
    }
}

fn rows(report: &Report) -> Markup {
    html! {
        section {
            h2 { "Where every row went" }
            div.scroll {
                table.rows {
                    (columns(&["table"], &["source", "migrated", "excluded", "quarantined", "verified"]))
                    tbody { @for line in &report.tables { (row(line)) } }
                }
            }
        }
    }
}

fn row(line: &Line) -> Markup {
    let (class, mark) = match line.verified {
        Some(true) => ("good", "✓"),
        Some(false) => ("bad", "✗"),
        None => ("open", "–"),
    };
    html! {
        tr {
            th scope="row" { (line.table) (flow(&parts(line), &line.table)) }
            td data-label="source" { (grouped(line.source_rows)) }
            td data-label="migrated" { (grouped(line.sums.migrated)) }
            td data-label="excluded" { (grouped(line.sums.excluded)) }
            td data-label="quarantined" { (grouped(line.sums.quarantined)) }
            td data-label="verified" class=(class) { (mark) }
        }
    }
}

fn left_behind(report: &Report) -> Markup {
    let kinds: Vec<(&str, &str, u64, &str)> = report
        .tables
        .iter()
        .flat_map(|line| {
            line.outcomes.iter().map(move |(outcome, rows)| (line.table.as_str(), outcome.as_str(), *rows))
        })
        .filter_map(|(table, outcome, rows)| Some((table, outcome, rows, explain(outcome)?)))
        .collect();
    html! {
        @if !kinds.is_empty() {
            section {
                h2 { "Not migrated, and why" }
                div.scroll {
                    table.reasons {
                        (columns(&["table", "outcome", "meaning"], &["rows"]))
                        tbody {
                            @for (table, outcome, rows, meaning) in kinds {
                                tr { th scope="row" { (table) } td.left { (outcome) } td.left.wide { (meaning) } td { (grouped(rows)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn proof(report: &Report, state: &RunState) -> Markup {
    let unchanged = report.tables.iter().filter(|line| line.unchanged_since.is_some()).count();
    html! {
        section {
            h2 { "What was proven, and how" }
            @if report.proven.is_none() {
                p { (if matches!(state, RunState::TakenBack { .. }) { "No proof of it holds any more: the stores are not this run's since." } else { "Nothing was verified." }) }
            }
            @if unchanged > 0 {
                p { (unchanged) " tables are by their row versions what was proven by digest before, and were not read again; "
                    code { "verify --full" } " reads every row." }
            }
            ul.checks {
                @for check in &report.checks {
                    li class=(if check.wrong == 0 { "good" } else { "bad" }) { strong { (check.name) } ": " (check.looked_at) }
                }
            }
            @if let Some(source) = &report.source { (source_since(source)) }
            @for remark in &report.remarks { p.soft { "Remark: " (remark.text) } }
        }
    }
}

fn source_since(source: &SourceCheck) -> Markup {
    html! {
        @if source.by_pass {
            p { "Snapshot of the source: " (utc(&source.snapshot)) ", of the last catch-up pass; what has changed since is the next one's." }
        } @else { p {
            "Snapshot of the source: " (utc(&source.snapshot)) "; looked at again at " (utc(&source.at)) ": "
            @if let Some(why) = &source.unknown { "whether it has changed cannot be told: " (why) }
            @else if source.changed.is_empty() { "unchanged." }
            @else { "changed in " (source.changed.len()) " tables." }
        } }
        @if !source.changed.is_empty() {
            ul { @for (table, change) in &source.changed { li { (table) ": " (change.to_string()) } } }
        }
    }
}

fn hazards(report: &Report) -> Markup {
    html! {
        @if !report.hazards.is_empty() {
            section {
                h2 { "Hazards in the source" }
                @if !report.accepted.is_empty() { p { "Accepted by the operator: " (report.accepted.join(", ")) "." } }
                dl.hazards {
                    @for found in &report.hazards {
                        dt { (found.name) " × " (grouped(found.count)) @if found.accepted { " (accepted)" } }
                        dd { (sentence(&found.meaning)) ". " (sentence(&found.then)) "." }
                        @if !found.keys.is_empty() { dd.soft { (found.keys.join(", ")) @if found.count > found.keys.len() as u64 { ", …" } } }
                    }
                }
            }
        }
    }
}

fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().into_iter().flat_map(char::to_uppercase).chain(rest).collect()
}

/// Every command on the run, and the steps of the longest ones as a chart.
fn course(commands: &[Command]) -> Markup {
    html! {
        section {
            h2 { "What was done" }
            div.scroll {
                table.course {
                    (columns(&["command", "began", "ended"], &["seconds"]))
                    tbody { @for command in commands { (command_row(command)) } }
                }
            }
            @for command in commands.iter().filter(|command| command.steps.len() > 3) { (chart(command)) }
        }
    }
}

fn command_row(command: &Command) -> Markup {
    let who = command.process.as_ref().map(|process| format!("{}@{}", process.user, process.host));
    let ended = match (&command.whole.ended, &command.whole.event) {
        (None, _) => "not ended: under way, or killed".to_string(),
        (Some(_), Event::Done) => "done".to_string(),
        (Some(_), event) => event.to_string(),
    };
    html! {
        tr {
            th scope="row" { (command.whole.step) @if let Some(who) = who { span.soft { " " (who) } } }
            td.left { (utc(&command.whole.began)) }
            td.left.wide { (ended) @if !command.whole.detail.is_empty() { ": " (command.whole.detail) } }
            td data-label="seconds" { @if let Some(seconds) = seconds(&command.whole.began, command.whole.ended.as_deref()) { (format!("{seconds:.1}")) } }
        }
    }
}

/// Seconds from one instant of the journal to another.
fn seconds(from: &str, to: Option<&str>) -> Option<f64> {
    let at = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|at| at.as_microsecond() as f64 / 1e6);
    Some(at(to?)? - at(from)?)
}

fn chart(command: &Command) -> Markup {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 16.0;
    let began = &command.whole.began;
    let bars: Vec<(String, f64, f64, bool)> = command
        .steps
        .iter()
        .filter_map(|step| {
            let (from, to) = (seconds(began, Some(&step.began))?, seconds(began, step.ended.as_deref())?);
            Some((step.step.to_string(), from, to, step.event == Event::Done))
        })
        .collect();
    let end = bars.iter().map(|(_, _, to, _)| *to).fold(0.001, f64::max);
    let height = HEIGHT * bars.len() as f64;
    html! {
        figure {
            figcaption { (command.whole.step) ": its steps over " (format!("{end:.1} s")) }
            svg.chart viewBox=(format!("0 0 {WIDTH} {height}")) role="img" aria-label=(format!("steps of {}", command.whole.step)) {
                @for (n, (name, from, to, done)) in bars.iter().enumerate() {
                    rect class=(if *done { "migrated" } else { "quarantined" })
                        x=(px(from / end * WIDTH)) y=(px(n as f64 * HEIGHT + 2.0))
                        width=(px(((to - from) / end * WIDTH).max(1.5))) height=(px(HEIGHT - 4.0)) rx="2" {}
                    (label(name, from / end * WIDTH, to / end * WIDTH, n as f64 * HEIGHT + 11.5))
                }
            }
        }
    }
}

/// Next to its bar, on the side that has room; where neither has, the bar is so long that it holds its label.
fn label(name: &str, from: f64, to: f64, y: f64) -> Markup {
    match (to < 380.0, from > 150.0) {
        (true, _) => html! { text x=(px(to + 4.0)) y=(px(y)) { (name) } },
        (false, true) => html! { text x=(px(from - 4.0)) y=(px(y)) text-anchor="end" { (name) } },
        (false, false) => html! { text.inside x=(px(from + 6.0)) y=(px(y)) { (name) } },
    }
}

fn places(manifest: &Manifest) -> Markup {
    html! {
        section {
            h2 { "Servers" }
            ul {
                @for (name, server) in &manifest.servers.databases {
                    li { strong { (name) } ": " (server.database) " on " (server.host) ":" (server.port) ", cluster " (server.system) }
                }
                @if let Some(firestore) = &manifest.servers.firestore { li { strong { "firestore" } ": " (firestore) } }
            }
            @if let Some(backup) = &manifest.backup {
                p { "Snapshot " (utc(&backup.snapshot.taken)) ", digests by " (digests(backup.snapshot.hash)) "." }
            }
            @if !manifest.rolled_back.is_empty() || !manifest.services_back.is_empty() {
                ul {
                    @for back in &manifest.rolled_back { li { "taken back at " (utc(&back.at)) ": " (back.scope) } }
                    @for back in &manifest.services_back { li { (back.service) " taken back alone at " (utc(&back.at)) } }
                }
            }
        }
    }
}

fn digests(hash: HashFn) -> &'static str {
    match hash {
        HashFn::ValueBytes => "PostgreSQL's hash of every value's bytes",
        HashFn::Md5Utf8 => "MD5 of every value's text in UTF-8",
        HashFn::Md5Bytes => "MD5 of every value's bytes",
        HashFn::HashRecordExtended => {
            "PostgreSQL's hash of a row, which does not see a number's sign: they prove nothing"
        }
    }
}

fn files(manifest: &Manifest) -> Markup {
    let backup = manifest.backup.iter().flat_map(|backup| &backup.files);
    let export = manifest.export.iter().flat_map(|export| &export.files);
    let all: Vec<_> = backup.chain(export).collect();
    html! {
        @if !all.is_empty() {
            section {
                h2 { "Files" }
                div.scroll {
                    table.files {
                        (columns(&["file", "SHA-256"], &["bytes"]))
                        tbody { @for (name, info) in all { tr { th scope="row" { (name) } td.left { code { (info.sha256) } } td data-label="bytes" { (grouped(info.bytes)) } } } }
                    }
                }
            }
        }
    }
}
