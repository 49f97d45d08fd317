//! One migrated shop on servers of its own: changed, looked at in this process and by the real binary, and
//! put back.

use super::corruption::{Change, Corruption};
use super::definitions;
use super::held::{Held, Row, changed_documents, changed_rows, foreign_keys, shapes};
use super::oracle::Books;
use super::raw::{Fields, Raw};
use super::world::World;
use crate::effects::postgres::{self, Connection};
use crate::effects::terminal::Terminal;
use crate::lab::compare;
use crate::lab::itself;
use crate::model::Database;
use crate::phases::p5_verify::{self, Depth};
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::run::manifest::{Export, Manifest, Proof};
use crate::servers::local::{self, Wanted};
use crate::servers::native::{EmulatorChoice, Stack};
use crate::settings::{Environment, Settings};
use crate::steps::CommandName;
use crate::stores::schema::{self, Part};
use crate::tables::{MAPPING, TABLES, To};
use crate::{sql, sql_file};
use anyhow::{Context, Result, bail, ensure};
use datapath::csv_text;
use datapath::firestore::{Address, Firestore};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A look that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many differences a look shows, in two contexts of one run.
pub const SHOWN: [usize; 2] = [10, 0];

pub struct Shop {
    stack: Stack,
    runs: PathBuf,
    run: PathBuf,
    id: String,
    /// As superusers, behind the constraints.
    connections: BTreeMap<Database, Connection>,
    raw: Raw,
    ctxs: Vec<Arc<Ctx>>,
    manifest: Manifest,
    export: Arc<Export>,
    /// What the tables are, undisturbed.
    parts: BTreeMap<Database, Vec<Part>>,
}

/// What the binary said.
pub struct Said {
    pub code: Option<i32>,
    /// Its findings as JSON, sorted.
    pub findings: Vec<String>,
    pub err: String,
}

impl Shop {
    /// Starts the servers, migrates, and reads what the stores hold then.
    pub async fn open(
        workspace: &Path,
        environment: &Environment,
        scale: u32,
        terminal: &Terminal,
    ) -> Result<(Shop, World, Books)> {
        let wanted = Wanted { workspace, scale, emulator: EmulatorChoice::Start, install: false };
        let (stack, settings) = local::start(wanted, environment, terminal).await?;
        let runs = stack.connections().dir.join("runs");
        fs::DirBuilder::new().mode(0o700).create(&runs).with_context(|| runs.display().to_string())?;
        let mut source = postgres::connect(&settings.source, "chaos").await?;
        source.run(sql_file!("chaos/more_rows.sql").text).await?;
        source.close().await?;
        terminal.phase("Migrating it");
        let migrated = call(&stack, &runs, &["migrate", "--max-quarantine", "1000000"]).await?;
        ensure!(migrated.status.success(), "migrating failed: {}", in_one_line(&migrated.stderr));
        let id = dir::ids(&runs)?.pop().context("the migration left no run")?;
        let run = runs.join(&id);
        let manifest = dir::load_manifest(&run)?;
        let export = Arc::new(manifest.export.clone().context("the migration left no export")?);
        let ctxs = SHOWN
            .map(|max_diffs| itself::context(workspace, &settings, RunDir::open(&runs, &id)?, max_diffs));
        let ctxs = ctxs.into_iter().collect::<Result<_>>()?;
        let host = settings.firestore.emulator.as_deref().context("there is no emulator")?;
        let raw = Raw::connect(host, &settings.firestore.project, &settings.firestore.database).await?;
        let mut connections = BTreeMap::new();
        for database in Database::ALL {
            connections.insert(database, superuser(&settings, database).await?);
        }
        let parts = BTreeMap::new();
        let mut shop = Shop { stack, runs, run, id, connections, raw, ctxs, manifest, export, parts };
        let world = shop.read_all(&settings).await?;
        let books = shop.books()?;
        Ok((shop, world, books))
    }

    /// All that can be changed.
    async fn read_all(&mut self, settings: &Settings) -> Result<World> {
        let (mut held, mut all, mut keys, mut ways) = (Held::default(), Vec::new(), Vec::new(), Vec::new());
        for (database, connection) in &mut self.connections {
            let parts = schema::definition(connection, "public").await?;
            let tables = shapes(*database, &parts)?;
            held.read_database(connection, &tables).await?;
            keys.extend(foreign_keys(&parts));
            all.extend(tables);
            ways.extend(definitions::read(connection, *database).await?);
            self.parts.insert(*database, parts);
        }
        let firestore = Firestore::connect(&Address::from(&settings.firestore)).await?;
        for collection in TABLES.iter().filter_map(|t| t.collection()) {
            let ids = compare::ids(&firestore, collection).await?;
            held.read_documents(&self.raw, collection.name, &ids).await?;
        }
        let of_backup = self.manifest.backup.iter().flat_map(|b| b.files.keys());
        let mut files = BTreeMap::new();
        for name in of_backup.chain(self.export.files.keys()) {
            files.insert(name.clone(), fs::read(self.run.join(name)).with_context(|| name.clone())?);
        }
        Ok(World { held, shapes: all, foreign_keys: keys, definitions: ways, files })
    }

    /// What the run's files say of keys and sequences.
    fn books(&self) -> Result<Books> {
        let column = |name: &str, place: usize| -> Result<BTreeSet<String>> {
            let text = fs::read(self.run.join(name)).with_context(|| name.to_string())?;
            let mut lines = csv_text::Lines::new(&text[..]);
            let (mut row, mut values) = (Vec::new(), BTreeSet::new());
            lines.next(&mut row)?;
            while lines.next(&mut row)? {
                let value = csv_text::fields(&row).into_iter().nth(place).flatten();
                values.extend(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
            }
            Ok(values)
        };
        let mut books = Books { uids: column(MAPPING, 1)?, ..Books::default() };
        for table in TABLES {
            let record = self.export.tables.get(table.name).context("a table is not in the export")?;
            books.next.insert(table.name, record.sequence.next());
            for reference in table.references {
                let To::Row(_, parent) = reference.to else { continue };
                let file = format!("quarantine/{parent}.csv");
                if self.export.files.contains_key(&file) {
                    books.quarantined.insert(parent, column(&file, 0)?);
                }
            }
        }
        Ok(books)
    }

    fn connection(&mut self, database: Database) -> Result<&mut Connection> {
        self.connections.get_mut(&database).context("no connection to a database")
    }

    /// Does it, and reads what the stores hold then.
    pub async fn apply(&mut self, world: &World, change: &Change) -> Result<Held> {
        let mut now = world.held.clone();
        match change {
            Change::Database { database, statements, .. } => {
                let connection = self.connection(*database)?;
                connection.run(statements).await?;
                now.read_database(connection, &of(world, *database)).await?;
            }
            Change::Documents { collection, writes } => {
                self.raw.write(collection, writes).await?;
                let ids: Vec<String> = writes.iter().map(|(id, _)| id.clone()).collect();
                now.read_documents(&self.raw, collection, &ids).await?;
            }
            Change::File { name, bytes } => self.write_file(name, bytes.as_deref())?,
        }
        Ok(now)
    }

    fn write_file(&self, name: &str, bytes: Option<&[u8]>) -> Result<()> {
        let path = self.run.join(name);
        let done = match bytes {
            None => fs::remove_file(&path),
            Some(bytes) => {
                let mut options = fs::OpenOptions::new();
                let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
                file.and_then(|mut file| std::io::Write::write_all(&mut file, bytes))
            }
        };
        done.with_context(|| format!("writing {}", path.display()))
    }

    /// Brings everything back to what it was, and makes sure of it.
    ///
    /// # Errors
    /// Where it is not what it was: nothing that comes after it could be judged.
    pub async fn undo(&mut self, world: &World, corruption: &Corruption, now: &Held) -> Result<()> {
        let mut after = world.held.clone();
        match &corruption.change {
            Change::Database { database, undo, .. } => {
                self.rows_back(world, *database, now).await?;
                let connection = self.connection(*database)?;
                if !undo.is_empty() {
                    connection.run(undo).await?;
                }
                after.read_database(connection, &of(world, *database)).await?;
                let parts = schema::definition(connection, "public").await?;
                ensure!(self.parts.get(database) == Some(&parts), "the definitions are not what they were");
            }
            Change::Documents { collection, .. } => {
                let changed = changed_documents(&world.held, now, collection);
                let old = |id: &String| world.held.documents.get(collection).and_then(|d| d.get(id)).cloned();
                let writes: Vec<(String, Option<Fields>)> =
                    changed.iter().map(|id| (id.clone(), old(id))).collect();
                self.raw.write(collection, &writes).await?;
                let ids: Vec<String> = changed.into_iter().collect();
                after.read_documents(&self.raw, collection, &ids).await?;
            }
            Change::File { name, .. } => self.write_file(name, world.files.get(name).map(Vec::as_slice))?,
        }
        ensure!(after == world.held, "the stores do not hold what they held");
        Ok(())
    }

    /// Rows and sequences that have changed, as they were.
    async fn rows_back(&mut self, world: &World, database: Database, now: &Held) -> Result<()> {
        let mut statements = Vec::new();
        for shape in of(world, database) {
            let name = shape.table.name;
            let changed = changed_rows(world.held.rows_of(name), now.rows_of(name));
            if !changed.is_empty() {
                let ids: Vec<String> = changed.keys().map(i64::to_string).collect();
                statements.push(sql::take_rows(name, ids.iter().map(String::as_str)));
                let old: Vec<&Row> =
                    changed.values().flat_map(|(before, _)| before.iter().copied()).collect();
                let old: Vec<&[Option<String>]> = old.into_iter().map(Vec::as_slice).collect();
                if !old.is_empty() {
                    statements.push(sql::put_rows(name, &shape.names(), &old));
                }
            }
            if let (Some(next), true) =
                (world.held.next.get(name), world.held.next.get(name) != now.next.get(name))
            {
                statements.push(sql::set_sequence("public", name, next - 1, true));
            }
        }
        match statements.is_empty() {
            true => Ok(()),
            false => {
                self.connection(database)?.run(&format!("BEGIN; {}; COMMIT", statements.join("; "))).await
            }
        }
    }

    /// Writes everything again as it is: another order on disk, the keys of jsonb in another order.
    pub async fn rewrite(&mut self) -> Result<()> {
        for connection in self.connections.values_mut() {
            connection.run(sql_file!("chaos/same_again.sql").text).await?;
        }
        Ok(())
    }

    /// Verifies in this process.
    pub async fn look(&self, max_diffs: usize) -> Result<Proof> {
        let ctx = self.ctxs.iter().find(|ctx| ctx.max_diffs == max_diffs).context("no such context")?;
        let command = ctx.run.command(&CommandName::Verify)?;
        let look = Box::pin(p5_verify::run(ctx, &self.manifest, &self.export, Depth::Changes));
        let proof = match tokio::time::timeout(PATIENCE, look).await {
            Ok(proof) => proof?,
            Err(_) => bail!("the verification did not end within {} s", PATIENCE.as_secs()),
        };
        command.done("")?;
        Ok(proof)
    }

    /// Verifies by the binary.
    pub async fn binary(&self, max_diffs: usize) -> Result<Said> {
        let shown = max_diffs.to_string();
        let arguments = ["verify", "--show-values", "--max-diffs", &shown, "--run", &self.id];
        let output = call(&self.stack, &self.runs, &arguments).await?;
        let mut findings = Vec::new();
        if let Ok(report) = itself::result::<serde_json::Value>(&String::from_utf8_lossy(&output.stdout)) {
            let parts = ["tables", "checks"].iter().filter_map(|part| report[part].as_array()).flatten();
            let all = parts.filter_map(|part| part["findings"].as_array()).flatten();
            findings.extend(all.map(serde_json::Value::to_string));
        }
        findings.sort();
        Ok(Said { code: output.status.code(), findings, err: in_one_line(&output.stderr) })
    }

    pub fn stop(self) -> Result<()> {
        self.stack.stop()
    }
}

/// The tables of a database.
fn of(world: &World, database: Database) -> Vec<super::held::Shape> {
    world.shapes.iter().filter(|shape| shape.database == database).cloned().collect()
}

async fn superuser(settings: &Settings, database: Database) -> Result<Connection> {
    let mut server = settings.target(database).clone();
    server.user = "postgres".into();
    let mut connection = postgres::connect(&server, "chaos").await?;
    connection.run(sql::BEHIND_CONSTRAINTS).await?;
    Ok(connection)
}

/// The tool itself, to its end.
async fn call(stack: &Stack, runs: &Path, arguments: &[&str]) -> Result<std::process::Output> {
    let program = itself::tool(arguments, &stack.connections().dir, runs)?.args(["--json", "--quiet"]);
    let (output, ()) = program.observed(|_| Ok(())).await?;
    Ok(output)
}

fn in_one_line(bytes: &[u8]) -> String {
    itself::in_one_line(&String::from_utf8_lossy(bytes))
}
