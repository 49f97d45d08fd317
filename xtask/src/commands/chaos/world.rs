//! The servers of a campaign, each behind a proxy, and the tool as a child that is cut and resumed.

use super::cut::{Cut, FIRESTORE, Fault, Moment};
use crate::commands::compare;
use crate::commands::local::{self, Wanted};
use crate::effects::faults::{FirestoreFaults, TcpFault, TcpFaults};
use crate::effects::firestore::{Address, Fields, Firestore};
use crate::effects::native::{self, Connections, EmulatorChoice, SERVERS, Stack};
use crate::effects::postgres;
use crate::effects::terminal::Terminal;
use crate::manifest::{Export, Manifest};
use crate::model::{Database, MIGRATED};
use crate::run_dir::{self, RunDir};
use crate::settings::{Environment, Server, Settings};
use crate::sql_file;
use crate::tables::TABLES;
use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// How long a network fault lasts: longer than the tool takes to notice what is closed, shorter than
/// the time limits of what hangs.
const FAULT: Duration = Duration::from_millis(700);
/// A run that was cut has to end within this, faults healed.
const PATIENCE: Duration = Duration::from_secs(120);
/// Resumes of one run, at most: a fault that is healed is met once.
const RESUMES: usize = 5;
const TICK: Duration = Duration::from_millis(2);

pub struct World {
    stack: Stack,
    emulator: Option<Stack>,
    environment: Environment,
    /// Straight to the servers.
    settings: Settings,
    /// In front of each server, by its name.
    lines: BTreeMap<&'static str, TcpFaults>,
    /// In front of the emulator, the second in front of the first.
    writes: Option<FirestoreFaults>,
    /// Private, inside the stack's directory: goes with it.
    work: PathBuf,
}

/// The run that nobody disturbed.
pub struct Undisturbed {
    journal: Vec<Entry>,
    export: Export,
    documents: BTreeMap<String, Fields>,
    pub length: Duration,
}

/// A line of the journal.
#[derive(Clone, Debug, Deserialize)]
struct Entry {
    step: String,
    event: String,
}

/// How a cut run ended.
pub struct End {
    /// Whether it was still running when the cut came.
    pub met: bool,
    pub how: String,
    pub resumes: usize,
    pub differences: Vec<String>,
    pub gaps: Vec<String>,
}

impl Undisturbed {
    /// Every step of the journal, in random order.
    pub fn steps(&self, rng: &mut Rng) -> Vec<String> {
        let mut steps: Vec<String> =
            self.journal.iter().filter(|e| e.event == "start").map(|e| e.step.clone()).collect();
        steps.sort();
        steps.dedup();
        rng.shuffle(&mut steps);
        steps
    }
}

impl World {
    pub async fn open(
        workspace: &Path,
        environment: Environment,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<World> {
        let emulator = fresh_emulator(workspace).await?;
        let choice = EmulatorChoice::Running(host(&emulator)?);
        let wanted = Wanted { workspace, scale, emulator: choice, install: false };
        let (stack, settings) = local::start(wanted, &environment, terminal).await?;
        let work = stack.connections().dir.join("chaos");
        for dir in [work.clone(), work.join("stack"), work.join("said")] {
            fs::DirBuilder::new().mode(0o700).create(&dir).with_context(|| dir.display().to_string())?;
        }
        let mut lines = BTreeMap::new();
        for server in SERVERS {
            let to = format!("127.0.0.1:{}", stack.connections().server(server)?.port);
            lines.insert(server, TcpFaults::start(to).await?);
        }
        let mut world = World { stack, emulator: None, environment, settings, lines, writes: None, work };
        world.use_emulator(emulator).await?;
        Ok(world)
    }

    /// Puts the proxies in front of an emulator, and tells the tool their addresses.
    async fn use_emulator(&mut self, emulator: Stack) -> Result<()> {
        let direct = host(&emulator)?;
        let writes = FirestoreFaults::start(&direct).await?;
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
        serde_json::to_writer(file.with_context(|| format!("writing {}", path.display()))?, &connections)?;
        self.emulator = Some(emulator);
        Ok(())
    }

    /// Migrates without a fault: what every other end is compared with.
    pub async fn undisturbed(&mut self) -> Result<Undisturbed> {
        let started = Instant::now();
        let status = self.tool(&["migrate"])?.wait().await.context("waiting for the tool")?;
        ensure!(status.success(), "the undisturbed run failed: {}", self.said());
        let length = started.elapsed();
        let run = RunDir::open(&self.runs(), "latest")?;
        let manifest = run.load_manifest()?;
        Ok(Undisturbed {
            journal: journal(&run.file("journal.jsonl")),
            export: manifest.export.context("the undisturbed run has no export")?,
            documents: compare::documents(&self.settings).await?,
            length,
        })
    }

    /// One run from empty targets: cut, resumed until it has ended, and compared.
    pub async fn cut_and_resume(&mut self, cut: &Cut, busy: bool, undisturbed: &Undisturbed) -> Result<End> {
        self.renew().await?;
        let writer = busy.then(|| Writer::start(self.settings.source.clone()));
        let mut tool = self.tool(&["migrate"])?;
        let met = self.moment(&cut.moment, &mut tool).await?;
        if met {
            self.strike(&cut.fault, &tool).await?;
        }
        let status = self.ended(&mut tool).await?;
        let mut end = End {
            met,
            how: status.map_or("had to be killed".into(), described),
            resumes: 0,
            differences: Vec::new(),
            gaps: Vec::new(),
        };
        if status.is_none() {
            end.differences.push(format!("it did not end within {} s", PATIENCE.as_secs()));
        }
        let mut done = status.is_some_and(|s| s.success());
        while !done && end.resumes < RESUMES {
            end.resumes += 1;
            self.answering().await?;
            let mut tool = match run_dir::ids(&self.runs())?.pop() {
                Some(run) => self.tool(&["migrate", "--resume", &run])?,
                // It was cut before it had begun.
                None => self.tool(&["migrate"])?,
            };
            let status = self.ended(&mut tool).await?;
            done = status.is_some_and(|s| s.success());
        }
        if let Some(writer) = writer {
            writer.stop().await?;
        }
        match done {
            true => self.compare(busy, undisturbed, &mut end).await?,
            false => end.differences.push(format!("it cannot be resumed: {}", self.said())),
        }
        Ok(end)
    }

    /// Waits until the moment has come; false where the run has ended before.
    async fn moment(&self, moment: &Moment, tool: &mut Child) -> Result<bool> {
        let started = Instant::now();
        loop {
            let come = match moment {
                Moment::After(time) => started.elapsed() >= *time,
                Moment::Step(step) => {
                    let run = newest(&self.runs());
                    let begun = |e: &Entry| e.event == "start" && e.step == *step;
                    run.is_some_and(|run| journal(&run.join("journal.jsonl")).iter().any(begun))
                }
            };
            if tool.try_wait().context("watching the tool")?.is_some() {
                return Ok(false);
            }
            if come {
                return Ok(true);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Does it, and heals what does not heal by itself.
    async fn strike(&mut self, fault: &Fault, tool: &Child) -> Result<()> {
        let signal = |signal| {
            let pid = tool.id().and_then(|id| i32::try_from(id).ok());
            // It may have ended by itself a moment ago.
            pid.map(|pid| kill(Pid::from_raw(pid), signal))
        };
        match fault {
            Fault::KillTool => drop(signal(Signal::SIGKILL)),
            Fault::EndTool => drop(signal(Signal::SIGTERM)),
            Fault::EndSessions(server) => {
                let mut connection = self.superuser(server).await?;
                connection.rows(sql_file!("chaos/end_sessions.sql").text).await?;
                connection.close().await?;
            }
            Fault::KillBackend(server) => {
                let mut connection = self.superuser(server).await?;
                let rows = connection.rows(sql_file!("chaos/one_backend.sql").text).await?;
                for row in rows {
                    // It may have ended meanwhile.
                    let _ = kill(Pid::from_raw(row.try_get(0)?), Signal::SIGKILL);
                }
            }
            Fault::DropNetwork(to) => self.network(to, &[TcpFault::Drop]).await,
            Fault::StallNetwork(to) => self.network(to, &[TcpFault::Stall, TcpFault::Drop]).await,
            Fault::CutNetwork(to, bytes) => {
                self.network(to, &[TcpFault::CutAfter(*bytes), TcpFault::Drop]).await;
            }
            Fault::Writes(faults) => self.writes.iter().for_each(|w| w.set(faults.clone())),
            Fault::KillEmulator => {
                if let Some(old) = self.emulator.take() {
                    let pid = old.connections().emulator.as_ref().and_then(|e| e.pid);
                    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()) {
                        kill(Pid::from_raw(pid), Signal::SIGKILL).context("killing the emulator")?;
                    }
                    old.stop()?;
                }
            }
        }
        Ok(())
    }

    async fn network(&self, to: &str, faults: &[TcpFault]) {
        let Some(line) = self.lines.get(to) else { return };
        for fault in faults {
            line.set(*fault);
            tokio::time::sleep(FAULT).await;
        }
        line.set(TcpFault::None);
    }

    /// How the tool has ended; None where it had to be killed.
    async fn ended(&self, tool: &mut Child) -> Result<Option<ExitStatus>> {
        match tokio::time::timeout(PATIENCE, tool.wait()).await {
            Ok(status) => Ok(Some(status.context("waiting for the tool")?)),
            Err(_) => {
                tool.kill().await.context("killing the tool")?;
                Ok(None)
            }
        }
    }

    /// Every server is back, and nothing is wrong with the way to it.
    async fn answering(&mut self) -> Result<()> {
        self.writes.iter().for_each(|w| w.set([]));
        self.lines.values().for_each(|line| line.set(TcpFault::None));
        if self.emulator.is_none() {
            let emulator = fresh_emulator(&self.stack.connections().workspace.clone()).await?;
            self.use_emulator(emulator).await?;
        }
        let deadline = Instant::now() + PATIENCE;
        for server in SERVERS {
            while let Err(error) = self.superuser(server).await {
                ensure!(Instant::now() < deadline, "{server} does not come back: {error:#}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(())
    }

    /// Empty targets, no runs, no faults.
    async fn renew(&mut self) -> Result<()> {
        self.answering().await?;
        let runs = self.runs();
        if runs.is_dir() {
            fs::remove_dir_all(&runs).with_context(|| format!("removing {}", runs.display()))?;
        }
        let connections = self.stack.connections();
        tokio::try_join!(
            local::renew(&self.settings, connections, Database::Product),
            local::renew(&self.settings, connections, Database::Order),
            local::renew(&self.settings, connections, Database::Gateway),
        )?;
        let firestore = Firestore::connect(&Address::from(&self.settings.firestore)).await?;
        for collection in TABLES.iter().filter_map(|t| t.collection()) {
            let mut all = Vec::new();
            let page = |ids: Vec<String>| {
                all.extend(ids);
                Ok(())
            };
            firestore.ids(collection.name, page).await?;
            firestore.delete(collection.name, &all).await?;
        }
        Ok(())
    }

    /// With the undisturbed run where the source was quiet, with the run's own manifest where not.
    async fn compare(&self, busy: bool, undisturbed: &Undisturbed, end: &mut End) -> Result<()> {
        let manifest = RunDir::open(&self.runs(), "latest")?.load_manifest()?;
        let own = manifest.export.clone().context("a run that is done has no export")?;
        let expected = if busy { &own } else { &undisturbed.export };
        end.differences.extend(compare::databases(&self.settings, expected).await?);
        end.differences.extend(compare::counts(&self.settings, expected).await?);
        if !busy {
            let found = compare::documents(&self.settings).await?;
            let ids = found.keys().chain(undisturbed.documents.keys());
            let differ = ids.filter(|id| found.get(*id) != undisturbed.documents.get(*id));
            end.differences.extend(differ.map(|id| format!("document {id} differs")));
            for (name, table) in &undisturbed.export.tables {
                let same = own.tables.get(name).is_some_and(|t| t.outcomes == table.outcomes);
                if !same {
                    end.differences.push(format!("{name}: another ledger"));
                }
            }
        }
        if !manifest.proof.as_ref().is_some_and(|proof| proof.is_green()) {
            end.differences.push("the manifest has no green proof".into());
        }
        end.differences.extend(self.leftovers().await?);
        end.gaps.extend(gaps(&manifest));
        Ok(())
    }

    /// Schemas that were set aside and still stand there.
    async fn leftovers(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for database in Database::ALL {
            let mut connection = postgres::connect(self.settings.target(database), "chaos").await?;
            for row in connection.rows(sql_file!("chaos/leftovers.sql").text).await? {
                found.push(format!("{database}: {} is left over", row.try_get::<String, _>(0)?));
            }
            connection.close().await?;
        }
        Ok(found)
    }

    async fn superuser(&self, server: &str) -> Result<postgres::Connection> {
        let label = |s: &&Server| s.label == server;
        let targets = Database::ALL.map(|database| self.settings.target(database));
        let all = [&self.settings.source].into_iter().chain(targets);
        let mut direct = all.into_iter().find(label).with_context(|| format!("no server {server}"))?.clone();
        direct.user = "postgres".into();
        // Not the one that is dropped and made anew.
        direct.database = "postgres".into();
        postgres::connect(&direct, "chaos").await
    }

    fn runs(&self) -> PathBuf {
        self.work.join("runs")
    }

    /// The tool itself, through the proxies; what it says is kept for a message.
    fn tool(&self, arguments: &[&str]) -> Result<Child> {
        let file = |name: &str| {
            let path = self.work.join("said").join(name);
            fs::File::create(&path).with_context(|| format!("writing {}", path.display()))
        };
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.args(arguments).args(["--json", "--quiet", "--max-quarantine", "1000000"]);
        command.arg("--stack").arg(self.work.join("stack")).arg("--backup-dir").arg(self.runs());
        command.stdin(Stdio::null()).stdout(file("out")?).stderr(file("err")?).kill_on_drop(true);
        command.spawn().context("starting the tool")
    }

    /// What the tool said last, in one line.
    fn said(&self) -> String {
        let text = fs::read_to_string(self.work.join("said/err")).unwrap_or_default();
        text.lines().filter(|l| !l.trim().is_empty()).collect::<Vec<_>>().join(" / ")
    }

    pub fn stop(self) -> Result<()> {
        if let Some(emulator) = self.emulator {
            emulator.stop()?;
        }
        self.stack.stop()
    }
}

/// Somebody who writes to the source while the migration runs.
struct Writer {
    over: tokio::sync::watch::Sender<bool>,
    writing: JoinHandle<()>,
}

impl Writer {
    fn start(source: Server) -> Writer {
        let (over, mut end) = tokio::sync::watch::channel(false);
        let writing = tokio::spawn(async move {
            while !*end.borrow_and_update() {
                // A server that restarts, or a session that was ended, is what this is about.
                if let Ok(mut connection) = postgres::connect(&source, "writer").await {
                    while !*end.borrow() {
                        let wrote =
                            connection.run(include_str!("../../../../fixtures/monolith/writer.sql")).await;
                        if wrote.is_err() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Writer { over, writing }
    }

    async fn stop(self) -> Result<()> {
        self.over.send_replace(true);
        self.writing.await.context("the writer ended unexpectedly")
    }
}

/// Rows of the source without an outcome, or more outcomes than rows: a line each.
fn gaps(manifest: &Manifest) -> Vec<String> {
    let Some(export) = &manifest.export else { return vec!["there is no export".into()] };
    let mut lines = Vec::new();
    for table in TABLES {
        let Some(record) = export.tables.get(table.name) else {
            lines.push(format!("{}: not in the manifest", table.name));
            continue;
        };
        let outcomes: u64 = record.outcomes.rows.values().sum();
        let migrated = record.outcomes.rows.get(MIGRATED).copied().unwrap_or_default();
        let in_file = export.files.get(&table.file()).and_then(|f| f.rows).unwrap_or_default();
        if outcomes != record.source_rows || in_file != migrated {
            lines.push(format!(
                "{}: {} rows, {outcomes} outcomes, {migrated} of them migrated, {in_file} rows in the file",
                table.name, record.source_rows
            ));
        }
    }
    lines
}

fn newest(runs: &Path) -> Option<PathBuf> {
    let dirs = fs::read_dir(runs).ok()?.flatten().map(|e| e.path());
    dirs.filter(|p| p.join("journal.jsonl").is_file()).max()
}

/// The lines that are whole: the last one may be under way.
fn journal(file: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn described(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "it went on".into(),
        Some(code) => format!("ended with {code}"),
        None => "killed".into(),
    }
}

async fn fresh_emulator(workspace: &Path) -> Result<Stack> {
    let options = native::Options { postgres: false, emulator: EmulatorChoice::Start, fsync: false };
    Stack::start(workspace, options).await
}

fn host(emulator: &Stack) -> Result<String> {
    let server = emulator.connections().emulator.as_ref().context("the emulator has no address")?;
    Ok(server.host_port.clone())
}
