//! A service of the old shop: it writes to the source, as a role that a freeze keeps out, until it is kept out;
//! what it was told is committed has to be in the new stores once the services have taken over.

use crate::effects::postgres::{self, Connection};
use crate::settings::Server;
use crate::{sql, sql_file};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_millis(60);

/// A write that the source has said is committed.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Of an order.
    pub id: String,
    pub mark: String,
    pub at: Instant,
}

#[derive(Clone, Debug, Default)]
pub struct OldShopWrites {
    pub committed: Vec<Commit>,
    /// Writes that failed: the source was held back, or on its way there.
    pub refused: usize,
}

pub struct OldShop {
    over: watch::Sender<bool>,
    writing: JoinHandle<OldShopWrites>,
}

impl OldShop {
    /// `source`: as the role that is kept out; `orders`: those that it changes; `begin`: so long from now.
    pub fn start(source: Server, orders: Vec<String>, begin: Duration) -> OldShop {
        let (over, end) = watch::channel(false);
        let writing = tokio::spawn(async move {
            tokio::time::sleep(begin).await;
            write(&source, &orders, &end).await
        });
        OldShop { over, writing }
    }

    pub async fn stop(self) -> Result<OldShopWrites> {
        self.over.send_replace(true);
        self.writing.await.context("the service of the old shop ended unexpectedly")
    }
}

async fn write(source: &Server, orders: &[String], over: &watch::Receiver<bool>) -> OldShopWrites {
    let mut writes = OldShopWrites::default();
    let mut session: Option<Connection> = None;
    for (round, id) in orders.iter().cycle().enumerate() {
        if *over.borrow() {
            break;
        }
        let mark = format!("old shop {round}");
        match one(source, session.take(), id, &mark).await {
            Ok(connection) => {
                writes.committed.push(Commit { id: id.clone(), mark, at: Instant::now() });
                session = Some(connection);
            }
            // Whether it was kept out, or ended in the middle: it was never told that this is committed.
            Err(_) => writes.refused += 1,
        }
        tokio::time::sleep(PAUSE).await;
    }
    writes
}

async fn one(source: &Server, session: Option<Connection>, id: &str, mark: &str) -> Result<Connection> {
    let mut connection = match session {
        Some(connection) => connection,
        None => postgres::connect(source, "services").await?,
    };
    let update = sql::bind(sql_file!("chaos/service_update.sql"), &[("mark", mark), ("id", id)]);
    anyhow::ensure!(!connection.rows(&update).await?.is_empty(), "order {id} is not in the source");
    Ok(connection)
}
