//! What a campaign came to.

use super::judge::Verdict;
use super::round::{After, Round};
use super::writers::{self, Tally};
use crate::model::{Stop, grouped};
use anyhow::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// A campaign of this length has to have met everything.
const FULL: usize = 200;
/// So many quiet rounds of it were unchanged.
const UNCHANGED: usize = 20;

/// What is in the summary beside the failures.
#[derive(Debug, Default, Serialize)]
pub struct Campaign {
    pub seed: u64,
    pub rounds: usize,
    /// Rows that were others, new or gone at the second look.
    pub changes: usize,
    /// Rounds in which every key was told.
    pub keys: usize,
    /// Of them with deleted rows, and those whose number was right.
    pub with_deletions: usize,
    pub deletions_exact: usize,
    pub deletions: usize,
    /// Keys told of rows that have the same values.
    pub same_told: usize,
    /// Quiet rounds that could be judged, and those that were unchanged, rightly.
    pub quiet: usize,
    pub unchanged: usize,
    /// Why something could not be told, where it may be so.
    pub unknown: BTreeMap<String, usize>,
    /// What writers and maintenance did.
    pub done: Tally,
    /// `round 7 (…): MISSED: …`, a line each.
    pub failures: Vec<String>,
    pub seconds: f64,
}

impl Campaign {
    pub fn add(&mut self, round: &Round, verdict: &Verdict, done: Tally) {
        self.rounds += 1;
        self.changes += verdict.changes;
        self.same_told += verdict.same_told;
        self.keys += usize::from(verdict.keys);
        if verdict.keys && verdict.deletions > 0 {
            self.with_deletions += 1;
            self.deletions += verdict.deletions;
            self.deletions_exact += usize::from(!verdict.failures.iter().any(|f| f.starts_with("COUNT")));
        }
        // A subject that was not remembered could not be judged.
        if round.after == After::Quiet && (verdict.unchanged || !verdict.failures.is_empty()) {
            self.quiet += 1;
            self.unchanged += usize::from(verdict.unchanged && verdict.failures.is_empty());
        }
        if let Some(reason) = &verdict.unknown {
            *self.unknown.entry(reason.clone()).or_default() += 1;
        }
        writers::add(&mut self.done, done);
        self.failures.extend(verdict.failures.iter().map(|failure| format!("{round}: {failure}")));
    }

    fn count(&self, word: &str) -> usize {
        self.failures.iter().filter(|line| line.contains(&format!(": {word}"))).count()
    }

    pub fn text(&self) -> String {
        let mut out: String = self.failures.iter().map(|line| format!("{line}\n")).collect();
        for (what, count) in &self.done {
            out += &format!("  {what:<34} {:>7}\n", grouped(*count as u64));
        }
        for (reason, count) in &self.unknown {
            out += &format!("unknown, rightly, in {count} rounds: {reason}\n");
        }
        out += &format!(
            "seed {}: {} rounds, {} changes, {} rounds missed some; {} deletions, exact in {} of {}; {} of {} quiet \
             rounds unchanged and right; {} keys told with the values they had; {} wrong unchanged, {} wrong counts, \
             {} false alarms, {} broken premises, {:.0} s\n",
            self.seed,
            grouped(self.rounds as u64),
            grouped(self.changes as u64),
            self.count("MISSED"),
            grouped(self.deletions as u64),
            self.deletions_exact,
            self.with_deletions,
            self.unchanged,
            self.quiet,
            grouped(self.same_told as u64),
            self.count("WRONG UNCHANGED"),
            self.count("COUNT"),
            self.count("FALSE ALARM"),
            self.count("PREMISE"),
            self.seconds
        );
        out
    }

    /// # Errors
    /// `Stop::Differs` where a round failed, or a campaign of full length reached "unchanged" too rarely.
    pub fn judge(&self) -> Result<()> {
        let Campaign { seed, unchanged, rounds, .. } = self;
        if !self.failures.is_empty() {
            let what = format!(
                "{} failures, see above; `chaos --changes {rounds} --seed {seed} --only K` does round K again",
                self.failures.len()
            );
            return Err(Stop::Differs(what).into());
        }
        if *rounds >= FULL && *unchanged < UNCHANGED {
            let what = format!("{unchanged} quiet rounds were unchanged, {UNCHANGED} have to be");
            return Err(Stop::Differs(what).into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_campaign_is_green_where_nothing_failed_and_unchanged_was_reached() {
        let mut campaign = Campaign::default();
        let quiet = Round::draw(3, 5);
        assert_eq!(quiet.after, After::Quiet);
        let unchanged = Verdict { unchanged: true, keys: true, ..Verdict::default() };
        (0..20).for_each(|_| campaign.add(&quiet, &unchanged, Tally::new()));
        let busy = Verdict { keys: true, deletions: 3, ..Verdict::default() };
        (0..180).for_each(|_| campaign.add(&Round::draw(3, 1), &busy, Tally::new()));
        assert!(campaign.judge().is_ok(), "{}", campaign.text());
        assert!(campaign.text().contains("540 deletions, exact in 180 of 180; 20 of 20 quiet"));
        campaign.unchanged = 19;
        assert!(campaign.judge().is_err(), "too rarely");
        campaign.unchanged = 20;
        let failed = Verdict { failures: vec!["MISSED: 1 of 2: 7".into()], ..Verdict::default() };
        campaign.add(&busy_round(), &failed, Tally::new());
        assert!(campaign.judge().is_err());
        assert!(campaign.text().contains("1 rounds missed some"), "{}", campaign.text());
    }

    fn busy_round() -> Round {
        Round::draw(3, 1)
    }
}
