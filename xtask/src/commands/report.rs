//! The report of a run (`operations/report`): for people, for programs, for the archive.

use crate::findings::Values;
use crate::operations::report::{self, HTML, RunStory};
use crate::session::{Command, Session, print};
use crate::shown::wrapped;
use anyhow::Result;
use clap::ValueEnum;

/// Show a run as text, HTML or JSON; check it, compare two
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The run's name, or `latest`: the newest of this environment
    #[arg(long, default_value = "latest", value_name = "RUN")]
    run: String,
    /// `html` is written into the run's directory, and said where
    #[arg(long, default_value = "txt")]
    format: Format,
    /// Whether the run's files and its journal are what was written: exit code 3 where something was changed
    #[arg(long, conflicts_with_all = ["format", "compare"])]
    check: bool,
    /// Beside another run: what is not the same
    #[arg(long, value_name = "RUN", conflicts_with = "format")]
    compare: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Txt,
    Html,
    Json,
}

impl Command for Args {
    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let values = if session.common.show_values { Values::Shown } else { Values::Masked };
        let runs = session.runs();
        let environment = session.environment_name()?;
        let run = report::open(&runs, &self.run, Some(&environment))?;
        if self.check {
            let sound = report::sound(&run)?;
            session.done(&sound, sound.text(), None)?;
            return sound.judge();
        }
        let story = RunStory::of(&run, values)?.with_next(|next| session.then(next));
        if let Some(other) = &self.compare {
            let other = RunStory::of(&report::open(&runs, other, Some(&environment))?, values)?;
            let both = serde_json::json!({ "runs": [other.data(), story.data()] });
            return session.done(&both, report::compare(&other, &story), None);
        }
        let text = match self.format {
            Format::Txt => wrapped(&story.text(), session.terminal.columns()),
            // The run's own `report.json`; with --json as the result of this command.
            Format::Json if !session.document.is_wanted() => return print(&story.json()?),
            Format::Json => String::new(),
            Format::Html => {
                run.write(HTML, report::page(&story))?;
                format!("{}\n{}\n", story.verdict(), run.file(HTML).display())
            }
        };
        session.done(&story.data(), text, None)
    }
}
