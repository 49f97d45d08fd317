//! Verbs beside each other: two operators on two machines, services that write after the cut-over, and one of
//! the two verbs cut. Each scene begins with the same shop and is judged on its own.

mod oracle;
mod scene;
mod services;
mod stage;
mod summary;
mod verb;

use self::oracle::{Ended, judge};
use self::scene::{Scene, Start};
use self::services::{Services, Written};
use self::stage::Stage;
use self::verb::Verb;
use crate::effects::process::Running;
use crate::effects::terminal::Terminal;
use crate::settings::Environment;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};
pub use summary::Campaign;

/// A verb has to end within this, whatever happens to it.
const PATIENCE: Duration = Duration::from_secs(150);
const TICK: Duration = Duration::from_millis(5);

pub struct Plan {
    pub cuts: usize,
    pub seed: u64,
    pub scale: u32,
    /// The scene of this number alone.
    pub only: Option<usize>,
}

/// # Errors
/// Where servers do not start, or the shop cannot be put back.
pub async fn run(
    plan: &Plan,
    workspace: &Path,
    environment: &Environment,
    terminal: &Terminal,
) -> Result<Campaign> {
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
    stage.put_back(scene.start).await.with_context(|| format!("before {scene}"))?;
    let (ended, met, written) = play(stage, scene).await.with_context(|| scene.to_string())?;
    let written = match written {
        Ok(written) => written,
        Err(error) => {
            campaign.failures.push(format!("{scene}: LOST: a service could not write: {error:#}"));
            Written::new()
        }
    };
    let lines = judge(stage, scene, &ended, &written).await.with_context(|| scene.to_string())?;
    let beside = ended.iter().map(|e| e.started).max() < ended.iter().map(|e| e.at).min();
    campaign.scenes += 1;
    campaign.beside += usize::from(beside);
    campaign.written += written.len();
    let [first, second] = &scene.calls;
    campaign.add_pair(first.verb, second.verb);
    match met {
        true => {
            campaign.cuts += 1;
            *campaign.cuts_by_verb.entry(scene.calls[scene.cut].verb.name()).or_default() += 1;
        }
        false => campaign.too_late += 1,
    }
    let how: Vec<String> = ended.iter().map(|e| format!("{} {}", e.call.verb, words(e.status))).collect();
    for end in &how {
        *campaign.ends.entry(end.clone()).or_default() += 1;
    }
    let took =
        |e: &Ended| format!("{} {} ({} ms)", e.call.verb, words(e.status), (e.at - e.started).as_millis());
    let how: Vec<String> = ended.iter().map(took).collect();
    let cut = if met { "cut" } else { "too late" };
    let verdict = if lines.is_empty() { "holds".to_string() } else { format!("{} FAILURES", lines.len()) };
    terminal.line(format!("  {scene} ({cut}): {}, {} written; {verdict}", how.join(", "), written.len()));
    for line in lines {
        terminal.line(format!("        {line}"));
        (0..scene.calls.len()).for_each(|place| terminal.detail(format!("        {}", stage.said(place))));
        campaign.failures.push(format!("{scene}: {line}"));
    }
    Ok(())
}

fn words(status: Option<ExitStatus>) -> String {
    match status.map(|status| status.code()) {
        None => "hangs".into(),
        Some(None) => "killed".into(),
        Some(Some(code)) => code.to_string(),
    }
}

/// How the calls ended, whether the cut met its call, and what the services wrote meanwhile.
async fn play(stage: &Stage, scene: &Scene) -> Result<(Vec<Ended>, bool, Result<Written>)> {
    let mut services = match scene.start {
        Start::CutOver => Some(stage.services().await?),
        _ => None,
    };
    let mut running: Vec<(Running, Instant)> = Vec::new();
    let mut ended: Vec<Ended> = Vec::new();
    // None: not yet.
    let mut struck = None;
    let began = Instant::now();
    while ended.len() < scene.calls.len() {
        if running.len() < scene.calls.len() && (running.is_empty() || began.elapsed() >= scene.delay) {
            let place = running.len();
            running.push((stage.call(&scene.calls[place], place)?, Instant::now()));
        }
        if let (None, Some((tool, since))) = (&struck, running.get(scene.cut))
            && since.elapsed() >= scene.moment
        {
            struck = Some(stage.strike(scene.fault, tool).await?);
        }
        for (place, (tool, started)) in running.iter().enumerate() {
            if !ended.iter().any(|ended| ended.place == place)
                && let Some(how) = end(scene, place, tool, *started)?
            {
                // From now on they may write.
                if services.is_none() && how.call.verb == Verb::Cutover && how.done() {
                    services = Some(stage.services().await?);
                }
                ended.push(how);
            }
        }
        tokio::time::sleep(TICK).await;
    }
    let written = stopped(services).await;
    let healing = struck.flatten();
    let met = healing.is_some();
    if let Some(healing) = healing {
        healing.await.context("healing the network")?;
    }
    Ok((ended, met, written))
}

async fn stopped(services: Option<Services>) -> Result<Written> {
    match services {
        Some(services) => services.stop().await,
        None => Ok(Written::new()),
    }
}

fn end(scene: &Scene, place: usize, tool: &Running, started: Instant) -> Result<Option<Ended>> {
    let at = Instant::now();
    let status = match tool.ended()? {
        Some(status) => Some(status),
        None if started.elapsed() > PATIENCE => {
            tool.kill()?;
            None
        }
        None => return Ok(None),
    };
    Ok(Some(Ended { call: scene.calls[place].clone(), place, status, started, at }))
}
