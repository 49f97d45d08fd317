//! The services after the cut-over: they write rows and documents, and every write is recorded as it is made.

use super::scene::AtWork;
use crate::effects::postgres;
use crate::lab::corruptions::held::{Held, id_of};
use crate::lab::corruptions::raw::{Fields, Raw, ValueType, value};
use crate::model::Database;
use crate::settings::Settings;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use sqlx::Row;
use std::collections::BTreeMap;
use std::slice;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_millis(60);
/// Payments and users that are taken away in one scene, at most.
const DELETED: usize = 5;
/// So many orders are changed again and again, the first ones.
pub const ORDERS: usize = 40;

/// By table or collection and id: the mark that it has to have, None where it has to be away.
pub type Written = BTreeMap<(&'static str, String), Option<String>>;

pub struct Services {
    over: watch::Sender<bool>,
    writing: JoinHandle<Result<Written>>,
}

impl Services {
    /// `users`: documents that are there; `begin`: so long from now.
    pub fn start(
        settings: Settings,
        raw: Raw,
        users: Vec<String>,
        at_work: AtWork,
        begin: Duration,
    ) -> Services {
        let (over, end) = watch::channel(false);
        let writing = tokio::spawn(async move {
            tokio::time::sleep(begin).await;
            match at_work {
                AtWork::All => write(&settings, &raw, &users, &end).await,
                AtWork::UserService => close_accounts(&raw, &users, &end).await,
            }
        });
        Services { over, writing }
    }

    /// What they have written.
    ///
    /// # Errors
    /// Where the tool kept them from it: nothing may, after a cut-over.
    pub async fn stop(self) -> Result<Written> {
        self.over.send_replace(true);
        self.writing.await.context("the services ended unexpectedly")?
    }
}

async fn write(
    settings: &Settings,
    raw: &Raw,
    users: &[String],
    over: &watch::Receiver<bool>,
) -> Result<Written> {
    let mut order = postgres::connect(settings.target(Database::Order), "services").await?;
    let mut gateway = postgres::connect(settings.target(Database::Gateway), "services").await?;
    let mut written = Written::new();
    let (mut users, mut round) = (users.iter(), 0);
    loop {
        round += 1;
        let (mark, id) = (format!("service {round}"), (1 + round % ORDERS).to_string());
        let update = sql::bind(sql_file!("chaos/service_update.sql"), &[("mark", &mark), ("id", &id)]);
        if !order.rows(&update).await?.is_empty() {
            written.insert(("orders", id), Some(mark.clone()));
        }
        let insert = sql::bind(sql_file!("chaos/service_insert.sql"), &[("mark", &mark)]);
        let id: i32 = gateway.row(&insert).await?.try_get(0)?;
        written.insert(("analytics_events", id.to_string()), Some(mark));
        if round <= DELETED {
            let id = round.to_string();
            let delete = sql::bind(sql_file!("chaos/service_delete.sql"), &[("id", &id)]);
            order.run(&delete).await?;
            written.insert(("payments", id), None);
        }
        documents(raw, &mut users, round, &mut written).await?;
        if *over.borrow() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    order.close().await?;
    gateway.close().await?;
    Ok(written)
}

/// People close their accounts. Whoever only looks whether something stands where it should not sees nothing.
async fn close_accounts(raw: &Raw, users: &[String], over: &watch::Receiver<bool>) -> Result<Written> {
    let mut written = Written::new();
    for id in users {
        raw.write("users", &[(id.clone(), None)]).await?;
        written.insert(("users", id.clone()), None);
        if *over.borrow() {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(written)
}

/// A user more, and in the first rounds one that goes and one that is changed.
async fn documents(
    raw: &Raw,
    users: &mut slice::Iter<'_, String>,
    round: usize,
    written: &mut Written,
) -> Result<()> {
    let mark = format!("service {round}");
    let fields = [("email".to_string(), value(ValueType::StringValue(mark.clone())))];
    let id = format!("service-{round}");
    raw.write("users", &[(id.clone(), Some(fields.clone().into()))]).await?;
    written.insert(("users", id), Some(mark.clone()));
    if round > DELETED {
        return Ok(());
    }
    if let Some(id) = users.next() {
        raw.write("users", &[(id.clone(), None)]).await?;
        written.insert(("users", id.clone()), None);
    }
    if let Some(id) = users.next() {
        raw.write("users", &[(id.clone(), Some(fields.into()))]).await?;
        written.insert(("users", id.clone()), Some(mark));
    }
    Ok(())
}

fn says(fields: &Fields, mark: &str) -> bool {
    let is = |value: &ValueType| matches!(value, ValueType::StringValue(text) if text == mark);
    fields.values().any(|field| field.value_type.as_ref().is_some_and(is))
}

/// Whether a row or document has a mark; None: it is not there.
pub fn has_mark(now: &Held, place: &str, id: &str, mark: &str) -> Option<bool> {
    match now.documents.get(place) {
        Some(documents) => documents.get(id).map(|fields| says(fields, mark)),
        None => {
            let row = now.rows_of(place).iter().find(|row| id_of(row) == id);
            row.map(|row| row.iter().any(|value| value.as_deref() == Some(mark)))
        }
    }
}

/// Writes that are not there as they were made: a line each.
pub fn lost(now: &Held, written: &Written) -> Vec<String> {
    let mut lines = Vec::new();
    for ((place, id), mark) in written {
        match (mark, has_mark(now, place, id, mark.as_deref().unwrap_or_default())) {
            (None, None) | (Some(_), Some(true)) => {}
            (None, Some(_)) => lines.push(format!("LOST: {place}/{id} was deleted by a service and is back")),
            (Some(mark), _) => lines.push(format!("LOST: {place}/{id} does not have `{mark}`")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_is_undone_is_seen() {
        let mut now = Held::default();
        let row = |id: &str, mark: &str| vec![Some(id.to_string()), Some(mark.to_string())];
        now.rows.insert("orders", vec![row("1", "service 1"), row("2", "of before")]);
        let fields: Fields =
            [("email".to_string(), value(ValueType::StringValue("service 3".into())))].into();
        now.documents.insert("users", [("a".to_string(), fields)].into());
        let written = |place, id: &str, mark: Option<&str>| -> Written {
            [((place, id.to_string()), mark.map(String::from))].into()
        };
        for (place, id, mark, is_lost) in [
            ("orders", "1", Some("service 1"), false),
            ("orders", "2", Some("service 2"), true),
            ("orders", "3", Some("service 2"), true),
            ("orders", "3", None, false),
            ("orders", "2", None, true),
            ("users", "a", Some("service 3"), false),
            ("users", "a", Some("service 4"), true),
            ("users", "a", None, true),
            ("users", "b", None, false),
        ] {
            assert_eq!(!lost(&now, &written(place, id, mark)).is_empty(), is_lost, "{place} {id} {mark:?}");
        }
    }
}
