//! Sessions that have nothing to do, for whoever needs one next.
//!
//! What was learnt: a session costs as much as reading ten thousand rows (a process, a password, settings, and
//! the catalogue, which each reads for itself), so that of small tables it costs more than their rows.

use super::postgres::Connection;
use anyhow::Result;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Of one server, all alike. Dropping it ends them.
#[derive(Default)]
pub struct Idle(Mutex<Vec<Connection>>);

impl Idle {
    /// One that is idle, else the one that `open` makes.
    pub async fn take(&self, open: impl Future<Output = Result<Connection>>) -> Result<Connection> {
        let idle = self.sessions().pop();
        match idle {
            Some(session) => Ok(session),
            None => open.await,
        }
    }

    /// For sessions whose statement has come to its end; one that failed is dropped.
    pub fn put(&self, session: Connection) {
        self.sessions().push(session);
    }

    /// Ends those that are idle.
    pub async fn end(&self) -> Result<()> {
        let idle = std::mem::take(&mut *self.sessions());
        for session in idle {
            session.close().await?;
        }
        Ok(())
    }

    fn sessions(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
