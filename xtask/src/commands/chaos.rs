//! The migration cut on purpose, verbs beside each other, and what it has left corrupted on purpose: see
//! `lab/chaos`, `lab/corruptions` and `lab/changes`.

use crate::lab::chaos::{live, verbs};
use crate::lab::{changes, chaos, corruptions, rollbacks};
use crate::session::{Command, Session};
use anyhow::Result;

/// For developers: interrupt and corrupt migrations on purpose
///
/// On disposable servers. Without an option the migration is interrupted wherever it can be, resumed and compared.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Cuts that meet a run; half of them while a client writes to the source. With --rollbacks: kills of the way back
    /// [default: 200, with --rollbacks 0]
    #[arg(long, value_name = "N")]
    pub cuts: Option<usize>,
    /// No cuts: single changes to rows, documents, definitions and files of one migrated shop, each looked at
    /// by verify and undone
    #[arg(long, value_name = "N", conflicts_with = "cuts")]
    pub corruptions: Option<usize>,
    /// The verbs that two operators type, started while each other runs, one of them cut; services write after
    /// the cut-over
    #[arg(long, value_enum, value_name = "WHICH", conflicts_with = "corruptions")]
    pub verbs: Option<Verbs>,
    /// Rounds in which a table is remembered while writers run, changed, and asked what has changed, compared with
    /// the truth
    #[arg(long, value_name = "N", conflicts_with_all = ["cuts", "corruptions", "verbs", "scale"])]
    pub changes: Option<usize>,
    /// Rounds of migrate, cut-over, services that write, and the way back; the next migration tells whether
    /// anything was lost, invented or changed
    #[arg(long, value_name = "N", conflicts_with_all = ["corruptions", "verbs", "changes", "scale"])]
    pub rollbacks: Option<usize>,
    /// Windows: the shop writes while it is migrated, caught up with and cut over; what is cut are the passes and the
    /// cut-over [default: 100 cuts, scale 0]
    #[arg(long, conflicts_with_all = ["corruptions", "verbs", "changes", "rollbacks", "only"])]
    pub live: bool,
    /// The corruption, the scene of two verbs, or with --changes the round, of this number alone
    #[arg(long, value_name = "N", conflicts_with_all = ["cuts", "corruptions"], requires = "seed")]
    pub only: Option<usize>,
    /// The same seed draws the same cuts, scenes and corruptions [default: another one each time]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Size of the monolith: 1 is about 50 thousand rows [default: 1, for corruptions and verbs 0]
    #[arg(long, value_name = "N")]
    pub scale: Option<u32>,
}

/// Of a campaign that does not say how many.
const CUTS: usize = 200;
const LIVE_CUTS: usize = 100;

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Verbs {
    /// Every ordered pair of them
    All,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        if let Some(Verbs::All) = self.verbs {
            return beside(session, &self, seed).await;
        }
        if let Some(rounds) = self.changes {
            return since(session, changes::Plan { rounds, seed, only: self.only }).await;
        }
        if let Some(rounds) = self.rollbacks {
            return back(session, rollbacks::Plan { rounds, seed, cuts: self.cuts.unwrap_or(0) }).await;
        }
        if self.live {
            return window(session, &self, seed).await;
        }
        match (self.corruptions, self.only) {
            (None, None) => cut(session, &self, seed).await,
            (corruptions, only) => {
                let corruptions = corruptions.unwrap_or_default();
                let scale = self.scale.unwrap_or(0);
                corrupt(session, corruptions::Wanted { corruptions, seed, scale, only }).await
            }
        }
    }
}

async fn cut(session: &Session<'_>, args: &Args, seed: u64) -> Result<()> {
    let plan = chaos::Plan { cuts: args.cuts.unwrap_or(CUTS), seed, scale: args.scale.unwrap_or(1) };
    session.terminal.phase(&format!("{} cuts, seed {seed}", plan.cuts));
    let campaign = chaos::run(&plan, &session.workspace, session.environment()?, &session.terminal).await?;
    shown(session, &campaign, &campaign.text())?;
    campaign.judge()
}

async fn beside(session: &Session<'_>, args: &Args, seed: u64) -> Result<()> {
    let scale = args.scale.unwrap_or(0);
    let plan = verbs::Plan { cuts: args.cuts.unwrap_or(CUTS), seed, scale, only: args.only };
    let (_, environment) = session.environment_file()?;
    session.terminal.phase(&format!("Verbs in parallel, seed {seed}"));
    let campaign = verbs::run(&plan, &session.workspace, &environment, &session.terminal).await?;
    shown(session, &campaign, &campaign.text())?;
    campaign.judge()
}

async fn window(session: &Session<'_>, args: &Args, seed: u64) -> Result<()> {
    let (cuts, scale) = (args.cuts.unwrap_or(LIVE_CUTS), args.scale.unwrap_or(0));
    let environment = session.environment_text()?;
    session.terminal.phase(&format!("The window: {cuts} cuts, seed {seed}"));
    let plan = chaos::Plan { cuts, seed, scale };
    let campaign = live::run(&plan, &session.workspace, &environment, &session.terminal).await?;
    shown(session, &campaign, &campaign.text())?;
    campaign.judge()
}

async fn corrupt(session: &Session<'_>, wanted: corruptions::Wanted) -> Result<()> {
    let number =
        wanted.only.map_or(format!("{} corruptions", wanted.corruptions), |n| format!("corruption {n}"));
    session.terminal.phase(&format!("{number}, seed {}", wanted.seed));
    let environment = session.environment()?;
    let summary = corruptions::run(wanted, &session.workspace, &environment, &session.terminal).await?;
    shown(session, &summary, &summary.text())?;
    summary.judge()
}

async fn since(session: &Session<'_>, plan: changes::Plan) -> Result<()> {
    let number = plan.only.map_or(format!("{} rounds", plan.rounds), |only| format!("round {only}"));
    session.terminal.phase(&format!("What has changed since an instant: {number}, seed {}", plan.seed));
    let campaign = changes::run(&plan, &session.workspace, &session.terminal).await?;
    shown(session, &campaign, &campaign.text())?;
    campaign.judge()
}

async fn back(session: &Session<'_>, plan: rollbacks::Plan) -> Result<()> {
    session
        .terminal
        .phase(&format!("The way back: {} rounds, {} cuts, seed {}", plan.rounds, plan.cuts, plan.seed));
    let environment = session.environment()?;
    let campaign = rollbacks::run(&plan, &session.workspace, &environment, &session.terminal).await?;
    shown(session, &campaign, &campaign.text())?;
    campaign.judge()
}

fn shown(session: &Session<'_>, campaign: &impl serde::Serialize, text: &str) -> Result<()> {
    session.done(campaign, text.to_string(), None)
}
