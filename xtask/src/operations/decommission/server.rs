//! The old database seen from another one of its server, so that looking at it is no session in it; and what is changed
//! of it from there.

use super::record::{Closed, Record, Revoked, Sample};
use crate::effects::own_sessions;
use crate::effects::postgres::Connection;
use crate::identity::{DatabaseIdentity, ServerName};
use crate::run::ctx::Ctx;
use crate::run::manifest::Manifest;
use crate::source::restore;
use crate::{refuse, sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use sqlx::postgres::PgRow;

const CONNECT: &str = "CONNECT";

/// A session beside the old database, which the run knows by its cluster and number.
pub(super) struct Old {
    pub connection: Connection,
    /// As the environment names it.
    pub database: String,
    oid: i64,
}

/// What there is of it now.
pub(super) struct There {
    /// What it is called.
    pub name: String,
    pub sample: Sample,
}

/// What this role lacks, and who may log in beside it.
pub(super) struct Rights {
    pub lacks: Option<String>,
    pub let_in: Vec<String>,
}

impl Old {
    /// # Errors
    /// Refuses a server that is not the run's.
    pub async fn open(ctx: &Ctx, manifest: &Manifest) -> Result<Old> {
        let Some(recorded) = manifest.servers.databases.get(&ServerName::Source) else {
            refuse!("run {} does not say which database was its source", ctx.run.id());
        };
        let (connection, _) = restore::beside(ctx, "decommission").await?;
        let database = ctx.settings.source.database.clone();
        let mut old = Old { connection, database, oid: recorded.oid };
        old.is_the_runs(ctx, recorded).await?;
        Ok(old)
    }

    async fn is_the_runs(&mut self, ctx: &Ctx, recorded: &DatabaseIdentity) -> Result<()> {
        let row = self.connection.row(sql_file!("phases/restore/server.sql").text).await?;
        let system: String = row.try_get("system")?;
        if system != recorded.system {
            let source = &ctx.settings.source;
            refuse!(
                "{}:{} is another cluster than the one that run {} worked on (found then at {}:{}): name the right \
                 one with --env or --stack",
                source.host,
                source.port,
                ctx.run.id(),
                recorded.host,
                recorded.port
            );
        }
        Ok(())
    }

    /// `None`: it is gone.
    pub async fn look(&mut self) -> Result<Option<There>> {
        let oid = self.oid.to_string();
        let query = sql::bind(sql_file!("decommission/sample.sql"), &[("oid", &oid)]);
        let rows = self.connection.rows(&query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let name: String = row.try_get("name")?;
        let sample = Sample {
            at: row.try_get("at")?,
            sessions: row.try_get("sessions")?,
            commits: row.try_get("commits")?,
            reset: row.try_get("reset")?,
            others: self.others(&name).await?,
        };
        Ok(Some(There { name, sample }))
    }

    async fn others(&mut self, database: &str) -> Result<Vec<String>> {
        let own = sql::array(own_sessions::keys().iter().map(String::as_str));
        let values =
            [("database", database), ("from", "-infinity"), ("to", "infinity"), ("own", own.as_str())];
        let query = sql::bind(sql_file!("phases/freeze/sessions.sql"), &values);
        let line = |row: &PgRow| {
            let (pid, role): (i32, String) = (row.try_get("pid")?, row.try_get("role")?);
            let application: String = row.try_get("application")?;
            let application = if application.is_empty() { application } else { format!(" ({application})") };
            Ok(format!("session {pid} of {role}{application}"))
        };
        self.connection.rows(&query).await?.iter().map(line).collect()
    }

    /// What would be left behind by another name: a line each.
    pub async fn hanging(&mut self, database: &str) -> Result<Vec<String>> {
        let query = sql::bind(sql_file!("phases/restore/hanging.sql"), &[("database", database)]);
        let line = |row: &PgRow| {
            Ok(format!("{}: {}", row.try_get::<String, _>("what")?, row.try_get::<String, _>("fix")?))
        };
        self.connection.rows(&query).await?.iter().map(line).collect()
    }

    pub async fn rights(&mut self, database: &str) -> Result<Rights> {
        let query = sql::bind(sql_file!("decommission/rights.sql"), &[("database", database)]);
        let row = self.connection.row(&query).await?;
        Ok(Rights { lacks: row.try_get("lacks")?, let_in: row.try_get("let_in")? })
    }

    /// Nobody is let in any more by PUBLIC, nor by the services' roles; what was is written down before.
    pub async fn close(&mut self, ctx: &Ctx) -> Result<Closed> {
        let properties = restore::properties(&mut self.connection, &self.database).await?;
        let properties = properties.with_context(|| format!("{} is gone", self.database))?;
        let (roles, me) = (ctx.settings.frozen_roles(), &ctx.settings.source.user);
        let taken = |grantee: &Option<String>| match grantee {
            None => true,
            Some(role) => roles.contains(role) && role != me,
        };
        let connect = properties.grants.into_iter().filter(|grant| grant.privilege == CONNECT);
        let connect: Vec<_> = connect.collect();
        let ours = !connect.iter().any(|grant| grant.grantee.as_ref() == Some(me));
        let revoked = connect.into_iter().filter(|grant| taken(&grant.grantee));
        let revoked: Vec<Revoked> =
            revoked.map(|grant| Revoked { role: grant.grantee, grantable: grant.grantable }).collect();
        let closed = Closed { at: crate::run::dir::now(), revoked, ours };
        Record::change(&ctx.run, |record| record.closed = Some(closed.clone()))?;
        let statements =
            closed.revoked.iter().map(|one| sql::revoke_connect(&self.database, one.role.as_deref()));
        // By PUBLIC this role, too, may have been let in.
        let stay_in = ours.then(|| sql::grant_connect(&self.database, Some(me), false));
        let statements: Vec<String> = stay_in.into_iter().chain(statements).collect();
        self.connection.run(&sql::in_one_transaction(&statements)).await?;
        Ok(closed)
    }

    /// Lets them in again.
    pub async fn open_again(&mut self, closed: &Closed, me: &str) -> Result<()> {
        let grants = closed.revoked.iter();
        let grants = grants.map(|one| sql::grant_connect(&self.database, one.role.as_deref(), one.grantable));
        let ours = closed.ours.then(|| sql::revoke_connect(&self.database, Some(me)));
        let statements: Vec<String> = grants.chain(ours).collect();
        self.connection.run(&sql::in_one_transaction(&statements)).await
    }

    pub async fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        let renamed = self.connection.run(&sql::rename_database(from, to)).await;
        renamed.with_context(|| format!("{from} keeps its name; who is in it: {}", sql::who_is_in(from)))
    }

    pub async fn drop(&mut self, name: &str) -> Result<()> {
        let dropped = self.connection.run(&sql::drop_if_nobody_is_in(name)).await;
        dropped.with_context(|| format!("{name} is not dropped; who is in it: {}", sql::who_is_in(name)))
    }
}
