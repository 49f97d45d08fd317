//! How the services' queries fare on the new databases, beside the old one: the same questions to both sides,
//! their plans and buffers compared; and what the new databases count of their indexes and statements.
//! Reads only: in transactions that cannot write, each statement limited.

mod alone;
mod compare;
mod measure;
mod parameters;
mod plan;
mod queries;
mod report;
mod sides;
mod slow;
mod usage;

use crate::findings::{Values, masked};
use crate::model::{Database, refused};
use crate::run::ctx::Ctx;
use crate::run::lock_waits;
use crate::run::statements::Statements;
use crate::{refuse, sql};
pub use alone::on_new;
use anyhow::{Context, Result};
use queries::{QUERIES, Query};
pub use report::Performance;
use report::{Line, Remark, Sides};
use sides::Sessions;
use std::collections::BTreeMap;
use std::time::Instant;

pub struct Wanted {
    /// How often each query is measured.
    pub repeat: u32,
    /// How many times the buffers of the old side are no finding yet.
    pub factor: f64,
    pub statements: Compared,
}

/// Whether what the databases count of their statements is looked at.
pub enum Compared {
    No,
    /// With those of the source, where the run has saved some.
    WithSource(Option<Statements>),
}

/// # Errors
/// Refuses where a side cannot be asked, keeps a table locked, or has no row to ask for.
pub async fn run(ctx: &Ctx, wanted: &Wanted) -> Result<Performance> {
    match measured(ctx, wanted).await {
        Err(error) if lock_waits::is_cause(&error) => Err(refused(lock_waits::named(ctx, error).await)),
        measured => measured,
    }
}

async fn measured(ctx: &Ctx, wanted: &Wanted) -> Result<Performance> {
    let started = Instant::now();
    let mut sessions = Sessions::open(ctx).await?;
    let (mut remarks, mut cut_over) = (Vec::new(), false);
    // Before our own queries are counted, too.
    for (database, connection) in &mut sessions.new {
        let usage = usage::look(connection, *database).await?;
        remarks.extend(usage.remarks);
        cut_over |= usage.cut_over;
    }
    if let Compared::WithSource(saved) = &wanted.statements {
        remarks.extend(slow::look(&mut sessions.new, saved.as_ref()).await?);
    }
    let mut queries = Vec::new();
    for query in QUERIES {
        let line = compared(ctx, &mut sessions, query, wanted).await;
        queries.push(line.with_context(|| format!("measuring {}", query.name))?);
    }
    sessions.close().await?;
    remarks.splice(0..0, queries.iter().filter_map(no_rows));
    let performance = Performance {
        regressed: queries.iter().any(|line| !line.findings.is_empty()),
        factor: wanted.factor,
        repeat: wanted.repeat,
        queries,
        remarks,
        cut_over,
        seconds: started.elapsed().as_secs_f64(),
    };
    if performance.compared() == 0 {
        refuse!(
            "no query could be compared: {} has no rows to ask for, or does not answer in time. `cargo xtask plan` \
             counts them",
            ctx.settings.source
        );
    }
    Ok(performance)
}

/// One query on both sides, one after the other.
async fn compared(ctx: &Ctx, sessions: &mut Sessions, query: &Query, wanted: &Wanted) -> Result<Line> {
    let (service, purpose) = query.asked_by()?;
    let database = service.database().with_context(|| format!("{service} has no database"))?;
    let mut line = Line {
        query: query.name,
        service,
        purpose,
        parameters: BTreeMap::new(),
        sides: None,
        findings: Vec::new(),
    };
    let Some(parameters) = parameters::choose(&mut sessions.old, query.parameters).await? else {
        return Ok(line);
    };
    let values: Vec<(&str, &str)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let old = measure::measure(&mut sessions.old, &sql::bind(query.old, &values), wanted.repeat).await?;
    let new = measured_there(sessions, database, &sql::bind(query.new, &values), wanted.repeat).await?;
    line.findings = compare::regressions(&old, &new, wanted.factor, &sessions.tables);
    line.sides = Some(Sides { old, new });
    line.parameters = shown(ctx, parameters);
    Ok(line)
}

async fn measured_there(
    sessions: &mut Sessions,
    database: Database,
    query: &str,
    repeat: u32,
) -> Result<measure::Seen> {
    let connection = sessions.new.get_mut(&database).with_context(|| format!("no session of {database}"))?;
    measure::measure(connection, query, repeat).await
}

/// What a customer is, is masked.
fn shown(ctx: &Ctx, parameters: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let hidden = |name: &str| ctx.values == Values::Masked && ctx.tables.iter().any(|t| t.hides(name));
    let shown = |(name, value): (String, String)| {
        let value = if hidden(&name) { masked(&value) } else { value };
        (name, value)
    };
    parameters.into_iter().map(shown).collect()
}

/// A query that compares little: its rows are on one side alone.
fn no_rows(line: &Line) -> Option<Remark> {
    match line.sides.as_ref()? {
        Sides { old: measure::Seen::Measured(old), new: measure::Seen::Measured(new) }
            if new.rows == 0 && old.rows > 0 =>
        {
            Some(Remark::NoRows { query: line.query, old: old.rows })
        }
        _ => None,
    }
}
