//! What bench comes to: the figures and what they were made of.

use crate::lab::bench::figures::{Figure, Repetition, Verdict};
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
    /// The scale that growth is measured from.
    pub smaller: Option<u32>,
    pub smaller_rows: u64,
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

    /// Exit code 3 where a floor is missed and the figures count.
    pub fn check(&self) -> Result<()> {
        let missed: Vec<&str> =
            self.figures.iter().filter(|f| f.verdict == Verdict::Missed).map(|f| f.name.as_str()).collect();
        if self.not_judged.is_none() && !missed.is_empty() {
            return Err(Stop::Differs(format!("floors missed: {}", missed.join("; "))).into());
        }
        Ok(())
    }
}
