//! One call of the tool: which servers, which run, whether it may, and what it leaves for the person.
//! May import: lab and all below it.

mod arguments;
mod call;
mod document;
pub mod guard;
mod next;
mod old_database;
mod output;
mod result;
mod runs;
mod servers;

pub use arguments::{Common, Everywhere, RunArgs, SourceArgs, WaitArgs, options, time};
pub use call::{Session, known_places};
pub use document::{Document, verdict};
pub use next::{Knows, Whereabouts};
pub use output::{Ending, LastWords, Said, Touches, print};
pub use runs::existing;
pub use servers::{OldDatabase, Servers};

use anyhow::Result;

/// What a command is to the command line.
pub trait Command {
    /// Which servers it works on.
    fn servers(&self) -> Servers {
        Servers::None
    }

    /// What it needs of the old database.
    fn old_database(&self) -> OldDatabase {
        OldDatabase::NotNeeded
    }

    fn run(self, session: &mut Session<'_>) -> impl Future<Output = Result<()>>;
}
