//! A target database is empty or complete, and is never seen half loaded (DESIGN rule 9): tables
//! are built in a staging schema, in parallel, and move into place in one transaction once proven.
//!
//! What was learnt: loading bare tables and building keys and indexes after is three to six times
//! faster than loading into finished ones. Several tables at once need several sessions, and those
//! cannot see one transaction's tables: hence a schema, not a transaction.

use crate::effects::postgres::Connection;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::sql;
use crate::stores::schema::{Part, Rebuild, STAGING, create_wide};
use anyhow::Result;

/// What is to be built after the rows are in.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    schema: &'static str,
    parts: Vec<Part>,
}

impl BuildPlan {
    fn of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |p| p.table == table)
    }

    /// The indexes of one table, inverted ones first: they take the longest.
    pub fn indexes_of(&self, table: &str) -> Vec<String> {
        let mut parts: Vec<&Part> = self.of(table).collect();
        parts.sort_by_key(|part| !part.is_inverted);
        parts.into_iter().filter_map(Part::index).cloned().collect()
    }

    /// The keys of one table: they need its indexes.
    pub fn keys_of(&self, table: &str) -> Vec<String> {
        self.of(table).filter(|p| p.is(Rebuild::Key)).map(|p| p.constraint(self.schema)).collect()
    }

    /// References between tables: they need the keys.
    pub fn references(&self) -> Vec<String> {
        self.parts.iter().filter(|p| p.is(Rebuild::Reference)).map(|p| p.constraint(self.schema)).collect()
    }
}

/// Sets the schema aside with bare tables, ready for rows; `wide`: as in `schema::create_wide`.
pub async fn prepare(connection: &mut Connection, database: Database, wide: &[String]) -> Result<BuildPlan> {
    prepare_in(connection, database, STAGING, wide).await
}

/// The same in another schema.
pub(super) async fn prepare_in(
    connection: &mut Connection,
    database: Database,
    schema: &'static str,
    wide: &[String],
) -> Result<BuildPlan> {
    let parts = create_wide(connection, database, schema, wide).await?;
    // References first: they hold on to keys.
    for kind in [Rebuild::Reference, Rebuild::Key, Rebuild::Index] {
        for removal in parts.iter().filter(|p| p.is(kind)).filter_map(|part| part.removal(schema)) {
            connection.run(&removal).await?;
        }
    }
    Ok(BuildPlan { schema, parts })
}

/// Drops the staging schema in all databases. For after a failure: an error here would hide the
/// reason, and the next import drops what stayed.
pub async fn discard(ctx: &Ctx) {
    for database in Database::ALL {
        if let Ok(mut connection) = ctx.target(database, "clean up").await {
            let _ = connection.run(&sql::discard_schema(STAGING)).await;
        }
    }
}
