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
    pub fix: Option<String>,
    /// The command that fixes all of this kind at once.
    #[serde(skip)]
    pub fix_all: Option<String>,
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
        self.lines.push(Line { place: self.place.clone(), what, verdict, found, fix, fix_all: None });
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

    /// One of several that one command fixes together.
    pub fn not_met_among(&mut self, what: &'static str, found: String, fix: String, fix_all: &str) {
        self.push(what, Verdict::NotMet, found, Some(fix));
        self.lines.last_mut().into_iter().for_each(|line| line.fix_all = Some(fix_all.to_string()));
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

    /// Place by place, those first where something is not met; of each what is not met first, with what fixes it
    /// beneath.
    pub fn text(&self) -> String {
        let mut places: Vec<&str> = Vec::new();
        for line in &self.lines {
            if !places.contains(&line.place.as_str()) {
                places.push(&line.place);
            }
        }
        let missing = |place: &str| {
            self.lines.iter().any(|line| line.place == place && line.verdict == Verdict::NotMet)
        };
        places.sort_by_key(|place| !missing(place));
        let mut out: String = places.into_iter().map(|place| self.of_place(place)).collect();
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

    fn of_place(&self, place: &str) -> String {
        let of = |verdict: Verdict| {
            self.lines.iter().filter(move |line| line.place == place && line.verdict == verdict)
        };
        let mut out = format!("{place}\n");
        let not_met: Vec<&Line> = of(Verdict::NotMet).collect();
        for of_a_kind in not_met.chunk_by(|a, b| a.what == b.what) {
            out += &several(of_a_kind);
        }
        let unknown: Vec<&Line> = of(Verdict::NotLookedAt).collect();
        for because in unknown.chunk_by(|a, b| a.found == b.found) {
            let whats: Vec<&str> = because.iter().map(|line| line.what).collect();
            out += &format!(
                "  {} not looked at: {} ({})\n",
                Verdict::NotLookedAt.mark(),
                whats.join(", "),
                indented(&because[0].found)
            );
        }
        out + &of(Verdict::Warning).chain(of(Verdict::Met)).map(one).collect::<String>()
    }
}

/// How many of a kind are named; the others are counted.
const NAMED: usize = 3;

fn one(line: &Line) -> String {
    shown(line.verdict, line.what, &line.found, line.fix.as_deref())
}

/// Lines of one kind in one place: in one, with their count, what they are and what fixes them all.
fn several(lines: &[&Line]) -> String {
    let [first, _, ..] = lines else { return lines.iter().map(|line| one(line)).collect() };
    let named: Vec<&str> = lines.iter().take(NAMED).map(|line| line.found.as_str()).collect();
    let rest = match lines.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!("; and {rest} more, all with --json"),
    };
    let found = format!("{} are not met: {}{rest}", lines.len(), named.join("; "));
    let fix = first.fix_all.as_deref().or(first.fix.as_deref());
    shown(first.verdict, first.what, &found, fix)
}

fn shown(verdict: Verdict, what: &str, found: &str, fix: Option<&str>) -> String {
    let fix = fix.map(|fix| format!("    → {}\n", indented(fix))).unwrap_or_default();
    format!("  {} {what:<18} {}\n{fix}", verdict.mark(), indented(found))
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
            "  – not looked at: privileges (source cannot be reached)\n  ! clock",
            "  ! clock              2.0 s ahead\n    → chronyc makestep\n",
            "  ✓ reachable          PostgreSQL 15\n",
            "1 met, 1 warnings, 0 not met, 1 not looked at",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_is_not_met_comes_first_and_what_repeats_is_counted() {
        let mut well = Lines::of("this machine");
        well.met("pg_dump", "version 15");
        let mut order = Lines::of("order");
        order.met("reachable", "yes");
        for table in ["a", "b", "c", "d", "e"] {
            let (found, fix) = (format!("reading {table}"), format!("fix of {table};"));
            order.not_met_among("privileges", found, fix, "psql -f grants.sql");
        }
        order.not_looked_at(&["tables", "catalogue"], "a privilege is missing");
        let text = Health::new([well.lines, order.lines].concat()).text();
        let expected = "order\n  ✗ privileges         5 are not met: reading a; reading b; reading c; and 2 more, \
                        all with --json\n    → psql -f grants.sql\n  – not looked at: tables, catalogue (a \
                        privilege is missing)\n  ✓ reachable          yes\nthis machine\n";
        assert!(text.starts_with(expected), "{text}");
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
