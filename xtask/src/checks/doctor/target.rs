//! What is looked at on each of the three new databases.

use crate::checks::doctor::look::Looked;
use crate::checks::doctor::server;
use crate::health::Lines;
use crate::model::Database;
use crate::run::ctx::Ctx;
use crate::run::privileges::{self, Lacking};
use crate::stores::prerequisites;
use crate::stores::readiness;
use crate::{sql_file, tables};
use anyhow::Result;
use std::sync::Arc;

/// What cannot be looked at without a connection.
const REST: [&str; 7] = ["lock", "encoding", "writable", "privileges", "empty", "connections", "clock"];

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
    let encoding = prerequisites::encoding(&mut connection, target).await;
    let of_itself = met(&mut lines, "encoding", "holds every text", encoding)
        & met(
            &mut lines,
            "writable",
            "for new sessions",
            prerequisites::read_only(ctx, database, &mut connection).await,
        );
    let script = privileges::script(target, sql_file!("grants/migrate_target.sql"), "");
    let looked = prerequisites::privileges(&mut connection, tables::of_database(ctx.tables, database)).await;
    match (server::privileges(&mut lines, "privileges", looked, &script), of_itself) {
        (true, true) => empty(ctx, database, &mut lines).await,
        (false, _) => lines.not_looked_at(&["empty"], "a privilege is missing"),
        (true, false) => lines.not_looked_at(&["empty"], "no run would begin there"),
    }
    server::head_room(&mut connection, &mut lines, ctx.jobs + BESIDE, target).await;
    server::clock(&mut connection, &mut lines, target).await;
    // It only looked: there is nothing to lose.
    let _ = connection.close().await;
    Looked { lines: lines.lines, info: Some(info) }
}

/// A line for what the database itself has to be like; whether it is.
fn met(lines: &mut Lines, what: &'static str, fine: &str, looked: Result<Option<Lacking>>) -> bool {
    match looked {
        Ok(None) => {
            lines.met(what, fine);
            return true;
        }
        Ok(Some(Lacking { found, statement })) => lines.not_met(what, found, statement),
        Err(error) => {
            lines.failed(what, &error, "look by hand: SHOW server_encoding; TABLE pg_db_role_setting;")
        }
    }
    false
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
