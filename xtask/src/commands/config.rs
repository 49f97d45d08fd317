//! The effective settings of an environment, each with its origin. Works without any server or secret.

use crate::servers::native::Connections;
use crate::servers::{compose_stack, local};
use crate::session::{Command, Servers, Session};
use crate::settings::{Environment, Shown, Surroundings};
use anyhow::Result;

/// Show an environment's settings and where each comes from
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// Every setting with its origin, secrets masked; needs no server and no secret
    Show,
}

impl Command for Args {
    fn servers(&self) -> Servers {
        Servers::Running
    }

    async fn run(self, session: &mut Session<'_>) -> Result<()> {
        let What::Show = self.what;
        let environment = session.environment()?;
        let shown = if session.containers.is_empty() {
            show(&environment, session.running(&environment, None)?.as_ref(), session.variables)?
        } else {
            let settings =
                compose_stack::settings(&environment, &session.containers, session.removed()?.as_ref())?;
            environment.shown_on(&settings, &session.workspace, session.variables)
        };
        let next = if shown.problems.is_empty() { "migrate" } else { "config show" };
        let fix = if shown.problems.is_empty() { "" } else { "fix that, then " };
        session.done(&shown, shown.text(), format!("{fix}{}", session.then(next)))
    }
}

/// `stack`: local servers that take the place of the file's.
pub fn show(
    environment: &Environment,
    stack: Option<&Connections>,
    outside: &impl Surroundings,
) -> Result<Shown> {
    match stack {
        Some(stack) => Ok(environment.shown_on(&local::settings(environment, stack)?, &stack.dir, outside)),
        None => Ok(environment.shown(outside)),
    }
}
