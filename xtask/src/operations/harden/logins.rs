//! Roles that log in: made, and given passwords that nobody else knows. A password is in its file before the server
//! has it; a call that was cut off in between is completed by the next one, which takes what the file says.

use super::look::{KnownPassword, is_of_the_guide, known_password};
use super::outcome::Login;
use super::roles::Roles;
use super::scram;
use crate::effects::postgres::{self, Connection};
use crate::effects::{random, secret_file};
use crate::refuse;
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;
use std::path::{Path, PathBuf};

/// The file of a role's password, as docker-compose.hardened.yml names them: `product_password` of the service,
/// `product_admin_password` of the admin.
pub(super) fn file_of(secrets: &Path, server: &Server, roles: &Roles, role: &str) -> PathBuf {
    let whose = if role == roles.service { "" } else { "_admin" };
    secrets.join(format!("{}{whose}_password", server.label))
}

/// A role as it logs in, by its file; `None`: there is no such file.
pub(super) fn by_file(secrets: &Path, server: &Server, roles: &Roles, role: &str) -> Result<Option<Server>> {
    let file = file_of(secrets, server, roles, role);
    let password_from = file.display().to_string();
    let password = secret_file::read(&file)?;
    Ok(password.map(|password| Server { user: role.to_string(), password, password_from, ..server.clone() }))
}

/// Makes the admin, proven to log in before anything else is changed.
///
/// # Errors
/// Refuses where it cannot log in; it is gone again then.
pub(super) async fn make_admin(
    session: &mut Connection,
    server: &Server,
    secrets: &Path,
    roles: &Roles,
    attribute: &str,
) -> Result<(Login, String)> {
    let role = roles.admin.as_str();
    let file = file_of(secrets, server, roles, role);
    let password = kept_or_new(&file)?;
    make(session, role, attribute, &password).await?;
    if let Err(error) = log_in(server, role, password).await {
        session.run(&sql::drop_role(role)).await?;
        return Err(error);
    }
    let login = Login { role: role.to_string(), file, of_service: false };
    Ok((login, sql::new_role(role, attribute)))
}

/// A superuser for this call alone: nobody renames himself. Its password is nowhere.
///
/// # Errors
/// Refuses where the server does not let in a role that it did not know before; it is gone again then.
pub(super) async fn helper(session: &mut Connection, server: &Server) -> Result<Connection> {
    let password = secret_file::random()?;
    session.run(&sql::drop_role_if_there(HELPER)).await?;
    make(session, HELPER, "SUPERUSER", &password).await?;
    match log_in(server, HELPER, password).await {
        Ok(helper) => Ok(helper),
        Err(error) => {
            session.run(&sql::drop_role(HELPER)).await?;
            Err(error)
        }
    }
}

pub(super) const HELPER: &str = "xtask_harden";

async fn make(session: &mut Connection, role: &str, attribute: &str, password: &SecretString) -> Result<()> {
    let verifier = scram::verifier(password.expose_secret(), &random::bytes()?)?;
    let values = [("role", role), ("attributes", attribute), ("password", &verifier)];
    let queries = sql::generators(sql_file!("harden/login_role.sql"), &values);
    secretly(session, &sql::new_role(role, attribute), &queries).await
}

async fn log_in(server: &Server, role: &str, password: SecretString) -> Result<Connection> {
    match postgres::connect(&Server { user: role.to_string(), password, ..server.clone() }, "harden").await {
        Ok(session) => Ok(session),
        Err(error) => refuse!(
            "a role {role} was made, could not log in, and is gone again: {error:#}. Let new roles in \
             (pg_hba.conf), then rerun the command"
        ),
    }
}

/// Statements that hold a password's verifier, and what is said of them.
pub(super) struct SecretStep {
    pub login: Option<Login>,
    what: String,
    queries: Vec<String>,
}

impl SecretStep {
    /// The role of initdb and the service's part, each with its password: the service keeps its own.
    pub fn renaming(server: &Server, secrets: &Path, roles: &Roles) -> Result<[SecretStep; 2]> {
        let Roles { service, admin, .. } = roles;
        let values = [("service", service.as_str()), ("admin", admin.as_str())];
        let renaming = SecretStep {
            login: None,
            what: sql::renamed_role(service, admin),
            queries: sql::generators(sql_file!("harden/rename.sql"), &values),
        };
        Ok([renaming, SecretStep::password(server, secrets, roles, admin)?])
    }

    /// `None`: its password is not one of the guide's.
    pub async fn rotation(
        server: &Server,
        secrets: &Path,
        roles: &Roles,
        role: &str,
    ) -> Result<Option<SecretStep>> {
        match known_password(server, role).await? {
            KnownPassword::Yes => SecretStep::password(server, secrets, roles, role).map(Some),
            KnownPassword::No | KnownPassword::NoneIsAsked => Ok(None),
        }
    }

    /// The role gets the password of its file.
    fn password(server: &Server, secrets: &Path, roles: &Roles, role: &str) -> Result<SecretStep> {
        let file = file_of(secrets, server, roles, role);
        let password = kept_or_new(&file)?;
        let verifier = scram::verifier(password.expose_secret(), &random::bytes()?);
        let verifier = verifier.with_context(|| format!("the password in {}", file.display()))?;
        let values = [("role", role), ("password", &verifier)];
        let queries = sql::generators(sql_file!("harden/password.sql"), &values);
        let login = Login { role: role.to_string(), file, of_service: role == roles.service };
        Ok(SecretStep { login: Some(login), what: sql::new_password(role), queries })
    }

    pub async fn run(&self, session: &mut Connection) -> Result<String> {
        secretly(session, &self.what, &self.queries).await?;
        Ok(self.what.clone())
    }
}

/// What the file holds, unless it is one of the guide's; else a new one, which is then in the file.
fn kept_or_new(file: &Path) -> Result<SecretString> {
    if let Some(password) = secret_file::read(file)?.filter(|password| !is_of_the_guide(password)) {
        return Ok(password);
    }
    let password = secret_file::random()?;
    secret_file::write(file, &password)?;
    Ok(password)
}

/// Runs what the queries return, and shows none of it.
async fn secretly(session: &mut Connection, what: &str, queries: &[String]) -> Result<()> {
    for query in queries {
        for row in
            session.rows(query).await.map_err(|_| anyhow::anyhow!("{what} could not be put together"))?
        {
            session.run_secret(what, &row.try_get::<String, _>(0)?).await?;
        }
    }
    Ok(())
}
