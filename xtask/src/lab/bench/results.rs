//! What bench comes to: the figures and what they were made of.

use crate::lab::bench::figures::{Bound, Figure, Repetition, Verdict};
use crate::lab::bench::tables;
use crate::lab::usage::Machine;
use crate::model::{Stop, grouped};
use anyhow::Result;
use serde::Serialize;

/// The figures, and how they came about: `bench.json`.
#[derive(Debug, Serialize)]
pub struct Results {
    pub finished: String,
    pub scale: u32,
    /// Of the source, all tables.
    pub rows: u64,
    pub machine: Machine,
    pub versions: Vec<(String, String)>,
    /// Why nothing is judged; `None`: the figures' verdicts count.
    pub not_judged: Option<String>,
    pub seconds: f64,
    pub figures: Vec<Figure>,
    /// Each repetition's runs.
    pub repetitions: Vec<Repetition>,
}

impl Results {
    /// For a person: the figures, then what was measured.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{}\n\n{}\n\n",
            tables::figure_table(&self.figures),
            tables::run_table(&self.repetitions)
        );
        out += &format!(
            "scale {}, {} rows; {} repetitions in {:.0} min; {} cores\n",
            self.scale,
            grouped(self.rows),
            self.repetitions.len(),
            self.seconds / 60.0,
            self.machine.cores
        );
        if let Some(why) = &self.not_judged {
            out += &format!("not judged: {why}\n");
        }
        out
    }

    /// Exit code 3 where a floor is missed, or was not measured: what was not looked at does not hold.
    pub fn check(&self) -> Result<()> {
        let failed = |figure: &Figure| match figure.verdict {
            Verdict::Missed => Some(format!(
                "{}: {}, the floor is {}",
                figure.name,
                figure.reached_text(),
                figure.floor_text()
            )),
            Verdict::Absent if figure.floor != Bound::None => {
                Some(format!("{}: {}", figure.name, figure.reached_text()))
            }
            Verdict::Held | Verdict::Shown | Verdict::Absent => None,
        };
        let failed: Vec<String> = self.figures.iter().filter_map(failed).collect();
        if failed.is_empty() {
            return Ok(());
        }
        Err(Stop::Differs(format!("floors that do not hold:\n  {}", failed.join("\n  "))).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::bench::figures::Unit;

    fn figure(name: &str, floor: Bound, value: Option<f64>) -> Figure {
        let all = [Repetition::default()];
        Figure::new(name, (Unit::Times, floor, Bound::None), &all, "there is no node", &|_| value)
    }

    fn checked(figures: Vec<Figure>) -> Result<()> {
        let results = Results {
            finished: String::new(),
            scale: 25,
            rows: 1,
            machine: crate::lab::usage::machine(),
            versions: Vec::new(),
            not_judged: None,
            seconds: 1.0,
            figures,
            repetitions: Vec::new(),
        };
        results.check()
    }

    #[test]
    fn a_check_fails_for_what_is_missed_and_for_what_was_not_measured() {
        let held = || figure("held", Bound::AtMost(2.0), Some(2.0));
        let shown = figure("shown", Bound::None, Some(9.0));
        let not_needed = figure("not needed", Bound::None, None);
        checked(vec![held(), shown, not_needed]).unwrap();
        let missed = figure("slow", Bound::AtMost(2.0), Some(2.5));
        let absent = figure("unseen", Bound::AtLeast(2.0), None);
        let error = checked(vec![held(), missed, absent]).unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(Stop::Differs(_))), "{error:#}");
        let said = format!("{error:#}");
        assert!(said.contains("slow: 2.50×, the floor is at most 2.00×"), "{said}");
        assert!(said.contains("unseen: absent: there is no node"), "{said}");
        assert!(!said.contains("held") && !said.contains("shown") && !said.contains("not needed"), "{said}");
    }
}
