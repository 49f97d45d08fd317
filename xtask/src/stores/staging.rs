//! A target database is empty or complete, and nobody ever sees it half loaded (DESIGN rule 9): tables
//! are built in a schema set aside, in parallel, and move into place in one transaction once proven.
//!
//! What was learnt: loading bare tables and building keys and indexes after is three to six times
//! faster than loading into finished ones. Several tables at once need several sessions, and those
//! cannot see one transaction's tables: hence a schema, not a transaction.

use crate::effects::postgres::{self, Connection};
use crate::model::{Column, Database, Existing};
use crate::run::ctx::Ctx;
use crate::stores::ownership;
use crate::{refuse, sql, sql_file, tables};
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeSet;

/// The schema set aside. Only this tool uses it; what a killed run left in it is dropped.
pub const STAGING: &str = "xtask_staging";

/// The schema in which one looks at what `sql/schema` makes, always rolled back. Not the one set aside:
/// who only looks must not stand in the way of an import that is under way.
const LOOKED_AT: &str = "xtask_expected";

/// One line of `definition.sql`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub table: String,
    pub kind: String,
    pub name: String,
    pub definition: String,
    rebuild: Option<String>,
    /// The index beneath a key.
    beneath: Option<String>,
}

impl Part {
    /// Whether it is the same column, key, index …, however it is defined.
    pub fn same_object(&self, other: &Part) -> bool {
        (&self.table, &self.kind, &self.name) == (&other.table, &other.kind, &other.name)
    }

    /// The statement that takes it away for the load; `None` where it stays.
    fn removal(&self) -> Option<String> {
        match self.rebuild.as_deref()? {
            "index" => Some(sql::drop_index(STAGING, &self.name)),
            _ => Some(sql::drop_constraint(STAGING, &self.table, &self.name)),
        }
    }

    /// The index that it is or stands on: others may read the table while it is built.
    fn index(&self) -> Option<&String> {
        if self.is("index") { Some(&self.definition) } else { self.beneath.as_ref() }
    }

    /// The statement that makes a constraint anew, on its index where it has one.
    fn constraint(&self) -> String {
        match self.beneath {
            Some(_) => {
                let primary = self.definition.starts_with("PRIMARY KEY");
                sql::add_key(STAGING, &self.table, &self.name, primary)
            }
            None => sql::add_constraint(STAGING, &self.table, &self.name, &self.definition),
        }
    }

    /// The statement that makes it in `public`, where there is one.
    fn creation(&self) -> Option<String> {
        match self.kind.as_str() {
            "column" => Some(sql::add_column("public", &self.table, &self.name, &self.definition)),
            "constraint" => Some(sql::add_constraint("public", &self.table, &self.name, &self.definition)),
            // As the server writes it.
            "index" => Some(self.definition.clone()),
            _ => None,
        }
    }

    /// The statements that make it in `public` in place of another one of its name, where there are any.
    fn replacement(&self) -> Option<String> {
        let removal = match self.kind.as_str() {
            "constraint" => sql::drop_constraint("public", &self.table, &self.name),
            "index" => sql::drop_index("public", &self.name),
            _ => return None,
        };
        Some(format!("{removal}; {}", self.creation()?))
    }

    fn is(&self, rebuild: &str) -> bool {
        self.rebuild.as_deref() == Some(rebuild)
    }
}

/// What is to be built after the rows are in.
#[derive(Clone, Debug)]
pub struct Plan {
    parts: Vec<Part>,
}

impl Plan {
    fn of<'a>(&'a self, table: &'a str) -> impl Iterator<Item = &'a Part> {
        self.parts.iter().filter(move |p| p.table == table)
    }

    /// The indexes of one table, inverted ones first: they take the longest.
    pub fn indexes_of(&self, table: &str) -> Vec<String> {
        let mut statements: Vec<String> = self.of(table).filter_map(Part::index).cloned().collect();
        statements.sort_by_key(|s| !s.contains(" USING gin "));
        statements
    }

    /// The keys of one table: they need its indexes.
    pub fn keys_of(&self, table: &str) -> Vec<String> {
        self.of(table).filter(|p| p.is("key")).map(Part::constraint).collect()
    }

    /// References between tables: they need the keys.
    pub fn references(&self) -> Vec<String> {
        self.parts.iter().filter(|p| p.is("reference")).map(Part::constraint).collect()
    }
}

/// Reads what the tables of a schema look like.
pub async fn definition(connection: &mut Connection, schema: &str) -> Result<Vec<Part>> {
    connection.run(&sql::search_path(schema)).await?;
    let rows = connection.rows(sql_file!("phases/4-import/definition.sql").text).await?;
    let parts = rows.iter().map(|row| {
        Ok(Part {
            table: row.try_get("table")?,
            kind: row.try_get("kind")?,
            name: row.try_get("name")?,
            definition: row.try_get("definition")?,
            rebuild: row.try_get("rebuild")?,
            beneath: row.try_get("beneath")?,
        })
    });
    let parts = parts.collect::<Result<Vec<Part>>>();
    connection.run(&sql::search_path("public")).await?;
    parts
}

/// Creates the tables of `sql/schema` in the schema set aside, and says what they look like.
pub async fn create(connection: &mut Connection, database: Database) -> Result<Vec<Part>> {
    create_in(connection, database, STAGING).await
}

async fn create_in(connection: &mut Connection, database: Database, name: &str) -> Result<Vec<Part>> {
    let schema = tables::schema(database);
    connection.run(&sql::fresh_schema(name)).await?;
    connection.run(schema.text).await.with_context(|| format!("running sql/{}", schema.path))?;
    definition(connection, name).await
}

/// What `sql/schema` says that the tables look like; leaves nothing behind.
pub async fn expected_definition(connection: &mut Connection, database: Database) -> Result<Vec<Part>> {
    connection.run("BEGIN").await?;
    let parts = create_in(connection, database, LOOKED_AT).await;
    connection.run("ROLLBACK").await?;
    parts
}

/// How the tables of `public` differ from what `sql/schema` says, a line each. Tables that are not
/// there are not differences: the import creates them. Other tables are none of ours.
pub fn differences(database: Database, expected: &[Part], found: &[Part]) -> Vec<String> {
    mending(database, expected, found).into_iter().map(|(line, _)| line).collect()
}

/// The same, each with the statement that makes it what `sql/schema` says, where there is one.
pub fn mending(database: Database, expected: &[Part], found: &[Part]) -> Vec<(String, Option<String>)> {
    let ours: BTreeSet<&str> = expected.iter().map(|p| p.table.as_str()).collect();
    let there: BTreeSet<&str> = found.iter().map(|p| p.table.as_str()).collect();
    let key = |p: &Part| (p.table.clone(), p.kind.clone(), p.name.clone());
    let line = |p: &Part, what: String| format!("{database}.{}: {} {} {what}", p.table, p.kind, p.name);
    let mut lines = Vec::new();
    for part in expected.iter().filter(|p| there.contains(p.table.as_str())) {
        match found.iter().find(|f| key(f) == key(part)) {
            None => {
                let what = format!("is missing (expected: {})", part.definition);
                lines.push((line(part, what), part.creation()));
            }
            Some(f) if f.definition != part.definition => {
                let what = format!("is {:?}, expected {:?}", f.definition, part.definition);
                lines.push((line(part, what), part.replacement()));
            }
            Some(_) => {}
        }
    }
    for part in found.iter().filter(|p| ours.contains(p.table.as_str())) {
        if !expected.iter().any(|e| key(e) == key(part)) {
            lines.push((line(part, format!("is not in sql/schema ({})", part.definition)), None));
        }
    }
    lines
}

/// Tables of ours that are there, with their rows.
pub async fn existing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
) -> Result<Vec<(&'static str, u64)>> {
    let mut found = Vec::new();
    for table in tables::of_database(ctx.tables, database) {
        let there = connection.row(&sql::exists("public", table.name)).await?.try_get::<bool, _>(0)?;
        if there {
            let rows = connection.row(&sql::count("public", table.name)).await?.try_get::<i64, _>(0)?;
            found.push((table.name, u64::try_from(rows)?));
        }
    }
    Ok(found)
}

/// Sets the schema aside with bare tables, ready for rows.
pub async fn prepare(connection: &mut Connection, database: Database) -> Result<Plan> {
    let parts = create(connection, database).await?;
    // References first: they hold on to keys.
    for kind in ["reference", "key", "index"] {
        for removal in parts.iter().filter(|p| p.is(kind)).filter_map(Part::removal) {
            connection.run(&removal).await?;
        }
    }
    Ok(Plan { parts })
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

/// Drops the schema set aside in all databases. For after a failure: an error here would hide the
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
/// Refuses where a table has got rows since the check; with `--replace`, where one is not exactly what an
/// earlier run wrote. The tables are locked by then: nobody can change them any more.
pub async fn publish(ctx: &Ctx, connection: &mut Connection, database: Database, record: &str) -> Result<()> {
    connection.run("BEGIN; SET LOCAL lock_timeout = '30s'").await?;
    let names: Vec<&str> = existing(ctx, connection, database).await?.into_iter().map(|(n, _)| n).collect();
    for name in &names {
        connection.run(&sql::lock_alone(name)).await?;
    }
    let there = existing(ctx, connection, database).await?;
    if let Some((name, rows)) = there.iter().find(|(_, rows)| *rows > 0) {
        match ctx.existing {
            Existing::Refuse => {
                refuse!("{database}: {rows} rows have appeared in {name} while the import was under way")
            }
            Existing::Replace => {
                let changed = ownership::changed_tables(ctx, connection, database, &there).await?;
                if !changed.is_empty() {
                    refuse!("{database} has changed while the import was under way: {}", changed.join("; "));
                }
            }
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

/// Which columns a table of a schema has.
pub async fn columns(connection: &mut Connection, schema: &str, table: &str) -> Result<Vec<Column>> {
    connection.describe(&sql::all(schema, table)).await
}
