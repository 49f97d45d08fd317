//! Clients that write to the old database at a steady rate, until it refuses them.

use crate::effects::postgres::{self, Connection, code};
use crate::settings::Server;
use crate::sql_file;
use anyhow::{Context, Result, ensure};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Clients at once: of a machine with two cores, which the migration needs as well.
const CLIENTS: u32 = 3;

/// Of all clients together, where the source is as quick as that: more than is asked for.
const PER_SECOND: u32 = 600;

/// Between two attempts of a client that is refused.
const PAUSE: Duration = Duration::from_millis(250);

/// The source is read-only, or ends its sessions.
const REFUSED: [&str; 3] = ["25006", "57P01", "57P03"];

pub struct Writer {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
    began: Instant,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    transactions: AtomicU64,
    /// Deadlocks of the clients with each other.
    failed: AtomicU64,
    first_refused: Mutex<Option<Instant>>,
    /// Microseconds of each transaction.
    latencies: Mutex<Vec<u32>>,
}

/// What the clients have seen.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub transactions: u64,
    pub per_second: f64,
    /// When the source first refused one of them.
    pub first_refused: Option<Instant>,
    /// Of a transaction, in milliseconds: the middle one, and the one that 99 of 100 stay below.
    pub median: f64,
    pub p99: f64,
}

/// A transaction, and how often it is picked.
struct Kind {
    weight: u32,
    sql: &'static str,
}

impl Writer {
    /// `seed`: of what is picked.
    pub fn start(source: &Server, seed: u64) -> Result<Writer> {
        let kinds = Arc::new(kinds()?);
        let shared = Arc::new(Shared::default());
        let client = |number: u32| {
            let (source, shared, kinds) = (source.clone(), shared.clone(), kinds.clone());
            let mut random = fastrand::Rng::with_seed(seed.wrapping_add(number.into()));
            tokio::spawn(async move {
                while !shared.over.load(Ordering::SeqCst) {
                    if let Err(error) = write(&source, &shared, &kinds, &mut random).await {
                        shared.refused(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            })
        };
        Ok(Writer { clients: (0..CLIENTS).map(client).collect(), shared, began: Instant::now() })
    }

    /// What has been seen since the beginning, or since the last call.
    pub fn lap(&mut self) -> Told {
        let seconds = self.began.elapsed().as_secs_f64();
        self.began = Instant::now();
        let transactions = self.shared.transactions.swap(0, Ordering::SeqCst);
        let mut latencies = std::mem::take(&mut *lock(&self.shared.latencies));
        latencies.sort_unstable();
        let at = |share: f64| {
            let place = (latencies.len() as f64 * share) as usize;
            latencies.get(place).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
        };
        Told {
            transactions,
            per_second: transactions as f64 / seconds,
            first_refused: *lock(&self.shared.first_refused),
            median: at(0.5),
            p99: at(0.99),
        }
    }

    /// Lets them come to an end.
    ///
    /// # Errors
    /// Where a client ended by itself.
    pub async fn stop(mut self) -> Result<Told> {
        self.shared.over.store(true, Ordering::SeqCst);
        for client in std::mem::take(&mut self.clients) {
            client.await.context("a client ended unexpectedly")?;
        }
        Ok(self.lap())
    }
}

impl Shared {
    fn refused(&self, error: &anyhow::Error) {
        let refused = code(error).is_some_and(|code| REFUSED.contains(&code.as_str()));
        let lost = code(error).is_none();
        if refused || lost {
            lock(&self.first_refused).get_or_insert_with(Instant::now);
        } else {
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Until its connection is lost, or it is over.
async fn write(source: &Server, shared: &Shared, kinds: &[Kind], random: &mut fastrand::Rng) -> Result<()> {
    let mut connection: Connection = postgres::connect_as_another(source, "shop").await?;
    let all: u32 = kinds.iter().map(|kind| kind.weight).sum();
    let mut pace = tokio::time::interval(Duration::from_secs(1) * CLIENTS / PER_SECOND);
    while !shared.over.load(Ordering::SeqCst) {
        pace.tick().await;
        let mut place = random.u32(0..all);
        let kind = kinds.iter().find(|kind| match place.checked_sub(kind.weight) {
            Some(rest) => {
                place = rest;
                false
            }
            None => true,
        });
        let began = Instant::now();
        connection.run(kind.context("no kind")?.sql).await?;
        let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
        shared.transactions.fetch_add(1, Ordering::SeqCst);
        lock(&shared.latencies).push(micros);
    }
    connection.close().await
}

/// The paragraphs of the file.
fn kinds() -> Result<Vec<Kind>> {
    let paragraphs = sql_file!("live/writer.sql").text.split("\n\n").skip(1);
    let kinds: Result<Vec<Kind>> = paragraphs
        .map(|text| {
            let (comment, sql) = text.split_once('\n').context("a paragraph without a transaction")?;
            let weight = comment.trim_start_matches("-- ").split(':').next().unwrap_or_default();
            let weight = weight.parse().with_context(|| format!("no weight in {comment:?}"))?;
            Ok(Kind { weight, sql })
        })
        .collect();
    let kinds = kinds?;
    ensure!(kinds.len() > 20, "sql/live/writer.sql has {} kinds of transactions", kinds.len());
    Ok(kinds)
}
