//! A call of the tool that is cut: when its moment has come, by what happens then, and how it ends.

use super::{FAULT, PATIENCE, TICK, Testbed};
use crate::effects::process::Running;
use crate::effects::wait::{self, Patience, State};
use crate::journal::Command as CountedApart;
use crate::lab::chaos::end::Attempt;
use crate::lab::chaos::fault::{Cut, Fault, Moment};
use crate::lab::chaos::point::{Point, points};
use crate::lab::faults::TcpFault;
use crate::lab::signal::signal;
use crate::run::dir;
use crate::run::freeze_log::FreezeLog;
use crate::servers::native::SERVERS;
use crate::settings::Server;
use crate::sql_file;
use crate::steps::Event;
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use sqlx::Row;
use std::process::ExitStatus;
use std::time::Instant;

impl Testbed {
    /// Calls the tool, and cuts it.
    pub(in crate::lab::chaos) async fn call(
        &mut self,
        arguments: &[&str],
        cut: Option<&Cut>,
    ) -> Result<Attempt> {
        let tool = self.tool(arguments)?;
        let pid = tool.pid();
        let struck = match cut {
            Some(cut) => self.moment(&cut.moment, &tool).await? && self.strike(&cut.fault, pid).await?,
            None => false,
        };
        // To fill a disk takes a while, and writes that fail have to come.
        let late = match cut.map(|cut| &cut.fault) {
            Some(Fault::FillDisk) => tool.ended()?.is_some(),
            _ => false,
        };
        let status = self.ended(&tool).await?;
        let met = match cut.map(|cut| &cut.fault) {
            Some(Fault::Writes(faults)) => self.writes.as_ref().is_some_and(|w| w.left() < faults.len()),
            _ => !late,
        };
        Ok(Attempt { status, struck: struck && met, told: self.told(pid)? })
    }

    /// What the tool with this pid has written into the journal.
    fn told(&self, pid: u32) -> Result<Option<CountedApart>> {
        let Some(run) = self.newest()? else { return Ok(None) };
        let own = |command: &CountedApart| command.process.as_ref().is_some_and(|process| process.pid == pid);
        Ok(dir::load_journal(&run)?.commands.into_iter().rfind(own))
    }

    /// Waits until the moment has come; false where the tool has ended before.
    async fn moment(&self, moment: &Moment, tool: &Running) -> Result<bool> {
        let (started, mut frozen) = (Instant::now(), None);
        let pid = tool.pid();
        let told = |wanted: &Point, is: fn(&Event) -> bool| -> Result<bool> {
            let found =
                |told: CountedApart| points(&told).any(|(point, event)| point == *wanted && is(event));
            Ok(self.told(pid)?.is_some_and(found))
        };
        let patience = Patience { deadline: PATIENCE, interval: TICK };
        let come = wait::for_state("the moment of the cut", patience, async || {
            let come = match moment {
                Moment::After(time) => started.elapsed() >= *time,
                Moment::Begun(step) => told(step, |_| true)?,
                Moment::Done(step) => told(step, |event| *event == Event::Done)?,
                Moment::Frozen(time) => {
                    let began = self.frozen()?.then(|| *frozen.get_or_insert_with(Instant::now));
                    began.is_some_and(|began| began.elapsed() >= *time)
                }
            };
            let ended = tool.ended()?.is_some();
            Ok(match (ended, come) {
                (true, _) => State::Ready(false),
                (false, true) => State::Ready(true),
                (false, false) => State::NotYet("the tool runs, and its journal does not say so"),
            })
        });
        come.await
    }

    /// Does it, and heals what does not heal by itself. False where there was nothing to do it to.
    async fn strike(&mut self, fault: &Fault, tool: u32) -> Result<bool> {
        match fault {
            Fault::KillTool => return signal(tool, Signal::SIGKILL),
            Fault::EndTool => return signal(tool, Signal::SIGTERM),
            Fault::EndSessions(server) => {
                let mut connection = self.superuser(server).await?;
                let ended = connection.rows(sql_file!("chaos/end_sessions.sql").text).await?;
                connection.close().await?;
                return Ok(!ended.is_empty());
            }
            Fault::KillBackend(server) => {
                let mut connection = self.superuser(server).await?;
                let pid = connection.rows(sql_file!("chaos/one_backend.sql").text).await?;
                return match pid.first() {
                    Some(row) => signal(row.try_get::<i32, _>(0)?.try_into()?, Signal::SIGKILL),
                    None => Ok(false),
                };
            }
            Fault::DropNetwork(to) => self.network(to, &[TcpFault::Drop]).await?,
            Fault::HoldNetwork(to) => self.network(to, &[TcpFault::Stall]).await?,
            Fault::StallNetwork(to) => self.network(to, &[TcpFault::Stall, TcpFault::Drop]).await?,
            Fault::CutNetwork(to, bytes) => {
                self.network(to, &[TcpFault::CutAfter(*bytes), TcpFault::Drop]).await?;
            }
            Fault::Writes(faults) => self.writes.iter().for_each(|w| w.set(faults.clone())),
            Fault::KillEmulator => {
                let old = self.emulator.take().context("there is no emulator")?;
                let pid = old.connections().emulator.as_ref().and_then(|e| e.pid);
                signal(pid.context("the emulator has no process")?, Signal::SIGKILL)?;
                old.stop()?;
            }
            Fault::FillDisk => self.disk.as_ref().context("there is no disk")?.fill()?,
        }
        Ok(true)
    }

    async fn network(&self, to: &str, faults: &[TcpFault]) -> Result<()> {
        let line = self.lines.get(to).with_context(|| format!("no line to {to}"))?;
        for fault in faults {
            line.set(*fault);
            tokio::time::sleep(FAULT).await;
        }
        line.set(TcpFault::None);
        Ok(())
    }

    /// Whether the tool holds the source back, by its own book.
    pub(in crate::lab::chaos) fn frozen(&self) -> Result<bool> {
        let line = self.lines.get(SERVERS[0]).context("there is no line to the source")?;
        let source = Server { port: line.port(), ..self.settings.source.clone() };
        FreezeLog::at(&self.runs()).holds(&source)
    }

    /// How the tool has ended; None where it had to be killed.
    async fn ended(&self, tool: &Running) -> Result<Option<ExitStatus>> {
        match tokio::time::timeout(PATIENCE, tool.wait()).await {
            Ok(status) => Ok(Some(status?)),
            Err(_) => {
                tool.kill()?;
                Ok(None)
            }
        }
    }
}
