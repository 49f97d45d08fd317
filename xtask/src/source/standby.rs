//! A source that is a standby: all of it can be read, as far as it has been replayed; it cannot be held back, and
//! its primary goes on writing.

use crate::effects::postgres::Connection;
use crate::sql_file;
use anyhow::Result;
use sqlx::Row;

pub struct Standby {
    /// What it had replayed when it was asked, in words.
    pub replayed: String,
    /// The tables whose rows it does not have.
    pub unlogged: Option<String>,
}

/// `None`: the source is none.
pub async fn look(connection: &mut Connection) -> Result<Option<Standby>> {
    let row = connection.row(sql_file!("phases/1-backup/standby.sql").text).await?;
    if !row.try_get::<bool, _>("is_standby")? {
        return Ok(None);
    }
    let replayed = match row.try_get::<Option<String>, _>("replayed")? {
        Some(until) => format!("what was committed until {until}"),
        None => "nothing since it was started".to_string(),
    };
    Ok(Some(Standby { replayed, unlogged: row.try_get("unlogged")? }))
}
