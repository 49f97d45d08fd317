//! What is wrong with the source, found before anything is changed: everything at once, each with a count
//! and some keys. Says as well how its tables have to be read.

mod encodings;
mod shapes;

use crate::effects::postgres::{self, Connection};
use crate::hazards::{self, Blocked, Found, HAZARDS, Hazard, Look, SAMPLE};
use crate::model::{AGAIN, Stop};
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::sql::{self, Reading, SourceColumn};
use crate::sql_file;
use crate::sql_text::SqlFile;
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of the source before its snapshot is taken.
pub struct Assessment {
    pub hazards: Vec<Found>,
    pub reading: Reading,
}

/// How often something was found, and some of it.
type Findings = (u64, Vec<String>);

/// # Errors
/// As [`judge`]; refuses as well where a table is not to be had.
pub async fn source(ctx: &Arc<Ctx>) -> Result<Assessment> {
    judge(ctx, look(ctx).await?)
}

/// # Errors
/// Refuses, with all hazards, where one blocks that was not accepted; `Blocked` is in the error then.
pub fn judge(ctx: &Ctx, assessed: Assessment) -> Result<Assessment> {
    let hazards = &assessed.hazards;
    let stopping = hazards.iter().filter(|f| f.stops()).count();
    if stopping == 0 {
        return Ok(assessed);
    }
    let text = format!(
        "{} has hazards, and {stopping} of them block:\n{}{AGAIN}{}",
        ctx.settings.source,
        hazards::text(hazards),
        hazards::accepting(hazards)
    );
    Err(anyhow::Error::new(Stop::Refused(text)).context(Blocked(assessed.hazards)))
}

/// All that is wrong with the source, whether it blocks or not.
///
/// # Errors
/// Refuses where a table is not to be had, and a source whose encoding nobody knows.
pub async fn look(ctx: &Arc<Ctx>) -> Result<Assessment> {
    match looked(ctx).await {
        Err(error) => Err(lock_waits::explained(ctx, &ctx.settings.source, error).await),
        assessed => assessed,
    }
}

async fn looked(ctx: &Arc<Ctx>) -> Result<Assessment> {
    let mut connection = connect(ctx).await?;
    let columns = columns(ctx, &mut connection).await?;
    let mut found: BTreeMap<&'static str, Findings> = BTreeMap::new();
    for hazard in HAZARDS {
        if let Look::Catalogue(file) = hazard.look {
            let query = sql::bind(file, &[("tables", &names(ctx))]);
            found.insert(hazard.name, findings(&mut connection, &query).await?);
        }
    }
    let decoding = encodings::decoding(ctx, &mut connection, &columns).await?;
    connection.close().await?;
    let shapes = shapes::compare(ctx, &columns).await?;
    let reading = Reading { decoding, limits: shapes.limits };
    found.extend(shapes.findings);

    let keyless = found.get("key-missing").map(|(_, tables)| tables.clone()).unwrap_or_default();
    let queries = queries(ctx, &reading, &keyless)?;
    let looks = queries.into_iter().map(|(name, query)| in_turn(ctx.clone(), name, query));
    // What cannot be looked for is a consequence of what is listed: a column or table that is missing.
    let broken = found.iter().any(|(name, (count, _))| *count > 0 && stops_queries(name));
    for (name, looked) in crate::run::join::all(looks).await? {
        let (count, keys) = match looked {
            Err(error) if !broken || lock_waits::is_cause(&error) => return Err(error),
            looked => looked.unwrap_or_default(),
        };
        let sum = found.entry(name).or_default();
        sum.0 += count;
        sum.1.extend(keys);
        sum.1.truncate(SAMPLE);
    }
    let there = |hazard: &Hazard| match found.remove(hazard.name) {
        Some((count @ 1.., keys)) => Some(hazard.found(count, keys, &ctx.settings.policy.accepted)),
        _ => None,
    };
    Ok(Assessment { hazards: HAZARDS.iter().filter_map(there).collect(), reading })
}

/// A session that waits for a table that is locked, but not for ever.
async fn connect(ctx: &Ctx) -> Result<Connection> {
    let mut connection = postgres::connect(&ctx.settings.source, &ctx.purpose("assess")).await?;
    connection.run(lock_waits::PATIENCE).await?;
    Ok(connection)
}

/// Hazards because of which other queries fail.
fn stops_queries(name: &str) -> bool {
    ["table-missing", "column-missing", "column-type", "rows-hidden"].contains(&name)
}

/// The source's tables that are to be migrated, as an array for psql's variable.
fn names(ctx: &Ctx) -> String {
    sql::array(ctx.tables.iter().map(|t| t.source))
}

/// The statements that look at rows, by hazard.
fn queries(ctx: &Ctx, reading: &Reading, keyless: &[String]) -> Result<Vec<(&'static str, String)>> {
    let mut queries = Vec::new();
    for hazard in HAZARDS {
        match hazard.look {
            Look::Rows(file) => queries.push((hazard.name, reading.query(file))),
            Look::Keyless(file) => {
                queries.extend(keyless.iter().map(|t| (hazard.name, sql::bind(file, &[("table", t)]))))
            }
            Look::Catalogue(_) | Look::Shapes | Look::Reading => {}
        }
    }
    for table in ctx.tables {
        if let Some(unfit) = reading.unfit(ctx.tables, table)? {
            queries.push(("value-does-not-fit", sql::ids_of(table.source, &unfit)));
        }
        if let Some(decoding) = &reading.decoding {
            let rows = decoding.undecodable(table.source);
            queries.push(("text-undecodable", sql::undecodable_of(table.source, &rows)));
        }
    }
    Ok(queries)
}

/// One query on a session of its own; its error is a result.
async fn in_turn(
    ctx: Arc<Ctx>,
    name: &'static str,
    query: String,
) -> Result<(&'static str, Result<Findings>)> {
    let _turn = ctx.turn_on_source(0).await;
    let mut connection = connect(&ctx).await?;
    connection.run(sql::FOR_READING).await?;
    let looked = findings(&mut connection, &query).await.with_context(|| format!("looking for {name}"));
    connection.close().await?;
    Ok((name, looked))
}

async fn findings(connection: &mut Connection, query: &str) -> Result<Findings> {
    let rows = connection.rows(&sql::count_and_sample(query, SAMPLE)).await?;
    let count = rows.first().map(|row| row.try_get::<i64, _>(0)).transpose()?.unwrap_or_default();
    let keys = rows.iter().map(|row| row.try_get(1)).collect::<Result<_, _>>()?;
    Ok((u64::try_from(count)?, keys))
}

/// A column of the source, and the type that stands for its own on another server.
pub struct Seen {
    pub column: SourceColumn,
    pub stand_in: String,
}

/// By table.
type Columns = BTreeMap<String, Vec<Seen>>;

async fn columns(ctx: &Ctx, connection: &mut Connection) -> Result<Columns> {
    const COLUMNS: SqlFile = sql_file!("phases/preflight/columns.sql");
    let mut columns = Columns::new();
    for row in connection.rows(&sql::bind(COLUMNS, &[("tables", &names(ctx))])).await? {
        let column = SourceColumn {
            name: row.try_get("column")?,
            kind: row.try_get("type")?,
            textual: row.try_get("textual")?,
        };
        let seen = Seen { column, stand_in: row.try_get("stand_in")? };
        columns.entry(row.try_get("table")?).or_default().push(seen);
    }
    Ok(columns)
}
