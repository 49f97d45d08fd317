//! The old database once it has been decommissioned: a command that needs it is refused in one sentence, all others
//! work without it.

use super::call::Session;
use super::servers::OldDatabase;
use crate::effects::postgres;
use crate::operations::decommission::Gone;
use crate::refuse;
use crate::servers::compose_stack::Removed;
use anyhow::Result;

/// PostgreSQL's code for a database that is not there.
const NO_SUCH_DATABASE: &str = "3D000";

impl Session<'_> {
    /// The decommissioning of this environment's old database that has taken it away; `None`: there is none.
    pub fn gone(&self) -> Result<Option<Gone>> {
        Gone::of_environment(&self.runs(), &self.environment_file()?.0)
    }

    /// Its container, where that went with it.
    pub fn removed(&self) -> Result<Option<Removed>> {
        Ok(self.gone()?.and_then(|gone| gone.removed()))
    }

    /// # Errors
    /// Refuses where the command needs what a decommissioning has taken away. A database that stands there again under
    /// that name is one to work on.
    pub async fn has_old_database(&self, needed: OldDatabase) -> Result<()> {
        if needed == OldDatabase::NotNeeded {
            return Ok(());
        }
        let Some(gone) = self.gone()? else { return Ok(()) };
        let in_containers = !self.containers.is_empty();
        if in_containers && gone.removed().is_some_and(|removed| removed.is_of(&self.containers)) {
            refuse!("{}", gone.why);
        }
        if needed == OldDatabase::ItsServer {
            return Ok(());
        }
        // What is wrong with the settings is the command's to tell.
        let Ok(settings) = self.settings_for(Some(&gone.servers)) else { return Ok(()) };
        match postgres::connect(&settings.source, "look").await {
            Ok(connection) => connection.close().await,
            Err(error) => match postgres::code(&error) {
                Some(code) if code == NO_SUCH_DATABASE => refuse!("{}", gone.why),
                None if gone.is_dropped() => refuse!("{}", gone.why),
                _ => Ok(()),
            },
        }
    }
}
