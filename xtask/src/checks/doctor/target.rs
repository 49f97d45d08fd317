//! What is looked at on each of the three new databases.

use crate::checks::doctor::look::Looked;
use crate::checks::doctor::server;
use crate::checks::privileges;
use crate::health::Lines;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::stores::readiness;
use crate::{sql, sql_file, tables};
use std::sync::Arc;

/// What cannot be looked at without a connection.
const REST: [&str; 5] = ["lock", "privileges", "empty", "connections", "clock"];

/// Sessions of a run on a target beside those whose turn it is: import, verification, its checks.
const BESIDE: usize = 8;

pub(super) async fn look(ctx: &Arc<Ctx>, database: Database, pg_dump: Option<u32>) -> Looked {
    let target = ctx.settings.target(database);
    let mut lines = Lines::of(database.name());
    let Some((mut connection, info)) = server::open(ctx, target, &mut lines, pg_dump).await else {
        lines.not_looked_at(&REST, "there is no session to look with");
        return Looked { lines: lines.lines, info: None };
    };
    server::lock(&mut connection, &mut lines).await;
    let names = sql::array(tables::of_database(ctx.tables, database).map(|t| t.name));
    let query = sql::bind(sql_file!("phases/0-doctor/privileges_target.sql"), &[("tables", &names)]);
    let script = privileges::script(target, sql_file!("grants/migrate_target.sql"), "");
    let looked = privileges::look(&mut connection, &query).await;
    if server::privileges(&mut lines, "privileges", looked, &script) {
        empty(ctx, database, &mut lines).await;
    } else {
        lines.not_looked_at(&["empty"], "a privilege is missing");
    }
    server::head_room(&mut connection, &mut lines, ctx.jobs + BESIDE, target).await;
    server::clock(&mut connection, &mut lines, target).await;
    // It only looked: there is nothing to lose.
    let _ = connection.close().await;
    Looked { lines: lines.lines, info: Some(info) }
}

/// Empty, or without our tables, and able to take them.
async fn empty(ctx: &Arc<Ctx>, database: Database, lines: &mut Lines) {
    let what = "empty";
    let fix = "drop what is in the way (tables that are not there are created as sql/schema says), or, where \
                it is an earlier run's: cargo xtask migrate --replace";
    match readiness::database(ctx, database, None).await {
        Err(error) => lines.failed(what, &error, fix),
        Ok((found, _)) if found.is_empty() => lines.met(what, "and what is there is as sql/schema says"),
        Ok((found, _)) => found.into_iter().for_each(|found| lines.not_met(what, found, fix)),
    }
}
