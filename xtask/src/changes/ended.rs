//! Whether any transaction has ended since an instant: where none has, every row is what it was, whatever the tables'
//! size. Where one has, nothing is told: it may have been another database's.

use super::history::unbroken;
use crate::effects::postgres::Connection;
use crate::remembered::History;
use crate::sql;
use anyhow::{Context, Result};
use sqlx::Row;

/// Which transactions of a server have ended, as one instant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// None that has begun with this one or later.
    next: u64,
    /// Nor these, which began before.
    running: String,
}

impl Ended {
    /// As the open transaction sees it.
    pub async fn seen(connection: &mut Connection) -> Result<Ended> {
        let seen: String = connection.row(sql::SNAPSHOT).await?.try_get(0)?;
        let ended = Ended::read(&seen);
        ended.with_context(|| format!("pg_current_snapshot says \"{seen}\", which is not xmin:xmax:xip_list"))
    }

    fn read(snapshot: &str) -> Option<Ended> {
        let mut parts = snapshot.splitn(3, ':').skip(1);
        Some(Ended { next: parts.next()?.parse().ok()?, running: parts.next()?.to_string() })
    }

    /// The same with this one, too, which is our own; `None`: it was not the next, so others have begun in between.
    pub fn with(self, own: u64) -> Option<Ended> {
        (own == self.next).then_some(Ended { next: own + 1, ..self })
    }
}

/// Whether no transaction has ended since, on one unbroken history. What was seen then has to be on disk: after a crash
/// the numbers of what it undid are given again.
pub async fn none_ended_since(connection: &mut Connection, history: &History, then: &Ended) -> Result<bool> {
    Ok(unbroken(connection, history).await?.is_ok() && Ended::seen(connection).await? == *then)
}

#[cfg(test)]
mod tests {
    use super::Ended;

    #[test]
    fn one_that_was_not_the_next_hides_others() {
        let ended = |text: &str| Ended::read(text).unwrap();
        assert_eq!(Ended::read("98:101"), None);
        assert_eq!(ended("101:101:").with(101), Some(ended("102:102:")));
        assert_eq!(ended("98:101:98,99").with(101), Some(ended("98:102:98,99")));
        assert_eq!(ended("101:101:").with(102), None, "101 has begun, and may have ended");
        assert_ne!(ended("98:101:98,99"), ended("99:101:99"), "98 has ended");
    }
}
