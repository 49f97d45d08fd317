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
