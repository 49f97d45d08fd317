//! Whether a frozen source is still as its freeze made it.

use super::allowed::overriding;
use super::others::{self, EVER};
use crate::effects::postgres::Connection;
use crate::run::freeze_log::{Frozen, Open};
use crate::settings::Server;
use crate::shown::utc;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;

/// What is still as the freeze made it: the setting, and the roles.
pub(super) async fn left(connection: &mut Connection, frozen: &Frozen) -> Result<(bool, Vec<String>)> {
    let row = connection.row(sql_file!("phases/freeze/state.sql").text).await?;
    let on = row.try_get::<Option<String>, _>("setting")?.as_deref() == Some("on");
    let mut roles = Vec::new();
    for role in &frozen.roles {
        if can_log_in(connection, role).await? == Some(false) {
            roles.push(role.clone());
        }
    }
    Ok((on, roles))
}

/// `None`: there is no such role.
async fn can_log_in(connection: &mut Connection, role: &str) -> Result<Option<bool>> {
    let query = sql::bind(sql_file!("phases/freeze/role.sql"), &[("role", role)]);
    let rows = connection.rows(&query).await?;
    Ok(rows.first().map(|row| row.try_get("can_login")).transpose()?)
}

/// What is not as the freeze made it, and what could write all the same: a line each. `named`: the roles
/// that the environment says now, which may be more than those of the freeze; `let_in`: those that may write.
pub(super) async fn changed(
    connection: &mut Connection,
    server: &Server,
    (named, let_in): (&[String], &[String]),
    frozen: &Frozen,
) -> Result<Vec<String>> {
    let (on, out) = left(connection, frozen).await?;
    let mut wrong = Vec::new();
    if !on {
        wrong.push("default_transaction_read_only is not on any more".to_string());
    }
    let back = frozen.roles.iter().filter(|role| !out.contains(role) && !let_in.contains(role));
    wrong.extend(back.map(|role| format!("{role} can log in again")));
    for role in named.iter().filter(|role| !frozen.roles.contains(role) && !let_in.contains(role)) {
        if can_log_in(connection, role).await? != Some(false) {
            wrong.push(format!("freeze_roles names {role}, which this freeze has not kept out"));
        }
    }
    wrong.extend(overriding(connection, server, named).await?);
    wrong.extend(others::writers(connection).await?);
    Ok(wrong)
}

/// Sessions of others: a line each.
pub(super) async fn strangers(connection: &mut Connection) -> Result<Vec<String>> {
    let sessions = others::sessions(connection, EVER).await?;
    let line = |session: &others::SourceSession| {
        format!("{session} has come in since: end it, and name its role in freeze_roles, or stop who uses it")
    };
    Ok(sessions.iter().map(line).collect())
}

/// What the book says that differs from the freeze that was relied upon.
pub(super) fn book(open: Option<&Open>, frozen: &Frozen) -> Option<String> {
    match open {
        None => Some("the book of freezes says that it was undone".to_string()),
        Some(open) if open.frozen != *frozen => {
            Some(format!("the book of freezes says that it was frozen again at {}", utc(&open.at)))
        }
        Some(_) => None,
    }
}
