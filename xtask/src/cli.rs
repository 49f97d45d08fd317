//! The command line: what can be said, and which command does it.

use crate::commands::bench::{self, Reference, part};
use crate::commands::chaos;
use crate::commands::local::{self, Wanted};
use crate::commands::{backup, export, import, migrate, rehearse, stack, verify};
use crate::ctx::{Ctx, Options};
use crate::effects::dump::Tools;
use crate::effects::native::{self, EmulatorChoice};
use crate::effects::terminal::{Terminal, Verbosity};
use crate::model::Stop;
use crate::refuse;
use crate::run_dir::RunDir;
use crate::settings::{Environment, Settings, Variables};
use crate::summary::Report;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Splits one PostgreSQL shop database into Firestore and three PostgreSQL databases, proves that every
/// row arrived exactly, and says what became of each.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  usage
  3  verification differs
  4  refused before anything was changed
  5  more rows in quarantine than allowed; no target was written
  6  interrupted (Ctrl-C, SIGTERM, a lost terminal)
  129, 130, 143  interrupted a second time, at once";

#[derive(Debug, Subcommand)]
enum Command {
    /// The whole migration on disposable servers with made-up data; leaves nothing behind
    Rehearse(RehearseArgs),
    /// The local servers by themselves
    #[command(subcommand)]
    Stack(StackCommand),
    /// Phase 1: dump the source, read the dump back, count and digest every table
    Backup(SourceArgs),
    /// Phases 1 and 2: backup, and one CSV a table; touches no target
    Export(SourceArgs),
    /// Phases 3 and 4 from the files of a run: Firestore and the three databases
    Import(RunArgs),
    /// All five phases
    Migrate(SourceArgs),
    /// Phase 5: every store against what the run's snapshot held
    Verify(RunArgs),
    /// What it costs: ours against the guide, the practical limit and plain counts, on disposable servers
    Bench(BenchArgs),
    /// The migration cut on purpose wherever it can be, resumed and compared, on disposable servers
    Chaos(ChaosArgs),
    /// One part of the migration alone, for bench to measure
    #[command(hide = true)]
    BenchPart(PartArgs),
}

#[derive(Debug, Subcommand)]
enum StackCommand {
    /// Start four PostgreSQL servers and a Firestore emulator, fill the monolith, leave them running
    Up(StackArgs),
    /// Stop the servers that `up` or `--keep` left running, and remove their data
    Down,
    /// What runs, and how to connect
    Status,
}

#[derive(Debug, Args)]
struct StackArgs {
    /// Size of the monolith: 1 is about 50 thousand rows, 25 about 1.2 million, 0 the hard rows alone
    #[arg(long, default_value_t = 1, value_name = "N")]
    scale: u32,
    /// Install what the machine lacks (Debian's packages)
    #[arg(long)]
    install: bool,
}

#[derive(Debug, Args)]
struct RehearseArgs {
    #[command(flatten)]
    stack: StackArgs,
    /// Leave servers and run directory, and say how to connect
    #[arg(long)]
    keep: bool,
    /// Time `pg_dump -Fc` and `pg_restore -j4` of the same database beside it
    #[arg(long)]
    baseline: bool,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// Size of the monolith: the floors are for 25, about 1.2 million rows
    #[arg(long, default_value_t = 25, value_name = "N")]
    scale: u32,
    /// Measure against this one only; can be repeated [default: all]
    #[arg(long = "reference", value_name = "R")]
    references: Vec<Reference>,
    /// How often everything is measured, in turn
    #[arg(long, default_value_t = 5, value_name = "N")]
    repeat: usize,
    /// Where bench.json and bench.html go [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Exit code 3 where a floor is missed
    #[arg(long)]
    check: bool,
}

#[derive(Debug, Args)]
struct ChaosArgs {
    /// How many runs are cut
    #[arg(long, default_value_t = 200, value_name = "N")]
    cuts: usize,
    /// The same seed draws the same cuts [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Size of the monolith
    #[arg(long, default_value_t = 0, value_name = "N")]
    scale: u32,
}

#[derive(Debug, Args)]
struct PartArgs {
    part: part::Part,
}

#[derive(Debug, Args)]
struct SourceArgs {
    /// Rows in quarantine that are allowed; with more, no target is written
    #[arg(long, value_name = "N")]
    max_quarantine: Option<u64>,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The run's name, or `latest`
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
}

/// Said for every command.
#[derive(Debug, Args)]
struct Common {
    /// Which servers: the name of a file in xtask/environments
    #[arg(long, global = true, default_value = "local", value_name = "ENV")]
    env: String,
    /// Use the local servers in this directory [default: the newest that `stack up` or `--keep` left]
    #[arg(long, global = true, value_name = "DIR")]
    stack: Option<PathBuf>,
    /// Where run directories are
    #[arg(long, global = true, value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// Statements at once on one host [default: this machine's cores]
    #[arg(long, global = true, value_name = "N")]
    jobs: Option<usize>,
    /// Differing rows shown of each table
    #[arg(long, global = true, default_value_t = 10, value_name = "N")]
    max_diffs: usize,
    /// The result as JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    /// Only warnings and the result
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    verbose: bool,
}

/// What a command leaves for the person: text and the command to type next.
struct Said {
    text: String,
    next: Option<String>,
}

impl Cli {
    /// Runs the command; its result goes to stdout.
    pub async fn run(self, variables: &Variables) -> Result<()> {
        let common = Common { jobs: self.common.jobs.map(|j| j.max(1)), ..self.common };
        let terminal = common.terminal(variables);
        let session = Session { common, variables, terminal, workspace: workspace()? };
        match self.command {
            Command::Rehearse(args) => session.rehearse(args).await,
            Command::Stack(command) => session.stack(command).await,
            Command::Backup(args) => session.backup(args).await,
            Command::Export(args) => {
                let ctx = session.new_run(&args)?;
                let report = export::run(&ctx).await?;
                session.report(&report, &session.then(&format!("import --run {}", report.run)))
            }
            Command::Migrate(args) => {
                let ctx = session.new_run(&args)?;
                let report = migrate::run(&ctx).await?;
                session.judged(&report, &session.then(&format!("verify --run {}", report.run)))
            }
            Command::Import(args) => {
                let ctx = session.existing_run(&args)?;
                let report = import::run(&ctx).await?;
                session.report(&report, &session.then(&format!("verify --run {}", report.run)))
            }
            Command::Bench(args) => session.bench(args).await,
            Command::Chaos(args) => session.chaos(args).await,
            Command::BenchPart(args) => session.bench_part(args.part).await,
            Command::Verify(args) => {
                let ctx = session.existing_run(&args)?;
                let report = verify::run(&ctx).await?;
                session.judged(&report, "start the services")
            }
        }
    }
}

/// Data for stdout. That nobody wants to read it (any more) is no failure of the command.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
    }
}

/// The checkout that this tool was built from.
fn workspace() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_path_buf).context("xtask has no workspace around it")
}

impl Common {
    fn terminal(&self, variables: &Variables) -> Terminal {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let no_colour = variables.get("NO_COLOR").is_some_and(|v| !v.is_empty());
        Terminal::new(verbosity, no_colour)
    }
}

/// One call of the tool.
struct Session<'a> {
    common: Common,
    variables: &'a Variables,
    terminal: Terminal,
    workspace: PathBuf,
}

impl Session<'_> {
    fn environment(&self) -> Result<Environment> {
        let name = &self.common.env;
        let path = self.workspace.join("xtask/environments").join(format!("{name}.toml"));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                refuse!(
                    "there is no environment `{name}`: {} does not exist; `--env local` is for this machine",
                    path.display()
                )
            }
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        };
        Environment::parse(name, &text).map_err(|error| match error.downcast() {
            Ok(Stop::Refused(what)) => Stop::Refused(format!("{}: {what}", path.display())).into(),
            Ok(stop) => stop.into(),
            Err(error) => error,
        })
    }

    /// Local servers that are running take the place of the file's, where the file says so.
    fn settings(&self) -> Result<Settings> {
        let environment = self.environment()?;
        let stack = match (&self.common.stack, environment.uses_stack()) {
            (Some(dir), true) => match native::Connections::read(dir) {
                Ok(stack) => Some(stack),
                Err(error) => refuse!(
                    "there are no local servers in {}: `cargo xtask stack status` lists what runs ({error:#})",
                    dir.display()
                ),
            },
            (Some(_), false) => {
                refuse!("environment `{}` is not for local servers: leave --stack out", self.common.env)
            }
            (None, true) => local::running(&self.workspace)?,
            (None, false) => None,
        };
        if let Some(stack) = stack {
            self.terminal.line(format!("{}: local servers in {}", self.common.env, stack.dir.display()));
            return local::settings(&environment, &stack);
        }
        environment.settings(self.variables)
    }

    fn options(&self) -> Result<Options> {
        let bindir = native::postgres_bindir()?;
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Options {
            terminal: self.terminal.clone(),
            tools: Tools { bindir },
            workspace: self.workspace.clone(),
            jobs: self.common.jobs.unwrap_or(cores),
            max_diffs: self.common.max_diffs,
        })
    }

    fn runs(&self) -> PathBuf {
        self.common.backup_dir.clone().unwrap_or_else(|| self.workspace.join("database-backups"))
    }

    fn new_run(&self, args: &SourceArgs) -> Result<Arc<Ctx>> {
        let mut settings = self.settings()?;
        settings.policy.max_quarantine = args.max_quarantine.or(settings.policy.max_quarantine);
        let run = RunDir::create(&self.runs())?;
        Ok(Arc::new(Ctx::new(settings, TABLES, run, self.options()?)))
    }

    fn existing_run(&self, args: &RunArgs) -> Result<Arc<Ctx>> {
        let run = RunDir::open(&self.runs(), &args.run)?;
        Ok(Arc::new(Ctx::new(self.settings()?, TABLES, run, self.options()?)))
    }

    fn wanted(&self, args: &StackArgs) -> Wanted<'_> {
        let emulator = match self.variables.get("FIRESTORE_EMULATOR_HOST") {
            Some(host) => EmulatorChoice::Running(host.clone()),
            None => EmulatorChoice::Start,
        };
        Wanted { workspace: &self.workspace, scale: args.scale, emulator, install: args.install }
    }

    async fn rehearse(&self, args: RehearseArgs) -> Result<()> {
        let wanted = self.wanted(&args.stack);
        let plan =
            rehearse::Plan { keep: args.keep, runs: self.common.backup_dir.clone(), baseline: args.baseline };
        let environment = self.environment()?;
        // Before the first look for PostgreSQL's programs: they may have to be installed.
        local::require(&wanted, &self.terminal)?;
        let rehearsed = rehearse::run(wanted, plan, &environment, self.options()?).await?;
        if let Some(kept) = &rehearsed.kept {
            self.terminal.always(&format!("the servers are still running:\n{kept}"));
        }
        let next = match rehearsed.kept {
            Some(_) => format!(
                "{}; at the end: cargo xtask stack down",
                self.then(&format!("verify --run {}", rehearsed.report.run))
            ),
            None => "cargo xtask stack up, then cargo xtask migrate --env local".to_string(),
        };
        self.judged(&rehearsed.report, &next)
    }

    async fn stack(&self, command: StackCommand) -> Result<()> {
        let only = self.common.stack.as_deref();
        let said = match command {
            StackCommand::Up(args) => Said {
                text: stack::up(self.wanted(&args), &self.environment()?, &self.terminal).await?,
                next: Some("cargo xtask migrate --env local; at the end: cargo xtask stack down".into()),
            },
            StackCommand::Down => Said { text: stack::down(&self.workspace, only)?, next: None },
            StackCommand::Status => {
                Said { text: stack::status(&self.workspace, only, &self.environment()?)?, next: None }
            }
        };
        self.say(said)
    }

    async fn bench(&self, args: BenchArgs) -> Result<()> {
        let all = [Reference::Guide, Reference::Pipes, Reference::Count];
        let plan = bench::Plan {
            scale: args.scale,
            references: if args.references.is_empty() { all.to_vec() } else { args.references },
            repeat: args.repeat,
            out: args.out.unwrap_or_else(|| self.workspace.join("target/bench")),
        };
        let emulator = EmulatorChoice::Start;
        let wanted = Wanted { workspace: &self.workspace, scale: args.scale, emulator, install: false };
        local::require(&wanted, &self.terminal)?;
        let results = bench::run(&plan, &self.workspace, &|| self.environment(), &self.terminal).await?;
        if self.common.json {
            println!("{}", serde_json::to_string_pretty(&results)?);
        } else {
            let page = plan.out.join("bench.html").display().to_string();
            self.say(Said { text: results.text(), next: Some(format!("open {page}")) })?;
        }
        if args.check { results.check() } else { Ok(()) }
    }

    async fn chaos(&self, args: ChaosArgs) -> Result<()> {
        let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
        let plan = chaos::Plan { cuts: args.cuts, seed, scale: args.scale };
        self.terminal.phase(&format!("{} cuts, seed {seed}", args.cuts));
        let campaign = chaos::run(&plan, &self.workspace, self.environment()?, &self.terminal).await?;
        match self.common.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(&campaign)?))?,
            false => print(&campaign.text())?,
        }
        campaign.judge()
    }

    async fn bench_part(&self, part: part::Part) -> Result<()> {
        let ctx = match part {
            part::Part::Rows | part::Part::Move => self.new_run(&SourceArgs { max_quarantine: None })?,
            part::Part::Documents | part::Part::Count => {
                self.existing_run(&RunArgs { run: "latest".into() })?
            }
        };
        let done = part::run(&ctx, part).await?;
        println!("{}", serde_json::to_string(&done)?);
        Ok(())
    }

    async fn backup(&self, args: SourceArgs) -> Result<()> {
        let ctx = self.new_run(&args)?;
        let backup = backup::run(&ctx).await?;
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&backup)?));
        }
        self.say(Said { text: backup::text(&ctx, &backup), next: Some(self.then("export")) })
    }

    /// A command to type next, with what this one was told about where things are.
    fn then(&self, command: &str) -> String {
        let mut line = format!("cargo xtask {command}");
        if self.common.env != "local" {
            line += &format!(" --env {}", self.common.env);
        }
        for (flag, dir) in [("--stack", &self.common.stack), ("--backup-dir", &self.common.backup_dir)] {
            line += &dir.as_ref().map(|dir| format!(" {flag} {}", dir.display())).unwrap_or_default();
        }
        line
    }

    fn say(&self, said: Said) -> Result<()> {
        print(&said.text)?;
        if let Some(next) = said.next {
            self.terminal.line(format!("next: {next}"));
        }
        Ok(())
    }

    fn report(&self, report: &Report, next: &str) -> Result<()> {
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(report)?));
        }
        let text = format!("{}run {}: {}\n", report.text(), report.run, report.directory);
        self.say(Said { text, next: Some(next.to_string()) })
    }

    /// The report, and exit code 3 where it is red.
    fn judged(&self, report: &Report, next: &str) -> Result<()> {
        let red = report.proven == Some(false);
        let next = if red { "find out why; then repair, or start over with empty targets" } else { next };
        self.report(report, next)?;
        migrate::judge(report)
    }
}
