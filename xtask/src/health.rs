//! What `doctor` finds: a line for each prerequisite, and what fixes those that are not met. Pure.

use serde::Serialize;

/// What was found of one prerequisite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    /// Not in the way, but to be known.
    Warning,
    NotMet,
    /// What it depends on is not met.
    NotLookedAt,
}

impl Verdict {
    fn mark(self) -> &'static str {
        match self {
            Verdict::Met => "✓",
            Verdict::Warning => "!",
            Verdict::NotMet => "✗",
            Verdict::NotLookedAt => "–",
        }
    }
}

/// One prerequisite.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `source`, `product`, `firestore`, `this machine`.
    pub place: String,
    pub what: &'static str,
    pub verdict: Verdict,
    pub found: String,
    /// The command that fixes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(rename = "mend")]
    pub fix: Option<String>,
}

/// The lines of one place, in the order in which they were found.
#[derive(Clone, Debug)]
pub struct Lines {
    place: String,
    pub lines: Vec<Line>,
}

impl Lines {
    pub fn of(place: &str) -> Lines {
        Lines { place: place.to_string(), lines: Vec::new() }
    }

    fn push(&mut self, what: &'static str, verdict: Verdict, found: String, fix: Option<String>) {
        self.lines.push(Line { place: self.place.clone(), what, verdict, found, fix });
    }

    pub fn met(&mut self, what: &'static str, found: impl Into<String>) {
        self.push(what, Verdict::Met, found.into(), None);
    }

    pub fn warn(&mut self, what: &'static str, found: impl Into<String>, fix: impl Into<String>) {
        self.push(what, Verdict::Warning, found.into(), Some(fix.into()));
    }

    pub fn not_met(&mut self, what: &'static str, found: impl Into<String>, fix: impl Into<String>) {
        self.push(what, Verdict::NotMet, found.into(), Some(fix.into()));
    }

    /// These depend on something that is not met.
    pub fn not_looked_at(&mut self, whats: &[&'static str], because: &str) {
        for what in whats {
            self.push(what, Verdict::NotLookedAt, because.to_string(), None);
        }
    }

    /// A look that failed is a prerequisite that is not met.
    pub fn failed(&mut self, what: &'static str, error: &anyhow::Error, fix: impl Into<String>) {
        self.not_met(what, format!("{error:#}"), fix);
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Health {
    /// No prerequisite is missing; warnings may be there.
    pub ready: bool,
    pub lines: Vec<Line>,
}

impl Health {
    pub fn new(lines: Vec<Line>) -> Health {
        let missing = |l: &Line| matches!(l.verdict, Verdict::NotMet | Verdict::NotLookedAt);
        Health { ready: !lines.iter().any(missing), lines }
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|l| l.verdict == verdict).count()
    }

    /// Place by place, each line with what fixes it beneath.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let mut place = "";
        for line in &self.lines {
            if line.place != place {
                out += &format!("{}\n", line.place);
                place = &line.place;
            }
            let found = if line.verdict == Verdict::NotLookedAt {
                format!("not looked at: {}", line.found)
            } else {
                line.found.clone()
            };
            out += &format!("  {} {:<18} {}\n", line.verdict.mark(), line.what, indented(&found));
            if let Some(fix) = &line.fix {
                out += &format!("    → {}\n", indented(fix));
            }
        }
        out += &format!(
            "{} met, {} warnings, {} not met, {} not looked at. Rows are not looked at: `cargo xtask plan` does. \
             What no program can see: that everybody concerned knows of the maintenance window\n",
            self.count(Verdict::Met),
            self.count(Verdict::Warning),
            self.count(Verdict::NotMet),
            self.count(Verdict::NotLookedAt),
        );
        out
    }
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n      ")
}

/// The clock of a server against ours, in seconds (theirs less ours), each reading between the moments
/// before and after it: the difference that is certain, from the reading that took least time.
pub fn clock_difference(readings: &[(f64, f64, f64)]) -> Option<f64> {
    let took = |r: &&(f64, f64, f64)| r.2 - r.0;
    let (before, theirs, after) = readings.iter().min_by(|a, b| took(a).total_cmp(&took(b)))?;
    Some(match theirs {
        t if t < before => t - before,
        t if t > after => t - after,
        _ => 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_not_met_or_not_looked_at_is_not_ready_and_a_warning_is() {
        let mut lines = Lines::of("source");
        lines.met("reachable", "PostgreSQL 15");
        lines.warn("clock", "2.0 s ahead", "chronyc makestep");
        assert!(Health::new(lines.lines.clone()).ready);
        lines.not_looked_at(&["privileges"], "source cannot be reached");
        let health = Health::new(lines.lines.clone());
        assert!(!health.ready);
        let text = health.text();
        for part in [
            "source\n  ✓ reachable          PostgreSQL 15\n",
            "  ! clock              2.0 s ahead\n    → chronyc makestep\n",
            "  – privileges         not looked at: source cannot be reached\n",
            "1 met, 1 warnings, 0 not met, 1 not looked at",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn clocks_are_compared_as_well_as_the_network_allows() {
        assert_eq!(clock_difference(&[]), None);
        // The slow reading would allow anything.
        assert_eq!(clock_difference(&[(0.0, 5.0, 10.0), (20.0, 23.0, 20.5)]), Some(2.5));
        assert_eq!(clock_difference(&[(20.0, 18.5, 20.5)]), Some(-1.5));
        assert_eq!(clock_difference(&[(20.0, 20.2, 20.5)]), Some(0.0));
    }
}
