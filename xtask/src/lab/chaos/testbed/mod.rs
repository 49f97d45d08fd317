//! The servers of a campaign, each behind a proxy, a disk for its runs, and the tool as a child that is cut
//! and resumed.

mod cutting;

use crate::effects::postgres;
use crate::effects::process::{Program, Running};
use crate::effects::terminal::Terminal;
use crate::effects::wait::{self, Patience, State};
use crate::lab::chaos::end::{Attempt, End, described, not_done};
use crate::lab::chaos::fault::{Cut, FIRESTORE};
use crate::lab::chaos::oracle::{self, Undisturbed};
use crate::lab::chaos::writer::Writer;
use crate::lab::compare;
use crate::lab::emulator::{fresh_emulator, host};
use crate::lab::faults::{FirestoreFaults, SmallDisk, TcpFault, TcpFaults};
use crate::lab::itself;
use crate::model::{Database, Stop};
use crate::run::dir;
use crate::servers::local::{self, Wanted};
use crate::servers::native::{Connections, EmulatorChoice, SERVERS, Stack};
use crate::settings::{Environment, Server, Settings};
use crate::stores::marks;
use crate::tables::TABLES;
use anyhow::{Context, Result, ensure};
use datapath::firestore::{Address, Firestore, Unconditional};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a network fault lasts: longer than the tool takes to notice what is closed, shorter than
/// the time limits of what hangs.
const FAULT: Duration = Duration::from_millis(700);
/// A run that was cut has to end within this, faults healed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks into the journal: some steps take a few milliseconds.
const TICK: Duration = Duration::from_micros(500);
/// Runs on one emulator: to clear it frees none of its memory.
const RUNS_PER_EMULATOR: usize = 20;
/// A migration that no number of rows in quarantine stops.
pub(super) const MIGRATE: [&str; 3] = ["migrate", "--max-quarantine", "1000000"];
/// For the runs, one at a time.
const DISK: &str = "64m";

pub struct Testbed {
    stack: Stack,
    emulator: Option<Stack>,
    /// Runs on this emulator so far.
    runs_on_emulator: usize,
    environment: Environment,
    /// Straight to the servers.
    settings: Settings,
    /// In front of each server, by its name.
    lines: BTreeMap<&'static str, TcpFaults>,
    /// In front of the emulator, the second in front of the first.
    writes: Option<FirestoreFaults>,
    /// Private, inside the stack's directory: goes with it.
    work: PathBuf,
    /// Where runs go, if this machine allows it.
    disk: Option<SmallDisk>,
    /// The environment that the tool is called with, where it is not the workspace's own.
    named: Option<PathBuf>,
}

impl Testbed {
    pub async fn open(
        workspace: &Path,
        environment: Environment,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<Testbed> {
        let emulator = fresh_emulator(workspace).await?;
        let choice = EmulatorChoice::Running(host(&emulator)?);
        let wanted = Wanted { workspace, scale, emulator: choice, install: false };
        let (stack, settings) = local::start(wanted, &environment, terminal).await?;
        let work = stack.connections().dir.join("chaos");
        for dir in [work.clone(), work.join("stack"), work.join("said"), work.join("runs")] {
            fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        }
        let disk = SmallDisk::mount(&work.join("runs"), DISK).await;
        let disk = disk.inspect_err(|e| terminal.warn(format!("the disk is never filled: {e:#}"))).ok();
        let mut lines = BTreeMap::new();
        for server in SERVERS {
            let to = format!("127.0.0.1:{}", stack.connections().server(server)?.port);
            lines.insert(server, TcpFaults::start(to).await?);
        }
        let mut world = Testbed {
            stack,
            emulator: Some(emulator),
            runs_on_emulator: 0,
            environment,
            settings,
            lines,
            writes: None,
            work,
            disk,
            named: None,
        };
        world.use_emulator().await?;
        Ok(world)
    }

    /// Whether the disk can be filled.
    pub fn has_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// From here on the tool is called with the environment of this text.
    pub fn call_with(&mut self, environment: &str) -> Result<()> {
        let path = self.work.join("shop.toml");
        itself::write_environment(&path, environment)?;
        self.named = Some(path);
        Ok(())
    }

    /// Straight to the servers.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn connections(&self) -> &Connections {
        self.stack.connections()
    }

    /// Puts the proxies in front of the emulator, and tells the tool their addresses.
    async fn use_emulator(&mut self) -> Result<()> {
        let emulator = self.emulator.as_ref().context("there is no emulator")?;
        let writes = FirestoreFaults::start(&host(emulator)?).await?;
        let line = TcpFaults::start(writes.address()).await?;
        let mut connections: Connections = self.stack.connections().clone();
        connections.emulator.clone_from(&emulator.connections().emulator);
        self.settings = local::settings(&self.environment, &connections)?;
        if let Some(server) = &mut connections.emulator {
            server.host_port = format!("127.0.0.1:{}", line.port());
        }
        self.lines.insert(FIRESTORE, line);
        self.writes = Some(writes);
        for server in &mut connections.postgres {
            if let Some(line) = self.lines.get(server.name.as_str()) {
                server.port = line.port();
            }
        }
        let path = self.work.join("stack/stack.json");
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
        serde_json::to_writer(file.with_context(|| format!("writing {}", path.display()))?, &connections)
            .with_context(|| format!("writing {}", path.display()))
    }

    /// Migrates without a fault: what every other end is compared with.
    pub async fn undisturbed(&mut self) -> Result<Undisturbed> {
        // A server that restarts after a kill -9 has its sequences up to 32 numbers further on, where they
        // have moved since the last checkpoint.
        self.superuser(SERVERS[0]).await?.run("CHECKPOINT").await?;
        // The first one finds everything cold.
        self.without_a_fault().await?;
        let length = self.without_a_fault().await?;
        let run = self.newest()?.context("the undisturbed run left nothing")?;
        Undisturbed::read(&self.settings, &run, length).await
    }

    async fn without_a_fault(&mut self) -> Result<Duration> {
        self.renew().await?;
        let started = Instant::now();
        let attempt = self.call(&MIGRATE, None).await?;
        let done = attempt.status.is_some_and(|status| status.success());
        ensure!(done, "the undisturbed run failed: {}", self.said());
        Ok(started.elapsed())
    }

    /// One run from empty targets: each attempt is cut while there are cuts, and resumed until it is
    /// done; then it is compared.
    pub async fn cut_and_resume(
        &mut self,
        cuts: &[Cut],
        busy: bool,
        undisturbed: &Undisturbed,
    ) -> Result<End> {
        self.renew().await?;
        let writer = busy.then(|| Writer::start(self.settings.source.clone()));
        let mut end = End::default();
        let done = self.until_done(cuts, &mut end).await?;
        if let Some(writer) = writer {
            writer.stop().await?;
        }
        if let (true, Some(run)) = (done, self.newest()?) {
            // A server may still be restarting that the run needed no more.
            self.answering().await?;
            let undisturbed = (!busy).then_some(undisturbed);
            end.differences.extend(oracle::differences(&self.settings, &run, undisturbed).await?);
            end.gaps.extend(oracle::gaps(&run)?);
        }
        Ok(end)
    }

    /// False where it does not come to its end: then that stands among the differences.
    async fn until_done(&mut self, cuts: &[Cut], end: &mut End) -> Result<bool> {
        let mut cuts = cuts.iter();
        // Proven, and then its documents were lost with the emulator: it has to see that.
        let mut lost = false;
        loop {
            let cut = cuts.next();
            let attempt = self.attempt(cut).await?;
            end.how.push(attempt.status.map_or("did not end".into(), described));
            if let (Some(cut), true) = (cut, attempt.struck) {
                end.cuts.push(cut.clone());
                end.steps.extend(attempt.told.iter().flat_map(not_done));
            }
            let code = attempt.status.and_then(|status| status.code());
            let differs = code == Some(i32::from(Stop::Differs(String::new()).exit_code()));
            match code {
                Some(0) if self.emulator.is_some() => return Ok(true),
                Some(0) => lost = true,
                _ if lost && differs => lost = false,
                // A fault is no difference: it must not look like one.
                _ if attempt.struck && attempt.status.is_some() && !differs => {}
                _ => {
                    end.differences.push(format!("it does not go on: {}", self.said()));
                    return Ok(false);
                }
            }
            self.answering().await?;
        }
    }

    /// Starts the tool on the run, or on a new one where none has begun, and cuts it.
    async fn attempt(&mut self, cut: Option<&Cut>) -> Result<Attempt> {
        let run = self.newest()?;
        let id = run.as_ref().and_then(|run| run.file_name()).map(|id| id.to_string_lossy().into_owned());
        match &id {
            Some(run) => self.call(&[&MIGRATE[..], &["--resume", run]].concat(), cut).await,
            None => self.call(&MIGRATE, cut).await,
        }
    }

    /// Every server is back, nothing is wrong with the way to it, and the disk has room.
    pub(super) async fn answering(&mut self) -> Result<()> {
        self.writes.iter().for_each(|w| w.set([]));
        self.lines.values().for_each(|line| line.set(TcpFault::None));
        if let Some(disk) = &self.disk {
            disk.relieve()?;
        }
        if self.emulator.is_none() {
            self.emulator = Some(fresh_emulator(&self.stack.connections().workspace).await?);
            self.runs_on_emulator = 0;
            self.use_emulator().await?;
        }
        let patience = Patience { deadline: PATIENCE, interval: Duration::from_millis(50) };
        for server in SERVERS {
            let back = wait::for_state(format!("{server} to come back"), patience, async || {
                Ok(match self.superuser(server).await {
                    Ok(_) => State::Ready(()),
                    Err(error) => State::NotYet(format!("{error:#}")),
                })
            });
            back.await?;
        }
        Ok(())
    }

    /// Empty targets, no runs, no faults.
    pub(super) async fn renew(&mut self) -> Result<()> {
        if self.runs_on_emulator >= RUNS_PER_EMULATOR
            && let Some(old) = self.emulator.take()
        {
            old.stop()?;
        }
        self.runs_on_emulator += 1;
        self.answering().await?;
        for id in dir::ids(&self.runs())? {
            let run = self.runs().join(id);
            fs::remove_dir_all(&run).with_context(|| format!("removing {}", run.display()))?;
        }
        local::renew(&self.settings, self.stack.connections()).await?;
        let firestore = Firestore::connect(&Address::from(&self.settings.firestore)).await?;
        for collection in TABLES.iter().filter_map(|t| t.collection()) {
            let ids = compare::ids(&firestore, collection).await?;
            firestore.delete(collection.name, &ids).await?;
        }
        firestore.delete(marks::COLLECTION, &[marks::DOCUMENT.to_string()]).await?;
        Ok(())
    }

    async fn superuser(&self, server: &str) -> Result<postgres::Connection> {
        let label = |s: &&Server| s.label == server;
        let targets = Database::ALL.map(|database| self.settings.target(database));
        let all = [&self.settings.source].into_iter().chain(targets);
        let mut direct = all.into_iter().find(label).with_context(|| format!("no server {server}"))?.clone();
        direct.user = "postgres".into();
        // Not the one that is dropped and recreated.
        direct.database = "postgres".into();
        postgres::connect(&direct, "chaos").await
    }

    /// Where the runs are, seen from here.
    pub(super) fn runs(&self) -> PathBuf {
        self.disk.as_ref().map_or_else(|| self.work.join("runs"), SmallDisk::path)
    }

    /// The directory of the newest run that has begun.
    pub(super) fn newest(&self) -> Result<Option<PathBuf>> {
        Ok(dir::ids(&self.runs())?.pop().map(|id| self.runs().join(id)))
    }

    /// The tool itself, through the proxies; what it says is kept for a message.
    fn tool(&self, arguments: &[&str]) -> Result<Running> {
        let file = |name: &str| {
            let path = self.work.join("said").join(name);
            fs::File::create(&path).with_context(|| format!("writing {}", path.display()))
        };
        let own = itself::own()?;
        let program = match &self.disk {
            Some(disk) => disk.program(&own),
            None => Program::new(&own, [""; 0]),
        };
        let program = program.args(arguments).args(["--json", "--quiet"]);
        let program = match &self.named {
            Some(environment) => program.arg("--env").arg(environment),
            None => program,
        };
        let program = itself::at(program, &self.work.join("stack"), &self.work.join("runs"));
        program.output(file("out")?, file("err")?).start()
    }

    /// What the tool said last, in one line.
    pub(super) fn said(&self) -> String {
        let text = fs::read_to_string(self.work.join("said/err")).unwrap_or_default();
        itself::in_one_line(&text)
    }

    /// What the tool printed last: its document.
    pub(super) fn printed(&self) -> String {
        fs::read_to_string(self.work.join("said/out")).unwrap_or_default()
    }

    pub async fn stop(self) -> Result<()> {
        if let Some(disk) = self.disk {
            disk.unmount().await?;
        }
        if let Some(emulator) = self.emulator {
            emulator.stop()?;
        }
        self.stack.stop()
    }
}
