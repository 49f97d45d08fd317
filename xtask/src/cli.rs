//! The command line: what can be said, and which command does it.

use crate::commands::bench::{self, Reference, part};
use crate::commands::chaos;
use crate::commands::local::{self, Wanted};
use crate::commands::runtime::{self, Runtime};
use crate::commands::status::Status;
use crate::commands::{
    backup, config, containers, cutover, doctor, export, freeze, guard, import, migrate, plan, rehearse,
    repair, replay, resume, stack, status, verify,
};
use crate::ctx::{Ctx, Options};
use crate::effects::cleanup::Cleanup;
use crate::effects::docker::{self, Container, Engine};
use crate::effects::dump::Tools;
use crate::effects::native::{self, EmulatorChoice};
use crate::effects::terminal::{Terminal, Verbosity, ask, say};
use crate::hazards::{self, Blocked};
use crate::model::Existing;
use crate::phases::by_keys::Change;
use crate::refuse;
use crate::rehearsals;
use crate::run_dir::{self, Latest, RunDir};
use crate::settings::{Environment, Flags, Settings, Variables, nearest};
use crate::summary::Report;
use crate::tables::TABLES;
use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
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

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Every setting with its origin, secrets masked; needs no server and no secret
    Show,
}

/// Completes the word `xtask`: give it a meaning with `xtask() { cargo xtask "$@"; }`
#[derive(Debug, Args)]
struct CompletionsArgs {
    shell: clap_complete::Shell,
}

#[derive(Debug, Subcommand)]
enum StackCommand {
    /// Start four PostgreSQL servers and a Firestore emulator, fill the monolith, leave them running
    Up(StackArgs),
    /// Stop what `up` or `--keep` left running; processes go with their data, of containers the volumes stay
    Down(DownArgs),
    /// What runs, how it is, and how to connect
    Status,
    /// The end of the servers' logs
    Logs(LogsArgs),
    /// This tool inside the network of docker-compose.hardened.yml: `stack run -- verify --run latest`
    Run(InsideArgs),
}

#[derive(Debug, Args)]
struct InsideArgs {
    /// What it is to do there
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct DownArgs {
    /// Also remove the volumes of this checkout's containers, with all that is in them
    #[arg(long)]
    volumes: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct LogsArgs {
    /// One service, such as postgres-order [default: all]
    service: Option<String>,
    /// Lines of each
    #[arg(long, default_value_t = 20, value_name = "N")]
    tail: usize,
}

#[derive(Debug, Args)]
struct DoctorArgs {
    /// Also what holding the source back needs
    #[arg(long)]
    freeze: bool,
    /// Why services cannot reach their databases: every container, from inside and from here
    #[arg(long)]
    network: bool,
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
    /// Cuts that meet a run; half of them while somebody writes to the source
    #[arg(long, default_value_t = 200, value_name = "N")]
    cuts: usize,
    /// The same seed draws the same cuts [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Size of the monolith: 1 is about 50 thousand rows
    #[arg(long, default_value_t = 1, value_name = "N")]
    scale: u32,
}

#[derive(Debug, Args)]
struct PartArgs {
    part: part::Part,
}

#[derive(Debug, Args)]
struct UnfreezeArgs {
    /// Only if the source was frozen by this run
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
}

#[derive(Debug, Default, Args)]
struct SourceArgs {
    /// Hold the source back until the command ends
    #[arg(long)]
    freeze: bool,
    /// Read the source at this many MB/s at most
    #[arg(long, value_name = "MB/S", value_parser = rate)]
    source_rate: Option<f64>,
    /// Do not look at the end whether the source has changed since the snapshot
    #[arg(long)]
    no_source_check: bool,
    /// Rows in quarantine that are allowed; with more, no target is written [env: XTASK_MAX_QUARANTINE]
    #[arg(long, value_name = "N")]
    max_quarantine: Option<u64>,
    /// Go on although this was found in the source; can be repeated, and is recorded
    #[arg(long, value_name = "HAZARD", value_parser = PossibleValuesParser::new(hazards::acceptable()), hide_possible_values = true)]
    accept: Vec<String>,
}

#[derive(Debug, Args)]
struct MigrateArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Go on with a run that was cut off, or `latest`: the newest unfinished one
    #[arg(long, value_name = "RUN", conflicts_with = "replace")]
    resume: Option<String>,
    /// Take the place of an earlier run: removes only what one wrote and nobody has changed since
    #[arg(long)]
    replace: bool,
    /// Only say what it would come to, as `plan` does
    #[arg(short = 'n', long, conflicts_with = "resume")]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// The run's name, or `latest`: the newest
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The run's name, or `latest`: the newest with a complete export
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err(format!("expected MB/s, a number above 0, found {text:?}")),
    }
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Go on though the policy's rehearsal is missing; recorded in the run
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new([guard::NO_REHEARSAL]))]
    accept: Vec<String>,
}

#[derive(Debug, Args)]
struct RepairArgs {
    #[command(flatten)]
    run: RunArgs,
    /// Make the changes, then verify
    #[arg(long)]
    apply: bool,
}

/// Said for every command.
#[derive(Debug, Args)]
struct Common {
    /// Which servers: the name of a file in xtask/environments, or, with a /, the path of one
    #[arg(long, global = true, default_value = "local", value_name = "ENV")]
    env: String,
    /// Use the local servers in this directory [default: the newest that `stack up` or `--keep` left]
    #[arg(long, global = true, value_name = "DIR")]
    stack: Option<PathBuf>,
    /// Where local servers run: `rehearse` takes processes if nothing is said, all others what is there
    #[arg(long, global = true, value_name = "RUNTIME", env = "XTASK_RUNTIME", hide_env = true)]
    runtime: Option<Runtime>,
    /// Where run directories are
    #[arg(long, global = true, value_name = "DIR")]
    backup_dir: Option<PathBuf>,
    /// The name of the source database, where the environment asks for it before anything is changed
    #[arg(long, global = true, value_name = "DATABASE")]
    confirm: Option<String>,
    /// Documents/s that are written at most to a real project [env: XTASK_FIRESTORE_RATE]
    #[arg(long, global = true, value_name = "N")]
    firestore_rate: Option<f64>,
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

/// Data for stdout. That nobody wants to read it (any more) is no failure of the command.
fn print(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing to stdout"),
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

/// Changes on stdout as they come: there may be more than memory holds.
struct Listing {
    json: bool,
    told: u64,
}

impl Listing {
    fn tell(&mut self, change: &Change) -> Result<()> {
        self.told += 1;
        if !self.json {
            return print(&repair::shown(change));
        }
        let before = if self.told == 1 { "{\"changes\": [\n" } else { ",\n" };
        print(&format!("{before}{}", serde_json::to_string(change)?))
    }

    /// The rest of the object: the members of this one.
    fn end(&self, rest: serde_json::Value) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let before = if self.told == 0 { "{\"changes\": [" } else { "" };
        let rest = serde_json::to_string(&rest)?;
        print(&format!("{before}],\n{}\n", rest.strip_prefix('{').unwrap_or(&rest)))
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

/// The command to type next where this one does not come to its end: said last, by whoever learns of it.
#[derive(Default)]
pub struct LastWords(Mutex<Option<(PathBuf, String)>>);

impl LastWords {
    /// `run`: the words hold once it has begun.
    fn set(&self, words: Option<(PathBuf, String)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = words;
    }

    pub fn say(&self) {
        if let Some((run, words)) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner)
            && run_dir::has_begun(run)
        {
            say(&format!("next: {words}"));
        }
    }
}

/// One call of the tool.
struct Session<'a> {
    common: Common,
    variables: &'a Variables,
    terminal: Terminal,
    last_words: &'a LastWords,
    workspace: PathBuf,
    cleanup: &'a Cleanup,
    /// Those that take the place of the environment's servers; none: there are none.
    containers: Vec<Container>,
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
        use Command::{Bench, BenchPart, Completions, Doctor, Rehearse, Stack, Status};
        !matches!(
            self,
            Doctor(_) | Rehearse(_) | Stack(_) | Bench(_) | BenchPart(_) | Completions(_) | Status(_)
        )
    }
}

impl Session<'_> {
    fn environment(&self) -> Result<Environment> {
        let (name, path) = self.environment_file()?;
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                refuse!(
                    "there is no environment `{name}`: {} does not exist{}; `--env local` is for this machine",
                    path.display(),
                    self.other_environments(&name)
                )
            }
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        };
        let flags = Flags { firestore_rate: self.common.firestore_rate };
        Environment::read(&name, &path, &text)?.with(&flags, self.variables)
    }

    /// The name of the environment, and its file: what has a `/` is a path and is named by it.
    fn environment_file(&self) -> Result<(String, PathBuf)> {
        let env = &self.common.env;
        if !env.contains('/') {
            return Ok((env.clone(), self.environments().join(format!("{env}.toml"))));
        }
        // With or without its ending, like a name.
        let ending = if env.ends_with(".toml") { "" } else { ".toml" };
        let path = std::path::absolute(format!("{env}{ending}")).with_context(|| format!("finding {env}"))?;
        Ok((path.display().to_string(), path))
    }

    fn environments(&self) -> PathBuf {
        self.workspace.join("xtask/environments")
    }

    /// What could have been meant instead, as the rest of a sentence.
    fn other_environments(&self, name: &str) -> String {
        let files = std::fs::read_dir(self.environments()).into_iter().flatten().flatten();
        let names = files.filter_map(|f| Some(f.file_name().to_str()?.strip_suffix(".toml")?.to_string()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        match nearest(name, names.iter().map(String::as_str)) {
            Some(meant) => format!(" (did you mean {meant}?)"),
            None => format!(" (there are {})", names.join(", ")),
        }
    }

    /// Local servers that are running take the place of the file's, where the file says so.
    fn settings(&self) -> Result<Settings> {
        let environment = self.environment()?;
        if let Some(first) = self.containers.first() {
            self.terminal.line(format!("{}: containers of the project {}", self.common.env, first.project));
            return containers::settings(&environment, &self.containers);
        }
        if let Some(stack) = self.running(&environment)? {
            self.terminal.line(format!("{}: local servers in {}", self.common.env, stack.dir.display()));
            return local::settings(&environment, &stack);
        }
        environment.settings(self.variables)
    }

    fn running(&self, environment: &Environment) -> Result<Option<native::Connections>> {
        match (&self.common.stack, environment.uses_stack()) {
            (Some(dir), true) => match native::Connections::read(dir) {
                Ok(stack) => Ok(Some(stack)),
                Err(error) => refuse!(
                    "there are no local servers in {}: `cargo xtask stack status` lists what runs ({error:#})",
                    dir.display()
                ),
            },
            (Some(_), false) => {
                refuse!("environment `{}` is not for local servers: leave --stack out", self.common.env)
            }
            (None, true) => local::running(&self.workspace),
            (None, false) => Ok(None),
        }
    }

    /// The containers that take the place of the file's servers, where it says so: those that were asked
    /// for, or those that run, unless processes do, too. `start`: those that were asked for may be started.
    async fn found_containers(&self, start: bool) -> Result<Vec<Container>> {
        let environment = self.environment()?;
        if !environment.uses_stack() {
            if self.common.runtime == Some(Runtime::Docker) {
                refuse!("environment `{}` is not for local servers: leave --runtime out", self.common.env);
            }
            return Ok(Vec::new());
        }
        match (&self.common.stack, self.common.runtime.unwrap_or(Runtime::Auto)) {
            (Some(dir), _) if stack::is_of_containers(dir) => {
                let kept = docker::kept(&Engine::connect().await?, &self.workspace).await?;
                let Some((_, containers)) = kept.into_iter().find(|(home, _)| home == dir) else {
                    refuse!("no containers were kept in {}: `cargo xtask stack status`", dir.display());
                };
                Ok(containers)
            }
            (Some(_), Runtime::Docker) => {
                refuse!("--stack names processes: leave it out, or --runtime docker")
            }
            (Some(_), _) | (None, Runtime::Native) => Ok(Vec::new()),
            (None, Runtime::Docker) => {
                let engine = Engine::connect().await?;
                containers::at_work(&engine, &self.workspace, &environment, start, &self.terminal).await
            }
            (None, Runtime::Auto) => self.running_containers().await,
        }
    }

    async fn running_containers(&self) -> Result<Vec<Container>> {
        let engine = match Engine::connect().await {
            Ok(engine) => engine,
            Err(why) => {
                self.terminal.detail(format!("containers are not looked at: {why:#}"));
                return Ok(Vec::new());
            }
        };
        let containers = containers::of(&engine, &self.workspace).await?;
        if !containers::all_run(&containers) {
            return Ok(Vec::new());
        }
        if let Some(stack) = local::running(&self.workspace)? {
            refuse!(
                "two stacks of this checkout are running, containers and the processes in {}: say --runtime docker \
                 or --runtime native",
                stack.dir.display()
            );
        }
        Ok(containers)
    }

    fn config(&self) -> Result<()> {
        let environment = self.environment()?;
        let shown = if self.containers.is_empty() {
            config::show(&environment, self.running(&environment)?.as_ref(), self.variables)?
        } else {
            environment.shown_on(&containers::settings(&environment, &self.containers)?, &self.workspace)
        };
        if self.common.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&shown)?));
        }
        let next = if shown.problems.is_empty() { "migrate" } else { "config show" };
        let mend = if shown.problems.is_empty() { "" } else { "mend that, then " };
        self.say(Said { text: shown.text(), next: Some(format!("{mend}{}", self.then(next))) })
    }

    /// What every command asks first that writes to a target or holds the source back.
    fn permitted(&self, settings: &Settings) -> Result<()> {
        guard::confirmed(settings, self.common.confirm.as_deref())
    }

    /// What the way into a migration asks besides.
    fn rehearsed(&self, ctx: &Ctx) -> Result<()> {
        match self.unrehearsed(ctx)? {
            Some(why) => refuse!("{why}"),
            None => Ok(()),
        }
    }

    fn unrehearsed(&self, ctx: &Ctx) -> Result<Option<String>> {
        let file = rehearsals::file()?;
        Ok(guard::unrehearsed(ctx, &rehearsals::read(&file)?, &file, jiff::Timestamp::now()))
    }

    fn options(&self) -> Result<Options> {
        Ok(self.options_with(native::postgres_bindir()?))
    }

    fn options_with(&self, bindir: PathBuf) -> Options {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Options {
            terminal: self.terminal.clone(),
            tools: Tools { bindir },
            workspace: self.workspace.clone(),
            jobs: self.common.jobs.unwrap_or(cores),
            max_diffs: self.common.max_diffs,
        }
    }

    fn runs(&self) -> PathBuf {
        self.common.backup_dir.clone().unwrap_or_else(|| self.workspace.join("database-backups"))
    }

    fn new_run(&self, args: &SourceArgs, existing: Existing) -> Result<Arc<Ctx>> {
        let ctx = self.of_source(args, existing, self.options()?, RunDir::create)?;
        if args.freeze {
            self.permitted(&ctx.settings)?;
        }
        Ok(ctx)
    }

    fn of_source(
        &self,
        args: &SourceArgs,
        existing: Existing,
        options: Options,
        run: impl FnOnce(&Path) -> Result<RunDir>,
    ) -> Result<Arc<Ctx>> {
        let mut settings = self.settings()?;
        settings.policy.max_quarantine = args.max_quarantine.or(settings.policy.max_quarantine);
        settings.policy.accepted.clone_from(&args.accept);
        settings.policy.source_rate = args.source_rate.or(settings.policy.source_rate);
        let mut ctx = Ctx::new(settings, TABLES, run(&self.runs())?, options);
        ctx.existing = existing;
        ctx.freeze = args.freeze.then(|| self.cleanup.clone());
        ctx.look_again = !args.no_source_check;
        Ok(Arc::new(ctx))
    }

    /// A context that leaves nothing on disk. Where the machine lacks PostgreSQL's programs, that is
    /// found by those who call them.
    fn looking(&self, args: &SourceArgs, existing: Existing) -> Result<Arc<Ctx>> {
        let options = self.options_with(native::postgres_bindir().unwrap_or_default());
        self.of_source(args, existing, options, |runs| Ok(RunDir::imagined(runs)))
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
            _ => containers::doctor::lines(&self.workspace).await,
        };
        let health = match found {
            Ok(found) => {
                self.containers = found;
                let ctx = self.looking(&SourceArgs::default(), Existing::Refuse)?;
                let wanted = crate::phases::doctor::Wanted { freeze: args.freeze };
                doctor::run(&ctx, wanted, of_containers).await
            }
            Err(error) => doctor::without_servers(of_containers, &error),
        };
        let next = if health.ready { "plan" } else { "doctor" };
        self.done(&health, health.text(), self.then(next))?;
        doctor::judge(&health)
    }

    fn existing_run(&self, args: &RunArgs) -> Result<Arc<Ctx>> {
        self.accepting_run(args, &[])
    }

    /// `accept`: besides what was accepted for the run before.
    fn accepting_run(&self, args: &RunArgs, accept: &[String]) -> Result<Arc<Ctx>> {
        let run = self.open(&args.run, Latest::WithExport)?;
        let manifest = run.load_manifest()?;
        let mut settings = self.settings()?;
        settings.policy.accepted = manifest.accepted;
        settings.policy.accepted.extend_from_slice(accept);
        let mut ctx = Ctx::new(settings, TABLES, run, self.options()?);
        ctx.existing = existing(manifest.replace);
        Ok(Arc::new(ctx))
    }

    /// A run that was begun before. Which one `latest` is, is said.
    fn open(&self, run: &str, latest: Latest) -> Result<RunDir> {
        let id = run_dir::resolve(&self.runs(), run, latest)?;
        if run == "latest" {
            self.terminal.line(format!("latest: run {id}"));
        }
        RunDir::open(&self.runs(), &id)
    }

    /// A run to go on with, under the policy that it was begun with.
    fn resumed_run(&self, run: &str, args: &SourceArgs) -> Result<Arc<Ctx>> {
        let run = self.open(run, Latest::Unfinished)?;
        let manifest = run.load_manifest()?;
        let mut settings = self.settings()?;
        let policy = &mut settings.policy;
        let begun_with = manifest.policy.map_or(policy.max_quarantine, |begun| begun.max_quarantine);
        policy.max_quarantine = args.max_quarantine.or(begun_with);
        let accepted = manifest.hazards.into_iter().filter(|h| h.accepted).map(|h| h.name);
        policy.accepted = args.accept.iter().cloned().chain(accepted).collect();
        let mut ctx = Ctx::new(settings, TABLES, run, self.options()?);
        ctx.existing = existing(manifest.replace);
        ctx.freeze = args.freeze.then(|| self.cleanup.clone());
        ctx.look_again = !args.no_source_check;
        Ok(Arc::new(ctx))
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

    /// Does the work; whatever cuts it off, `again` is said after it.
    async fn or_say<T>(&self, ctx: &Ctx, again: String, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.last_words.set(Some((ctx.run.path().to_path_buf(), again)));
        let result = work.await;
        if result.is_err() {
            containers::news(&self.containers).await.iter().for_each(|line| self.terminal.always(line));
        }
        let result = result?;
        self.last_words.set(None);
        Ok(result)
    }

    async fn status(&self, args: StatusArgs) -> Result<()> {
        let (path, id) = run_dir::find(&self.runs(), &args.run)?;
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
            StackCommand::Run(args) => return containers::run_inside(&self.workspace, &args.command).await,
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
        let looked = containers::network::run(&engine, &self.workspace, &self.environment()?).await?;
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

    /// What blocks a run is data, too.
    fn unblocked<T>(&self, result: Result<T>) -> Result<T> {
        if let (true, Err(error)) = (self.common.json, &result)
            && let Some(Blocked(hazards)) = error.downcast_ref::<Blocked>()
        {
            let json = serde_json::json!({ "refused": true, "hazards": hazards });
            print(&format!("{}\n", serde_json::to_string_pretty(&json)?))?;
        }
        result
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

    fn done(&self, done: &impl serde::Serialize, text: String, next: String) -> Result<()> {
        match self.common.json {
            true => print(&format!("{}\n", serde_json::to_string_pretty(done)?)),
            false => self.say(Said { text, next: Some(next) }),
        }
    }

    /// After a green proof.
    fn after(&self, report: &Report) -> String {
        match &report.source {
            _ if report.cutover.is_some() => "look after the services".to_string(),
            Some(source) if !source.changed.is_empty() => format!(
                "{}, then empty the targets and migrate again: this run does not have what changed",
                self.then("freeze")
            ),
            _ => self.then(&format!("cutover --run {}", report.run)),
        }
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

    /// A command to type next, with what this one was told about where things are.
    fn then(&self, command: &str) -> String {
        self.then_in(&self.common.env, command)
    }

    fn then_in(&self, environment: &str, command: &str) -> String {
        let mut line = format!("cargo xtask {command}");
        if environment != "local" {
            line += &format!(" --env {environment}");
        }
        if let Some(runtime) = self.common.runtime.and_then(|r| r.to_possible_value()) {
            line += &format!(" --runtime {}", runtime.get_name());
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
