//! A target database is empty or complete, and is never seen half loaded (DESIGN rule 9): tables
//! are built in a staging schema, in parallel, and move into place in one transaction once proven.
//!
//! What was learnt: loading bare tables and building keys and indexes after is three to six times
//! faster than loading into finished ones. Several tables at once need several sessions, and those
//! cannot see one transaction's tables: hence a schema, not a transaction.

use crate::effects::postgres::{self, Connection};
use crate::model::{Database, Existing};
use crate::run::ctx::Ctx;
use crate::stores::ownership;
use crate::stores::schema::{Part, Rebuild, STAGING, create, existing};
use crate::{refuse, sql, sql_file, tables};
use anyhow::{Context, Result};
use sqlx::Row;

/// What is to be built after the rows are in.
#[derive(Clone, Debug)]
pub struct BuildPlan {
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
        self.of(table).filter(|p| p.is(Rebuild::Key)).map(Part::constraint).collect()
    }

    /// References between tables: they need the keys.
    pub fn references(&self) -> Vec<String> {
        self.parts.iter().filter(|p| p.is(Rebuild::Reference)).map(Part::constraint).collect()
    }
}

/// Sets the schema aside with bare tables, ready for rows.
pub async fn prepare(connection: &mut Connection, database: Database) -> Result<BuildPlan> {
    let parts = create(connection, database).await?;
    // References first: they hold on to keys.
    for kind in [Rebuild::Reference, Rebuild::Key, Rebuild::Index] {
        for removal in parts.iter().filter(|p| p.is(kind)).filter_map(Part::removal) {
            connection.run(&removal).await?;
        }
    }
    Ok(BuildPlan { parts })
}

/// What would make the swap impossible: tries the part of it that could fail, and takes it back.
pub async fn rehearse_swap(
    connection: &mut Connection,
    database: Database,
    names: &[&str],
) -> Result<Option<String>> {
    if names.is_empty() {
        return Ok(None);
    }
    connection.run("BEGIN; SET LOCAL lock_timeout = '5s'").await?;
    let dropped = connection.run(&sql::drop_tables(names)).await;
    connection.run("ROLLBACK").await?;
    Ok(dropped.err().map(|error| {
        let detail = postgres::detail(&error).unwrap_or_default();
        format!("the tables of {database} cannot be replaced: {error:#} {detail}")
    }))
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

/// Moves the proven tables into place, with the grants, comments and owners of those they replace, and
/// writes the manifest's row: all of it or nothing.
///
/// # Errors
/// Refuses where a table has got rows since the check; with `--replace` and where tables of this run are
/// missing, where one is not exactly what the newest run wrote. The tables are locked by then: no session can change them any more.
pub async fn publish(ctx: &Ctx, connection: &mut Connection, database: Database, record: &str) -> Result<()> {
    connection.run("BEGIN; SET LOCAL lock_timeout = '30s'").await?;
    let names: Vec<&str> = existing(ctx, connection, database).await?.into_iter().map(|(n, _)| n).collect();
    for name in &names {
        connection.run(&sql::lock_alone(name)).await?;
    }
    let there = existing(ctx, connection, database).await?;
    if let Some((name, rows)) = there.iter().find(|(_, rows)| *rows > 0) {
        // This run's own give way where others of its tables are missing: all of them are brought again.
        let gives_way = ctx.existing == Existing::Replace || ownership::is_newest(ctx, connection).await?;
        if !gives_way {
            refuse!("{database}: {rows} rows have appeared in {name} while the import was under way");
        }
        let changed = ownership::changed_tables(ctx, connection, database, &there).await?;
        if !changed.is_empty() {
            refuse!("{database} has changed while the import was under way: {}", changed.join("; "));
        }
    }
    let replaced = format!("{{{}}}", names.join(","));
    let keep = sql::bind(sql_file!("phases/4-import/keep.sql"), &[("tables", &replaced)]);
    let keep = connection.rows(&keep).await?;
    if !names.is_empty() {
        connection.run(&sql::drop_tables(&names)).await?;
    }
    for table in tables::of_database(ctx.tables, database) {
        connection.run(&sql::move_to_public(STAGING, table.name)).await?;
    }
    for row in keep {
        let statement: String = row.try_get(0)?;
        connection.run(&statement).await.context("giving the new tables the grants of the old ones")?;
    }
    connection.run(&sql::drop_schema(STAGING)).await?;
    connection.run(sql_file!("phases/4-import/runs.sql").text).await?;
    connection.run(&sql::record_run(ctx.run.id(), record)).await?;
    connection.run("COMMIT").await.with_context(|| format!("publishing {database}"))
}
