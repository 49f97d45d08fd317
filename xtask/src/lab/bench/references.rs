//! The references: `bench/guide.sh`, `bench/pipes.sh` and Google's Node client, started with what they
//! need to know of the servers.

use crate::effects::process::Program;
use crate::lab::bench::servers::Shop;
use crate::lab::usage::{self, Ran};
use crate::servers::native;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Whether Google's Node client can be measured.
pub enum Node {
    /// Installed in this directory.
    Ready(PathBuf),
    Missing(String),
    NotWanted,
}

/// How to start a reference.
pub struct References {
    workspace: PathBuf,
    bindir: PathBuf,
    pub node: Node,
    jobs: usize,
}

/// Installs the Node client, where node and npm are there. What goes wrong is a reason, not an error.
pub async fn node(workspace: &Path, wanted: bool) -> Node {
    if !wanted {
        return Node::NotWanted;
    }
    match install(workspace).await {
        Ok(dir) => Node::Ready(dir),
        Err(error) => Node::Missing(format!("{error:#}")),
    }
}

/// Under `target/bench/node`; once, and again when what is asked for has changed.
async fn install(workspace: &Path) -> Result<PathBuf> {
    for program in ["node", "npm"] {
        let version = usage::run(Program::new(Path::new(program), ["--version"])).await;
        version.with_context(|| format!("{program} is not installed"))?;
    }
    let (from, dir) = (workspace.join("bench/node"), workspace.join("target/bench/node"));
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let read =
        |path: PathBuf| fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()));
    let write = |path: PathBuf, text: &str| {
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    write(dir.join("import.js"), &read(from.join("import.js"))?)?;
    let (wanted, marker) = (read(from.join("package.json"))?, dir.join("installed.json"));
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == wanted) {
        return Ok(dir);
    }
    write(dir.join("package.json"), &wanted)?;
    let arguments = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
    let npm = Program::new(Path::new("npm"), arguments).directory(&dir);
    succeeded("npm install", usage::run(npm).await?)?;
    write(marker, &wanted)?;
    Ok(dir)
}

/// What it said, or an error with the end of it.
pub fn succeeded(name: &str, ran: Ran) -> Result<Ran> {
    if !ran.status.success() {
        let lines: Vec<&str> = ran.stderr.lines().filter(|l| !l.trim().is_empty()).collect();
        let end = lines[lines.len().saturating_sub(8)..].join("\n  ");
        bail!("{name} ended with {}: {end}", ran.status);
    }
    Ok(ran)
}

impl References {
    pub fn new(workspace: &Path, node: Node) -> Result<References> {
        let bindir = native::postgres_bindir()?;
        // As many at once as the tool itself takes by default.
        let jobs = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(References { workspace: workspace.to_path_buf(), bindir, node, jobs })
    }

    /// A step of one of the scripts, ready to run.
    pub fn script(&self, name: &str, step: &str, shop: &Shop) -> Result<Program> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = [self.bindir.clone()].into_iter().chain(std::env::split_paths(&path));
        let script = self.workspace.join("bench").join(name);
        let mut program = Program::new(Path::new("bash"), [script]).arg(step);
        program = program.env("PATH", std::env::join_paths(dirs).context("joining PATH")?);
        for (key, server) in [
            ("SOURCE_PORT", "source"),
            ("PRODUCT_PORT", "product"),
            ("ORDER_PORT", "order"),
            ("GATEWAY_PORT", "gateway"),
        ] {
            program = program.env(key, shop.port(server)?);
        }
        program = program.env("PGPASSWORD", shop.password()).env("JOBS", self.jobs.to_string());
        program = program.env("WORKSPACE", &self.workspace);
        program = program.env("WORK", &shop.work).env("BACKUP_DIR", shop.runs());
        if let Node::Ready(dir) = &self.node {
            program = program.env("NODE_DIR", dir).env("FIRESTORE_EMULATOR_HOST", shop.emulator_host()?);
            program = program.env("FIRESTORE_PROJECT", &shop.settings.firestore.project);
        }
        Ok(program)
    }

    /// Of the programs that take part.
    pub async fn versions(&self) -> Vec<(String, String)> {
        let mut found = vec![("xtask".to_string(), env!("CARGO_PKG_VERSION").to_string())];
        let postgres = self.bindir.join("postgres");
        let programs = [
            ("PostgreSQL", postgres.to_string_lossy().into_owned(), "--version"),
            ("node", "node".into(), "--version"),
            ("java", "java".into(), "-version"),
        ];
        for (name, program, flag) in programs {
            if let Ok(ran) = usage::run(Program::new(Path::new(&program), [flag])).await {
                // java tells it on stderr.
                let line = ran.stdout.lines().chain(ran.stderr.lines()).next().unwrap_or_default();
                found.push((name.to_string(), line.trim().to_string()));
            }
        }
        found
    }
}
