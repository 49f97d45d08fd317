//! What a campaign of verbs came to.

use super::oracle::Ended;
use super::scene::{Copied, Scene};
use super::verb::Verb;
use crate::model::{Stop, grouped};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// So often has each ordered pair to be started, and each verb to be cut, in a campaign of full length.
const PAIRS: usize = 2;
const CUTS: usize = 10;
/// From so many cuts on a campaign has its full length.
const FULL: usize = 300;

#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    pub scenes: usize,
    /// Those that met their verb while it ran.
    pub cuts: usize,
    pub too_late: usize,
    /// Calls that were in the air at the same time.
    pub beside: usize,
    /// Writes of services that were recorded.
    pub written: usize,
    /// Writes of the old shop's service that the source has said are committed, and those that it refused.
    pub committed: usize,
    pub refused: usize,
    /// Greens beside somebody who wrote, and went on when they had ended.
    pub unjudged: usize,
    /// `first, second` and how often.
    pub pairs: BTreeMap<String, usize>,
    /// Scenes after the cut-over, by what the second machine knew of it.
    pub copies: BTreeMap<String, usize>,
    pub cuts_by_verb: BTreeMap<&'static str, usize>,
    /// How the verbs ended: `verify 0`.
    pub ends: BTreeMap<String, usize>,
    pub failures: Vec<String>,
    pub seconds: f64,
}

fn pair(first: Verb, second: Verb) -> String {
    format!("{first}, {second}")
}

impl Campaign {
    /// A scene, how its calls ended, and whether the cut met its own.
    pub fn add(&mut self, scene: &Scene, ended: &[Ended], met: bool) {
        let [first, second] = &scene.calls;
        *self.pairs.entry(pair(first.verb, second.verb)).or_default() += 1;
        self.scenes += 1;
        let both = || ended.iter().filter(|e| e.place < scene.calls.len());
        let beside = both().map(|e| e.started).max() < both().map(|e| e.at).min();
        self.beside += usize::from(beside);
        match met {
            true => {
                self.cuts += 1;
                *self.cuts_by_verb.entry(scene.calls[scene.cut].verb.name()).or_default() += 1;
            }
            false => self.too_late += 1,
        }
        for end in ended {
            *self.ends.entry(format!("{} {}", end.call.verb, end.how())).or_default() += 1;
        }
        let copied = if scene.calls.iter().any(|call| call.copy) { scene.copied() } else { Copied::Now };
        if scene.start.is_cut_over() {
            *self.copies.entry(format!("{copied:?}")).or_default() += 1;
        }
    }

    fn count(&self, kind: &str) -> usize {
        self.failures.iter().filter(|line| line.contains(&format!(": {kind}"))).count()
    }

    pub fn text(&self) -> String {
        let mut out: String = self.failures.iter().map(|line| format!("{line}\n")).collect();
        for (end, count) in &self.ends {
            out += &format!("  {end:<34} {count:>4}\n");
        }
        out += "ordered pairs of verbs (a row starts first, a column beside it):\n";
        for first in Verb::ALL {
            let counts = Verb::ALL.map(|second| self.pairs.get(&pair(first, second)).copied().unwrap_or(0));
            let counts: String = counts.iter().map(|count| format!(" {count:>3}")).collect();
            out += &format!("  {:<18}{counts}\n", first.name());
        }
        out += "  columns: ";
        out += &format!("{}\n", Verb::ALL.map(Verb::name).join(", "));
        let cuts = Verb::ALL.map(|verb| {
            let count = self.cuts_by_verb.get(verb.name()).copied().unwrap_or(0);
            format!("{verb} {count}")
        });
        out += &format!("cuts: {}\n", cuts.join(", "));
        let copies = self.copies.iter().map(|(copied, count)| format!("{copied} {count}"));
        out += &format!(
            "scenes after the cut-over, by the runs' copy: {}\n",
            copies.collect::<Vec<_>>().join(", ")
        );
        out += &format!(
            "seed {}: {} cuts in {} scenes ({} more came too late), {} with both verbs at work, {} writes of services, \
             {} to the source and {} refused there; {} lost or undone, {} false greens ({} greens could not be judged: \
             somebody wrote beside them and went on), {} frozen in silence, {} open after the cut-over, {} failures \
             in all, {:.0} s\n",
            self.seed,
            grouped(self.cuts as u64),
            grouped(self.scenes as u64),
            self.too_late,
            self.beside,
            grouped(self.written as u64),
            grouped(self.committed as u64),
            grouped(self.refused as u64),
            self.count("LOST") + self.count("UNDONE"),
            self.count("FALSE GREEN"),
            self.unjudged,
            self.count("FROZEN"),
            self.count("OPEN"),
            self.failures.len(),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where a scene failed, or a campaign of full length left a pair or a verb out.
    pub fn judge(&self) -> Result<()> {
        let seed = self.seed;
        if !self.failures.is_empty() {
            let what = format!("see above; `chaos --verbs all --seed {seed} --only N` brings scene N back");
            return Err(Stop::Differs(what).into());
        }
        if self.cuts < FULL {
            return Ok(());
        }
        let few = |verb: &Verb| self.cuts_by_verb.get(verb.name()).copied().unwrap_or(0) < CUTS;
        let pairs = Verb::ALL.iter().flat_map(|first| Verb::ALL.map(|second| pair(*first, second)));
        let rare = pairs.filter(|pair| self.pairs.get(pair).copied().unwrap_or(0) < PAIRS);
        let left: Vec<String> =
            Verb::ALL.iter().filter(|v| few(v)).map(Verb::to_string).chain(rare).collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(Stop::Differs(format!("cut or started too rarely: {}", left.join("; "))).into()),
        }
    }
}
