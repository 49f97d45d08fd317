//! The report of a run (`operations/report`): for people, for programs, for the archive.

use crate::findings::Values;
use crate::operations::report::{self, HTML, RunStory};
use crate::session::{Command, Session, print};
use anyhow::Result;
use clap::ValueEnum;

/// What a run came to, from its files: as text, as a page for the browser, or as JSON
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
            match session.common.json {
                true => print(&format!("{}\n", serde_json::to_string_pretty(&sound)?))?,
                false => print(&sound.text())?,
            }
            return sound.judge();
        }
        let story = RunStory::of(&run, values)?;
        if let Some(other) = &self.compare {
            let other = RunStory::of(&report::open(&runs, other, Some(&environment))?, values)?;
            return print(&report::compare(&other, &story));
        }
        let format = if session.common.json { Format::Json } else { self.format };
        match format {
            Format::Txt => print(&story.text()),
            Format::Json => print(&story.json()?),
            Format::Html => {
                run.write(HTML, report::page(&story))?;
                print(&format!("{}\n{}\n", story.verdict(), run.file(HTML).display()))
            }
        }
    }
}
