//! What PostgreSQL sends and takes: rows, and COPY both ways. sqlx's streams and futures are generic, so
//! that whoever polls them compiles them; polled here, each message (in a COPY, a row) goes through
//! optimised code.

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use std::future::Future;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

/// Bytes that are sent or written at once: each `send` flushes, small ones cost twice the time.
pub const CHUNK: usize = 256 * 1024;

/// Bytes that are read between two looks whether to wait: a look is not free.
const PACE: usize = 64 * 1024;

/// An error of the server, or of the way to it, told once: sqlx's own names a line of PostgreSQL's sources, and
/// says everything again as its own cause.
#[derive(Debug)]
pub struct ServerError(pub sqlx::Error);

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            sqlx::Error::Database(error) => f.write_str(error.message()),
            sqlx::Error::Io(error) => write!(f, "the connection is broken: {error}"),
            sqlx::Error::Tls(error) => write!(f, "{error}"),
            error => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for ServerError {}

/// What sqlx said, where an error has it as a cause.
pub fn cause(error: &anyhow::Error) -> Option<&sqlx::Error> {
    error.chain().find_map(|cause| match cause.downcast_ref::<ServerError>() {
        Some(ServerError(error)) => Some(error),
        None => cause.downcast_ref(),
    })
}

/// Connects. The password goes through 4096 rounds of HMAC-SHA-256: without optimisation that was a third
/// of the tool's own processor time in a rehearsal.
pub fn connect(options: &PgConnectOptions) -> BoxFuture<'_, sqlx::Result<PgConnection>> {
    Box::pin(options.connect())
}

/// Runs one or several statements.
pub fn run(connection: &mut PgConnection, text: String) -> BoxFuture<'_, sqlx::Result<()>> {
    Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.map(drop) })
}

/// The rows that a statement returns.
pub fn rows(connection: &mut PgConnection, text: String) -> BoxFuture<'_, sqlx::Result<Vec<PgRow>>> {
    Box::pin(connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(text))))
}

/// Takes a row, as CSV with its line end.
pub type Row<'a> = Box<dyn FnMut(&[u8]) -> Result<()> + Send + 'a>;
/// Waits until so many bytes may have been read.
pub type Pace<'a> = Box<dyn Fn(u64) -> BoxFuture<'a, ()> + Send + Sync + 'a>;

/// How a COPY goes, for who watches it from beside.
#[derive(Debug, Default)]
pub struct Activity {
    messages: AtomicU64,
    waits: AtomicBool,
}

impl Activity {
    /// How often the server has been heard.
    pub fn messages(&self) -> u64 {
        self.messages.load(Relaxed)
    }

    /// Whether it is the server's turn, and not ours.
    pub fn waits_for_the_server(&self) -> bool {
        self.waits.load(Relaxed)
    }

    async fn of<T>(&self, answer: impl Future<Output = T>) -> T {
        self.waits.store(true, Relaxed);
        let answer = answer.await;
        self.messages.fetch_add(1, Relaxed);
        self.waits.store(false, Relaxed);
        answer
    }
}

/// A statement, and what an error says of it.
#[derive(Clone, Copy)]
pub struct Copy<'a> {
    pub statement: &'a str,
    pub place: &'a str,
    pub activity: &'a Activity,
}

impl<'a> Copy<'a> {
    /// Streams a `COPY … TO STDOUT` in CSV, row by row, the header first: at that pace, if there is one.
    /// While the reader waits, the server cannot send.
    ///
    /// # Errors
    /// Of the server, with the place, and whatever `row` says. The connection is of no use after one.
    pub fn out(
        self,
        connection: &'a mut PgConnection,
        mut row: Row<'a>,
        pace: Option<Pace<'a>>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut stream = self.answer(connection.copy_out_raw(self.statement)).await?;
            let mut unpaid = 0;
            // In CSV, one message of the protocol is one row.
            while let Some(bytes) = self.answer(stream.try_next()).await? {
                row(&bytes)?;
                unpaid += bytes.len();
                if let Some(pace) = pace.as_ref().filter(|_| unpaid >= PACE) {
                    pace(std::mem::take(&mut unpaid) as u64).await;
                }
            }
            if let Some(pace) = pace {
                pace(unpaid as u64).await;
            }
            Ok(())
        })
    }

    /// Feeds a `COPY … FROM STDIN` from a reader. Returns the number of rows that the server took.
    ///
    /// # Errors
    /// Of the server or the reader. The connection is of no use after one.
    pub fn into(
        self,
        connection: &'a mut PgConnection,
        from: Box<dyn Read + Send + 'a>,
    ) -> BoxFuture<'a, Result<u64>> {
        Box::pin(self.send(connection, from))
    }

    async fn send(self, connection: &mut PgConnection, mut from: Box<dyn Read + Send + '_>) -> Result<u64> {
        let mut copy = self.answer(connection.copy_in_raw(self.statement)).await?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match from.read(&mut buffer) {
                Ok(n) => n,
                Err(error) => {
                    // The error that counts is the reader's.
                    let _ = copy.abort("the file could not be read").await;
                    return Err(error).context(self.place.to_string());
                }
            };
            if n == 0 {
                break;
            }
            self.answer(copy.send(&buffer[..n])).await?;
        }
        self.answer(copy.finish()).await
    }

    /// What the server answers; of an error, where.
    async fn answer<T>(&self, answer: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
        self.activity.of(answer).await.map_err(ServerError).with_context(|| self.place.to_string())
    }
}
