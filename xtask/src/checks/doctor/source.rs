//! What is looked at on the source.

use crate::checks::doctor::look::{Looked, Wanted};
use crate::checks::doctor::server;
use crate::effects::own_sessions;
use crate::effects::postgres::{self, Connection};
use crate::health::Lines;
use crate::run::ctx::Ctx;
use crate::run::freeze_log::Open;
use crate::run::privileges;
use crate::shown::utc;
use crate::source::assess;
use crate::source::freeze::Freezer;
use crate::source::standby::{self, Standby};
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;
use std::sync::Arc;

/// What cannot be looked at without a connection.
const REST: [&str; 9] = [
    "lock",
    "frozen",
    "privileges",
    "tables",
    "catalogue",
    "snapshot",
    "other sessions",
    "connections",
    "clock",
];

/// Sessions of a run on the source beside those whose turn it is, and those that each table keeps:
/// holder of the snapshot, three dumps, roles, counts, mapping, sequences.
const BESIDE: usize = 8;

pub(super) async fn look(ctx: &Arc<Ctx>, wanted: Wanted, pg_dump: Option<u32>) -> Looked {
    let source = &ctx.settings.source;
    let mut lines = Lines::of("source");
    let Some((mut connection, info)) = server::open(ctx, source, &mut lines, pg_dump).await else {
        lines.not_looked_at(&REST, "there is no session to look with");
        return Looked { lines: lines.lines, info: None };
    };
    server::lock(&mut connection, &mut lines).await;
    frozen(ctx, &mut lines).await;
    let looked = privileges::of_source(ctx, &mut connection).await;
    let held = server::privileges(&mut lines, "privileges", looked, &privileges::script_for_source(ctx));
    if wanted.freeze {
        freeze(ctx, &mut connection, &mut lines).await;
    }
    if wanted.rollback {
        let looked = privileges::of_rollback(ctx, &mut connection).await;
        server::privileges(&mut lines, "rollback", looked, &privileges::script_for_rollback(ctx));
    }
    if held {
        if tables(ctx, &mut connection, &mut lines).await {
            hazards(ctx, &mut lines).await;
        } else {
            lines.not_looked_at(&["catalogue"], "is this the shop's database?");
        }
    } else {
        lines.not_looked_at(&["tables", "catalogue"], "a privilege is missing");
    }
    snapshot(ctx, &mut connection, &mut lines).await;
    sessions(ctx, &mut connection, &mut lines).await;
    let needed = ctx.tables.len() + ctx.jobs + BESIDE;
    server::head_room(&mut connection, &mut lines, needed, source).await;
    server::clock(&mut connection, &mut lines, source).await;
    // It only looked: there is nothing to lose.
    let _ = connection.close().await;
    Looked { lines: lines.lines, info: Some(info) }
}

async fn freeze(ctx: &Ctx, connection: &mut Connection, lines: &mut Lines) {
    let roles = sql::array(ctx.settings.frozen_roles().iter().map(String::as_str));
    let query = sql::bind(
        sql_file!("phases/0-doctor/privileges_freeze.sql"),
        &[("roles", &roles), ("anybody", "true")],
    );
    let more = format!(" -v roles='{roles}'");
    let script = privileges::script(&ctx.settings.source, sql_file!("grants/freeze.sql"), &more);
    if !server::privileges(lines, "freeze", privileges::look(connection, &query).await, &script) {
        return;
    }
    let looked = async { Freezer::of(ctx).preflight().await };
    if let Err(error) = looked.await {
        lines.failed("freeze", &error, "as it says there; then look again: cargo xtask doctor --freeze");
    }
}

/// Whether a run, or a person, has left the source held back.
async fn frozen(ctx: &Ctx, lines: &mut Lines) {
    let what = "frozen";
    let looked = async {
        let freezer = Freezer::of(ctx);
        anyhow::Ok((freezer.open()?, freezer.setting().await?, freezer.unfreeze().to_string()))
    };
    let (open, setting, unfreeze) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return lines.failed(what, &error, "look by hand: SELECT * FROM pg_db_role_setting;"),
    };
    match (open, setting) {
        (Some(Open { at, cutover: Some(run), .. }), _) => {
            let found =
                format!("since {}: run {run} was cut over, the new stores are the services' own", utc(&at));
            lines.warn(
                what,
                found,
                format!("{unfreeze} --run {run}   # only to go back to the old database"),
            );
        }
        (Some(Open { at, frozen, .. }), _) => {
            let by = frozen.run.map_or("`cargo xtask freeze`".to_string(), |run| format!("run {run}"));
            lines.warn(what, format!("since {}, by {by}: nobody can write there", utc(&at)), unfreeze);
        }
        (None, Some(on)) if on == "on" => {
            let found = "default_transaction_read_only = on, by none of the runs that are known here";
            lines.warn(what, found, sql::let_write(&ctx.settings.source.database));
        }
        (None, _) => lines.met(what, "no"),
    }
}

/// Hazards that stand in the catalogue: a line each. Rows are `plan`'s.
async fn hazards(ctx: &Arc<Ctx>, lines: &mut Lines) {
    let what = "catalogue";
    let found = match assess::in_catalogue(ctx).await {
        Err(error) => return lines.failed(what, &error, "as it says there; then look again"),
        Ok(found) => found,
    };
    if found.iter().all(|hazard| !hazard.blocks) {
        lines.met(what, "columns and types are those that the SELECTs read");
    }
    for hazard in found {
        let line =
            format!("{} × {}: {}: {}", hazard.count, hazard.name, hazard.meaning, hazard.keys.join(", "));
        if hazard.stops() {
            lines.not_met(what, line, hazard.then);
        } else {
            lines.warn(what, line, hazard.then);
        }
    }
}

/// Whether it is the shop's database.
async fn tables(ctx: &Ctx, connection: &mut Connection, lines: &mut Lines) -> bool {
    let what = "tables";
    let looked = async {
        let mut missing = Vec::new();
        for table in ctx.tables {
            if !connection.row(&sql::exists("public", table.source)).await?.try_get::<bool, _>(0)? {
                missing.push(table.source);
            }
        }
        anyhow::Ok(missing)
    };
    let fix = "put the shop's database into the environment file (`database` in [source])";
    match looked.await {
        Err(error) => lines.failed(what, &error, fix),
        Ok(missing) if missing.is_empty() => {
            lines.met(what, format!("all {} are there", ctx.tables.len()));
            return true;
        }
        Ok(missing) => lines.not_met(what, format!("public.{} is missing", missing.join(", public.")), fix),
    }
    false
}

/// Whether a second session can see what the first one sees.
async fn snapshot(ctx: &Ctx, connection: &mut Connection, lines: &mut Lines) {
    let what = "snapshot";
    let fix = "name the primary server itself in the environment file";
    let looked = async {
        let standby = standby::look(connection).await?;
        connection.run(sql::BEGIN_LOOKING).await?;
        let shared = shared_snapshot(ctx, connection).await;
        connection.run("ROLLBACK").await?;
        shared?;
        anyhow::Ok(standby)
    };
    match looked.await {
        Err(error) => lines.failed(what, &error, fix),
        Ok(None) => lines.met(what, "one session's is seen by another"),
        Ok(Some(Standby { unlogged: Some(unlogged), .. })) => {
            lines.not_met(what, format!("this is a standby, which has no rows of {unlogged}"), fix);
        }
        Ok(Some(Standby { replayed, .. })) => {
            let found = "works, but this is a standby: replay ends long statements, or waits for them";
            lines.warn(what, format!("{found}; it has replayed {replayed}"), fix);
        }
    }
}

async fn shared_snapshot(ctx: &Ctx, holder: &mut Connection) -> Result<()> {
    let id: String = holder.row("SELECT pg_export_snapshot()").await?.try_get(0)?;
    let mut other = postgres::connect(&ctx.settings.source, &ctx.purpose("doctor")).await?;
    other.run(&sql::in_snapshot(&id)).await?;
    other.run("ROLLBACK").await?;
    other.close().await
}

/// A session that is not this tool's.
struct ForeignSession {
    pid: i32,
    shown: String,
    does: Does,
}

/// What a session of somebody else does there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    KeepsOthersOut,
    Works,
    Nothing,
    /// Whether it is a client at all cannot be seen for want of pg_read_all_stats: not one to be ended.
    Unseen,
    /// The same, and it keeps others out: of a role, so that it is not autovacuum, which gives way.
    UnseenInTheWay,
}

/// Who else works there: services that still write make the result old before it is used.
async fn sessions(ctx: &Ctx, connection: &mut Connection, lines: &mut Lines) {
    let what = "other sessions";
    let source = &ctx.settings.source;
    let sessions = match others(connection).await {
        Ok(sessions) => sessions,
        Err(error) => return lines.failed(what, &error, "look by hand: SELECT * FROM pg_stat_activity;"),
    };
    let shown = |does: Does| -> (String, String) {
        let chosen: Vec<&ForeignSession> = sessions.iter().filter(|s| s.does == does).collect();
        let pids: Vec<String> = chosen.iter().map(|s| s.pid.to_string()).collect();
        (chosen.iter().map(|s| s.shown.clone()).collect::<Vec<_>>().join("\n"), pids.join(","))
    };
    let ending = |pids: &str| format!("stop the services; or {}", sql::end_sessions(pids));
    let (blocking, pids) = shown(Does::KeepsOthersOut);
    if !blocking.is_empty() {
        lines.not_met(what, format!("a table is locked:\n{blocking}"), ending(&pids));
    }
    let (working, pids) = shown(Does::Works);
    if !working.is_empty() {
        lines.warn(what, format!("still at work:\n{working}"), ending(&pids));
    }
    let not_let_see = |unseen: &str| format!("{} is not let see what these are:\n{unseen}", source.user);
    let (in_the_way, _) = shown(Does::UnseenInTheWay);
    if !in_the_way.is_empty() {
        lines.not_met(what, not_let_see(&in_the_way), sql::let_see_sessions(&source.user));
    }
    let (unseen, _) = shown(Does::Unseen);
    if !unseen.is_empty() {
        lines.warn(what, not_let_see(&unseen), sql::let_see_sessions(&source.user));
    }
    if [blocking, working, in_the_way, unseen].iter().all(String::is_empty) {
        lines.met(what, format!("{}, none at work", sessions.len()));
    }
}

async fn others(connection: &mut Connection) -> Result<Vec<ForeignSession>> {
    let own = sql::array(own_sessions::keys().iter().map(String::as_str));
    let query = sql::bind(sql_file!("phases/0-doctor/sessions.sql"), &[("own", &own)]);
    let mut sessions = Vec::new();
    for row in connection.rows(&query).await? {
        let text = |name: &str| row.try_get::<String, _>(name);
        let (state, since): (Option<String>, String) = (row.try_get("state")?, text("since")?);
        let (writes, blocks): (bool, bool) = (row.try_get("writes")?, row.try_get("blocks")?);
        let does = match (blocks, writes) {
            (true, _) => "keeps others out of a table, ",
            (_, true) => "holds a write transaction, ",
            _ => "",
        };
        let pid: i32 = row.try_get("pid")?;
        let (user, unseen): (Option<String>, bool) = (row.try_get("user")?, row.try_get("unseen")?);
        let who = user.as_deref().unwrap_or("of no role");
        let shown = match unseen {
            true => format!("pid {pid}, {who}, application {:?}: {does}unseen", text("application")?),
            false => format!(
                "pid {pid}, {who}, application {:?}, from {}: {does}{}{}",
                text("application")?,
                text("client")?,
                state.as_deref().unwrap_or_default(),
                if since.is_empty() { since } else { format!(", since {since}") },
            ),
        };
        let active = matches!(state.as_deref(), Some("active" | "fastpath function call"));
        let does = match (unseen, blocks, writes || active) {
            (true, true, _) if user.is_some() => Does::UnseenInTheWay,
            (true, ..) => Does::Unseen,
            (_, true, _) => Does::KeepsOthersOut,
            (_, _, true) => Does::Works,
            _ => Does::Nothing,
        };
        sessions.push(ForeignSession { pid, shown, does });
    }
    Ok(sessions)
}
