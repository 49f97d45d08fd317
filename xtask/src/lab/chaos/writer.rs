//! A client that writes to the source while the migration runs.

use crate::effects::postgres;
use crate::settings::Server;
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_millis(20);

pub struct Writer {
    over: watch::Sender<bool>,
    rounds: Arc<AtomicU64>,
    writing: JoinHandle<()>,
}

impl Writer {
    pub fn start(source: Server) -> Writer {
        let (over, end) = watch::channel(false);
        let rounds = Arc::new(AtomicU64::new(0));
        let counter = rounds.clone();
        let writing = tokio::spawn(async move {
            while !*end.borrow() {
                // A server that restarts is what this is about.
                let _ = write(&source, &end, &counter).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Writer { over, rounds, writing }
    }

    /// # Errors
    /// Where it has never written anything: the source was not busy then.
    pub async fn stop(self) -> Result<()> {
        self.over.send_replace(true);
        self.writing.await.context("the writer ended unexpectedly")?;
        ensure!(self.rounds.load(Ordering::SeqCst) > 0, "the writer could not write to the source");
        Ok(())
    }
}

/// Until its connection is lost, or it is over.
async fn write(source: &Server, over: &watch::Receiver<bool>, rounds: &AtomicU64) -> Result<()> {
    let mut connection = postgres::connect(source, "writer").await?;
    while !*over.borrow() {
        connection.run(include_str!("../../../../fixtures/monolith/writer.sql")).await?;
        rounds.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
    connection.close().await
}
