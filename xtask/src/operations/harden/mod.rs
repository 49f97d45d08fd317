//! Hardening (guide, Post-Migration 4): the services' roles can read and write rows and nothing else, what owns and
//! changes tables is an admin of its own, nobody comes in who is not named, and no password is one that everybody
//! knows. What is forbidden is tried. What SQL cannot change is said with what to do.

mod firestore;
mod logins;
mod look;
mod outcome;
mod rights;
mod roles;
mod scram;

pub use outcome::{Hardened, Mode, NamedRoles, Outcome, Weakness};

use crate::effects::own_sessions;
use crate::effects::postgres::{self, Connection};
use crate::model::{Database, refused};
use crate::refuse;
use crate::run::ctx::Ctx;
use crate::run::lock::{self, Locks};
use crate::run::lock_waits;
use crate::settings::Server;
use crate::steps::StepName;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use logins::SecretStep;
use outcome::{Lines, Login};
use roles::{Change, Facts, Roles};
use secrecy::SecretString;
use sqlx::Row;
use std::path::PathBuf;
use std::time::Instant;

pub struct Wanted {
    pub mode: Mode,
    pub databases: Vec<Database>,
    /// Firestore's rules, where it is among the stores.
    pub rules: Option<PathBuf>,
    /// Where they are not the guide's.
    pub roles: NamedRoles,
    /// Who changes rights, where the environment's role may not; with its password, where it is another one.
    pub executor: Option<(String, Option<SecretString>)>,
    /// Where passwords are written to.
    pub secrets: PathBuf,
    /// What was found of the machine that the servers run on.
    pub published: Vec<Weakness>,
}

/// # Errors
/// Refuses, where nothing has been changed yet in a database; what remains to be done is in the outcome.
pub async fn run(ctx: &Ctx, wanted: &Wanted) -> Result<Outcome> {
    if wanted.mode == Mode::Look {
        return all(ctx, wanted).await;
    }
    // Roles change their names, and sessions are ended.
    let servers = wanted.databases.iter().map(|database| ctx.settings.target(*database));
    if let Some(line) = lock::others(ctx, servers).await?.first() {
        refuse!("{line}. Wait until it has ended, and rerun the command");
    }
    // By whoever changes rights: of two who do that at once, one would take away what the other has made.
    let executors = wanted.databases.iter().map(|database| executor(ctx.settings.target(*database), wanted));
    let executors: Vec<Server> = executors.collect();
    let locks = Locks::these(&ctx.purpose("lock"), &executors).await?;
    let step = ctx.run.step(StepName::Harden)?;
    let outcome = all(ctx, wanted).await?;
    locks.release().await;
    match outcome.findings() {
        0 => step.done(&outcome.summary())?,
        _ => step.failed(&outcome.summary())?,
    }
    Ok(outcome)
}

/// All stores.
async fn all(ctx: &Ctx, wanted: &Wanted) -> Result<Outcome> {
    let began = Instant::now();
    let mut hardened = Vec::new();
    for database in &wanted.databases {
        ctx.terminal.phase(&format!("Harden: {}", ctx.settings.target(*database)));
        hardened.push(Box::pin(one(ctx, wanted, *database)).await?);
    }
    let mut stores = Vec::new();
    for ((mut store, roles), database) in hardened.into_iter().zip(&wanted.databases) {
        // What one of them has closed is no finding of another on the same server any more.
        if wanted.mode == Mode::Apply {
            look_again(ctx, wanted, *database, &roles, &mut store).await?;
        }
        stores.push(store);
    }
    if let Some(rules) = &wanted.rules {
        ctx.terminal.phase("Harden: what clients may do in Firestore");
        stores.push(firestore::harden(&ctx.settings.firestore, wanted.mode, rules).await?);
    }
    for weakness in &wanted.published {
        if let Some(store) = stores.iter_mut().find(|store| store.store == weakness.store) {
            store.add(weakness.clone());
        }
    }
    Ok(Outcome { mode: wanted.mode, stores, seconds: began.elapsed().as_secs_f64() })
}

/// One database: looked at, and, where that is wanted, hardened.
async fn one(ctx: &Ctx, wanted: &Wanted, database: Database) -> Result<(Hardened, Roles)> {
    let server = ctx.settings.target(database);
    let executor = executor(server, wanted);
    let mut session = postgres::connect(&executor, &ctx.purpose("harden")).await.map_err(refused)?;
    let roles = roles(&mut session, server, wanted, database).await?;
    let mut result = Hardened::new(database);
    if wanted.mode == Mode::Look {
        foresee(&mut session, server, &roles, &mut result).await?;
        result.environment = environment(server, wanted, &roles, &[]);
        session.close().await?;
        return Ok((result, roles));
    }
    let mut secret_steps = Vec::new();
    if let Change::Make(attribute) = roles.change {
        let made = logins::make_admin(&mut session, server, &wanted.secrets, &roles, attribute).await?;
        result.logins.push(made.0);
        result.statements.push(made.1);
    }
    if roles.change == Change::Rename {
        secret_steps.extend(SecretStep::renaming(server, &wanted.secrets, &roles)?);
    }
    for role in who_logs_in(&roles) {
        secret_steps.extend(SecretStep::rotation(server, &wanted.secrets, &roles, role).await?);
    }
    let given = match roles.change {
        Change::Rename => {
            renamed(server, &executor, session, &roles, &secret_steps, wanted, &mut result).await
        }
        Change::Nothing | Change::Make(_) => {
            let given = rights::give(&mut session, server, &roles, &secret_steps, &mut result).await;
            match given {
                Ok(()) => session.close().await,
                Err(error) => {
                    // The transaction goes with the connection; and nothing else is left behind.
                    drop(session);
                    if matches!(roles.change, Change::Make(_)) {
                        let mut session = postgres::connect(&executor, &ctx.purpose("harden")).await?;
                        session.run(&sql::drop_role(&roles.admin)).await?;
                    }
                    Err(error)
                }
            }
        }
    };
    if let Err(error) = given {
        return Err(lock_waits::explained(ctx, &executor, error).await);
    }
    result.logins.extend(secret_steps.into_iter().filter_map(|step| step.login));
    result.environment = environment(server, wanted, &roles, &result.logins);
    Ok((result, roles))
}

/// What a look says of one database.
async fn foresee(
    session: &mut Connection,
    server: &Server,
    roles: &Roles,
    result: &mut Hardened,
) -> Result<()> {
    look::look(session, server, roles, result).await?;
    passwords(server, roles, result).await?;
    match roles.change {
        Change::Nothing => {}
        Change::Make(attribute) => {
            result.statements.push(sql::new_role(&roles.admin, attribute));
        }
        Change::Rename => result.statements.push(sql::renamed_role(&roles.service, &roles.admin)),
    }
    result.statements.extend(rights::foreseen(session, roles).await?);
    Ok(())
}

/// The role of initdb is renamed, by somebody else; the sessions that are still its own are ended.
async fn renamed(
    server: &Server,
    executor: &Server,
    mut session: Connection,
    roles: &Roles,
    steps: &[SecretStep],
    wanted: &Wanted,
    result: &mut Hardened,
) -> Result<()> {
    let mut helper = logins::helper(&mut session, server).await?;
    session.close().await?;
    let given = rights::give(&mut helper, server, roles, steps, result).await;
    // Where it failed, the transaction goes with the connection, and everybody is who he was.
    drop(helper);
    let after = match &given {
        Ok(()) => logins::by_file(&wanted.secrets, server, roles, &roles.admin)?,
        Err(_) => None,
    };
    let after = after.unwrap_or_else(|| executor.clone());
    let mut session = postgres::connect(&after, "harden")
        .await
        .with_context(|| format!("{} has to end what harden has begun: rerun the command", after.user))?;
    if given.is_ok() {
        let own = sql::array(own_sessions::keys().iter().map(String::as_str));
        let values = [("admin", roles.admin.as_str()), ("own", own.as_str())];
        let sessions = sql::bind(sql_file!("harden/sessions.sql"), &values);
        result.ended = session.rows(&sessions).await?.len();
    }
    session.run(&sql::drop_role_if_there(logins::HELPER)).await?;
    session.close().await?;
    given
}

/// Who changes rights: the environment's role, or the one that was named.
fn executor(server: &Server, wanted: &Wanted) -> Server {
    let Some((user, password)) = &wanted.executor else { return server.clone() };
    let password = password.clone().unwrap_or_else(|| server.password.clone());
    Server { user: user.clone(), password, ..server.clone() }
}

async fn roles(
    session: &mut Connection,
    server: &Server,
    wanted: &Wanted,
    database: Database,
) -> Result<Roles> {
    let service = wanted.roles.get(&database).cloned().unwrap_or_else(|| roles::of_guide(database));
    let admin = roles::admin_of(database, &server.user, &service);
    let values = [("service", service.as_str()), ("admin", admin.as_str())];
    let row = session.row(&sql::bind(sql_file!("harden/facts.sql"), &values)).await?;
    if !row.try_get::<bool, _>("service_is_there")? {
        refuse!(
            "{server} has no role {service}: by which one does the {} log in? Say --role {database}=NAME",
            database.service()
        );
    }
    let facts = Facts {
        is_bootstrap: row.try_get("service_is_bootstrap")?,
        is_superuser: row.try_get("service_is_superuser")?,
        admin_is_there: row.try_get("admin_is_there")?,
        other_superuser: row.try_get("other_superuser")?,
    };
    let Some(roles) = Roles::of(database, &server.database, &server.user, &service, &facts) else {
        refuse!(
            "{server}: {service} is the role that initdb has made, and has to become the admin under the name {admin}; \
             that name is taken. Drop or rename that role; then rerun the command"
        );
    };
    if wanted.mode == Mode::Apply
        && roles.change != Change::Nothing
        && !row.try_get::<bool, _>("may_do_all")?
    {
        refuse!(
            "a role {admin} has to be made on {server}, and this one may not. Rerun the command with \
             --as SUPERUSER --as-password-file FILE"
        );
    }
    Ok(roles)
}

fn who_logs_in(roles: &Roles) -> [&str; 2] {
    [&roles.service, &roles.admin]
}

async fn passwords(server: &Server, roles: &Roles, result: &mut Hardened) -> Result<()> {
    for role in who_logs_in(roles) {
        let known = look::known_password(server, role).await?;
        look::of_known_password(server, role, known).into_iter().for_each(|found| result.add(found));
    }
    Ok(())
}

/// As the admin where the tool is to be that one from now on: it proves that it can.
async fn look_again(
    ctx: &Ctx,
    wanted: &Wanted,
    database: Database,
    roles: &Roles,
    result: &mut Hardened,
) -> Result<()> {
    let server = ctx.settings.target(database);
    let as_admin = match (&wanted.executor, &result.environment) {
        (None, Some(_)) => logins::by_file(&wanted.secrets, server, roles, &roles.admin)?,
        _ => None,
    };
    let who = as_admin.unwrap_or_else(|| executor(server, wanted));
    let mut session = postgres::connect(&who, &ctx.purpose("harden")).await?;
    look::look(&mut session, server, roles, result).await?;
    passwords(server, roles, result).await?;
    session.close().await
}

/// What the environment's file has to say, where the tool was the service's role so far, or its own has got another
/// password.
fn environment(server: &Server, wanted: &Wanted, roles: &Roles, logins: &[Login]) -> Option<Lines> {
    if roles.admin == server.user && !logins.iter().any(|login| login.role == roles.admin) {
        return None;
    }
    let file = logins::file_of(&wanted.secrets, server, roles, &roles.admin);
    let lines = vec![
        format!("user = {:?}", roles.admin),
        format!("password = {{ file = {:?} }}", file.display().to_string()),
    ];
    Some(Lines { table: format!("targets.{}", server.label), lines })
}
