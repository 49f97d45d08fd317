//! Tables that were built aside take the place of those in `public`, with all that hung on them: in one
//! transaction, or not at all. The preflight does the same with empty tables and takes it back: what cannot be
//! kept, and what stands in the way, is known before anything is written (DESIGN rules 20 and 23).

use crate::effects::postgres::{self, Connection};
use crate::model::{Database, Existing};
use crate::run::ctx::Ctx;
use crate::stores::hanging::{self, Difference};
use crate::stores::ownership;
use crate::stores::schema::{LOOKED_AT, STAGING, existing, there};
use crate::stores::staging::prepare_in;
use crate::{refuse, sql, sql_file, tables};
use anyhow::{Context, Result};
use sqlx::Row;

/// What would make the swap impossible, a line each: builds the tables aside, puts them into place, and takes
/// all of it back.
pub async fn rehearse(ctx: &Ctx, connection: &mut Connection, database: Database) -> Result<Vec<String>> {
    connection.run("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'").await?;
    let tried = try_it(ctx, connection, database).await;
    let error = match tried {
        Err(error) if postgres::code(&error).is_none() || postgres::has_no_room_for_locks(&error) => {
            return Err(error);
        }
        tried => {
            connection.run("ROLLBACK").await?;
            match tried {
                Ok(lost) => return Ok(lost.iter().map(|lost| format!("{database}: {lost}")).collect()),
                Err(error) => error,
            }
        }
    };
    let verb = if there(ctx, connection, database).await?.is_empty() { "made" } else { "replaced" };
    let detail = postgres::detail(&error).unwrap_or_default();
    let line = format!("the tables of {database} cannot be {verb}: {error:#} {detail}");
    Ok(vec![line.trim_end().to_string() + &event_triggers(connection).await?])
}

async fn try_it(ctx: &Ctx, connection: &mut Connection, database: Database) -> Result<Vec<Difference>> {
    let names = there(ctx, connection, database).await?;
    let plan = prepare_in(connection, database, LOOKED_AT, &[]).await?;
    connection.run(&sql::search_path(LOOKED_AT)).await?;
    for table in tables::of_database(ctx.tables, database) {
        for statement in plan.indexes_of(table.name).into_iter().chain(plan.keys_of(table.name)) {
            connection.run(&statement).await?;
        }
    }
    for reference in plan.references() {
        connection.run(&reference).await?;
    }
    connection.run(&sql::search_path("public")).await?;
    let lost = exchange(ctx, connection, database, LOOKED_AT, &names).await?;
    finish(ctx, connection, LOOKED_AT, "{}").await?;
    Ok(lost)
}

/// Those that may have refused: the server does not say who did.
async fn event_triggers(connection: &mut Connection) -> Result<String> {
    let mut triggers = Vec::new();
    for row in connection.rows(sql_file!("phases/4-import/event_triggers.sql").text).await? {
        let (name, event, statement): (String, String, String) =
            (row.try_get("name")?, row.try_get("event")?, row.try_get("statement")?);
        triggers.push(format!("{name} (on {event}): {statement};"));
    }
    Ok(match triggers.is_empty() {
        true => String::new(),
        false => format!(
            ". Event triggers of that database may have said so; for as long as the run takes, as a superuser: {}",
            triggers.join(" ")
        ),
    })
}

/// Moves the proven tables into place, with what hung on those they replace, and writes the manifest's row:
/// all of it or nothing.
///
/// # Errors
/// Refuses where a table has got rows since the check; with `--replace` and where tables of this run are
/// missing, where one is not exactly what the newest run wrote; and where something has come to hang on a
/// table that cannot be kept. The tables are locked by then: no session can change them any more.
pub async fn publish(ctx: &Ctx, connection: &mut Connection, database: Database, record: &str) -> Result<()> {
    // What is looked at after a lock is looked at with a snapshot from after it.
    connection.run("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '30s'").await?;
    let names = there(ctx, connection, database).await?;
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
    let lost = exchange(ctx, connection, database, STAGING, &names).await?;
    if !lost.is_empty() {
        let lost: Vec<String> = lost.iter().map(Difference::to_string).collect();
        refuse!(
            "{database}: what has come to hang on its tables while the import was under way cannot be kept: {}. \
             Nothing in {database} has been changed: take it away, then `cargo xtask migrate --resume {}`",
            lost.join("; "),
            ctx.run.id()
        );
    }
    finish(ctx, connection, STAGING, record).await?;
    connection.run("COMMIT").await.with_context(|| format!("publishing {database}"))
}

/// Puts the tables of a schema into the place of those of `public`: `names`, which are there. Returns what is
/// there otherwise than it was.
async fn exchange(
    ctx: &Ctx,
    connection: &mut Connection,
    database: Database,
    aside: &str,
    names: &[&str],
) -> Result<Vec<Difference>> {
    let ours: Vec<&str> = tables::of_database(ctx.tables, database).map(|table| table.name).collect();
    let before = hanging::read(connection, "public", names).await?;
    let keep = what_to_keep(connection, aside, &ours).await?;
    if !names.is_empty() {
        connection.run(&sql::drop_tables(names)).await?;
    }
    for name in &ours {
        connection.run(&sql::move_to_public(aside, name)).await?;
    }
    for statement in keep {
        connection.run(&statement).await.context("giving the new tables what hung on the old ones")?;
    }
    let after = hanging::read(connection, "public", names).await?;
    let mut lost = hanging::compared(&before, &after);
    if names.len() < ours.len() {
        // A table that was not there brings what it has with others: references.
        lost.retain(|difference| !difference.is_new());
    }
    Ok(lost)
}

/// The statements that give the tables of a schema what those of `public` have, once they are there.
async fn what_to_keep(connection: &mut Connection, aside: &str, tables: &[&str]) -> Result<Vec<String>> {
    connection.run(&sql::create_probe()).await?;
    let tables = sql::array(tables.iter().copied());
    let values = [("aside", aside), ("tables", &tables), ("probe", sql::PROBE)];
    let mut keep = Vec::new();
    for file in [sql_file!("phases/4-import/privileges.sql"), sql_file!("phases/4-import/keep.sql")] {
        for row in connection.rows(&sql::bind(file, &values)).await? {
            keep.push(row.try_get(0)?);
        }
    }
    connection.run(&sql::drop_tables(&[sql::PROBE])).await?;
    Ok(keep)
}

async fn finish(ctx: &Ctx, connection: &mut Connection, aside: &str, record: &str) -> Result<()> {
    connection.run(&sql::drop_schema(aside)).await?;
    connection.run(sql_file!("phases/4-import/runs.sql").text).await?;
    connection.run(&sql::record_run(ctx.run.id(), record)).await
}
