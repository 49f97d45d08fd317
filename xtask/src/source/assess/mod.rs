//! What is wrong with the source, found before anything is changed: everything at once, each with a count
//! and some keys. Says as well how its tables have to be read.

pub mod catalogue;
mod columns;
mod encodings;
mod looks;
mod shapes;

use self::catalogue::Catalogue;
use self::columns::columns;
use self::looks::{Findings, connect, findings};

use crate::hazards::{self, Blocked, Found, HAZARDS, Hazard, Look, SAMPLE};
use crate::model::{AGAIN, Stop};
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::sql::{self, Reading};
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
/// Refuses where a table is not to be had, and a source whose encoding is not known.
pub async fn look(ctx: &Arc<Ctx>) -> Result<Assessment> {
    match looked(ctx).await {
        Err(error) => Err(lock_waits::explained(ctx, &ctx.settings.source, error).await),
        assessed => assessed,
    }
}

async fn looked(ctx: &Arc<Ctx>) -> Result<Assessment> {
    let mut connection = connect(ctx).await?;
    let columns = columns(ctx, &mut connection).await?;
    let catalogue = catalogue::look(ctx, &mut connection).await?;
    let mut found: BTreeMap<&'static str, Findings> = catalogue.findings.clone();
    let decoding = encodings::decoding(ctx, &mut connection, &columns).await?;
    connection.close().await?;
    let shapes = shapes::compare(ctx, &columns).await?;
    let reading = Reading { decoding, limits: shapes.limits, casts: shapes.casts };
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
    Ok(Assessment { hazards: HAZARDS.iter().filter_map(there).collect(), reading, catalogue })
}

/// Hazards because of which other queries fail.
fn stops_queries(name: &str) -> bool {
    ["table-missing", "column-missing", "column-type", "rows-hidden"].contains(&name)
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
    let _turn = ctx.source_permit(0).await;
    let mut connection = connect(&ctx).await?;
    connection.run(sql::FOR_READING).await?;
    let looked = findings(&mut connection, &query).await.with_context(|| format!("looking for {name}"));
    connection.close().await?;
    Ok((name, looked))
}
