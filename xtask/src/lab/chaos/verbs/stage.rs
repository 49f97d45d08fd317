//! The servers of a campaign of verbs, and one migrated shop on them that is put back for every scene.

use super::machines::{FIRST, Machines, SECOND, SERVICE};
use super::old_shop::OldShop;
use super::scene::{AtWork, Call, Copied, Fault, Scene, Start};
use super::services::{ORDERS, Services};
use crate::effects::postgres::{self, Connection};
use crate::effects::process::Running;
use crate::effects::terminal::Terminal;
use crate::lab::chaos::fault::FIRESTORE;
use crate::lab::compare;
use crate::lab::corruptions::held::{Held, Shape, changed_documents, id_of, shapes};
use crate::lab::corruptions::raw::{Raw, ValueType};
use crate::lab::faults::{TcpFault, TcpFaults};
use crate::lab::signal::signal;
use crate::model::Database;
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
use secrecy::ExposeSecret;
use sqlx::Row;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How long a network fault lasts.
const FAULT: Duration = Duration::from_millis(700);

/// The shop as it was once: its databases under this name, and the directory of runs.
struct Image {
    name: &'static str,
    held: Held,
    said: Said,
    freeze: Freeze,
}

const PROVEN: &str = "proven";
const REPLAYED: &str = "replayed";
const CUT_OFF: &str = "cut_off";
const CUT_OVER: &str = "cut_over";
/// Cut over after a replay.
const REPLAYED_AND_CUT_OVER: &str = "replayed_and_cut_over";

/// By store: the run that was brought there last, and whether it is cut over.
pub type Said = BTreeMap<String, String>;

/// What holds the source back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    pub read_only: bool,
    /// The service's role cannot log in.
    pub kept_out: bool,
}

impl Freeze {
    pub const WHOLE: Freeze = Freeze { read_only: true, kept_out: true };
    pub const NONE: Freeze = Freeze { read_only: false, kept_out: false };
}

pub struct Stage {
    stack: Stack,
    /// Straight to the servers.
    settings: Settings,
    lines: BTreeMap<&'static str, Arc<TcpFaults>>,
    pub machines: Machines,
    pub run: String,
    raw: Raw,
    shapes: Vec<Shape>,
    oids: BTreeMap<String, i64>,
    images: Vec<Image>,
}

impl Stage {
    /// `environment`: the file that the scenes' environment is made of.
    pub async fn open(
        workspace: &Path,
        environment: &Path,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<Stage> {
        let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Start, install: false };
        let text = fs::read_to_string(environment);
        let text = text.with_context(|| format!("reading {}", environment.display()))?;
        let read = Environment::read("verbs", environment, &text)?;
        let (stack, settings) = local::start(wanted, &read, terminal).await?;
        let machines = Machines::open(&stack.connections().dir.join("verbs"), &text)?;
        let lines = lines(stack.connections(), &machines.stack()).await?;
        let host = settings.firestore.emulator.as_deref().context("there is no emulator")?;
        let raw = Raw::connect(host, &settings.firestore.project, &settings.firestore.database).await?;
        let (run, shapes, oids, images) = (String::new(), Vec::new(), BTreeMap::new(), Vec::new());
        let mut stage = Stage { stack, settings, lines, machines, run, raw, shapes, oids, images };
        stage.let_a_service_in().await?;
        terminal.phase("Migrating it");
        stage.to_the_end(&["migrate", "--max-quarantine", "1000000"], FIRST, 0).await?;
        stage.run = stage.machines.newest_run(FIRST)?;
        stage.read_identities().await?;
        stage.keep_all().await?;
        Ok(stage)
    }

    /// The states in which scenes begin, and what the second machine may know of them.
    async fn keep_all(&mut self) -> Result<()> {
        self.keep(PROVEN).await?;
        // Too many rows in quarantine, which is found once everything is exported.
        self.machines.put_back(SECOND, PROVEN)?;
        self.to_the_end(&["migrate", "--replace", "--max-quarantine", "0"], SECOND, 5).await?;
        self.machines.keep(SECOND, CUT_OFF)?;
        self.repair_in_source().await?;
        self.to_the_end(&["replay"], FIRST, 0).await?;
        self.to_the_end(&["verify"], FIRST, 0).await?;
        self.keep(REPLAYED).await?;
        self.to_the_end(&["cutover"], FIRST, 0).await?;
        self.keep(REPLAYED_AND_CUT_OVER).await?;
        self.back_to(self.image(PROVEN)?).await?;
        self.to_the_end(&["cutover"], FIRST, 0).await?;
        self.keep(CUT_OVER).await
    }

    async fn let_a_service_in(&self) -> Result<()> {
        let mut source = postgres::connect(&self.settings.source, "chaos").await?;
        let create = sql::create_role(SERVICE, self.settings.source.password.expose_secret());
        source.run_secret(&format!("creating the role {SERVICE}"), &create).await?;
        source.run(&sql::bind(sql_file!("chaos/service_role.sql"), &[("role", SERVICE)])).await?;
        source.close().await
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
    async fn keep(&mut self, name: &'static str) -> Result<()> {
        let held = self.held().await?;
        let (said, freeze) = (self.said_by_stores(&held).await?, self.freeze().await?);
        let one = |server: Server| async move {
            let mut connection = superuser(&server).await?;
            let copy = sql::copy_database(&kept(&server, name), &server.user, &server.database, None);
            connection.run(&copy).await?;
            connection.close().await
        };
        try_join_all(self.servers().cloned().map(one)).await?;
        self.machines.keep(FIRST, name)?;
        self.images.push(Image { name, held, said, freeze });
        Ok(())
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

    /// What every store says of itself. `held`: with Firestore's mark.
    pub async fn said_by_stores(&self, held: &Held) -> Result<Said> {
        let mut said = Said::new();
        for database in Database::ALL {
            let mut connection = postgres::connect(self.settings.target(database), "chaos").await?;
            let row = connection.row(sql_file!("chaos/marks.sql").text).await?;
            let (run, state): (String, String) = (row.try_get("run")?, row.try_get("state")?);
            said.insert(database.to_string(), format!("{run}, {state}"));
            connection.close().await?;
        }
        let mark = held.documents.get(marks::COLLECTION).and_then(|documents| documents.get(marks::DOCUMENT));
        let text = |name: &str| match mark.and_then(|fields| fields.get(name)?.value_type.as_ref()) {
            Some(ValueType::StringValue(text)) => text.clone(),
            _ => "nothing".to_string(),
        };
        said.insert("Firestore".to_string(), format!("{}, {}", text("run"), text("state")));
        Ok(said)
    }

    pub async fn freeze(&self) -> Result<Freeze> {
        let mut connection = postgres::connect(&self.settings.source, "chaos").await?;
        let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
        let setting: Option<String> = row.try_get("setting")?;
        let role = sql::bind(sql_file!("phases/freeze/role.sql"), &[("role", SERVICE)]);
        let can_login: bool = connection.row(&role).await?.try_get("can_login")?;
        connection.close().await?;
        Ok(Freeze { read_only: setting.as_deref() == Some("on"), kept_out: !can_login })
    }

    fn image(&self, name: &str) -> Result<&Image> {
        self.images.iter().find(|image| image.name == name).context("the shop is not kept yet")
    }

    fn image_of(&self, start: Start) -> Result<&Image> {
        self.image(match start {
            Start::CutOver { copy: Copied::BeforeTheReplay, .. } => REPLAYED_AND_CUT_OVER,
            Start::CutOver { .. } => CUT_OVER,
            _ => PROVEN,
        })
    }

    /// What it held undisturbed.
    pub fn was(&self, start: Start) -> Result<&Held> {
        Ok(&self.image_of(start)?.held)
    }

    /// What its stores said undisturbed.
    pub fn said_before(&self, start: Start) -> Result<&Said> {
        Ok(&self.image_of(start)?.said)
    }

    /// What a replay of the repaired source comes to.
    pub fn repaired(&self) -> Result<&Held> {
        Ok(&self.image(REPLAYED)?.held)
    }

    /// The shop as it was, and what both machines know of it.
    pub async fn put_back(&self, scene: &Scene) -> Result<()> {
        let image = self.image_of(scene.start)?;
        self.back_to(image).await?;
        let second = match scene.copied() {
            Copied::Now => image.name,
            Copied::BeforeTheCutover | Copied::BeforeTheReplay => PROVEN,
            Copied::WithARunCutOff => CUT_OFF,
        };
        self.machines.put_back(SECOND, second)?;
        match scene.start {
            Start::RepairedSource => self.repair_in_source().await,
            Start::Damaged => {
                let mut order = postgres::connect(self.settings.target(Database::Order), "chaos").await?;
                order.run(sql_file!("chaos/damage.sql").text).await?;
                order.close().await
            }
            Start::Proven | Start::CutOver { .. } => Ok(()),
        }
    }

    /// The stores, the source and the first machine's runs as they were.
    async fn back_to(&self, image: &Image) -> Result<()> {
        try_join_all(self.servers().cloned().map(|server| self.database_back(image, server))).await?;
        self.documents_back(&image.held).await?;
        self.machines.put_back(FIRST, image.name)
    }

    async fn database_back(&self, image: &Image, server: Server) -> Result<()> {
        let mut connection = superuser(&server).await?;
        connection.run(&sql::drop_database(&server.database)).await?;
        let oid = self.oids.get(&server.label).copied();
        let from = kept(&server, image.name);
        connection.run(&sql::copy_database(&server.database, &server.user, &from, oid)).await?;
        if server.label == self.settings.source.label {
            let role = [SERVICE.to_string()];
            connection
                .run(&match image.freeze.read_only {
                    true => sql::freeze(&server.database, &role),
                    false => sql::unfreeze(&server.database, &role, None),
                })
                .await?;
        }
        connection.close().await?;
        // A database that nobody has entered since its number came back cannot be dropped again:
        // PostgreSQL 15 finds its statistics dropped already.
        postgres::connect(&server, "chaos").await?.close().await
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

    pub async fn services(&self, at_work: AtWork, begin: Duration) -> Result<Services> {
        let host = self.settings.firestore.emulator.as_deref().context("there is no emulator")?;
        let firestore = &self.settings.firestore;
        let raw = Raw::connect(host, &firestore.project, &firestore.database).await?;
        let users = self.image(PROVEN)?.held.documents_of("users").map(|(id, _)| id.clone());
        Ok(Services::start(self.settings.clone(), raw, users.take(20).collect(), at_work, begin))
    }

    /// A service of the old shop. Its orders are none of those that the new ones change.
    pub fn old_shop(&self, begin: Duration) -> Result<OldShop> {
        let orders = self.image(PROVEN)?.held.rows_of("orders").iter().map(|row| id_of(row).to_string());
        let orders: Vec<String> = orders.skip(ORDERS).collect();
        ensure!(!orders.is_empty(), "the smallest shop has too few orders");
        let source = Server { user: SERVICE.into(), ..self.settings.source.clone() };
        Ok(OldShop::start(source, orders, begin))
    }

    async fn to_the_end(&self, arguments: &[&str], machine: &str, code: i32) -> Result<()> {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_string()).collect();
        let status = self.machines.tool(&arguments, machine, 0)?.wait().await?;
        let said = || format!("{} ended with {status}: {}", arguments.join(" "), self.machines.said(0));
        ensure!(status.code() == Some(code), said());
        Ok(())
    }

    pub fn call(&self, scene: &Scene, call: &Call, place: usize) -> Result<Running> {
        self.machines.call(call, scene.copied(), &self.run, place)
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
async fn lines(stack: &Connections, to: &Path) -> Result<BTreeMap<&'static str, Arc<TcpFaults>>> {
    let mut connections = stack.clone();
    let mut lines = BTreeMap::new();
    for name in SERVERS {
        let server = format!("127.0.0.1:{}", stack.server(name)?.port);
        lines.insert(name, Arc::new(TcpFaults::start(server).await?));
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
    let path = to.join("stack.json");
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
