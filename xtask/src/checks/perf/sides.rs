//! The four databases that are asked: reachable, migrated, and known to their planners.

use super::compare::NewTable;
use crate::effects::postgres::{self, Connection};
use crate::model::{AGAIN, Database};
use crate::run::ctx::Ctx;
use crate::settings::Server;
use crate::stores::ownership::published_runs;
use crate::tables::of_database;
use crate::{refuse, sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::collections::BTreeMap;

pub struct Sessions {
    pub old: Connection,
    pub new: BTreeMap<Database, Connection>,
    /// Of the new side, by name.
    pub tables: BTreeMap<&'static str, NewTable>,
}

/// A table as its planner knows it.
struct Known {
    rows: u64,
    /// Where it knows nothing: what tells it.
    analyze: Option<String>,
}

impl Sessions {
    /// # Errors
    /// Refuses where a database cannot be asked, has not been migrated, or holds tables of which the planner
    /// knows nothing: plans of both sides could not be compared then.
    pub async fn open(ctx: &Ctx) -> Result<Sessions> {
        let (mut old, mut new) = connect(ctx).await?;
        let mut unmigrated = Vec::new();
        let mut unknown = Vec::new();
        let names = ctx.tables.iter().filter(|table| table.database().is_some()).map(|table| table.source);
        let names: Vec<&str> = names.collect();
        let there = known(&mut old, &names).await?;
        missing(&ctx.settings.source, &names, &there, &mut unmigrated);
        unanalyzed(&ctx.settings.source, &there, &mut unknown);
        let mut tables = BTreeMap::new();
        for (database, connection) in &mut new {
            let server = ctx.settings.target(*database);
            let names: Vec<&str> = of_database(ctx.tables, *database).map(|table| table.name).collect();
            let there = known(connection, &names).await?;
            missing(server, &names, &there, &mut unmigrated);
            if published_runs(connection).await?.is_empty() {
                unmigrated.push(format!("{server}: no run has brought anything there"));
            }
            unanalyzed(server, &there, &mut unknown);
            for table in of_database(ctx.tables, *database) {
                if let Some(known) = there.get(table.name) {
                    tables.insert(table.name, NewTable { source: table.source, rows: known.rows });
                }
            }
        }
        if !unmigrated.is_empty() {
            refuse!(
                "there is nothing to compare: not everything has been migrated\n  {}\n`cargo xtask migrate` brings the \
                 rows, `cargo xtask status` says how far a run is",
                unmigrated.join("\n  ")
            );
        }
        if !unknown.is_empty() {
            refuse!(
                "the planner does not know what is in these tables, so that the plans of both sides cannot be compared. \
                 This command only reads; as the tables' owner type\n  {}\nand then rerun the command",
                unknown.join("\n  ")
            );
        }
        Ok(Sessions { old, new, tables })
    }

    pub async fn close(self) -> Result<()> {
        self.old.close().await?;
        for connection in self.new.into_values() {
            connection.close().await?;
        }
        Ok(())
    }
}

async fn connect(ctx: &Ctx) -> Result<(Connection, BTreeMap<Database, Connection>)> {
    let mut unusable = Vec::new();
    let old = session(ctx, &ctx.settings.source).await;
    let mut new = BTreeMap::new();
    for database in Database::ALL {
        match session(ctx, ctx.settings.target(database)).await {
            Ok(connection) => drop(new.insert(database, connection)),
            Err(error) => unusable.push(format!("{error:#}")),
        }
    }
    match old {
        Ok(old) if unusable.is_empty() => return Ok((old, new)),
        Ok(_) => {}
        Err(error) => unusable.insert(0, format!("{error:#}")),
    }
    refuse!(
        "the old database and the new ones are compared, and not every one can be asked:\n  {}\n`cargo xtask doctor` \
         looks at all of them. {AGAIN}",
        unusable.join("\n  ")
    )
}

async fn session(ctx: &Ctx, server: &Server) -> Result<Connection> {
    let mut connection = postgres::connect(server, &ctx.purpose("perf")).await?;
    connection.run(sql::WAIT_LITTLE_FOR_LOCKS).await?;
    Ok(connection)
}

/// Of these tables those that are there.
async fn known(connection: &mut Connection, names: &[&str]) -> Result<BTreeMap<String, Known>> {
    let names = sql::array(names.iter().copied());
    let query = sql::bind(sql_file!("phases/perf/tables.sql"), &[("tables", &names)]);
    let mut found = BTreeMap::new();
    for row in connection.rows(&query).await? {
        let rows = u64::try_from(row.try_get::<i64, _>("rows")?)?;
        found.insert(row.try_get("table")?, Known { rows, analyze: row.try_get("statement")? });
    }
    Ok(found)
}

fn missing(server: &Server, names: &[&str], there: &BTreeMap<String, Known>, lines: &mut Vec<String>) {
    let missing = names.iter().filter(|name| !there.contains_key(**name));
    lines.extend(missing.map(|name| format!("{server}: there is no table {name}")));
}

/// A line with all statements that the server needs.
fn unanalyzed(server: &Server, there: &BTreeMap<String, Known>, lines: &mut Vec<String>) {
    let statements: Vec<&str> = there.values().filter_map(|known| known.analyze.as_deref()).collect();
    if !statements.is_empty() {
        lines.push(format!("{server}: {}", statements.join(" ")));
    }
}
