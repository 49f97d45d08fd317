//! What `monitor` shows: the verdict first, what is wrong, then a line for each place where nothing is. Pure.

use super::judge::{Line, State};
use super::seen::{Measured, Seen, ServerSeen};
use crate::model::{Stop, grouped};
use crate::shown::{escaped, utc};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The worst of the lines.
    pub state: State,
    pub lines: Vec<Line>,
    #[serde(flatten)]
    pub seen: Seen,
}

/// Statements that are shown, of all servers.
const SLOWEST: usize = 10;

/// Columns of a screen.
const WIDTH: usize = 80;

impl Report {
    pub fn new(seen: Seen, lines: Vec<Line>) -> Report {
        let state = lines.iter().map(|line| line.state).max().unwrap_or(State::Ok);
        Report { state, lines, seen }
    }

    fn count(&self, state: State) -> usize {
        self.lines.iter().filter(|line| line.state == state).count()
    }

    fn verdict(&self) -> String {
        let (all, critical, warn) = (self.lines.len(), self.count(State::Critical), self.count(State::Warn));
        let when = format!("{} · {}", self.seen.environment, utc(&self.seen.at));
        match self.state {
            State::Ok => format!("✓ ok: {all} checks · {when}"),
            _ => format!("✗ {critical} CRIT, {warn} warn of {all} checks · {when}"),
        }
    }

    pub fn text(&self) -> String {
        let mut out = format!("{}\n", self.verdict());
        for line in self.lines.iter().filter(|line| line.state != State::Ok) {
            out += &format!("{:<4} {:<12} {:<17} {}\n", line.state.word(), line.of, line.check, line.said);
        }
        let mut places: BTreeMap<usize, (&str, usize)> = BTreeMap::new();
        for (at, line) in self.lines.iter().enumerate().filter(|(_, line)| line.state == State::Ok) {
            let known = places.values_mut().find(|(of, _)| *of == line.of);
            match known {
                Some((_, checks)) => *checks += 1,
                None => drop(places.insert(at, (&line.of, 1))),
            }
        }
        for (of, checks) in places.into_values() {
            out += &format!("{:<4} {of:<12} {checks:>2} checks: {}\n", State::Ok.word(), self.summary(of));
        }
        out + &self.slowest() + &self.not_seen()
    }

    /// The same where it has to fit.
    pub fn screen(&self) -> String {
        let fit = |line: &str| match line.char_indices().nth(WIDTH) {
            Some(_) => line.chars().take(WIDTH - 1).chain(['…']).collect::<String>(),
            None => line.to_string(),
        };
        self.text().lines().map(|line| fit(line) + "\n").collect()
    }

    /// What a person wants to know of a place where nothing is wrong.
    fn summary(&self, of: &str) -> String {
        let server = self.seen.servers.iter().find(|(name, _)| name.to_string() == of);
        match server {
            Some((_, ServerSeen::Up(measured))) => figures(measured),
            // The last of them says most.
            _ => self.lines.iter().rfind(|line| line.of == of).map(|l| l.said.clone()).unwrap_or_default(),
        }
    }

    fn slowest(&self) -> String {
        let mut all = Vec::new();
        for (name, server) in &self.seen.servers {
            if let ServerSeen::Up(measured) = server {
                all.extend(measured.slowest.iter().map(|statement| (*name, statement)));
            }
        }
        all.sort_by(|(_, a), (_, b)| b.mean_ms.total_cmp(&a.mean_ms));
        let line = |(name, s): &(_, &crate::run::statements::Statement)| {
            format!(
                "     {name:<12} {:>9.1} ms × {:<8} {}\n",
                s.mean_ms,
                grouped(s.calls),
                escaped(&s.line())
            )
        };
        let lines: String = all.iter().take(SLOWEST).map(line).collect();
        if lines.is_empty() { lines } else { format!("slowest statements, on average:\n{lines}") }
    }

    /// What was not shown to this role: a line a reason, with the servers.
    fn not_seen(&self) -> String {
        let mut reasons: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, server) in &self.seen.servers {
            if let ServerSeen::Up(measured) = server {
                measured
                    .not_seen
                    .iter()
                    .for_each(|why| reasons.entry(why).or_default().push(name.to_string()));
            }
        }
        let line = |(why, names): (&str, Vec<String>)| {
            format!("not seen: {} ({})\n", escaped(why), names.join(", "))
        };
        reasons.into_iter().map(line).collect()
    }

    /// What is beyond a limit as the error that gives exit code 3; it has been shown.
    pub fn judge(&self) -> Result<()> {
        let wrong = self.lines.iter().filter(|line| line.state != State::Ok);
        let wrong: Vec<String> = wrong.map(|line| format!("{} {}", line.of, line.check)).collect();
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Stop::Differs(format!("beyond its limit: {}; see above", wrong.join(", "))).into()),
        }
    }
}

fn figures(measured: &Measured) -> String {
    let mut said = Vec::new();
    if let Some(activity) = &measured.activity {
        said.push(format!("{} of {} connections", activity.sessions, activity.allowed));
    }
    said.extend(measured.cache_hits().map(|hits| format!("{:.1} % cache hits", hits * 100.0)));
    if let Some(database) = &measured.database {
        said.push(format!("{} bytes", grouped(database.bytes.unsigned_abs())));
    }
    said.join(", ")
}
