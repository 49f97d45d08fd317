//! The migration cut on purpose: see `lab/chaos`.

use crate::lab::chaos;
use crate::session::{Command, Session, print};
use anyhow::Result;

/// The migration cut on purpose wherever it can be, resumed and compared, on disposable servers
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Cuts that meet a run; half of them while somebody writes to the source
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub cuts: usize,
    /// The same seed draws the same cuts [default: another one each time]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Size of the monolith: 1 is about 50 thousand rows
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub scale: u32,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        let plan = chaos::Plan { cuts: self.cuts, seed, scale: self.scale };
        session.terminal.phase(&format!("{} cuts, seed {seed}", self.cuts));
        let campaign =
            chaos::run(&plan, &session.workspace, session.environment()?, &session.terminal).await?;
        match session.common.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(&campaign)?))?,
            false => print(&campaign.text())?,
        }
        campaign.judge()
    }
}
