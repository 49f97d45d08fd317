//! What keeps a source from being frozen, all of it at once, before anything is changed.

use super::others::{self, EVER};
use crate::effects::postgres::Connection;
use crate::settings::Server;
use crate::{refuse, sql, sql_file, sql_text};
use anyhow::Result;
use sqlx::Row;

/// Whose sessions a freeze may have to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// Those of any role, whoever comes between.
    Anybody,
    /// Those that are there.
    WhoIsThere,
}

/// What the source is now.
pub(super) struct SourceState {
    pub setting: Option<String>,
    pub now: String,
    /// Roles of the environment that can log in.
    pub roles: Vec<String>,
}

/// # Errors
/// Refuses with everything at once.
pub(super) async fn look(
    connection: &mut Connection,
    server: &Server,
    named: &[String],
    ends: Ends,
) -> Result<SourceState> {
    let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
    let text = |name: &str| row.try_get::<String, _>(name);
    let me = sql_text::ident(&text("me")?);
    let mut wrong = rights(connection, ends).await?;
    wrong.extend(others::writers(connection).await?);
    let roles = roles_that_log_in(connection, named, &me, &mut wrong).await?;
    wrong.extend(overriding(connection, server, named).await?);
    for session in others::sessions(connection, EVER).await? {
        if session.above_us {
            wrong.push(format!("{session} is a superuser's, which {me} may not end: end it yourself"));
        }
    }
    if !wrong.is_empty() {
        refuse!(
            "{server} cannot be frozen:\n  {}\nNothing has been changed: fix this and rerun the command",
            wrong.join("\n  ")
        );
    }
    Ok(SourceState { setting: row.try_get("setting")?, now: text("now")?, roles })
}

/// Rights that are missing, whatever roles are to be kept out: a line each, with what `doctor` says gives it.
async fn rights(connection: &mut Connection, ends: Ends) -> Result<Vec<String>> {
    let anybody = if ends == Ends::Anybody { "true" } else { "false" };
    let values = [("roles", "{}"), ("anybody", anybody)];
    let query = sql::bind(sql_file!("phases/0-doctor/privileges_freeze.sql"), &values);
    let mut wrong = Vec::new();
    for row in connection.rows(&query).await? {
        if !row.try_get::<bool, _>("held")? {
            let (grant, statement): (String, String) = (row.try_get("grant")?, row.try_get("statement")?);
            wrong.push(format!("{grant} is missing: {statement}"));
        }
    }
    Ok(wrong)
}

pub(super) async fn roles_that_log_in(
    connection: &mut Connection,
    named: &[String],
    me: &str,
    wrong: &mut Vec<String>,
) -> Result<Vec<String>> {
    let mut can = Vec::new();
    for role in named {
        let name = sql_text::ident(role);
        let query = sql::bind(sql_file!("phases/freeze/role.sql"), &[("role", role)]);
        let rows = connection.rows(&query).await?;
        let Some(row) = rows.first() else {
            wrong.push(format!("freeze_roles names {role}, which is no role of this server"));
            continue;
        };
        if row.try_get::<bool, _>("is_me")? {
            wrong.push(format!("freeze_roles names {role}, as which this tool itself logs in"));
        } else if row.try_get::<bool, _>("can_login")? {
            if !row.try_get::<bool, _>("alterable")? {
                wrong.push(format!(
                    "{me} may not take the LOGIN of {role} away: ALTER ROLE {me} CREATEROLE (from \
                     PostgreSQL 16 on also GRANT {name} TO {me} WITH ADMIN OPTION)"
                ));
            }
            can.push(role.clone());
        }
    }
    Ok(can)
}

/// Roles that are not held back by what the database says: a line each.
pub(super) async fn overriding(
    connection: &mut Connection,
    server: &Server,
    named: &[String],
) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for row in connection.rows(sql_file!("phases/freeze/overriding.sql").text).await? {
        let role: String = row.try_get(0)?;
        if !named.contains(&role) && role != server.user {
            wrong.push(format!(
                "role {role} has default_transaction_read_only = off of its own, which a freeze does \
                 not change: name it in freeze_roles, or ALTER ROLE {} RESET default_transaction_read_only",
                sql_text::ident(&role)
            ));
        }
    }
    Ok(wrong)
}
