//! The statements of `sql/harden` in one transaction, and what is tried before it ends: all that has to be refused
//! to the service, and all that it needs.

use super::logins::SecretStep;
use super::look::REFUSED;
use super::outcome::{Hardened, Weakness};
use super::roles::{Change, Roles};
use crate::effects::postgres::{self, Connection};
use crate::model::Stop;
use crate::refuse;
use crate::settings::Server;
use crate::sql_text::SqlFile;
use crate::{sql, sql_file};
use anyhow::Result;
use sqlx::Row;

/// In this order: what somebody owns cannot be refused to him; and whoever runs this may be who loses SUPERUSER.
fn files(roles: &Roles) -> Vec<String> {
    let values = [
        ("service", roles.service.as_str()),
        ("admin", roles.admin.as_str()),
        ("readonly", roles.readonly.as_str()),
    ];
    let mut all: Vec<SqlFile> = vec![
        sql_file!("harden/owner.sql"),
        sql_file!("harden/grants.sql"),
        sql_file!("harden/superuser.sql"),
    ];
    if roles.change == Change::Rename {
        // What the renamed role owns, the admin owns; of the new one there is nothing to take.
        all.retain(|file| file.path == "harden/grants.sql");
    }
    all.into_iter().flat_map(|file| sql::generators(file, &values)).collect()
}

/// The statements that are needed, as far as the server can tell before the first of them is made.
pub(super) async fn foreseen(session: &mut Connection, roles: &Roles) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    for query in files(roles) {
        statements.extend(texts(session, &query).await?);
    }
    Ok(statements)
}

/// All of it, or nothing.
///
/// # Errors
/// Refuses where the session's role may not, where a table is in use, and where the service could not work any more.
pub(super) async fn give(
    session: &mut Connection,
    server: &Server,
    roles: &Roles,
    secrets: &[SecretStep],
    into: &mut Hardened,
) -> Result<()> {
    session.run(sql::BEGIN_TO_HARDEN).await?;
    for step in secrets {
        into.statements.push(step.run(session).await?);
    }
    for query in files(roles) {
        for statement in texts(session, &query).await? {
            if let Err(error) = session.run(&statement).await {
                return Err(explained(server, &statement, error));
            }
            into.statements.push(statement);
        }
    }
    try_out(session, server, roles, into).await?;
    session.run("COMMIT").await
}

async fn texts(session: &mut Connection, query: &str) -> Result<Vec<String>> {
    let rows = session.rows(query).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

fn explained(server: &Server, statement: &str, error: anyhow::Error) -> anyhow::Error {
    if postgres::code(&error).as_deref() != Some(REFUSED) {
        return error;
    }
    let why = postgres::message(&error).unwrap_or_default();
    Stop::Refused(format!(
        "{server} may not: {statement} ({why}). Nothing has been changed there. Rerun the command with \
         --as SUPERUSER --as-password-file FILE, or let a superuser run sql/harden/*.sql with psql"
    ))
    .into()
}

/// Each by itself, as the service's role; nothing of it stays.
async fn try_out(
    session: &mut Connection,
    server: &Server,
    roles: &Roles,
    into: &mut Hardened,
) -> Result<()> {
    let values = [("service", roles.service.as_str()), ("admin", roles.admin.as_str())];
    let who = session.row(&sql::bind(sql_file!("harden/may_try.sql"), &values)).await?;
    if !who.try_get::<bool, _>(0)? {
        into.add(Weakness {
            store: server.label.clone(),
            cis: None,
            what: format!("nothing was tried as {}: {} is not a member of it", roles.service, server.user),
            todo: Some("cargo xtask harden --as SUPERUSER".into()),
            weighs: false,
        });
        return Ok(());
    }
    let trials = session.rows(&sql::bind(sql_file!("harden/trials.sql"), &values)).await?;
    session.run(sql::TRY_WITHOUT_WAITING).await?;
    for trial in &trials {
        let (what, statement): (String, String) = (trial.try_get("what")?, trial.try_get("statement")?);
        session.run(&sql::as_role(&roles.service)).await?;
        let answer = session.run(&statement).await;
        session.run(sql::AS_BEFORE).await?;
        let code = answer.as_ref().err().map(postgres::code);
        let expected: bool = trial.try_get("refused")?;
        match (expected, code) {
            (true, Some(Some(code))) if code == REFUSED => into.refused += 1,
            (true, _) => into.add(Weakness {
                store: server.label.clone(),
                cis: Some("4.3".into()),
                what: format!("the service's role {} still {what}", roles.service),
                todo: Some(format!("find out by what right: SET ROLE {}; {statement}", roles.service)),
                weighs: true,
            }),
            (false, None) => into.allowed += 1,
            (false, Some(_)) => refuse!(
                "{server}: with these rights the service could not work, so nothing has been changed there: {} \
                 {what}: {}",
                roles.service,
                answer.err().map(|error| format!("{error:#}")).unwrap_or_default()
            ),
        }
    }
    Ok(())
}
