//! Whether the versions of then and of now stand on one unbroken history.

use crate::effects::postgres::Connection;
use crate::remembered::{History, Unbroken};
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;

/// The history that this database's versions stand on, by how long its server has been running; or why they
/// tell nothing.
pub async fn history(connection: &mut Connection) -> Result<Result<History, String>> {
    let row = connection.row(sql_file!("phases/changes/history.sql").text).await?;
    if let Some(extensions) = row.try_get::<Option<String>, _>("moved_by")? {
        return Ok(Err(format!("the extension {extensions} moves rows with their versions")));
    }
    let Some(timeline) = row.try_get("timeline")? else {
        return Ok(Err("the server is a standby".to_string()));
    };
    Ok(Ok(History {
        system: row.try_get("system")?,
        timeline,
        database: row.try_get("database")?,
        role: row.try_get("role")?,
        unbroken: Unbroken::Started(row.try_get("started")?),
    }))
}

/// The history of now, where it is still that of then; else why not.
pub async fn unbroken(connection: &mut Connection, then: &History) -> Result<Result<History, String>> {
    let now = match history(connection).await? {
        Ok(now) => now,
        Err(why) => return Ok(Err(why)),
    };
    let same = |what: &str, then: &str, now: &str| match then == now {
        true => Ok(()),
        false => Err(format!("the {what} is {now}, and was {then}")),
    };
    let compared = same("cluster", &then.system, &now.system)
        .and_then(|()| same("timeline", &then.timeline, &now.timeline))
        .and_then(|()| same("database's OID", &then.database.to_string(), &now.database.to_string()))
        .and_then(|()| same("role", &then.role, &now.role));
    if let Err(why) = compared {
        return Ok(Err(why));
    }
    Ok(match &then.unbroken {
        Unbroken::Nonce(nonce) if !has_nonce(connection, nonce).await? => {
            Err("what was committed then is not there: the server was put back".to_string())
        }
        Unbroken::Started(_) if then.unbroken != now.unbroken => {
            Err("the server was started again".to_string())
        }
        _ => Ok(now),
    })
}

async fn has_nonce(connection: &mut Connection, nonce: &str) -> Result<bool> {
    let there: bool = connection.row("SELECT to_regclass('xtask.instants') IS NOT NULL").await?.try_get(0)?;
    if !there {
        return Ok(false);
    }
    connection.row(&sql::has_nonce(nonce)).await?.try_get(0).context("looking for a nonce")
}

/// Everything that was seen so far is on disk: a commit after it has to be, and it comes first. Writes no row; the
/// number of its transaction.
///
/// # Errors
/// In words, where that cannot be made sure.
pub async fn flushed(connection: &mut Connection) -> Result<Result<u64, String>> {
    let emitted = async {
        connection.run(sql::BEGIN_TO_EMIT).await?;
        let number: String = connection.row(sql::EMIT).await?.try_get(0)?;
        connection.run("COMMIT").await?;
        number.parse().context("the number of a transaction")
    };
    match emitted.await {
        Ok(number) => Ok(Ok(number)),
        Err(error) => {
            // In the middle of its transaction.
            connection.run("ROLLBACK").await?;
            Ok(Err(format!("it cannot be made sure that what was seen is on disk: {error:#}")))
        }
    }
}

/// The same where this tool may write: leaves a row behind, by which the history is known after a restart, too.
///
/// # Errors
/// In words, where it may not.
pub async fn marked(connection: &mut Connection, nonce: &str) -> Result<Result<(), String>> {
    let mark = sql::bind(sql_file!("phases/changes/mark.sql"), &[("nonce", nonce)]);
    let written =
        connection.run(&format!("BEGIN; SET LOCAL synchronous_commit = 'local';\n{mark}\nCOMMIT")).await;
    if let Err(error) = written {
        connection.run("ROLLBACK").await?;
        return Ok(Err(format!("no row could be left in xtask.instants: {error:#}")));
    }
    Ok(Ok(()))
}
