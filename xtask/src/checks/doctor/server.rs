//! What is looked at on every PostgreSQL server.

use crate::effects::clock::seconds_now;
use crate::effects::postgres::{self, Connection};
use crate::effects::tls;
use crate::health::{Lines, clock_difference};
use crate::model::{ServerInfo, grouped};
use crate::run::ctx::Ctx;
use crate::run::lock;
use crate::run::privileges::{Lacking, Privileges};
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;

/// Sessions that are compared with each other: a pool with one client gives it always the same one.
const SESSIONS: usize = 3;

/// Seconds between two clocks that do not matter.
const CLOCKS: f64 = 1.0;

/// Connects and sees that it is a server to work with. `None`: nothing else can be looked at.
pub(super) async fn open(
    ctx: &Ctx,
    server: &Server,
    lines: &mut Lines,
    pg_dump: Option<u32>,
) -> Option<(Connection, ServerInfo)> {
    let mut connection = match postgres::connect(server, &ctx.purpose("doctor")).await {
        Ok(connection) => connection,
        Err(error) => {
            lines.failed("reachable", &error, fix_connection(server, &error));
            return None;
        }
    };
    let info = match connection.info().await {
        Ok(info) => info,
        Err(error) => {
            lines.failed("reachable", &error, pg_isready(server));
            return None;
        }
    };
    let (version, encoding, bytes) = (&info.version, &info.encoding, grouped(info.bytes));
    lines.met("reachable", format!("{server}: PostgreSQL {version}, {encoding}, {bytes} bytes"));
    version_line(lines, &info, pg_dump);
    match stays_one_session(ctx, server, &mut connection).await {
        Ok(true) => lines.met("direct", format!("{SESSIONS} sessions keep their process and settings")),
        Ok(false) => {
            let found = "a pooler in between gives each transaction another session";
            let fix = "put the server's own address into the environment file, not the pooler's";
            lines.not_met("direct", found, fix);
            return None;
        }
        Err(error) => {
            lines.failed("direct", &error, pg_isready(server));
            return None;
        }
    }
    Some((connection, info))
}

fn version_line(lines: &mut Lines, info: &ServerInfo, pg_dump: Option<u32>) {
    let server = info.major;
    let install = format!("apt-get install postgresql-client-{server}");
    match pg_dump {
        None => lines.not_looked_at(&["version"], "there is no pg_dump to compare it with"),
        Some(client) if client < server => {
            lines.not_met("version", format!("pg_dump {client} cannot dump a server {server}"), install);
        }
        Some(client) => lines.met("version", format!("server {server}, pg_dump {client}")),
    }
}

/// Whether sessions are what they seem: a pooler that hands out a session for each transaction loses
/// settings and snapshots. Their transactions begin in turn, so that a pool would mix them up.
pub(super) async fn stays_one_session(ctx: &Ctx, server: &Server, first: &mut Connection) -> Result<bool> {
    let mut others = Vec::new();
    for _ in 1..SESSIONS {
        others.push(postgres::connect(server, &ctx.purpose("doctor")).await?);
    }
    let mut sessions: Vec<&mut Connection> = std::iter::once(first).chain(&mut others).collect();
    let mut marks = Vec::new();
    for (number, session) in sessions.iter_mut().enumerate() {
        marks.push((number.to_string(), pid(session.row(&sql::mark_session(&number.to_string())).await?)?));
    }
    let mut same = true;
    for round in 0..SESSIONS {
        let order = (0..SESSIONS).map(|i| (i + round) % SESSIONS);
        for i in order.clone() {
            sessions[i].run("BEGIN").await?;
            let row = sessions[i].row(sql::MARK_OF_SESSION).await?;
            same &= row.try_get::<Option<String>, _>(0)?.as_deref() == Some(&marks[i].0);
            same &= row.try_get::<i32, _>(1)? == marks[i].1;
        }
        for i in order {
            sessions[i].run("COMMIT").await?;
        }
    }
    for other in others {
        other.close().await?;
    }
    Ok(same)
}

fn pid(row: sqlx::postgres::PgRow) -> Result<i32> {
    Ok(row.try_get(1)?)
}

/// A line for each grant that is missing, or one for all that are held. `script`: the file that gives
/// all of them. Whether all are held.
pub(super) fn privileges(
    lines: &mut Lines,
    what: &'static str,
    looked: Result<Privileges>,
    script: &str,
) -> bool {
    match looked {
        Err(error) => lines.failed(what, &error, script),
        Ok(Privileges { all, missing }) if missing.is_empty() => {
            lines.met(what, format!("all {all} that are needed"));
            return true;
        }
        Ok(Privileges { missing, .. }) => {
            for (i, Lacking { found, statement }) in missing.into_iter().enumerate() {
                let together =
                    if i == 0 { format!("\nall that are needed: {script}") } else { String::new() };
                lines.not_met_among(what, found, statement + &together, script);
            }
        }
    }
    false
}

/// Whether another run is at work there: who it is.
pub(super) async fn lock(connection: &mut Connection, lines: &mut Lines) {
    let what = "lock";
    match lock::lasting_holder(connection).await {
        Err(error) => lines.failed(what, &error, "look by hand: SELECT * FROM pg_locks;"),
        Ok(None) => lines.met(what, "free: no other run is at work"),
        Ok(Some(holder)) => lines.not_met(what, holder.to_string(), holder.fix("then look again")),
    }
}

/// Whether so many connections more can be opened.
pub(super) async fn head_room(
    connection: &mut Connection,
    lines: &mut Lines,
    needed: usize,
    server: &Server,
) {
    let what = "connections";
    let looked = async {
        let row = connection.row(sql_file!("phases/0-doctor/connections.sql").text).await?;
        let limit = |name: &str| -> Result<Option<i32>> { Ok(row.try_get(name)?) };
        anyhow::Ok([
            ("server", limit("server")?, "raise max_connections, or lower --jobs".to_string()),
            ("database", limit("database")?, sql::unlimited_database(&server.database)),
            ("role", limit("role")?, sql::unlimited_role(&server.user)),
        ])
    };
    match looked.await {
        Err(error) => lines.failed(what, &error, pg_isready(server)),
        Ok(limits) => {
            let least = limits.into_iter().filter_map(|(of, n, fix)| Some((n?, of, fix)));
            match least.min_by_key(|(n, ..)| *n) {
                Some((free, of, fix)) if i64::from(free) < needed as i64 => {
                    let found = format!("the {of} has room for {free} more, {needed} are needed");
                    lines.not_met(what, found, fix);
                }
                Some((free, ..)) => lines.met(what, format!("room for {free} more, {needed} are needed")),
                None => lines.met(what, "no limit"),
            }
        }
    }
}

/// The server's clock against ours.
pub(super) async fn clock(connection: &mut Connection, lines: &mut Lines, server: &Server) {
    let what = "clock";
    let looked = async {
        let mut readings = Vec::new();
        for _ in 0..5 {
            let before = seconds_now();
            let theirs: f64 = connection.row(sql::CLOCK).await?.try_get(0)?;
            readings.push((before, theirs, seconds_now()));
        }
        anyhow::Ok(clock_difference(&readings).unwrap_or_default())
    };
    match looked.await {
        Err(error) => lines.failed(what, &error, pg_isready(server)),
        Ok(difference) => clock_line(lines, difference),
    }
}

fn clock_line(lines: &mut Lines, difference: f64) {
    let found = match difference {
        d if d.abs() < 0.05 => "the same as ours".to_string(),
        d if d > 0.0 => format!("{d:.1} s ahead of ours"),
        d => format!("{:.1} s behind ours", -d),
    };
    if difference.abs() > CLOCKS {
        let found = format!("{found}: times in reports and in the databases will not agree");
        lines.warn("clock", found, "chronyc makestep   # on the machine that is wrong");
    } else {
        lines.met("clock", found);
    }
}

/// What fixes a connection that cannot be made.
pub(super) fn fix_connection(server: &Server, error: &anyhow::Error) -> String {
    let Server { host, port, database, user, password_from, .. } = server;
    match postgres::code(error).as_deref() {
        Some("28P01") => match password_from.strip_prefix('$') {
            Some(variable) => format!("read -rs {variable} && export {variable}"),
            None => format!("put the right password into {password_from}"),
        },
        Some("28000") => format!("{}   -- or a line for it in pg_hba.conf", sql::let_log_in(user)),
        Some("3D000") => format!("createdb -h {host} -p {port} -U postgres -O {user} {database}"),
        Some("42501") => sql::let_connect(user, database),
        Some("53300") => format!("{}   -- or raise max_connections", sql::unlimited_role(user)),
        _ if tls::shows_its_own_root(error) => {
            "make the two certificates as it says there; then look again: cargo xtask doctor".to_string()
        }
        _ => pg_isready(server),
    }
}

fn pg_isready(server: &Server) -> String {
    format!("pg_isready -h {} -p {}", server.host, server.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Verdict;

    fn verdict(fill: impl FnOnce(&mut Lines)) -> (Verdict, String) {
        let mut lines = Lines::of("source");
        fill(&mut lines);
        (lines.lines[0].verdict, lines.lines[0].found.clone())
    }

    #[test]
    fn more_than_a_second_between_clocks_is_a_warning() {
        assert_eq!(verdict(|l| clock_line(l, 0.01)), (Verdict::Met, "the same as ours".into()));
        assert_eq!(verdict(|l| clock_line(l, -0.9)), (Verdict::Met, "0.9 s behind ours".into()));
        let (ahead, found) = verdict(|l| clock_line(l, 3.0));
        assert_eq!(ahead, Verdict::Warning);
        assert!(found.starts_with("3.0 s ahead of ours"), "{found}");
        assert_eq!(verdict(|l| clock_line(l, -1.1)).0, Verdict::Warning);
    }

    #[test]
    fn a_server_newer_than_pg_dump_cannot_be_dumped() {
        let info = |major| ServerInfo { major, version: String::new(), encoding: "UTF8".into(), bytes: 0 };
        assert_eq!(verdict(|l| version_line(l, &info(15), Some(15))).0, Verdict::Met);
        assert_eq!(verdict(|l| version_line(l, &info(15), Some(17))).0, Verdict::Met);
        let (older, found) = verdict(|l| version_line(l, &info(16), Some(15)));
        assert_eq!((older, found.as_str()), (Verdict::NotMet, "pg_dump 15 cannot dump a server 16"));
        assert_eq!(verdict(|l| version_line(l, &info(15), None)).0, Verdict::NotLookedAt);
    }
}
