//! The testbed of a window: a shop whose clients write, and the calls that are cut.

use super::window::{Choice, Cuts, Verb, Window};
use crate::effects::postgres;
use crate::effects::terminal::{Terminal, Verbosity};
use crate::lab::chaos::end::{Attempt, described};
use crate::lab::chaos::fault::{Cut, Fault, Moment};
use crate::lab::chaos::oracle;
use crate::lab::chaos::point::{Point, points};
use crate::lab::chaos::testbed::{MIGRATE, Testbed};
use crate::lab::itself;
use crate::lab::live::{self, SHOP, Writer, as_shop, role_of_the_shop};
use crate::run::dir::{self, RunDir};
use crate::run::freeze_log::FreezeLog;
use crate::run::manifest::Manifest;
use crate::servers::local;
use crate::sql;
use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sqlx::Row;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A command that is not cut and does not come to its end after so many calls never does.
const CALLS: usize = 6;

/// What `status` says of the source.
#[derive(Deserialize)]
struct Frozen {
    frozen: Option<serde_json::Value>,
}

pub(super) struct Bed {
    testbed: Testbed,
    workspace: PathBuf,
    scale: u32,
}

impl Bed {
    pub async fn open(workspace: &Path, local: &str, scale: u32, terminal: &Terminal) -> Result<Bed> {
        let (environment, text) = itself::environment_of_shop(local)?;
        let mut testbed = Testbed::open(workspace, environment, scale, terminal).await?;
        testbed.call_with(&text)?;
        Ok(Bed { testbed, workspace: workspace.to_path_buf(), scale })
    }

    /// A window that nobody cuts: how long it takes, and where it can be cut.
    pub async fn undisturbed(&mut self, seed: u64) -> Result<Choice> {
        let mut lengths = Vec::new();
        self.renew().await?;
        let writer = self.migrated(seed).await?;
        for verb in [Verb::CatchUp, Verb::Cutover] {
            let started = Instant::now();
            let attempt = self.testbed.call(&[verb.word()], None).await?;
            ensure!(is_done(&attempt), "{}: {}", verb.word(), self.testbed.said());
            let told = attempt.told.context("a command without a journal")?;
            let steps: Vec<Point> = points(&told).map(|(point, _)| point).collect();
            lengths.push((started.elapsed(), steps));
        }
        writer.stop().await?;
        let manifest = self.manifest()?;
        let frozen =
            manifest.cutover.and_then(|cutover| cutover.frozen_for).context("no freeze was timed")?;
        let mut lengths = lengths.into_iter();
        Ok(Choice {
            catch_up: lengths.next().unwrap_or_default(),
            cutover: lengths.next().unwrap_or_default(),
            frozen: Duration::from_secs_f64(frozen),
            disk: self.testbed.has_disk(),
        })
    }

    /// Migrated, caught up with and cut over while the shop writes, cut as planned.
    pub async fn window(&mut self, cuts: &Cuts, seed: u64) -> Result<Window> {
        let mut window = Window::default();
        self.renew().await?;
        let writer = self.migrated(seed).await?;
        let went_on = self.until_done(Verb::CatchUp, cuts, &mut window).await?;
        window.transactions += writer.stop().await?.transactions;
        if !went_on {
            return Ok(window);
        }
        // With the shop at rest, so that there is one truth.
        if self.until_done(Verb::CatchUp, &Cuts::none(), &mut window).await? {
            self.compared("after catch-up", &mut window).await?;
        }
        let writer = Writer::start(&as_shop(self.testbed.settings()), seed)?;
        let went_on = self.until_done(Verb::Cutover, cuts, &mut window).await?;
        window.transactions += writer.stop().await?.transactions;
        if went_on {
            self.compared("after cutover", &mut window).await?;
        }
        Ok(window)
    }

    /// An empty target, a full source whose clients may log in, and no run.
    async fn renew(&mut self) -> Result<()> {
        self.testbed.renew().await?;
        let book = FreezeLog::at(&self.testbed.runs());
        if book.path().exists() {
            fs::remove_file(book.path()).with_context(|| book.path().display().to_string())?;
        }
        let settings = self.testbed.settings();
        local::renew_one(self.testbed.connections(), &settings.source).await?;
        let mut connection = postgres::connect(&settings.source, "chaos").await?;
        connection.run(&sql::drop_role_if_there(SHOP)).await?;
        connection.close().await?;
        local::fill(&settings.source, self.scale, &Terminal::new(Verbosity::Quiet, true)).await?;
        role_of_the_shop(settings).await
    }

    /// Migrated, while the shop writes; it goes on.
    async fn migrated(&mut self, seed: u64) -> Result<Writer> {
        let writer = Writer::start(&as_shop(self.testbed.settings()), seed)?;
        let attempt = self.testbed.call(&MIGRATE, None).await?;
        ensure!(is_done(&attempt), "migrate: {}", self.testbed.said());
        Ok(writer)
    }

    /// Calls it again and again, cut as long as there are cuts. False where the window is over: it does not go on, or
    /// documents were lost, and that was seen.
    async fn until_done(&mut self, verb: Verb, cuts: &Cuts, window: &mut Window) -> Result<bool> {
        let planned = match verb {
            Verb::CatchUp => &cuts.catch_up,
            Verb::Cutover => &cuts.cutover,
        };
        let mut planned = planned.iter();
        for _ in 0..CALLS {
            let cut = planned.next();
            let attempt = self.testbed.call(&[verb.word()], cut).await?;
            let said = self.testbed.said();
            window.how.push(attempt.status.map_or("did not end".into(), described));
            let struck = cut.filter(|_| attempt.struck);
            window.met.extend(struck.cloned());
            window.frozen += usize::from(struck.is_some_and(|cut| matches!(cut.moment, Moment::Frozen(_))));
            self.testbed.answering().await?;
            if struck.is_some_and(|cut| matches!(cut.fault, Fault::KillEmulator)) {
                self.loss_is_seen(window).await?;
                self.frozen_and_said((&attempt, &said), &Cuts::none(), window).await?;
                return Ok(false);
            }
            if is_done(&attempt) {
                return Ok(true);
            }
            self.frozen_and_said((&attempt, &said), cuts, window).await?;
            if let Some(why) = no_way_on(&attempt, struck) {
                window.failures.push(format!("{}: {why}: {said}", verb.word()));
                return Ok(false);
            }
            window.again += 1;
        }
        window.failures.push(format!("STUCK: {}: {}", verb.word(), self.testbed.said()));
        Ok(false)
    }

    /// Every document has gone with the emulator: whoever looks must not find it proven.
    async fn loss_is_seen(&mut self, window: &mut Window) -> Result<()> {
        let verified = self.testbed.call(&["verify"], None).await?;
        // Its findings, or that a pass was cut off; nothing else is an answer.
        window.lost = matches!(code(&verified), Some(3 | 4));
        if !window.lost {
            window.failures.push(format!(
                "FALSE GREEN: every document is lost, and verify says: {}",
                self.testbed.said()
            ));
        }
        Ok(())
    }

    /// A source that its clients cannot write to is said to be frozen: by the command that left it so, where that came
    /// to its end, and by `status`.
    async fn frozen_and_said(
        &mut self,
        (attempt, said): (&Attempt, &str),
        cuts: &Cuts,
        window: &mut Window,
    ) -> Result<()> {
        let Some(why) = self.refused().await? else { return Ok(()) };
        window.left_frozen += 1;
        if code(attempt).is_some() && !["frozen", "read-only"].iter().any(|word| said.contains(word)) {
            window.failures.push(format!("FROZEN IN SILENCE: {why}; it says: {said}"));
        }
        self.testbed.call(&["status"], None).await?;
        let status: Frozen = itself::result(&self.testbed.printed())?;
        if status.frozen.is_none() {
            window.failures.push(format!("FROZEN IN SILENCE: {why}; status does not say so"));
        }
        if cuts.by_hand && self.manifest()?.cutover.is_none() {
            // Refused where the cut-over is recorded on the servers already.
            self.testbed.call(&["unfreeze"], None).await?;
        }
        Ok(())
    }

    /// Why the shop's clients cannot write; `None`: they can.
    async fn refused(&self) -> Result<Option<String>> {
        let shop = as_shop(self.testbed.settings());
        let mut connection = match postgres::connect_as_another(&shop, "chaos").await {
            Ok(connection) => connection,
            Err(error) => return Ok(Some(format!("{error:#}"))),
        };
        let mode: String = connection.row("SHOW transaction_read_only").await?.try_get(0)?;
        connection.close().await?;
        Ok((mode != "off").then(|| "their transactions are read-only".to_string()))
    }

    /// Every store against the old database, by the export's own SELECTs; and what is left on the servers.
    async fn compared(&self, when: &str, window: &mut Window) -> Result<()> {
        let settings = self.testbed.settings();
        let nothing = RunDir::dry_run_dir(&self.testbed.runs());
        let ctx = itself::context(&self.workspace, settings, nothing, 10)?;
        let export = self.manifest()?.export.context("the run has no export")?;
        let mut lines = live::differences(&ctx, &export).await?;
        lines.extend(oracle::left_on_servers(settings).await?);
        window.failures.extend(lines.iter().map(|line| format!("FALSE GREEN {when}: {line}")));
        Ok(())
    }

    fn manifest(&self) -> Result<Manifest> {
        let run = self.testbed.newest()?.context("there is no run")?;
        dir::load_manifest(&run)
    }

    pub async fn stop(self) -> Result<()> {
        self.testbed.stop().await
    }
}

fn is_done(attempt: &Attempt) -> bool {
    code(attempt) == Some(0)
}

fn code(attempt: &Attempt) -> Option<i32> {
    attempt.status.and_then(|status| status.code())
}

/// Why it is of no use to call it again; `struck`: the cut that met this call.
fn no_way_on(attempt: &Attempt, struck: Option<&Cut>) -> Option<&'static str> {
    match (struck, attempt.status) {
        (_, None) => Some("HANGS"),
        // A fault is no difference: it must not look like one.
        (_, Some(_)) if code(attempt) == Some(3) => Some("FINDS DIFFERENCES"),
        (None, _) => Some("STUCK: nobody has cut it"),
        (Some(_), _) => None,
    }
}
