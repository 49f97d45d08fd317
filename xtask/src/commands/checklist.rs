//! The guide's checklists (`guide/checklist`), with what shows each line, and what people tick.

use crate::guide::by_hand::{ByHand, Ticked};
use crate::guide::checklist::{self, Checklist};
use crate::guide::items::{self, ITEMS, Item, List};
use crate::guide::mentions;
use crate::guide::service_settings;
use crate::model::{Existing, Stop};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::dir::{self, RunDir};
use crate::session::{Command, Servers, Session, SourceArgs, print};
use anyhow::Result;
use clap::builder::PossibleValuesParser;
use serde_json::json;
use std::path::PathBuf;

/// The guide's checklists: what shows each line, what closes it
///
/// Exit code 3 where a line is open that the guide does not call optional.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Only this list; can be repeated
    #[arg(long, value_name = "LIST")]
    list: Vec<List>,
    /// As Markdown, for a wiki or a ticket
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// The run that it is about [default: the newest that is cut over, else the newest with an export]
    #[arg(long, default_value = "latest", hide_default_value = true, value_name = "RUN")]
    run: String,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Tick a line that only people know; what the tool can see is ticked by what it sees
    Done(DoneArgs),
    /// Take such a tick back
    Undo(UndoArgs),
    /// Which files of the services mention the old database, and what each service is told instead
    Services(ServicesArgs),
}

#[derive(Debug, clap::Args)]
struct DoneArgs {
    /// The line's name
    #[arg(value_name = "ITEM", value_parser = PossibleValuesParser::new(ids()))]
    item: String,
    /// Who says so
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    by: String,
    /// What they say
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// The run that it is about, as for `checklist`
    #[arg(long, default_value = "latest", hide_default_value = true, value_name = "RUN")]
    run: String,
}

#[derive(Debug, clap::Args)]
struct UndoArgs {
    /// The line's name
    #[arg(value_name = "ITEM", value_parser = PossibleValuesParser::new(ids()))]
    item: String,
}

#[derive(Debug, clap::Args)]
struct ServicesArgs {
    /// The directory with the services' files; .git, node_modules, target and binary files are left out
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

fn ids() -> impl Iterator<Item = &'static str> {
    ITEMS.iter().map(|item| item.id)
}

impl Command for Args {
    fn servers(&self) -> Servers {
        match &self.verb {
            None | Some(Verb::Services(_)) => Servers::Running,
            Some(Verb::Done(_) | Verb::Undo(_)) => Servers::None,
        }
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        match &self.verb {
            None => self.show(session).await,
            Some(Verb::Done(args)) => args.tick(session),
            Some(Verb::Undo(args)) => args.untick(session),
            Some(Verb::Services(args)) => args.search(session),
        }
    }
}

impl Args {
    async fn show(&self, session: &Session<'_>) -> Result<()> {
        let run = run(session, &self.run)?;
        let ctx = match &run {
            Some(run) => session.read_run(run)?,
            None => session.looking(&SourceArgs::default(), Existing::Refuse)?,
        };
        let run = run.map(|id| RunDir::open(&session.runs(), &id)).transpose()?;
        let mut lists = if self.list.is_empty() { List::ALL.to_vec() } else { self.list.clone() };
        lists.sort();
        lists.dedup();
        let complete = |command: &str| session.then(command);
        let checklist = checklist::look(&ctx, run, &lists, &complete).await?;
        self.print(session, &checklist)?;
        checklist.judge()
    }

    fn print(&self, session: &Session<'_>, checklist: &Checklist) -> Result<()> {
        if self.markdown {
            return print(&checklist.markdown());
        }
        session.done(checklist, checklist.text(), checklist.next().map(str::to_string))
    }
}

/// The run that is meant; `None`: there is none.
///
/// # Errors
/// Refuses one that is not there, or is of another environment.
fn run(session: &Session<'_>, run: &str) -> Result<Option<String>> {
    let (runs, environment) = (session.runs(), session.environment_file()?.0);
    if run == "latest" {
        return checklist::newest(&runs, &environment);
    }
    let (path, id) = dir::find(&runs, run, None)?;
    let manifest = dir::load_manifest(&path)?;
    if manifest.environment != environment {
        refuse!(
            "run {id} is of environment `{}`, and not of `{environment}`: say --env",
            manifest.environment
        );
    }
    Ok(Some(id))
}

/// The line, where it is one that only people know.
fn of_people(session: &Session<'_>, id: &str) -> Result<&'static Item> {
    match items::of(id) {
        Some(item) if item.is_of_people() => Ok(item),
        Some(item) => refuse!(
            "`{id}` ({}) is not ticked by hand: the tool ticks it by what it has seen, and `{}` says what is missing",
            item.text,
            session.then("checklist")
        ),
        None => refuse!("there is no line `{id}`"),
    }
}

impl DoneArgs {
    fn tick(&self, session: &Session<'_>) -> Result<()> {
        let item = of_people(session, &self.item)?;
        session.environment()?;
        let run = run(session, &self.run)?;
        let book = ByHand::at(&session.runs(), &session.environment_file()?.0);
        let ticked = Ticked { by: self.by.clone(), note: self.note.clone(), run };
        book.tick(item.id, ticked.clone())?;
        let text = format!("✓ {} · by {}, noted in {}\n", item.text, self.by, book.path().display());
        let json = json!({ "item": item.id, "text": item.text, "done": true, "ticked": ticked });
        session.done(&json, text, session.then("checklist"))
    }
}

impl UndoArgs {
    fn untick(&self, session: &Session<'_>) -> Result<()> {
        let item = of_people(session, &self.item)?;
        session.environment()?;
        let book = ByHand::at(&session.runs(), &session.environment_file()?.0);
        if book.of(item.id)?.is_none() {
            refuse!("`{}` ({}) is not ticked: there is nothing to take back", item.id, item.text);
        }
        book.untick(item.id)?;
        let text = format!("○ {} · taken back, noted in {}\n", item.text, book.path().display());
        let json = json!({ "item": item.id, "text": item.text, "done": false });
        session.done(&json, text, session.then("checklist"))
    }
}

impl ServicesArgs {
    fn search(&self, session: &Session<'_>) -> Result<()> {
        let ctx = session.looking(&SourceArgs::default(), Existing::Refuse)?;
        let found = mentions::search(&self.dir, &ctx.settings)?;
        let services = service_settings::of(&ctx.settings, &compose(&ctx)?)?;
        let then = match found.is_clean() {
            true => "checklist --list after".to_string(),
            false => format!("checklist services --dir {}", self.dir.display()),
        };
        let text = format!("{}\n{}", found.text(), service_settings::text(&services));
        session.done(&json!({ "mentions": found, "services": services }), text, session.then(&then))?;
        match found.is_clean() {
            true => Ok(()),
            false => Err(Stop::Differs(format!("{}; see above", found.count())).into()),
        }
    }
}

/// What the new services are told in containers.
fn compose(ctx: &Ctx) -> Result<String> {
    service_settings::compose_file(&ctx.workspace)
}
