//! What is wrong with the source, found before anything is changed: everything at once, each with a count
//! and some keys. Says as well how its tables have to be read. What is wrong with its rows is said by the
//! SELECTs (`rows`).

pub mod catalogue;
mod columns;
pub mod conversions;
mod encodings;
mod looks;
pub mod rows;
mod shapes;

use self::catalogue::Catalogue;
use self::columns::{Columns, columns};
use self::looks::{Findings, connect, findings};

use crate::effects::postgres::Connection;
use crate::hazards::{self, Blocked, Found, HAZARDS, Hazard, Look, SAMPLE};
use crate::model::{AGAIN, Stop, refused};
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::sql::{self, Reading};
use crate::tables::Table;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of the source before its snapshot is taken.
pub struct Assessment {
    pub hazards: Vec<Found>,
    pub reading: Reading,
    /// What it was judged by, to be compared once nobody can change it any more.
    pub catalogue: Catalogue,
}

/// # Errors
/// As [`judge`]; refuses as well where something could not be looked at.
pub async fn source(ctx: &Arc<Ctx>) -> Result<Assessment> {
    judge(ctx, look(ctx).await.map_err(refused)?)
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

/// All that is wrong with the source's tables, whether it blocks or not.
///
/// # Errors
/// Refuses where a table is not to be had, and a source whose encoding is not known.
pub async fn look(ctx: &Arc<Ctx>) -> Result<Assessment> {
    match looked(ctx).await {
        Err(error) => Err(lock_waits::explained(ctx, &ctx.settings.source, error).await),
        assessed => assessed,
    }
}

async fn looked(ctx: &Arc<Ctx>) -> Result<Assessment> {
    let mut connection = connect(ctx).await?;
    let (mut seen, columns) = standing(ctx, &mut connection).await?;
    seen.reading.decoding = encodings::decoding(ctx, &mut connection, &columns).await?;
    connection.close().await?;
    with_keyless_rows(ctx, seen, &columns).await
}

/// A source of which a run knows already how its text is decoded: the reading does not say it.
///
/// # Errors
/// Where the source, or the target that columns are compared on, cannot be asked.
pub async fn again(ctx: &Arc<Ctx>) -> Result<Assessment> {
    let mut connection = connect(ctx).await?;
    let (seen, columns) = standing(ctx, &mut connection).await?;
    connection.close().await?;
    with_keyless_rows(ctx, seen, &columns).await
}

/// Besides what stands in the catalogue, the rows of tables without a key.
async fn with_keyless_rows(ctx: &Arc<Ctx>, seen: Standing, columns: &Columns) -> Result<Assessment> {
    let remedies = remedies(ctx, columns, &seen);
    let Standing { catalogue, mut found, reading } = seen;
    let keyless = found.get("key-missing").map(|(_, tables)| tables.clone()).unwrap_or_default();
    let looks = keyless_queries(&keyless).into_iter().map(|(name, query)| in_turn(ctx.clone(), name, query));
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
    Ok(Assessment { hazards: listed(ctx, found, remedies), reading, catalogue })
}

/// What the catalogue alone says: in seconds, however many rows there are.
///
/// # Errors
/// Where the source, or the target that columns are compared on, cannot be asked.
pub async fn in_catalogue(ctx: &Arc<Ctx>) -> Result<Vec<Found>> {
    let mut connection = connect(ctx).await?;
    let (seen, columns) = standing(ctx, &mut connection).await?;
    connection.close().await?;
    let remedies = remedies(ctx, &columns, &seen);
    Ok(listed(ctx, seen.found, remedies))
}

/// What stands in the catalogue.
struct Standing {
    catalogue: Catalogue,
    found: BTreeMap<&'static str, Findings>,
    /// But for its decoding.
    reading: Reading,
}

async fn standing(ctx: &Arc<Ctx>, connection: &mut Connection) -> Result<(Standing, Columns)> {
    let columns = columns(ctx, connection).await?;
    let catalogue = catalogue::look(ctx, connection).await?;
    let shapes = shapes::compare(ctx, &columns).await?;
    let mut found = catalogue.findings.clone();
    found.extend(shapes.findings);
    let reading = Reading {
        decoding: None,
        limits: shapes.limits,
        casts: shapes.casts,
        conversions: shapes.conversions,
        unconvertible: BTreeMap::new(),
        required: shapes.required,
        wide: shapes.wide,
        taken: taken(ctx, &columns),
    };
    Ok((Standing { catalogue, found, reading }, columns))
}

/// Names that the quarantine's own columns would have, by table.
fn taken(ctx: &Ctx, columns: &Columns) -> BTreeMap<String, Vec<String>> {
    let of_table = |table: &Table| {
        let names = columns.get(table.source).into_iter().flatten().map(|seen| seen.column.name.clone());
        let taken: Vec<String> =
            names.filter(|name| sql::QUARANTINE_COLUMNS.contains(&name.as_str())).collect();
        (!taken.is_empty()).then(|| (table.name.to_string(), taken))
    };
    ctx.tables.iter().filter_map(of_table).collect()
}

/// The statements that remove what stands in the catalogue, by hazard.
fn remedies(ctx: &Ctx, columns: &Columns, seen: &Standing) -> BTreeMap<&'static str, String> {
    let keyless = seen.found.get("key-missing").map(|(_, tables)| tables.as_slice()).unwrap_or_default();
    let keys: Vec<String> = keyless.iter().map(|table| sql::give_a_key(table)).collect();
    let mut types = Vec::new();
    for (table, conversions) in &seen.reading.conversions {
        let Some(table) = ctx.tables.iter().find(|t| t.name == table) else { continue };
        let has = |column: &str| {
            columns.get(table.source).is_some_and(|all| all.iter().any(|seen| seen.column.name == column))
        };
        let of_source = conversions.iter().filter(|(column, _)| has(column));
        types.extend(of_source.map(|(column, into)| sql::retype(table.source, column, &into.sql)));
    }
    [("key-missing", keys.join(" ")), ("column-type", types.join(" "))].into()
}

fn listed(
    ctx: &Ctx,
    mut found: BTreeMap<&'static str, Findings>,
    mut remedies: BTreeMap<&'static str, String>,
) -> Vec<Found> {
    let there = |hazard: &Hazard| match found.remove(hazard.name) {
        Some((count @ 1.., keys)) => {
            let remedy = remedies.remove(hazard.name).unwrap_or_default();
            Some(Found { remedy, ..hazard.found(count, keys, &ctx.settings.policy.accepted) })
        }
        _ => None,
    };
    HAZARDS.iter().filter_map(there).collect()
}

/// Hazards because of which other queries fail.
fn stops_queries(name: &str) -> bool {
    ["table-missing", "column-missing", "column-type", "rows-hidden"].contains(&name)
}

/// The statements that look at the rows of tables without a key, by hazard.
fn keyless_queries(keyless: &[String]) -> Vec<(&'static str, String)> {
    let mut queries = Vec::new();
    for hazard in HAZARDS {
        if let Look::Keyless(file) = hazard.look {
            queries.extend(keyless.iter().map(|t| (hazard.name, sql::bind(file, &[("table", t)]))));
        }
    }
    queries
}

/// One query on a session of its own; its error is a result.
async fn in_turn(
    ctx: Arc<Ctx>,
    name: &'static str,
    query: String,
) -> Result<(&'static str, Result<Findings>)> {
    let _turn = ctx.source_permit(0).await;
    let mut connection = connect(&ctx).await?;
    connection.run(sql::FOR_READING).await?;
    let looked = findings(&mut connection, &query).await.with_context(|| format!("looking for {name}"));
    connection.close().await?;
    Ok((name, looked))
}
