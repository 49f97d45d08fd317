//! The command line: what can be said, and which command does it.

mod arguments;
mod output;
mod process;
mod session;

pub use output::LastWords;
pub use process::main;

use crate::commands::status::{self, Status};
use crate::commands::{
    backup, config, cutover, doctor, export, freeze, import, migrate, plan, rehearse, repair, replay, resume,
    stack, verify,
};
use crate::effects::cleanup::Cleanup;
use crate::effects::terminal::{Terminal, Verbosity, ask};
use crate::lab::bench::{self, Reference, part};
use crate::lab::chaos;
use crate::model::Existing;
use crate::refuse;
use crate::run::dir;
use crate::servers::compose_stack;
use crate::servers::docker::Engine;
use crate::servers::local::{self, Wanted};
use crate::servers::native::EmulatorChoice;
use crate::servers::runtime::{self, Runtime};
use crate::settings::Variables;
use anyhow::{Context, Result};
use arguments::{
    BenchArgs, ChaosArgs, Common, CompletionsArgs, ConfigCommand, DoctorArgs, DownArgs, ImportArgs,
    MigrateArgs, PartArgs, RehearseArgs, RepairArgs, RunArgs, SourceArgs, StackArgs, StackCommand,
    StatusArgs, UnfreezeArgs,
};
use clap::{CommandFactory, Parser, Subcommand};
use output::{Listing, Said, print};
use session::Session;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// What containers need: met or not, and the command that mends it
    /// What an environment's file comes to
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Every prerequisite: met or not, and the command that mends it
    Doctor(DoctorArgs),
    /// What a migration would come to: rows, rules, hazards, time, disk, price; touches nothing
    Plan(SourceArgs),
    /// Phase 1: dump the source, read the dump back, count and digest every table
    Backup(SourceArgs),
    /// Phases 1 and 2: backup, and one CSV a table; touches no target
    Export(SourceArgs),
    /// Phases 3 and 4 from the files of a run: Firestore and the three databases
    Import(ImportArgs),
    /// All five phases
    Migrate(MigrateArgs),
    /// How far a run is or how it ended, from its files: needs no database, works while it is under way
    Status(StatusArgs),
    /// Phase 5: every store against what the run's snapshot held
    Verify(RunArgs),
    /// Hold the source back: new sessions read-only, the others ended, the services' roles kept out
    Freeze,
    /// Undo a freeze, also one whose process was killed
    Unfreeze(UnfreezeArgs),
    /// The services take over: only after a green proof, with the source unchanged; it stays read-only
    Cutover(RunArgs),
    /// What verify found, mended: shows each change, complete; makes them with --apply
    Repair(RepairArgs),
    /// Brings in rows that were in quarantine and have been mended in the source
    Replay(RunArgs),
    /// What it costs: ours against the guide, the practical limit and plain counts, on disposable servers
    Bench(BenchArgs),
    /// The migration cut on purpose wherever it can be, resumed and compared, on disposable servers
    Chaos(ChaosArgs),
    /// Completions for a shell: `source <(cargo xtask completions bash)`
    Completions(CompletionsArgs),
    /// One part of the migration alone, for bench to measure
    #[command(hide = true)]
    BenchPart(PartArgs),
}

impl Cli {
    /// Runs the command; its result goes to stdout. What it would have to undo, were it dropped, stands in
    /// `cleanup`.
    pub async fn run(self, variables: &Variables, last_words: &LastWords, cleanup: &Cleanup) -> Result<()> {
        let common = Common { jobs: self.common.jobs.map(|j| j.max(1)), ..self.common };
        let terminal = common.terminal(variables);
        let workspace = workspace()?;
        let containers = Vec::new();
        let mut session = Session { common, variables, terminal, last_words, cleanup, workspace, containers };
        if self.command.uses_servers() {
            session.containers = Box::pin(session.found_containers(self.command.fills_servers())).await?;
        }
        match self.command {
            Command::Rehearse(args) => session.rehearse(args).await,
            Command::Stack(command) => session.stack(command).await,
            Command::Doctor(args) if args.network => session.network().await,
            Command::Config(ConfigCommand::Show) => session.config(),
            Command::Completions(args) => completions(args.shell),
            Command::Doctor(args) => session.doctor(&args).await,
            Command::Plan(args) => session.plan(&args, Existing::Refuse).await,
            Command::Backup(args) => session.backup(args).await,
            Command::Export(args) => {
                let ctx = session.new_run(&args, Existing::Refuse)?;
                let report = session.unblocked(export::run(&ctx).await)?;
                session.report(&report, &session.then(&format!("import --run {}", report.run)))
            }
            Command::Migrate(args) if args.dry_run => {
                session.plan(&args.source, existing(args.replace)).await
            }
            Command::Migrate(args) => session.migrate(args).await,
            Command::Status(args) => session.status(args).await,
            Command::Import(args) => {
                let ctx = session.accepting_run(&args.run, &args.accept)?;
                session.permitted(&ctx.settings)?;
                session.rehearsed(&ctx)?;
                let again = session.then(&format!("import --run {}", ctx.run.id()));
                let report = session.or_say(&ctx, again, import::run(&ctx)).await?;
                session.report(&report, &session.then(&format!("verify --run {}", report.run)))
            }
            Command::Bench(args) => session.bench(args).await,
            Command::Chaos(args) => session.chaos(args).await,
            Command::BenchPart(args) => session.bench_part(args.part).await,
            Command::Repair(args) => session.repair(args).await,
            Command::Replay(args) => session.replay(&args).await,
            Command::Verify(args) => {
                let ctx = session.existing_run(&args)?;
                let report = verify::run(&ctx).await?;
                session.judged(&report, &session.after(&report))
            }
            Command::Freeze => session.freeze().await,
            Command::Unfreeze(args) => session.unfreeze(args).await,
            Command::Cutover(args) => session.cutover(args).await,
        }
    }
}

fn existing(replace: bool) -> Existing {
    if replace { Existing::Replace } else { Existing::Refuse }
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut out = Vec::new();
    // Without the space that its name has otherwise: no shell completes two words.
    clap_complete::generate(shell, &mut Cli::command().name("xtask"), "xtask", &mut out);
    print(&String::from_utf8(out).context("completions are text")?)
}

/// The checkout that this tool was built from.
fn workspace() -> Result<PathBuf> {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().map(Path::to_path_buf).context("xtask has no workspace around it")
}

impl Common {
    pub(super) fn terminal(&self, variables: &Variables) -> Terminal {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        let no_colour = variables.get("NO_COLOR").is_some_and(|v| !v.is_empty());
        Terminal::new(verbosity, no_colour)
    }
}

impl Command {
    /// Whether it may start the servers that it fills.
    fn fills_servers(&self) -> bool {
        match self {
            Command::Migrate(args) => !args.dry_run,
            Command::Import(_) => true,
            _ => false,
        }
    }

    /// Whether it works on the servers of an environment.
    fn uses_servers(&self) -> bool {
        use Command::{Bench, BenchPart, Chaos, Completions, Doctor, Rehearse, Stack, Status};
        !matches!(
            self,
            Chaos(_)
                | Doctor(_)
                | Rehearse(_)
                | Stack(_)
                | Bench(_)
                | BenchPart(_)
                | Completions(_)
                | Status(_)
        )
    }
}

impl Session<'_> {
    fn config(&self) -> Result<()> {
        let environment = self.environment()?;
        let shown = if self.containers.is_empty() {
            config::show(&environment, self.running(&environment)?.as_ref(), self.variables)?
        } else {
            environment.shown_on(&compose_stack::settings(&environment, &self.containers)?, &self.workspace)
        };
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&shown)?));
        }
        let next = if shown.problems.is_empty() { "migrate" } else { "config show" };
        let mend = if shown.problems.is_empty() { "" } else { "mend that, then " };
        self.say(Said { text: shown.text(), next: Some(format!("{mend}{}", self.then(next))) })
    }

    async fn plan(&self, args: &SourceArgs, existing: Existing) -> Result<()> {
        let ctx = self.looking(args, existing)?;
        let mut forecast = self.unblocked(plan::run(&ctx).await)?;
        forecast.obstacles.extend(self.unrehearsed(&ctx)?);
        let next = if plan::judge(&forecast).is_ok() { "migrate" } else { "doctor" };
        self.done(&forecast, forecast.text(), self.then(next))?;
        plan::judge(&forecast)
    }

    async fn doctor(&mut self, args: &DoctorArgs) -> Result<()> {
        let found = Box::pin(self.found_containers(false)).await;
        let of_containers = match (&found, self.common.runtime) {
            (Ok(none), None | Some(Runtime::Auto | Runtime::Native)) if none.is_empty() => Vec::new(),
            _ => compose_stack::doctor::lines(&self.workspace).await,
        };
        let health = match found {
            Ok(found) => {
                self.containers = found;
                let ctx = self.looking(&SourceArgs::default(), Existing::Refuse)?;
                let wanted = crate::checks::doctor::Wanted { freeze: args.freeze };
                doctor::run(&ctx, wanted, of_containers).await
            }
            Err(error) => doctor::without_servers(of_containers, &error),
        };
        let next = if health.ready { "plan" } else { "doctor" };
        self.done(&health, health.text(), self.then(next))?;
        doctor::judge(&health)
    }

    async fn migrate(&self, args: MigrateArgs) -> Result<()> {
        let ctx = match &args.resume {
            Some(run) => self.resumed_run(run, &args.source)?,
            None => self.new_run(&args.source, existing(args.replace))?,
        };
        self.permitted(&ctx.settings)?;
        self.rehearsed(&ctx)?;
        let again = self.then(&format!("migrate --resume {}", ctx.run.id()));
        let report = match args.resume {
            Some(_) => self.or_say(&ctx, again, resume::run(&ctx)).await,
            None => self.or_say(&ctx, again, migrate::run(&ctx)).await,
        };
        let report = self.unblocked(report)?;
        self.judged(&report, &self.after(&report))
    }

    async fn status(&self, args: StatusArgs) -> Result<()> {
        let (path, id) = dir::find(&self.runs(), &args.run)?;
        let mut status = status::read(&path, &id)?;
        self.show(&status, None, args.follow)?;
        while args.follow && status.is_running() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let now = status::read(&path, &id)?;
            if now != status {
                self.show(&now, Some(&status), true)?;
                status = now;
            }
        }
        if let (false, Some(next)) = (self.common.json, &status.next) {
            self.terminal.line(format!("next: {}", self.then_in(&status.environment, next)));
        }
        Ok(())
    }

    /// All of it, or what is new since `before`; once more all of it at the end. As JSON a line each time
    /// where it is followed.
    fn show(&self, status: &Status, before: Option<&Status>, follow: bool) -> Result<()> {
        match (self.common.json, before) {
            (true, None) if !follow => print(&format!("{}\n", serde_json::to_string_pretty(status)?)),
            (true, _) => print(&format!("{}\n", serde_json::to_string(status)?)),
            (false, Some(before)) if status.is_running() => {
                print(&format!("{}{}", status.news(before), status.under_way()))
            }
            (false, _) => print(&status.text()),
        }
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
        let asked = self.common.runtime.unwrap_or(Runtime::Native);
        let runtime = runtime::choose(asked, &self.workspace, false, &self.terminal).await?;
        if let runtime::Taken::Native = runtime {
            // Before the first look for PostgreSQL's programs: they may have to be installed.
            local::require(&wanted, &self.terminal)?;
        }
        let runs = self.common.backup_dir.clone();
        let plan = rehearse::Plan { runtime, keep: args.keep, runs, baseline: args.baseline };
        let environment = self.environment()?;
        let running = rehearse::run(wanted, plan, &environment, self.options()?, self.cleanup);
        let rehearsed = Box::pin(running).await?;
        let Some(kept) = &rehearsed.kept else {
            return self
                .judged(&rehearsed.report, "cargo xtask stack up, then cargo xtask migrate --env local");
        };
        self.terminal.always(&format!("the servers are still running:\n{}", kept.how_to_connect));
        let home = kept.home.as_ref().map(|home| format!(" --stack {}", home.display())).unwrap_or_default();
        let verify = self.then(&format!("verify --run {}{home}", rehearsed.report.run));
        self.judged(&rehearsed.report, &format!("{verify}; at the end: cargo xtask stack down{home}"))
    }

    async fn stack(&self, command: StackCommand) -> Result<()> {
        let asked = self.common.runtime.unwrap_or(Runtime::Auto);
        let (workspace, only) = (self.workspace.as_path(), self.common.stack.as_deref());
        let meant = stack::Meant { runtime: asked, workspace, only };
        let said = match command {
            StackCommand::Up(args) => {
                let taken = runtime::choose(asked, &self.workspace, true, &self.terminal).await?;
                let up = stack::up(taken, self.wanted(&args), &self.environment()?, &self.terminal).await?;
                let next = format!("{}; at the end: {}", self.then("migrate"), self.then("stack down"));
                Said { text: up, next: Some(next) }
            }
            StackCommand::Down(args) => {
                let volumes = self.consented(&meant, &args).await?;
                Said { text: stack::down(&meant, &volumes, &self.terminal).await?, next: None }
            }
            StackCommand::Status => {
                let text = stack::status(&meant, &self.environment()?, &self.terminal).await?;
                Said { text, next: None }
            }
            StackCommand::Run(args) => {
                return compose_stack::run_inside(&self.workspace, &args.command).await;
            }
            StackCommand::Logs(args) => {
                let service = args.service.as_deref();
                Said { text: stack::logs(&meant, service, args.tail, &self.terminal).await?, next: None }
            }
        };
        self.say(said)
    }

    /// The volumes that go, once somebody has agreed to that.
    async fn consented(&self, meant: &stack::Meant<'_>, args: &DownArgs) -> Result<Vec<String>> {
        if !args.volumes {
            return Ok(Vec::new());
        }
        let volumes = stack::volumes(meant, &self.terminal).await?.unwrap_or_default();
        if args.yes || volumes.is_empty() {
            return Ok(volumes);
        }
        let question = format!("Remove the volumes {}, with all that is in them?", volumes.join(", "));
        match ask(&question).context("asking")? {
            Some(true) => Ok(volumes),
            Some(false) => refuse!("nothing was changed"),
            None => {
                refuse!("it would remove the volumes {}: if that is meant, add --yes", volumes.join(", "))
            }
        }
    }

    async fn network(&self) -> Result<()> {
        let engine = Engine::connect().await?;
        let looked = compose_stack::network::run(&engine, &self.workspace, &self.environment()?).await?;
        let next = if looked.health.ready { "stack status" } else { "doctor --network" };
        self.done(&looked, looked.text(), self.then(next))?;
        doctor::judge(&looked.health)
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
            part::Part::Rows | part::Part::Move => self.new_run(&SourceArgs::default(), Existing::Refuse)?,
            part::Part::Documents | part::Part::Count => {
                self.existing_run(&RunArgs { run: "latest".into() })?
            }
        };
        let done = part::run(&ctx, part).await?;
        println!("{}", serde_json::to_string(&done)?);
        Ok(())
    }

    async fn backup(&self, args: SourceArgs) -> Result<()> {
        let ctx = self.new_run(&args, Existing::Refuse)?;
        let backup = backup::run(&ctx).await?;
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&backup)?));
        }
        self.say(Said { text: backup::text(&ctx, &backup), next: Some(self.then("export")) })
    }

    async fn freeze(&self) -> Result<()> {
        let settings = self.settings()?;
        self.permitted(&settings)?;
        let done = freeze::run(&settings, &self.runs(), &self.terminal, self.cleanup).await?;
        let next = format!("{}; to undo it: {}", self.then("migrate"), self.then("unfreeze"));
        self.done(&done, done.text(), next)
    }

    async fn unfreeze(&self, args: UnfreezeArgs) -> Result<()> {
        let run = args.run.as_deref();
        let done = freeze::undo(&self.settings()?, &self.runs(), run, &self.terminal).await?;
        self.done(&done, done.text(), self.then("migrate"))
    }

    async fn cutover(&self, args: RunArgs) -> Result<()> {
        let ctx = self.existing_run(&args)?;
        self.permitted(&ctx.settings)?;
        let done = cutover::run(&ctx, self.cleanup).await?;
        let next = self.then(&format!("verify --run {}", done.run));
        self.done(&done, done.text(), format!("start the services, then {next}"))
    }

    async fn repair(&self, args: RepairArgs) -> Result<()> {
        let ctx = self.existing_run(&args.run)?;
        if args.apply {
            self.permitted(&ctx.settings)?;
        }
        let mut listing = Listing { json: self.common.json, told: 0 };
        let outcome = repair::run(&ctx, args.apply, &mut |change| listing.tell(change)).await?;
        listing.end(serde_json::json!({ "sums": outcome.repaired, "report": outcome.report }))?;
        let run = ctx.run.id();
        if !self.common.json {
            let report = outcome.report.iter().map(|report| report.text());
            let text = report.chain([outcome.text()]).collect::<Vec<_>>().join("\n");
            let next = match (args.apply, outcome.repaired.changes) {
                (false, 1..) => self.then(&format!("repair --run {run} --apply")),
                _ => self.then(&format!("verify --run {run}")),
            };
            self.say(Said { text, next: Some(next) })?;
        }
        outcome.judge()
    }

    async fn replay(&self, args: &RunArgs) -> Result<()> {
        let ctx = self.existing_run(args)?;
        self.permitted(&ctx.settings)?;
        let replayed = replay::run(&ctx).await?;
        if self.common.json {
            print(&format!("{}\n", serde_json::to_string_pretty(&replayed)?))?;
        } else {
            let next = self.then(&format!("verify --run {}", ctx.run.id()));
            self.say(Said { text: replay::text(&replayed), next: Some(next) })?;
        }
        replay::judge(&replayed)
    }
}
