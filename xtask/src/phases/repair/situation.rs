//! Whose the stores are, which decides what may be repaired in them.

use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::shown::utc;
use crate::sql::Owner;

/// Whose the stores are, and what brings back what this command does not.
pub struct Situation {
    pub owner: Owner,
    cut_over: Option<String>,
    replayed: bool,
}

impl Situation {
    pub fn of(manifest: &Manifest) -> Situation {
        let cut_over = manifest.cutover.as_ref().map(|cutover| cutover.at.clone());
        Situation {
            owner: if cut_over.is_some() { Owner::Others } else { Owner::Us },
            cut_over,
            replayed: manifest.export.as_ref().is_some_and(|export| !export.replays.is_empty()),
        }
    }

    /// What brings a table back.
    pub(super) fn table_back(&self, ctx: &Ctx, database: Database) -> String {
        match &self.cut_over {
            Some(at) => format!(
                "the services took over at {}, so what it held is theirs: it comes back from a backup of \
                 {database} that was made since; its rows as of the run's snapshot are in {}",
                utc(at),
                ctx.run.path().display()
            ),
            // An import knows nothing of replays.
            None if self.replayed => format!(
                "create it, empty, as sql/{} says, and this command brings its rows",
                crate::tables::schema(database).path
            ),
            None => format!("`cargo xtask import --run {}` brings the table back", ctx.run.id()),
        }
    }
}
