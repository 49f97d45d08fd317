//! Verbs beside each other: two operators on two machines, services that write after the cut-over, and one of
//! the two verbs cut. Each scene begins with the same shop and is judged on its own.

mod machines;
mod old_shop;
mod oracle;
mod scene;
mod services;
mod stage;
mod summary;
mod verb;

use self::old_shop::{OldShop, OldShopWrites};
use self::oracle::{Ended, Verdict, judge};
use self::scene::{AtWork, Call, Scene, Start};
use self::services::{Services, Written};
use self::stage::Stage;
use self::verb::Verb;
use crate::effects::process::Running;
use crate::effects::terminal::Terminal;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
pub use summary::Campaign;

/// A verb has to end within this, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(150);
const TICK: Duration = Duration::from_millis(5);
/// The place of a call that is typed once more.
const AGAIN: usize = 2;

pub struct Plan {
    pub cuts: usize,
    pub seed: u64,
    pub scale: u32,
    /// The scene of this number alone.
    pub only: Option<usize>,
}

/// `environment`: the file that the scenes' environment is made of.
///
/// # Errors
/// Where servers do not start, or the shop cannot be put back.
pub async fn run(plan: &Plan, workspace: &Path, environment: &Path, terminal: &Terminal) -> Result<Campaign> {
    let started = Instant::now();
    let stage = Stage::open(workspace, environment, plan.scale, terminal).await?;
    let mut campaign = Campaign { seed: plan.seed, ..Campaign::default() };
    let mut number = plan.only.unwrap_or(1);
    loop {
        ensure!(campaign.scenes < 20 + 4 * plan.cuts, "too many cuts come too late");
        one(&stage, &Scene::draw(plan.seed, number), &mut campaign, terminal).await?;
        number += 1;
        if plan.only.is_some() || campaign.cuts >= plan.cuts {
            break;
        }
    }
    campaign.seconds = started.elapsed().as_secs_f64();
    stage.stop()?;
    Ok(campaign)
}

async fn one(stage: &Stage, scene: &Scene, campaign: &mut Campaign, terminal: &Terminal) -> Result<()> {
    stage.put_back(scene).await.with_context(|| format!("before {scene}"))?;
    let Played { ended, met, written, old_shop } =
        play(stage, scene).await.with_context(|| scene.to_string())?;
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            campaign.failures.push(format!("{scene}: LOST: a service could not write: {error:#}"));
            Written::new()
        }
    };
    let judged = judge(stage, scene, &ended, &written, &old_shop).await;
    let Verdict { lines, unjudged } = judged.with_context(|| scene.to_string())?;
    campaign.add(scene, &ended, met);
    campaign.written += written.len();
    campaign.committed += old_shop.committed.len();
    campaign.refused += old_shop.refused;
    campaign.unjudged += unjudged;
    let took = |e: &Ended| format!("{} {} ({} ms)", e.call.verb, e.how(), (e.at - e.started).as_millis());
    let how: Vec<String> = ended.iter().map(took).collect();
    let cut = if met { "cut" } else { "too late" };
    let verdict = if lines.is_empty() { "holds".to_string() } else { format!("{} FAILURES", lines.len()) };
    let writes = written.len() + old_shop.committed.len();
    terminal.line(format!("  {scene} ({cut}): {}, {writes} written; {verdict}", how.join(", ")));
    for line in lines {
        terminal.line(format!("        {line}"));
        let said = (0..ended.len()).map(|place| stage.machines.said(place));
        said.for_each(|said| terminal.detail(format!("        {said}")));
        campaign.failures.push(format!("{scene}: {line}"));
    }
    Ok(())
}

/// What came of a scene.
struct Played {
    ended: Vec<Ended>,
    /// Whether the cut met its call.
    met: bool,
    /// What the services wrote meanwhile, or what kept them from it.
    written: Result<Written>,
    old_shop: OldShopWrites,
}

/// Those who write beside the calls.
struct Beside {
    services: Option<Services>,
    old_shop: Option<OldShop>,
}

async fn play(stage: &Stage, scene: &Scene) -> Result<Played> {
    let mut beside = Beside::begin(stage, scene).await?;
    let mut running: Vec<(Running, Instant)> = Vec::new();
    let mut ended: Vec<Ended> = Vec::new();
    // None: not yet.
    let mut struck = None;
    let began = Instant::now();
    while ended.len() < scene.calls.len() {
        if running.len() < scene.calls.len() && (running.is_empty() || began.elapsed() >= scene.delay) {
            let place = running.len();
            running.push((stage.call(scene, &scene.calls[place], place)?, Instant::now()));
        }
        if let (None, Some((tool, since))) = (&struck, running.get(scene.cut))
            && since.elapsed() >= scene.moment
        {
            struck = Some(stage.strike(scene.fault, tool).await?);
        }
        for (place, (tool, started)) in running.iter().enumerate() {
            if !ended.iter().any(|ended| ended.place == place)
                && let Some(how) = end(stage, &scene.calls[place], place, tool, *started)?
            {
                ended.push(how);
            }
        }
        beside.go_on(stage, &ended).await?;
        if let ([first], 1) = (&mut ended[..], running.len())
            && first.green()
            && first.held.is_none()
            && scene.calls[1].verb.writes()
        {
            first.held = Some(stage.held().await?);
        }
        tokio::time::sleep(TICK).await;
    }
    let healing = struck.flatten();
    let met = healing.is_some();
    if let Some(healing) = healing {
        healing.await.context("healing the network")?;
    }
    if let Some(place) = scene.again {
        ended.push(again(stage, scene, place).await?);
    }
    let (written, old_shop) = beside.stop().await;
    Ok(Played { ended, met, written, old_shop: old_shop? })
}

/// A call that is typed once more, with nobody beside it but the services.
async fn again(stage: &Stage, scene: &Scene, place: usize) -> Result<Ended> {
    let call = &scene.calls[place];
    let (tool, started) = (stage.call(scene, call, AGAIN)?, Instant::now());
    loop {
        if let Some(how) = end(stage, call, AGAIN, &tool, started)? {
            return Ok(how);
        }
        tokio::time::sleep(TICK).await;
    }
}

impl Beside {
    async fn begin(stage: &Stage, scene: &Scene) -> Result<Beside> {
        let (mut services, mut old_shop) = (None, None);
        match (scene.start, scene.writes) {
            (Start::CutOver { at_work, .. }, begin) => {
                services = Some(stage.services(at_work, begin.unwrap_or_default()).await?);
            }
            (_, Some(begin)) => old_shop = Some(stage.old_shop(begin)?),
            (_, None) => {}
        }
        Ok(Beside { services, old_shop })
    }

    /// From a cut-over on the services may write.
    async fn go_on(&mut self, stage: &Stage, ended: &[Ended]) -> Result<()> {
        if self.services.is_none() && ended.iter().any(|e| e.call.verb == Verb::Cutover && e.done()) {
            self.services = Some(stage.services(AtWork::All, Duration::ZERO).await?);
        }
        Ok(())
    }

    async fn stop(self) -> (Result<Written>, Result<OldShopWrites>) {
        let old_shop = match self.old_shop {
            Some(old_shop) => old_shop.stop().await,
            None => Ok(OldShopWrites::default()),
        };
        (stopped(self.services).await, old_shop)
    }
}

async fn stopped(services: Option<Services>) -> Result<Written> {
    match services {
        Some(services) => services.stop().await,
        None => Ok(Written::new()),
    }
}

fn end(stage: &Stage, call: &Call, place: usize, tool: &Running, started: Instant) -> Result<Option<Ended>> {
    let at = Instant::now();
    let status = match tool.ended()? {
        Some(status) => Some(status),
        None if started.elapsed() > PATIENCE => {
            tool.kill()?;
            None
        }
        None => return Ok(None),
    };
    let (call, last_line) = (call.clone(), stage.machines.last_line(place));
    Ok(Some(Ended { call, place, status, last_line, started, at, held: None }))
}
