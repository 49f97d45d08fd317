//! The servers of a campaign of verbs, one migrated shop on them that is put back for every scene, and the
//! tool as it is started by two operators.

use super::scene::{Call, Fault, Start};
use super::services::Services;
use super::verb::Verb;
use crate::effects::postgres::{self, Connection};
use crate::effects::process::Running;
use crate::effects::terminal::Terminal;
use crate::lab::chaos::fault::FIRESTORE;
use crate::lab::chaos::signal::signal;
use crate::lab::compare;
use crate::lab::corruptions::held::{Held, Shape, changed_documents, shapes};
use crate::lab::corruptions::raw::Raw;
use crate::lab::faults::{TcpFault, TcpFaults};
use crate::lab::itself;
use crate::model::Database;
use crate::run::dir;
use crate::servers::local::{self, Wanted};
use crate::servers::native::{Connections, EmulatorChoice, SERVERS, Stack};
use crate::settings::{Environment, Server, Settings};
use crate::stores::{marks, schema};
use crate::tables::TABLES;
use crate::{sql, sql_file};
use anyhow::{Context, Result, ensure};
use datapath::firestore::{Address, Firestore};
use futures_util::future::try_join_all;
use nix::sys::signal::Signal;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a network fault lasts.
const FAULT: Duration = Duration::from_millis(700);

/// What the shop was once: put back from it.
struct Image {
    name: &'static str,
    held: Held,
    frozen: bool,
}

pub struct Stage {
    stack: Stack,
    /// Straight to the servers.
    settings: Settings,
    lines: BTreeMap<&'static str, Arc<TcpFaults>>,
    work: PathBuf,
    pub run: String,
    raw: Raw,
    shapes: Vec<Shape>,
    oids: BTreeMap<String, i64>,
    proven: Option<Image>,
    cut_over: Option<Image>,
    /// What a replay of the repaired source comes to.
    pub repaired: Held,
}

impl Stage {
    pub async fn open(
        workspace: &Path,
        environment: &Environment,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<Stage> {
        let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Start, install: false };
        let (stack, settings) = local::start(wanted, environment, terminal).await?;
        let work = stack.connections().dir.join("verbs");
        for dir in [work.clone(), work.join("stack"), work.join("said"), work.join("runs")] {
            private(&dir)?;
        }
        let lines = lines(stack.connections(), &work).await?;
        let host = settings.firestore.emulator.as_deref().context("there is no emulator")?;
        let raw = Raw::connect(host, &settings.firestore.project, &settings.firestore.database).await?;
        let (run, repaired) = (String::new(), Held::default());
        let (proven, cut_over, oids) = (None, None, BTreeMap::new());
        let mut stage = Stage {
            stack,
            settings,
            lines,
            work,
            run,
            raw,
            shapes: Vec::new(),
            oids,
            proven,
            cut_over,
            repaired,
        };
        terminal.phase("Migrating it");
        stage.to_the_end(&["migrate", "--max-quarantine", "1000000"]).await?;
        stage.run = dir::ids(&stage.work.join("runs"))?.pop().context("the migration left no run")?;
        stage.read_identities().await?;
        stage.proven = Some(stage.keep("proven").await?);
        stage.repair_in_source().await?;
        stage.to_the_end(&["replay"]).await?;
        stage.repaired = stage.held().await?;
        stage.put_back(Start::Proven).await?;
        stage.to_the_end(&["cutover"]).await?;
        stage.cut_over = Some(stage.keep("cut_over").await?);
        Ok(stage)
    }

    async fn read_identities(&mut self) -> Result<()> {
        for database in Database::ALL {
            let mut connection = postgres::connect(self.settings.target(database), "chaos").await?;
            self.shapes.extend(shapes(database, &schema::definition(&mut connection, "public").await?)?);
            connection.close().await?;
        }
        for server in self.servers().cloned().collect::<Vec<_>>() {
            let mut connection = superuser(&server).await?;
            let query = sql::bind(sql_file!("chaos/oid.sql"), &[("name", &server.database)]);
            self.oids.insert(server.label.clone(), connection.row(&query).await?.try_get("oid")?);
            connection.close().await?;
        }
        Ok(())
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        let targets = Database::ALL.map(|database| self.settings.target(database));
        [&self.settings.source].into_iter().chain(targets)
    }

    /// As it is now, under a name.
    async fn keep(&self, name: &'static str) -> Result<Image> {
        let (held, frozen) = (self.held().await?, self.frozen().await?);
        let one = |server: Server| async move {
            let mut connection = superuser(&server).await?;
            let copy = sql::copy_database(&kept(&server, name), &server.user, &server.database, None);
            connection.run(&copy).await?;
            connection.close().await
        };
        try_join_all(self.servers().cloned().map(one)).await?;
        copied(&self.work.join("runs"), &self.work.join(name))?;
        Ok(Image { name, held, frozen })
    }

    /// What every store holds, read without the tool's own verification; Firestore's mark as well.
    pub async fn held(&self) -> Result<Held> {
        let mut held = Held::default();
        for database in Database::ALL {
            let mut connection = postgres::connect(self.settings.target(database), "chaos").await?;
            let shapes: Vec<Shape> =
                self.shapes.iter().filter(|shape| shape.database == database).cloned().collect();
            held.read_database(&mut connection, &shapes).await?;
            connection.close().await?;
        }
        let firestore = Firestore::connect(&Address::from(&self.settings.firestore)).await?;
        for collection in TABLES.iter().filter_map(|t| t.collection()) {
            held.documents.entry(collection.name).or_default();
            for ids in compare::ids(&firestore, collection).await?.chunks(400) {
                held.read_documents(&self.raw, collection.name, ids).await?;
            }
        }
        held.read_documents(&self.raw, marks::COLLECTION, &[marks::DOCUMENT.to_string()]).await?;
        Ok(held)
    }

    /// Whether new sessions of the source are read-only.
    pub async fn frozen(&self) -> Result<bool> {
        let mut connection = postgres::connect(&self.settings.source, "chaos").await?;
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let setting: Option<String> = row.try_get("setting")?;
        connection.close().await?;
        Ok(setting.as_deref() == Some("on"))
    }

    fn image(&self, start: Start) -> Result<&Image> {
        let image = if start == Start::CutOver { &self.cut_over } else { &self.proven };
        image.as_ref().context("the shop is not kept yet")
    }

    /// What it held undisturbed.
    pub fn was(&self, start: Start) -> Result<&Held> {
        Ok(&self.image(start)?.held)
    }

    /// The shop as it was, on both machines.
    pub async fn put_back(&self, start: Start) -> Result<()> {
        let image = self.image(start)?;
        let one = |server: Server| async move {
            let mut connection = superuser(&server).await?;
            connection.run(&sql::drop_database(&server.database)).await?;
            let oid = self.oids.get(&server.label).copied();
            let from = kept(&server, image.name);
            connection.run(&sql::copy_database(&server.database, &server.user, &from, oid)).await?;
            if image.frozen && server.label == self.settings.source.label {
                connection.run(&sql::freeze(&server.database, &[])).await?;
            }
            connection.close().await?;
            // A database that nobody has entered since its number came back cannot be dropped again:
            // PostgreSQL 15 finds its statistics dropped already.
            postgres::connect(&server, "chaos").await?.close().await
        };
        try_join_all(self.servers().cloned().map(one)).await?;
        self.documents_back(&image.held).await?;
        for machine in ["runs", "copy"] {
            let place = self.work.join(machine);
            if place.exists() {
                fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
            }
            copied(&self.work.join(image.name), &place)?;
        }
        match start {
            Start::RepairedSource => self.repair_in_source().await,
            Start::Damaged => {
                let mut order = postgres::connect(self.settings.target(Database::Order), "chaos").await?;
                order.run(sql_file!("chaos/damage.sql").text).await?;
                order.close().await
            }
            Start::Proven | Start::CutOver => Ok(()),
        }
    }

    async fn repair_in_source(&self) -> Result<()> {
        let mut source = postgres::connect(&self.settings.source, "chaos").await?;
        source.run(sql_file!("chaos/repair_in_source.sql").text).await?;
        source.close().await
    }

    async fn documents_back(&self, image: &Held) -> Result<()> {
        let now = self.held().await?;
        for (collection, documents) in &image.documents {
            let changed = changed_documents(image, &now, collection);
            let writes: Vec<_> =
                changed.into_iter().map(|id| (id.clone(), documents.get(&id).cloned())).collect();
            for writes in writes.chunks(400) {
                self.raw.write(collection, writes).await?;
            }
        }
        Ok(())
    }

    pub async fn services(&self) -> Result<Services> {
        let host = self.settings.firestore.emulator.as_deref().context("there is no emulator")?;
        let firestore = &self.settings.firestore;
        let raw = Raw::connect(host, &firestore.project, &firestore.database).await?;
        let users = self.image(Start::Proven)?.held.documents_of("users").map(|(id, _)| id.clone());
        Ok(Services::start(self.settings.clone(), raw, users.take(20).collect()))
    }

    async fn to_the_end(&self, arguments: &[&str]) -> Result<()> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_string()).collect();
        let status = self.tool(&arguments, "runs", 0)?.wait().await?;
        ensure!(status.success(), "{} failed: {}", arguments.join(" "), self.said(0));
        Ok(())
    }

    /// What one of the two types.
    pub fn call(&self, call: &Call, place: usize) -> Result<Running> {
        let mut arguments = call.verb.arguments(&self.run, call.named);
        if matches!(call.verb, Verb::Replace | Verb::Resume) {
            arguments.extend(["--max-quarantine".into(), "1000000".into()]);
        }
        self.tool(&arguments, if call.copy { "copy" } else { "runs" }, place)
    }

    fn tool(&self, arguments: &[String], machine: &str, place: usize) -> Result<Running> {
        let path = self.work.join("said").join(place.to_string());
        let file = fs::File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        drop(file);
        let file =
            || fs::OpenOptions::new().append(true).open(&path).with_context(|| path.display().to_string());
        let program = itself::tool(arguments, &self.work.join("stack"), &self.work.join(machine))?;
        program.output(file()?, file()?).start()
    }

    /// The lines of what a call said.
    pub fn said(&self, place: usize) -> String {
        let text = fs::read_to_string(self.work.join("said").join(place.to_string())).unwrap_or_default();
        itself::in_one_line(&text)
    }

    /// The last line of what a call said.
    pub fn last_line(&self, place: usize) -> String {
        let said = self.said(place);
        said.rsplit(" / ").next().unwrap_or_default().to_string()
    }

    /// None where there was nothing to do it to; else what heals it, which goes on beside.
    pub async fn strike(&self, fault: Fault, tool: &Running) -> Result<Option<JoinHandle<()>>> {
        if tool.ended()?.is_some() {
            return Ok(None);
        }
        let met = match fault {
            Fault::Kill => signal(tool.pid(), Signal::SIGKILL)?,
            Fault::End => signal(tool.pid(), Signal::SIGTERM)?,
            Fault::EndSessions(label) => {
                let server = self.servers().find(|s| s.label == label).context("no such server")?;
                let mut connection = superuser(server).await?;
                let ended = connection.rows(sql_file!("chaos/end_sessions_of_tools.sql").text).await?;
                connection.close().await?;
                !ended.is_empty()
            }
            Fault::Drop(to) => return self.network(to, &[TcpFault::Drop]).map(Some),
            Fault::Silence(to) => return self.network(to, &[TcpFault::Stall, TcpFault::Drop]).map(Some),
        };
        Ok(met.then(|| tokio::spawn(async {})))
    }

    fn network(&self, to: &str, faults: &'static [TcpFault]) -> Result<JoinHandle<()>> {
        let line = self.lines.get(to).with_context(|| format!("no line to {to}"))?.clone();
        Ok(tokio::spawn(async move {
            for fault in faults {
                line.set(*fault);
                tokio::time::sleep(FAULT).await;
            }
            line.set(TcpFault::None);
        }))
    }

    pub fn stop(self) -> Result<()> {
        self.stack.stop()
    }
}

/// Proxies in front of the servers, and a stack's file that names them instead.
async fn lines(stack: &Connections, work: &Path) -> Result<BTreeMap<&'static str, Arc<TcpFaults>>> {
    let mut connections = stack.clone();
    let mut lines = BTreeMap::new();
    for name in SERVERS {
        let to = format!("127.0.0.1:{}", stack.server(name)?.port);
        lines.insert(name, Arc::new(TcpFaults::start(to).await?));
    }
    let emulator = connections.emulator.as_mut().context("there is no emulator")?;
    let line = Arc::new(TcpFaults::start(emulator.host_port.clone()).await?);
    emulator.host_port = format!("127.0.0.1:{}", line.port());
    lines.insert(FIRESTORE, line);
    for server in &mut connections.postgres {
        if let Some(line) = lines.get(server.name.as_str()) {
            server.port = line.port();
        }
    }
    let path = work.join("stack/stack.json");
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    let file = file.with_context(|| format!("writing {}", path.display()))?;
    serde_json::to_writer(file, &connections).with_context(|| format!("writing {}", path.display()))?;
    Ok(lines)
}

fn kept(server: &Server, name: &str) -> String {
    format!("{}_{name}", server.database)
}

/// To no database that is dropped.
async fn superuser(server: &Server) -> Result<Connection> {
    let server = Server { user: "postgres".into(), database: "postgres".into(), ..server.clone() };
    postgres::connect(&server, "chaos").await
}

fn private(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(dir).with_context(|| dir.display().to_string())
}

/// A directory with all that is in it.
fn copied(from: &Path, to: &Path) -> Result<()> {
    private(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry.with_context(|| from.display().to_string())?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copied(&path, &target)?,
            false => drop(fs::copy(&path, &target).with_context(|| path.display().to_string())?),
        }
    }
    Ok(())
}
