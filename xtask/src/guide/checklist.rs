//! The guide's lists as they stand: each line done, with what shows it, or open, with the command that closes it.

use super::by_hand::{ByHand, Ticked};
use super::facts::{Evidence, Facts, Firestore, OneRun};
use super::items::{ITEMS, Item, List, ShownBy};
use crate::model::Stop;
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::run::manifest::{Manifest, SourceCheck};
use crate::shown::utc;
use crate::source::drift;
use anyhow::Result;
use datapath::firestore::{Address, Firestore as Client};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

/// A line as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub id: &'static str,
    pub text: &'static str,
    pub done: bool,
    /// Nothing is missing where it is open.
    pub optional: bool,
    /// What shows that it is done, or why it is open.
    pub evidence: String,
    /// When that was, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The command that closes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The command to look with before, where only people know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,
}

/// A list as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub list: List,
    pub title: &'static str,
    pub items: Vec<Line>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Checklist {
    pub environment: String,
    /// The run that it is about; `None`: there is none yet.
    pub run: Option<String>,
    pub done: usize,
    pub total: usize,
    pub lists: Vec<Listed>,
}

/// Makes a command complete: with what this call was told of where things are.
pub type Complete<'a> = &'a (dyn Fn(&str) -> String + 'a);

/// The run that a list is about: the newest that is cut over, else the newest with an export, else the newest.
///
/// # Errors
/// Where a run's manifest cannot be read: it might be the one.
pub fn newest(runs: &Path, environment: &str) -> Result<Option<String>> {
    let mut newest: Option<(u8, String)> = None;
    for id in dir::ids(runs)? {
        let manifest = dir::load_manifest(&runs.join(&id))?;
        if manifest.environment == environment {
            let rank = rank(&manifest);
            if newest.as_ref().is_none_or(|(best, _)| rank >= *best) {
                newest = Some((rank, id));
            }
        }
    }
    Ok(newest.map(|(_, id)| id))
}

fn rank(manifest: &Manifest) -> u8 {
    match (&manifest.cutover, &manifest.export) {
        (Some(_), _) => 2,
        (None, Some(_)) => 1,
        (None, None) => 0,
    }
}

/// Looks at the run's files; for the first list Firestore is asked, for the second the source. `run`: `None`: there is none.
pub async fn look(
    ctx: &Ctx,
    run: Option<RunDir>,
    lists: &[List],
    complete: Complete<'_>,
) -> Result<Checklist> {
    let firestore = match lists.contains(&List::Before) {
        true => answer(ctx).await,
        false => Err("Firestore was not asked for this list".to_string()),
    };
    let (settings, runs) = (&ctx.settings, ctx.run.runs());
    let run = run.map(OneRun::read).transpose()?;
    let id = run.as_ref().map(|run| run.dir.id().to_string());
    let source = match &run {
        Some(run) if lists.contains(&List::During) => changed(ctx, &run.manifest).await,
        _ => None,
    };
    let facts = Facts { settings, runs, run, firestore, source };
    let by_hand = ByHand::at(runs, &settings.environment);
    let lines = Lines { facts: &facts, by_hand: &by_hand, run: id.as_deref(), complete };
    let mut listed = Vec::new();
    for list in lists {
        let items = ITEMS.iter().filter(|item| item.list == *list);
        let items = items.map(|item| lines.of(item)).collect::<Result<Vec<Line>>>()?;
        listed.push(Listed { list: *list, title: list.title(), items });
    }
    let all = || listed.iter().flat_map(|list| &list.items);
    let (done, total) = (all().filter(|line| line.done).count(), all().count());
    Ok(Checklist { environment: settings.environment.clone(), run: id, done, total, lists: listed })
}

/// As the cut-over asks it: by row versions, where they tell. Nothing is noted in the run.
async fn changed(ctx: &Ctx, manifest: &Manifest) -> Option<SourceCheck> {
    let Manifest { backup, export, cutover, rolled_back, .. } = manifest;
    let open = backup.is_some() && export.is_some() && cutover.is_none() && rolled_back.is_empty();
    if !open {
        return None;
    }
    let null_policy = ctx.settings.policy.null_policy;
    let aside = Arc::new(ctx.of_run(RunDir::dry_run_dir(ctx.run.runs()), null_policy));
    Some(drift::beside(&aside, manifest).await)
}

/// Only reads; Firestore itself is asked.
async fn answer(ctx: &Ctx) -> Firestore {
    let address = Address::from(&ctx.settings.firestore);
    match Client::connect(&address).await {
        Ok(_) => Ok(format!("it answers: {address}")),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// How lines come about.
struct Lines<'a> {
    facts: &'a Facts<'a>,
    by_hand: &'a ByHand,
    run: Option<&'a str>,
    complete: Complete<'a>,
}

impl Lines<'_> {
    fn of(&self, item: &'static Item) -> Result<Line> {
        let Item { id, text, shown_by, .. } = *item;
        let line = Line {
            id,
            text,
            done: false,
            optional: item.is_optional(),
            evidence: String::new(),
            at: None,
            command: None,
            look: None,
        };
        Ok(match (self.facts.of(shown_by)?, shown_by) {
            (Some(Evidence::Done { what, at }), _) => {
                Line { done: true, evidence: what, at: Some(at), ..line }
            }
            (Some(Evidence::Open { why, then }), _) => {
                Line { evidence: why, command: Some((self.complete)(&then)), ..line }
            }
            (None, ShownBy::Documentation) => self.documentation(line)?,
            (None, _) => self.people(item, line)?,
        })
    }

    fn people(&self, item: &Item, line: Line) -> Result<Line> {
        let open = |why: String| {
            let run = self.run.filter(|_| item.is_of_a_run()).map(|run| format!(" --run {run}"));
            let tick = format!("checklist done {} --by NAME{}", item.id, run.unwrap_or_default());
            let look = match item.shown_by {
                ShownBy::People(Some(look)) => Some((self.complete)(look)),
                _ => None,
            };
            Line { evidence: why, command: Some((self.complete)(&tick)), look, ..line.clone() }
        };
        Ok(match self.by_hand.of(item.id)? {
            None => open(String::new()),
            Some((at, Ticked { by, run, .. })) if item.is_of_a_run() && run.as_deref() != self.run => {
                let of = run.map_or("no run".to_string(), |run| format!("run {run}"));
                open(format!("{by} ticked it at {} for {of}, not for this one", utc(&at)))
            }
            Some((at, Ticked { by, note, .. })) => {
                let note = note.map_or(String::new(), |note| format!(": {note}"));
                Line { done: true, evidence: format!("{by}{note}"), at: Some(at), ..line }
            }
        })
    }

    /// Done when all of its own lines are.
    fn documentation(&self, line: Line) -> Result<Line> {
        let parts = ITEMS.iter().filter(|item| item.is_of_documentation());
        let parts = parts.map(|item| self.of(item)).collect::<Result<Vec<Line>>>()?;
        let done = parts.iter().filter(|part| part.done).count();
        let evidence = format!("{done} of its {} lines, which follow", parts.len());
        let next = parts.iter().find(|part| !part.done).and_then(|part| part.command.clone());
        let at = parts.iter().filter_map(|part| part.at.clone()).max();
        match next {
            None => Ok(Line { done: true, evidence, at, ..line }),
            Some(_) => {
                let look = Some((self.complete)("checklist services --dir DIR"));
                Ok(Line { evidence, command: next, look, ..line })
            }
        }
    }
}

impl Checklist {
    fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lists.iter().flat_map(|list| &list.items)
    }

    pub fn verdict(&self) -> String {
        let open = self.total - self.done;
        let about = self.run.as_ref().map_or("no run yet".to_string(), |run| format!("run {run}"));
        match open {
            0 => format!("✓ {} of {} done · {about}", self.done, self.total),
            _ => format!("○ {} of {} done · {open} open · {about}", self.done, self.total),
        }
    }

    /// The command that closes the first open line.
    pub fn next(&self) -> Option<&str> {
        self.lines().filter(|line| !line.done && !line.optional).find_map(|line| line.command.as_deref())
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.verdict());
        for list in &self.lists {
            let done = list.items.iter().filter(|line| line.done).count();
            out += &format!("\n{} ({done} of {})\n", list.title, list.items.len());
            for (number, line) in list.items.iter().enumerate() {
                out += &line.head();
                // What several lines in a row have to say is said once, below the last of them.
                if !list.items.get(number + 1).is_some_and(|next| next.says_the_same(line)) {
                    out += &line.explanation();
                }
            }
        }
        out
    }

    /// The lists as the guide writes them.
    pub fn markdown(&self) -> String {
        let mut out = format!("# Migration checklist: {}\n\n{}\n", self.environment, self.verdict());
        for list in &self.lists {
            out += &format!("\n## {}\n\n", list.title);
            for line in &list.items {
                let (mark, indent) = (if line.done { "x" } else { " " }, line.indent());
                out += &format!("{indent}- [{mark}] {}{}\n", line.text, line.shown());
            }
        }
        out
    }

    /// # Errors
    /// Exit code 3 where a line is open that is not optional.
    pub fn judge(&self) -> Result<()> {
        match self.lines().filter(|line| !line.done && !line.optional).count() {
            0 => Ok(()),
            open => Err(Stop::Differs(format!("{open} lines of the checklist are open")).into()),
        }
    }
}

impl Line {
    fn indent(&self) -> &'static str {
        if self.id.starts_with("docs-") { "  " } else { "" }
    }

    fn says_the_same(&self, other: &Line) -> bool {
        let said = |line: &Line| (line.done, line.evidence.clone(), line.command.clone());
        !self.done && said(self) == said(other)
    }

    fn head(&self) -> String {
        let (mark, indent) = (if self.done { "✓" } else { "○" }, self.indent());
        format!("  {indent}{mark} {}\n", self.text)
    }

    fn explanation(&self) -> String {
        let (mut out, indent) = (String::new(), self.indent());
        if !self.evidence.is_empty() || self.at.is_some() {
            let at = self.at.as_ref().map_or(String::new(), |at| format!(" · {}", utc(at)));
            out += &format!("      {indent}{}{at}\n", self.evidence);
        }
        for command in self.look.iter().chain(&self.command) {
            out += &format!("      {indent}→ {command}\n");
        }
        out
    }

    /// Behind its text, in one line.
    fn shown(&self) -> String {
        let at = self.at.as_ref().map_or(String::new(), |at| format!(" ({})", utc(at)));
        let command = self.command.as_ref().map_or(String::new(), |command| format!("`{command}`"));
        let parts = [format!("{}{at}", self.evidence), command];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() { String::new() } else { format!(": {}", parts.join("; ").replace('\n', " ")) }
    }
}
