//! Each database as a whole: whether its service can write there, and whether it says whose rows it holds; and
//! what a DBA may rightly have decided about its tables.

use super::cutover_state::CutoverState;
use crate::effects::postgres::Connection;
use crate::findings::{Finding, FindingKind, Findings};
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::manifest::Check;
use crate::run::privileges::Lacking;
use crate::stores::prerequisites;
use crate::stores::schema::LOOKED_AT;
use crate::stores::{hanging, ownership, schema};
use anyhow::Result;
use std::sync::Arc;

/// The check, and the remarks: these are no differences.
pub(super) async fn check(ctx: &Arc<Ctx>, cutover: CutoverState) -> Result<(Check, Vec<Finding>)> {
    let (mut findings, mut remarks) = (Findings::default(), Vec::new());
    for database in Database::ALL {
        let mut connection = ctx.looking(database, "verify").await?;
        if let Some(Lacking { found, statement }) =
            prerequisites::read_only(ctx, database, &mut connection).await?
        {
            findings.extend([of(ctx, database).detail(format!("{found}: {statement}"))]);
        }
        // After the cut-over nothing is loaded there any more, whoever brought what is there.
        if cutover == CutoverState::Before && ownership::published_runs(&mut connection).await?.is_empty() {
            let run = ctx.run.id();
            let detail = format!(
                "xtask.runs names no run, so nobody can tell whose its rows are: `cargo xtask import --run {run}` \
                 writes it down again"
            );
            findings.extend([of(ctx, database).detail(detail)]);
        }
        remarks.extend(remarks_on(ctx, &mut connection, database).await?);
        connection.close().await?;
    }
    let looked_at =
        format!("{} databases can be written by services and name their run", Database::ALL.len());
    Ok((Check::new("databases", looked_at, findings), remarks))
}

fn of(ctx: &Ctx, database: Database) -> Finding {
    Finding::new(FindingKind::Database, database.into(), &ctx.settings.target(database).database)
}

/// What hangs on the tables otherwise than `sql/schema` makes them, where that is a DBA's to decide.
async fn remarks_on(ctx: &Ctx, connection: &mut Connection, database: Database) -> Result<Vec<Finding>> {
    let names = schema::there(ctx, connection, database).await?;
    connection.run("BEGIN").await?;
    let made = async {
        schema::create_in(connection, database, LOOKED_AT).await?;
        hanging::read(connection, LOOKED_AT, &names).await
    };
    let made = made.await;
    connection.run("ROLLBACK").await?;
    let differences = hanging::compared(&made?, &hanging::read(connection, "public", &names).await?);
    Ok(differences.iter().filter_map(|difference| difference.remark(database)).collect())
}
