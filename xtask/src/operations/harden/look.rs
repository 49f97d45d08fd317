//! What is weak on one server: asked of its catalogue and its settings, of the environment, and of the passwords
//! that everybody knows. Changes nothing.

use super::outcome::{Hardened, Weakness};
use super::roles::Roles;
use crate::effects::postgres::{self, Connection};
use crate::effects::secret_file;
use crate::settings::{Server, Tls};
use crate::{sql, sql_file};
use anyhow::Result;
use secrecy::{ExposeSecret, SecretString};
use sqlx::Row;

/// Those of the guide: no others are tried.
const OF_THE_GUIDE: [&str; 4] = ["product_pass", "order_pass", "gateway_pass", "postgres"];

pub(super) fn is_of_the_guide(password: &SecretString) -> bool {
    OF_THE_GUIDE.contains(&password.expose_secret())
}

/// SQLSTATE of what a role may not do.
pub(super) const REFUSED: &str = "42501";

/// Adds what it finds to the store's result.
pub(super) async fn look(
    session: &mut Connection,
    server: &Server,
    roles: &Roles,
    into: &mut Hardened,
) -> Result<()> {
    let values = [("service", roles.service.as_str()), ("admin", roles.admin.as_str())];
    let rights = session.rows(&sql::bind(sql_file!("harden/look.sql"), &values)).await?;
    let entrances = match session.rows(&sql::bind(sql_file!("harden/hba.sql"), &[])).await {
        Ok(rows) => rows,
        Err(error) if postgres::code(&error).as_deref() == Some(REFUSED) => {
            into.add(Weakness {
                store: server.label.clone(),
                cis: Some("5.9".into()),
                what: "pg_hba.conf was not looked at, only a superuser sees it".into(),
                todo: Some("cargo xtask harden --dry-run --as SUPERUSER".into()),
                weighs: false,
            });
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    for row in rights.iter().chain(&entrances) {
        into.add(Weakness {
            store: server.label.clone(),
            cis: Some(row.try_get("cis")?),
            what: row.try_get("what")?,
            todo: row.try_get("todo")?,
            weighs: row.try_get("weighs")?,
        });
    }
    if server.tls == Tls::Disable {
        into.add(Weakness {
            store: server.label.clone(),
            cis: Some("6.8".into()),
            what: format!("the environment's file says tls = {:?}", server.tls.mode()),
            todo: Some("write tls = \"verify-full\" and tls_root there, once the server has ssl = on".into()),
            weighs: true,
        });
    }
    Ok(())
}

/// Whom a password that everybody knows lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KnownPassword {
    No,
    Yes,
    /// Any password does: the server asks for none.
    NoneIsAsked,
}

/// Tries to log in as this role with the guide's passwords.
///
/// # Errors
/// Where the server could not be asked.
pub(super) async fn known_password(server: &Server, role: &str) -> Result<KnownPassword> {
    let mut any = false;
    for password in OF_THE_GUIDE {
        any |= lets_in(server, role, password.into()).await?;
    }
    if !any {
        return Ok(KnownPassword::No);
    }
    let asked = !lets_in(server, role, secret_file::random()?).await?;
    Ok(if asked { KnownPassword::Yes } else { KnownPassword::NoneIsAsked })
}

async fn lets_in(server: &Server, role: &str, password: SecretString) -> Result<bool> {
    let server = Server { user: role.to_string(), password, ..server.clone() };
    match postgres::connect(&server, "harden").await {
        Ok(session) => {
            session.close().await?;
            Ok(true)
        }
        Err(error) => match postgres::code(&error).as_deref() {
            // The password is right, and the database closed to the role.
            Some(REFUSED) => Ok(true),
            // Class 28: the password is wrong, or nobody comes in like this.
            Some(code) if code.starts_with("28") => Ok(false),
            _ => Err(error),
        },
    }
}

pub(super) fn of_known_password(server: &Server, role: &str, known: KnownPassword) -> Option<Weakness> {
    let (cis, what, todo) = match known {
        KnownPassword::No => return None,
        KnownPassword::Yes => (None, format!("the password of {role} is one of the guide's"), None),
        KnownPassword::NoneIsAsked => {
            let todo =
                "write scram-sha-256 in the place of trust in pg_hba.conf, then SELECT pg_reload_conf()";
            (
                Some("5.8".to_string()),
                format!("the server asks {role} for no password"),
                Some(todo.to_string()),
            )
        }
    };
    Some(Weakness { store: server.label.clone(), cis, what, todo, weighs: true })
}
